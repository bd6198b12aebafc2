"""Small networks, initialised from a generator alone: the global random state is neither read nor moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import nn
from torch.nn.utils import skip_init

from labsupport.values import check_choice, check_count, check_generator, check_number

__all__ = ["ACTIVATIONS", "GaussianNoise", "Recurrent", "convnet", "lstm", "mlp", "num_parameters"]

ACTIVATIONS = MappingProxyType(
    {
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "leaky_relu": nn.LeakyReLU,
        "identity": nn.Identity,
    }
)
"""Names of the activations; "identity" makes a deep linear net."""

_NORMS = ("none", "batch", "layer")


class GaussianNoise(nn.Module):
    """Adds normal noise of standard deviation `std` in training mode, fresh in every pass; nothing in evaluation mode.

    Alone it draws from torch's global generator, as nn.Dropout does; in a population from each member's counters.
    """

    random_rate = "std"

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = check_number("GaussianNoise", "std", std, low=0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Like x, with the noise added in training mode."""
        return x + self.std * torch.randn_like(x) if self.training else x

    def extra_repr(self) -> str:
        """What the representation shows."""
        return f"std={self.std:g}"


class Recurrent(nn.Module):
    """A network of tanh units that reads a sequence and answers from its last state.

    s_t = tanh(into x_t + back s_{t−1} + bias), s_0 = 0; the answer is out s_T.

    Args:
        inputs, units, outputs: sizes, each >= 1.
        gain: each weight is normal with standard deviation 1/√fan_in, and those of `back` this many times that; >= 0.
        generator: draws the weights; the net lives on its device.
    Raises:
        ValueError: a bound above is broken.
    """

    def __init__(self, inputs: int, units: int, outputs: int, *, gain: float, generator: torch.Generator) -> None:
        super().__init__()
        for name, size in (("inputs", inputs), ("units", units), ("outputs", outputs)):
            check_count("Recurrent", name, size)
        check_number("Recurrent", "gain", gain, low=0.0)
        check_generator("Recurrent", generator)
        self.into, self.back = _normal(units, inputs, 1.0, generator), _normal(units, units, gain, generator)
        self.out = _normal(outputs, units, 1.0, generator)
        self.bias = nn.Parameter(torch.zeros(units, device=generator.device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, steps, inputs) -> (n, outputs)."""
        s = x.new_zeros(len(x), len(self.bias))
        for t in range(x.shape[1]):
            s = torch.tanh(x[:, t] @ self.into.T + s @ self.back.T + self.bias)
        return s @ self.out.T


def lstm(cell: nn.LSTMCell, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """torch's LSTM cell, written out, over a sequence from a state of 0: its last state, and what its forget gates say.

    Args:
        cell: with biases.
        x: (n, steps, inputs).
    Returns:
        (n, units), and for each step (n, units), shares of the memory that are kept.
    Raises:
        ValueError: x has another shape.
    """
    if x.ndim != 3 or x.shape[2] != cell.input_size:
        raise ValueError(f"lstm: x must be (n, steps, {cell.input_size}), got shape {tuple(x.shape)}")
    pulls = x @ cell.weight_ih.T + cell.bias_ih + cell.bias_hh
    h = c = x.new_zeros(len(x), cell.hidden_size)
    kept = []
    for pull in pulls.unbind(1):
        # input gate, forget gate, candidate, output gate
        write, keep, new, tell = (pull + h @ cell.weight_hh.T).chunk(4, 1)
        kept.append(keep.sigmoid())
        c = kept[-1] * c + write.sigmoid() * new.tanh()
        h = tell.sigmoid() * c.tanh()
    return h, kept


def mlp(
    sizes: Sequence[int], *, activation: str = "relu", bias: bool = True, generator: torch.Generator
) -> nn.Sequential:
    """Linear layers with an activation between them and none after the last.

    Weights and biases are drawn as torch's own nn.Linear draws them, uniformly in ±1/√fan_in, layer by layer.

    Args:
        sizes: inputs, hidden widths …, outputs; at least two, each >= 1. `mlp([64, 32, 10], …)` has one hidden layer.
        activation: a name in `ACTIVATIONS`.
        bias: whether the linear layers have one.
        generator: draws the weights; the net lives on its device, in torch's default dtype.
    Returns:
        A Sequential from (n, sizes[0]) to (n, sizes[-1]).
    """
    if not isinstance(sizes, (tuple, list)) or len(sizes) < 2:
        raise ValueError(f"mlp: sizes must be two or more integers, got {sizes!r}")
    widths = [check_count("mlp", f"sizes[{place}]", size) for place, size in enumerate(sizes)]
    check_choice("mlp", "activation", activation, ACTIVATIONS)
    check_choice("mlp", "bias", bias, (True, False))
    check_generator("mlp", generator)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [_linear(fan_in, fan_out, bias, generator), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def convnet(
    image_shape: Sequence[int],
    num_classes: int,
    *,
    channels: Sequence[int] = (16, 32),
    activation: str = "relu",
    norm: str = "none",
    generator: torch.Generator,
) -> nn.Sequential:
    """A small convolutional net: stages of 3×3 convolution, norm, activation, 2×2 max-pooling; then one linear layer.

    Args:
        image_shape: (channels, height, width) of the input, such as (1, 8, 8) or (1, 28, 28).
        num_classes: outputs; >= 1.
        channels: output channels of each stage. A stage halves height and width (rounding down), which
            must stay >= 1.
        activation: a name in `ACTIVATIONS`.
        norm: "none", "batch", or "layer" (over all channels and pixels of a sample, as nn.GroupNorm(1, …)). A
            convolution before a norm has no bias, whose gradient would be zero.
        generator: draws the weights as torch's defaults would be drawn; the net lives on its device.
    Returns:
        A Sequential from (n, *image_shape) to (n, num_classes).
    """
    shape, widths = _check_images(image_shape, channels)
    num_classes = check_count("convnet", "num_classes", num_classes)
    check_choice("convnet", "activation", activation, ACTIVATIONS)
    check_choice("convnet", "norm", norm, _NORMS)
    check_generator("convnet", generator)
    before, height, width = shape
    layers: list[nn.Module] = []
    for after in widths:
        layers.append(_convolution(before, after, norm == "none", generator))
        if norm == "batch":
            layers.append(nn.BatchNorm2d(after, device=generator.device))
        elif norm == "layer":
            layers.append(nn.GroupNorm(1, after, device=generator.device))
        layers += [ACTIVATIONS[activation](), nn.MaxPool2d(2)]
        before, height, width = after, height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), _linear(before * height * width, num_classes, True, generator))


def _check_images(image_shape: Sequence[int], channels: Sequence[int]) -> tuple[list[int], list[int]]:
    if not isinstance(image_shape, (tuple, list, torch.Size)) or len(image_shape) != 3:
        raise ValueError(f"convnet: image_shape must be (channels, height, width), got {image_shape!r}")
    if not isinstance(channels, (tuple, list)) or not channels:
        raise ValueError(f"convnet: channels must be one or more integers, got {channels!r}")
    shape = [check_count("convnet", f"image_shape[{place}]", size) for place, size in enumerate(image_shape)]
    widths = [check_count("convnet", f"channels[{place}]", size) for place, size in enumerate(channels)]
    most = min(shape[1:]).bit_length() - 1
    if len(widths) > most:
        rule = f"at most {most} entries for images of {shape[1]}×{shape[2]}"
        raise ValueError(f"convnet: channels must have {rule}, got {len(widths)}")
    return shape, widths


def num_parameters(module: nn.Module) -> int:
    """Number of scalars in a module's parameters, trainable or not, a shared one counted once; buffers do not count."""
    if not isinstance(module, nn.Module):
        raise ValueError(f"num_parameters: module must be a torch.nn.Module, got {type(module).__name__}")
    return sum(parameter.numel() for parameter in module.parameters())


def _normal(rows: int, columns: int, gain: float, generator: torch.Generator) -> nn.Parameter:
    values = torch.randn(rows, columns, generator=generator, device=generator.device)
    return nn.Parameter(gain * values / columns**0.5)


def _linear(fan_in: int, fan_out: int, bias: bool, generator: torch.Generator) -> nn.Module:
    layer = skip_init(nn.Linear, fan_in, fan_out, bias=bias, device=generator.device)
    return _fill(layer, fan_in, generator)


def _convolution(before: int, after: int, bias: bool, generator: torch.Generator) -> nn.Module:
    layer = skip_init(nn.Conv2d, before, after, 3, padding=1, bias=bias, device=generator.device)
    return _fill(layer, 9 * before, generator)


def _fill(layer: nn.Module, fan_in: int, generator: torch.Generator) -> nn.Module:
    """Kaiming-uniform weights with a = √5 and uniform biases: both in ±1/√fan_in, in torch's own order."""
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    if layer.bias is not None:
        bound = 1 / math.sqrt(fan_in)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer
