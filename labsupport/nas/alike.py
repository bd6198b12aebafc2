"""Codes that are the same network: one name for all of them.

NASNet's cells are alike when one becomes the other by renumbering its parts: the networks compute the same functions
and begin from the same distribution of weights. Small cells are alike also when one has parts that do nothing. That one
operation may do what another does is not asked.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations
from typing import Any

from labsupport.nas import cells
from labsupport.nas.space import NUM_INPUTS, Block, Cell
from labsupport.search.space import Params

__all__ = ["canonical", "tree"]


def canonical(cell: Cell) -> Cell:
    """Of the codes alike to a NASNet cell the one that sorts first: halves of a block and blocks are put in order.

    All orders of the blocks are tried, 120 for five of them.
    """
    orders = (order for order in permutations(range(len(cell.blocks))) if _possible(cell, order))
    return min((_reordered(cell, order) for order in orders), key=_sorted_by)


def tree(code: Params) -> tuple[Any, ...]:
    """A name that alike codes of `cells.SPACE` share, and others do not.

    Identities are left out, and nodes on which the output does not depend or which do not depend on the input: what a
    sigmoid makes of 0 is a constant, and the classifier's bias can be that. What remains is a tree below the input,
    since each node reads one state. A state is named (its share of the output, the nodes that read it), a node (its
    operation, the name of its state); nodes are sorted. All cells that do not see the input are alike.

    Raises:
        ValueError: `code` is of another space.
    """
    nodes = cells.live(code)
    reads = {1: 0, 2: code["from2"], 3: code["from3"]}
    ends = [node for node in reads if node not in reads.values()]
    found = {0: 0}
    for node in nodes:
        found[node] = found[reads[node]] if code[f"op{node}"] == "identity" else node
    shares = {state: Fraction(sum(found.get(end) == state for end in ends), len(ends)) for state in found.values()}

    def named(state: int) -> tuple[Any, ...]:
        below = [node for node in nodes if found[node] == node and found[reads[node]] == state]
        return (shares[state], tuple(sorted((code[f"op{node}"], named(node)) for node in below)))

    return named(0)


def _possible(cell: Cell, order: tuple[int, ...]) -> bool:
    """Whether each block comes after those that it reads."""
    place = {old: new for new, old in enumerate(order)}
    return all(
        state < NUM_INPUTS or place[state - NUM_INPUTS] < place[old]
        for old, block in enumerate(cell.blocks)
        for state in block.inputs
    )


def _reordered(cell: Cell, order: tuple[int, ...]) -> Cell:
    state = {old: old for old in range(NUM_INPUTS)}
    state |= {old + NUM_INPUTS: new + NUM_INPUTS for new, old in enumerate(order)}
    blocks = []
    for old in order:
        block = cell.blocks[old]
        halves = sorted(zip((state[read] for read in block.inputs), block.operations, strict=True))
        inputs, operations = zip(*halves, strict=True)
        blocks.append(Block(inputs, operations, block.join))
    return Cell(tuple(blocks))


def _sorted_by(cell: Cell) -> list[Any]:
    return [(block.inputs, block.operations, block.join) for block in cell.blocks]
