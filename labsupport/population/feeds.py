"""What the members see: one set of examples for all, or a sample out of a pool for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport import counters
from labsupport.data import Partitions, Rows, Split
from labsupport.data.splits import PARTS
from labsupport.population.plans import Plan

__all__ = ["Feed", "feeds"]


@dataclass(frozen=True, eq=False)
class Feed:
    """Examples of the members.

    Attributes:
        x, y: (n, …), the examples of all, or the pool out of which `rows` draws.
        rows: each seed's own; None where all have all.
    """

    x: Tensor
    y: Tensor
    rows: Rows | None = None

    def __len__(self) -> int:
        """Examples of a member."""
        return len(self.x) if self.rows is None else len(self.rows)

    def all(self, where: str, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """All examples of the members with these seeds, x and y (members, n, …)."""
        if self.rows is None:
            return self._shared(self.x, len(seeds)), self._shared(self.y, len(seeds))
        place = self.rows.places(where, seeds)
        return self._taken(self.rows.index[place], place)

    def batches(self, seeds: Sequence[int], steps: range, plan: Plan) -> Sequence[tuple[Tensor, Tensor]]:
        """Those of some steps within an epoch: at each, x and y (members, batch, …)."""
        place = None if self.rows is None else self.rows.places("train", seeds)
        size, per_epoch = plan.batch_size, len(self) // plan.batch_size
        if size == len(self):  # full batches, unshuffled
            whole = None if place is None else self.rows.index[place]
            return _Batches(self, len(seeds), place, [whole] * len(steps))
        owners = seeds if plan.order == "own" else (0,)
        epochs = range(steps[0] // per_epoch, steps[-1] // per_epoch + 1)
        found = [counters.orders(owners, e, len(self))[:, : per_epoch * size].unflatten(1, (-1, size)) for e in epochs]
        first = steps[0] % per_epoch
        order = torch.cat(found, 1)[:, first : first + len(steps)].to(self.x.device)
        if place is not None:
            order = order.expand(len(seeds), -1, -1)
            order = self.rows.index[place].gather(1, order.flatten(1)).view(order.shape)
        return _Batches(self, len(seeds), place, order.transpose(0, 1).contiguous())

    def _taken(self, index: Tensor, place: Tensor | None) -> tuple[Tensor, Tensor]:
        """Rows (members, n) of the pool, and their targets."""
        own = None if self.rows is None else self.rows.targets
        if own is None:
            return _picked(self.x, index), _picked(self.y, index)
        return _picked(self.x, index), _picked(own.flatten(0, 1), index + (place * own.shape[1])[:, None])

    @staticmethod
    def _shared(value: Tensor, members: int) -> Tensor:
        return value.expand(members, *value.shape)


@dataclass(frozen=True, eq=False)
class _Batches:
    """Batches made when they are asked for; `order` is (steps, members or 1, batch) or a list of one for each step."""

    feed: Feed
    members: int
    place: Tensor | None
    order: Tensor | list

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        index = self.order[at]
        if index is None:
            return tuple(self.feed._shared(value, self.members) for value in (self.feed.x, self.feed.y))
        x, y = self.feed._taken(index, self.place)
        if len(x) < self.members:
            x, y = (value.expand(self.members, *value.shape[1:]) for value in (x, y))
        return x, y


def feeds(data: Split | Partitions) -> dict[str, Feed]:
    """Training, validation and test examples by the name of their part."""
    if isinstance(data, Partitions):
        return {name: Feed(*data.pool, getattr(data, name)) for name in PARTS}
    return {name: Feed(*getattr(data, name)) for name in PARTS}


def _picked(values: Tensor, index: Tensor) -> Tensor:
    return values.index_select(0, index.flatten()).unflatten(0, index.shape)
