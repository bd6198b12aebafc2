"""A hypergradient by any method, and how far it lies from the exact one."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from labsupport.hypergradients.backward import check_end, descend
from labsupport.hypergradients.paths import Stored
from labsupport.hypergradients.problem import Hypergradient, Named, Problem, check_tensors
from labsupport.hypergradients.runs import Run
from labsupport.values import check_number

__all__ = ["Gradcheck", "Method", "gradcheck", "hypergradient", "trained"]


class Method(Protocol):
    """A way to the hypergradient."""

    def solve(self, run: Run) -> Hypergradient:
        """The hypergradient; see `hypergradient`."""


def hypergradient(
    problem: Problem, hyper: Named, method: Method, *, backend: str = "eager", limit: float = 1e8
) -> Hypergradient:
    """Train, and differentiate the validation loss at the end by the hyperparameters.

    Args:
        problem: what is trained and judged.
        hyper: name -> tensor, the hyperparameters.
        method: `Stored()`, `DrMAD()`, …
        backend: "eager", "compiled", or "auto", which compiles where this machine can: worth its seconds where many
            hypergradients of one kind follow. `Unrolled` and `ForwardMode` are always eager.
        limit: the derivative by the weights may become this many times as long as at the end; infinity for any length.
            `Unrolled` and `ForwardMode` do not see it.
    Raises:
        ValueError: an argument does not fit; a loss is no number, knows no weights or no hyperparameter, writes to its
            arguments or differs when asked again at step 0; the method cannot do what the problem asks.
        FloatingPointError: weights stop being finite in training, or the derivative grows beyond `limit`, and the
            message names the step; the validation loss is not finite.
    """
    if not hasattr(method, "solve") or isinstance(method, type):
        raise ValueError(f"hypergradient: method must be one of this room, such as Stored(), got {method!r}")
    if isinstance(limit, bool) or not isinstance(limit, Real) or not limit > 0:
        raise ValueError(f"hypergradient: limit must be a number > 0, got {limit!r}")
    run = _run(problem, hyper, backend, limit)
    _check_use(run)
    return method.solve(run)


class Gradcheck(NamedTuple):
    """How a hypergradient compares with the exact one.

    Attributes:
        cosine: of the angle between the two.
        norm_ratio: its length divided by the exact one's.
        sign_agreement: share of the entries with the same sign.
        slope: derivative along the exact hypergradient's direction by central differences of whole runs, divided by
            what the exact hypergradient says: 1 but for rounding.
        result: what the method gave.
    """

    cosine: float
    norm_ratio: float
    sign_agreement: float
    slope: float
    result: Hypergradient


def gradcheck(
    problem: Problem, hyper: Named, method: Method, *, backend: str = "eager", step: float = 1e-5
) -> Gradcheck:
    """Compare a method with the exact hypergradient and that with finite differences; four trainings.

    Args:
        problem, hyper, method, backend: see `hypergradient`.
        step: of the central difference, in the hyperparameters' units; for float64.
    Raises:
        ValueError: as `hypergradient`; step is not above 0; the exact hypergradient is zero.
        FloatingPointError: weights stop being finite in one of the trainings, or the validation loss is not.
    """
    if check_number("gradcheck", "step", step, low=0.0) == 0:
        raise ValueError(f"gradcheck: step must be > 0, got {step!r}")
    ours = hypergradient(problem, hyper, method, backend=backend, limit=math.inf)
    exact = hypergradient(problem, hyper, Stored(), limit=math.inf)
    one, other = (torch.cat([value.flatten().double() for value in each.grad.values()]) for each in (ours, exact))
    if other.norm() == 0:
        raise ValueError("gradcheck: the exact hypergradient must not be zero, because nothing compares with it, got 0")
    ahead = {name: value / float(other.norm()) for name, value in exact.grad.items()}
    ends = [{name: hyper[name] + side * step * ahead[name] for name in hyper} for side in (1, -1)]
    measured = (trained(problem, ends[0])[1] - trained(problem, ends[1])[1]) / (2 * step)
    cosine = torch.dot(one, other) / (one.norm() * other.norm())
    same = (one.sign() == other.sign()).double().mean()
    return Gradcheck(float(cosine), float(one.norm() / other.norm()), float(same), measured / float(other.norm()), ours)


def trained(problem: Problem, hyper: Named, *, backend: str = "eager") -> tuple[Named, float]:
    """Train only: the weights at the end, and the validation loss.

    Raises:
        ValueError: as `hypergradient`; a loss may do without hyperparameters here.
        FloatingPointError: weights stop being finite, and the message names the step; the validation loss is not.
    """
    run = _run(problem, hyper, backend)
    weights = descend(run)
    value = float(_value(problem, "valid_loss", weights).detach())
    check_end(run, weights, value)
    return weights, value


def _run(problem: Problem, hyper: Named, backend: str, limit: float = math.inf) -> Run:
    if not isinstance(problem, Problem):
        raise ValueError(f"hypergradient: problem must be a Problem, got {problem!r}")
    check_tensors("hypergradient", "hyper", hyper)
    if torch.is_inference_mode_enabled():
        raise ValueError("hypergradient: torch.inference_mode must be off, because it knows no gradients, got on")
    hyper = {name: value.detach().clone() for name, value in hyper.items()}
    _check_losses(problem, hyper)
    return Run(problem, hyper, backend, limit)


def _check_losses(problem: Problem, hyper: Named) -> None:
    """Raise ValueError unless both losses are numbers, depend on the weights, change nothing and repeat."""
    given = [_asking(problem.weights), {name: value.clone() for name, value in hyper.items()}]
    before, values = [dict(each) for each in given], []
    for name, at in (("train_loss", given), ("train_loss", given), ("valid_loss", given[:1])):
        value = _value(problem, name, *at)
        if not value.requires_grad:
            raise ValueError(f"hypergradient: {name} must depend on the weights, got a constant")
        for each, had in zip(given, before, strict=True):
            same = each.keys() == had.keys() and all(each[k] is v and v._version == 0 for k, v in had.items())
            if not same:
                raise ValueError(f"hypergradient: {name} must leave its arguments as they are, got others after it")
        values.append(value.detach())
    if not torch.allclose(*values[:2], rtol=torch.finfo(values[0].dtype).eps ** 0.5, atol=0, equal_nan=True):
        numbers = f"{float(values[0])} and {float(values[1])} at step 0"
        raise ValueError(f"hypergradient: train_loss and batches must give the same each time, got {numbers}")


def _check_use(run: Run) -> None:
    """Raise ValueError where neither the training loss at both ends nor rates know any hyperparameter."""
    weights = {name: value.detach() for name, value in run.problem.weights.items()}
    if run.problem.learns_rates:
        return
    for step in {0, run.problem.num_steps - 1}:
        if _value(run.problem, "train_loss", weights, _asking(run.hyper), step=step).requires_grad:
            return
    names = ", ".join(run.hyper)
    raise ValueError(f"hypergradient: train_loss must depend on a hyperparameter, got one that uses none of {names}")


@torch.enable_grad()
def _value(problem: Problem, name: str, weights: Named, *hyper: Named, step: int = 0) -> Tensor:
    """Of a loss, with a step's batch where it takes hyperparameters."""
    batch = [problem.batches(step)] if hyper else []
    value: Any = getattr(problem, name)(weights, *hyper, *batch)
    if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
        found = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise ValueError(f"hypergradient: {name} must give a floating tensor without dimensions, got {found}")
    return value


@torch.enable_grad()
def _asking(values: Named) -> Named:
    """Copies whose gradients are followed, and which know whether they are written to."""
    return {name: value.detach().clone().requires_grad_().clone() for name, value in values.items()}
