"""Several aims at once: what no other candidate beats in all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from labsupport.values import holds

__all__ = ["non_dominated"]


def non_dominated(points: Tensor) -> Tensor:
    """Which points no other point beats: none is at most as large in every column and smaller in one.

    Equal points do not beat each other: both stay or both go.

    Args:
        points: (n, aims) real numbers, all to be minimized; infinities may be among them.
    Returns:
        (n,) booleans on the points' device.
    Raises:
        ValueError: another shape or dtype, no aim, or NaN.
    """
    if not isinstance(points, Tensor) or points.ndim != 2 or not points.shape[1] or points.is_complex():
        found = tuple(points.shape) if isinstance(points, Tensor) else type(points).__name__
        raise ValueError(f"non_dominated: points must be real numbers of shape (n, aims), got {found}")
    if points.is_floating_point() and not holds(~points.isnan()):
        raise ValueError("non_dominated: points must not hold NaN")
    beaten = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for place, point in enumerate(points):  # n² at a time would need n² · aims numbers
        beaten[place] = ((points <= point).all(1) & (points < point).any(1)).any()
    return ~beaten
