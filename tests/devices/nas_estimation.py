"""The device table of `labsupport.nas.estimation`; see tests/test_devices.py."""

import torch
from devices.given import NO_TENSOR, Entry, cannot, floats, labels, plain, runs

from labsupport import optimizers, population
from labsupport.nas import cells, estimation

NET = "CellNets begin from a generator, and a meta generator does not exist"


def crew(device):
    """Two members, each with a cell of its own."""
    net = cells.CellNet(4, 3, 2, generator=torch.Generator().manual_seed(0))
    params = {name: floats(device, 2, *value.shape) for name, value in net.named_parameters()}
    state = population.start(net.to(device), params, optimizers.momentum(), {"lr": 0.1}, seeds=[0, 1])
    return cells.with_cells(state, cells.codes()[:2])


def call(params, x):
    return x @ params["w"].mT


def on_batch(score):
    return runs(lambda d: score(call, {"w": floats(d, 3, 4)}, floats(d, 6, 4), labels(d)))


def inherited(device):
    codes = cells.codes()[:2]
    return estimation.inherit(crew(device), crew(device), codes=codes, parent_codes=codes).params


TABLE: dict[str, Entry] = {
    "nas.estimation.forecast": cannot("L-BFGS is SciPy's and reads values", gpu=lambda d: estimation.forecast(
        torch.eye(3, device=d), floats(d, 3), torch.eye(3, device=d))),
    "nas.estimation.gradient_norm": on_batch(estimation.gradient_norm),
    "nas.estimation.inherit": cannot(NET, gpu=inherited),
    "nas.estimation.jacobian_covariance": on_batch(estimation.jacobian_covariance),
    "nas.estimation.kendall": runs(lambda d: estimation.kendall(floats(d, 5), floats(d, 5))),
    "nas.estimation.one_hot": cannot("a code is plain data: " + NO_TENSOR),
    "nas.estimation.scores": runs(lambda d: estimation.scores(
        estimation.snip, plain(d), floats(d, 6, 4), labels(d))),
    "nas.estimation.snip": on_batch(estimation.snip),
    "nas.estimation.synflow": on_batch(estimation.synflow),
}  # fmt: skip
