"""Kernels of likeness, their spectra, and the probabilities of subsets in log space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from labsupport.values import check_count, check_number, holds, is_finite

__all__ = [
    "Spectrum", "check_rank", "check_size", "decomposed", "expected_size", "kernel", "log_probability",
    "log_probability_any", "log_symmetric", "spectrum",
]  # fmt: skip


class Spectrum(NamedTuple):
    """A kernel's eigenvalues (N,), >= 0 and exactly 0 beyond its rank, and eigenvectors (N, N), float64."""

    values: Tensor
    vectors: Tensor


def kernel(activations: Tensor, *, beta: float, epsilon: float) -> Tensor:
    """How alike the units are: L_ij = exp(−β ‖v_i − v_j‖²) + ε δ_ij, v_i what unit i puts out over all examples.

    Args:
        activations: (…, n, units).
        beta: 1/width, >= 0; distances are summed over the n examples, not averaged.
        epsilon: >= 0, added to the diagonal: units that are exactly alike leave the kernel singular.
    Returns:
        (…, units, units), symmetric, in the dtype of `activations`.
    Raises:
        ValueError: a bound above is broken, or activations are not finite or have fewer than two dimensions.
    Source: Mariet & Sra 2016, arXiv:1511.05077.
    """
    _check_activations("kernel", activations)
    check_number("kernel", "beta", beta, low=0.0)
    check_number("kernel", "epsilon", epsilon, low=0.0)
    units = activations.mT.double()
    distances = torch.cdist(units, units, compute_mode="donot_use_mm_for_euclid_dist").square()
    alike = (-beta * (distances + distances.mT) / 2).exp()
    return (alike + epsilon * torch.eye(alike.shape[-1], dtype=alike.dtype, device=alike.device)).to(activations)


def spectrum(kernel: Tensor) -> Spectrum:
    """Eigenvalues and eigenvectors of a kernel, for many calls of `sample`, `sample_any` and `log_symmetric`.

    What rounding alone can make of 0 becomes 0: N·eps·(largest) in float64, and eps·‖L‖_F of the kernel's dtype.

    Raises:
        ValueError: the kernel is not a symmetric (N, N) matrix, not finite, or has an eigenvalue < 0.
    """
    return decomposed("spectrum", kernel)


def log_symmetric(values: Tensor, *, k: int) -> Tensor:
    """Logarithms of the elementary symmetric polynomials e_j(λ_1, …, λ_n): (k + 1, N + 1), row j, column n.

    e_j(λ_1, …, λ_n) = e_j(λ_1, …, λ_(n−1)) + λ_n e_(j−1)(λ_1, …, λ_(n−1)), in log space, where nothing overflows.

    Args:
        values: (N,), eigenvalues >= 0.
        k: 0 <= k <= N.
    Raises:
        ValueError: a value is negative or not finite, or k is out of range.
    Source: Kulesza & Taskar 2012, arXiv:1207.6083, algorithm 7.
    """
    real = isinstance(values, Tensor) and not values.is_complex()
    if not real or values.ndim != 1 or not is_finite(values) or not holds(values >= 0):
        raise ValueError(f"log_symmetric: values must be finite numbers >= 0 of shape (N,), got {values}")
    check_size("log_symmetric", k, len(values), at_least=0)
    logs = values.double().log()
    table = logs.new_full((k + 1, len(values) + 1), -math.inf)
    table[0] = 0.0
    for n, log in enumerate(logs):
        table[1:, n + 1] = torch.logaddexp(table[1:, n], table[:-1, n] + log)
    return table


def log_probability(kernel: Tensor, subset: Sequence[int] | Tensor) -> float:
    """log P(subset) under the k-DPP of a kernel, k = len(subset): log det L_S − log e_k(λ).

    Args:
        kernel: (N, N), symmetric, no eigenvalue below 0.
        subset: k different units, in any order.
    Returns:
        −∞ where the units of the subset are linearly dependent.
    Raises:
        ValueError: the kernel is refused by `spectrum`; the subset holds a unit twice, or none, or one out of range;
            k is above the rank, so that no subset of this size has a probability.
    """
    index = _subset("log_probability", kernel, subset)
    values = decomposed("log_probability", kernel).values
    check_rank("log_probability", len(index), values)
    return _log_det(kernel, index) - float(log_symmetric(values, k=len(index))[-1, -1])


def log_probability_any(kernel: Tensor, subset: Sequence[int] | Tensor) -> float:
    """log P(subset) under the DPP of free size: log det L_S − log det(I + L).

    Args:
        kernel: (N, N), symmetric, no eigenvalue below 0.
        subset: different units, in any order; may be empty.
    Raises:
        ValueError: the kernel is refused by `spectrum`, or the subset holds a unit twice or one out of range.
    """
    index = _subset("log_probability_any", kernel, subset, at_least=0)
    values = decomposed("log_probability_any", kernel).values
    return _log_det(kernel, index) - float(values.log1p().sum())


def expected_size(kernel: Tensor) -> Tensor:
    """How many units the DPP of free size keeps on average: Σ λ/(1 + λ).

    Args:
        kernel: (…, N, N), symmetric.
    Returns:
        (…,) in the kernel's dtype.
    Raises:
        ValueError: the kernel is not square, symmetric or finite, or has an eigenvalue below 0.
    """
    _check_kernel("expected_size", kernel)
    values = torch.linalg.eigvalsh(kernel.double())
    if not kernel.is_meta and float(values.min()) < -10 * _noise(kernel, float(values.abs().max())):
        raise ValueError(f"expected_size: kernel must have no eigenvalue below 0, got {float(values.min()):g}")
    values = values.clamp(min=0)
    return (values / (1 + values)).sum(-1).to(kernel.dtype)


def decomposed(where: str, kernel: Tensor | Spectrum) -> Spectrum:
    """The spectrum of a kernel, or the one that was given; refusals carry the name `where`."""
    if isinstance(kernel, Spectrum):
        return kernel
    if isinstance(kernel, Tensor) and kernel.ndim != 2:
        raise ValueError(f"{where}: kernel must be a matrix (N, N), got shape {tuple(kernel.shape)}")
    _check_kernel(where, kernel)
    values, vectors = torch.linalg.eigh(kernel.detach().double())
    noise = _noise(kernel, float(values.abs().max()))
    if float(values[0]) < -10 * noise:
        raise ValueError(f"{where}: kernel must have no eigenvalue below 0, got {float(values[0]):g}")
    return Spectrum(torch.where(values > noise, values, 0.0), vectors)


def _noise(kernel: Tensor, largest: float) -> float:
    """How far rounding moves an eigenvalue: that of the solver, and of the kernel's entries in their dtype."""
    solver = kernel.shape[-1] * torch.finfo(torch.float64).eps * largest
    if kernel.dtype == torch.float64:
        return solver
    return solver + torch.finfo(kernel.dtype).eps * float(torch.linalg.matrix_norm(kernel.detach().double()).max())


def _check_kernel(where: str, kernel: Tensor) -> None:
    if not isinstance(kernel, Tensor) or not kernel.is_floating_point():
        raise ValueError(f"{where}: kernel must be a floating tensor, got {getattr(kernel, 'dtype', type(kernel))}")
    if kernel.ndim < 2 or kernel.shape[-1] != kernel.shape[-2] or not kernel.numel():
        raise ValueError(f"{where}: kernel must be square, got shape {tuple(kernel.shape)}")
    if not is_finite(kernel):
        raise ValueError(f"{where}: kernel must be finite, got NaN or infinity")
    gap, size = (kernel - kernel.mT).abs().max(), kernel.abs().max()
    if not holds(gap <= 100 * torch.finfo(kernel.dtype).eps * size):
        raise ValueError(f"{where}: kernel must be symmetric, got differences of {float(gap):g} across its diagonal")


def check_size(where: str, k: int, units: int, *, at_least: int = 1) -> None:
    """Raise ValueError unless `at_least` <= k <= units."""
    if check_count(where, "k", k, at_least=at_least) > units:
        raise ValueError(f"{where}: k must be <= N = {units}, got {k}")


def check_rank(where: str, k: int, values: Tensor) -> None:
    """Raise ValueError where no subset of size k has a probability."""
    rank = int((values > 0).sum())
    if k > rank:
        raise ValueError(f"{where}: k must be <= the rank of the kernel, {rank}, got {k}")


def _check_activations(where: str, activations: Tensor) -> None:
    if not isinstance(activations, Tensor) or activations.ndim < 2 or not activations.numel():
        got = tuple(activations.shape) if isinstance(activations, Tensor) else type(activations).__name__
        raise ValueError(f"{where}: activations must be a tensor (…, n, units), got {got}")
    if not activations.is_floating_point() or not is_finite(activations):
        raise ValueError(f"{where}: activations must be finite floating numbers, got {activations.dtype} or NaN")


def _subset(where: str, kernel: Tensor, subset: Sequence[int] | Tensor, *, at_least: int = 1) -> Tensor:
    _check_kernel(where, kernel)
    try:
        index = torch.as_tensor(subset, device=kernel.device)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise ValueError(f"{where}: subset must be indices of units, got {subset!r} ({problem})") from problem
    index = index.long() if not index.numel() else index
    if index.ndim != 1 or index.dtype != torch.int64 or len(index) < at_least:
        raise ValueError(f"{where}: subset must name {at_least} or more units by their indices, got {subset}")
    if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(kernel):
        raise ValueError(f"{where}: subset must lie in 0 … {len(kernel) - 1}, got {subset}")
    if len(index.unique()) < len(index):
        raise ValueError(f"{where}: subset must hold each unit once, got {subset}")
    return index


def _log_det(kernel: Tensor, index: Tensor) -> float:
    values = torch.linalg.eigvalsh(kernel.detach().double()[index[:, None], index])
    rounding = len(values) * torch.finfo(values.dtype).eps * values.abs().max() if len(values) else 0.0
    return float(values.log().sum()) if holds(values > rounding) else -math.inf
