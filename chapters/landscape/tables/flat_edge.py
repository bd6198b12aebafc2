"""Full-batch descent and the top eigenvalue of the Hessian along it, 16 starts for each learning rate.

A 64-40-40-10 tanh network on 400 centred digits, squared error to one-hot targets, summed over the ten outputs.
"""

import torch
from torch.nn.functional import one_hot

from labsupport import data, models
from labsupport.landscape import replicas, sharpness

SEEDS, NUM_STEPS, EVERY = 16, 1000, 20  # fresh seeds: the rule was fixed on others
CASES = [{"lr": lr} for lr in (0.1, 0.2, 0.3, 0.4)]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def squared_error(output, target):
    return (output - target).square().sum(-1).mean()


def run(case):
    images, labels = data.digits(generator=seeded(0)).train
    x, y = (images - images.mean(0))[:400], one_hot(labels[:400], 10).float()
    nets = replicas.start(
        lambda g: models.mlp([64, 40, 40, 10], activation="tanh", generator=g), seeds=range(100, 100 + SEEDS))
    tops, losses, vectors = [], [], None
    for _ in range(NUM_STEPS // EVERY):
        top, vectors = sharpness.largest(
            nets, x, y, loss=squared_error, num_steps=8, begin=vectors, generator=seeded(1))
        tops.append(top)
        nets, curve = replicas.train(
            nets, x, y, batch_size=len(x), num_steps=EVERY, loss=squared_error, generator=seeded(1), **case)
        losses.append(curve)
    tops, losses = torch.stack(tops, 1), torch.cat(losses, 1)
    rises = (losses[:, 1:] > losses[:, :-1])[:, NUM_STEPS // 2 - 1:].double().mean(1)
    rows = lambda part: [[float(f"{value:.5g}") for value in row] for row in part.tolist()]  # noqa: E731
    return {"tops": rows(tops), "losses": rows(losses[:, ::EVERY]), "last_loss": losses[:, -1].tolist(),
            "rises": rises.tolist()}
