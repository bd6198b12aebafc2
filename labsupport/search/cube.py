"""Many settings at once as points of the unit cube: what the model-based strategies compute with."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from labsupport.search import space as spaces
from labsupport.search.contract import State, Trial, add, generator, placed
from labsupport.search.space import Categorical, Float, Integer, Params, Space

__all__ = ["design", "design_then", "points", "seen", "share", "snap", "sobol"]

_ABSENT = object()
SAME = 1e-9  # two points no further apart in any coordinate are one setting


def points(space: Space, settings: list[Params]) -> Tensor:
    """One row for each setting, as `space.to_unit` gives it, which must lie in the space: (settings, dims) float64."""
    columns = [_places(dim, [params.get(name, _ABSENT) for params in settings]) for name, dim in space.dims.items()]
    return torch.stack(columns, dim=1)


def snap(space: Space, at: Tensor) -> tuple[Tensor, Tensor]:
    """Where the settings at these points lie exactly, and which dimensions exist there.

    What `to_unit(from_unit(point))` gives for each row, at once: integers and categories move amid their shares,
    what does not exist to ½.

    Args:
        at: (n, dims) in [0, 1], float64.
    Returns:
        (n, dims) float64, and (n, dims) booleans.
    """
    columns: list[Tensor] = []
    exists: list[Tensor] = []
    names = list(space.dims)
    for name, column in zip(names, at.unbind(dim=1), strict=True):
        parent, values = space.when.get(name, (None, ()))
        there = torch.ones_like(column, dtype=torch.bool)
        if parent is not None:
            index = names.index(parent)
            allowed = at.new_tensor([spaces.unit_of(parent, space.dims[parent], value) for value in values])
            near = (columns[index][:, None] - allowed).abs() < SAME
            there = exists[index] & near.any(dim=1)
        exists.append(there)
        columns.append(torch.where(there, _snapped(space.dims[name], column), 0.5))
    return torch.stack(columns, dim=1), torch.stack(exists, dim=1)


def share(dim: Integer, places: Tensor) -> tuple[Tensor, Tensor]:
    """From where to where the integers at these places (any shape) reach in the unit interval."""
    start, end = spaces.ends(dim)
    middle = start + _snapped(dim, places) * (end - start)
    number = (middle.exp() if dim.log else middle).round()
    low, high = ((edge.log() if dim.log else edge) for edge in (number - 0.5, number + 0.5))
    return (low - start) / (end - start), (high - start) / (end - start)


def seen(at: Tensor, before: Tensor) -> Tensor:
    """Which rows of `at` (n, dims) stand for a setting among the rows of `before` (m, dims): (n,) booleans."""
    return (torch.cdist(at, before, p=math.inf) <= SAME).any(dim=1)


def sobol(dims: int, *, seed: int, start: int, count: int) -> Tensor:
    """Points start … start + count − 1 of a scrambled Sobol sequence, (count, dims) in float64 whatever the default."""
    engine = SobolEngine(dims, scramble=True, seed=seed).fast_forward(start + 1)
    first = engine.quasi.to(torch.float64) / 2**SobolEngine.MAXBIT  # `draw` would round it to the default dtype
    return torch.cat([first[None], engine.draw(count - 1, dtype=torch.float64)])


def design(state: State, *, most: int = 64) -> Params:
    """The start of a search: the next setting of a scrambled Sobol sequence that was not asked yet.

    Where `most` in turn were, the next one all the same: a space of few settings is asked again.
    """
    space, number = state.space, len(state.records)
    seed = int(torch.randint(2**31, (), generator=generator(state, 0)))
    at, _ = snap(space, sobol(len(space.dims), seed=seed, start=number, count=most))
    fresh = ~seen(at, points(space, [record.trial.params for record in placed(state)]))
    return spaces.from_unit(space, at[int(fresh.int().argmax())])


def design_then(state: State, propose: Callable[[State], Tensor]) -> tuple[Trial | None, State]:
    """The next of `num_trials`: from the design for the first `num_initial` and until two are told, then as proposed.

    Args:
        propose: state -> a point (dims,) of the unit cube.
    """
    if len(state.records) >= state.options["num_trials"]:
        return None, state
    told = sum(record.value is not None for record in state.records)
    early = len(state.records) < state.options["num_initial"] or told < 2
    elsewhere = torch.get_default_device().type != "cpu"
    with torch.device("cpu") if elsewhere else nullcontext():  # every call is slower inside such a context
        return add(state, design(state) if early else spaces.from_unit(state.space, propose(state)))


def _places(dim: spaces.Dimension, values: list[Any]) -> Tensor:
    """Where values lie in the unit interval: (values,); ½ where there is none."""
    if isinstance(dim, Categorical):
        at = {choice: (place + 0.5) / len(dim.choices) for place, choice in enumerate(dim.choices)}
        return torch.tensor([at.get(value, 0.5) for value in values], dtype=torch.float64)
    start, end = spaces.ends(dim)
    numbers = torch.tensor([math.nan if value is _ABSENT else value for value in values], dtype=torch.float64)
    numbers = numbers.log() if dim.log else numbers
    return ((numbers - start) / (end - start)).nan_to_num(0.5) if start < end else torch.full_like(numbers, 0.5)


def _snapped(dim: spaces.Dimension, column: Tensor) -> Tensor:
    if isinstance(dim, Categorical):
        count = len(dim.choices)
        return ((column * count).floor().clamp_max(count - 1) + 0.5) / count
    start, end = spaces.ends(dim)
    if start >= end:
        return torch.full_like(column, 0.5)
    if isinstance(dim, Float):
        return column
    number = start + column * (end - start)
    number = ((number.exp() if dim.log else number) + 0.5).floor().clamp(dim.low, dim.high)
    return ((number.log() if dim.log else number) - start) / (end - start)
