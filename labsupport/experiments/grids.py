"""What is compared: points, each a value for every setting, from a grid or one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from labsupport.values import check_count, holds

__all__ = ["Point", "Points", "grid", "points"]

Column = Tensor | Sequence[float] | float


@dataclass(frozen=True)
class Point:
    """One value for every setting.

    Attributes:
        settings: name -> number (a tensor for settings of a loss or penalty that have a shape).
        edge: names of the axes at whose end the point lies, where the best may lie beyond. An axis has at least two
            values; a lowest value of 0 is no end, for nothing lies below it.
        place: where it stands among the points it is from.
    """

    settings: Mapping[str, float | Tensor]
    edge: tuple[str, ...] = ()
    place: int = 0

    def __getitem__(self, name: str) -> float | Tensor:
        if name not in self.settings:
            raise ValueError(f"Point: name must be one of {', '.join(self.settings)}, got {name!r}")
        return self.settings[name]

    def __str__(self) -> str:
        return ", ".join(f"{name}={_text(value)}" for name, value in self.settings.items())


@dataclass(frozen=True, eq=False, repr=False)
class Points:
    """Points in an order; made by `grid` or `points`.

    Attributes:
        settings: name -> (points, …), in the dtype it was given in; numbers become float64.
        axes: name -> number of values, of those settings that were varied by themselves, outermost first; empty
            where several were varied together.
    """

    settings: Mapping[str, Tensor]
    axes: Mapping[str, int]

    def __len__(self) -> int:
        return len(next(iter(self.settings.values()))) if self.settings else 1

    def __iter__(self) -> Iterator[Point]:
        return (self[place] for place in range(len(self)))

    def __getitem__(self, place: int) -> Point:
        """The point at a place, counted from 0."""
        if check_count("Points", "place", place, at_least=0) >= len(self):
            raise ValueError(f"Points: place must be in 0 … {len(self) - 1}, got {place}")
        at = {name: values[place] for name, values in self.settings.items()}
        edge = tuple(name for name in self.axes if _at_end(at[name], self.settings[name]))
        return Point({k: v.item() if v.ndim == 0 else v for k, v in at.items()}, edge, place)

    def only(self, place: int) -> Points:
        """The point at a place, alone."""
        place = self[place].place
        return Points({name: values[place : place + 1] for name, values in self.settings.items()}, {})

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes; `values.unflatten(0, points.shape)` lays values of the points out as the grid."""
        return tuple(self.axes.values()) if self.axes else (len(self),)

    def members(self, seeds: Sequence[int]) -> tuple[dict[str, Tensor], list[int]]:
        """Settings and seeds of a population, point by point: all seeds at the first point, all at the second, …"""
        seeds = list(seeds)
        return {k: v.repeat_interleave(len(seeds), 0) for k, v in self.settings.items()}, seeds * len(self)

    def fold(self, values: Tensor) -> Tensor:
        """Values of such a population, (points × seeds, …), as (points, seeds, …).

        Raises:
            ValueError: their number is no multiple of the number of points.
        """
        if not isinstance(values, Tensor) or not values.ndim or len(values) % len(self) or not len(values):
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"Points: values must be a tensor with as many rows for each of {len(self)}, got {got}")
        return values.unflatten(0, (len(self), -1))

    def __repr__(self) -> str:
        varied = " × ".join(f"{size} {name}" for name, size in self.axes.items())
        return f"Points({len(self)}{': ' + varied if varied else ''}; {', '.join(self.settings)})"


def grid(**axes: Column) -> Points:
    """Every combination of the values of several settings; the last axis runs fastest.

    Args:
        axes: setting -> its values, no two the same: a sequence of numbers or a 1-d tensor, whose dtype is kept; or
            one number, the same at all points and no axis. Names with a dot come as `grid(**{"rate.0": [0.0, 1.0]})`.
    Raises:
        ValueError: an axis is empty, repeats a value or holds what is not finite.
    """
    columns = {name: _column("grid", name, value) for name, value in axes.items()}
    varied = {name: column for name, column in columns.items() if _is_list(axes[name])}
    for name, column in varied.items():
        if column.ndim != 1 or len(column.unique()) < len(column):
            raise ValueError(f"grid: {name} must be a list of different numbers, got {axes[name]!r}")
    places = torch.tensor(list(itertools.product(*(range(len(column)) for column in varied.values()))))
    each = {name: column[places[:, i]] for i, (name, column) in enumerate(varied.items())}
    count = len(places) if varied else 1
    settings = {name: each[name] if name in each else _same(column, count) for name, column in columns.items()}
    return Points(settings, {name: len(column) for name, column in varied.items()})


def points(**columns: Column) -> Points:
    """Points one by one: the first has the first value of every column, and so on.

    Args:
        columns: setting -> its value at each point: a sequence of numbers or a tensor (points, …), whose dtype is
            kept; or one number, the same at all. Where a single column has a list, it is an axis like a grid's.
    Raises:
        ValueError: columns differ in length, or one is empty or holds what is not finite.
    """
    found = {name: _column("points", name, value) for name, value in columns.items()}
    lists = {name: len(column) for name, column in found.items() if _is_list(columns[name])}
    if len(set(lists.values())) > 1:
        raise ValueError(f"points: columns must be of one length, got {lists}")
    count = next(iter(lists.values()), 1)
    settings = {name: column if name in lists else _same(column, count) for name, column in found.items()}
    alone = len(lists) == 1 and all(settings[name].ndim == 1 for name in lists)
    return Points(settings, lists if alone else {})


def as_points(where: str, settings: Points | Mapping[str, Column]) -> Points:
    """Points as they are; a mapping of settings by `points`.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(settings, Points):
        return settings
    if not isinstance(settings, Mapping) or not all(isinstance(name, str) for name in settings):
        raise ValueError(f"{where}: settings must be a grid, points or a dict by name, got {settings!r}")
    return points(**settings)


def _is_list(value: Column) -> bool:
    return value.ndim > 0 if isinstance(value, Tensor) else not isinstance(value, Real)


def _column(where: str, name: str, value: Column) -> Tensor:
    rule = f"{where}: {name} must be numbers, finite and at least one"
    try:
        column = value.detach().cpu().clone() if isinstance(value, Tensor) else _from_numbers(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(f"{rule}, got {value!r}") from None
    if not column.numel() or column.dtype == torch.bool or column.is_complex() or not holds(column.isfinite()):
        raise ValueError(f"{rule}, got {value!r}")
    return column


def _from_numbers(value: Sequence[float] | float) -> Tensor:
    """Numbers as float64; TypeError where they are something else."""
    if isinstance(value, (Mapping, Set, str, bytes)):
        raise TypeError
    scalar = not isinstance(value, Iterable) or (isinstance(value, np.ndarray) and not value.ndim)
    listed = value if scalar else list(value)
    kinds = {np.asarray(each).dtype.kind for each in (listed if isinstance(listed, list) else [listed])}
    if not kinds <= set("iuf"):
        raise TypeError
    return torch.from_numpy(np.asarray(listed, dtype=np.float64).copy())


def _same(column: Tensor, count: int) -> Tensor:
    return column.expand(count, *column.shape).clone()


def _at_end(value: Tensor, column: Tensor) -> bool:
    if len(column.unique()) < 2:
        return False
    return bool((value == column.max()) | ((value == column.min()) & (value != 0)))


def _text(value: float | Tensor) -> str:
    return f"{value:g}" if isinstance(value, Real) else f"tensor{tuple(value.shape)}"
