"""Numbers as a stored table holds them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from labsupport.values import check_count

__all__ = ["rounded"]


def rounded(
    values: Tensor | np.ndarray | Sequence | float, *, decimals: int | None = None, digits: int | None = None
) -> list | float:
    """Values as nested lists of short numbers, which JSON can hold.

    Args:
        values: a tensor or sequence of any shape, or a number.
        decimals: digits after the point, >= 0; or
        digits: significant digits, >= 1.
    Raises:
        ValueError: both of them are given, or neither.
    """
    if (decimals is None) == (digits is None):
        raise ValueError(f"rounded: one of decimals and digits must be given, got {decimals!r} and {digits!r}")
    if decimals is not None:
        check_count("rounded", "decimals", decimals, at_least=0)
    else:
        check_count("rounded", "digits", digits)
    return _rounded(values.tolist() if isinstance(values, (Tensor, np.ndarray)) else values, decimals, digits)


def _rounded(value: Sequence | float, decimals: int | None, digits: int | None) -> list | float:
    if isinstance(value, (list, tuple)):
        return [_rounded(each, decimals, digits) for each in value]
    return round(float(value), decimals) if digits is None else float(f"{float(value):.{digits}g}")
