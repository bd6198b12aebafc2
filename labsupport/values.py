"""Checks on the values of arguments, with messages of one form: function, argument, rule, value.

Everything here raises before work is done. `holds`, `is_finite` and `number` read the values of
tensors; meta tensors have none, so there the checks pass and the number is NaN.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

__all__ = ["check_choice", "check_count", "check_generator", "check_number", "holds", "is_finite", "number"]


def holds(condition: Tensor) -> bool:
    """Whether a boolean tensor of any shape is true everywhere. True for a meta tensor."""
    return True if condition.is_meta else bool(condition.all())


def is_finite(tensor: Tensor) -> bool:
    """Whether every element is finite (no NaN, no infinity). True for a meta tensor."""
    return holds(torch.isfinite(tensor))


def number(tensor: Tensor) -> float:
    """The value of a tensor with one element as a float; NaN for a meta tensor, which has no value."""
    return math.nan if tensor.is_meta else float(tensor.detach())


def check_count(where: str, name: str, value: Any, *, at_least: int = 1) -> int:
    """Return `value` as an int.

    Raises:
        ValueError: it is not an integer (a bool is none) or is below `at_least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        raise ValueError(f"{where}: {name} must be an integer >= {at_least}, got {value!r}")
    return int(value)


def check_number(where: str, name: str, value: Any, *, low: float = -math.inf, high: float = math.inf) -> float:
    """Return `value` as a float.

    Raises:
        ValueError: it is not a finite real number in [`low`, `high`].
    """
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or not low <= value <= high:
        rule = "a finite number"
        if high < math.inf:
            rule = f"a number in [{low:g}, {high:g}]"
        elif low > -math.inf:
            rule = f"a finite number >= {low:g}"
        raise ValueError(f"{where}: {name} must be {rule}, got {value!r}")
    return float(value)


def check_choice(where: str, name: str, value: Any, choices: Any) -> None:
    """Raise ValueError unless `value` is one of `choices`: names, integers, or (True, False).

    A bool is no integer here and 1 no True, 1.0 is not 1, and a tensor or array is none of them.
    """
    known = list(choices)
    plain = isinstance(value, (str, Integral)) and isinstance(value, bool) == isinstance(known[0], bool)
    if not plain or value not in known:
        raise ValueError(f"{where}: {name} must be one of {', '.join(map(repr, known))}, got {value!r}")


def check_generator(where: str, generator: Any) -> None:
    """Raise ValueError unless `generator` is a torch.Generator."""
    if not isinstance(generator, torch.Generator):
        raise ValueError(f"{where}: generator must be a torch.Generator, got {generator!r}")
