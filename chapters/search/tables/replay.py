"""Learning curves of 512 settings: validation errors after each of 81 epochs, and test errors at the end.

64-50-50-10 ReLU networks with dropout behind each hidden layer, SGD with momentum, batches of 32, on digits. The
settings are all points of `replay.SPACE`: sixteen rates by four momenta, four weight decays and two dropout rates. Each
is trained three times: a seed draws start, order and examples, 600 for training, 597 for validation, 600 for the test,
and what it draws is the same for all settings. Nothing is tuned. A case is a slab of 64 settings. Columns hold counts
of errors: `valid` (3 seeds, 64 settings, 81 epochs) flattened, `test` (3 seeds, 64 settings) flattened. A network that
diverges keeps its last finite weights.
"""

import torch
from torch import nn

from labsupport import data, models, optimizers, population
from labsupport.experiments import seeded
from labsupport.search import replay

SLAB, SEEDS, EPOCHS, BATCH = 64, (0, 1, 2), 81, 32
TRAIN, VALID, TEST = 600, 597, 600
CASES = [{"first": first} for first in range(0, 512, SLAB)]
TOLERANCE = 6.0  # float32 through 1,458 steps: means of counts of errors, of 597 or 600


def build(generator):
    first, relu, second, relu_too, last = models.mlp([64, 50, 50, 10], generator=generator)
    return nn.Sequential(first, relu, nn.Dropout(), second, relu_too, nn.Dropout(), last)


def settings(first):
    """Name -> (SLAB,) of what is set, for the settings from this one on."""
    points = [replay.trained_with(params) for params in replay.settings()[first : first + SLAB]]
    return {name: torch.tensor([point[name] for point in points]) for name in points[0]}


def samples(seed):
    pool = data.digits(generator=seeded(0))
    return data.partitions(pool, num_train=TRAIN, num_valid=VALID, num_test=TEST, seeds=[seed])


def run(case):
    valid, test = [], []
    for seed in SEEDS:
        parts, plan = samples(seed), population.Plan(EPOCHS, BATCH, backend="eager", progress=False)
        seeds = [seed] * SLAB
        result = population.train(build, parts, optimizers.momentum(), settings(case["first"]), plan, seeds=seeds)
        scores = population.evaluate(result.state, *parts.pool, loss=nn.functional.cross_entropy, rows=parts.test)
        valid.append(result.valid_error * VALID)
        test.append(scores.error * TEST)
    return {"valid": counts(valid), "test": counts(test)}


def counts(errors):
    return torch.stack(errors).round().int().flatten().tolist()
