"""Noise that is a function: one normal number for each seed and step, in any order, without a generator."""

import math

from torch import Tensor

from labsupport.counters import GOLDEN, mix, shift, wrap
from labsupport.schedules.elementwise import cos, log, power, real
from labsupport.values import check_count

__all__ = ["normal"]


def normal(seed: int, step: int | Tensor) -> float | Tensor:
    """A standard normal number for each step: a hash of (seed, step), shaped by Box and Muller's transform.

    Args:
        seed: integer >= 0, taken modulo 2**64.
        step: integer >= 0, or an int64 tensor of them.
    Returns:
        A float, or a float64 tensor of the shape and device of `step`; the two agree but for rounding.
    Raises:
        ValueError: `seed` is no integer >= 0.
    Source: Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195 (splitmix64); Box & Muller 1958.
    """
    start = mix(wrap(check_count("normal", "seed", seed, at_least=0)))
    first, second = (shift(mix(wrap(start + wrap(GOLDEN * (2 * step + k)))), 11) for k in (1, 2))
    radius = power(-2.0 * log((real(first) + 1.0) / 2.0**53), 0.5)
    return radius * cos(2.0 * math.pi * (real(second) / 2.0**53))
