"""Brain surgery on a layer, whose rows share one Hessian: the error is that of the layer's own output, ½ Σ δᵀHδ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.pruning.edges.obs import check_square
from labsupport.pruning.edges.ranking import check_sparsity, num_pruned
from labsupport.values import check_choice, check_count, check_number, holds, is_finite

__all__ = ["Trace", "layer_hessian", "lobs", "obc", "refit"]

AT_ONCE = 2**24  # entries of inverses that are held at a time
SINGULAR = 1e-13  # smallest pivot, of the largest entry of the diagonal; in float32 what rounding leaves of it
AFRESH = 32  # deletions after which an inverse is computed anew: downdates alone drift


def layer_hessian(x: Tensor, *, damping: float, bias: bool = True) -> Tensor:
    """(1/n) Σ xxᵀ of a layer's inputs, the Hessian that all its rows of weights share.

    Args:
        x: (n, inputs); convolutions take their unfolded patches.
        damping: what is added to the diagonal, as a multiple of its mean; >= 0. Where inputs are constant or linearly
            dependent the matrix is singular without it.
        bias: whether the layer has one; then an input that is always 1 comes last.
    Returns:
        (inputs, inputs), one more with a bias, in x's dtype.
    Raises:
        ValueError: another shape, something is not finite, or a bound above is broken.
    Source: Dong, Chen & Pan 2017, arXiv:1705.07565, section 3.
    """
    if not isinstance(x, Tensor) or x.ndim != 2 or not x.is_floating_point() or not x.numel():
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"layer_hessian: x must be a floating-point tensor (n, inputs), got {got}")
    if not is_finite(x):
        raise ValueError("layer_hessian: x must be finite")
    check_number("layer_hessian", "damping", damping, low=0.0)
    check_choice("layer_hessian", "bias", bias, (True, False))
    rows = x.detach().double()
    if bias:
        rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
    matrix = rows.mT @ rows / len(rows)
    matrix.diagonal().add_(damping * matrix.diagonal().mean())
    if not is_finite(matrix.to(x.dtype)):
        raise ValueError(f"layer_hessian: x must be small enough for its squares to fit into {x.dtype}")
    return matrix.to(x.dtype)


def lobs(weight: Tensor, hessian: Tensor, *, sparsity: float, fixed: Sequence[int] = ()) -> Tensor:
    """Layer-wise surgery as its authors' code ran it: rank once, then delete one after another without a new inverse.

    Each deletion moves its row along H⁻¹ e_q, with the H⁻¹ of the whole layer; what a later step puts where a weight
    was deleted is set to 0 at the end.

    Args:
        weight, hessian, fixed: see `obc`.
        sparsity: fraction of the weights that may be deleted, in [0, 1).
    Returns:
        (out, columns).
    Raises:
        ValueError: see `obc`.
    Source: Dong, Chen & Pan 2017, arXiv:1705.07565, algorithm 1, and their code.
    """
    free = _check_layer("lobs", weight, hessian, fixed)
    check_sparsity("lobs", sparsity)
    inverse = _inverse("lobs", hessian.detach())
    moved = weight.detach().double().clone()
    costs = moved.square() / (2 * inverse.diagonal())
    costs[:, ~free] = torch.inf
    order = costs.flatten().argsort(stable=True)[: _num_deleted("lobs", len(weight) * int(free.sum()), sparsity)]
    rows, columns = order // weight.shape[1], order % weight.shape[1]
    for place in _turns(rows, len(weight)):
        row, q = rows[place], columns[place]
        moved[row] -= (moved[row, q] / inverse[q, q])[:, None] * inverse[q]
    moved[rows, columns] = 0
    return moved.to(weight.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """The order in which exact greedy surgery deletes a layer's weights; every sparsity can be read from it.

    Attributes:
        weight: (out, columns), before.
        hessian: (columns, columns).
        order: row · columns + column of each deletion, the cheapest first.
    """

    weight: Tensor
    hessian: Tensor
    order: Tensor

    def mask(self, sparsity: float) -> Tensor:
        """(out, columns), True where a weight stays when ⌊sparsity · deletable + ½⌋ are gone; sparsity in [0, 1)."""
        check_sparsity("Trace", sparsity)
        num_deleted = _num_deleted("Trace", len(self.order), sparsity)
        kept = torch.ones(self.weight.numel(), dtype=torch.bool, device=self.weight.device)
        kept[self.order[:num_deleted]] = False
        return kept.view(self.weight.shape)

    def at(self, sparsity: float) -> Tensor:
        """(out, columns), the weights then: those deleted are 0, the others as the surgery leaves them.

        What a row has left minimizes its quadratic error, so it is computed at once and does not drift.

        Raises:
            ValueError: sparsity lies outside [0, 1), or would leave none of the weights that can be deleted.
        """
        return refit(self.weight, self.mask(sparsity), self.hessian)

    def __repr__(self) -> str:
        return f"Trace({len(self.order)} deletions of a layer {tuple(self.weight.shape)})"


def obc(weight: Tensor, hessian: Tensor, *, fixed: Sequence[int] = ()) -> Trace:
    """Exact greedy surgery on a layer: delete the cheapest weight of all rows, repair its row, rank anew, and so on.

    Rows do not touch each other's costs, so each is run to its end by itself, all in one batch, and the rows' orders
    are merged.

    Args:
        weight: (out, columns); with a bias as its last column where the layer has one.
        hessian: (columns, columns), shared by the rows; see `layer_hessian`.
        fixed: columns that are repaired but never deleted, such as that of the bias.
    Raises:
        ValueError: shapes that do not fit, something is not finite, a column that is not there, or a Hessian that is
            not positive definite.
    Source: Frantar, Singh & Alistarh 2022, arXiv:2208.11580, section 4, algorithms 1 and 2.
    """
    free = _check_layer("obc", weight, hessian, fixed)
    matrix, exact = hessian.detach().double(), weight.detach().double()
    inverse = _inverse("obc", hessian.detach())
    found = [_delete_all(exact[rows], matrix, inverse, free) for rows in _chunks(exact)]
    columns, costs = (torch.cat(parts) for parts in zip(*found, strict=True))
    # The head of a row goes when it is the cheapest of all heads; what follows it at a lower cost goes directly after.
    heads = costs.cummax(1).values.flatten()
    places = columns + weight.shape[1] * torch.arange(len(weight), device=weight.device)[:, None]
    return Trace(weight.detach().clone(), hessian.detach().clone(), places.flatten()[heads.argsort(stable=True)])


def refit(weight: Tensor, mask: Tensor, hessian: Tensor) -> Tensor:
    """What the kept weights of a layer should be so that its output changes least: least squares, row by row.

    Args:
        weight: (out, columns), before.
        mask: (out, columns), boolean, True where a weight stays.
        hessian: (columns, columns).
    Returns:
        (out, columns), exactly 0 where the mask is False.
    Raises:
        ValueError: shapes that do not fit, something is not finite, or a Hessian that is not positive definite on what
            a row keeps.
    """
    _check_layer("refit", weight, hessian, ())
    if not isinstance(mask, Tensor) or mask.shape != weight.shape or mask.dtype != torch.bool:
        got = f"{tuple(mask.shape)} {mask.dtype}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"refit: mask must be boolean of shape {tuple(weight.shape)}, got {got}")
    exact, matrix = weight.detach().double(), hessian.detach().double()
    least = _least_pivot(hessian)
    parts = [_solve(exact[rows], mask[rows], matrix, least) for rows in _chunks(exact)]
    return torch.cat(parts).to(weight.dtype)


def _solve(weight: Tensor, mask: Tensor, hessian: Tensor, least: Tensor) -> Tensor:
    pulls = (weight * ~mask) @ hessian
    factor, info = torch.linalg.cholesky_ex(_restricted(hessian, mask))
    _check_factor("refit", info, (factor.diagonal(dim1=1, dim2=2).square() <= least) & mask)
    moves = torch.cholesky_solve((pulls * mask)[..., None], factor)[..., 0]
    return (weight + moves) * mask


def _restricted(hessian: Tensor, mask: Tensor) -> Tensor:
    """The Hessian of what each row keeps, (rows, columns, columns), the unit matrix where it keeps nothing."""
    both = mask[:, :, None] & mask[:, None, :]
    return torch.where(both, hessian, torch.eye(len(hessian), dtype=hessian.dtype, device=hessian.device))


def _delete_all(weight: Tensor, hessian: Tensor, inverse: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Columns in the order of their deletion and the costs, each (rows, deletable), of rows run to their end."""
    rows, every = torch.arange(len(weight), device=weight.device), weight
    weight, mask = weight.clone(), torch.ones_like(weight, dtype=torch.bool)
    inverses = inverse.expand(len(weight), -1, -1).clone()
    columns, costs, nothing = [], [], torch.zeros_like(hessian[0, 0])
    for step in range(int(free.sum())):
        if step and step % AFRESH == 0:
            weight = _solve(every, mask, hessian, nothing)
            inverses = torch.cholesky_inverse(torch.linalg.cholesky(_restricted(hessian, mask)))
        diagonal = inverses.diagonal(dim1=1, dim2=2)
        cost = (weight.square() / (2 * diagonal)).masked_fill(~(mask & free), torch.inf)
        q = cost.argmin(1)
        line, pivot = inverses[rows, q], diagonal[rows, q]  # copies
        columns.append(q)
        costs.append(cost[rows, q])
        weight = weight - (weight[rows, q] / pivot)[:, None] * line
        inverses.baddbmm_(line[:, :, None] / pivot[:, None, None], line[:, None, :], alpha=-1)
        mask[rows, q] = False
        weight = weight * mask
        inverses[rows, q, :] = inverses[rows, :, q] = 0
        inverses[rows, q, q] = 1  # as in a unit matrix: it touches nothing, and can be divided by
    return torch.stack(columns, 1), torch.stack(costs, 1)


def _chunks(weight: Tensor) -> Iterator[slice]:
    size = max(1, AT_ONCE // weight.shape[1] ** 2)
    return (slice(start, start + size) for start in range(0, len(weight), size))


def _turns(rows: Tensor, num_rows: int) -> Iterator[Tensor]:
    """Places in a list of deletions, first those that are the first of their row, then the second ones, and so on."""
    by_row = [torch.nonzero(rows == row)[:, 0] for row in range(num_rows)]
    for turn in range(max(map(len, by_row), default=0)):
        yield torch.stack([places[turn] for places in by_row if len(places) > turn])


def _inverse(where: str, hessian: Tensor) -> Tensor:
    factor, info = torch.linalg.cholesky_ex(hessian.double())
    _check_factor(where, info, factor.diagonal().square() <= _least_pivot(hessian))
    return torch.cholesky_inverse(factor)


def _least_pivot(hessian: Tensor) -> Tensor:
    return max(SINGULAR, torch.finfo(hessian.dtype).eps) * hessian.detach().double().diagonal().amax()


def _num_deleted(where: str, deletable: int, sparsity: float) -> int:
    found = num_pruned(deletable, sparsity)
    if found == deletable:
        raise ValueError(f"{where}: sparsity must leave a weight of the layer, got {sparsity}, {found} of {deletable}")
    return found


def _check_factor(where: str, info: Tensor, small: Tensor) -> None:
    if not holds(info == 0) or not holds(~small):
        raise ValueError(f"{where}: hessian must be positive definite, got a singular one: add damping")


def _check_layer(where: str, weight: Tensor, hessian: Tensor, fixed: Sequence[int]) -> Tensor:
    """Which columns may be deleted, boolean (columns,)."""
    if not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point() or not weight.numel():
        got = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        raise ValueError(f"{where}: weight must be a floating-point tensor (out, columns), got {got}")
    columns = weight.shape[1]
    check_square(where, "hessian", hessian, columns, weight)
    free = torch.ones(columns, dtype=torch.bool, device=weight.device)
    for column in fixed:
        if check_count(where, "fixed", column, at_least=0) >= columns:
            raise ValueError(f"{where}: fixed must name columns 0 … {columns - 1}, got {column}")
        free[column] = False
    if not holds(free.any()):
        raise ValueError(f"{where}: fixed must leave a column that can be deleted, got all {columns}")
    return free
