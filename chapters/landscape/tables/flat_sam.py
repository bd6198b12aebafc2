"""Sharpness-aware minimization against plain SGD, each at its tuned rate.

A 64-40-40-10 ReLU network on 1,000 digits, batch 32. Learning rate (and radius) are those of the lowest mean
validation error over seeds 0 … 7; the test error is that of seeds 100 … 131, which chose nothing.
"""

import torch
from torch.nn.functional import cross_entropy

from labsupport import data, models
from labsupport.landscape import replicas, sharpness

RATES, RADII = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8), (0.02, 0.05, 0.1, 0.2, 0.4)
CASES = [{"method": "SGD", "num_steps": 1000}, {"method": "SAM", "num_steps": 1000},
         {"method": "SGD", "num_steps": 2000}]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def trained(seeds, lr, radius, split, num_steps):
    nets = replicas.start(lambda g: models.mlp([64, 40, 40, 10], generator=g), seeds=seeds)
    return replicas.train(nets, *split.train, lr=lr, radius=radius, batch_size=32, num_steps=num_steps,
                          loss=cross_entropy, generator=seeded(1))[0]


def run(case):
    split, steps = data.digits(generator=seeded(0)), case["num_steps"]
    grid = [(lr, radius) for lr in RATES for radius in (RADII if case["method"] == "SAM" else (0.0,))]
    found = []
    for lr, radius in grid:
        nets = trained(range(8), lr, radius, split, steps)
        found.append(replicas.evaluate(nets, *split.valid, loss=cross_entropy)[1].mean().item())
    lr, radius = grid[found.index(min(found))]
    nets = trained(range(100, 132), lr, radius, split, steps)
    top, _ = sharpness.largest(nets, *split.train, loss=cross_entropy, num_steps=24, generator=seeded(2))
    return {"lr": lr, "radius": radius, "grid": [list(point) for point in grid], "valid_error": found,
            "top": top.tolist(), "error": replicas.evaluate(nets, *split.test, loss=cross_entropy)[1].tolist(),
            "train_loss": replicas.evaluate(nets, *split.train, loss=cross_entropy)[0].tolist()}
