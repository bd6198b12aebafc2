"""The device table of `labsupport.pruning.edges` and `allocation`; see tests/test_devices.py."""

import torch
from devices.given import NO_TENSOR, VALUES, Entry, born, cannot, floats, plain, runs
from torch import nn

from labsupport.pruning import allocation, edges, setups


def square(device, size=4):
    """Positive definite."""
    return torch.eye(size, device=device) * 2 + 0.1


def chain(device):
    return nn.Sequential(nn.Linear(4, 3, device=device), nn.ReLU(), nn.Linear(3, 2, device=device))


def labels(device, n=5):
    return torch.zeros(n, dtype=torch.int64, device=device)


def scanned(device):
    state = plain(device)
    return allocation.sensitivity(state, floats(device, 5, 4), labels(device), sparsities=[0.0, 0.5])


SOLVED = "it ranks and refuses by what it solves: " + VALUES

TABLE: dict[str, Entry] = {
    "pruning.allocation.Costs": cannot(NO_TENSOR),
    "pruning.allocation.by_sensitivity": cannot("it bisects on the CPU and returns numbers"),
    "pruning.allocation.costs": cannot("it counts, and returns numbers: " + VALUES),
    "pruning.allocation.latency": cannot("it returns seconds"),
    "pruning.allocation.layer_masks": runs(lambda d: allocation.layer_masks({"a": floats(d, 4)}, 0.5)),
    "pruning.allocation.sensitivity": runs(scanned),
    "pruning.allocation.weights_of": runs(lambda d: allocation.weights_of({"a": floats(d, 4, 2)})),
    "pruning.edges.damage.gauss_newton": cannot(
        SOLVED, gpu=lambda d: edges.gauss_newton(chain(d), floats(d, 5, 4), labels(d))
    ),
    "pruning.edges.damage.obd_scores": cannot(
        SOLVED, gpu=lambda d: edges.obd_scores(chain(d), floats(d, 5, 4), labels(d))
    ),
    "pruning.edges.layers.Trace": cannot(
        SOLVED, gpu=lambda d: edges.obc(floats(d, 3, 4), square(d)).at(0.5)
    ),
    "pruning.edges.layers.layer_hessian": runs(lambda d: edges.layer_hessian(floats(d, 5, 4), damping=0.1)),
    "pruning.edges.layers.lobs": cannot(
        SOLVED, gpu=lambda d: edges.lobs(floats(d, 3, 4), square(d), sparsity=0.5, fixed=[3])
    ),
    "pruning.edges.layers.obc": cannot(SOLVED, gpu=lambda d: edges.obc(floats(d, 3, 4), square(d), fixed=[3]).order),
    "pruning.edges.layers.refit": runs(lambda d: edges.refit(floats(d, 3, 4), floats(d, 3, 4) > 0.5, square(d))),
    "pruning.edges.net_trim.Trimmed": cannot(NO_TENSOR),
    "pruning.edges.net_trim.net_trim": cannot(
        "it stops by what it has reached: " + VALUES,
        gpu=lambda d: edges.net_trim(floats(d, 3, 4), floats(d, 6, 4), epsilon=0.1, fixed=[3]).weight,
    ),
    "pruning.edges.networks.layer_hessians": runs(
        lambda d: edges.layer_hessians(chain(d), floats(d, 5, 4), damping=0.1)
    ),
    "pruning.edges.networks.layer_inputs": runs(lambda d: edges.layer_inputs(chain(d), floats(d, 5, 4))),
    "pruning.edges.networks.matrices": runs(lambda d: edges.matrices(chain(d))),
    "pruning.edges.networks.steps_of": runs(
        lambda d: [before for _, _, before in edges.networks.steps_of("here", chain(d), floats(d, 5, 4))]
    ),
    "pruning.edges.networks.with_matrices": runs(
        lambda d: list(edges.with_matrices(chain(d), {"0": floats(d, 3, 5)}).parameters())
    ),
    "pruning.edges.obs.check_square": runs(lambda d: edges.obs.check_square("here", "h", square(d), 4, floats(d, 4))),
    "pruning.edges.obs.inverse_by_examples": runs(lambda d: edges.inverse_by_examples(floats(d, 5, 4), damping=0.1)),
    "pruning.edges.obs.obs_saliencies": runs(lambda d: edges.obs_saliencies(floats(d, 4), square(d))),
    "pruning.edges.obs.obs_step": runs(lambda d: edges.obs_step(floats(d, 4), square(d), index=1)),
    "pruning.edges.ranking.check_sparsity": cannot(NO_TENSOR),
    "pruning.edges.ranking.gradual": cannot(NO_TENSOR),
    "pruning.edges.ranking.keep_largest": runs(lambda d: edges.keep_largest(floats(d, 4), sparsity=0.5)),
    "pruning.edges.ranking.magnitude_scores": runs(lambda d: edges.magnitude_scores(floats(d, 4))),
    "pruning.edges.ranking.num_pruned": cannot(NO_TENSOR),
    "pruning.setups.network": born(lambda g: list(setups.network(g).parameters())),
    "pruning.setups.trained": cannot("it draws its data itself, on the CPU"),
}
