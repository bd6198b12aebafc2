"""Checks of the exercises that belong to page `grid_and_random`."""

import math
from collections.abc import Callable

import torch

from labsupport.checks.draws import uniform, whole
from labsupport.checks.frame import check

__all__ = ["log_grid", "trials_needed", "values_per_axis"]


def _root(num_trials: int, dims: int) -> int:
    """The largest m with m ** dims <= num_trials, in integers."""
    m = 1
    while (m + 1) ** dims <= num_trials:
        m += 1
    return m


@check(
    truth=_root,
    given=lambda generator: [
        (64, 3), (64, 6), (1000, 3), (125, 3), (60, 3), (63, 2), (1, 4), (whole(generator, 1100, 1300), 4),
    ],
    wrong={
        "a floating-point root": (lambda num_trials, dims: int(num_trials ** (1 / dims)),
            "`64 ** (1 / 3)` is 3.9999999999999996, and `int` makes 3 of it. "
            "Test whole numbers: m ** dims <= num_trials."),
        "the nearest root": (lambda num_trials, dims: round(num_trials ** (1 / dims)),
            "The nearest root may make a grid that is too large: 4 values on 3 axes are 64 trials, not 60."),
        "one too many": (lambda num_trials, dims: _root(num_trials, dims) + 1,
            "You stop one too late: the last m whose grid still fits is the answer."),
        "shared out": (lambda num_trials, dims: num_trials // dims,
            "You share the trials out among the axes. A grid has every combination: m ** dims trials."),
        "every trial another value": (lambda num_trials, dims: num_trials,
            "That is what random draws give. A grid repeats each value in all combinations of the others."),
    },
)  # fmt: skip
def values_per_axis(answer: Callable, generator: torch.Generator) -> str | None:
    """`values_per_axis(num_trials, dims)`: how many values an axis has in the largest full grid of so many trials."""


def _spread(low: float, high: float, num: int) -> list[float]:
    return [low * (high / low) ** (k / (num - 1)) for k in range(num)]


@check(
    truth=_spread,
    given=lambda generator: [
        (1e-4, 1.0, 5), (0.01, 10.0, 4), (2.0, 8.0, 2),
        (uniform(generator, 0.001, 0.002), uniform(generator, 3.0, 9.0), 6),
    ],
    wrong={
        "linear": (lambda low, high, num: torch.linspace(low, high, num, dtype=torch.float64),
            "Your steps are equal differences: all values but one lie in the top of the range. "
            "Step evenly in the logarithm."),
        "two bases": (lambda low, high, num: torch.linspace(
                math.log10(low), math.log10(high), num, dtype=torch.float64).exp(),
            "You take the logarithm to the base 10 and come back by e. Use one base for both."),
        "still logarithms": (lambda low, high, num: torch.linspace(
                math.log(low), math.log(high), num, dtype=torch.float64),
            "These are logarithms. Take `exp` of them."),
        "logarithms to ten": (lambda low, high, num: torch.linspace(
                math.log10(low), math.log10(high), num, dtype=torch.float64),
            "These are exponents of 10. Raise 10 to them."),
        "the end is missing": (lambda low, high, num: [low * (high / low) ** (k / num) for k in range(num)],
            "The last value should be `high`: between num values there are num − 1 steps."),
        "from large to small": (lambda low, high, num: _spread(low, high, num)[::-1],
            "These are the right values, but from `high` to `low`."),
    },
)  # fmt: skip
def log_grid(answer: Callable, generator: torch.Generator) -> str | None:
    """`log_grid(low, high, num)`: values from low to high, each a constant factor above the one before."""


def _needed(share: float, chance: float) -> int:
    """The least n with 1 − (1 − share)ⁿ >= chance, where no power lies within rounding of it."""
    return math.ceil(math.log(1 - chance) / math.log(1 - share))


@check(
    truth=_needed,
    given=lambda generator: [
        (0.05, 0.95), (0.01, 0.95), (0.05, 0.5), (0.3, 0.6), (uniform(generator, 0.02, 0.04), 0.99),
    ],
    wrong={
        "rounded down": (lambda share, chance: math.floor(math.log(1 - chance) / math.log(1 - share)),
            "You round down, and fall just short of the chance. Round up."),
        "one over the share": (lambda share, chance: math.ceil(1 / share),
            "After 1/share draws one hit is expected, but for a small share there is none in about 37 of 100 studies."),
        "chances added": (lambda share, chance: math.ceil(chance / share),
            "You add the chances of single draws. They overlap: two draws may both hit. "
            "Multiply the chances that all miss."),
        "hit for miss": (lambda share, chance: math.ceil(math.log(chance) / math.log(share)),
            "You ask that all draws hit. Ask that not all of them miss."),
        "a chance of missing": (lambda share, chance: math.ceil(math.log(chance) / math.log(1 - share)),
            "You allow all draws to miss with the probability `chance`. That is what may happen in 1 − chance."),
    },
)  # fmt: skip
def trials_needed(answer: Callable, generator: torch.Generator) -> str | None:
    """`trials_needed(share, chance)`: the least number of draws of which one hits that share with that chance."""
