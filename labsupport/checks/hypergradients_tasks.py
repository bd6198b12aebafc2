"""Checks of the exercises of chapter `hypergradients` that belong to `multi_task`."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from labsupport.checks.frame import check

__all__ = ["design_ties", "tie_slope"]


def _slope(weights: Tensor, pull: Tensor) -> Tensor:
    return (pull.sum(1, keepdim=True) * weights - pull @ weights) / len(weights)


@check(
    wrong={
        "logarithm forgotten": lambda w, ties: _slope(w, ties),
        "pushed apart": lambda w, ties: -_slope(w, ties.exp()),
        "each pair once": lambda w, ties: _slope(w, ties.exp().triu()),
        "number of tasks forgotten": lambda w, ties: len(w) * _slope(w, ties.exp()),
        "half of it": lambda w, ties: 0.5 * _slope(w, ties.exp()),
        "quarter forgotten": lambda w, ties: 4 * _slope(w, ties.exp()),
        "own weights alone": lambda w, ties: ties.exp().sum(1, keepdim=True) * w / len(w),
        "to the mean": lambda w, ties: ties.exp().mean() * (w - w.mean(0)),
        "single precision": lambda w, ties: _slope(w, ties.exp()).float(),
    }
)
def tie_slope(answer: Callable, generator: torch.Generator) -> str | None:
    """`tie_slope(weights, ties)`: derivative of 1/(4J) Σ exp(ties[i, j]) ‖weights[i] − weights[j]‖² by weights."""
    weights = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    ties = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    ties = ties + ties.mT
    got, truth = answer(weights, ties), _slope(weights, ties.exp())
    if not isinstance(got, Tensor) or got.shape != truth.shape:
        return "Return a tensor like the weights, (J, n): a derivative for each weight of each task."
    if got.dtype != torch.float64:
        return f"Weights and ties are float64, and the derivative came back as {got.dtype}."
    named = {
        "logarithm forgotten": "The ties are logarithms: the pull is exp(tie), which is never negative.",
        "pushed apart": "Your tasks push each other apart: where task i lies above task j, its slope is positive.",
        "each pair once": "You use each pair for one of its tasks only. Task i is pulled by every other task j.",
        "number of tasks forgotten": "Divide by the number of tasks: else ten tasks pull harder than two do.",
        "half of it": "A weight stands in the sum twice, as w_i and as w_j: your slope is half of the true one.",
        "quarter forgotten": "The factor ¼ is missing, of which the square and the two places of a pair leave 1.",
        "own weights alone": "You pull each task to zero. The others' weights are missing from the difference.",
        "to the mean": "You pull all tasks to their mean. That is right where ties are equal; each pair has its own.",
    }
    for name, message in named.items():
        if torch.allclose(got, tie_slope.wrong[name](weights, ties)):
            return message
    if not torch.allclose(got, truth, atol=1e-9):
        return f"For this draw the first number is {float(truth[0, 0]):.4f}; you found {float(got[0, 0]):.4f}."
    return None


def _designed(groups: Sequence[int], share: float, decay: float, *, pull: float | None = None) -> Tensor:
    number = len(groups)
    pull = number * math.exp(decay) * share / (1 - share) if pull is None else pull
    labels = torch.tensor(groups)
    together = labels[:, None] == labels
    return torch.where(together, math.log(pull), -math.inf).double()


def _shares(ties: Tensor, decay: float) -> Tensor:
    """The correlation between tasks that the penalty implies."""
    pull = ties.exp() / len(ties)
    pull = pull - pull.diagonal().diag()
    precision = math.exp(decay) * torch.eye(len(ties), dtype=ties.dtype) - pull + pull.sum(1).diag()
    covariance = precision.inverse()
    size = covariance.diagonal().sqrt()
    return covariance / size[:, None] / size


def _across(groups: Sequence[int], share: float, decay: float) -> Tensor:
    inside = _designed(groups, share, decay)
    return torch.where(inside.isfinite(), -math.inf, inside.max())


def _pulled(answer: Callable[[int, float, float], float]) -> Callable:
    return lambda groups, share, decay: _designed(groups, share, decay, pull=answer(len(groups), share, decay))


@check(
    wrong={
        "all tied": lambda groups, share, decay: _designed([0] * len(groups), share, decay),
        "the others tied": _across,
        "share itself": _pulled(lambda number, share, decay: share),
        "decay forgotten": _pulled(lambda number, share, decay: number * share / (1 - share)),
        "number of tasks forgotten": _pulled(lambda number, share, decay: math.exp(decay) * share / (1 - share)),
        "odds forgotten": _pulled(lambda number, share, decay: number * math.exp(decay) * share),
        "no logarithm": lambda groups, share, decay: _designed(groups, share, decay).exp(),
        "zero for no tie": lambda groups, share, decay: _designed(groups, share, decay).clamp(min=0),
        "single precision": lambda groups, share, decay: _designed(groups, share, decay).float(),
    }
)
def design_ties(answer: Callable, generator: torch.Generator) -> str | None:
    """`design_ties(groups, share, decay)`: (J, J) ties under which tasks of a group share `share`, others nothing."""
    first = int(torch.randint(2, (), generator=generator))
    groups = [first, 1 - first, 1 - first, 2, 2, 2, first]
    share = 0.3 + 0.3 * float(torch.rand((), generator=generator, dtype=torch.float64))
    decay = -3.0 - float(torch.rand((), generator=generator, dtype=torch.float64))
    got = answer(list(groups), share, decay)
    if not isinstance(got, Tensor) or got.shape != (7, 7):
        return "Return a tensor (7, 7) for seven tasks: a tie for each pair; what stands on the diagonal is not used."
    if got.dtype != torch.float64:
        return f"Return float64, as for all ties of this exercise; yours came back as {got.dtype}."
    off = ~torch.eye(7, dtype=torch.bool)
    if got[off].isnan().any() or not torch.allclose(got.exp(), got.exp().mT):
        return "A tie belongs to a pair: the tensor must be symmetric, without nan."
    named = {
        "all tied": "All tasks are tied to each other. Where the groups differ, the pull exp(tie) must vanish.",
        "the others tied": "You tie the tasks of different groups, and leave those of one group alone.",
        "share itself": "You take the share for the pull. A pull acts against the L2 penalty: compare the two.",
        "decay forgotten": "Your pull does not know the L2 coefficient exp(decay): where that is weak, less will do.",
        "number of tasks forgotten": "The penalty divides by the number of tasks: multiply the pull by it.",
        "odds forgotten": "A share of 1 takes an infinite pull: the pull must grow like share / (1 − share).",
        "no logarithm": "You return the pull; a tie is its logarithm.",
        "zero for no tie": "A tie of 0 is a pull of exp(0) = 1, stronger than yours within the groups: no tie is −∞.",
    }
    for name, message in named.items():
        if torch.allclose(got[off].exp(), design_ties.wrong[name](groups, share, decay)[off].exp()):
            return message
    return _judged(_shares(torch.where(off, got, 0.0), decay), torch.tensor(groups), share)


def _judged(found: Tensor, labels: Tensor, share: float) -> str | None:
    together = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool)
    inside, outside = found[together], found[labels[:, None] != labels]
    if (outside.abs() > 1e-4).any():
        return f"Tasks of different groups share up to {float(outside.abs().max()):.3f}; they should share nothing."
    if (inside - share).abs().max() > 1e-4:
        return f"Tasks of a group should share {share:.3f}; yours share {float(inside.min()):.3f} or more."
    return None
