"""What can be set: floats, integers and categories, some of them only where another has a certain value.

A setting is a plain dict, name to value. Every space maps to the unit cube and back, and drawing a setting is drawing
a point of the cube.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from labsupport.values import check_count, check_generator, check_number

__all__ = [
    "Categorical", "Dimension", "Float", "Integer", "Space", "active", "from_json", "from_unit", "sample", "to_json",
    "to_unit", "ends", "unit_of",
]  # fmt: skip

Choice = str | int | float | bool | None
Params = dict[str, Any]
_LARGEST = 2**40  # an integer up to here survives the way to the cube and back, in float64


@dataclass(frozen=True)
class Float:
    """Numbers from `low` to `high`, evenly, or evenly in the logarithm.

    Raises:
        ValueError: low > high, a bound or their difference is not finite, or log with low <= 0.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", check_number("Float", "low", self.low))
        object.__setattr__(self, "high", check_number("Float", "high", self.high))
        _check_bounds("Float", self, least="> 0", fits=self.low > 0)
        check_number("Float", "high - low", self.high - self.low)


@dataclass(frozen=True)
class Integer:
    """Integers from `low` to `high`, both included, evenly, or evenly in the logarithm.

    Raises:
        ValueError: low > high, a bound is no integer or beyond ±2⁴⁰, or log with low < 1.
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = check_count("Integer", name, getattr(self, name), at_least=-_LARGEST)
            if value > _LARGEST:
                raise ValueError(f"Integer: {name} must be an integer <= {_LARGEST}, got {value}")
            object.__setattr__(self, name, value)
        _check_bounds("Integer", self, least=">= 1", fits=self.low >= 1)


@dataclass(frozen=True)
class Categorical:
    """One of several strings, numbers, bools or None, without an order.

    Raises:
        ValueError: no choice, two that are equal (as 1 and True are), or one of another kind.
    """

    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        if isinstance(self.choices, str) or not isinstance(self.choices, (tuple, list)) or not self.choices:
            raise ValueError(f"Categorical: choices must be a tuple of at least one, got {self.choices!r}")
        object.__setattr__(self, "choices", tuple(self.choices))
        for choice in self.choices:
            if not isinstance(choice, Choice) or (isinstance(choice, float) and not math.isfinite(choice)):
                raise ValueError(f"Categorical: choices must be str, finite numbers, bool or None, got {choice!r}")
        if len(set(self.choices)) < len(self.choices):
            raise ValueError(f"Categorical: choices must differ, got {self.choices!r}")


Dimension = Float | Integer | Categorical


@dataclass(frozen=True)
class Space:
    """Dimensions by name, in order.

    Args:
        dims: name -> dimension; at least one.
        when: name -> (parent, values): that dimension exists only where the parent, an earlier dimension that is no
            Float, exists and has one of the values.
    Raises:
        ValueError: no dimension, a name or dimension that is none, or a rule of `when` that can never hold.
    """

    dims: Mapping[str, Dimension]
    when: Mapping[str, tuple[str, tuple[Choice, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.dims, Mapping) or not self.dims:
            raise ValueError(f"Space: dims must map at least one name to a dimension, got {self.dims!r}")
        for name, dim in self.dims.items():
            if not isinstance(name, str) or not name or not isinstance(dim, Dimension):
                raise ValueError(f"Space: dims must map names to Float, Integer or Categorical, got {name!r}: {dim!r}")
        if not isinstance(self.when, Mapping):
            raise ValueError(f"Space: when must map names to (parent, values), got {self.when!r}")
        rules = {name: _checked_rule(self.dims, name, rule) for name, rule in self.when.items()}
        object.__setattr__(self, "dims", dict(self.dims))
        object.__setattr__(self, "when", rules)


def active(space: Space, params: Params) -> list[str]:
    """The names of the dimensions that exist beside these values of their parents, in the space's order."""
    names: list[str] = []
    for name in space.dims:
        parent, values = space.when.get(name, (None, ()))
        if parent is None or (parent in names and params.get(parent) in values):
            names.append(name)
    return names


def sample(space: Space, *, generator: torch.Generator) -> Params:
    """A setting drawn evenly (in the logarithm where a dimension says so); only dimensions that exist are in it.

    Raises:
        ValueError: `generator` is none.
    """
    check_generator("sample", generator)
    point = torch.rand(len(space.dims), dtype=torch.float64, device=generator.device, generator=generator)
    return from_unit(space, point)


def to_unit(space: Space, params: Params) -> Tensor:
    """The point of the unit cube that stands for a setting; integers and categories lie amid their shares.

    Args:
        params: name -> value, exactly of the dimensions that exist.
    Returns:
        (dims,) float64 on the CPU; ½ where a dimension does not exist or has one value only.
    Raises:
        ValueError: a name too many or missing, or a value outside its dimension.
    """
    names = active(space, params)
    if set(params) != set(names):
        raise ValueError(f"to_unit: params must name exactly {', '.join(names)}, got {', '.join(params)}")
    places = [unit_of(name, space.dims[name], params[name]) if name in params else 0.5 for name in space.dims]
    return torch.tensor(places, dtype=torch.float64, device="cpu")


def from_unit(space: Space, point: Tensor) -> Params:
    """The setting at a point of the unit cube: integers and categories have equal shares of [0, 1).

    On a logarithmic scale the share of an integer k reaches from log(k − ½) to log(k + ½).

    Args:
        point: (dims,) real numbers in [0, 1]; what a dimension that does not exist would be is not read.
    Raises:
        ValueError: another shape, or a number outside.
    """
    if not isinstance(point, Tensor) or point.shape != (len(space.dims),):
        raise ValueError(f"from_unit: point must have shape ({len(space.dims)},), got {_shape(point)}")
    places = point.tolist()
    if not all(0 <= place <= 1 for place in places):
        raise ValueError(f"from_unit: point must lie in [0, 1], got {places}")
    params: Params = {}
    for (name, dim), place in zip(space.dims.items(), places, strict=True):
        parent, values = space.when.get(name, (None, ()))
        if parent is None or (parent in params and params[parent] in values):
            params[name] = _value(dim, place)
    return params


def to_json(space: Space) -> str:
    """The space as text, from which `from_json` makes an equal one."""
    dims = {name: {"kind": type(dim).__name__, **asdict(dim)} for name, dim in space.dims.items()}
    return json.dumps({"dims": dims, "when": space.when}, allow_nan=False)


def from_json(text: str) -> Space:
    """The space that `to_json` wrote.

    Raises:
        ValueError: the text is no such.
    """
    kinds = {kind.__name__: kind for kind in (Float, Integer, Categorical)}
    try:
        stored = json.loads(text)
        dims = {name: kinds[dim.pop("kind")](**dim) for name, dim in stored["dims"].items()}
        return Space(dims, stored["when"])
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as problem:
        raise ValueError(f"from_json: text must be a space that to_json wrote, got {text!r}") from problem


def _check_bounds(where: str, dim: Float | Integer, *, least: str, fits: bool) -> None:
    if not isinstance(dim.log, bool):
        raise ValueError(f"{where}: log must be True or False, got {dim.log!r}")
    if dim.low > dim.high:
        raise ValueError(f"{where}: low must be <= high = {dim.high}, got {dim.low}")
    if dim.log and not fits:
        raise ValueError(f"{where}: low must be {least} where log, got {dim.low}")


def _checked_rule(dims: Mapping[str, Dimension], name: str, rule: Any) -> tuple[str, tuple[Choice, ...]]:
    if not isinstance(rule, (tuple, list)) or len(rule) != 2 or not isinstance(rule[1], (tuple, list)) or not rule[1]:
        raise ValueError(f"Space: when[{name!r}] must be (parent, values), got {rule!r}")
    parent, values = rule[0], tuple(rule[1])
    order = list(dims)
    if name not in order or parent not in order[: order.index(name)]:
        raise ValueError(f"Space: when[{name!r}] must name a dimension and an earlier one, its parent, got {parent!r}")
    if isinstance(dims[parent], Float):
        raise ValueError(f"Space: when[{name!r}] must have an Integer or Categorical as its parent, got {parent!r}")
    for value in values:
        unit_of(f"when[{name!r}]", dims[parent], value, where="Space")
    return parent, values


def unit_of(name: str, dim: Dimension, value: Any, *, where: str = "to_unit") -> float:
    """Where a value lies in [0, 1]."""
    if isinstance(dim, Categorical):
        found = [i for i, c in enumerate(dim.choices) if c == value and isinstance(c, bool) == isinstance(value, bool)]
        if not found:
            raise ValueError(f"{where}: {name} must be one of {dim.choices!r}, got {value!r}")
        return (found[0] + 0.5) / len(dim.choices)
    if isinstance(dim, Integer):
        check_count(where, name, value, at_least=dim.low)
    number = check_number(where, name, value, low=dim.low, high=dim.high)
    start, end = ends(dim)
    return (_scaled(dim, number) - start) / (end - start) if start < end else 0.5


def _value(dim: Dimension, place: float) -> Any:
    """The value at a place in [0, 1]."""
    if isinstance(dim, Categorical):
        return dim.choices[min(int(place * len(dim.choices)), len(dim.choices) - 1)]
    start, end = ends(dim)
    number = start + place * (end - start)
    number = math.exp(number) if dim.log else number
    number = math.floor(number + 0.5) if isinstance(dim, Integer) else number
    return min(max(number, dim.low), dim.high)


def ends(dim: Float | Integer) -> tuple[float, float]:
    """What 0 and 1 stand for, on the dimension's scale; integers own half a unit to either side."""
    half = 0.5 if isinstance(dim, Integer) else 0.0
    return _scaled(dim, dim.low - half), _scaled(dim, dim.high + half)


def _scaled(dim: Float | Integer, number: float) -> float:
    return math.log(number) if dim.log else float(number)


def _shape(point: Any) -> Any:
    return tuple(point.shape) if isinstance(point, Tensor) else type(point).__name__
