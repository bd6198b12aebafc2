"""Where 32 starts end, by width: 64-w-w-10 ReLU networks, cross-entropy, 2,000 steps of momentum at batch 100.

The test part here is every digit that was not trained on: 797 of them.
"""

import torch
from torch.nn.functional import cross_entropy

from labsupport import data, experiments, models, optimizers, population
from labsupport.experiments import seeded

CASES = [{"width": width} for width in (4, 8, 16, 32, 64)]
# float32 moves with its engine: two standard errors at width 8
TOLERANCE = {"train_loss": 0.001, "test_loss": 0.03, "error": 0.0037, "gradient": 0.02}


def run(case):
    split, sizes = data.digits(generator=seeded(0)), [64, case["width"], case["width"], 10]
    runs = experiments.run(
        lambda generator: models.mlp(sizes, generator=generator), split, optimizers.momentum(),
        {"lr": 0.05, "momentum": 0.9}, population.Plan(200, batch_size=100, valid_every=200), seeds=range(32),
    )  # fmt: skip
    rest = runs.scores(tuple(torch.cat(parts) for parts in zip(split.valid, split.test)))
    _, slope = population.gradients(runs.state, *split.train, loss=cross_entropy)
    return {
        "train_loss": runs.scores("train").loss[0].tolist(),
        "test_loss": rest.loss[0].tolist(),
        "error": rest.error[0].tolist(),
        "gradient": sum(part.flatten(1).square().sum(1) for part in slope.values()).sqrt().tolist(),
    }
