"""Chains of convolutions with anchor skips, the space of the first architecture search.

A layer has a filter size, a number of filters, a stride, and for each earlier layer an anchor: whether it reads it. A
layer that reads no layer reads the image. What it reads is concatenated along the channels; where sizes differ, the
smaller are filled with zeros, below and at the right, to the largest. Layers that no layer reads are concatenated in
the same way for the classifier.

Source: Zoph & Le 2017, arXiv:1611.01578, section 3.3. Square filters, and padding behind rather than around, are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils import skip_init

from labsupport.initialization.rules import he_normal_
from labsupport.initialization.starts import apply_
from labsupport.search import space as spaces
from labsupport.search.space import Categorical, Integer, Params, Space
from labsupport.values import check_count, check_generator

__all__ = [
    "FILTERS", "KERNELS", "STRIDES", "Chain", "ChainNet", "Layer", "build", "decode", "depth", "encode", "joined",
    "loose_ends", "search_space", "sizes",
]  # fmt: skip

KERNELS, FILTERS, STRIDES = (1, 3, 5, 7), (8, 16, 24, 32), (1, 2)


@dataclass(frozen=True)
class Layer:
    """A convolution and the earlier layers that it reads.

    Args:
        kernel: side of the filter, odd, so that the zeros around the picture are as many on each side.
        filters, stride: >= 1.
        anchors: one bool for each earlier layer.
    Raises:
        ValueError: a bound above is broken, or an anchor is no bool.
    """

    kernel: int
    filters: int
    stride: int
    anchors: tuple[bool, ...]

    def __post_init__(self) -> None:
        for name in ("kernel", "filters", "stride"):
            object.__setattr__(self, name, check_count("Layer", name, getattr(self, name)))
        if self.kernel % 2 == 0:
            raise ValueError(f"Layer: kernel must be odd, got {self.kernel}")
        if not isinstance(self.anchors, (tuple, list)) or not all(isinstance(each, bool) for each in self.anchors):
            raise ValueError(f"Layer: anchors must be True or False for each earlier layer, got {self.anchors!r}")
        object.__setattr__(self, "anchors", tuple(self.anchors))


@dataclass(frozen=True)
class Chain:
    """One layer or more; layer i has i anchors.

    Raises:
        ValueError: no layer, something else, or another number of anchors.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.layers, (tuple, list)) or not self.layers:
            raise ValueError(f"Chain: layers must be one Layer or more, got {self.layers!r}")
        object.__setattr__(self, "layers", tuple(self.layers))
        for place, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise ValueError(f"Chain: layers must be of Layer, got {layer!r}")
            if len(layer.anchors) != place:
                raise ValueError(f"Chain: layers[{place}] must have {place} anchors, got {len(layer.anchors)}")


class ChainNet(nn.Module):
    """Convolution, batch norm and ReLU a layer; the mean over the pixels of the loose ends; a linear classifier."""

    def __init__(self, chain: Chain, channels: int, num_classes: int, device: torch.device) -> None:
        super().__init__()
        self.chain = chain
        convolutions = []
        for layer in chain.layers:
            inputs = sum(before.filters for before, read in zip(chain.layers, layer.anchors, strict=False) if read)
            convolutions.append(_convolution(inputs or channels, layer, device))
        self.layers = nn.ModuleList(convolutions)
        outputs = sum(chain.layers[place].filters for place in loose_ends(chain))
        self.classifier = skip_init(nn.Linear, outputs, num_classes, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, height, width) -> (n, num_classes)."""
        states: list[Tensor] = []
        for layer, convolution in zip(self.chain.layers, self.layers, strict=True):
            read = [state for state, anchor in zip(states, layer.anchors, strict=True) if anchor]
            states.append(convolution(joined(read) if read else x))
        return self.classifier(joined([states[place] for place in loose_ends(self.chain)]).mean((2, 3)))


def joined(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures (n, channels, height, width) one behind the other in the channels; smaller ones get zeros behind.

    Height and width grow to the largest of each, below and at the right; the channels add up.

    Raises:
        ValueError: none, or another number of axes.
    """
    if not pictures or any(picture.ndim != 4 for picture in pictures):
        found = [tuple(picture.shape) for picture in pictures]
        raise ValueError(f"joined: pictures must be one or more of (n, channels, height, width), got {found}")
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (2, 3))
    return torch.cat([pad(each, (0, width - each.shape[3], 0, height - each.shape[2])) for each in pictures], 1)


def loose_ends(chain: Chain) -> list[int]:
    """The layers that no layer reads, in order; the last is always one."""
    read = {place for layer in chain.layers for place, anchor in enumerate(layer.anchors) if anchor}
    return [place for place in range(len(chain.layers)) if place not in read]


def depth(chain: Chain) -> int:
    """Layers on the longest way from the image to the classifier."""
    found: list[int] = []
    for layer in chain.layers:
        found.append(1 + max((deep for deep, read in zip(found, layer.anchors, strict=True) if read), default=0))
    return max(found)


def sizes(chain: Chain, image_size: Sequence[int]) -> list[tuple[int, int]]:
    """Height and width of each layer's output.

    Raises:
        ValueError: `image_size` is no pair, or a stride above 1 meets a picture of one pixel: the image is too small.
    """
    if not isinstance(image_size, Sequence) or len(image_size) != 2:
        raise ValueError(f"sizes: image_size must be (height, width), got {image_size!r}")
    image = tuple(check_count("sizes", "image_size", side) for side in image_size)
    found: list[tuple[int, int]] = []
    for place, layer in enumerate(chain.layers):
        read = [size for size, anchor in zip(found, layer.anchors, strict=True) if anchor] or [image]
        largest = [max(size[axis] for size in read) for axis in (0, 1)]
        if layer.stride > 1 and min(largest) == 1:
            rule = f"must leave layers[{place}] of stride {layer.stride} more than one pixel"
            raise ValueError(f"sizes: image_size {rule}, got {image}")
        found.append((-(-largest[0] // layer.stride), -(-largest[1] // layer.stride)))
    return found


def build(chain: Chain, image_shape: Sequence[int], num_classes: int, *, generator: torch.Generator) -> ChainNet:
    """The chain's network, on the generator's device; He's normal weights, biases 0.

    Args:
        image_shape: (channels, height, width).
    Raises:
        ValueError: `chain` is none, or the image is too small for its strides.
    """
    if not isinstance(chain, Chain):
        raise ValueError(f"build: chain must be a Chain, got {chain!r}")
    if not isinstance(image_shape, Sequence) or len(image_shape) != 3:
        raise ValueError(f"build: image_shape must be (channels, height, width), got {image_shape!r}")
    channels, *size = (check_count("build", "image_shape", side) for side in image_shape)
    classes = check_count("build", "num_classes", num_classes)
    check_generator("build", generator)
    sizes(chain, size)
    return apply_(ChainNet(chain, channels, classes, generator.device), he_normal_, generator=generator)


def search_space(max_layers: int) -> Space:
    """Chains of 1 … max_layers layers, of `KERNELS`, `FILTERS` and `STRIDES`; a layer's choices exist where it does.

    Raises:
        ValueError: max_layers < 1.
    """
    most = check_count("search_space", "max_layers", max_layers)
    dims, when = {"depth": Integer(1, most)}, {}
    for place in range(most):
        own = dict(zip(_names(place), [Categorical(each) for each in (KERNELS, FILTERS, STRIDES)], strict=True))
        own |= {f"{place}.anchor{earlier}": Categorical((False, True)) for earlier in range(place)}
        dims |= own
        when |= {name: ("depth", tuple(range(place + 1, most + 1))) for name in own if place}
    return Space(dims, when)


def encode(chain: Chain) -> Params:
    """The setting of `search_space` that stands for a chain."""
    code: Params = {"depth": len(chain.layers)}
    for place, layer in enumerate(chain.layers):
        code |= dict(zip(_names(place), (layer.kernel, layer.filters, layer.stride), strict=True))
        code |= {f"{place}.anchor{earlier}": anchor for earlier, anchor in enumerate(layer.anchors)}
    return code


def decode(params: Params) -> Chain:
    """The chain of a setting.

    Raises:
        ValueError: it is a setting of another space.
    """
    number = check_count("decode", "params['depth']", params.get("depth"))
    spaces.to_unit(search_space(number), params)  # refuses what is no code
    layers = []
    for place in range(number):
        kernel, filters, stride = (params[name] for name in _names(place))
        anchors = tuple(params[f"{place}.anchor{earlier}"] for earlier in range(place))
        layers.append(Layer(kernel, filters, stride, anchors))
    return Chain(tuple(layers))


def _names(place: int) -> list[str]:
    return [f"{place}.{part}" for part in ("kernel", "filters", "stride")]


def _convolution(inputs: int, layer: Layer, device: torch.device) -> nn.Sequential:
    options = {"stride": layer.stride, "padding": layer.kernel // 2, "bias": False, "device": device}
    convolution = skip_init(nn.Conv2d, inputs, layer.filters, layer.kernel, **options)
    return nn.Sequential(convolution, nn.BatchNorm2d(layer.filters, device=device), nn.ReLU())
