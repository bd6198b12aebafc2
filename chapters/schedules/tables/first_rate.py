"""Validation losses of noisy digits by rate, with a cut to a tenth at epoch 16 of 20 and without.

A 64-32-10 ReLU network with He's start, fresh noise of deviation 0.35 on every input, batches of 16: the setting of the
page on decay, on seeds 0 … 7 of its own. `losses` holds them rate by rate, each 8 numbers, after epoch 20.
"""

from dataclasses import replace

import torch
from torch import nn

from labsupport import data, models, optimizers, population
from labsupport.initialization import rules, starts

RATES, SEEDS = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6), range(8)
CASES = [{"cut": 16}, {"cut": 20}]


def build(generator):
    inner = models.mlp([64, 32, 10], generator=generator)
    starts.apply_(inner, rules.he_normal_, generator=generator)
    return nn.Sequential(models.GaussianNoise(0.35), inner)


def noisy_digits():
    split = data.digits(generator=torch.Generator().manual_seed(0)).to(torch.float64)
    x, y = (part.repeat_interleave(4, 0) for part in split.valid)
    grain = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return replace(split, valid=(x + 0.35 * grain, y))


def run(case):
    settings = {"lr": torch.tensor(RATES).repeat_interleave(len(SEEDS))}
    state = population.init(build, optimizers.sgd(), settings, seeds=[*SEEDS] * len(RATES)).to(torch.float64)
    factor = {"lr": lambda t: 0.1 if t >= 62 * case["cut"] else 1.0}
    plan = population.Plan(20, 16, schedule=factor, valid_every=20, progress=False)
    losses = population.carry_on(state, noisy_digits(), plan).valid_loss[:, -1]
    return {"rates": list(RATES), "losses": [round(value, 4) for value in losses.tolist()]}
