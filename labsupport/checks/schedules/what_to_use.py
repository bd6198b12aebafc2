"""Checks of the exercises that belong to page `what_to_use`."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from labsupport.checks.compare import exactly
from labsupport.checks.draws import normal, whole
from labsupport.checks.frame import check

__all__ = ["average_weights", "paired_losses", "schedule_free_step"]

Pair = tuple[Tensor, Tensor]


def _weights(num_steps: int, start: int, *, last: int = 0) -> Tensor:
    left = num_steps - last - torch.arange(num_steps, dtype=torch.float64)
    return (left / (num_steps - start)).clamp(max=1.0)


def _averages(generator: torch.Generator) -> dict[str, tuple]:
    a, b, c = (whole(generator, 3, 8) for _ in range(3))
    cases = [(2 * a, a), (3 * b + 1, 1), (c + 9, c), (7, 0)]
    return {f"With num_steps {case[0]} and start {case[1]}": case for case in cases}


@check(
    truth=_weights,
    given=_averages,
    same=exactly,
    returns="a tensor with one factor for each of the gradients",
    wrong={
        "every gradient counts alike": (lambda num_steps, start: torch.ones(num_steps, dtype=torch.float64),
            "you count every gradient fully. The last one moved only the last of the places you average."),
        "the start forgotten": (lambda num_steps, start: _weights(num_steps, 0),
            "you average from the first step on. Places up to step `start` are not in the mean."),
        "the other way round": (lambda num_steps, start: _weights(num_steps, start).flip(0),
            "these are the factors in the wrong order: the first gradient is in all places, the last in one."),
        "early gradients forgotten": (
            lambda num_steps, start: _weights(num_steps, start) * (torch.arange(num_steps) >= start),
            "you forget the gradients before `start`. Every place in the mean has them behind it."),
        "one place too few": (lambda num_steps, start: _weights(num_steps, start, last=1),
            "your last gradient counts nothing. It is in one place, the last."),
        "weights that add up to 1": (
            lambda num_steps, start: _weights(num_steps, start) / _weights(num_steps, start).sum(),
            "your factors add up to 1. It is the places that are averaged: an early gradient is in all of them."),
    },
)  # fmt: skip
def average_weights(answer: Callable, generator: torch.Generator) -> str | None:
    """`average_weights(num_steps, start)`: (num_steps,) factors of the gradients in the mean of the late places."""


def _free_step(
    x: Tensor, z: Tensor, gradient: Callable, t: int, lr: float, beta: float, *, at: str = "y", share: int = 1
) -> Pair:
    places = {"y": (1 - beta) * z + beta * x, "x": x, "z": z, "swapped": beta * z + (1 - beta) * x}
    z = z - lr * gradient(places[at])
    c = 1 / max(t + share, 1)
    return (1 - c) * x + c * z, z


def _late(x: Tensor, z: Tensor, gradient: Callable, t: int, lr: float, beta: float) -> Pair:
    """The colleague's: the average takes z before it has moved."""
    c = 1 / (t + 1)
    return (1 - c) * x + c * z, z - lr * gradient((1 - beta) * z + beta * x)


def _walk(generator: torch.Generator) -> dict[str, tuple]:
    x, z, slope = normal(generator, 3), normal(generator, 3), 0.5 + normal(generator, 3).abs()
    return {
        f"At t = {t}": (x, z if t else x, lambda place: slope.to(place) * place, t, 0.3, 0.8) for t in (3, 1, 0)
    }  # fmt: skip


@check(
    truth=_free_step,
    given=_walk,
    returns="two tensors, x and z, in the shape of those given",
    wrong={
        "the colleague's": (_late, "the average takes in z before it has moved: move z first."),
        "the gradient at the average": (partial(_free_step, at="x"),
            "the gradient must be taken at y, between z and x; yours is taken at x."),
        "the gradient at the fast place": (partial(_free_step, at="z"),
            "the gradient must be taken at y, between z and x; yours is taken at z."),
        "the mixture swapped": (partial(_free_step, at="swapped"),
            "your y is nearer to the wrong one of the two: beta is the share of x."),
        "a share of 1/t": (partial(_free_step, share=0),
            "step 0 is the first: there the share of z is 1, and 1/(t + 1) after."),
        "the pair swapped": (lambda *given: _free_step(*given)[::-1], "return first x, then z."),
    },
)  # fmt: skip
def schedule_free_step(answer: Callable, generator: torch.Generator) -> str | None:
    """`schedule_free_step(x, z, gradient, t, lr, beta)`: the next (x, z), t counted from 0."""


def _paired(losses: Tensor) -> Pair:
    difference = losses - losses[:1]
    return difference.mean(1), difference.std(1) / losses.shape[1] ** 0.5


def _picked(by: Callable[[Tensor, Tensor], Tensor], told: Callable[[Tensor], Pair] = _paired) -> Callable:
    """The answer that picks a rate for each schedule by by(valid, test) and tells this of the test losses there."""
    return lambda valid, test: told(test[torch.arange(len(test)), by(valid, test)])


def _own(valid: Tensor, test: Tensor) -> Tensor:
    return valid.mean(2).argmin(1)


def _unpaired(losses: Tensor) -> Pair:
    squares = losses.var(1) / losses.shape[1]
    return losses.mean(1) - losses[0].mean(), (squares + squares[0]).sqrt()


def _contest(generator: torch.Generator) -> list[tuple]:
    """Losses (4 schedules, 5 rates, 12 or 16 seeds) whose best rates differ, with seeds that matter for all alike."""
    best = torch.tensor([1, 2, 3, 3])
    bowl = 1.0 + 0.1 * (torch.arange(5, dtype=torch.float64) - best[:, None]).square()
    valid = bowl[:, :, None] + 0.02 * normal(generator, 4, 5, 12)
    test = bowl[:, :, None] + 0.1 * normal(generator, 16) + 0.02 * normal(generator, 4, 5, 16)
    test[torch.arange(4), best - 1] -= 0.2  # on the test part another rate is the luckiest
    valid[torch.arange(4), best + 1, 0] -= 0.9  # and on the validation part one network is
    valid[torch.arange(4), best + 1, 1] += 0.9
    return [(valid, test)]


@check(
    truth=_picked(_own),
    given=_contest,
    returns="two tensors, means and standard errors, with an entry for each schedule, 0 for the first",
    wrong={
        "the rate picked by the test losses": (_picked(lambda valid, test: test.mean(2).argmin(1)),
            "You picked the rates by the losses you report: so each schedule is flattered by its luck on the test."),
        "one rate for all": (_picked(lambda valid, test: valid.mean((0, 2)).argmin().expand(len(valid))),
            "You gave all schedules one rate. The one it happens to suit wins."),
        "the luckiest seed": (_picked(lambda valid, test: valid.amin(2).argmin(1)),
            "You picked the rate by its luckiest network. Use the mean over seeds."),
        "seeds not paired": (_picked(_own, _unpaired),
            "The errors ignore that the seeds are the same: take the differences seed by seed, then their spread."),
        "the spread instead of the error": (
            _picked(_own, lambda losses: (_paired(losses)[0], (losses - losses[:1]).std(1))),
            "You returned the spread of the differences. The error of their mean is smaller, by √(seeds)."),
        "the sign": (_picked(_own, lambda losses: (-_paired(losses)[0], _paired(losses)[1])),
            "The sign: a schedule that is worse than the first has a positive difference."),
    },
)  # fmt: skip
def paired_losses(answer: Callable, generator: torch.Generator) -> str | None:
    """`paired_losses(valid, test)`: mean and standard error (schedules,) of the differences from schedule 0."""
