"""In which order units go: ranked once, or anew after each removal."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.values import check_count, holds

__all__ = ["greedy", "kept_after"]


def greedy(scores: Callable[[Tensor], Tensor], kept: Tensor, *, num_steps: int, every: int = 1) -> Tensor:
    """Units in the order in which they are removed, the lowest score first; of equals the lower index goes.

    Args:
        scores: kept -> (…, units), such as `of_all_layers` gives; ∞ where a unit must stay.
        kept: (…, units) booleans: what may be removed.
        num_steps: units removed, one a step; fewer than are kept.
        every: steps between two rankings; 1 ranks anew after each removal, `num_steps` once. A ranking cannot know what
            goes before the next: in between a layer may lose its last unit.
    Returns:
        (…, num_steps) int64.
    Raises:
        ValueError: a bound above is broken, a score is NaN or of another shape, or none of the units left may go.
    """
    check_count("greedy", "num_steps", num_steps)
    check_count("greedy", "every", every)
    if not isinstance(kept, Tensor) or kept.dtype != torch.bool or not kept.ndim:
        raise ValueError(f"greedy: kept must be booleans (…, units), got {getattr(kept, 'dtype', type(kept).__name__)}")
    if not holds(kept.sum(-1) > num_steps):
        raise ValueError(f"greedy: num_steps must be below the number of units kept, {int(kept.sum(-1).min())}, "
                         f"got {num_steps}: nothing would be left")  # fmt: skip
    order = []
    for step in range(num_steps):
        if step % every == 0:
            found = _checked(scores(kept), kept)
        left = found.masked_fill(~kept, torch.inf)
        if not holds((left < torch.inf).any(-1)):
            raise ValueError(f"greedy: scores must let a unit go at step {step}, got ∞ for all that are left")
        order.append(left.sort(dim=-1, stable=True).indices[..., :1])
        kept = kept.scatter(-1, order[-1], False)  # another tensor: scores may have kept the last one
    return torch.cat(order, -1)


def kept_after(order: Tensor, *, units: int, num_removed: int) -> Tensor:
    """Which units are left once the first `num_removed` of an order have gone: (…, steps) -> booleans (…, units).

    Raises:
        ValueError: num_removed is negative or above the steps, or a unit is out of range.
    """
    if check_count("kept_after", "num_removed", num_removed, at_least=0) > order.shape[-1]:
        raise ValueError(f"kept_after: num_removed must be <= the steps, {order.shape[-1]}, got {num_removed}")
    if not holds((order >= 0) & (order < units)):
        raise ValueError(f"kept_after: order must name units in 0 … {units - 1}, got others")
    kept = torch.ones(*order.shape[:-1], units, dtype=torch.bool, device=order.device)
    return kept.scatter(-1, order[..., :num_removed], False)


def _checked(found: Tensor, kept: Tensor) -> Tensor:
    if not isinstance(found, Tensor) or found.shape != kept.shape or not found.is_floating_point():
        got = f"{tuple(found.shape)} {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"greedy: scores must give {tuple(kept.shape)}, one float for each unit, got {got}")
    if not holds(~found.isnan()):
        raise ValueError("greedy: scores must be numbers, got NaN")
    return found
