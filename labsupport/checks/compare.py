"""Comparing answers: what a reader may return in place of what is asked for."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Raised", "as_tensor", "close", "copied", "dtypes", "exactly", "parts_of", "unchanged"]


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
    if isinstance(before, Mapping):
        return now.keys() == before.keys() and all(unchanged(now[key], before[key]) for key in before)
    if isinstance(before, list | tuple):
        return len(now) == len(before) and all(map(unchanged, now, before))
    if isinstance(before, Tensor | np.ndarray):
        now, before = torch.as_tensor(now), torch.as_tensor(before)
        same = now.shape == before.shape and now.dtype == before.dtype
        return same and bool(((now == before) | (now != now) & (before != before)).all())
    return bool(now == before) or (now != now and before != before)


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


def parts_of(got: Any, right: list | tuple | Mapping) -> list | None:
    """The parts of `got` in the order of those of `right`, where it has as many, or the same names."""
    if isinstance(right, Mapping):
        same = isinstance(got, Mapping) and got.keys() == right.keys()
        return [got[key] for key in right] if same else None
    if isinstance(got, Tensor | np.ndarray):
        got = list(got) if got.ndim else None
    return list(got) if isinstance(got, list | tuple) and len(got) == len(right) else None


def close(got: Any, right: Any, *, rtol: float = 1e-4, atol: float = 1e-6, dtype: bool = False) -> bool:
    """Whether `got` says what `right` does: as tensor, array, number or list, within single precision.

    Integers must be equal. Entries far below the largest may be off by what float32 loses beside it, rtol / 100 of it.
    With `dtype`, a tensor or array must have that of `right`.
    """
    if isinstance(right, Raised) or isinstance(got, Raised):
        return isinstance(got, Raised) and isinstance(right, Raised) and got.kind == right.kind
    if isinstance(right, str):
        return isinstance(got, str) and got == right
    if isinstance(right, list | tuple | Mapping):
        parts, wanted = parts_of(got, right), right.values() if isinstance(right, Mapping) else right
        return parts is not None and all(
            close(a, b, rtol=rtol, atol=atol, dtype=dtype) for a, b in zip(parts, wanted, strict=True)
        )
    a, b = as_tensor(got), as_tensor(right)
    if a is None or b is None or (a.shape != b.shape and not a.numel() == b.numel() == 1):
        return a is None and b is None and got == right
    if a.is_complex() and not b.is_complex():
        return False
    if dtype and a.dtype != b.dtype and not isinstance(got, int | float):
        return False
    a = a.reshape(b.shape)
    if b.is_complex():
        a, b = torch.view_as_real(a.to(torch.complex128)), torch.view_as_real(b.to(torch.complex128))
    if not b.is_floating_point():
        return bool((a == b).all())
    a, b = a.double(), b.double()
    finite = b[b.isfinite()]
    size = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(a, b, rtol=rtol, atol=atol + rtol / 100 * size, equal_nan=True)


def exactly(got: Any, right: Any) -> bool:
    """As `close`, to ten digits and in the dtype of `right`: for exercises whose text asks for a dtype."""
    return close(got, right, rtol=1e-10, atol=1e-12, dtype=True)


def dtypes(value: Any) -> list[torch.dtype]:
    """The dtype of each tensor or array in an answer."""
    if isinstance(value, list | tuple | Mapping):
        parts = value.values() if isinstance(value, Mapping) else value
        return [dtype for part in parts for dtype in dtypes(part)]
    return [as_tensor(value).dtype] if isinstance(value, Tensor | np.ndarray) else []
