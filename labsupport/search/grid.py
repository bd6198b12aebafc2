"""Every combination of a few values of each dimension, in an order drawn from the seed.

A grid that is cut off in the middle is then a fair sample of itself, not a corner.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch

from labsupport.counters import seeded
from labsupport.search import space as spaces
from labsupport.search.contract import State, Trial, add, check_state, start, tell, waiting
from labsupport.search.space import Categorical, Dimension, Float, Params, Space
from labsupport.values import check_count

__all__ = ["ask", "finished", "init", "rows", "tell"]

_NAME = "grid"
_LARGEST = 10**6


def init(space: Space, *, points: int | Mapping[str, int], seed: int) -> State:
    """A study of the whole grid.

    Args:
        points: how many values of a Float or Integer, for all of them or by name; see `rows`.
        seed: of the order.
    Raises:
        ValueError: what `rows` and `contract.start` refuse.
    """
    state = start(_NAME, space, {"points": _checked(f"{_NAME}.init", space, points)}, seed=seed)
    _ordered(state)
    return state


def ask(state: State) -> tuple[Trial | None, State]:
    """The next combination; None once all were asked."""
    check_state(_NAME, state)
    grid = _ordered(state)
    return add(state, grid[len(state.records)]) if len(state.records) < len(grid) else (None, state)


def finished(state: State) -> bool:
    """Whether every combination was told."""
    check_state(_NAME, state)
    return len(state.records) == len(_ordered(state)) and not waiting(state)


def rows(space: Space, *, points: int | Mapping[str, int]) -> list[Params]:
    """The grid's settings, each once, the last dimension changing fastest.

    A dimension's values reach from its low to its high in equal steps, or equal ratios where it is logarithmic; one
    value is the middle. Integers are rounded, so there may be fewer; a Categorical has all of its choices. A dimension
    that does not exist multiplies nothing.

    Args:
        points: how many values >= 1 of a Float or Integer, for all of them or by name.
    Raises:
        ValueError: `space` is none, another number of points, a name missing or too many, or over 10⁶ settings.
    """
    if not isinstance(space, Space):
        raise ValueError(f"rows: space must be a Space, got {space!r}")
    points = _checked("rows", space, points)
    found: list[Params] = [{}]
    for name, dim in space.dims.items():
        values = _values(dim, points.get(name, 1))
        here = [name not in space.when or name in spaces.active(space, row) for row in found]
        if (num := sum(len(values) if exists else 1 for exists in here)) > _LARGEST:
            raise ValueError(f"rows: points must make at most {_LARGEST} settings, got {num} up to {name}")
        each = [[{name: value} for value in values] if exists else [{}] for exists in here]
        found = [row | more for row, mores in zip(found, each, strict=True) for more in mores]
    return found


def _checked(where: str, space: Space, points: Any) -> dict[str, int]:
    names = [name for name, dim in getattr(space, "dims", {}).items() if not isinstance(dim, Categorical)]
    by_name = dict(points) if isinstance(points, Mapping) else dict.fromkeys(names, points)
    if set(by_name) != set(names):
        raise ValueError(f"{where}: points must name exactly the Floats and Integers {names}, got {list(by_name)}")
    counts = {name: check_count(where, f"points of {name}", by_name[name]) for name in names}
    if max(counts.values(), default=1) > _LARGEST:
        raise ValueError(f"{where}: points must be at most {_LARGEST} each, got {counts}")
    return counts


def _values(dim: Dimension, num: int) -> list[Any]:
    """Values of one dimension, increasing."""
    if isinstance(dim, Categorical):
        return list(dim.choices)
    low, high = torch.tensor([dim.low, dim.high], dtype=torch.float64, device="cpu")
    ends = (low.log(), high.log()) if dim.log else (low, high)
    places = torch.linspace(0, 1, num, dtype=torch.float64, device="cpu") if num > 1 else low.new_tensor([0.5])
    line = ends[0] + places * (ends[1] - ends[0])
    found = [min(max(value, dim.low), dim.high) for value in (line.exp() if dim.log else line).tolist()]
    if num > 1:
        found[0], found[-1] = dim.low, dim.high  # exactly, also through the logarithm
    return list(dict.fromkeys(found if isinstance(dim, Float) else map(round, found)))


def _ordered(state: State) -> list[Params]:
    """The settings in the order in which they are asked."""
    return _shuffled(spaces.to_json(state.space), tuple(state.options["points"].items()), state.seed)


@lru_cache(maxsize=8)
def _shuffled(space: str, points: tuple[tuple[str, int], ...], seed: int) -> list[Params]:
    """Kept, since every `ask` needs it; a function of what it is given."""
    grid = rows(spaces.from_json(space), points=dict(points))
    return [grid[i] for i in torch.randperm(len(grid), generator=seeded(seed), device="cpu").tolist()]
