"""NASNet's cells as data: what can be said, said again as a setting of `search`, and how many there are.

A cell is a list of blocks. A block reads two states, applies an operation to each and joins the results. State 0 is the
output of the cell before, state 1 that of the cell before it, and block b (from 0) writes state 2 + b. The blocks'
states that no block reads are concatenated: the cell's output. An architecture is two cells, a normal one and a
reduction one; `nas.stacks` builds it.

Source: Zoph, Vasudevan, Shlens & Le 2018, arXiv:1707.07012, section 3. That the inputs of a cell, read or not, are no
part of its output is ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch

from labsupport.nas import evolution
from labsupport.search import space as spaces
from labsupport.search.space import Categorical, Params, Space
from labsupport.values import check_choice, check_count

__all__ = [
    "JOINS", "NUM_INPUTS", "OPERATIONS", "Architecture", "Block", "Cell", "cells", "count", "decode", "encode",
    "from_json", "loose_ends", "mutate", "sample", "search_space", "to_json",
]  # fmt: skip

OPERATIONS = (
    "identity", "1x3 then 3x1", "1x7 then 7x1", "3x3 dilated", "3x3 average", "3x3 max", "5x5 max", "7x7 max",
    "1x1 convolution", "3x3 convolution", "3x3 separable", "5x5 separable", "7x7 separable",
)  # fmt: skip
JOINS = ("add", "concat")
NUM_INPUTS = 2


@dataclass(frozen=True)
class Block:
    """Two states, what is done to each, and how the results are joined.

    Raises:
        ValueError: not two states, each an integer >= 0, not two of `OPERATIONS`, or none of `JOINS`.
    """

    inputs: tuple[int, int]
    operations: tuple[str, str]
    join: str

    def __post_init__(self) -> None:
        for name in ("inputs", "operations"):
            pair = getattr(self, name)
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise ValueError(f"Block: {name} must be two, got {pair!r}")
            object.__setattr__(self, name, tuple(pair))
        states = tuple(check_count("Block", "inputs", state, at_least=0) for state in self.inputs)
        object.__setattr__(self, "inputs", states)  # NumPy's integers are none to JSON
        for operation in self.operations:
            check_choice("Block", "operations", operation, OPERATIONS)
        check_choice("Block", "join", self.join, JOINS)


@dataclass(frozen=True)
class Cell:
    """One or more blocks, each reading earlier states only.

    Raises:
        ValueError: no block, something else than blocks, or a block that reads its own or a later state.
    """

    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.blocks, (tuple, list)) or not self.blocks:
            raise ValueError(f"Cell: blocks must be one Block or more, got {self.blocks!r}")
        object.__setattr__(self, "blocks", tuple(self.blocks))
        for place, block in enumerate(self.blocks):
            if not isinstance(block, Block):
                raise ValueError(f"Cell: blocks must be of Block, got {block!r}")
            if max(block.inputs) >= NUM_INPUTS + place:
                rule = f"must read states 0 … {NUM_INPUTS + place - 1}"
                raise ValueError(f"Cell: blocks[{place}] {rule}, got {max(block.inputs)}")


@dataclass(frozen=True)
class Architecture:
    """A normal cell, which keeps the size of the picture, and a reduction cell, which halves it.

    Raises:
        ValueError: they are no cells, or of different numbers of blocks.
    """

    normal: Cell
    reduction: Cell

    def __post_init__(self) -> None:
        for name in ("normal", "reduction"):
            if not isinstance(getattr(self, name), Cell):
                raise ValueError(f"Architecture: {name} must be a Cell, got {getattr(self, name)!r}")
        if len(self.normal.blocks) != len(self.reduction.blocks):
            raise ValueError(
                f"Architecture: reduction must have as many blocks as normal, {len(self.normal.blocks)}, "
                f"got {len(self.reduction.blocks)}"
            )


def count(num_blocks: int, *, num_operations: int = len(OPERATIONS), num_inputs: int = NUM_INPUTS) -> int:
    """Codes of one cell: block b chooses (num_inputs + b)² · num_operations² · 2 ways, states, operations, join.

    Raises:
        ValueError: an argument < 1.
    """
    blocks = check_count("count", "num_blocks", num_blocks)
    operations = check_count("count", "num_operations", num_operations)
    inputs = check_count("count", "num_inputs", num_inputs)
    total = 1
    for block in range(blocks):
        total *= (inputs + block) ** 2 * operations**2 * len(JOINS)
    return total


def cells(num_blocks: int, *, operations: tuple[str, ...] = OPERATIONS) -> Iterator[Cell]:
    """All codes of one cell, the last decision changing fastest; `count` says how many.

    Raises:
        ValueError: num_blocks < 1, or an operation that is none.
    """
    check_count("cells", "num_blocks", num_blocks)
    for operation in operations:
        check_choice("cells", "operations", operation, OPERATIONS)
    pairs = list(product(operations, repeat=2))
    blocks = [
        [Block(*parts) for parts in product(product(range(NUM_INPUTS + place), repeat=2), pairs, JOINS)]
        for place in range(num_blocks)
    ]
    return map(Cell, product(*blocks))


def loose_ends(cell: Cell) -> list[int]:
    """The blocks' states that no block reads, in order; the last state is always one."""
    read = {state for block in cell.blocks for state in block.inputs}
    return [state for state in range(NUM_INPUTS, NUM_INPUTS + len(cell.blocks)) if state not in read]


def search_space(num_blocks: int) -> Space:
    """Architectures of so many blocks a cell, as any strategy of `search` takes them: five choices a block.

    Raises:
        ValueError: num_blocks < 1.
    """
    dims = {}
    for cell, place in product(("normal", "reduction"), range(check_count("search_space", "num_blocks", num_blocks))):
        states = Categorical(tuple(range(NUM_INPUTS + place)))
        choices = (states, states, Categorical(OPERATIONS), Categorical(OPERATIONS), Categorical(JOINS))
        dims |= dict(zip(_names(cell, place), choices, strict=True))
    return Space(dims)


def encode(architecture: Architecture) -> Params:
    """The setting of `search_space` that stands for an architecture."""
    parts = {"normal": architecture.normal, "reduction": architecture.reduction}
    return {
        name: value
        for cell, code in parts.items()
        for place, block in enumerate(code.blocks)
        for name, value in zip(_names(cell, place), (*block.inputs, *block.operations, block.join), strict=True)
    }


def decode(params: Params) -> Architecture:
    """The architecture of a setting.

    Raises:
        ValueError: it is a setting of another space.
    """
    spaces.to_unit(search_space(max(len(params) // 10, 1)), params)  # refuses what is no code
    parts = {}
    for cell in ("normal", "reduction"):
        chosen = [[params[name] for name in _names(cell, place)] for place in range(len(params) // 10)]
        parts[cell] = Cell(tuple(Block((one[0], one[1]), (one[2], one[3]), one[4]) for one in chosen))
    return Architecture(**parts)


def sample(num_blocks: int, *, generator: torch.Generator) -> Architecture:
    """An architecture whose every choice is drawn evenly."""
    return decode(spaces.sample(search_space(num_blocks), generator=generator))


def mutate(architecture: Architecture, *, generator: torch.Generator) -> Architecture:
    """The architecture with one choice drawn again among the values that it does not have; see `evolution.mutate`."""
    code = encode(architecture)
    return decode(evolution.mutate(search_space(len(code) // 10), code, generator=generator))


def to_json(architecture: Architecture) -> str:
    """The architecture as text, from which `from_json` makes an equal one."""
    return json.dumps(asdict(architecture))


def from_json(text: str) -> Architecture:
    """The architecture that `to_json` wrote.

    Raises:
        ValueError: the text is no such.
    """
    try:
        stored = json.loads(text)
        return Architecture(**{name: _cell(cell["blocks"]) for name, cell in stored.items()})
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as problem:
        raise ValueError(f"from_json: text must be an architecture that to_json wrote, got {text!r}") from problem


def _cell(blocks: list[dict[str, Any]]) -> Cell:
    return Cell(tuple(Block(**block) for block in blocks))


def _names(cell: str, place: int) -> list[str]:
    return [f"{cell}.{place}.{part}" for part in ("input1", "input2", "operation1", "operation2", "join")]
