"""How many hidden units can go before test accuracy has fallen by more than a point: by rule, ranking, depth, width.

Sigmoid networks on 1,000 digits, 16 replicates, each with its own start, order and examples; nothing is retrained.
Units are chosen on 300 of the training examples, or, to see what that flatters, on half of the test examples.
"""

from functools import cache, partial

import torch

from labsupport import data, experiments, models, optimizers
from labsupport.experiments import seeded, tables
from labsupport.population import Plan
from labsupport.pruning import nodes

SEEDS, LEFT = range(100, 116), 5
CASES = [{"hidden": "100", "rule": rule, "rank": rank, "chosen_on": "train"} for rule, rank in (
    ("loss without it", "once"), ("loss without it", "anew"), ("second order", "once"), ("second order", "anew"),
    ("first order", "once"), ("first order", "anew"), ("outgoing weight", "once"), ("activation", "once"),
    ("at random", "once"))]  # fmt: skip
CASES += [{"hidden": "50-50", "rule": rule, "rank": rank, "chosen_on": "train"} for rule, rank in (
    ("loss without it", "once"), ("loss without it", "anew"), ("first order", "anew"), ("second order", "anew"))]
CASES += [{"hidden": width, "rule": "loss without it", "rank": "anew", "chosen_on": "train"}
          for width in ("25", "50", "200")]  # fmt: skip
CASES += [{"hidden": "100", "rule": "loss without it", "rank": "anew", "chosen_on": "test"}]
CHECKED = [CASES[0], CASES[6]]
TOLERANCE = {"gone": 4, "accuracy": 0.05, "elsewhere": 0.05, "first": 0.1, "second": 0.1}
RULES = {
    "loss without it": nodes.ablation_losses,
    "second order": nodes.taylor,
    "first order": partial(nodes.taylor, order=1),
    "outgoing weight": lambda layer: nodes.onorm(layer.weight),
    "activation": lambda layer: nodes.activation_norm(layer.activations),
    "at random": lambda layer: torch.rand(layer.activations.shape[::2], generator=seeded(1), dtype=torch.float64),
}
rounded = partial(tables.rounded, digits=4)


@cache
def trained(hidden, seeds=SEEDS):
    """Networks with given hidden layers, such as "50-50": 1,000 examples to train, 297 to validate, 500 to test."""
    pool = data.digits(generator=seeded(0)).flat().to(torch.float64)
    parts = data.partitions(pool, num_train=1000, num_valid=297, num_test=500, seeds=seeds)
    build = partial(models.mlp, [64, *map(int, hidden.split("-")), 10], activation="sigmoid")
    return experiments.run(lambda g: build(generator=g), parts, optimizers.adam(), {"lr": 0.01},
                           Plan(30, 50, progress=False), seeds=seeds)  # fmt: skip


def examples(runs, part):
    """Images (members, n, 64) and labels of each member's own part."""
    (x, y), rows = runs.data.pool, getattr(runs.data, part).index
    return x[rows], y[rows]


def order_of(net, x, y, rule, rank):
    """In which order all units but five go."""
    units = sum(net.widths)
    scores = nodes.of_all_layers(RULES[rule], net, x, y)
    everyone = torch.ones(len(x), units, dtype=torch.bool)
    steps = units - LEFT
    return nodes.greedy(scores, everyone, num_steps=steps, every=1 if rank == "anew" else steps)


def accuracies(net, order, x, y):
    """With none, one, two … units of an order gone: (members, steps + 1)."""
    found = []
    for gone in range(order.shape[1] + 1):
        kept = nodes.kept_after(order, units=sum(net.widths), num_removed=gone)
        found.append((nodes.outputs(net, x, kept).argmax(-1) == y).double().mean(-1))
    return torch.stack(found, 1)


def gone_before(accuracy):
    """Units gone before accuracy has fallen by more than one point: (members,)."""
    fallen = accuracy < accuracy[:, :1] - 0.01 - 1e-9
    return torch.where(fallen.any(1), fallen.double().argmax(1) - 1, accuracy.shape[1] - 1)


def run(case):
    runs = trained(case["hidden"])
    net, (x, y) = nodes.network(runs.state), examples(runs, "test")
    if case["chosen_on"] == "train":
        chosen = [part[:, :300] for part in examples(runs, "train")]
    else:
        chosen, x, y = (x[:, :250], y[:, :250]), x[:, 250:], y[:, 250:]
    order = order_of(net, *chosen, case["rule"], case["rank"])
    elsewhere, here = accuracies(net, order, x, y), accuracies(net, order, *chosen)
    half = nodes.kept_after(order, units=sum(net.widths), num_removed=sum(net.widths) // 2)
    found = {
        "gone": gone_before(elsewhere).tolist(),
        "accuracy": rounded(here[:, ::5].flatten()),
        "elsewhere": rounded(elsewhere[:, ::5].flatten()),
    }
    if net.widths[1:]:  # of each layer, what has gone when half of all units have
        found["first"], found["second"] = (rounded(1 - part.double().mean(1)) for part in half.split(net.widths, 1))
    return found
