"""Soft sharing: each task has weights of its own, and ties pull them together; networks of many tasks side by side.

For J tasks with weights w₁ … w_J the penalty is (1/4J) Σᵢⱼ e^αᵢⱼ ‖wᵢ − wⱼ‖² + ½ e^α₀ Σᵢ ‖wᵢ‖², with logarithms α.

Networks lie in draws of the data and, in these, tasks: a layer's weight has shape (draws, tasks, outputs, inputs), its
bias (draws, tasks, 1, outputs). A layer that all tasks share has 1 for tasks.

Source: Evgeniou, Micchelli & Pontil 2005, Journal of Machine Learning Research 6, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from labsupport.data.splits import Pair
from labsupport.hypergradients.problem import Named
from labsupport.values import check_count

__all__ = ["copied", "distances", "losses", "outputs", "penalized", "shared_part"]


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


def copied(nets: Named, num_tasks: int, *, shared: int = 0) -> Named:
    """The weights of one network for each draw, copied for its tasks, except the lowest `shared` layers.

    Args:
        nets: weight (draws, outputs, inputs) and bias (draws, outputs) of each layer in turn, as `studies.stacked`.
        num_tasks: >= 1.
        shared: layers that all tasks have in common, >= 0.
    Raises:
        ValueError: a bound above is broken.
    """
    check_count("copied", "num_tasks", num_tasks)
    check_count("copied", "shared", shared, at_least=0)
    copies = [1 if place < 2 * shared else num_tasks for place in range(len(nets))]
    each = {name: value.view(len(value), 1, -1, value.shape[-1]) for name, value in nets.items()}
    return {name: value.repeat(1, count, 1, 1) for count, (name, value) in zip(copies, each.items(), strict=True)}


def outputs(weights: Named, x: Tensor) -> Tensor:
    """What tanh networks say of their tasks' examples: (draws, tasks, n, inputs) -> (draws, tasks, n, outputs).

    Raises:
        ValueError: weights are no weight and bias in turn.
    """
    values = list(weights.values())
    if not values or len(values) % 2:
        raise ValueError(f"outputs: weights must hold weight and bias of each layer, got {len(values)} tensors")
    for place in range(0, len(values), 2):
        x = (x.tanh() if place else x) @ values[place].mT + values[place + 1]
    return x


def losses(weights: Named, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of each task's network, (draws, tasks); y (draws, tasks, n)."""
    return cross_entropy(outputs(weights, x).movedim(-1, 1), y, reduction="none").mean(-1)


def penalized(weights: Named, logs: Mapping[str, Tensor], batch: Pair) -> Tensor:
    """The tasks' training losses with L2 and ties, summed over tasks and draws: the `train_loss` of a `Problem`.

    Args:
        weights, batch: as in `losses`.
        logs: "decay": (draws, layers), logarithms of the L2 coefficients; and, where tasks are tied, "tie": (draws,
            layers, tasks, tasks), or 1 for tasks that all have the same. Biases are neither shrunk nor tied.
    """
    tasks = batch[0].shape[1]
    matrices = [w for name, w in weights.items() if name.endswith("weight")]
    sizes = torch.stack([w.square().sum((1, 2, 3)) * tasks / w.shape[1] for w in matrices], 1)
    total = losses(weights, *batch).sum() + 0.5 * (logs["decay"].exp() * sizes).sum()
    if "tie" in logs:
        far = torch.stack([distances(w.flatten(2)) for w in matrices], 1)
        total = total + (logs["tie"].exp() * far).sum() / (4 * tasks)
    return total
