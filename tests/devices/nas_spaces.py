"""The device table of NASNet's cells and of chains; see tests/test_devices.py."""

import torch
from devices.given import NO_TENSOR, Entry, born, cannot, floats, runs

from labsupport import data
from labsupport.nas import chains, space, stacks, table, trials
from labsupport.search.contract import Trial

CODE = "a code is plain data: " + NO_TENSOR
MADE = "its layers are made without drawing a start, which torch cannot do on a meta device that is faked"
BLOCK = space.Block((0, 1), ("3x3 max", "3x3 separable"), "concat")
CELL = space.Cell((BLOCK,))
CODED = space.Architecture(CELL, CELL)
OUTLINE = stacks.Outline((1, 4, 4), 2, width=2)
CHAIN = chains.Chain((chains.Layer(3, 2, 2, ()), chains.Layer(1, 2, 1, (False,))))


def task(device):
    part = (floats(device, 4, 1, 4, 4), torch.zeros(4, dtype=torch.int64, device=device))
    return trials.Task(data.Split(part, part, part, ("a", "b")), OUTLINE, num_steps=1, batch_size=2)


def trained(device):
    net = task(device).trained(Trial(0, space.encode(CODED), None, None))
    return list(net.parameters())


def in_cell(device):
    cell = stacks.CellBlocks(CELL, [(2, 1), (2, 1)], 2, True, device)
    return cell(floats(device, 2, 2, 4, 4), floats(device, 2, 2, 4, 4))


TABLE: dict[str, Entry] = {
    "nas.chains.ChainNet": cannot(
        MADE, gpu=lambda d: chains.ChainNet(CHAIN, 1, 2, torch.device(d))(floats(d, 3, 1, 4, 4))
    ),
    "nas.chains.build": born(lambda g: chains.build(CHAIN, (1, 4, 4), 2, generator=g)(floats(g.device, 3, 1, 4, 4))),
    "nas.chains.joined": runs(lambda d: chains.joined([floats(d, 2, 1, 4, 4), floats(d, 2, 1, 2, 3)])),
    "nas.costs.multiply_adds": cannot("it counts on the meta device, wherever the network lies: " + NO_TENSOR),
    "nas.space.sample": cannot("it draws integers where the generator lies: " + NO_TENSOR),
    "nas.stacks.CellBlocks": cannot(MADE, gpu=in_cell),
    "nas.stacks.Outline": cannot(NO_TENSOR),
    "nas.stacks.Stack": cannot(MADE, gpu=lambda d: stacks.Stack(CODED, OUTLINE, d)(floats(d, 3, 1, 4, 4))),
    "nas.stacks.build": born(lambda g: stacks.build(CODED, OUTLINE, generator=g)(floats(g.device, 3, 1, 4, 4))),
    "nas.stacks.operation": cannot(
        MADE, gpu=lambda d: stacks.operation("7x7 separable", 2, stride=2, device=d)(floats(d, 1, 2, 4, 4))
    ),
    "nas.trials.Task": cannot("it draws weights on the CPU, and whether a loss is finite is a value", gpu=trained),
    "nas.trials.error": cannot("it says a share as a Python number"),
    "nas.trials.search": cannot("a study is plain data: " + NO_TENSOR),
    "nas.trials.train": cannot("it reads whether a loss is finite", gpu=trained),
    "nas.table.Table": cannot("what was measured is kept on the CPU: " + NO_TENSOR),
    "nas.table.load": cannot("what was measured is kept on the CPU"),
    "nas.table.truth": runs(lambda d: table.truth(table.Table((0.1,), *[floats(d, 1, 2, 3)] * 5), seed=1)),
}
TABLE |= {
    f"nas.{name}": cannot(CODE)
    for name in [
        "alike.canonical", "alike.tree", "chains.Chain", "chains.Layer", "chains.decode", "chains.depth",
        "chains.encode", "chains.loose_ends", "chains.search_space", "chains.sizes", "space.Architecture",
        "space.Block", "space.Cell", "space.cells", "space.count", "space.decode", "space.encode", "space.from_json",
        "space.loose_ends", "space.mutate", "space.search_space", "space.to_json",
    ]
}  # fmt: skip
