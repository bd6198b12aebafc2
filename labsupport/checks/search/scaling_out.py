"""Checks of the exercises that belong to page `scaling_out`."""

import math
from collections.abc import Callable

import torch

from labsupport.checks.draws import uniform, whole
from labsupport.checks.frame import check

__all__ = ["left_over", "lost_share"]


def _hours(length: float, between: float) -> float:
    return between * math.expm1(length / between)


@check(
    truth=lambda length, between: 1 - length / _hours(length, between),
    given=lambda generator: [
        (8.0, 8.0), (1.0, 10.0), (6.0, 3.0), (uniform(generator, 2.0, 3.0), uniform(generator, 4.0, 5.0)),
    ],
    wrong={
        "the chance of dying": (lambda length, between: -math.expm1(-length / between),
            "That is the chance that a worker dies within one trial. Asked for are hours: what is lost, over all of "
            "them."),
        "the share that is kept": (lambda length, between: length / _hours(length, between),
            "That is the share that is not lost. Subtract it from 1."),
        "lost over kept": (lambda length, between: _hours(length, between) / length - 1,
            "You compare the lost hours with the useful ones. Compare them with all."),
        "hours for share": (lambda length, between: _hours(length, between) - length,
            "Those are the hours that are lost. Divide them by all hours of eq. (1)."),
        "half a trial each": (lambda length, between: length / (2 * between),
            "That holds for short trials alone. A long one may die several times before it is done."),
    },
)  # fmt: skip
def lost_share(answer: Callable, generator: torch.Generator) -> str | None:
    """`lost_share(length, between)`: the share of a worker's hours that deaths throw away."""


Arrived = list[tuple[int, float | None]]


def _left(num_trials: int, arrived: Arrived) -> list[int]:
    there = {number for number, _ in arrived}
    return [number for number in range(num_trials) if number not in there]


def _without(num_trials: int, arrived: Arrived, drop: Callable[[float | None], bool]) -> list[int]:
    return _left(num_trials, [(number, value) for number, value in arrived if not drop(value)])


def _studies(generator: torch.Generator) -> dict[str, tuple]:
    def case(num: int) -> tuple[int, Arrived]:
        order = torch.randperm(num, generator=generator).tolist()
        come = [number for number in order if number not in (order[0], order[1], order[2])]
        arrived = [(number, uniform(generator, 0.1, 0.9)) for number in come]
        arrived[1], arrived[2] = (come[1], None), (come[2], 0.0)
        return num, [*arrived, arrived[3], arrived[0]]

    return {
        "With results that came twice, a failure and a value of 0": case(whole(generator, 9, 14)),
        "With thirty trials": case(30),
        "Before any result": (3, []),
    }


@check(
    truth=_left,
    given=_studies,
    returns="a list of numbers, in ascending order",
    wrong={
        "counted": (lambda num_trials, arrived: list(range(len(arrived), num_trials)),
            "you count results. They come in any order, and some come twice: look at the numbers."),
        "counted without repeats": (lambda num_trials, arrived: list(range(len({n for n, _ in arrived}), num_trials)),
            "you count the trials that are done, and take the last ones for missing. Results come in any order."),
        "failures again": (
            lambda num_trials, arrived: _without(num_trials, arrived, lambda value: value is None),
            "you run a failed trial again. Its failure is its result, and is known."),
        "zero is nothing": (
            lambda num_trials, arrived: _without(num_trials, arrived, lambda value: value is not None and not value),
            "you run a trial again whose value is 0. That is a value like any other."),
        "zero and failures again": (
            lambda num_trials, arrived: _without(num_trials, arrived, lambda value: not value),
            "you ask whether the value is true: 0 is not, nor is a failure, yet both are results."),
        "what is done": (lambda num_trials, arrived: sorted({number for number, _ in arrived}),
            "those are done. Asked for are the others."),
        "once too often": (
            lambda num_trials, arrived: _left(num_trials, arrived)
            + sorted({n for k, (n, _) in enumerate(arrived) if n in [m for m, _ in arrived[:k]]}),
            "you also run again what came twice. One result of each is enough."),
    },
)  # fmt: skip
def left_over(answer: Callable, generator: torch.Generator) -> str | None:
    """`left_over(num_trials, arrived)`: which trials are to be run when a study goes on."""
