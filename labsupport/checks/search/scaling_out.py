"""Checks of the exercises that belong to page `scaling_out`."""

import math
from collections.abc import Callable

import torch

from labsupport.checks.draws import uniform, whole
from labsupport.checks.frame import check

__all__ = ["hours_with_checkpoints", "left_over"]


def _hours(length: float, between: float) -> float:
    return between * math.expm1(length / between)


def _saved(length: float, every: float, between: float) -> float:
    whole_pieces = math.floor(length / every)
    return whole_pieces * _hours(every, between) + _hours(length - whole_pieces * every, between)


@check(
    truth=_saved,
    given=lambda generator: [
        (8.0, 1.0, 8.0), (7.0, 2.0, 4.0), (1.0, 3.0, 2.0),
        (float(whole(generator, 11, 15)), 4.0, uniform(generator, 4.0, 6.0)),
    ],
    wrong={
        "nothing is saved": (lambda length, every, between: _hours(length, between),
            "That is a trial without checkpoints. With them, a death costs only what came after the last one."),
        "the rest is forgotten": (lambda length, every, between: length // every * _hours(every, between),
            "You forget the rest after the last whole piece. It takes time, too."),
        "the rest is a whole piece": (lambda length, every, between: math.ceil(length / every) * _hours(every, between),
            "You count the last piece as a whole one. It may be shorter."),
        "in proportion": (lambda length, every, between: length / every * _hours(every, between),
            "You charge the last piece in proportion to a whole one. A shorter piece loses less than that."),
        "no deaths": (lambda length, every, between: length,
            "That is the time without any death. A death still costs what came after the last checkpoint."),
        "one piece": (lambda length, every, between: _hours(min(every, length), between),
            "That is one piece. A trial has more of them."),
    },
)  # fmt: skip
def hours_with_checkpoints(answer: Callable, generator: torch.Generator) -> str | None:
    """`hours_with_checkpoints(length, every, between)`: hours until a trial is done that is saved now and then."""


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
