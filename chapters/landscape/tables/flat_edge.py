"""Full-batch descent and the top eigenvalue of the Hessian along it, 16 starts for each learning rate.

A 64-40-40-10 tanh network on 400 centred digits, squared error to one-hot targets, summed over the ten outputs.
All 64 runs are one population; the first case trains it, and each case takes its own rate's members.
"""

from functools import cache

import torch
from torch.nn.functional import one_hot

from labsupport import data, models, optimizers
from labsupport.experiments import begin, carry_on, seeded, tables
from labsupport.landscape import sharpness
from labsupport.population import Plan

SEEDS, NUM_STEPS, EVERY = range(100, 116), 1000, 20  # fresh seeds: the rule was fixed on others
RATES = (0.1, 0.2, 0.3, 0.4)
CASES = [{"lr": lr} for lr in RATES]
# float32 moves with its engine: two standard errors at rate 0.4
TOLERANCE = {"tops": 0.02, "losses": 0.002, "last_loss": 0.008, "rises": 0.011}


def squared_error(output, target):
    return (output - target).square().sum(-1).mean()


def build(generator):
    return models.mlp([64, 40, 40, 10], activation="tanh", generator=generator)


def first_400(split):
    parts = data.standardized(split, scale=1.0)
    return data.Split(*((x[:400], one_hot(y[:400], 10).to(x)) for x, y in (parts.train, parts.valid, parts.test)))


def followed(split, rates, seeds, *, num_steps, num_products=8):
    """Sharpness before every 20th step and the loss before each step, both (rates, seeds, …)."""
    runs = begin(build, first_400(split), optimizers.sgd(), {"lr": rates}, seeds=seeds)
    plan = Plan(1, batch_size=400, loss=squared_error)  # all 400: no batches
    tops, losses, vectors = [], [], None
    for _ in range(num_steps // EVERY):
        options = {"num_steps": num_products, "begin": vectors, "generator": seeded(1)}
        top, vectors = sharpness.largest(runs.state, *runs.data.train, loss=squared_error, **options)
        runs = carry_on(runs, plan, num_steps=EVERY)
        tops.append(runs.fold(top))
        losses.append(runs.train_loss)
    return torch.stack(tops, -1), torch.cat(losses, -1)


@cache
def everything():
    return followed(data.digits(generator=seeded(0)), RATES, SEEDS, num_steps=NUM_STEPS)


def run(case):
    tops, losses = (part[RATES.index(case["lr"])] for part in everything())
    rises = (losses[:, 1:] > losses[:, :-1])[:, NUM_STEPS // 2 - 1 :].double().mean(1)
    found = {"tops": tables.rounded(tops, digits=5), "losses": tables.rounded(losses[:, ::EVERY], digits=5)}
    return {**found, "last_loss": losses[:, -1].tolist(), "rises": rises.tolist()}
