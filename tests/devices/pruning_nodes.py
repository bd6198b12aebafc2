"""The device table of `labsupport.pruning.nodes` and `.diversity`; see tests/test_devices.py."""

import torch
from devices.given import VALUES, Entry, born, cannot, floats, labels, plain, runs
from torch import nn

from labsupport.pruning import diversity, nodes


def cut(device):
    """The hidden layer of two members."""
    return nodes.layer(nodes.network(plain(device)), floats(device, 6, 4), labels(device), at=0)


def whole(device):
    return torch.ones(2, 3, dtype=torch.bool, device=device)


def stacked(device):
    """The tensors of a stack, and of one network."""
    module = nn.Sequential(nn.Linear(4, 3, bias=False, device=device), nn.ReLU(), nn.Linear(3, 2, device=device))
    return [(net.weights, net.biases) for net in (nodes.network(plain(device)), nodes.network(module))]


def ranked(device):
    return nodes.greedy(lambda kept: kept.cumsum(-1).float(), whole(device), num_steps=2)


def alike(device):
    """A layer of three units by its incoming weights, their bias, and its outgoing weights."""
    return torch.arange(6.0, device=device).view(3, 2), floats(device, 3), floats(device, 2, 3)


TABLE: dict[str, Entry] = {
    "pruning.diversity.draws.sample": born(
        lambda g: diversity.sample(torch.eye(4, device=g.device), k=2, num_draws=3, generator=g)
    ),
    "pruning.diversity.draws.sample_any": born(
        lambda g: diversity.sample_any(torch.eye(4, device=g.device), num_draws=3, generator=g)
    ),
    "pruning.diversity.kernels.Spectrum": runs(lambda d: diversity.Spectrum(floats(d, 3), floats(d, 3, 3))),
    "pruning.diversity.kernels.check_rank": cannot("it counts eigenvalues: " + VALUES),
    "pruning.diversity.kernels.check_size": cannot("it takes and returns no tensor"),
    "pruning.diversity.kernels.decomposed": cannot(
        "it finds the rank: " + VALUES, gpu=lambda d: diversity.spectrum(torch.eye(3, device=d))
    ),
    "pruning.diversity.kernels.expected_size": runs(lambda d: diversity.expected_size(torch.eye(3, device=d))),
    "pruning.diversity.kernels.kernel": runs(lambda d: diversity.kernel(floats(d, 2, 6, 3), beta=1.0, epsilon=0.1)),
    "pruning.diversity.kernels.log_probability": cannot(
        "it returns a number: " + VALUES, gpu=lambda d: diversity.log_probability(torch.eye(3, device=d), [0, 2]) and ()
    ),
    "pruning.diversity.kernels.log_probability_any": cannot(
        "it returns a number: " + VALUES,
        gpu=lambda d: diversity.log_probability_any(torch.eye(3, device=d), []) and ()
    ),
    "pruning.diversity.kernels.log_symmetric": runs(lambda d: diversity.log_symmetric(floats(d, 4), k=2)),
    "pruning.diversity.kernels.spectrum": cannot(
        "it finds the rank: " + VALUES, gpu=lambda d: diversity.spectrum(torch.eye(3, device=d))
    ),
    "pruning.nodes.merging.Merged": runs(lambda d: nodes.Merged(floats(d, 2, 3), labels(d, 2))),
    "pruning.nodes.merging.absorb": runs(
        lambda d: nodes.absorb(floats(d, 2, 3), keep=0, drop=1, ratio=2.0, activation="relu")
    ),
    "pruning.nodes.merging.merge": runs(
        lambda d: nodes.merge(floats(d, 2, 3), floats(d, 6, 3), torch.arange(2, device=d))
    ),
    "pruning.nodes.merging.merge_alike": cannot(
        "it looks for the least saliency: " + VALUES,
        gpu=lambda d: nodes.merge_alike(*alike(d), num_steps=2, activation="relu"),
    ),
    "pruning.nodes.merging.saliency": runs(lambda d: nodes.saliency(*alike(d), activation="relu")),
    "pruning.nodes.networks.Layer": runs(lambda d: [cut(d).activations, cut(d).weight, cut(d).bias, cut(d).sums]),
    "pruning.nodes.networks.Perceptron": runs(stacked),
    "pruning.nodes.networks.layer": runs(lambda d: cut(d).tail(floats(d, 5, 2, 6, 2))),
    "pruning.nodes.networks.losses": runs(lambda d: nodes.losses(floats(d, 2, 6, 3), labels(d))),
    "pruning.nodes.networks.network": runs(stacked),
    "pruning.nodes.networks.outputs": runs(
        lambda d: nodes.outputs(nodes.network(plain(d)), floats(d, 6, 4), whole(d))
    ),
    "pruning.nodes.ranking.greedy": runs(ranked),
    "pruning.nodes.ranking.kept_after": runs(lambda d: nodes.kept_after(ranked(d), units=3, num_removed=1)),
    "pruning.nodes.scores.ablation_losses": runs(lambda d: nodes.ablation_losses(cut(d))),
    "pruning.nodes.scores.activation_norm": runs(lambda d: nodes.activation_norm(floats(d, 6, 3))),
    "pruning.nodes.scores.of_all_layers": runs(
        lambda d: nodes.of_all_layers(
            nodes.taylor, nodes.network(plain(d)), floats(d, 6, 4), labels(d)
        )(whole(d))
    ),
    "pruning.nodes.scores.onorm": runs(lambda d: nodes.onorm(floats(d, 2, 3))),
    "pruning.nodes.scores.pair_losses": runs(lambda d: nodes.pair_losses(cut(d))),
    "pruning.nodes.scores.taylor": runs(lambda d: nodes.taylor(cut(d))),
}
