"""What a removed unit did, handed to those that stay: by least squares on activations, or by likeness of weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from labsupport.models import ACTIVATIONS
from labsupport.values import check_choice, check_count, check_number, is_finite

__all__ = ["Merged", "absorb", "merge", "merge_alike", "saliency"]

HOMOGENEOUS = ("relu", "leaky_relu", "identity")
"""Activations with f(c z) = c f(z) for c > 0."""


class Merged(NamedTuple):
    """Outgoing weights (out, units), zero where a unit has gone; and the pairs (steps, 2): who took over, who went."""

    weight: Tensor
    pairs: Tensor


def merge(weight_out: Tensor, activations: Tensor, kept: Sequence[int] | Tensor) -> Tensor:
    """Outgoing weights of the units kept that give back, as nearly as they can, the sums of all.

    argmin_W ‖A_S Wᵀ − A weight_outᵀ‖, the shortest such W where the units kept are linearly dependent. It may follow
    any choice of units. The bias of the next layer is left alone; with a column of ones among the activations, kept,
    and the bias as its weights, it is refitted too.

    Args:
        weight_out: (…, out, units), leading dimensions are members.
        activations: (…, n, units).
        kept: indices (…, k), k >= 1, none twice.
    Returns:
        (…, out, k) in the order of `kept`, in the dtype of `weight_out`.
    Raises:
        ValueError: shapes do not fit, values are not finite, or kept is empty, out of range or names a unit twice.
    Source: Mariet & Sra 2016, arXiv:1511.05077, section 3, where it is called fusing.
    """
    index = _checked(weight_out, activations, kept)
    full = activations.double()
    some = full.gather(-1, index[..., None, :].expand(*full.shape[:-1], index.shape[-1]))
    turned, small = torch.linalg.qr(some)
    left, values, right = torch.linalg.svd(small, full_matrices=False)
    # what rounding makes of 0: of the solver, and of the activations, each by half an ulp at most
    eps = max(some.shape[-2:]) * torch.finfo(full.dtype).eps + math.sqrt(some.shape[-1]) * _rounding(activations)
    noise = eps * values[..., :1]
    inverse = torch.where(values > noise, 1 / values, 0.0)
    target = turned.mT @ (full @ weight_out.double().mT)
    return (right.mT @ (inverse[..., None] * (left.mT @ target))).mT.to(weight_out)


def saliency(weight_in: Tensor, bias: Tensor, weight: Tensor, *, activation: str) -> Tensor:
    """What it costs to let unit i (row) take over from unit j (column): ⟨a_j²⟩ ‖ε_ij‖², ∞ on the diagonal.

    ε_ij is the difference of the incoming weights, bias included. Where the activation is positively homogeneous, they
    are first brought to length 1 and a_j, the outgoing weights, take up the length: the function stays the same.

    Args:
        weight_in: (units, in). bias: (units,). weight: (out, units), outgoing.
        activation: a name in `models.ACTIVATIONS`.
    Returns:
        (units, units).
    Raises:
        ValueError: an unknown activation, shapes do not fit, values are not finite.
    Source: Srinivas & Babu 2015, arXiv:1507.06149, equation of the saliency, and their normalized weight sets.
    """
    sets, lengths = _weight_sets("saliency", weight_in, bias, weight, activation)
    gaps = torch.cdist(sets, sets, compute_mode="donot_use_mm_for_euclid_dist").square()
    sizes = (weight.double() * lengths).square().mean(0)
    return (gaps * sizes).fill_diagonal_(math.inf).to(weight)


def absorb(weight: Tensor, *, keep: int, drop: int, ratio: float, activation: str) -> Tensor:
    """Outgoing weights once unit `keep` has taken over from `drop`: a_keep += ratio · a_drop, a_drop = 0.

    Args:
        weight: (out, units).
        ratio: how much longer the incoming weights of `drop` are: α_drop/α_keep.
        activation: a name in `models.ACTIVATIONS`.
    Raises:
        ValueError: no such unit, the same unit twice, or a ratio other than 1 where f(c z) ≠ c f(z).
    Source: Srinivas & Babu 2015, arXiv:1507.06149.
    """
    check_choice("absorb", "activation", activation, ACTIVATIONS)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise ValueError(f"absorb: weight must be (out, units), got {getattr(weight, 'shape', type(weight).__name__)}")
    units = weight.shape[-1]
    for name, unit in (("keep", keep), ("drop", drop)):
        if check_count("absorb", name, unit, at_least=0) >= units:
            raise ValueError(f"absorb: {name} must lie in 0 … {units - 1}, got {unit}")
    if keep == drop:
        raise ValueError(f"absorb: drop must be another unit than keep, got {drop} for both")
    if check_number("absorb", "ratio", ratio, low=0.0) != 1 and activation not in HOMOGENEOUS:
        rule = f"1 for {activation}, which does not scale with its input (as {', '.join(HOMOGENEOUS)} do)"
        raise ValueError(f"absorb: ratio must be {rule}, got {ratio}")
    merged = weight.clone()
    merged[:, keep] += ratio * weight[:, drop]
    merged[:, drop] = 0.0
    return merged


def merge_alike(weight_in: Tensor, bias: Tensor, weight: Tensor, *, num_steps: int, activation: str) -> Merged:
    """Units removed one by one, each into the one whose incoming weights are most like its own; no data are needed.

    Each step takes the pair of least saliency, ranked anew, since a unit that took over has other outgoing weights.

    Args:
        weight_in, bias, weight, activation: see `saliency`.
        num_steps: units removed, fewer than there are.
    Raises:
        ValueError: as `saliency`, or num_steps is out of range: nothing would be left.
    Source: Srinivas & Babu 2015, arXiv:1507.06149, algorithm 1.
    """
    if check_count("merge_alike", "num_steps", num_steps) >= len(weight_in):
        raise ValueError(f"merge_alike: num_steps must be below the units, {len(weight_in)}, got {num_steps}")
    _, lengths = _weight_sets("merge_alike", weight_in, bias, weight, activation)
    gone, pairs = torch.zeros(len(weight_in), dtype=torch.bool, device=weight.device), []
    for _ in range(num_steps):
        costs = saliency(weight_in, bias, weight, activation=activation)
        costs = costs.masked_fill(gone[:, None] | gone, math.inf)
        keep, drop = divmod(int(costs.argmin()), len(weight_in))
        # a unit that is dead can take over only from one that nothing reads: it gets nothing
        alive = lengths[keep] > torch.finfo(lengths.dtype).tiny
        ratio = float(lengths[drop] / lengths[keep]) if alive or activation not in HOMOGENEOUS else 0.0
        weight = absorb(weight, keep=keep, drop=drop, ratio=ratio, activation=activation)
        gone[drop] = True
        pairs.append((keep, drop))
    return Merged(weight, torch.tensor(pairs, device=weight.device))


def _weight_sets(where: str, weight_in: Tensor, bias: Tensor, weight: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """Incoming weights with bias (units, in + 1), of length 1 where that is allowed, and their lengths (units,)."""
    check_choice(where, "activation", activation, ACTIVATIONS)
    shapes = [tuple(value.shape) for value in (weight_in, bias, weight)]
    if weight_in.ndim != 2 or weight.ndim != 2 or shapes[1] != shapes[0][:1] or shapes[2][1] != shapes[0][0]:
        rule = "weight_in (units, in), bias (units,) and weight (out, units)"
        raise ValueError(f"{where}: the layer must be given by {rule}, got shapes {shapes}")
    if not all(value.is_floating_point() for value in (weight_in, bias, weight)):
        raise ValueError(f"{where}: weights must be floating-point numbers, got {weight.dtype}")
    if not all(map(is_finite, (weight_in, bias, weight))):
        raise ValueError(f"{where}: weights must be finite, got NaN or infinity")
    sets = torch.cat([weight_in, bias[:, None]], 1).double()
    lengths = torch.ones_like(sets[:, 0])
    if activation in HOMOGENEOUS:
        lengths = torch.linalg.vector_norm(sets, dim=1).clamp(min=torch.finfo(sets.dtype).tiny)
    return sets / lengths[:, None], lengths


def _rounding(values: Tensor) -> float:
    return torch.finfo(values.dtype).eps if values.dtype != torch.float64 else 0.0


def _checked(weight: Tensor, activations: Tensor, kept: Sequence[int] | Tensor) -> Tensor:
    if not isinstance(weight, Tensor) or not isinstance(activations, Tensor):
        got = f"{type(weight).__name__} and {type(activations).__name__}"
        raise ValueError(f"merge: weight_out and activations must be tensors, got {got}")
    shapes = tuple(weight.shape), tuple(activations.shape)
    if min(map(len, shapes)) < 2 or shapes[0][:-2] != shapes[1][:-2] or shapes[0][-1] != shapes[1][-1]:
        rule = "weight_out must be (…, out, units) and activations (…, n, units)"
        raise ValueError(f"merge: {rule}, got shapes {shapes}")
    if not weight.is_floating_point() or not activations.is_floating_point():
        raise ValueError(f"merge: both must be of floating-point numbers, got {weight.dtype} and {activations.dtype}")
    if not is_finite(weight) or not is_finite(activations) or not activations.numel():
        raise ValueError("merge: weight_out and activations must be finite and not empty, got others")
    try:
        index = torch.as_tensor(kept, device=weight.device)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise ValueError(f"merge: kept must be indices, as many for each member, got {kept!r} ({problem})") from problem
    if not index.numel():
        raise ValueError("merge: kept must name a unit or more, got none: a layer cannot be pruned to nothing")
    if index.dtype != torch.int64 or index.shape[:-1] != weight.shape[:-2]:
        rule = f"int64 indices {(*weight.shape[:-2], 'k')}, with the members in front"
        raise ValueError(f"merge: kept must be {rule}, got {tuple(index.shape)} {index.dtype}")
    if index.is_meta:
        return index
    ordered, units = index.sort(-1).values, weight.shape[-1]
    if int(ordered.min()) < 0 or int(ordered.max()) >= units or bool((ordered.diff() == 0).any()):
        raise ValueError(f"merge: kept must name units in 0 … {units - 1}, each once, got {kept}")
    return index
