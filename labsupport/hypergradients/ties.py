"""Soft sharing: each task has weights of its own, and ties pull them together.

For J tasks with weights w₁ … w_J the penalty is (1/4J) Σᵢⱼ e^αᵢⱼ ‖wᵢ − wⱼ‖² + ½ e^α₀ Σᵢ ‖wᵢ‖², with logarithms α.

Source: Evgeniou, Micchelli & Pontil 2005, Journal of Machine Learning Research 6, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["distances", "shared_part"]


def distances(weights: Tensor) -> Tensor:
    """‖wᵢ − wⱼ‖² of all pairs of tasks: (…, tasks, n) -> (…, tasks, tasks).

    Raises:
        ValueError: fewer than two dimensions.
    """
    if weights.ndim < 2:
        raise ValueError(f"distances: weights must be (…, tasks, n), got shape {tuple(weights.shape)}")
    gram = weights @ weights.mT
    size = gram.diagonal(dim1=-2, dim2=-1)
    return size[..., :, None] + size[..., None, :] - 2 * gram


def shared_part(ties: Tensor, decay: Tensor) -> Tensor:
    """The correlation of two tasks' weights that the penalty implies: 0 for separate networks, 1 for the same.

    The penalty is ½ Σᵢⱼ Pᵢⱼ wᵢᵀwⱼ, minus the logarithm of a Gaussian with the covariance P⁻¹.

    Args:
        ties: logarithms (…, tasks, tasks), symmetric; the diagonal does not matter.
        decay: logarithm of the L2 coefficient, (…).
    Returns:
        (…, tasks, tasks).
    Raises:
        ValueError: ties are no square matrices.
    """
    if ties.ndim < 2 or ties.shape[-1] != ties.shape[-2]:
        raise ValueError(f"shared_part: ties must be (…, tasks, tasks), got shape {tuple(ties.shape)}")
    tasks = ties.shape[-1]
    pull = ties.exp() / tasks
    P = decay.exp()[..., None, None] * torch.eye(tasks, dtype=ties.dtype, device=ties.device) - pull
    P = P + torch.diag_embed(pull.sum(-1))
    cov = P.inverse()
    size = cov.diagonal(dim1=-2, dim2=-1).sqrt()
    return cov / size[..., :, None] / size[..., None, :]
