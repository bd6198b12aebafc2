"""The backward pass of a dense chain with cross-entropy, written out for all members at once.

Layers l = 1 … L turn h₀ = x into hₗ = φ(Wₗ hₗ₋₁ + bₗ), the last without φ; the loss is the mean over the batch of
−log softmax(h_L) at the label. With δ_L = (softmax − onehot) / batch and δₗ₋₁ = φ′ ∘ (Wₗᵀ δₗ), the gradients are
δₗ hₗ₋₁ᵀ and the sum of δₗ over the batch. Activations are (members, features, batch).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from labsupport.optimizers import Optimizer, momentum, sgd
from labsupport.population.layers import Way

__all__ = ["Link", "chain_of", "descend", "gradients", "losses_and_slopes", "moves_in_place"]

aten = torch.ops.aten
Values = dict[str, Tensor]
Slopes = list[tuple[Tensor, Tensor]]


class Link(NamedTuple):
    """A linear layer: names of its weight and bias ("" is none), and what follows it ("ReLU", "Tanh" or "")."""

    weight: str
    bias: str
    activation: str


def chain_of(ways: Sequence[Way], layers: Sequence[nn.Module]) -> tuple[Link, ...]:
    """The links of a network that is a dense chain, flattened first or not; () where it is none."""
    inner = [(way, layer) for way, layer in zip(ways, layers, strict=True) if way.kind != "Identity" or way.why]
    way, first = inner[0] if inner else (None, None)
    if type(first) is nn.Flatten and not way.why and (first.start_dim, first.end_dim) == (1, -1):
        inner = inner[1:]
    links = []
    for at, (way, _) in enumerate(inner):
        if way.why or (way.kind not in ("ReLU", "Tanh") if at % 2 else way.kind != "Linear"):
            return ()
        if at % 2:
            links[-1] = links[-1]._replace(activation=way.kind)
        else:
            names = dict(way.names)
            links.append(Link(names["weight"], names.get("bias", ""), ""))
    return tuple(links) if links and not links[-1].activation else ()


def losses_and_slopes(links: Sequence[Link], params: Values, x: Tensor, y: Tensor) -> tuple[Tensor, Slopes]:
    """Losses (members,), and of each link its δ and its input h, both (members, …, batch).

    Args:
        x: (members, batch, features).
        y: labels (members, batch).
    """
    inputs = [x.mT]
    for link in links:
        h = _product(params, link, inputs[-1])
        inputs.append(h.relu_() if link.activation == "ReLU" else h.tanh_() if link.activation == "Tanh" else h)
    log = torch.log_softmax(inputs.pop(), 1)
    at = y[:, None]
    losses = log.gather(1, at).mean((1, 2)).neg_()
    slope = log.exp_().scatter_add_(1, at, log.new_full((), -1.0).expand(at.shape)).div_(y.shape[1])
    slopes = [(slope, inputs[-1])]
    for at in range(len(links) - 1, 0, -1):
        h, before = inputs[at], links[at - 1].activation
        slope = torch.bmm(params[links[at].weight].mT, slope)
        slope = aten.threshold_backward(slope, h, 0) if before == "ReLU" else aten.tanh_backward(slope, h)
        slopes.append((slope, inputs[at - 1]))
    return losses, slopes[::-1]


def gradients(links: Sequence[Link], slopes: Slopes) -> Values:
    """The gradient of each parameter."""
    found = {}
    for link, (slope, h) in zip(links, slopes, strict=True):
        found[link.weight] = torch.bmm(slope, h.mT)
        if link.bias:
            found[link.bias] = slope.sum(2)
    return found


def moves_in_place(optimizer: Optimizer) -> bool:
    """Whether `descend` takes the steps of this rule."""
    return optimizer in (sgd(), momentum())


def descend(links: Sequence[Link], slopes: Slopes, params: Values, velocity: Values | None, settings: Values) -> None:
    """A step of gradient descent in place, v ← ρv + δhᵀ + λθ, θ ← θ − ηv; ρ = 0 where there is no velocity.

    ρv + δhᵀ is one product, added to what is there.

    Args:
        settings: "lr" (members,); "momentum" and "weight_decay", each (members,) or a number.
    """
    for link, (slope, h) in zip(links, slopes, strict=True):
        for name in (link.weight, link.bias) if link.bias else (link.weight,):
            value, matrix = params[name], name == link.weight
            rate, decay = (_wide(settings[kind], value) for kind in ("lr", "weight_decay"))
            if velocity is None:
                step = torch.bmm(slope, h.mT) if matrix else slope.sum(2)
            elif matrix and not isinstance(settings["momentum"], Tensor):
                step = velocity[name].baddbmm_(slope, h.mT, beta=settings["momentum"])
            else:
                step = velocity[name].mul_(_wide(settings["momentum"], value))
                step = step.baddbmm_(slope, h.mT) if matrix else step.add_(slope.sum(2))
            if isinstance(decay, Tensor) or decay:
                step.add_(decay * value)
            value.addcmul_(step, rate, value=-1)


def _product(params: Values, link: Link, h: Tensor) -> Tensor:
    weight = params[link.weight]
    return torch.baddbmm(params[link.bias][:, :, None], weight, h) if link.bias else torch.bmm(weight, h)


def _wide(setting: Tensor | float, like: Tensor) -> Tensor | float:
    return setting.view(-1, *[1] * (like.ndim - 1)) if isinstance(setting, Tensor) else setting
