"""Exact draws from determinantal point processes, many side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from labsupport.pruning.diversity.kernels import Spectrum, check_rank, check_size, decomposed, log_symmetric
from labsupport.values import check_count, check_generator

__all__ = ["sample", "sample_any"]


AT_ONCE = 2**20  # numbers in the bases of the draws made together


def sample(kernel: Tensor | Spectrum, *, k: int, num_draws: int = 1, generator: torch.Generator) -> Tensor:
    """Draws from the k-DPP of a kernel, all from one eigendecomposition.

    First k eigenvectors are drawn, with the probabilities that the elementary symmetric polynomials give, then k units
    from what these span. Both run over the draws side by side.

    Args:
        kernel: (N, N), or its `spectrum`, where it is at hand.
        k: units in each draw, 1 <= k <= rank.
        num_draws: >= 1.
        generator: draws on its own device.
    Returns:
        (num_draws, k) int64, on the kernel's device: different units, in the order in which they were drawn.
    Raises:
        ValueError: the kernel is refused by `spectrum`, or a bound above is broken.
    Source: Kulesza & Taskar 2012, arXiv:1207.6083, algorithms 1 and 8.
    """
    found = decomposed("sample", kernel)
    check_count("sample", "num_draws", num_draws)
    check_generator("sample", generator)
    check_size("sample", k, len(found.values))
    check_rank("sample", k, found.values)
    chosen = _eigenvectors(found.values, k, num_draws, generator)
    return _projected(found.vectors, chosen, generator)


def sample_any(kernel: Tensor | Spectrum, *, num_draws: int = 1, generator: torch.Generator) -> Tensor:
    """Draws from the DPP of free size: which units are in each.

    Args:
        kernel: (N, N), or its `spectrum`, where it is at hand.
        num_draws: >= 1.
        generator: draws on its own device.
    Returns:
        (num_draws, N) booleans, on the kernel's device; a draw may be empty.
    Raises:
        ValueError: the kernel is refused by `spectrum`, or a bound above is broken.
    Source: Kulesza & Taskar 2012, arXiv:1207.6083, algorithm 1.
    """
    found = decomposed("sample_any", kernel)
    check_count("sample_any", "num_draws", num_draws)
    check_generator("sample_any", generator)
    values = found.values
    picked = _uniform((num_draws, len(values)), values, generator) < values / (1 + values)
    sizes, kept = picked.sum(1), torch.zeros_like(picked)
    for size in sizes.unique().tolist():
        if size:
            these = (sizes == size).nonzero()[:, 0]
            chosen = picked[these].nonzero()[:, 1].view(len(these), size)
            kept[these] = kept[these].scatter(1, _projected(found.vectors, chosen, generator), True)
    return kept


def _eigenvectors(values: Tensor, k: int, num_draws: int, generator: torch.Generator) -> Tensor:
    """Which k eigenvectors each draw gets: (num_draws, k)."""
    table = log_symmetric(values, k=k)
    # given that r of the first n are still to come, the n-th is among them with probability λ_n e_(r−1) / e_r
    chance = (values.log() + table[:-1, :-1] - table[1:, 1:]).exp().nan_to_num(0.0)
    chance = torch.cat([torch.zeros_like(chance[:1]), chance])
    chance[table[:, :-1] == -math.inf] = 1.0  # too few are left to pass one by
    dice = _uniform((len(values), num_draws), values, generator)
    left = torch.full((num_draws,), k, device=values.device)
    taken = torch.empty(dice.shape, dtype=torch.bool, device=values.device)
    for n in reversed(range(len(values))):
        taken[n] = dice[n] < chance[left, n]
        left = left - taken[n].long()
    return taken.T.nonzero()[:, 1].view(num_draws, k)


def _projected(vectors: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Units drawn from the span of the chosen eigenvectors of each draw: (draws, k), slab by slab."""
    count, k = len(vectors), chosen.shape[1]
    # row e of the stair climbs from e to e + 1 by the squares of eigenvector e: all rows are searched as one
    stair = vectors.T.square().cumsum(1) + torch.arange(count, device=vectors.device)[:, None]
    slabs = chosen.split(max(1, AT_ONCE // (k * k)))
    return torch.cat([_chain(vectors, stair.flatten(), some, generator) for some in slabs])


def _chain(vectors: Tensor, stair: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """One unit after another, in proportion to what of its row is at right angles to the rows drawn before.

    By rejection, so that no step looks at all N units: an eigenvector at random and a unit by its squares propose a
    unit in proportion to its whole row's square; it is taken with the share that is at right angles. Over all
    proposals (k − t)/k are taken.
    """
    draws, k = chosen.shape
    basis = vectors.new_zeros(draws, k, k)
    drawn = torch.empty(draws, k, dtype=torch.int64, device=vectors.device)
    for t in range(k):
        waiting = torch.arange(draws, device=vectors.device)
        tries = 1 + 3 * k // (2 * (k - t))
        while len(waiting):
            some = slice(None) if len(waiting) == draws else waiting
            mine, known = chosen[some], basis[some, :t]
            units = _proposed(stair, mine, tries, generator)
            places = units[..., None] * len(vectors) + mine[:, None]
            rows = vectors.flatten().index_select(0, places.flatten()).view(places.shape)
            rows /= torch.linalg.vector_norm(rows, dim=2, keepdim=True)
            share = 1 - torch.bmm(rows, known.mT).square().sum(2)
            # below 1e-12 it is rounding, as for a unit drawn before
            taken = (_uniform(share.shape, share, generator) < share) & (share > 1e-12)
            first, found = taken.byte().argmax(1), taken.any(1)
            here, where = found.nonzero()[:, 0], waiting[found]
            drawn[where, t] = units[here, first[here]]
            basis[where, t] = _upright(rows[here, first[here]], known[here])
            waiting = waiting[~found]
    return drawn


def _proposed(stair: Tensor, chosen: Tensor, tries: int, generator: torch.Generator) -> Tensor:
    """Units (draws, tries): each by the squares of one of the draw's eigenvectors, taken at random."""
    draws, k = chosen.shape
    dice = _uniform((draws, tries), stair, generator) * k
    which = dice.long().clamp(max=k - 1)
    row = chosen.gather(1, which)
    count = math.isqrt(len(stair))
    return (torch.searchsorted(stair, row + (dice - which), right=True) - row * count).clamp(0, count - 1)


def _upright(rows: Tensor, known: Tensor) -> Tensor:
    """Each row (draws, k) less its part along the orthonormal rows of `known` (draws, t, k), of length 1; twice."""
    for _ in range(2):
        rows = rows - torch.bmm(torch.bmm(rows[:, None], known.mT), known)[:, 0]
        rows = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows


def _uniform(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=generator, device=generator.device).to(like.device)
