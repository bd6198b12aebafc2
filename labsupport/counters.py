"""Where randomness begins: a generator from a seed, and numbers that are a pure function of (seed, step, layer).

Of the latter nothing is stored, so any step can be had again: a member's draws do not depend on who trains beside it,
and a run that was cut goes on with the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from labsupport.values import check_count

__all__ = ["keys", "mask", "mix", "normals", "orders", "seeded", "uniforms"]

# The increment and the multipliers of splitmix64, as signed 64-bit integers.
GOLDEN, FIRST, SECOND = (x - 2**64 for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_LAYER_OF_ORDERS = -1


def seeded(seed: int) -> torch.Generator:
    """A new generator on the CPU that starts from `seed`; what is drawn from it is moved to where it is needed.

    Args:
        seed: integer in 0 … 2⁶⁴ − 1.
    Raises:
        ValueError: it is none.
    """
    if check_count("seeded", "seed", seed, at_least=0) >= 2**64:
        raise ValueError(f"seeded: seed must be below 2**64, got {seed}")
    return torch.Generator().manual_seed(int(seed))


def orders(seeds: Sequence[int], epoch: int, num_examples: int) -> Tensor:
    """The order in which each seed sees the examples in an epoch: (seeds, num_examples) integers on the CPU."""
    rows = torch.empty(len(seeds), num_examples, dtype=torch.int64)
    for row, key in zip(rows, _mixed(torch.tensor(seeds), epoch, _LAYER_OF_ORDERS).tolist(), strict=True):
        torch.randperm(num_examples, generator=torch.Generator().manual_seed(key), out=row)
    return rows


def keys(seeds: Sequence[int], steps: Sequence[int], num_layers: int) -> Tensor:
    """A key of two 32-bit words for every step, seed and layer: int32 (steps, seeds, layers, 2) on the CPU."""
    axes = torch.tensor(seeds)[None, :, None], torch.tensor(steps)[:, None, None], torch.arange(num_layers)
    return _mixed(*axes).view(torch.int32).unflatten(-1, (num_layers, 2))


def uniforms(key: Tensor, shape: Sequence[int]) -> Tensor:
    """Float32 numbers in [0, 1), multiples of 2⁻²⁴, one for each place of `shape`.

    Args:
        key: (members, 2) int32, one row of `keys` for each member.
        shape: of one member's numbers.
    Returns:
        (members, *shape). Two rounds of a 32-bit integer hash of the place, one word of the key before each
        (the mixer is "lowbias32" of Wellons's hash-prospector).
    """
    place = torch.arange(math.prod(shape), dtype=torch.int32, device=key.device)
    word = (place * -1640531527) ^ key[:, :1]  # the golden ratio's 0x9E3779B9, as a signed number
    word = (word ^ shift(word, 16, width=32)) * 0x7FEB352D
    word = word ^ shift(word, 15, width=32) ^ key[:, 1:]
    word = word * -2073254261  # 0x846CA68B
    word = word ^ shift(word, 16, width=32)
    return (shift(word, 8, width=32).to(torch.float32) * 2**-24).view(-1, *shape)


def mask(key: Tensor, rate: Tensor, shape: Sequence[int]) -> Tensor:
    """What dropout multiplies by: 0 with probability `rate`, 1 / (1 − rate) otherwise.

    Args:
        key: (members, 2) int32.
        rate: (members,), in [0, 1); its dtype is the mask's.
        shape: of one member's mask.
    Returns:
        (members, *shape).
    """
    each = rate.view(-1, *[1] * len(shape))
    return (uniforms(key, shape) >= each).to(rate.dtype) / (1 - each)


def normals(key: Tensor, shape: Sequence[int]) -> Tensor:
    """Standard normal float32 numbers (members, *shape), by Box and Muller's transformation of two uniforms."""
    radius, angle = uniforms(key, (2, *shape)).unbind(1)
    return (-2 * torch.log1p(-radius)).sqrt() * torch.cos(2 * math.pi * angle)


def _mixed(seed: Tensor, step: Tensor | int, layer: Tensor | int) -> Tensor:
    """A 64-bit hash of the three: each is added and mixed in turn (SplitMix64: Steele, Lea & Flood 2014)."""
    word = torch.zeros((), dtype=torch.int64)
    for part in (seed, step, layer):
        word = mix(word + part + GOLDEN)
    return word


def mix(z: int | Tensor) -> int | Tensor:
    """splitmix64's mixer: every bit of a signed 64-bit integer moves about half of the result's."""
    z = wrap((z ^ shift(z, 30)) * FIRST)
    z = wrap((z ^ shift(z, 27)) * SECOND)
    return z ^ shift(z, 31)


def wrap(z: int | Tensor) -> int | Tensor:
    """Into the signed 64-bit integers, where a tensor's arithmetic wraps by itself."""
    return z if isinstance(z, Tensor) else (z + 2**63) % 2**64 - 2**63


def shift(z: int | Tensor, bits: int, *, width: int = 64) -> int | Tensor:
    """To the right, with zeros coming in from the left, in a word of `width` bits (torch's own repeats the sign)."""
    return (z >> bits) & ((1 << (width - bits)) - 1)
