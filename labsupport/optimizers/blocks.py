"""Parameters laid out for a rule: as they are where it is known in place, else in few long vectors.

A small tensor costs an operation about as much as a large one, so small ones are laid end to end. What an operation
leaves behind should still be in the cache when the next one wants it, so long vectors are cut in pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from labsupport.optimizers.in_place import IN_PLACE
from labsupport.optimizers.rule import Optimizer, Params, Settings, State
from labsupport.values import number

__all__ = ["ANSWER", "Block", "Straight", "Team", "teams"]

ANSWER = "answer"
"""The slot of a parameter's own value where the rule takes its gradient elsewhere."""
PIECE = 2**15
"""Numbers in a piece."""
_ONE = ""

Entry = dict[str, "Tensor | dict[str, Tensor]"]


@dataclass(eq=False)
class Block:
    """Parameters that are moved by one call of the rule for each piece.

    Attributes:
        tensors: the parameters.
        slots: the rule's state of each piece.
        values: views of the vector in which the parameters are laid end to end, shaped like them; empty where none are.
        vectors: these, and the same views of a vector of the gradients.
        pieces: parameters and gradients of each piece of those vectors.
        answers: the parameters of each piece that the rule steps from; None where they are those of the network.
    """

    tensors: list[Tensor]
    slots: list[State]
    values: Sequence[Tensor] = ()
    vectors: Sequence[Tensor] = ()
    pieces: Sequence[tuple[Params, Params]] = ()
    answers: list[Params | None] = field(init=False)

    def __post_init__(self) -> None:
        self.answers = [slots.pop(ANSWER, None) for slots in self.slots]

    def gathered(self) -> Sequence[tuple[Params, Params]]:
        """Parameters and gradients of each piece, as they are now."""
        if self.values:
            torch._foreach_copy_(self.vectors, [*self.tensors, *[tensor.grad for tensor in self.tensors]])
            return self.pieces
        if len(self.slots) == 1:
            names = [str(i) for i in range(len(self.tensors))]
            values, grads = [t.detach() for t in self.tensors], [t.grad for t in self.tensors]
            return [(dict(zip(names, values, strict=True)), dict(zip(names, grads, strict=True)))]
        (tensor,) = self.tensors
        both = tensor.detach().view(-1).split(PIECE), tensor.grad.reshape(-1).split(PIECE)
        return [({_ONE: value}, {_ONE: slope}) for value, slope in zip(*both, strict=True)]

    def scatter(self) -> None:
        """Put the moved numbers back into the parameters."""
        if self.values:
            torch._foreach_copy_(self.tensors, self.values)


@dataclass(eq=False)
class Team:
    """Parameters of one dtype and device that have taken the same number of steps.

    Attributes:
        blocks: of its parameters.
        shared: slots with one entry for all, such as the number of steps.
    """

    blocks: list[Block]
    shared: State

    def move(self, rule: Optimizer, settings: Settings) -> None:
        """One step, in place."""
        after = self.shared
        for block in self.blocks:
            for (params, grads), slots, answer in zip(block.gathered(), block.slots, block.answers, strict=True):
                moved, after = rule.update(grads, {**slots, **self.shared}, answer or params, settings)
                place = moved if rule.at is None else rule.at(moved, after, settings)
                for slot, entries in slots.items():
                    _copy(entries, after[slot])
                if answer:
                    _copy(answer, moved)
                _copy(params, place)
            block.scatter()
        for slot, entries in self.shared.items():
            entries.update(after[slot])


@dataclass(eq=False)
class Straight:
    """Parameters of one dtype and device that have taken the same number of steps, for a rule that is known in place.

    Attributes:
        tensors: the parameters.
        slots: by slot, the state of each.
        shared: slots with one entry for all, such as the number of steps.
        steps: that were taken.
    """

    tensors: list[Tensor]
    slots: dict[str, list[Tensor]]
    shared: State
    steps: float

    def move(self, rule: Optimizer, settings: Settings) -> None:
        """One step, in place."""
        self.steps += 1
        numbers = {name: float(value) for name, value in settings.items()}
        IN_PLACE[rule](self.tensors, [tensor.grad for tensor in self.tensors], self.slots, numbers, self.steps)
        for entries in self.shared.values():
            entries.update({name: count + 1 for name, count in entries.items()})


def teams(rule: Optimizer, entries: dict[Tensor, Entry]) -> list[Team | Straight]:
    """The parameters of a group that have gradients, by parameter its state, as teams.

    An empty entry is filled with the rule's start. The tensors of all are put into the memory of the blocks, so that
    an entry always shows the present state.
    """
    found: dict[tuple, list[Tensor]] = {}
    begun = next((entry for entry in entries.values() if entry), None)
    for tensor, entry in entries.items():
        if not entry:
            entry.update(_start(rule, tensor.detach()))
        counts = [number(v) for each in entry.values() if isinstance(each, dict) for v in each.values()]
        found.setdefault((tensor.dtype, tensor.device, *counts) if rule.elementwise else (), []).append(tensor)
    made = []
    for tensors in found.values():
        own = {tensor: entries[tensor] for tensor in tensors}
        source = own[tensors[0]] if rule.elementwise or begun is None else begun
        shared = {slot: dict(each) for slot, each in source.items() if isinstance(each, dict)}
        for entry in own.values():
            entry.update(shared)
        made.append(_straight(own, shared) if rule in IN_PLACE else Team(_blocks(rule, own), shared))
    return made


def _start(rule: Optimizer, value: Tensor) -> Entry:
    slots = rule.init({_ONE: value})
    entry = {slot: each[_ONE].clone() if each.keys() == {_ONE} else each for slot, each in slots.items()}
    return entry if rule.at is None else {**entry, ANSWER: value.clone()}


def _straight(entries: dict[Tensor, Entry], shared: State) -> Straight:
    slots: dict[str, list[Tensor]] = {}
    for entry in entries.values():
        for slot, value in _own(entry).items():
            entry[slot] = value.clone()
            slots.setdefault(slot, []).append(entry[slot])
    counts = [number(count) for each in shared.values() for count in each.values()]
    return Straight(list(entries), slots, shared, counts[0] if counts else 0.0)


def _blocks(rule: Optimizer, entries: dict[Tensor, Entry]) -> list[Block]:
    if not rule.elementwise:
        slots: State = {}
        for i, entry in enumerate(entries.values()):
            for slot, value in _own(entry).items():
                entry[slot] = slots.setdefault(slot, {})[str(i)] = value.clone()
        return [Block(list(entries), [slots])]
    large = [tensor for tensor in entries if tensor.numel() > PIECE and tensor.is_contiguous()]
    small = [tensor for tensor in entries if not any(tensor is other for other in large)]
    blocks = [_large(tensor, entries[tensor]) for tensor in large]
    return blocks + ([_end_to_end(small, entries)] if small else [])


def _large(tensor: Tensor, entry: Entry) -> Block:
    slots = [{} for _ in range(-(-tensor.numel() // PIECE))]
    for slot, value in _own(entry).items():
        entry[slot] = value.clone(memory_format=torch.contiguous_format)
        for piece, part in zip(slots, entry[slot].view(-1).split(PIECE), strict=True):
            piece[slot] = {_ONE: part}
    return Block([tensor], slots)


def _end_to_end(tensors: list[Tensor], entries: dict[Tensor, Entry]) -> Block:
    first, ends = tensors[0], [0, *accumulate(tensor.numel() for tensor in tensors)]

    def vector() -> tuple[Tensor, list[Tensor]]:
        flat = torch.empty(ends[-1], dtype=first.dtype, device=first.device)
        return flat, [flat[a:b].view(t.shape) for (a, b), t in zip(pairwise(ends), tensors, strict=True)]

    (value, values), (slope, slopes) = vector(), vector()
    both = zip(value.split(PIECE), slope.split(PIECE), strict=True)
    pieces = [({_ONE: one}, {_ONE: other}) for one, other in both]
    slots = [{} for _ in pieces]
    for slot in _own(entries[first]):
        flat, views = vector()
        for tensor, view in zip(tensors, views, strict=True):
            entries[tensor][slot] = view.copy_(entries[tensor][slot])
        for piece, part in zip(slots, flat.split(PIECE), strict=True):
            piece[slot] = {_ONE: part}
    return Block(tensors, slots, values, [*values, *slopes], pieces)


def _own(entry: Entry) -> dict[str, Tensor]:
    return {slot: value for slot, value in entry.items() if isinstance(value, Tensor)}


def _copy(into: Params, source: Params) -> None:
    for name, value in into.items():
        value.copy_(source[name])
