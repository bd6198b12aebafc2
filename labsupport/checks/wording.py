"""Words for what differs between an answer and the right one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from labsupport.checks.compare import Raised, as_tensor, close, dtypes, parts_of

__all__ = ["Case", "described", "difference", "placed", "texts", "unlike"]

DIGITS = (3, 4, 6, 9, 13, 17)


class Case(NamedTuple):
    """One set of arguments, with a word on them, the right answer and the reader's."""

    label: str
    args: tuple
    right: Any
    got: Any


def placed(case: Case, names: Sequence[str]) -> str:
    """The case in words, with both answers where all of it is plain numbers; `names` are those of the arguments."""
    if case.label:
        return f"{case.label}: "
    if not all(map(_is_plain, case.args)):
        return ""
    place = ", ".join(f"{name} = {_short(value)}" for name, value in zip(names, case.args))
    if isinstance(case.got, Raised) or not (found := difference(case.got, case.right)):
        return f"For {place}: "
    return f"For {place} {found[0] or 'the answer'} is {found[1]}; you found {found[2]}. "


def unlike(case: Case, returns: str | None) -> str:
    """Words for an answer that no stored mistake gives."""
    got, right = case.got, case.right
    if isinstance(got, Raised):
        return f"It raised {got.kind}: {got.text}"
    other = next(((a, b) for a, b in zip(dtypes(got), dtypes(right)) if a != b), None)
    if other and close(got, right, rtol=1e-2):
        return f"Right, but in {other[0]}: asked for is {other[1]}."
    if close(got, right):
        return "Right to a few digits only: compute in the dtype of what is given."
    found = difference(got, right)
    if found is None:
        return f"Return {returns or described(right)}; you returned {described(got)}."
    if not case.label and all(map(_is_plain, case.args)):
        return ""
    return f"{found[0] or 'the answer'} should be {found[1]}; you found {found[2]}."


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) < 8 and all(map(_is_plain, value))
    return isinstance(value, str | int | float)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def described(value: Any) -> str:
    """A value in a few words: its kind, and its shape or length."""
    if isinstance(value, Tensor | np.ndarray) and value.ndim:
        return f"a {'tensor' if isinstance(value, Tensor) else 'array'} of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple | Mapping):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{value!r:.60}" if isinstance(value, str | int | float) else f"a {type(value).__name__}"


def texts(a: float, b: float) -> tuple[str, str]:
    """Two numbers that differ, in as few digits as show it; whole ones in all of theirs."""
    if a != b and all(each.is_integer() and abs(each) < 1e9 for each in (a, b)):
        return f"{a:.0f}", f"{b:.0f}"
    pairs = [(f"{a:.{digits}g}", f"{b:.{digits}g}") for digits in DIGITS]
    return next((pair for pair in pairs if pair[0] != pair[1]), (f"{a!r}", f"another {b!r}"))


def difference(got: Any, right: Any) -> tuple[str, str, str] | None:
    """Where `got` is furthest from `right`, and both there as texts; None where their shapes differ."""
    if isinstance(right, str):
        return ("", repr(right), repr(got)) if isinstance(got, str) else None
    if isinstance(right, list | tuple | Mapping):
        return _first_different(got, right)
    a, b = as_tensor(got), as_tensor(right)
    if a is None or b is None or (a.shape != b.shape and not a.numel() == b.numel() == 1):
        return None
    if a.is_complex() or b.is_complex():
        return None
    a, b = a.reshape(b.shape).double(), b.double()
    far = torch.where((a == b) | a.isnan() & b.isnan(), 0.0, (a - b).abs())
    at = int(far.nan_to_num(nan=math.inf, posinf=math.inf).argmax())
    place = tuple(int(i) for i in np.unravel_index(at, tuple(b.shape))) if b.ndim else ()
    return (f"entry {list(place)}" if place else "", *texts(float(b.flatten()[at]), float(a.flatten()[at])))


def _first_different(got: Any, right: list | tuple | Mapping) -> tuple[str, str, str] | None:
    parts, total = parts_of(got, right), len(right)
    if isinstance(right, Mapping):
        places, right = [repr(key) for key in right], list(right.values())
    else:
        places = [f"number {i + 1} of the {total}" for i in range(total)]
        numbers = all(isinstance(part, int | float) for part in right)
        if parts is None and numbers and isinstance(got, type(right)):
            return "", repr(right), repr(got)
    unlike = ((place, difference(a, b)) for place, a, b in zip(places, parts or [], right) if not close(a, b))
    place, found = next(unlike, ("", None))
    if found is None:
        return None
    inner, *both = found
    return (f"{place}{', ' if inner else ''}{inner}", *both)
