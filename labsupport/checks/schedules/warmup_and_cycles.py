"""Checks of the exercises that belong to page `warmup_and_cycles`."""

import math
from collections.abc import Callable

import torch

from labsupport import schedules
from labsupport.checks.draws import uniform, whole
from labsupport.checks.frame import check

__all__ = ["snapshot_steps", "triangle_rate"]


def _triangle(fold: Callable[[float], float] = abs) -> Callable:
    def rate(step: int, low: float, high: float, half_cycle: int) -> float:
        cycle = 1 + step // (2 * half_cycle)
        return low + (high - low) * max(0.0, 1 - fold(step / half_cycle - 2 * cycle + 1))

    return rate


def _rises(generator: torch.Generator) -> list[tuple]:
    low, half = uniform(generator, 0.05, 0.2), whole(generator, 6, 10)
    high = low + uniform(generator, 0.5, 1.0)
    return [(step, low, high, half) for step in range(1, 4 * half + 1)] + [(0, low, high, half)]


@check(
    truth=_triangle(),
    given=_rises,
    wrong={
        "the notes' floor": (_triangle(math.floor),
            "Your rate stands still, jumps and goes beyond `high`: nothing inside a cycle needs rounding."),
        "nothing folded": (_triangle(lambda x: x),
            "Yours goes beyond `high`. How far is step / half_cycle from the peak, on either side?"),
        "rounded": (_triangle(lambda x: abs(round(x))),
            "Your rate stands still, then jumps: nothing inside a cycle needs rounding."),
        "upside down": (lambda step, low, high, half_cycle: low + high - _triangle()(step, low, high, half_cycle),
            "It begins at the bottom."),
        "whole cycle for half": (lambda step, low, high, half_cycle: _triangle()(step, low, high, 2 * half_cycle),
            "The rate rises for half_cycle steps and falls for as many."),
        "low forgotten": (lambda step, low, high, half_cycle: _triangle()(step, low, high, half_cycle) - low,
            "The triangle stands on `low`, not on 0."),
    },
)  # fmt: skip
def triangle_rate(answer: Callable, generator: torch.Generator) -> str | None:
    """`triangle_rate(step, low, high, half_cycle)`: Smith's triangular rate."""


def _restarts(schedule: schedules.Schedule, num_steps: int) -> list[int]:
    """The last step of each descent: the rate does not rise after a step unless it fell before; and the last step."""
    rates, fell, found = schedule(torch.arange(num_steps)).tolist(), False, []
    for step in range(num_steps):
        fell = fell or (step > 0 and rates[step] < rates[step - 1])
        if fell and (step == num_steps - 1 or rates[step + 1] > rates[step]):
            found.append(step)
            fell = False
    return found


def _runs(generator: torch.Generator) -> dict[str, tuple]:
    first, rise = whole(generator, 8, 14), whole(generator, 3, 6)
    longer = schedules.cosine_restarts(0.3, first_decay_steps=first, t_mul=2)
    equal = schedules.cosine_restarts(0.3, first_decay_steps=first, t_mul=1)
    triangles = schedules.triangular(0.0, 0.3, half_cycle=first)
    cases = {
        "equal cosine cycles": (equal, 3 * first),
        "cosine cycles, each twice as long": (longer, 7 * first),
        "cosine cycles, cut short": (longer, 4 * first),
        "cycles after a warm-up": (schedules.warmup(longer, num_steps=rise), rise + 3 * first),
        "triangles": (triangles, 4 * first),
        "triangles, cut short while the rate rises": (triangles, 5 * first - 2),
    }
    return {f"{name}, {case[1]} steps": case for name, case in cases.items()}


@check(
    truth=_restarts,
    given=_runs,
    wrong={
        "at the peaks": (lambda schedule, num_steps: [step + 1 for step in _restarts(schedule, num_steps)],
            "not so late: there the rate is at its peak again."),
        "the end forgotten": (
            lambda schedule, num_steps: [step for step in _restarts(schedule, num_steps) if step < num_steps - 1],
            "the end of the run is a snapshot too, the best one."),
        "only the end": (lambda schedule, num_steps: [num_steps - 1],
            "you keep the weights after the last step. That is one network, no ensemble."),
        "every rise": (lambda schedule, num_steps: [
                step for step in range(num_steps)
                if step == num_steps - 1 or schedule(step + 1) > schedule(step)
            ],
            "a rate that rises step by step, as in a warm-up, is no restart: it must have fallen before."),
        "equal distances": (lambda schedule, num_steps: [
                num_steps * (i + 1) // len(_restarts(schedule, num_steps)) - 1
                for i in range(len(_restarts(schedule, num_steps)))
            ],
            "a cycle ends where its rate is lowest, wherever that is."),
        "beyond the end": (lambda schedule, num_steps: _restarts(schedule, num_steps + 40),
            "some of your steps come after the end of the run, whose last step is num_steps − 1."),
        "the end while the rate rises": (
            lambda schedule, num_steps: sorted({*_restarts(schedule, num_steps), num_steps - 1}),
            "you keep the last step, and the rate is on its way up: it counts only if the rate has begun to fall."),
    },
)  # fmt: skip
def snapshot_steps(answer: Callable, generator: torch.Generator) -> str | None:
    """`snapshot_steps(schedule, num_steps)`: after which steps to keep the weights for an ensemble."""
