"""The backward pass of a dense chain with cross-entropy, written out for all members at once.

Layers l = 1 … L turn h₀ = x into hₗ = φ(Wₗ hₗ₋₁ + bₗ), the last without φ; the loss is the mean over the batch of
−log softmax(h_L) at the label. With δ_L = (softmax − onehot) / batch and δₗ₋₁ = φ′ ∘ (Wₗᵀ δₗ), the gradients are
δₗ hₗ₋₁ᵀ and the sum of δₗ over the batch. Activations are (members, features, batch).

Weights may be masked: by a parametrization that says `is_mask` and computes `where(mask, weight, 0)` of its buffer
`mask`. During the steps a mask lies in the buffers as integers, all bits 1 or all 0: `&` shows a weight or hides it,
ten times as fast as `where` on a CPU, and what is hidden may be NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from labsupport.optimizers import Optimizer, momentum, sgd
from labsupport.population.layers import Way

__all__ = [
    "Link", "as_bits", "as_masks", "chain_of", "descend", "gradients", "losses_and_slopes", "moves_in_place", "shown",
]  # fmt: skip

aten = torch.ops.aten
Values = dict[str, Tensor]
Slopes = list[tuple[Tensor, Tensor]]
BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Link(NamedTuple):
    """A linear layer: names of its weight and bias ("" is none), and what follows it ("ReLU", "Tanh" or "").

    `masks` are the names of the masks of weight and bias; "" is none.
    """

    weight: str
    bias: str
    activation: str
    masks: tuple[str, str] = ("", "")


def chain_of(ways: Sequence[Way], layers: Sequence[nn.Module]) -> tuple[Link, ...]:
    """The links of a network that is a dense chain, flattened first or not; () where it is none."""
    inner = [(way, layer) for way, layer in zip(ways, layers, strict=True) if way.kind != "Identity" or way.why]
    way, first = inner[0] if inner else (None, None)
    if type(first) is nn.Flatten and not way.why and (first.start_dim, first.end_dim) == (1, -1):
        inner = inner[1:]
    links = []
    for at, (way, layer) in enumerate(inner):
        if way.why or (way.kind not in ("ReLU", "Tanh") if at % 2 else not _is_linear(layer)):
            return ()
        if at % 2:
            links[-1] = links[-1]._replace(activation=way.kind)
        else:
            links.append(_link(dict(way.names)))
    return tuple(links) if links and not links[-1].activation else ()


def _is_linear(layer: nn.Module) -> bool:
    """Whether it is a linear layer, plain or masked."""
    rules = getattr(layer, "parametrizations", {}).values()
    masked = all(len(rule) == 1 and getattr(rule[0], "is_mask", False) for rule in rules)
    return masked and parametrize.type_before_parametrizations(layer) is nn.Linear


def _link(names: dict[str, str]) -> Link:
    inside = {kind: f"parametrizations.{kind}" for kind in ("weight", "bias")}
    weight, bias = (names.get(kind) or names.get(f"{path}.original", "") for kind, path in inside.items())
    return Link(weight, bias, "", tuple(names.get(f"{path}.0.mask", "") for path in inside.values()))


def as_bits(links: Sequence[Link], params: Values, buffers: Values) -> Values:
    """The buffers with masks as integers as wide as what they mask."""
    found = dict(buffers)
    for name, mask in _masked(links):
        found[mask] = buffers[mask].to(BITS[params[name].element_size()]).neg_()
    return found


def as_masks(links: Sequence[Link], buffers: Values) -> Values:
    """The buffers with masks as booleans."""
    return {**buffers, **{mask: buffers[mask] != 0 for _, mask in _masked(links)}}


def shown(links: Sequence[Link], values: Values, buffers: Values) -> Values:
    """Parameters as the network sees them, or gradients as they reach what is behind the masks; masks as bits."""
    return {**values, **{name: _shown(values[name], buffers[mask]) for name, mask in _masked(links)}}


def _masked(links: Sequence[Link]) -> list[tuple[str, str]]:
    """Names of the parameters that are masked, and of their masks."""
    return [pair for link in links for pair in zip((link.weight, link.bias), link.masks, strict=True) if pair[1]]


def _shown(value: Tensor, bits: Tensor) -> Tensor:
    return (value.view(bits.dtype) & bits).view(value.dtype)


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


def descend(
    links: Sequence[Link], slopes: Slopes, params: Values, velocity: Values | None, settings: Values, buffers: Values
) -> None:
    """A step of gradient descent in place, v ← ρv + δhᵀ + λθ, θ ← θ − ηv; ρ = 0 where there is no velocity.

    ρv + δhᵀ is one product, added to what is there, unless a mask comes between.

    Args:
        settings: "lr" (members,); "momentum" and "weight_decay", each (members,) or a number.
        buffers: where the masks are, as bits.
    """
    for link, (slope, h) in zip(links, slopes, strict=True):
        for name, mask in zip((link.weight, link.bias), link.masks, strict=True):
            if not name:
                continue
            value, matrix = params[name], name == link.weight
            rate, decay = (_wide(settings[kind], value) for kind in ("lr", "weight_decay"))
            if velocity is None or mask:
                step = torch.bmm(slope, h.mT) if matrix else slope.sum(2)
                step = _shown(step, buffers[mask]) if mask else step
                step = step if velocity is None else velocity[name].mul_(_wide(settings["momentum"], value)).add_(step)
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
