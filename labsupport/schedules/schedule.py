"""What a schedule is: a function of the step, with a name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, overload

import torch
from torch import Tensor

from labsupport.remaking import Remade
from labsupport.values import check_count, check_number, holds

__all__ = ["MAX_STEP", "Schedule", "check_boundaries", "check_schedule", "check_start"]

MAX_STEP = 2**53  # the last integer up to which float64 has them all


@dataclass(frozen=True, eq=False, repr=False)
class Schedule(Remade):
    """A learning rate for each step, counted from 0 in optimizer updates.

    Calling it with an int gives a float; with a tensor of integers, of any shape, a float64 tensor of that shape on
    its device. It holds no state and draws no random numbers: the same step always gives the same rate. One that a
    function of this room made can be pickled.

    Attributes:
        rule: the same for a step that was checked: int -> float, and int64 tensor -> float64 tensor. It must be pure.
        text: how the schedule was made, `"name(arguments)"`; its repr, and the name in its messages.
    Raises:
        ValueError: when called with anything but integers in 0 … 2**53 (a bool is none).
    """

    rule: Callable[[Any], Any]
    text: str

    @overload
    def __call__(self, step: int) -> float: ...
    @overload
    def __call__(self, step: Tensor) -> Tensor: ...
    def __call__(self, step):
        name = self.text.partition("(")[0]
        return self.rule(_check_tensor(name, step) if isinstance(step, Tensor) else _check_int(name, step))

    def __repr__(self) -> str:
        return self.text


def check_schedule(where: str, name: str, value: Any) -> None:
    """Raise ValueError unless `value` is a Schedule."""
    if not isinstance(value, Schedule):
        raise ValueError(f"{where}: {name} must be a Schedule, got {value!r}")


def check_start(where: str, init: Any, decay_steps: Any) -> tuple[float, int]:
    """The initial rate, a finite number >= 0, and the horizon, an integer >= 1.

    Raises:
        ValueError: one of them is not.
    """
    return check_number(where, "init", init, low=0.0), check_count(where, "decay_steps", decay_steps)


def check_boundaries(where: str, boundaries: Sequence[Any]) -> list[int]:
    """The steps at which something changes: strictly increasing integers >= 0, as a list.

    Raises:
        ValueError: they are not.
    """
    edges = [check_count(where, f"boundaries[{i}]", edge, at_least=0) for i, edge in enumerate(boundaries)]
    if any(right <= left for left, right in pairwise(edges)):
        raise ValueError(f"{where}: boundaries must increase strictly, got {edges}")
    return edges


def _check_int(name: str, step: Any) -> int:
    step = check_count(name, "step", step, at_least=0)
    if step > MAX_STEP:
        raise ValueError(f"{name}: step must be an integer <= 2**53, got {step}")
    return step


def _check_tensor(name: str, steps: Tensor) -> Tensor:
    if steps.dtype == torch.bool or steps.is_floating_point() or steps.is_complex():
        raise ValueError(f"{name}: step must be an integer or a tensor of integers, got a tensor of {steps.dtype}")
    whole = steps.to(torch.int64)
    wrong = (whole < 0) | (whole > MAX_STEP)
    if not holds(~wrong):
        raise ValueError(f"{name}: step must hold integers in 0 … 2**53, got {steps[wrong].flatten()[0].item()}")
    return whole
