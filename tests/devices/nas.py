"""The device table of `labsupport.nas`; see tests/test_devices.py."""

import torch
from devices.given import NO_TENSOR, Entry, born, cannot, floats, runs

from labsupport import optimizers, population
from labsupport.nas import cells, front

CODE = "a code is plain data: " + NO_TENSOR


def crew(device):
    """Two members, each with a cell of its own."""
    net = cells.CellNet(4, 3, 2, generator=torch.Generator().manual_seed(0))
    params = {name: floats(device, 2, *value.shape) for name, value in net.named_parameters()}
    state = population.start(net, params, optimizers.momentum(), {"lr": 0.1}, seeds=[0, 1])
    return cells.with_cells(state, cells.codes()[:2]).buffers


TABLE: dict[str, Entry] = {
    "nas.cells.CellNet": born(lambda g: cells.CellNet(4, 3, 2, generator=g)(floats(g.device, 5, 4))),
    "nas.cells.buffers": cannot("a code is plain data, and its buffers are made on the CPU"),
    "nas.cells.codes": cannot(CODE),
    "nas.cells.live": cannot(CODE),
    "nas.cells.multiply_adds": cannot(CODE),
    "nas.cells.num_params": cannot(CODE),
    "nas.cells.row": cannot(CODE),
    "nas.cells.with_cells": cannot("CellNets begin from a generator, and a meta generator does not exist", gpu=crew),
    "nas.front.non_dominated": runs(lambda d: front.non_dominated(floats(d, 5, 2))),
}
TABLE |= {f"nas.evolution.{name}": cannot(CODE) for name in ["ask", "finished", "init", "mutate"]}
