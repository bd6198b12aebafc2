"""From scores to masks: exact counts, ties by index, one layer or all layers together."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from labsupport.values import check_count, check_number, holds

__all__ = ["check_sparsity", "gradual", "keep_largest", "magnitude_scores", "num_pruned"]

Scores = Tensor | Mapping[str, Tensor]


def magnitude_scores(params: Scores) -> Tensor | dict[str, Tensor]:
    """The size of every weight, |w|: a tensor for a tensor, a dict for a dict.

    Raises:
        ValueError: something is no floating-point tensor.
    Source: Han et al. 2015, arXiv:1506.02626, section 3.1.
    """
    each = params if isinstance(params, Mapping) else {"params": params}
    for name, value in each.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            got = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"magnitude_scores: {name} must be a floating-point tensor, got {got}")
    sizes = {name: value.detach().abs() for name, value in each.items()}
    return sizes if isinstance(params, Mapping) else sizes["params"]


def keep_largest(scores: Scores, *, sparsity: float, batch_dims: int = 0) -> Tensor | dict[str, Tensor]:
    """The mask of the largest scores: exactly ⌊sparsity · n + ½⌋ of n are dropped; of equals the lower index stays.

    Args:
        scores: a tensor of any shape, n its entries; or a dict of them, which are ranked together, in its order.
        sparsity: fraction dropped, in [0, 1).
        batch_dims: leading axes that are ranked each by itself, such as the members of a population: 0, 1, …
    Returns:
        Boolean, shaped as the scores, True where a weight stays.
    Raises:
        ValueError: a bound above is broken, a score is NaN, or a tensor would lose all its entries.
    """
    together = isinstance(scores, Mapping)
    each = dict(scores) if together else {"scores": scores}
    batch = _check_scores(each, check_count("keep_largest", "batch_dims", batch_dims, at_least=0))
    check_sparsity("keep_largest", sparsity)
    flat = torch.cat([value.reshape(*batch, -1) for value in each.values()], dim=-1)
    dropped = num_pruned(flat.shape[-1], sparsity)
    order = flat.argsort(dim=-1, descending=True, stable=True)[..., : flat.shape[-1] - dropped]
    kept = torch.zeros_like(flat, dtype=torch.bool).scatter_(-1, order, True)
    parts = kept.split([value.numel() // math.prod(batch) for value in each.values()], dim=-1)
    masks = {name: part.reshape(value.shape) for (name, value), part in zip(each.items(), parts, strict=True)}
    for (name, _), part in zip(each.items(), parts, strict=True):
        if not holds(part.any(-1)):
            raise ValueError(f"keep_largest: each tensor must keep an entry, got {name!r} without one at {sparsity}")
    return masks if together else masks["scores"]


def gradual(sparsity: float, *, num_rounds: int) -> list[float]:
    """Sparsities for pruning in rounds, each of which drops the same fraction of what is left.

    Args:
        sparsity: at the end, in [0, 1).
        num_rounds: >= 1.
    Returns:
        num_rounds numbers that rise to `sparsity`: 1 − (1 − sparsity)^(i/num_rounds), i = 1, 2, …
    Raises:
        ValueError: a bound above is broken.
    Source: the rounds of Han et al. 2015, arXiv:1506.02626, section 3.4; equal fractions as in Frankle & Carbin 2019,
        arXiv:1803.03635, section 1.
    """
    check_sparsity("gradual", sparsity)
    check_count("gradual", "num_rounds", num_rounds)
    return [1 - (1 - sparsity) ** (i / num_rounds) for i in range(1, num_rounds)] + [float(sparsity)]


def num_pruned(entries: int, sparsity: float) -> int:
    """How many of that many entries go: ⌊sparsity · entries + ½⌋."""
    return math.floor(sparsity * entries + 0.5)


def check_sparsity(where: str, sparsity: float) -> None:
    """Raise ValueError unless a sparsity lies in [0, 1)."""
    if check_number(where, "sparsity", sparsity, low=0.0) >= 1:
        raise ValueError(f"{where}: sparsity must lie in [0, 1), got {sparsity}")


def _check_scores(each: Mapping[str, Tensor], batch_dims: int) -> tuple[int, ...]:
    if not each:
        raise ValueError("keep_largest: scores must hold a tensor, got none")
    for name, value in each.items():
        if not isinstance(value, Tensor) or value.is_complex() or value.numel() == 0 or value.ndim < batch_dims:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"keep_largest: {name} must be a real tensor with entries, got {got}")
        if not holds(~value.isnan()):
            raise ValueError(f"keep_largest: {name} must not hold NaN, got {int(value.isnan().sum())}")
    shapes = {value.shape[:batch_dims] for value in each.values()}
    if len(shapes) > 1:
        raise ValueError(f"keep_largest: scores must share their {batch_dims} leading axes, got {sorted(shapes)}")
    return tuple(shapes.pop())
