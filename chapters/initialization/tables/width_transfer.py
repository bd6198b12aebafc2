"""Training loss by learning rate and width, standard and maximal update parametrization; 16 seeds a case.

64-n-n-10 ReLU networks without biases on digits, Adam, batches of 32, two epochs; the loss is the mean over the
batches of the second, 1.0e9 where a network diverged. Both parametrizations are the same at width 32.
"""

import math
from functools import partial

import torch
from torch import nn

from labsupport import data, experiments, optimizers, population
from labsupport.experiments import seeded, tables
from labsupport.initialization import rules

BASE, EXPONENTS = 32, tuple(range(-12, -3))
SEEDS = range(100, 116)  # fresh seeds: the rule and the bound were fixed on others
TOLERANCE = {"losses": 0.007}  # two standard errors of the last case
CASES = [{"width": n, "kind": kind} for n in (32, 64, 128, 256, 512) for kind in ("standard", "maximal update")]


def scans():
    split = data.digits(generator=seeded(0))
    return data.standardized(split, scale=float(split.train[0].std()))


class Scaled(nn.Linear):
    def __init__(self, fan_in, fan_out, factor, std, generator):
        super().__init__(fan_in, fan_out, bias=False)
        self.factor = factor
        rules.normal_(self.weight, std=std, generator=generator)

    def forward(self, x):
        return self.factor * super().forward(x)  # eq. (3): W = factor × w


def build(generator, *, width, kind):
    shrink = BASE / width if kind == "maximal update" else 1.0
    first = Scaled(64, width, 1.0, math.sqrt(2 / 64), generator)
    middle = Scaled(width, width, shrink, math.sqrt(2 / width) / shrink, generator)
    last = Scaled(width, 10, shrink, math.sqrt(1 / (width * shrink)), generator)
    return nn.Sequential(first, nn.ReLU(), middle, nn.ReLU(), last)


def losses(split, exponents, **case):  # of the second epoch, rates × seeds
    rates = {"lr": 2.0 ** torch.tensor(exponents)}
    plan = population.Plan(2, 32, valid_every=2, backend="eager", progress=False)
    ran = experiments.run(partial(build, **case), split, optimizers.adam(), rates, plan, seeds=SEEDS)
    return ran.train_loss.chunk(2, 2)[1].mean(2).nan_to_num(1e9)


def run(case):
    return {"losses": tables.rounded(losses(scans(), EXPONENTS, **case), digits=4)}
