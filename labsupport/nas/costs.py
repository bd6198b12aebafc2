"""What a network costs: multiply-adds of one pass; parameters are counted by `models.num_parameters`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from labsupport.values import check_count

__all__ = ["multiply_adds"]


def multiply_adds(module: nn.Module, image_shape: Sequence[int]) -> int:
    """Products of a weight and a number in the convolutions and linear layers, in one pass of one image.

    Pooling, norms and additions are not counted, as is usual. Nothing is computed: a copy on the meta device runs.

    Args:
        module: from images to anything, of layers as they are run once each pass.
        image_shape: (channels, height, width), or whatever one example's shape is.
    Raises:
        ValueError: `module` is none, or a side of the shape is < 1.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"multiply_adds: module must be a torch.nn.Module, got {type(module).__name__}")
    shape = [check_count("multiply_adds", "image_shape", side) for side in image_shape]
    found: list[int] = []
    shadow = copy.deepcopy(module).to("meta").eval()
    for layer in shadow.modules():
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            layer.register_forward_hook(partial(_count, found))
    shadow(torch.empty(1, *shape, device="meta"))
    return sum(found)


def _count(found: list[int], layer: nn.Module, _: Any, output: Tensor) -> None:
    """Each number of the output takes the weights of one of its filters."""
    found.append(output.numel() * layer.weight[0].numel())
