"""Networks of stacked cells: a code, an outline, and a generator make one.

A 3×3 stem, then runs of normal cells with a reduction cell between two runs, which halves the picture (rounding up) and
doubles the width; then ReLU, the mean over the pixels, and a linear classifier. Before a cell works, each of its inputs
is brought to its width and size by ReLU, a 1×1 convolution and a batch norm. In a reduction cell, what reads the cell's
inputs has stride 2.

A convolution stands after a ReLU and before a batch norm; a separable one is applied twice, each time a filter for
every channel and then a 1×1 convolution. Source: Zoph et al. 2018, arXiv:1707.07012, section 3 and appendix A. Ours:
the strided 1×1 convolution for an input of twice the size, for an identity and for a concat of a block, which would
have twice the width, and 3×3 filters of dilation 2 for the "3x3 dilated" convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from labsupport.initialization.rules import he_normal_
from labsupport.initialization.starts import apply_
from labsupport.nas.space import NUM_INPUTS, OPERATIONS, Architecture, Block, Cell, loose_ends
from labsupport.values import check_choice, check_count, check_generator

__all__ = ["CellBlocks", "Outline", "Stack", "build", "operation"]

Device = torch.device | str
Pair = int | tuple[int, int]


@dataclass(frozen=True)
class Outline:
    """What an architecture leaves open.

    Args:
        image_shape: (channels, height, width).
        num_classes: >= 1.
        width: channels of the first cells; >= 1.
        num_normal: normal cells in each run; >= 1.
        num_reductions: reduction cells; >= 0. Each needs more than one pixel in height and in width.
    Raises:
        ValueError: a bound above is broken.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    width: int = 8
    num_normal: int = 1
    num_reductions: int = 1

    def __post_init__(self) -> None:
        shape = self.image_shape
        if not isinstance(shape, Sequence) or len(shape) != 3:
            raise ValueError(f"Outline: image_shape must be (channels, height, width), got {shape!r}")
        object.__setattr__(self, "image_shape", tuple(check_count("Outline", "image_shape", side) for side in shape))
        for name in ("num_classes", "width", "num_normal"):
            check_count("Outline", name, getattr(self, name))
        check_count("Outline", "num_reductions", self.num_reductions, at_least=0)
        least = 2 ** (self.num_reductions - 1) + 1 if self.num_reductions else 1
        if min(self.image_shape[1:]) < least:
            rule = f"must be at least {least}×{least} pixels for {self.num_reductions} reductions"
            raise ValueError(f"Outline: image_shape {rule}, got {self.image_shape[1]}×{self.image_shape[2]}")


class Stack(nn.Module):
    """The network of an architecture, (n, channels, height, width) -> (n, num_classes); `build` fills it."""

    def __init__(self, architecture: Architecture, outline: Outline, device: Device) -> None:
        super().__init__()
        width, before = outline.width, [(outline.width, 1), (outline.width, 1)]
        self.stem = nn.Sequential(_filters(outline.image_shape[0], width, 3, device=device), _norm(width, device))
        cells = []
        run = ["normal"] * outline.num_normal
        for kind in run + ["reduction", *run] * outline.num_reductions:
            width *= 2 if kind == "reduction" else 1
            cells.append(CellBlocks(getattr(architecture, kind), before, width, kind == "reduction", device))
            before = [(cells[-1].outputs, before[0][1] * (2 if kind == "reduction" else 1)), before[0]]
        self.cells = nn.ModuleList(cells)
        self.classifier = skip_init(nn.Linear, before[0][0], outline.num_classes, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        states = (self.stem(x),) * 2
        for cell in self.cells:
            states = (cell(*states), states[0])
        return self.classifier(states[0].relu().mean((2, 3)))


class CellBlocks(nn.Module):
    """One cell of a stack.

    Args:
        cell: its code.
        before: (channels, how many times smaller than the image) of the cell before and of the one before that.
        width: channels of every state inside.
        reduces: whether what reads the cell's inputs has stride 2.
        device: of its parameters.
    """

    def __init__(
        self, cell: Cell, before: Sequence[tuple[int, int]], width: int, reduces: bool, device: Device
    ) -> None:
        super().__init__()
        self.code, self.outputs = cell, width * len(loose_ends(cell))
        strides = [before[0][1] // shrunk for _, shrunk in before]
        self.inputs = nn.ModuleList(
            _convolution(channels, width, 1, stride=stride, device=device)
            for (channels, _), stride in zip(before, strides, strict=True)
        )
        self.halves = nn.ModuleList(
            operation(name, width, stride=2 if reduces and state < NUM_INPUTS else 1, device=device)
            for block in cell.blocks
            for state, name in zip(block.inputs, block.operations, strict=True)
        )
        self.joins = nn.ModuleList(_join(block, width, device) for block in cell.blocks)

    def forward(self, previous: Tensor, earlier: Tensor) -> Tensor:
        """The loose ends, side by side in their channels."""
        states = [into(state) for into, state in zip(self.inputs, (previous, earlier), strict=True)]
        halves = iter(self.halves)
        for block, join in zip(self.code.blocks, self.joins, strict=True):
            first, second = (half(states[state]) for state, half in zip(block.inputs, halves, strict=False))
            states.append(first + second if block.join == "add" else join(torch.cat([first, second], 1)))
        return torch.cat([states[state] for state in loose_ends(self.code)], 1)


def build(architecture: Architecture, outline: Outline, *, generator: torch.Generator) -> Stack:
    """The network, on the generator's device; He's normal weights, biases 0.

    Raises:
        ValueError: an argument is of another kind.
    """
    for name, value, kind in (("architecture", architecture, Architecture), ("outline", outline, Outline)):
        if not isinstance(value, kind):
            raise ValueError(f"build: {name} must be of {kind.__name__}, got {value!r}")
    check_generator("build", generator)
    return apply_(Stack(architecture, outline, generator.device), he_normal_, generator=generator)


def operation(name: str, width: int, *, stride: int = 1, device: Device = "cpu") -> nn.Module:
    """One of the 13 operations, (n, width, height, width) -> (n, width, ⌈height/stride⌉, ⌈width/stride⌉).

    Raises:
        ValueError: it is none of `OPERATIONS`, or width or stride is < 1.
    """
    check_choice("operation", "name", name, OPERATIONS)
    check_count("operation", "width", width)
    check_count("operation", "stride", stride)
    given = {"stride": stride, "device": device}
    if name == "identity":
        return nn.Identity() if stride == 1 else _convolution(width, width, 1, **given)
    if "then" in name:
        side = int(name[2])
        rows = _convolution(width, width, (1, side), stride=(1, stride), device=device)
        return nn.Sequential(*rows, *_convolution(width, width, (side, 1), stride=(stride, 1), device=device))
    side, kind = int(name[0]), name.split()[-1]
    if kind == "average":
        return nn.AvgPool2d(side, stride, side // 2, count_include_pad=False)
    if kind == "max":
        return nn.MaxPool2d(side, stride, side // 2)
    if kind == "separable":
        return nn.Sequential(*_separable(width, side, **given), *_separable(width, side, device=device))
    return _convolution(width, width, side, dilation=2 if kind == "dilated" else 1, **given)


def _join(block: Block, width: int, device: Device) -> nn.Module:
    return nn.Identity() if block.join == "add" else _convolution(2 * width, width, 1, device=device)


def _convolution(inputs: int, outputs: int, kernel: Pair, *, device: Device, **options: Pair) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), _filters(inputs, outputs, kernel, device=device, **options), _norm(outputs, device))


def _separable(width: int, kernel: int, *, device: Device, stride: int = 1) -> nn.Sequential:
    each = _filters(width, width, kernel, device=device, stride=stride, groups=width)
    return nn.Sequential(nn.ReLU(), each, _filters(width, width, 1, device=device), _norm(width, device))


def _filters(
    inputs: int, outputs: int, kernel: Pair, *, device: Device, dilation: int = 1, **options: Pair
) -> nn.Module:
    sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = tuple(dilation * (side - 1) // 2 for side in sides)
    given = {"padding": padding, "dilation": dilation, "bias": False, "device": device}
    return skip_init(nn.Conv2d, inputs, outputs, sides, **given, **options)


def _norm(width: int, device: Device) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, device=device)
