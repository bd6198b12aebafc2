"""Accuracies of all 750 cells of `nas.cells`, each trained at three learning rates from five seeds.

Cells of width 32 on 14×14 digits, SGD with momentum 0.9, batches of 64. A seed draws start and order and has its own
1,000 training, 1,000 validation and 1,000 test images out of 6,000; the weights of all cells start alike. A case is a
rate and a block of 75 cells. Columns hold counts of images that are right, of 1,000, (5 seeds, 75 cells) flattened:
`valid` and `test` after eight epochs. At the middle rate also `course`, `valid` after each epoch, (5, 75, 8); `fewer`,
`valid` after eight epochs on a quarter of the training images; and `narrow`, with a width of 8. Nothing is tuned.
"""

import torch
from torch.nn.functional import cross_entropy

from labsupport import data, optimizers, population
from labsupport.experiments import seeded
from labsupport.nas import cells

RATES, SEEDS, BLOCK, EPOCHS, BATCH, WIDTH = (0.03, 0.1, 0.3), range(5), 75, 8, 64, 32
PART = 1000
CASES = [{"lr": lr, "first": first} for lr in RATES for first in range(0, 750, BLOCK)]
TOLERANCE = 20.0  # float32 through 120 steps: means of counts of 1,000


def samples(seed, num_train=PART):
    images = data.glyphs("digits", sizes=(2000, 2000, 2000), size=14, generator=seeded(0))
    pool = tuple(torch.cat(part) for part in zip(images.train, images.valid, images.test, strict=True))
    pool = (pool[0].flatten(1) - 0.5, pool[1])
    return data.partitions(pool, num_train=num_train, num_valid=PART, num_test=PART, seeds=[seed])


def trained(codes, lr, parts, *, width=WIDTH):
    """The cells of these codes after training, all from the start, order and examples of the sample's seed."""
    seeds = list(parts.seeds) * len(codes)
    build = builder(width)
    state = population.init(build, optimizers.momentum(), {"lr": lr}, seeds=seeds)
    plan = population.Plan(EPOCHS, BATCH, backend="eager", progress=False)
    return population.carry_on(cells.with_cells(state, codes), parts, plan)


def builder(width):
    return lambda generator: cells.CellNet(14 * 14, width, 10, generator=generator)


def run(case):
    codes = cells.codes()[case["first"] : case["first"] + BLOCK]
    columns = {"valid": [], "test": []}
    middle = {"course": [], "fewer": [], "narrow": []} if case["lr"] == RATES[1] else {}
    for seed in SEEDS:
        parts = samples(seed)
        result = trained(codes, case["lr"], parts)
        scores = population.evaluate(result.state, *parts.pool, loss=cross_entropy, rows=parts.test)
        columns["valid"].append(result.valid_error[:, -1])
        columns["test"].append(scores.error)
        if middle:
            middle["course"].append(result.valid_error)
            few = samples(seed, PART // 4)
            middle["fewer"].append(trained(codes, case["lr"], few).valid_error[:, -1])
            middle["narrow"].append(trained(codes, case["lr"], parts, width=WIDTH // 4).valid_error[:, -1])
    return {name: right(each) for name, each in (columns | middle).items()}


def right(errors):
    return (PART * (1 - torch.stack(errors))).round().int().flatten().tolist()
