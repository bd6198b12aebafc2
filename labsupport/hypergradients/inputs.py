"""Digits whose inputs differ in worth: beside inputs of pure noise, or between pieces of other digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import torch
from torch.nn.functional import avg_pool2d

from labsupport import data
from labsupport.counters import seeded
from labsupport.data.splits import PARTS
from labsupport.values import check_count, check_generator, check_number

__all__ = ["CLUTTER", "beside_noise", "cluttered"]

_MIDDLE = [28 * row + column for row in range(7, 21) for column in range(7, 21)]
CLUTTER = MappingProxyType({
    "middle": _MIDDLE, "round": sorted(set(range(784)) - set(_MIDDLE)), "hidden": list(range(784, 934)),
})  # fmt: skip
"""Places among the 934 coefficients of a network 784-50-50-50-10 on `cluttered` pictures: those of the digit's pixels,
of the pixels round it, and of hidden units."""


def beside_noise(
    split: data.Split, num_inputs: int, *, std: float, generators: Sequence[torch.Generator]
) -> data.Split:
    """The same split with inputs of normal noise after its own.

    Args:
        split: x of shape (n, inputs).
        num_inputs: how many are added; >= 1.
        std: of the noise; >= 0.
        generators: three, for the training, validation and test part; they may be one and the same.
    Raises:
        ValueError: a bound above is broken.
    """
    check_count("beside_noise", "num_inputs", num_inputs)
    check_number("beside_noise", "std", std, low=0.0)
    if split.train[0].ndim != 2:
        raise ValueError(f"beside_noise: split must be flat, got x of shape {tuple(split.train[0].shape)}")
    if len(generators) != len(PARTS):
        raise ValueError(f"beside_noise: generators must be three, got {len(generators)}")
    parts = {}
    for part, generator in zip(PARTS, generators, strict=True):
        check_generator("beside_noise", generator)
        x, y = getattr(split, part)
        noise = torch.randn(len(x), num_inputs, generator=generator, device=generator.device, dtype=x.dtype)
        parts[part] = (torch.cat([x, std * noise.to(x.device)], 1), y)
    return replace(split, **parts)


def cluttered(sizes: Sequence[int], seed: int) -> data.Split:
    """Digits of 14×14 in the middle of pictures of 28×28, between the cut pieces of four others; flat, (n, 784).

    Args:
        sizes: examples to train on, to validate, and of the third split.
        seed: >= 0; it draws the digits, and 10⁶ + seed those around them.
    Raises:
        ValueError: as `data.glyphs`.
    """
    few = data.glyphs("digits", sizes=sizes, generator=seeded(seed))
    many = data.glyphs("digits", sizes=[4 * n for n in sizes], generator=seeded(10**6 + seed))
    pairs = {}
    for part in PARTS:
        (x, y), (others, _) = getattr(few, part), getattr(many, part)
        tiles = avg_pool2d(others, 2).reshape(-1, 2, 2, 14, 14).transpose(2, 3).reshape(-1, 28, 28).clone()
        tiles[:, 7:21, 7:21] = avg_pool2d(x, 2)[:, 0]
        pairs[part] = (tiles.flatten(1), y)
    return data.Split(**pairs, class_names=few.class_names)
