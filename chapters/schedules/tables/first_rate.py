"""Validation losses of noisy digits by rate, with a cut to a tenth at epoch 16 of 20 and without.

A 64-32-10 ReLU network with He's start, fresh noise of deviation 0.35 on every input, batches of 16: the setting of the
page on decay, on seeds 0 … 7 of its own. `losses` holds them rate by rate, each 8 numbers, after epoch 20.
"""

from dataclasses import replace

import torch
from torch import nn

from labsupport import data, experiments, models, optimizers, population
from labsupport.experiments import seeded, tables
from labsupport.initialization import starts

RATES = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6)
CASES = [{"cut": 16}, {"cut": 20}]


def build(generator):
    return nn.Sequential(models.GaussianNoise(0.35), starts.builder([64, 32, 10])(generator))


def grainy(pair, seed):
    x, y = (part.repeat_interleave(4, 0) for part in pair)  # each image with four noises
    return x + 0.35 * torch.randn(x.shape, generator=seeded(seed), dtype=x.dtype).to(x.device), y


def noisy_digits():
    split = data.digits(generator=seeded(0)).to(torch.float64)
    return replace(split, valid=grainy(split.valid, 1), test=grainy(split.test, 2))


def run(case):
    factor = {"lr": lambda t: 0.1 if t >= 62 * case["cut"] else 1.0}
    plan = population.Plan(20, 16, schedule=factor, valid_every=20, progress=False)
    ran = experiments.run(build, noisy_digits(), optimizers.sgd(), {"lr": RATES}, plan, seeds=range(8))
    return {"rates": list(RATES), "losses": tables.rounded(ran.valid_loss.flatten(), decimals=4)}
