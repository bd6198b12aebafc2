"""A perceptron, or many stacked, by its tensors: what it says without some units, and one layer as the rest sees it.

`kept` is a boolean for each hidden unit, the layers one after another: (…, units). A unit that is not kept puts out 0.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from labsupport.models import ACTIVATIONS
from labsupport.population import State
from labsupport.values import check_count

__all__ = ["Layer", "Perceptron", "layer", "losses", "network", "outputs"]


@dataclass(frozen=True, eq=False)
class Perceptron:
    """Linear layers with elementwise functions between them.

    Attributes:
        weights: (…, out, in) of each linear layer; the leading dimensions are those of the members.
        biases: (…, out) of each.
        functions: one between each linear layer and the next.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    functions: tuple[Callable[[Tensor], Tensor], ...]

    @property
    def widths(self) -> list[int]:
        """Units of each hidden layer."""
        return [weight.shape[-2] for weight in self.weights[:-1]]


@dataclass(frozen=True, eq=False)
class Layer:
    """One hidden layer as the rest of its network sees it.

    Attributes:
        activations: (…, n, units), what its units put out.
        weight: (…, out, units), their outgoing weights.
        bias: (…, out), of the next layer.
        tail: sums (…, n, out) = activations @ weight.mT + bias -> the loss of each example (…, n). It takes more
            leading dimensions, in front of the members'.
    """

    activations: Tensor
    weight: Tensor
    bias: Tensor
    tail: Callable[[Tensor], Tensor]

    def __post_init__(self) -> None:
        shapes = tuple(self.activations.shape), tuple(self.weight.shape), tuple(self.bias.shape)
        fits = min(map(len, shapes[:2])) >= 2 and shapes[0][:-2] == shapes[1][:-2] and shapes[0][-1] == shapes[1][-1]
        if not fits or shapes[2] != shapes[1][:-1] or not self.activations.numel():
            rule = "activations (…, n, units), weight (…, out, units) and bias (…, out)"
            raise ValueError(f"Layer: it must have {rule}, got {shapes}")

    @property
    def sums(self) -> Tensor:
        """What the next layer gets from all units, (…, n, out)."""
        # examples lie side by side in memory: what runs over them is then fast
        return (self.weight @ self.activations.mT + self.bias[..., None]).mT


def network(source: nn.Sequential | State) -> Perceptron:
    """The tensors of a perceptron, or of a population of them.

    Args:
        source: a Sequential of Linear layers with an activation of `models.ACTIVATIONS` between each two, or a
            population of such modules.
    Raises:
        ValueError: it is built otherwise.
    """
    module = source.module if isinstance(source, State) else source
    known = tuple(ACTIVATIONS.values())
    parts = list(module) if isinstance(module, nn.Sequential) else []
    fits = len(parts) >= 3 and len(parts) % 2 and all(type(part) is nn.Linear for part in parts[::2])
    if not fits or any(type(part) not in known for part in parts[1::2]):
        got = ", ".join(type(part).__name__ for part in parts) or type(source).__name__
        raise ValueError(f"network: source must be Linear layers with activations in between, got {got}")
    names = list(module._modules)
    if len({id(part.weight) for part in parts[::2]}) < len(parts[::2]):
        raise ValueError("network: source must have a weight of its own in each linear layer, got one used twice")
    values = source.params | source.buffers if isinstance(source, State) else dict(module.named_parameters())
    weights = [values[f"{names[i]}.weight"].detach() for i in range(0, len(parts), 2)]
    biases = [values[f"{names[2 * i]}.bias"].detach() if parts[2 * i].bias is not None
              else weight.new_zeros(weight.shape[:-1]) for i, weight in enumerate(weights)]  # fmt: skip
    return Perceptron(tuple(weights), tuple(biases), tuple(map(_apart, parts[1::2])))


def _apart(activation: nn.Module) -> nn.Module:
    """The activation, which leaves its argument as it is."""
    if getattr(activation, "inplace", False):
        activation = copy.copy(activation)
        activation.inplace = False
    return activation


def losses(outputs: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy of each example: outputs (…, n, classes) and classes (…, n) -> (…, n).

    Raises:
        ValueError: y is not of n classes.
    """
    if not isinstance(y, Tensor) or y.shape[-1:] != outputs.shape[-2:-1]:
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"losses: y must be the classes (…, n) of {outputs.shape[-2]} examples, got {got}")
    return cross_entropy(outputs.movedim(-1, 1), y.expand(outputs.shape[:-1]), reduction="none")


def outputs(net: Perceptron, x: Tensor, kept: Tensor | None = None) -> Tensor:
    """What a network says without some of its hidden units: (…, n, out).

    Args:
        x: (n, in) for all members, or (members, n, in).
        kept: (…, units) booleans, the hidden layers one after another; further dimensions may stand in front.
    Raises:
        ValueError: kept has another number of units, or x of columns.
    """
    _check_x("outputs", net, x)
    return _run(net, x, _masks("outputs", net, kept), slice(0, None))


def layer(net: Perceptron, x: Tensor, y: Tensor, kept: Tensor | None = None, *, at: int,
          loss: Callable[[Tensor, Tensor], Tensor] = losses) -> Layer:  # fmt: skip
    """A hidden layer on given examples; units that are not kept put out 0, here and in the other layers.

    Args:
        x: (n, in) for all members, or (members, n, in).
        y: what `loss` compares with: (n,) or (members, n).
        kept: (members …, units) booleans, all hidden layers one after another.
        at: which hidden layer, 0 the first.
        loss: (outputs (…, n, out), y) -> the loss of each example (…, n).
    Raises:
        ValueError: there is no such layer, or kept or x do not fit.
    """
    _check_x("layer", net, x)
    if check_count("layer", "at", at, at_least=0) >= len(net.widths):
        raise ValueError(f"layer: at must be below the number of hidden layers, {len(net.widths)}, got {at}")
    masks = _masks("layer", net, kept)
    activations = _run(net, x, masks, slice(0, at + 1))
    weight = net.weights[at + 1].expand(*activations.shape[:-2], -1, -1)
    bias = net.biases[at + 1].expand(weight.shape[:-1])

    def tail(sums: Tensor) -> Tensor:
        if at + 1 < len(net.functions):
            sums = _run(net, _silenced(net.functions[at + 1](sums).mT, masks[at + 1]).mT, masks, slice(at + 2, None))
        return loss(sums, y)

    return Layer(activations, weight, bias, tail)


def _run(net: Perceptron, h: Tensor, masks: list[Tensor | None], which: slice) -> Tensor:
    """Through some of the linear layers and the functions after them; the last of all has none.

    Examples lie side by side in memory, (…, units, n) seen from the other side: what runs over them is then fast.
    """
    h = h.mT
    for i in range(*which.indices(len(net.weights))):
        h = net.weights[i] @ h + net.biases[i][..., None]
        if i < len(net.functions):
            h = _silenced(net.functions[i](h), masks[i])
    return h.mT


def _silenced(h: Tensor, mask: Tensor | None) -> Tensor:
    return h if mask is None else torch.where(mask[..., None], h, 0.0)


def _masks(where: str, net: Perceptron, kept: Tensor | None) -> list[Tensor | None]:
    if kept is None:
        return [None] * len(net.widths)
    if not isinstance(kept, Tensor) or kept.dtype != torch.bool or kept.shape[-1:] != (sum(net.widths),):
        got = f"{tuple(kept.shape)} {kept.dtype}" if isinstance(kept, Tensor) else type(kept).__name__
        raise ValueError(f"{where}: kept must be booleans (…, {sum(net.widths)}), one for each hidden unit, got {got}")
    return list(kept.split(net.widths, -1))


def _check_x(where: str, net: Perceptron, x: Tensor) -> None:
    columns = net.weights[0].shape[-1]
    if not isinstance(x, Tensor) or x.ndim < 2 or x.shape[-1] != columns:
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"{where}: x must be (…, n, {columns}), got {got}")
