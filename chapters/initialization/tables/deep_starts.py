"""Who learns from which start: digits, sixteen or more networks for each rule and learning rate.

A case is one rule on one network with one optimizer, at four or five learning rates; every rate has the same seeds.
Rates and measures were settled on other seeds (0 to 31, 100 and 101); the best rate is picked by the page. Kept are,
rate by rate and seed by seed, the step at which the mean loss of the last ten batches first fell below 0.2 (600 where
it never did), and the errors on validation and test digits at the end.
"""

import math
from functools import partial

import torch

from labsupport import data, experiments, optimizers, population
from labsupport.experiments import seeded, tables
from labsupport.initialization import rules, starts

RULES = {
    "xavier": rules.xavier_normal_, "he": rules.he_normal_, "he fan-out": partial(rules.he_normal_, mode="fan_out"),
    "gauss": rules.lecun_normal_, "orthogonal": rules.orthogonal_,
    "orthogonal √2": partial(rules.orthogonal_, gain=math.sqrt(2)),
}  # fmt: skip
SHAPES = {
    "10 layers": [64] * 10 + [10], "30 layers": [64] * 30 + [10],
    "funnel": [64, 256, 128, 64, 32, 16, 10], "bottleneck": [64, 128, 16, 128, 16, 128, 10],
}  # fmt: skip
RATES = {
    ("10 layers", "relu"): (0.005, 0.01, 0.02, 0.04), ("30 layers", "relu"): (0.001, 0.002, 0.004, 0.008),
    ("10 layers", "tanh"): (0.01, 0.02, 0.04, 0.08, 0.12), ("30 layers", "tanh"): (0.004, 0.008, 0.012, 0.018, 0.025),
    ("10 layers", "identity"): (0.002, 0.004, 0.008, 0.016, 0.024),
    ("30 layers", "identity"): (0.0005, 0.001, 0.002, 0.004, 0.006),
    ("funnel", "relu"): (0.01, 0.02, 0.04, 0.08), ("bottleneck", "relu"): (0.01, 0.02, 0.04, 0.08),
    ("30 layers", "xavier"): (0.005, 0.01, 0.02, 0.04),  # stalling; eight rates from 0.1 to 1,000 did no better
    "adam": (0.0005, 0.001, 0.002, 0.004),
}  # fmt: skip

NAMES, DEPTHS = ("activation", "rule", "shape", "optimizer", "seeds"), ("10 layers", "30 layers")
ROWS = [("relu", rule, s, "momentum", 16) for s in DEPTHS for rule in ("xavier", "he", "orthogonal √2")]
ROWS += [("relu", rule, "30 layers", "adam", 16) for rule in ("xavier", "he")]
ROWS += [
    (name, rule, s, "momentum", 16) for s in DEPTHS for name in ("identity", "tanh") for rule in ("gauss", "orthogonal")
]
ROWS += [("relu", rule, s, "momentum", 32) for s in ("funnel", "bottleneck") for rule in ("he", "he fan-out")]
CASES = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
TOLERANCE = {"steps": 15.0, "valid": 0.045, "test": 0.045}  # two standard errors of a case


def digits():
    return data.standardized(data.digits(generator=seeded(0)))


def trained(split, rates, activation, rule, shape, optimizer, seeds):
    build = starts.builder(SHAPES[shape], rule=RULES[rule], activation=activation)
    by = {"momentum": optimizers.momentum, "adam": optimizers.adam}[optimizer]()
    plan = population.Plan(30, 50, valid_every=30, slab=64, backend="eager", progress=False)
    return experiments.run(build, split, by, {"lr": rates}, plan, seeds=range(32, 32 + seeds))


def run(case):
    keys = case["optimizer"], (case["shape"], case["rule"]), (case["shape"], case["activation"])
    rates = next(RATES[key] for key in keys if key in RATES)
    ran = trained(digits(), rates, **case)
    low = ran.train_loss.unfold(2, 10, 1).mean(3) < 0.2
    return {
        "rates": list(rates),
        "steps": torch.where(low.any(2), low.int().argmax(2) + 10, 600).flatten().tolist(),
        "valid": tables.rounded(ran.valid_error.flatten(), decimals=4),
        "test": tables.rounded(ran.scores("test").error.flatten(), decimals=4),
    }
