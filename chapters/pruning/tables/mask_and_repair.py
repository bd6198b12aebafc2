"""Test accuracies of networks whose weights were deleted by several rules and repaired in several ways, none retrained.

Network 64-128-64-10, trained to the end, each with digits of its own. In `layer by layer` every layer loses the same
fraction; in `together` all weights are ranked together. Each list holds an accuracy for every seed.
"""

import torch

from labsupport import population
from labsupport.experiments import seeded, tables
from labsupport.pruning import edges, setups
from labsupport.pruning.allocation import layer_masks, weights_of

SPARSITIES = (0.6, 0.8, 0.9, 0.95)
DAMPING = 0.01
CASES = [{"first": first} for first in (300, 304, 308, 312)]  # seed of the first of four networks
CHECKED = CASES[:1]
TOLERANCE = 0.011


def accuracy(net, x, y):
    with torch.no_grad():
        return float((net(x).argmax(1) == y).double().mean())


def with_bias(mask):
    return torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)


def layer_by_layer(net, split, hessians, sparsity):
    """Accuracy of every mask, as it is and repaired; and of surgery that does both at once."""
    whole = edges.matrices(net)
    bias = {name: [matrix.shape[1] - 1] for name, matrix in whole.items()}
    traces = {name: edges.obc(whole[name], hessians[name], fixed=bias[name]) for name in whole}
    sizes = {name: matrix[:, :-1].abs() for name, matrix in whole.items()}
    chance = {name: torch.rand(size.shape, generator=seeded(int(1000 * sparsity))) for name, size in sizes.items()}
    masks = {rule: {name: with_bias(mask) for name, mask in layer_masks(scores, sparsity).items()}
             for rule, scores in (("by size", sizes), ("at random", chance))}
    masks["exact greedy"] = {name: trace.mask(sparsity) for name, trace in traces.items()}
    found = {}
    for rule, mask in masks.items():
        found[f"{rule}, as it is"] = {name: whole[name] * mask[name] for name in whole}
        found[f"{rule}, refitted"] = {name: edges.refit(whole[name], mask[name], hessians[name]) for name in whole}
    found["layer-wise surgery"] = {
        name: edges.lobs(whole[name], hessians[name], sparsity=sparsity, fixed=bias[name]) for name in whole
    }
    return {rule: accuracy(edges.with_matrices(net, matrices), *split.test) for rule, matrices in found.items()}


def masked(net, masks):
    """A copy in which weights are 0 where their mask is False."""
    whole = edges.matrices(net)
    layers = {name: whole[name] * with_bias(masks[f"{name}.weight"]) for name in whole}
    return edges.with_matrices(net, layers), layers


def together(net, split, hessians, sparsity):
    """Accuracy when all weights are ranked together: by size, by curvature, and by curvature in ten rounds."""
    scores = {"by size": edges.magnitude_scores(weights_of(dict(net.named_parameters()))),
              "by curvature": weights_of(edges.obd_scores(net, *split.train))}
    masks = {rule: edges.keep_largest(score, sparsity=sparsity) for rule, score in scores.items()}
    found = {rule: accuracy(masked(net, mask)[0], *split.test) for rule, mask in masks.items()}
    whole = edges.matrices(net)
    for rule, mask in masks.items():
        layers = {name: edges.refit(whole[name], with_bias(mask[f"{name}.weight"]), hessians[name]) for name in whole}
        found[f"{rule}, refitted"] = accuracy(edges.with_matrices(net, layers), *split.test)
    left = net
    for step in edges.gradual(sparsity, num_rounds=10):
        score = weights_of(edges.obd_scores(left, *split.train))
        left, _ = masked(left, edges.keep_largest(score, sparsity=step))
    return found | {"by curvature, ten rounds": accuracy(left, *split.test)}


def run(case):
    ran = setups.trained(setups.network, seeds=range(case["first"], case["first"] + 4))
    found = {"dense": []}
    for place, seed in enumerate(ran.seeds):
        net, split = population.member(ran.state, place), ran.data.split(seed)
        hessians = edges.layer_hessians(net, split.train[0], damping=DAMPING)
        found["dense"].append(accuracy(net, *split.test))
        for sparsity in SPARSITIES:
            for kind, rules in (("layer by layer", layer_by_layer), ("together", together)):
                for rule, value in rules(net, split, hessians, sparsity).items():
                    found.setdefault(f"{kind}: {rule}, {sparsity:g}", []).append(value)
    return {name: tables.rounded(values, decimals=4) for name, values in found.items()}
