"""Test accuracy with k of 100 ReLU units kept: by who chooses them, and whether the rest is merged into them.

64-100-10 on 1,000 digits, 32 replicates, each with its own start, order, examples and draws of units (each the mean of
8 draws); nothing is retrained. The kernel of the diverse choice is exp(−c d²/m) + 0.01 δ, d the distance of two units'
activations on 500 training examples, m the median of d²; c is chosen by validation accuracy of eight other replicates.
"by likeness" removes units one by one into those whose incoming weights are most like theirs; "absorbed" is its own
repair, which needs no data.
"""

from functools import cache, partial

import torch

from labsupport import data, experiments, models, optimizers
from labsupport.experiments import seeded, tables
from labsupport.population import Plan
from labsupport.pruning import diversity, nodes

TUNING, SEEDS, DRAWS = range(8), range(100, 132), 8
WIDTHS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
CASES = [{"kept": kept} for kept in (5, 10, 20, 40, 70)]
CHECKED = CASES[1:3]
CHOICES = ("at random", "diverse", "activation", "outgoing weight", "by likeness")
TOLERANCE = {f"{choice}, merged": 0.02 for choice in CHOICES} | {f"{choice}, alone": 0.08 for choice in CHOICES}
TOLERANCE |= {"valid": 0.02, "width": 10, "whole": 0.01, "by likeness, absorbed": 0.05}
rounded = partial(tables.rounded, digits=4)


@cache
def trained(seeds):
    """Networks with their examples: 1,000 to train, 297 to validate, 500 to test."""
    pool = data.digits(generator=seeded(0)).flat().to(torch.float64)
    parts = data.partitions(pool, num_train=1000, num_valid=297, num_test=500, seeds=seeds)
    build = lambda g: models.mlp([64, 100, 10], generator=g)  # noqa: E731
    return experiments.run(build, parts, optimizers.adam(), {"lr": 0.003}, Plan(20, 50, progress=False), seeds=seeds)


def layer_on(runs, part, size=500):
    """The hidden layer on the first examples of a part, and their labels."""
    (x, y), rows = runs.data.pool, getattr(runs.data, part).index[:, :size]
    return nodes.layer(nodes.network(runs.state), x[rows], y[rows], at=0), y[rows]


def accuracy(layer, y, kept, weight):
    """With the units kept (members, k) and these outgoing weights (members, 10, k)."""
    some = layer.activations.gather(2, kept[:, None].expand(-1, y.shape[1], -1))
    said = some @ weight.mT + layer.bias[:, None]
    return (said.argmax(-1) == y).double().mean(-1)


def both(runs, kept, part):
    """Accuracy as the units are, and with the others merged into them."""
    (fit, _), (seen, y) = layer_on(runs, "train"), layer_on(runs, part)
    alone = fit.weight.gather(2, kept[:, None].expand(-1, 10, -1))
    return accuracy(seen, y, kept, alone), accuracy(seen, y, kept, nodes.merge(fit.weight, fit.activations, kept))


def diverse(runs, k, width, generator):
    """Draws from each member's k-DPP: (draws, members, k)."""
    activations = layer_on(runs, "train")[0].activations
    distances = torch.cdist(activations.mT, activations.mT).square()
    found = []
    for own, far in zip(activations, distances):
        kernel = diversity.kernel(own, beta=width / float(far.median()), epsilon=0.01)
        found.append(diversity.sample(kernel, k=k, num_draws=DRAWS, generator=generator))
    return torch.stack(found, 1)


def at_random(runs, k, generator):
    members = len(runs.seeds)
    return torch.rand(DRAWS, members, 100, generator=generator).argsort(-1)[..., :k]


def largest(scores, k):
    return scores.argsort(-1, descending=True)[None, :, :k]


def by_likeness(runs, k):
    """Who stays (1, members, k), and outgoing weights (members, 10, 100) after each removed unit was absorbed."""
    net, weights, kept = nodes.network(runs.state), [], []
    for into, bias, out in zip(net.weights[0], net.biases[0], net.weights[1]):
        found = nodes.merge_alike(into, bias, out, num_steps=100 - k, activation="relu")
        gone = torch.zeros(100, dtype=torch.bool).index_fill(0, found.pairs[:, 1], True)
        weights.append(found.weight)
        kept.append((~gone).nonzero()[:, 0])
    return torch.stack(kept)[None], torch.stack(weights)


def run(case):
    k = case["kept"]
    tuning, runs = trained(TUNING), trained(SEEDS)
    valid = [torch.stack([both(tuning, kept, "valid")[1] for kept in diverse(tuning, k, width, seeded(i))]).mean()
             for i, width in enumerate(WIDTHS)]  # fmt: skip
    width = WIDTHS[int(torch.stack(valid).argmax())]
    layer = layer_on(runs, "train")[0]
    choices = {
        "at random": at_random(runs, k, seeded(10)),
        "diverse": diverse(runs, k, width, seeded(11)),
        "activation": largest(nodes.activation_norm(layer.activations), k),
        "outgoing weight": largest(nodes.onorm(layer.weight), k),
    }
    choices["by likeness"], absorbed = by_likeness(runs, k)
    found = {"width": width, "valid": rounded(torch.stack(valid))}
    for name, draws in choices.items():
        alone, merged = (torch.stack(part).mean(0) for part in zip(*(both(runs, kept, "test") for kept in draws)))
        found |= {f"{name}, alone": rounded(alone), f"{name}, merged": rounded(merged)}
    (seen, y), everyone = layer_on(runs, "test"), torch.arange(100).expand(len(SEEDS), -1)
    found["whole"] = rounded(accuracy(seen, y, everyone, seen.weight))
    return found | {"by likeness, absorbed": rounded(accuracy(seen, y, everyone, absorbed))}
