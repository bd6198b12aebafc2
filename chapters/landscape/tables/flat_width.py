"""Where 32 starts end, by width: 64-w-w-10 ReLU networks, cross-entropy, 2,000 steps of momentum at batch 100.

The test part here is every digit that was not trained on: 797 of them.
"""

import torch
from torch.nn.functional import cross_entropy

from labsupport import data, models
from labsupport.landscape import replicas

CASES = [{"width": width} for width in (4, 8, 16, 32, 64)]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def run(case):
    split, width = data.digits(generator=seeded(0)), case["width"]
    (x, y), rest = split.train, [torch.cat(parts) for parts in zip(split.valid, split.test)]
    nets = replicas.start(lambda g: models.mlp([64, width, width, 10], generator=g), seeds=range(32))
    nets, _ = replicas.train(nets, x, y, lr=0.05, momentum=0.9, batch_size=100, num_steps=2000,
                             loss=cross_entropy, generator=seeded(1))
    losses, _ = replicas.evaluate(nets, x, y, loss=cross_entropy)
    unseen, errors = replicas.evaluate(nets, *rest, loss=cross_entropy)
    _, slope = replicas.gradients(nets, x, y, loss=cross_entropy)
    length = sum(part.flatten(1).square().sum(1) for part in slope.values()).sqrt()
    return {"train_loss": losses.tolist(), "test_loss": unseen.tolist(), "error": errors.tolist(),
            "gradient": length.tolist()}
