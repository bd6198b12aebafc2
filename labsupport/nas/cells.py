"""The small space in which every cell was trained: three nodes, each an operation on one earlier state.

State 0 is a linear image of the input, states 1 to 3 are the nodes. A node reads one earlier state and applies one of
five operations to it; the nodes that no node reads are averaged, and a linear layer classifies the average. That makes
5 · (2 · 5) · (3 · 5) = 750 codes. `CellNet` computes all operations and keeps one by one-hot buffers, so that different
cells train as one population.

Source: the feed-forward form of the recurrent cells of Pham et al. 2018, arXiv:1802.03268, section 2.1, whose
operations are tanh, ReLU, identity and sigmoid; zero is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor, nn

from labsupport import population
from labsupport.search import space as spaces
from labsupport.search.space import Categorical, Params, Space
from labsupport.values import check_count, check_generator

__all__ = [
    "OPERATIONS", "SPACE", "CellNet", "buffers", "codes", "live", "multiply_adds", "num_params", "row", "with_cells",
]  # fmt: skip

OPERATIONS = ("identity", "tanh", "relu", "sigmoid", "zero")
SPACE = Space({
    "op1": Categorical(OPERATIONS),
    "from2": Categorical((0, 1)), "op2": Categorical(OPERATIONS),
    "from3": Categorical((0, 1, 2)), "op3": Categorical(OPERATIONS),
})  # fmt: skip
_NODES = 3


class CellNet(nn.Module):
    """A cell between a linear stem and a linear classifier, (n, inputs) -> (n, classes).

    Its buffers say which cell it is: `reads` (3, 3), one-hot rows of the state that each node reads; `applies` (3, 4),
    one-hot rows of its operation, 0 for "zero"; `ends` (3,), each node's share of the average. It begins as the first
    of `codes()`.

    Args:
        inputs, width, classes: >= 1.
        generator: draws the weights, uniform in ±1/√fan_in, stem first; biases are 0.
    """

    reads: Tensor
    applies: Tensor
    ends: Tensor

    def __init__(self, inputs: int, width: int, classes: int, *, generator: torch.Generator) -> None:
        super().__init__()
        check_generator("CellNet", generator)
        for name, value in {"inputs": inputs, "width": width, "classes": classes}.items():
            check_count("CellNet", name, value)
        self.stem = _linear(inputs, width, generator)
        self.nodes = nn.ModuleList(_linear(width, width, generator) for _ in range(_NODES))
        self.classifier = _linear(width, classes, generator)
        for name, value in buffers(codes()[0]).items():
            self.register_buffer(name, value.to(self.stem.weight))

    def forward(self, x: Tensor) -> Tensor:
        states = [self.stem(x)]
        for node, reads, applies in zip(self.nodes, self.reads, self.applies, strict=True):
            source = sum(share * state for share, state in zip(reads, states, strict=False))
            inside = node(source)
            every = (source, inside.tanh(), inside.relu(), inside.sigmoid())
            states.append(sum(share * value for share, value in zip(applies, every, strict=True)))
        return self.classifier(sum(share * state for share, state in zip(self.ends, states[1:], strict=True)))


def codes() -> list[Params]:
    """All 750 codes, the last decision changing fastest."""
    return [dict(zip(SPACE.dims, code, strict=True)) for code in product(*(dim.choices for dim in SPACE.dims.values()))]


def row(code: Params) -> int:
    """The place of a code in `codes()`.

    Raises:
        ValueError: it is a code of another space.
    """
    spaces.to_unit(SPACE, code)
    place = 0
    for name, dim in SPACE.dims.items():
        place = place * len(dim.choices) + dim.choices.index(code[name])
    return place


def buffers(code: Params) -> dict[str, Tensor]:
    """What `CellNet` needs to be this cell: `reads`, `applies` and `ends`, float64 on the CPU.

    Raises:
        ValueError: it is a code of another space.
    """
    reads, applies = _decisions(code)
    one_hot = torch.eye(len(OPERATIONS), dtype=torch.float64)[[OPERATIONS.index(op) for op in applies]]
    ends = torch.tensor([float(node not in reads) for node in range(1, _NODES + 1)], dtype=torch.float64)
    sources = torch.eye(_NODES, dtype=torch.float64)[reads]
    return {"reads": sources, "applies": one_hot[:, :-1], "ends": ends / ends.sum()}


def with_cells(state: population.State, chosen: Sequence[Params]) -> population.State:
    """A population of `CellNet` in which each member is the cell of its code.

    Raises:
        ValueError: there are not as many codes as members, or one is of another space.
    """
    members = len(state.seeds)
    if len(chosen) != members:
        raise ValueError(f"with_cells: chosen must hold {members} codes, one for each member, got {len(chosen)}")
    each = [buffers(code) for code in chosen]
    given = {name: torch.stack([one[name] for one in each]).to(old) for name, old in state.buffers.items()}
    return replace(state, buffers=given)


def live(code: Params) -> list[int]:
    """The nodes, of 1 to 3, that the output depends on and that depend on the input: others only cost."""
    reads, applies = _decisions(code)
    fed = {0}
    for node, (source, op) in enumerate(zip(reads, applies, strict=True), start=1):
        if source in fed and op != "zero":
            fed.add(node)
    used = {node for node in range(1, _NODES + 1) if node not in reads}
    for node in range(_NODES, 0, -1):
        if node in used and node in fed:
            used.add(reads[node - 1])
    return sorted(node for node in fed & used if node)


def num_params(code: Params, *, inputs: int, width: int, classes: int) -> int:
    """Weights and biases on the way from input to output; where there is no way, the classifier's bias."""
    weighted, any_live = _weighted(code)
    return any_live * (width * (inputs + 1) + width * classes) + weighted * width * (width + 1) + classes


def multiply_adds(code: Params, *, inputs: int, width: int, classes: int) -> int:
    """Products of a weight and a number in one pass of one example, of the layers that the output depends on."""
    weighted, any_live = _weighted(code)
    return any_live * width * (inputs + classes) + weighted * width * width


def _decisions(code: Params) -> tuple[list[int], list[str]]:
    spaces.to_unit(SPACE, code)  # refuses what is no code
    return [0, code["from2"], code["from3"]], [code["op1"], code["op2"], code["op3"]]


def _weighted(code: Params) -> tuple[int, bool]:
    """How many live nodes have a layer of weights, and whether any is alive."""
    nodes = live(code)
    return sum(code[f"op{node}"] != "identity" for node in nodes), bool(nodes)


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, device=generator.device)
    with torch.no_grad():
        layer.weight.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
        layer.bias.zero_()
    return layer
