"""Test errors of logistic regression on rare words, by the words' frequencies and the optimizer; 32 fresh seeds a case.

300 words; word j stands in a text with a probability in proportion to j^-exponent (at most 0.5), about 10 words a
text. Every word has a weight from N(0, 9), and a text is positive if the weights of its words add up to more than
the median. Training sees 200 batches of 10 texts once, from weights of zero; each seed draws its own texts from 20,000.
"sgd, 1/√t" has the rate η/√(t+1). Rates are 10^(k/3) on a grid around the best of an earlier trial on other seeds;
the best of eight seeds on 4,000 validation texts is tested on 4,000 others.
"""

from functools import partial

import torch

from labsupport import data, experiments, optimizers, population
from labsupport.experiments import seeded
from labsupport.experiments.tables import rounded
from labsupport.initialization import rules, starts

WORDS, POOL, EACH = 300, 20000, 4000
TUNING, FRESH = range(100, 108), range(200, 232)
TOLERANCE = {"valid": 0.2}  # on means: float32 moved at rates that hardly learn; two standard errors are 1.2
CENTERS = {"sgd": 0, "sgd, 1/√t": 3, "momentum": -3, "adagrad": -1, "adam": -5}
CASES = [{"exponent": a, "rule": rule} for a in (0.0, 0.5, 1.0, 1.5) for rule in CENTERS]


def frequencies(exponent):
    rank = torch.arange(1, WORDS + 1).double()
    share = rank**-exponent
    for _ in range(50):  # the most frequent words stop at one half, the others make up for it
        share = (share * 10 / share.sum()).clamp(max=0.5)
    return share


build = starts.builder([WORDS, 2], rule=partial(rules.constant_, value=0.0))


def texts(exponent):
    draw = seeded(0)
    weights = 3 * torch.randn(WORDS, generator=draw)
    x = (torch.rand(POOL + 2 * EACH, WORDS, generator=draw) < frequencies(exponent)).float()
    score = x @ weights
    y = (score > score.median()).long()
    return data.Split(*zip(x.split([POOL, EACH, EACH]), y.split([POOL, EACH, EACH]), strict=True))


def compared(rule, exponent, rates):
    """What `experiments.run` takes."""
    name, *slowing = rule.split(", ")
    schedule = {"lr": lambda t: (1 + t) ** -0.5} if slowing else {}
    plan = population.Plan(1, 10, schedule=schedule, backend="eager", progress=False)
    return build, texts(exponent), getattr(optimizers, name)(), {"lr": rates}, plan


def run(case):
    rates = [10 ** (k / 3) for k in range(CENTERS[case["rule"]] - 4, CENTERS[case["rule"]] + 5)]
    what = compared(case["rule"], case["exponent"], rates)
    found = experiments.tuned(*what, num_steps=200, tuning=TUNING, fresh=FRESH)
    valid = found.tuning.scores("valid").error.float()
    return {
        "best": rounded(found.best["lr"], decimals=5), "rates": rounded(rates, decimals=5),
        "valid": rounded(100 * valid.mean(1), decimals=2),
        "test": rounded(100 * found.errors.tensor[0], decimals=2),
    }  # fmt: skip
