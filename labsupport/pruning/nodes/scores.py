"""How much a unit matters: by its outgoing weights, its activation, a Taylor estimate, or the loss without it.

The smallest score goes first. All but `onorm` speak of the examples of a `Layer`; leading dimensions are members.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from labsupport.pruning.nodes.networks import Layer, Perceptron, layer, losses
from labsupport.values import check_choice, check_count, is_finite

__all__ = ["ablation_losses", "activation_norm", "of_all_layers", "onorm", "pair_losses", "taylor"]

AT_ONCE = 2**18  # numbers in the sums of the ablations made together: they then stay in a CPU's cache


def onorm(weight: Tensor) -> Tensor:
    """The mean |outgoing weight| of each unit: (…, out, units) -> (…, units).

    Raises:
        ValueError: weight has fewer than two dimensions, no row, or is not finite.
    Source: He, Fan, Qian, Tan & Yu 2014, doi:10.1109/ICASSP.2014.6853595.
    """
    return _mean_size("onorm", "weight", weight)


def activation_norm(activations: Tensor) -> Tensor:
    """The mean |activation| of each unit over the examples: (…, n, units) -> (…, units).

    Raises:
        ValueError: activations have fewer than two dimensions, no row, or are not finite.
    """
    return _mean_size("activation_norm", "activations", activations)


def ablation_losses(layer: Layer, *, at_once: int = AT_ONCE) -> Tensor:
    """The mean loss without each unit: (…, units), all from one pass.

    Without unit k the sums of the next layer are s − o_k w_k: nothing before the sums is computed again, and no product
    of matrices either.

    Args:
        at_once: numbers held in these sums at a time, which bounds the memory; >= 1.
    Raises:
        ValueError: at_once is below 1, or the losses come in another shape.
    Source: the brute force of Wolfe, Sharma, Drude & Raj 2017, arXiv:1701.04465, on the examples of `layer`.
    """
    check_count("ablation_losses", "at_once", at_once)
    sums = layer.sums.mT
    out, into = layer.activations.movedim(-1, 0), layer.weight.movedim(-1, 0)
    chunk = max(1, at_once // sums.numel())
    parts = [
        _means("ablation_losses", layer, torch.addcmul(sums, w[..., None], o[..., None, :], value=-1).mT)
        for o, w in zip(out.split(chunk), into.split(chunk), strict=True)
    ]
    return torch.cat(parts).movedim(0, -1)


def pair_losses(layer: Layer, *, at_once: int = AT_ONCE) -> Tensor:
    """The mean loss without each pair of units: (…, units, units), on the diagonal without one.

    Args, Raises: as `ablation_losses`.
    """
    check_count("pair_losses", "at_once", at_once)
    rows = []
    for k in range(layer.activations.shape[-1]):
        silent = layer.activations.clone()
        silent[..., k] = 0.0
        rows.append(ablation_losses(replace(layer, activations=silent), at_once=at_once))
    return torch.stack(rows, -2)


def taylor(layer: Layer, *, order: int = 2) -> Tensor:
    """What deleting each unit adds to the mean loss, estimated by a Taylor series about what it puts out: (…, units).

    −o ∂E/∂o + ½ o² ∂²E/∂o² for each example, with its own o and derivatives, then averaged. The second derivative is
    exact, by way of the Hessian of each example's loss in the sums of the next layer.

    Args:
        order: 1 or 2.
    Raises:
        ValueError: order is another, or the losses come in another shape.
    Source: Wolfe, Sharma, Drude & Raj 2017, arXiv:1701.04465.
    """
    check_choice("taylor", "order", order, (1, 2))
    sums = layer.sums.detach()
    _means("taylor", layer, sums)
    slope = torch.func.grad(lambda s: layer.tail(s).sum())
    change = -layer.activations * (slope(sums) @ layer.weight)
    if order == 1:
        return change.mean(-2)

    def curved(direction: Tensor) -> Tensor:
        """The Hessian of every example times one direction, the same for all of a member's."""
        return torch.func.jvp(slope, (sums,), (direction.expand_as(sums),))[1]

    bend = torch.zeros_like(layer.activations)
    for c, direction in enumerate(torch.eye(sums.shape[-1], dtype=sums.dtype, device=sums.device)):
        bend += layer.weight[..., c, None, :] * (curved(direction) @ layer.weight)
    return (change + layer.activations.square() * bend / 2).mean(-2)


def of_all_layers(
    score: Callable[[Layer], Tensor], net: Perceptron, x: Tensor, y: Tensor, *, loss: Callable = losses
) -> Callable[[Tensor], Tensor]:
    """Scores of every hidden unit as a function of which are kept, for `greedy`: (…, units) -> (…, units).

    The last unit of a layer scores ∞, so that no layer is pruned to nothing.

    Args:
        score: a layer -> (…, units), such as `ablation_losses` or `taylor`.
        x, y, loss: see `layer`.
    """

    def scores(kept: Tensor) -> Tensor:
        found = [score(layer(net, x, y, kept, at=at, loss=loss)) for at in range(len(net.widths))]
        lonely = [(mask.sum(-1, keepdim=True) == 1).expand_as(mask) for mask in kept.split(net.widths, -1)]
        return torch.cat(found, -1).masked_fill(torch.cat(lonely, -1), torch.inf)

    return scores


def _means(where: str, layer: Layer, sums: Tensor) -> Tensor:
    found = layer.tail(sums)
    if found.shape != sums.shape[:-1]:
        rule = f"a loss for each example, {tuple(sums.shape[:-1])}"
        raise ValueError(f"{where}: the layer's tail must give {rule}, got {tuple(found.shape)}")
    return found.mean(-1)


def _mean_size(where: str, name: str, values: Tensor) -> Tensor:
    if not isinstance(values, Tensor) or values.ndim < 2 or not values.numel():
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"{where}: {name} must be a tensor (…, rows, units), got {got}")
    if not values.is_floating_point():
        raise ValueError(f"{where}: {name} must be of floating-point numbers, got {values.dtype}")
    if not is_finite(values):
        raise ValueError(f"{where}: {name} must be finite, got NaN or infinity")
    return values.abs().mean(-2)
