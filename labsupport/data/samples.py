"""A sample for each seed: many ways to part one pool of examples into training, validation and test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from labsupport.counters import GOLDEN, mix
from labsupport.data.splits import PARTS, Pair, Split, check_names, check_pair, moved
from labsupport.values import check_count, holds

__all__ = ["Partitions", "Rows", "partitions"]


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """One part of a pool for each of some seeds; whoever has a seed finds its examples here, in whatever company.

    Attributes:
        index: (seeds, n) int64, rows of the pool; n >= 1. A row may be named twice.
        seeds: one for each row of `index`, no two the same.
        targets: what takes the place of the pool's y, for each seed and every row of the pool: (seeds, pool, …); None
            where all share that y.
    Raises:
        ValueError: the shapes or seeds are not such.
    """

    index: Tensor
    seeds: tuple[int, ...]
    targets: Tensor | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", _check_seeds("Rows", self.seeds))
        index, count = self.index, len(self.seeds)
        whole = isinstance(index, Tensor) and index.dtype == torch.int64 and index.ndim == 2
        if not whole or len(index) != count or not index.shape[1] or not holds(index >= 0):
            got = f"{tuple(index.shape)} {index.dtype}" if isinstance(index, Tensor) else type(index).__name__
            raise ValueError(f"Rows: index must be int64 of shape ({count}, n), n >= 1, none below 0, got {got}")
        own = self.targets
        if own is not None and (not isinstance(own, Tensor) or own.ndim < 2 or len(own) != count):
            got = tuple(own.shape) if isinstance(own, Tensor) else type(own).__name__
            raise ValueError(f"Rows: targets must be a tensor ({count}, rows of the pool, …), got {got}")

    def __len__(self) -> int:
        """Examples of a seed."""
        return self.index.shape[1]

    def check_pool(self, where: str, x: Tensor, y: Tensor) -> None:
        """Raise ValueError unless these are rows of a pool (x, y), and the targets, if any, one for each row of it."""
        if self.index.device != x.device or not holds(self.index < len(x)):
            worst = "another device" if self.index.device != x.device else int(self.index.max())
            raise ValueError(f"{where} must name rows of the pool, 0 … {len(x) - 1}, on its device, got {worst}")
        own = self.targets
        if own is not None and (own.shape[1] != len(x) or own.device != y.device):
            rule = f"one for each row of the pool, ({len(self.seeds)}, {len(x)}, …) on its device"
            raise ValueError(f"{where}: targets must be {rule}, got {tuple(own.shape)}, {own.device}")

    def places(self, where: str, seeds: Sequence[int]) -> Tensor:
        """At which place of `seeds` each of these stands, (len(seeds),) on the device of `index`.

        Raises:
            ValueError: one has no rows; `where` names the caller.
        """
        place = {seed: at for at, seed in enumerate(self.seeds)}
        missing = [seed for seed in seeds if seed not in place]
        if missing:
            raise ValueError(f"{where}: rows must be there for every member's seed, got none for {missing[:5]}")
        return torch.tensor([place[seed] for seed in seeds], device=self.index.device)


@dataclass(frozen=True, eq=False, repr=False)
class Partitions:
    """A pool of examples and, for each seed, which of them are its own training, validation and test part.

    `population.train` takes it in place of a `Split`: a replicate is then a start, an order *and a sample*.

    Attributes:
        pool: (x, y), shared by all: x (pool, …), y (pool,) or (pool, …).
        train, valid, test: `Rows` of the pool.
        class_names: as in a `Split`.
    Raises:
        ValueError: rows are not of this pool, or the parts are not of the same seeds.
    """

    pool: Pair
    train: Rows
    valid: Rows
    test: Rows
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_pair("Partitions: pool", self.pool)
        object.__setattr__(self, "pool", tuple(self.pool))
        object.__setattr__(self, "class_names", check_names(self.class_names))
        x, y = self.pool
        for name, rows in self._parts():
            if not isinstance(rows, Rows) or rows.seeds != self.seeds:
                raise ValueError(f"Partitions: {name} must be Rows of the same seeds as the others")
            rows.check_pool(f"Partitions: {name}", x, y)

    def _parts(self) -> tuple[tuple[str, Rows], ...]:
        return tuple((name, getattr(self, name)) for name in PARTS)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Who has a sample here."""
        return self.train.seeds if isinstance(self.train, Rows) else ()

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for regression."""
        return len(self.class_names)

    def with_targets(self, targets: Tensor) -> Partitions:
        """The same samples, each seed learning targets of its own, such as what a teacher of its own says of the pool.

        Args:
            targets: (seeds, pool, …), in the order of `seeds`; `population.predict(teachers, pool_x)` has this shape.
        Raises:
            ValueError: it has another shape or device.
        """
        return replace(self, **{name: replace(rows, targets=targets) for name, rows in self._parts()})

    def split(self, seed: int) -> Split:
        """What one seed has, as an ordinary `Split`.

        Raises:
            ValueError: the seed has no sample here.
        """
        x, y = self.pool
        self.train.places("Partitions.split", [seed])
        place = self.seeds.index(seed)
        pairs = {}
        for name, rows in self._parts():
            own, index = y if rows.targets is None else rows.targets[place], rows.index[place]
            pairs[name] = (x[index], own[index])
        names = self.class_names if pairs["train"][1].dtype == torch.int64 else ()
        return Split(**pairs, class_names=names)

    def to(self, target: torch.device | torch.dtype | str) -> Partitions:
        """The same on another device, or with its floating-point tensors in another dtype, as `Split.to`."""
        x, y = moved("Partitions.to", target, self.pool)
        held = {id(value): value for _, part in self._parts() for value in (part.index, part.targets)}
        held.pop(id(None), None)
        there = dict(zip(held, moved("Partitions.to", target, list(held.values())), strict=True))
        rows = {n: Rows(there[id(part.index)], part.seeds, there.get(id(part.targets))) for n, part in self._parts()}
        return Partitions((x, y), **rows, class_names=self.class_names)

    def flat(self) -> Partitions:
        """The same with each x flattened to shape (pool, features), as `models.mlp` wants it."""
        x, y = self.pool
        return replace(self, pool=(x.reshape(len(x), -1), y))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(rows)}" for name, rows in self._parts())
        own = ", targets of their own" if self.train.targets is not None else ""
        return f"Partitions({len(self.seeds)} seeds, {sizes} out of {len(self.pool[0])}{own})"


def partitions(
    pool: Split | Pair, *, num_train: int, num_valid: int, num_test: int, seeds: Iterable[int]
) -> Partitions:
    """Draw a sample of the pool for each seed, without replacement: no example stands in two parts of one seed.

    What a seed draws depends on the seed and on the size of the pool alone, not on the other seeds.

    Args:
        pool: (x, y), or a Split, whose parts are laid end to end.
        num_train, num_valid, num_test: examples in each part; >= 1, together no more than the pool has.
        seeds: integers in 0 … 2⁶³ − 1, no two the same.
    Raises:
        ValueError: a bound above is broken.
    """
    names = pool.class_names if isinstance(pool, Split) else ()
    if isinstance(pool, Split):
        pool = tuple(map(torch.cat, zip(pool.train, pool.valid, pool.test, strict=True)))
    check_pair("partitions: pool", pool)
    seeds, n = _check_seeds("partitions", seeds), len(pool[0])
    given = {"num_train": num_train, "num_valid": num_valid, "num_test": num_test}
    counts = [check_count("partitions", name, value) for name, value in given.items()]
    if sum(counts) > n:
        rule = f"num_train + num_valid + num_test must be <= {n}, the rows of the pool"
        raise ValueError(f"partitions: {rule}, got {' + '.join(map(str, counts))} = {sum(counts)}")
    orders = [torch.randperm(n, generator=torch.Generator().manual_seed(_key(seed))) for seed in seeds]
    drawn = torch.stack(orders)[:, : sum(counts)].to(pool[0].device)
    return Partitions(pool, *(Rows(part.contiguous(), seeds) for part in drawn.split(counts, 1)), class_names=names)


def _key(seed: int) -> int:
    """Of the seed, and not the seed itself: starts and orders drawn from that have nothing to do with the sample."""
    return int(mix(torch.tensor(seed) + GOLDEN))


def _check_seeds(where: str, seeds: Iterable[int]) -> tuple[int, ...]:
    if not isinstance(seeds, Iterable):
        raise ValueError(f"{where}: seeds must be integers, one for each sample, such as range(8), got {seeds!r}")
    found = tuple(check_count(where, "seeds", seed, at_least=0) for seed in seeds)
    if not found or len(set(found)) < len(found) or max(found) >= 2**63:
        raise ValueError(f"{where}: seeds must be different integers, none above 2**63 - 1, got {list(found)[:8]}")
    return found
