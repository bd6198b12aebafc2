"""Brain surgery on one vector of weights: a deletion is paid for by the others, through the inverse of the Hessian."""

from __future__ import annotations

import torch
from torch import Tensor

from labsupport.values import check_count, check_number, holds, is_finite

__all__ = ["check_square", "inverse_by_examples", "obs_saliencies", "obs_step"]


def obs_saliencies(weight: Tensor, inverse: Tensor) -> Tensor:
    """w_q² / (2 [H⁻¹]_qq) of each weight: what its deletion costs when all others adjust; infinite where it is deleted.

    Args:
        weight: (n,).
        inverse: (n, n), H⁻¹; zero in the rows and columns of deleted weights.
    Raises:
        ValueError: other shapes, or something is not finite.
    Source: Hassibi & Stork 1992, "Second order derivatives for network pruning: optimal brain surgeon", eq. 5.
    """
    _check_vector("obs_saliencies", weight, inverse)
    diagonal = inverse.detach().diagonal().double()
    weight = weight.detach()
    costs = weight.double().square() / (2 * diagonal)
    return costs.masked_fill(diagonal <= 0, torch.inf).to(weight.dtype)


def obs_step(weight: Tensor, inverse: Tensor, *, index: int) -> tuple[Tensor, Tensor]:
    """Delete weight q = `index`, and move the others to where the quadratic loss is then lowest.

    w − (w_q / [H⁻¹]_qq) H⁻¹ e_q, and the inverse of the Hessian of what is left.

    Args:
        weight: (n,), 0 where it was deleted before.
        inverse: (n, n), H⁻¹, symmetric; zero in the rows and columns of weights that were deleted before.
        index: 0 … n − 1, of a weight that is still there.
    Returns:
        The weights, exactly 0 at `index` and at weights deleted before; and the inverse, zero in that row and column.
    Raises:
        ValueError: other shapes, something is not finite, the weight is gone, or one that is gone is not 0.
    Source: Hassibi & Stork 1992, eq. 5.
    """
    _check_vector("obs_step", weight, inverse)
    if check_count("obs_step", "index", index, at_least=0) >= len(weight):
        raise ValueError(f"obs_step: index must lie in 0 … {len(weight) - 1}, got {index}")
    weight, inverse = weight.detach(), inverse.detach()
    column = inverse[:, index].double()
    if not holds(column[index] > 0):
        raise ValueError(f"obs_step: index must name a weight that is not deleted yet, got {index}")
    if not holds((weight == 0) | (inverse.diagonal() != 0)):
        raise ValueError("obs_step: weight must be 0 where inverse says that it was deleted")
    moved = weight.double() - weight[index].double() / column[index] * column
    rest = inverse.double() - torch.outer(column, column) / column[index]
    moved[index] = 0
    rest[index, :] = rest[:, index] = 0
    return moved.to(weight.dtype), rest.to(inverse.dtype)


def inverse_by_examples(rows: Tensor, *, damping: float) -> Tensor:
    """(αI + (1/n) Σ rrᵀ)⁻¹ by one rank-one update an example, as in 1992; one Cholesky factorization gives the same.

    Args:
        rows: (n, dim), an example's Jacobian each.
        damping: α > 0, in the units of the matrix.
    Returns:
        (dim, dim), float64.
    Raises:
        ValueError: other shapes, or a bound above is broken.
    Source: Hassibi & Stork 1992, eqs. 8 and 9.
    """
    fits = isinstance(rows, Tensor) and rows.ndim == 2 and rows.numel() and rows.is_floating_point()
    if not fits or not is_finite(rows):
        raise ValueError("inverse_by_examples: rows must be a finite tensor (n, dim) of floating-point numbers")
    if check_number("inverse_by_examples", "damping", damping, low=0.0) == 0:
        raise ValueError("inverse_by_examples: damping must be > 0, got 0")
    inverse = torch.eye(rows.shape[1], dtype=torch.float64, device=rows.device) / damping
    for row in rows.detach().double():
        pulled = inverse @ row
        inverse = inverse.addr_(pulled, pulled / -(len(rows) + row @ pulled))
    return inverse


def _check_vector(where: str, weight: Tensor, inverse: Tensor) -> None:
    if not isinstance(weight, Tensor) or weight.ndim != 1 or not weight.is_floating_point() or not len(weight):
        got = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        raise ValueError(f"{where}: weight must be a floating-point tensor (n,), got {got}")
    check_square(where, "inverse", inverse, len(weight), weight)


def check_square(where: str, name: str, matrix: Tensor, size: int, like: Tensor) -> None:
    """Raise ValueError unless a matrix is finite, symmetric and (size, size), on the device of the finite `like`."""
    if not isinstance(matrix, Tensor) or matrix.shape != (size, size) or not matrix.is_floating_point():
        got = f"{tuple(matrix.shape)} {matrix.dtype}" if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ValueError(f"{where}: {name} must be a floating-point tensor ({size}, {size}), got {got}")
    if matrix.device != like.device:
        raise ValueError(f"{where}: {name} must be on the weights' device {like.device}, got {matrix.device}")
    if not is_finite(matrix) or not is_finite(like):
        raise ValueError(f"{where}: weight and {name} must be finite")
    scale = matrix.detach().abs().amax()
    if not holds((matrix - matrix.mT).abs() <= 1e-4 * scale):
        raise ValueError(f"{where}: {name} must be symmetric")
