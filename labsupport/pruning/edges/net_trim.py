"""Net-Trim: the sparsest weights, in the sense of their 1-norm, with which a layer of ReLUs still answers the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from labsupport.values import check_count, check_number, is_finite

__all__ = ["Trimmed", "net_trim"]


class Trimmed(NamedTuple):
    """What came out.

    Attributes:
        weight: (out, columns), with exact zeros.
        misfit: ‖(ŷ − y)‖ over the entries with y > 0, as a share of ‖y‖; with `overshoot` it says how nearly the
            constraints are met.
        overshoot: the largest pre-activation where y = 0, less 0, as a share of the largest y.
        num_steps: made.
    """

    weight: Tensor
    misfit: float
    overshoot: float
    num_steps: int


def net_trim(
    weight: Tensor, x: Tensor, *, epsilon: float, rho: float = 10.0, num_steps: int = 2000, tolerance: float = 1e-4,
    fixed: Sequence[int] = (),
) -> Trimmed:  # fmt: skip
    """Minimize ‖W‖₁ so that ‖(XWᵀ − Y)_Ω‖ ≤ ε‖Y‖ and XWᵀ ≤ 0 elsewhere; Y = relu(X weightᵀ), Ω its positive entries.

    Weights are deleted, not units, and those that stay are repaired at once. Solved by ADMM: soft thresholds on a copy
    of W, a projection of a copy of XWᵀ, and one factorization for all steps.

    Args:
        weight: (out, columns), before.
        x: (n, columns), the layer's inputs; with a column of ones where the layer has a bias.
        epsilon: ε in [0, 1).
        rho: weight of the copies' agreement, > 0; any value ends at the same optimum, sooner or later. It counts in
            units of one over the weights' mean size.
        num_steps: at most; >= 1.
        tolerance: it ends when copies agree to this share of their size, and move no more than that; > 0.
        fixed: columns whose size does not count and which are not deleted, such as that of the bias.
    Raises:
        ValueError: shapes that do not fit, something is not finite, a bound is broken, or no output is positive.
    Source: Aghasi et al. 2017, arXiv:1611.05162, eq. 6; the splitting of Aghasi, Abdi & Romberg 2020, arXiv:1806.06457,
        section 4.
    """
    _check(weight, x, epsilon, rho, num_steps, tolerance, fixed)
    before, rows = weight.detach().double(), x.detach().double()
    y = (rows @ before.mT).clamp(min=0)
    if not bool((y > 0).any()):
        raise ValueError("net_trim: the layer must answer with something positive, got only zeros")
    on, radius = y > 0, epsilon * float(y.norm())
    threshold = torch.full_like(before[0], float(before.abs().mean()) / rho)
    threshold[list(fixed)] = 0
    sparse, steps = _alternated(before, rows, y, threshold, radius, num_steps, tolerance)
    answer = rows @ sparse.mT
    misfit = float((answer - y)[on].norm() / y.norm())
    overshoot = float(answer.masked_fill(on, 0).amax().clamp(min=0) / y.amax())
    return Trimmed(sparse.to(weight.dtype), misfit, overshoot, steps)


def _alternated(
    before: Tensor, rows: Tensor, y: Tensor, threshold: Tensor, radius: float, num_steps: int, tolerance: float
) -> tuple[Tensor, int]:
    """The sparse copy of the weights when the copies agree, and the steps it took; duals are scaled."""
    scale = float(rows.square().mean()) * len(rows)  # so that both copies weigh alike
    unit = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
    system = torch.linalg.cholesky(scale * unit + rows.mT @ rows)
    joint, sparse, dual, pull = before, before, torch.zeros_like(before), torch.zeros_like(y)
    for step in range(1, num_steps + 1):
        old = sparse
        sparse = _shrunk(joint + dual, threshold)
        said = _projected(rows @ joint.mT + pull, y, radius)
        right = scale * (sparse - dual) + (said - pull).mT @ rows
        joint = torch.cholesky_solve(right.mT, system).mT
        dual, pull = dual + joint - sparse, pull + rows @ joint.mT - said
        apart, moved = float((joint - sparse).norm()), float((sparse - old).norm())
        if step > 1 and max(apart, moved) <= tolerance * float(joint.norm()):
            break
    return sparse, step


def _shrunk(value: Tensor, threshold: Tensor) -> Tensor:
    return value.sign() * (value.abs() - threshold).clamp(min=0)


def _projected(value: Tensor, y: Tensor, radius: float) -> Tensor:
    """The nearest outputs that meet both constraints."""
    on = y > 0
    away = (value - y) * on
    length = float(away.norm())
    inside = y + away * min(1.0, radius / length if length else 1.0)
    return torch.where(on, inside, value.clamp(max=0))


def _check(
    weight: Tensor, x: Tensor, epsilon: float, rho: float, num_steps: int, tolerance: float, fixed: Sequence[int]
) -> None:
    for name, value in (("weight", weight), ("x", x)):
        if not isinstance(value, Tensor) or value.ndim != 2 or not value.is_floating_point() or not value.numel():
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"net_trim: {name} must be a floating-point matrix, got {got}")
        if not is_finite(value):
            raise ValueError(f"net_trim: {name} must be finite")
    if weight.shape[1] != x.shape[1]:
        raise ValueError(f"net_trim: x must have the {weight.shape[1]} columns of weight, got {x.shape[1]}")
    if check_number("net_trim", "epsilon", epsilon, low=0.0) >= 1:
        raise ValueError(f"net_trim: epsilon must lie in [0, 1), for at 1 no weight is needed, got {epsilon}")
    for name, value in (("rho", rho), ("tolerance", tolerance)):
        if check_number("net_trim", name, value, low=0.0) == 0:
            raise ValueError(f"net_trim: {name} must be > 0, got 0")
    check_count("net_trim", "num_steps", num_steps)
    for column in fixed:
        if check_count("net_trim", "fixed", column, at_least=0) >= weight.shape[1]:
            raise ValueError(f"net_trim: fixed must name columns 0 … {weight.shape[1] - 1}, got {column}")
