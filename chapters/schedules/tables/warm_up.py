"""Errors of deep networks by optimizer, length of the warm-up and peak rate.

A 64-32-…-32-10 ReLU network with 8 weight matrices and He's start on 1,000 digits; 240 steps of 50 examples: a line up
to the peak in `warm` steps, then a line down to 0. `chosen` holds validation errors of seeds 0 … 15, from which the
page takes the best rates, `tested` test errors of seeds 500 … 515; rate by rate, each 16 numbers, in %.
"""

import torch

from labsupport import data, experiments, optimizers, schedules
from labsupport.experiments import seeded, tables
from labsupport.initialization import starts
from labsupport.population import Plan

STEPS = 240
RATES = {"Adam": (0.003, 0.006, 0.012, 0.024, 0.048, 0.096), "momentum": (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)}
RULES = {"Adam": optimizers.adam(), "momentum": optimizers.momentum()}
CASES = [{"optimizer": name, "warm": warm} for name in RATES for warm in (0, 10, 30, 60, 120)]
TOLERANCE = {"chosen": 0.5, "tested": 0.5}  # networks near the cliff: half a standard error of a column's mean


def train(name, warm, rates, seeds, split):
    down = schedules.polynomial(1.0, decay_steps=STEPS - warm, end=0.0)
    factor = schedules.warmup(down, num_steps=warm) if warm else down
    plan = Plan(12, 50, schedule={"lr": factor}, valid_every=12, progress=False)
    deep = starts.builder([64, *[32] * 7, 10])
    return experiments.run(deep, split, RULES[name], {"lr": torch.tensor(rates)}, plan, seeds=seeds)


def run(case):
    name, split = case["optimizer"], data.digits(generator=seeded(0)).to(torch.float64)
    ran = train(name, case["warm"], RATES[name], [*range(16), *range(500, 516)], split)
    errors = {"chosen": ran.scores("valid").error[:, :16], "tested": ran.scores("test").error[:, 16:]}
    percent = {part: tables.rounded(100 * each.flatten(), decimals=3) for part, each in errors.items()}
    return {"rates": list(RATES[name]), **percent}
