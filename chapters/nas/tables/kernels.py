"""Errors of networks of convolutions by the side of their kernels, odd and even.

Three or six convolutions of 8 channels with He's start, batch norm and ReLU, the mean over the pixels, a linear
classifier; 14×14 digits, SGD with momentum 0.9 and half a cosine, 15 epochs of 640 images in batches of 32. Zeros go
around the picture so that its size stays; with an even kernel one row and one column more go below and at the right.
`tuned` are the mean validation errors of seeds 100 … 107 at each of `RATES`, of which the best is taken; `test` the
test errors of seeds 0 … 15 at that rate, in %.
"""

from torch import nn

from labsupport import data, experiments, optimizers, schedules
from labsupport.experiments import seeded, tables
from labsupport.initialization import rules, starts
from labsupport.population import Plan

RATES = (0.03, 0.1, 0.3, 1.0, 3.0)
CASES = [{"layers": layers, "kernel": kernel} for layers in (3, 6) for kernel in (3, 4, 5)]
TOLERANCE = {"tuned": 1.0, "test": 1.5}  # about a standard error
EPOCHS, BATCH, TRAIN = 15, 32, 640


def builder(layers, kernel, width=8):
    def build(generator):
        stack = []
        for inputs in [1] + [width] * (layers - 1):
            stack += [nn.Conv2d(inputs, width, kernel, padding="same", bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        net = nn.Sequential(*stack, nn.AvgPool2d(14), nn.Flatten(), nn.Linear(width, 10))
        return starts.apply_(net, rules.he_normal_, generator=generator)

    return build


def run(case):
    split = data.glyphs("digits", sizes=(4000, 2000, 2000), size=14, generator=seeded(0))
    seeds = {"tuning": range(100, 108), "fresh": range(16)}
    parts = data.partitions(split, num_train=TRAIN, num_valid=500, num_test=1000, seeds=[*range(16), *range(100, 108)])
    steps = EPOCHS * TRAIN // BATCH
    plan = Plan(EPOCHS, BATCH, schedule={"lr": schedules.cosine(1.0, decay_steps=steps)}, valid_every=EPOCHS,
                backend="eager", progress=False)  # fmt: skip
    build = builder(case["layers"], case["kernel"])
    found = experiments.tuned(build, parts, optimizers.momentum(), {"lr": list(RATES)}, plan, **seeds)
    at = found.tuning.scores("valid").error.mean(1)
    test = found.fresh.scores("test").error.flatten()
    return {
        "rates": list(RATES), "lr": found.best["lr"], "edge": list(found.best.edge),
        "tuned": tables.rounded(100 * at, decimals=3), "test": tables.rounded(100 * test, decimals=3),
    }  # fmt: skip
