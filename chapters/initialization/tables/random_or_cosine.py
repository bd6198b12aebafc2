"""Test errors, in percent, of networks from cosines and from He's random numbers, each at the best of seven rates.

ReLU networks 64-64-10 and 64-64-64-10 on centred digits, momentum 0.9, 20 epochs in batches of 50, float64, the page's
seeds. The rate is the one with the lowest mean validation error of these 16 networks; "edge" would name the grid's end.
"""

import torch

from labsupport import data, experiments, optimizers, population
from labsupport.experiments import seeded, tables
from labsupport.initialization import rules, starts

RATES = [0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8]
RULES = {"cosine": rules.cosine_, "random": rules.he_normal_}
CASES = [{"layers": layers, "start": start} for layers in (2, 3) for start in RULES]


def run(case):
    split = data.standardized(data.digits(generator=seeded(0)).to(torch.float64), scale=1.0)
    build = starts.builder([64] * case["layers"] + [10], rule=RULES[case["start"]])
    plan = population.Plan(20, 50, progress=False)
    ran = experiments.run(build, split, optimizers.momentum(), {"lr": RATES}, plan, seeds=range(100, 116))
    best = ran.best()
    wrong = 100 * ran.scores("test").error[best.place]
    return {"lr": best["lr"], "edge": list(best.edge), "error": tables.rounded(wrong, decimals=8)}
