"""The way back: from the end of training to its start, along whatever weights a method has kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from labsupport.hypergradients.problem import Hypergradient, Named, Problem, length, momentum_at, rates_at
from labsupport.hypergradients.runs import Run
from labsupport.hypergradients.steps import Adjoints
from labsupport.optimizers.rule import zeros

__all__ = ["CHECK_EVERY", "Tape", "along", "check_end", "check_growth", "clock", "descend", "judged"]

CHECK_EVERY = 50  # steps between two looks at whether numbers are finite: a look waits for the device


class Tape(Protocol):
    """What a method keeps of a training run.

    Attributes:
        stride: steps of training between two weights that `back` gives.
        num_bytes: what it keeps, the largest at any time.
        velocity_before: that of the earliest place; None where it is zero.
    """

    stride: float
    num_bytes: int
    velocity_before: dict[str, Tensor] | None

    def keep(self, step: int, weights: Named, velocity: Named) -> None:
        """See the weights before step `step`, last of all those after training."""

    def back(self) -> Iterator[tuple[int, Named]]:
        """From last to first: a step, whose batch and rates are to be used, and the weights there."""


def along(tape: Tape, run: Run, *, train: Callable[[], Named] | None = None) -> Hypergradient:
    """Train, keep what the tape keeps, and go back along it; `train`, if given, trains in a tape's own way."""
    started = clock(run.problem)
    weights = descend(run, tape) if train is None else train()
    turned, kept = clock(run.problem), tape.num_bytes
    value, slope = judged(run.problem, weights)
    check_end(run, weights, value)
    grad, norms = _ascend(tape, run, weights, slope)
    seconds = turned - started, clock(run.problem) - turned
    return Hypergradient(grad, value, weights, kept, *seconds, len(norms), norms)


def descend(run: Run, tape: Tape | None = None) -> Named:
    """Train from the start and show the tape, if there is one, every place.

    Raises:
        FloatingPointError: weights stop being finite; the message names the step.
    """
    weights = {name: value.detach().clone() for name, value in run.problem.weights.items()}
    velocity, num_steps = zeros(weights), run.problem.num_steps
    for first in range(0, num_steps, CHECK_EVERY):
        before = weights, velocity
        for step in range(first, min(first + CHECK_EVERY, num_steps)):
            if tape is not None:
                tape.keep(step, weights, velocity)
            weights, velocity = run.forward(weights, velocity, step)
        if not _whole(weights):
            raise FloatingPointError(_stopped(run, *before, first))
    if tape is not None:
        tape.keep(num_steps, weights, velocity)
    return weights


def judged(problem: Problem, weights: Named) -> tuple[float, Named]:
    """The validation loss and its gradient."""
    at = {name: value.detach().requires_grad_() for name, value in weights.items()}
    with torch.enable_grad():
        value = problem.valid_loss(at)
    slope = torch.autograd.grad(value, list(at.values()), materialize_grads=True)
    return float(value.detach()), dict(zip(at, slope, strict=True))


def check_end(run: Run, weights: Named, valid_loss: float) -> None:
    """Raise FloatingPointError, naming the step, unless weights and loss after training are finite."""
    if not _whole(weights):
        descend(run)
    if not math.isfinite(valid_loss):
        raise FloatingPointError(f"hypergradient: valid_loss must be finite after training, got {valid_loss}")


def check_growth(recent: list[tuple[int, Tensor]], start: Tensor, limit: float) -> None:
    """Raise FloatingPointError unless the adjoint's recent lengths, (step, ‖a_w‖), stay below `limit` times `start`."""
    if not recent or limit == math.inf:
        return
    lengths = torch.stack([each for _, each in recent])
    over = (~(lengths <= limit * start)).nonzero()
    if len(over):
        at = int(over[0])
        raise FloatingPointError(
            f"hypergradient: the adjoint must stay below {limit:g} times its start, got "
            f"{float(lengths[at] / start):.2g} at step {recent[at][0]}: take fewer steps back, keep more knots, or "
            "train with a smaller rate"
        )


def clock(problem: Problem) -> float:
    """Seconds, when all that was asked of the device is done."""
    if next(iter(problem.weights.values())).is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def _ascend(tape: Tape, run: Run, weights: Named, slope: Named) -> tuple[Named, Tensor]:
    """The gradient by the hyperparameters, and the adjoint's length after each step back."""
    adjoints, start = Adjoints(slope, zeros(slope), zeros(run.hyper)), length(slope)
    learner = _Learner(run, tape.stride, weights) if run.problem.learns_rates else None
    norms: list[tuple[int, Tensor]] = []
    for step, place in tape.back():
        after = adjoints
        adjoints, u, norm = run.back(place, after, step)
        if learner is not None:
            learner.see(step, place, after.weights, u)
        norms.append((step, norm))
        if len(norms) % CHECK_EVERY == 0:
            check_growth(norms[-CHECK_EVERY:], start, run.limit)
    check_growth(norms[-CHECK_EVERY:], start, run.limit)
    if learner is not None and tape.velocity_before is not None:
        learner.see_velocity(tape.velocity_before)
    grad = adjoints.hyper if learner is None else {k: v + learner.grad[k] for k, v in adjoints.hyper.items()}
    return grad, torch.stack([norm for _, norm in norms]).cpu()


class _Learner:
    """What comes through rates and momentum, where these depend on the hyperparameters.

    A step's velocity is not kept: it is the way between two kept places, divided by the rate and the stride.
    """

    def __init__(self, run: Run, stride: float, weights: Named) -> None:
        self.problem, self.stride, self.later = run.problem, stride, weights
        self.grad = zeros(run.hyper)
        self.hyper = {name: value.detach().requires_grad_() for name, value in run.hyper.items()}
        self.waiting: tuple[int, Named] | None = None

    def see(self, step: int, place: Named, by_weights: Named, u: Named) -> None:
        """A step back: the weights before it, the derivative by those after it, that by its new velocity."""
        with torch.enable_grad():
            rates = rates_at(self.problem, self.hyper, step)
        for name, rate in rates.items():
            if not bool((rate > 0).all()):
                low = float(rate.detach().min())
                raise ValueError(f"hypergradient: lr must stay above 0 where it is learnt, got {low} for {name!r}")
        velocity = {name: (w - self.later[name]) / (self.stride * rates[name].detach()) for name, w in place.items()}
        pulls = {name: (-by_weights[name] * v).sum_to_size(rates[name].shape) for name, v in velocity.items()}
        self._add([(rates[name], pulls[name]) for name in rates])
        self.see_velocity(velocity)
        self.waiting, self.later = (step, u), place

    def see_velocity(self, velocity: Named) -> None:
        """The velocity before the step seen last, which its momentum multiplied."""
        if self.waiting is not None:
            later, u_later = self.waiting
            with torch.enable_grad():
                rho = momentum_at(self.problem, self.hyper, later)
            self._add([(rho, sum((u_later[name] * v).sum() for name, v in velocity.items()))])

    def _add(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        pairs = [(made, pull) for made, pull in pairs if made.requires_grad]
        if pairs:
            made, pulls = zip(*pairs, strict=True)
            parts = torch.autograd.grad(made, list(self.hyper.values()), pulls, materialize_grads=True)
            self.grad = {name: self.grad[name] + part for name, part in zip(self.grad, parts, strict=True)}


def _stopped(run: Run, weights: Named, velocity: Named, step: int) -> str:
    """Where weights stop being finite, found by making the steps again."""
    while _whole(weights):
        weights, velocity = run.forward(weights, velocity, step)
        step += 1
    return f"hypergradient: weights must stay finite, got others after step {step - 1}: lower the learning rate"


def _whole(values: Named) -> bool:
    return all(bool(value.isfinite().all()) for value in values.values())
