"""Errors of deep networks by optimizer, length of the warm-up and peak rate.

A 64-32-…-32-10 ReLU network with 8 weight matrices and He's start on 1,000 digits; 240 steps of 50 examples: a line up
to the peak in `warm` steps, then a line down to 0. `chosen` holds validation errors of seeds 0 … 15, from which the
page takes the best rates, `tested` test errors of seeds 500 … 515; rate by rate, each 16 numbers, in %.
"""

import torch
from torch.nn.functional import cross_entropy

from labsupport import data, models, optimizers, population, schedules
from labsupport.initialization import rules, starts

STEPS, CHOOSING, TESTING = 240, range(16), range(500, 516)
RATES = {"Adam": (0.003, 0.006, 0.012, 0.024, 0.048, 0.096), "momentum": (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)}
RULES = {"Adam": optimizers.adam(), "momentum": optimizers.momentum()}
CASES = [{"optimizer": name, "warm": warm} for name in RATES for warm in (0, 10, 30, 60, 120)]


def build(generator):
    net = models.mlp([64, *[32] * 7, 10], generator=generator)
    return starts.apply_(net, rules.he_normal_, generator=generator)


def run(case):
    rates, warm = RATES[case["optimizer"]], case["warm"]
    down = schedules.polynomial(1.0, decay_steps=STEPS - warm, end=0.0)
    factor = schedules.warmup(down, num_steps=warm) if warm else down
    split = data.digits(generator=torch.Generator().manual_seed(0)).to(torch.float64)
    seeds = [*CHOOSING, *TESTING]
    settings = {"lr": torch.tensor(rates).repeat_interleave(len(seeds))}
    state = population.init(build, RULES[case["optimizer"]], settings, seeds=seeds * len(rates)).to(torch.float64)
    plan = population.Plan(12, 50, schedule={"lr": factor}, valid_every=12, progress=False)
    state = population.carry_on(state, split, plan).state
    found = {"rates": list(rates)}
    for name, part, which in (("chosen", split.valid, slice(0, 16)), ("tested", split.test, slice(16, 32))):
        errors = 100 * population.evaluate(state, *part, loss=cross_entropy).error.view(len(rates), -1)[:, which]
        found[name] = [round(value, 3) for value in errors.flatten().tolist()]
    return found
