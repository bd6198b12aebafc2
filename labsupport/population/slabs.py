"""Slabs: how many members are computed at once, which those are, and how they are cut out and put together again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils._pytree import tree_map

from labsupport.population.members import State, tensors_of

__all__ = ["Slabs", "slabs_for"]

SIZES = (64, 32, 16, 8, 4)
MOST_PARAMETERS = 1_400_000
MOST_CONVOLVED = 800_000
MOST_ELSEWHERE = 400_000_000


@dataclass(frozen=True)
class Slabs:
    """How the members are parted.

    Attributes:
        places: (slabs, members of a slab), who stands where; the last may be named more than once.
        why: the reason for their size.
    """

    places: list[list[int]]
    why: str

    @property
    def size(self) -> int:
        """Members of a slab."""
        return len(self.places[0])

    @property
    def members(self) -> int:
        """All of them."""
        return self.places[-1][-1] + 1

    def cut(self, state: State) -> list[State]:
        """The members in slabs of equal size, the last filled up with copies of the last member."""
        return [state] if len(self.places) == 1 else [state[row] for row in self.places]

    def joined(self, slabs: list[State]) -> State:
        """All members again."""
        whole = tree_map(lambda *values: torch.cat(values)[: self.members], *map(tensors_of, slabs))
        seeds = tuple(seed for slab in slabs for seed in slab.seeds)[: self.members]
        return replace(slabs[0], seeds=seeds, **whole)

    def words(self) -> str:
        """For the line that reports it."""
        return f"{f'slabs of {self.size}' if self.size > 1 else 'one after another'} ({self.why})"


def slabs_for(state: State, wanted: int | None, *, convolved: int = 0) -> Slabs:
    """As many members in a slab as `wanted`, or as the written rule says.

    The rule, on a CPU: the largest of 64, 32, 16, 8, 4 with slab × parameters <= 1.4 million (about what the cache
    holds) and slab × `convolved`, the outputs of a member's convolutions in a batch, <= 0.8 million; else one after
    another. Elsewhere, as many as have 400 million parameters, and convolved numbers, together. Recurrent layers of
    torch are not batched at all.
    """
    if wanted and wanted > 1 and len(state) > 1 and _padded(state.module):
        raise ValueError(
            f"train: slab must be 1 for an Embedding with padding_idx, whose row vmap trains, got {wanted}"
        )
    size, why = (min(wanted, len(state)), "as the plan says") if wanted else _by_rule(state, convolved)
    count = -(-len(state) // size)
    even = -(-len(state) // count)
    places = [[min(at + i, len(state) - 1) for i in range(even)] for at in range(0, count * even, even)]
    return Slabs(places, why)


def _by_rule(state: State, convolved: int) -> tuple[int, str]:
    if any(isinstance(layer, (nn.RNNBase, nn.RNNCellBase)) for layer in state.module.modules()):
        return 1, "recurrent layers"
    if _padded(state.module):
        return 1, "an Embedding with padding_idx, whose row vmap would train"
    size = sum(value[0].numel() for value in state.params.values())
    why = f"{size} parameters each" + (f", {convolved} convolved numbers" if convolved else "")
    if state.active.device.type != "cpu":
        return max(1, min(len(state), MOST_ELSEWHERE // max(size, convolved))), why
    fitting = [slab for slab in SIZES if slab * size <= MOST_PARAMETERS and slab * convolved <= MOST_CONVOLVED]
    return min(max(fitting, default=1), len(state)), why


def _padded(module: nn.Module) -> bool:
    kinds = (nn.Embedding, nn.EmbeddingBag)
    return any(isinstance(layer, kinds) and layer.padding_idx is not None for layer in module.modules())
