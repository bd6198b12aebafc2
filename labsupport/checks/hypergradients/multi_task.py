"""Checks of the exercises that belong to page `multi_task`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from labsupport.checks.compare import as_tensor, close
from labsupport.checks.draws import normal, uniform, whole
from labsupport.checks.frame import check

__all__ = ["design_ties", "tie_slope"]


def _slope(weights: Tensor, pull: Tensor) -> Tensor:
    return (pull.sum(1, keepdim=True) * weights - pull @ weights) / len(weights)


def _tied(generator: torch.Generator) -> list[tuple]:
    ties = normal(generator, 5, 5)
    return [(normal(generator, 5, 6), ties + ties.mT)]


@check(
    truth=lambda weights, ties: _slope(weights, ties.exp()),
    given=_tied,
    returns="a tensor like the weights, (J, n): a derivative for each weight of each task",
    wrong={
        "logarithm forgotten": (_slope, "The ties are logarithms: the pull is exp(tie), which is never negative."),
        "pushed apart": (lambda w, ties: -_slope(w, ties.exp()),
            "Your tasks push each other apart: where task i lies above task j, its slope is positive."),
        "each pair once": (lambda w, ties: _slope(w, ties.exp().triu()),
            "You use each pair for one of its tasks only. Task i is pulled by every other task j."),
        "number of tasks forgotten": (lambda w, ties: len(w) * _slope(w, ties.exp()),
            "Divide by the number of tasks: else ten tasks pull harder than two do."),
        "half of it": (lambda w, ties: 0.5 * _slope(w, ties.exp()),
            "A weight stands in the sum twice, as w_i and as w_j: your slope is half of the true one."),
        "quarter forgotten": (lambda w, ties: 4 * _slope(w, ties.exp()),
            "The factor ¼ is missing, of which the square and the two places of a pair leave 1."),
        "own weights alone": (lambda w, ties: ties.exp().sum(1, keepdim=True) * w / len(w),
            "You pull each task to zero. The others' weights are missing from the difference."),
        "to the mean": (lambda w, ties: ties.exp().mean() * (w - w.mean(0)),
            "You pull all tasks to their mean. That is right where ties are equal; each pair has its own."),
    },
)  # fmt: skip
def tie_slope(answer: Callable, generator: torch.Generator) -> str | None:
    """`tie_slope(weights, ties)`: derivative of 1/(4J) Σ exp(ties[i, j]) ‖weights[i] − weights[j]‖² by weights."""


def _designed(groups: Sequence[int], pull: float) -> Tensor:
    labels = torch.tensor(groups)
    return torch.where(labels[:, None] == labels, math.log(pull), -math.inf).double()


def _ties(groups: Sequence[int], share: float, decay: float) -> Tensor:
    return _designed(groups, len(groups) * math.exp(decay) * share / (1 - share))


def _across(groups: Sequence[int], share: float, decay: float) -> Tensor:
    inside = _ties(groups, share, decay)
    return torch.where(inside.isfinite(), -math.inf, inside.max())


def _groups(generator: torch.Generator) -> dict[str, tuple]:
    a = whole(generator, 0, 1)
    groups = [a, 1 - a, 1 - a, 2, 2, 2, a]
    return {"For seven tasks in three groups": (groups, uniform(generator, 0.3, 0.6), uniform(generator, -4.0, -3.0))}


def _same_pulls(got: Any, right: Tensor) -> bool:
    """Whether two tables of ties, float64, pull alike; what stands on the diagonal is not used."""
    got, off = as_tensor(got), ~torch.eye(len(right), dtype=torch.bool)
    return got.dtype == right.dtype and close(got[off].exp(), right[off].exp())


@check(
    truth=_ties,
    given=_groups,
    same=_same_pulls,
    returns="a tensor (7, 7) for seven tasks, a tie for each pair",
    wrong={
        "all tied": (lambda groups, share, decay: _ties([0] * len(groups), share, decay),
            "all tasks are tied to each other. Where the groups differ, the pull exp(tie) must vanish."),
        "the others tied": (_across, "you tie the tasks of different groups, and leave those of one group alone."),
        "share itself": (lambda groups, share, decay: _designed(groups, share),
            "you take the share for the pull. A pull acts against the L2 penalty: compare the two."),
        "decay forgotten": (lambda groups, share, decay: _ties(groups, share, 0.0),
            "your pull does not know the L2 coefficient exp(decay): where that is weak, less will do."),
        "number of tasks forgotten": (
            lambda groups, share, decay: _designed(groups, math.exp(decay) * share / (1 - share)),
            "the penalty divides by the number of tasks: multiply the pull by it."),
        "odds forgotten": (lambda groups, share, decay: _designed(groups, len(groups) * math.exp(decay) * share),
            "a share of 1 takes an infinite pull: the pull must grow like share / (1 − share)."),
        "no logarithm": (lambda groups, share, decay: _ties(groups, share, decay).exp(),
            "you return the pull; a tie is its logarithm."),
        "zero for no tie": (lambda groups, share, decay: _ties(groups, share, decay).clamp(min=0),
            "a tie of 0 is a pull of exp(0) = 1, stronger than yours within the groups: no tie is −∞."),
        "single precision": (lambda groups, share, decay: _ties(groups, share, decay).float(),
            "return float64, as for all ties of this exercise."),
    },
)  # fmt: skip
def design_ties(answer: Callable, generator: torch.Generator) -> str | None:
    """`design_ties(groups, share, decay)`: (J, J) ties under which tasks of a group share `share`, others nothing."""
