"""How few weights a network for MONK's problems needs, deleted by surgery or by size, with no training in between.

Networks 17-3-1, 17-2-1 and 17-2-1 of sigmoids with weight decay, trained with all examples at a time on another draw of
each problem; the best by penalized loss of eight starts. `surgery` and `size` are the fewest weights with which the
training accuracy is that of the whole network, `dense`; `accuracies` run over the weights left, from all to one.
"""

import copy

import torch
from torch import nn

from labsupport import data, experiments, models, optimizers, population
from labsupport.experiments import seeded, tables
from labsupport.pruning import edges

UNITS = {1: 3, 2: 2, 3: 2}
DECAY = {1: 1e-4, 2: 1e-4, 3: 4e-3}
DAMPING = 0.01
STEPS = 1500
CASES = [{"problem": p, "draw": d} for p, draws in ((1, 8), (2, 8), (3, 16)) for d in range(draws)]
CHECKED = [CASES[0], CASES[20]]
TOLERANCE = 3


def squared(said, y):
    return (said[..., 0] - y).square().mean()


def decay(params, settings):
    return settings["decay"] * sum(value.square().sum() for value in params.values())


def robots(case):
    x, y = data.monks(case["problem"], generator=seeded(case["draw"])).train
    return x.double(), y.double()


def dense(case):
    """The best of eight starts."""
    x, y = robots(case)
    units = UNITS[case["problem"]]
    plan = population.Plan(STEPS, len(x), loss=squared, penalty=decay, valid_every=0, progress=False,
                           schedule={"lr": lambda t: max(1e-3, 1 - t / STEPS)})  # fmt: skip
    ran = experiments.run(
        lambda g: nn.Sequential(*models.mlp([17, units, 1], activation="sigmoid", generator=g), nn.Sigmoid()),
        data.Split((x, y), (x, y), (x, y)), optimizers.adam(), {"lr": 0.03, "penalty.decay": DECAY[case["problem"]]},
        plan, seeds=range(8),
    )
    loss = ran.scores("train").loss[0]
    size = sum(value.square().flatten(1).sum(1) for value in ran.state.params.values())
    return population.member(ran.state, int((loss + DECAY[case["problem"]] * size).argmin()))


def accuracy(net, x, y):
    with torch.no_grad():
        return float(((net(x)[:, 0] > 0.5) == (y > 0.5)).double().mean())


def by_surgery(net, x, y, vector, kept):
    hessian = edges.gauss_newton(net, x, y, loss=squared)[kept][:, kept]
    hessian.diagonal().add_(DAMPING * hessian.diagonal().mean() + 1e-12)  # units may be saturated
    inverse = torch.linalg.inv(hessian)
    place = int(edges.obs_saliencies(vector[kept], inverse).argmin())
    moved = vector.clone()
    moved[kept], _ = edges.obs_step(vector[kept], inverse, index=place)
    return moved, place


def by_size(net, x, y, vector, kept):
    place = int(vector[kept].abs().argmin())
    moved = vector.clone()
    moved[kept[place]] = 0
    return moved, place


def pruned(net, x, y, rule):
    """Training accuracy as weights go one by one, from all to one."""
    vector = nn.utils.parameters_to_vector(net.parameters()).detach()
    kept = torch.arange(len(vector))
    found = [accuracy(net, x, y)]
    while len(kept) > 1:
        vector, place = rule(net, x, y, vector, kept)
        kept = torch.cat([kept[:place], kept[place + 1 :]])
        nn.utils.vector_to_parameters(vector, net.parameters())
        found.append(accuracy(net, x, y))
    return found


def fewest(accuracies):
    """Weights left where the accuracy was last that of the whole network."""
    return len(accuracies) - max(i for i, value in enumerate(accuracies) if value >= accuracies[0])


def run(case):
    net, (x, y) = dense(case), robots(case)
    rules = {"surgery": by_surgery, "size": by_size}
    found = {name: pruned(copy.deepcopy(net), x, y, rule) for name, rule in rules.items()}
    about = {"dense": round(found["size"][0], 4), "weights": len(found["size"])}
    return about | {rule: fewest(curve) for rule, curve in found.items()} | {
        f"{rule}_accuracies": tables.rounded(curve, decimals=3) for rule, curve in found.items()}  # fmt: skip
