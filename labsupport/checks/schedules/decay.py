"""Checks of the exercises that belong to page `decay`."""

import math
from collections.abc import Callable

import torch

from labsupport.checks.draws import uniform, whole
from labsupport.checks.frame import check

__all__ = ["clamped_cosine", "noise_floor", "place_in_cycles"]


def _floor(lr: float, curvature: float, noise: float) -> float:
    return lr * noise**2 / (2 * (2 - lr * curvature)) if lr * curvature < 2 else math.inf


def _bowls(generator: torch.Generator) -> list[tuple]:
    h, noise = uniform(generator, 0.5, 0.9), uniform(generator, 1.5, 3.0)
    return [(uniform(generator, 0.8, 1.2) / h, h, noise), (2.5 / h, h, noise), (4.0, 0.5, noise)]


@check(
    truth=_floor,
    given=_bowls,
    wrong={
        "it settles at the minimum": (lambda lr, curvature, noise: 0.0,
            "With noise in every step the weight never comes to rest, so its mean loss is not 0."),
        "mean square for the loss": (lambda lr, curvature, noise: 2 * _floor(lr, curvature, noise) / curvature,
            "That is the mean square of w. The loss is ½ h times it."),
        "one half forgotten": (lambda lr, curvature, noise: 2 * _floor(lr, curvature, noise),
            "The loss is ½ h w², so one half of h times the mean square."),
        "noise of one step": (lambda lr, curvature, noise: curvature * (lr * noise) ** 2 / 2,
            "That is the noise of one step. Earlier ones are forgotten only by a factor (1 − ηh)² each: they add."),
        "small rates only": (lambda lr, curvature, noise: lr * noise**2 / 4 if lr * curvature < 2 else math.inf,
            "That holds for small rates. Do not drop the square in (1 − ηh)²: here ηh is near 1."),
        "no edge": (lambda lr, curvature, noise: lr * noise**2 / (2 * (2 - lr * curvature)),
            "There each step overshoots by more than it corrects: the weight runs away."),
        "the edge is open": (lambda lr, curvature, noise: (
                lr * noise**2 / (2 * (2 - lr * curvature)) if lr * curvature <= 2 else math.inf
            ),
            "At ηh = 2 your formula divides by zero. There, too, no such mean square exists: the answer is math.inf."),
        "noise not squared": (lambda lr, curvature, noise: _floor(lr, curvature, noise) / noise,
            "Noise of twice the size makes a floor four times as high: it is the variance that adds up."),
    },
)  # fmt: skip
def noise_floor(answer: Callable, generator: torch.Generator) -> str | None:
    """`noise_floor(lr, curvature, noise)`: the mean loss at which w ← w − lr (curvature · w + noise · ξ) ends up."""


def _half(step: int, init: float, decay_steps: int) -> float:
    return init / 2 * (1 + math.cos(math.pi * step / decay_steps))


def _steps(generator: torch.Generator) -> list[tuple]:
    init, n = uniform(generator, 0.1, 2.0), whole(generator, 20, 40)
    return [(step, init, n) for step in (1, n // 3, 0, n // 2, n - 1, n, n + 1, n + n // 2, 2 * n, 5 * n)]


@check(
    truth=lambda step, init, decay_steps: _half(min(step, decay_steps), init, decay_steps),
    given=_steps,
    wrong={
        "climbs again": (_half, "Past the horizon your rate climbs again. Clamp the step."),
        "starts anew": (lambda step, init, decay_steps: _half(step % decay_steps, init, decay_steps),
            "Your rate is back at init. It should have arrived at 0: a horizon is no restart."),
        "half the height": (lambda step, init, decay_steps: _half(min(step, decay_steps), init, decay_steps) / 2,
            "Your rate is half of what it should be. At step 0 it must be init."),
        "full period": (lambda step, init, decay_steps: _half(2 * min(step, decay_steps), init, decay_steps),
            "It falls twice as fast, and comes back: go half a period, to π."),
        "below zero": (lambda step, init, decay_steps: init * math.cos(math.pi * min(step, decay_steps) / decay_steps),
            "A whole cosine falls below 0, which climbs the loss. Add 1 to it, then halve."),
        "back to the start": (
            lambda step, init, decay_steps: init if step > decay_steps else _half(step, init, decay_steps),
            "Past the horizon the rate must stay at 0, and yours jumps up."),
    },
)  # fmt: skip
def clamped_cosine(answer: Callable, generator: torch.Generator) -> str | None:
    """`clamped_cosine(step, init, decay_steps)`: half a cosine from init to 0, then 0."""


def _walked(step: int, first: int, t_mul: int) -> tuple[int, int]:
    cycle, length = 0, first
    while step >= length:
        cycle, step, length = cycle + 1, step - length, length * t_mul
    return cycle, step


def _by_logarithm(whole_part: Callable[[float], int]) -> Callable:
    def place(step: int, first: int, t_mul: int) -> tuple[int, int]:
        if t_mul == 1:
            return step // first, step % first
        cycle = whole_part(math.log(step / first * (t_mul - 1) + 1, t_mul))
        return cycle, step - first * (t_mul**cycle - 1) // (t_mul - 1)

    return place


def _late(step: int, first: int, t_mul: int) -> tuple[int, int]:
    cycle, length = 0, first
    while step > length:
        cycle, step, length = cycle + 1, step - length, length * t_mul
    return cycle, step


def _powers(step: int, first: int, t_mul: int) -> tuple[int, int]:
    cycle, start = 0, 0
    while t_mul > 1 and first * t_mul ** (cycle + 1) <= step:
        cycle += 1
        start = first * t_mul**cycle
    return (cycle, step - start) if t_mul > 1 else (step // first, step % first)


def _by_series(step: int, first: int, t_mul: int) -> tuple[int, int]:
    """The walk for t_mul > 1 by the sum of a geometric series, which divides by t_mul − 1."""
    cycle = 0
    while first * (t_mul ** (cycle + 1) - 1) // (t_mul - 1) <= step:
        cycle += 1
    return cycle, step - first * (t_mul**cycle - 1) // (t_mul - 1)


def _places(generator: torch.Generator) -> list[tuple]:
    first = whole(generator, 5, 9)
    plain = [(step, first, 2) for step in (0, 1, first - 1, first + 1, 3 * first - 1, 3 * first + 2, 7 * first + 1)]
    edges = [
        (length * (t_mul**cycle - 1) // (t_mul - 1) + more, length, t_mul)
        for t_mul in (2, 3, 5, 10) for length in (1, 7, 10, 100, first) for cycle in range(1, 9) for more in (0, -1)
    ]  # fmt: skip
    return [*plain, *((step, first, 1) for step in (0, first, 3 * first + 2)), *edges]


@check(
    truth=_walked,
    given=_places,
    returns="the pair of the cycle and the steps since it began",
    wrong={
        "trusts the logarithm": (_by_logarithm(int),
            "A logarithm that should be whole comes out a hair below. Add up the lengths, in integers."),
        "rounds the logarithm": (_by_logarithm(round),
            "You are in a cycle that has not begun: rounding to the nearest goes up half of the time."),
        "equal cycles": (lambda step, first, t_mul: (step // first, step % first),
            "Each cycle is t_mul times as long as the one before."),
        "restarts a step late": (_late, "The cycle before is over: its last step was the one before this."),
        "starts at the powers": (_powers,
            "Cycle k does not begin at first · t_mulᵏ but where all cycles before it end."),
        "counts from one": (
            lambda step, first, t_mul: (_walked(step, first, t_mul)[0] + 1, _walked(step, first, t_mul)[1]),
            "The first cycle has the number 0."),
        "only longer cycles": (_by_series,
            "It raised ZeroDivisionError for equal cycles: the sum of a series divides by t_mul − 1."),
    },
)  # fmt: skip
def place_in_cycles(answer: Callable, generator: torch.Generator) -> str | None:
    """`place_in_cycles(step, first, t_mul)`: the cycle, from 0, and the steps since it began."""
