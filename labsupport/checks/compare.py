"""Comparing answers: what a reader may return in place of what is asked for, and words for what differs."""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "Raised",
    "as_tensor",
    "close",
    "copied",
    "described",
    "difference",
    "dtypes",
    "exactly",
    "texts",
    "unchanged",
]

DIGITS = (3, 4, 6, 9, 13, 17)


class Raised(NamedTuple):
    """What an answer raised instead of returning: the error's class and its text."""

    kind: str
    text: str


def copied(value: Any) -> Any:
    """A copy to hand in: tensors, arrays and containers are new, functions and generators stay as they are."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {key: copied(part) for key, part in value.items()}
    return type(value)(map(copied, value)) if type(value) in (list, tuple) else value


def unchanged(now: Any, before: Any) -> bool:
    """Whether what was handed in is still what it was."""
    if isinstance(before, list | tuple):
        return len(now) == len(before) and all(map(unchanged, now, before))
    if isinstance(before, Tensor):
        return now.shape == before.shape and torch.equal(now, before)
    return bool(now == before)


def as_tensor(value: Any) -> Tensor | None:
    """A tensor from a tensor, an array, a number or a list of them; None where `value` is nothing of the kind."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, bool | int | float):
        return torch.tensor(value, dtype=None if isinstance(value, int) else torch.float64)
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        return torch.as_tensor(np.array(value))
    if isinstance(value, list | tuple) and value:
        parts = [as_tensor(part) for part in value]
        if all(part is not None and part.shape == parts[0].shape for part in parts):
            kind = functools.reduce(torch.promote_types, (part.dtype for part in parts))
            return torch.stack([part.to(kind) for part in parts])
    return None


def _parts(got: Any, right: list | tuple) -> list | None:
    """`got` as a list as long as `right`, where it is one."""
    if isinstance(got, Tensor | np.ndarray):
        got = list(got) if got.ndim else None
    return list(got) if isinstance(got, list | tuple) and len(got) == len(right) else None


def close(got: Any, right: Any, *, rtol: float = 1e-4, atol: float = 1e-6, dtype: bool = False) -> bool:
    """Whether `got` says what `right` does: as tensor, array, number or list, within single precision.

    Integers must be equal. With `dtype`, a tensor or array must have that of `right`.
    """
    if isinstance(right, Raised) or isinstance(got, Raised):
        return isinstance(got, Raised) and isinstance(right, Raised) and got.kind == right.kind
    if isinstance(right, str):
        return isinstance(got, str) and got == right
    if isinstance(right, list | tuple):
        parts = _parts(got, right)
        return parts is not None and all(
            close(a, b, rtol=rtol, atol=atol, dtype=dtype) for a, b in zip(parts, right, strict=True)
        )
    a, b = as_tensor(got), as_tensor(right)
    if a is None or b is None or (a.shape != b.shape and not a.numel() == b.numel() == 1):
        return a is None and b is None and got == right
    if a.is_complex() and not b.is_complex():
        return False
    if dtype and a.dtype != b.dtype and not isinstance(got, int | float):
        return False
    if not b.is_floating_point():
        return bool((a.reshape(b.shape) == b).all())
    a, b = a.reshape(b.shape).double(), b.double()
    finite = b[b.isfinite()]
    size = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(a, b, rtol=rtol, atol=atol + rtol / 10 * size, equal_nan=True)


def exactly(got: Any, right: Any) -> bool:
    """As `close`, to ten digits and in the dtype of `right`: for exercises whose text asks for a dtype."""
    return close(got, right, rtol=1e-10, atol=1e-12, dtype=True)


def dtypes(value: Any) -> list[torch.dtype]:
    """The dtype of each tensor or array in an answer."""
    if isinstance(value, list | tuple):
        return [dtype for part in value for dtype in dtypes(part)]
    return [as_tensor(value).dtype] if isinstance(value, Tensor | np.ndarray) else []


def described(value: Any) -> str:
    """A value in a few words: its kind, and its shape or length."""
    if isinstance(value, Tensor | np.ndarray) and value.ndim:
        return f"a {'tensor' if isinstance(value, Tensor) else 'array'} of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{value!r:.60}" if isinstance(value, str | int | float) else f"a {type(value).__name__}"


def texts(a: float, b: float) -> tuple[str, str]:
    """Two numbers that differ, in as few digits as show it."""
    pairs = [(f"{a:.{digits}g}", f"{b:.{digits}g}") for digits in DIGITS]
    return next((pair for pair in pairs if pair[0] != pair[1]), (f"{a!r}", f"another {b!r}"))


def difference(got: Any, right: Any) -> tuple[str, str, str] | None:
    """Where `got` is furthest from `right`, and both there as texts; None where their shapes differ."""
    if isinstance(right, str):
        return ("", repr(right), repr(got)) if isinstance(got, str) else None
    if isinstance(right, list | tuple):
        parts = _parts(got, right)
        if parts is None and isinstance(got, type(right)) and all(isinstance(part, int | float) for part in right):
            return "", repr(right), repr(got)
        found = parts and [(i, difference(a, b)) for i, (a, b) in enumerate(zip(parts, right)) if not close(a, b)]
        if not found or found[0][1] is None:
            return None
        (place, (inner, *both)), counts = found[0], len(right)
        return (f"number {place + 1} of the {counts}{', ' if inner else ''}{inner}", *both)
    a, b = as_tensor(got), as_tensor(right)
    if a is None or b is None or (a.shape != b.shape and not a.numel() == b.numel() == 1):
        return None
    a, b = a.reshape(b.shape).double(), b.double()
    far = torch.where(a == b, 0.0, (a - b).abs()).nan_to_num(nan=math.inf, posinf=math.inf).flatten()
    at = int(far.argmax())
    place = tuple(int(i) for i in np.unravel_index(at, tuple(b.shape))) if b.ndim else ()
    return (f"entry {list(place)}" if place else "", *texts(float(b.flatten()[at]), float(a.flatten()[at])))
