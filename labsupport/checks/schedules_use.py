"""Checks of the exercises of chapter `schedules` that belong to page `what_to_use`."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from labsupport.checks.frame import check

__all__ = ["average_weights", "paired_losses", "schedule_free_step"]


def _weights(num_steps: int, start: int) -> Tensor:
    left = num_steps - torch.arange(num_steps, dtype=torch.float64)
    return (left / (num_steps - start)).clamp(max=1.0)


@check(
    wrong={
        "every gradient counts alike": lambda num_steps, start: torch.ones(num_steps, dtype=torch.float64),
        "the start forgotten": lambda num_steps, start: _weights(num_steps, 0),
        "the other way round": lambda num_steps, start: _weights(num_steps, start).flip(0),
        "early gradients forgotten": lambda num_steps, start: (
            _weights(num_steps, start) * (torch.arange(num_steps) >= start)
        ),
        "one place too few": lambda num_steps, start: (
            ((num_steps - 1 - torch.arange(num_steps)) / (num_steps - start)).double().clamp(max=1.0)
        ),
        "weights that add up to 1": lambda num_steps, start: (
            _weights(num_steps, start) / _weights(num_steps, start).sum()
        ),
    }
)
def average_weights(answer: Callable, generator: torch.Generator) -> str | None:
    """`average_weights(num_steps, start)`: (num_steps,) factors of the gradients in the mean of the late places."""
    draws = torch.randint(3, 9, (3,), generator=generator).tolist()
    for num_steps, start in [(2 * draws[0], draws[0]), (3 * draws[1] + 1, 1), (draws[2] + 9, draws[2]), (7, 0)]:
        got, right = answer(num_steps, start), _weights(num_steps, start)
        where = f"With num_steps {num_steps} and start {start}"
        if not isinstance(got, Tensor) or got.shape != right.shape:
            return f"{where}: return a tensor with one factor for each of the {num_steps} gradients."
        if got.dtype != torch.float64:
            return f"{where}: the factors must be float64, yours are {got.dtype}."
        if not torch.allclose(got, right, atol=1e-9):
            return f"{where}: {_on_weights(got, right, start)}"
    return None


def _on_weights(got: Tensor, right: Tensor, start: int) -> str:
    if torch.allclose(got, torch.ones_like(right)):
        return "you count every gradient fully. The last one moved only the last of the places you average."
    if torch.allclose(got, right.flip(0)):
        return "these are the factors in the wrong order: the first gradient is in all places, the last in one."
    if torch.allclose(got, _weights(len(right), 0)):
        return "you average from the first step on. Places up to step `start` are not in the mean."
    if start and not got[:start].any():
        return "you forget the gradients before `start`. Every place in the mean has them behind it."
    if torch.isclose(got.sum(), torch.ones((), dtype=torch.float64)) and torch.allclose(got * right.sum(), right):
        return "your factors add up to 1. It is the places that are averaged: an early gradient is in all of them."
    if abs(float(got[-1])) < 1e-9:
        return "your last gradient counts nothing. It is in one place, the last."
    return (
        f"the first factors are {[round(v, 3) for v in got[:3].tolist()]}. In how many of the places is each gradient?"
    )


def _free_step(
    x: Tensor, z: Tensor, gradient: Callable, t: int, lr: float, beta: float, *, at: str = "y", share: int = 1
) -> tuple[Tensor, Tensor]:
    places = {"y": (1 - beta) * z + beta * x, "x": x, "z": z, "swapped": beta * z + (1 - beta) * x}
    z = z - lr * gradient(places[at])
    c = 1 / max(t + share, 1)
    return (1 - c) * x + c * z, z


def _late(x: Tensor, z: Tensor, gradient: Callable, t: int, lr: float, beta: float) -> tuple[Tensor, Tensor]:
    """The colleague's: the average takes z before it has moved."""
    c = 1 / (t + 1)
    return (1 - c) * x + c * z, z - lr * gradient((1 - beta) * z + beta * x)


@check(
    wrong={
        "the colleague's": _late,
        "the gradient at the average": partial(_free_step, at="x"),
        "the gradient at the fast place": partial(_free_step, at="z"),
        "the mixture swapped": partial(_free_step, at="swapped"),
        "a share of 1/t": partial(_free_step, share=0),
        "the pair swapped": lambda *all: _free_step(*all)[::-1],
    }
)
def schedule_free_step(answer: Callable, generator: torch.Generator) -> str | None:
    """`schedule_free_step(x, z, gradient, t, lr, beta)`: the next (x, z), t counted from 0."""
    x, z = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    slope = 0.5 + torch.rand(3, generator=generator, dtype=torch.float64)
    named = {
        "The average takes in z before it has moved: move z first.": _late,
        "The gradient must be taken at y, between z and x; yours is taken at x.": partial(_free_step, at="x"),
        "The gradient must be taken at y, between z and x; yours is taken at z.": partial(_free_step, at="z"),
        "Your y is nearer to the wrong one of the two: beta is the share of x.": partial(_free_step, at="swapped"),
        "Step 0 is the first: there the share of z is 1, and 1/(t + 1) after.": partial(_free_step, share=0),
        "Return first x, then z.": lambda *all: _free_step(*all)[::-1],
    }
    for t in (3, 1, 0):
        given = (x, z if t else x, lambda place: slope * place, t, 0.3, 0.8)
        got, right = answer(*given), _free_step(*given)
        if not isinstance(got, tuple) or [getattr(part, "shape", None) for part in got] != [x.shape] * 2:
            return "Return two tensors, x and z, in the shape of those given."
        if any(part.dtype != torch.float64 for part in got):
            return "Keep the dtype of what is given, here float64."
        if not _close(got, right):
            for message, wrong in named.items():
                if _close(got, wrong(*given)):
                    return f"At t = {t}: {message}"
            wrong = "x" if torch.allclose(got[1], right[1]) else "z"
            return f"At t = {t} {wrong} is wrong. Take the three lines in order."
    return None


def _close(got: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(torch.allclose(a, b, atol=1e-9) for a, b in zip(got, other, strict=True))


def _picked(valid: Tensor, test: Tensor, by: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """(schedules, seeds): the test losses at the rate that `by` picks for each schedule."""
    return test[torch.arange(len(test)), by(valid, test)]


def _paired(losses: Tensor) -> tuple[Tensor, Tensor]:
    difference = losses - losses[:1]
    return difference.mean(1), difference.std(1) / losses.shape[1] ** 0.5


def _own(valid: Tensor, test: Tensor) -> Tensor:
    return valid.mean(2).argmin(1)


def _shared(valid: Tensor, test: Tensor) -> Tensor:
    return valid.mean((0, 2)).argmin().expand(len(valid))


def _unpaired(losses: Tensor) -> tuple[Tensor, Tensor]:
    squares = losses.var(1) / losses.shape[1]
    return losses.mean(1) - losses[0].mean(), (squares + squares[0]).sqrt()


@check(
    wrong={
        "the rate picked by the test losses": lambda valid, test: _paired(
            _picked(valid, test, lambda valid, test: test.mean(2).argmin(1))
        ),
        "one rate for all": lambda valid, test: _paired(_picked(valid, test, _shared)),
        "the luckiest seed": lambda valid, test: _paired(
            _picked(valid, test, lambda valid, test: valid.amin(2).argmin(1))
        ),
        "seeds not paired": lambda valid, test: _unpaired(_picked(valid, test, _own)),
        "the spread instead of the error": lambda valid, test: (
            _paired(_picked(valid, test, _own))[0],
            _paired(_picked(valid, test, _own))[1] * test.shape[2] ** 0.5,
        ),
        "the sign": lambda valid, test: (
            -_paired(_picked(valid, test, _own))[0],
            _paired(_picked(valid, test, _own))[1],
        ),
    }
)
def paired_losses(answer: Callable, generator: torch.Generator) -> str | None:
    """`paired_losses(valid, test)`: mean and standard error (schedules,) of the differences from schedule 0."""
    valid, test = _contest(generator)
    kept, right = _picked(valid, test, _own), _paired(_picked(valid, test, _own))
    got = answer(valid, test)
    if not isinstance(got, tuple) or [getattr(part, "shape", None) for part in got] != [(4,), (4,)]:
        return "Return two tensors, means and standard errors, with an entry for each schedule, 0 for the first."
    if any(part.dtype != torch.float64 for part in got):
        return "Keep the dtype of what is given, here float64."
    if _close(got, right):
        return None
    for message, pick in {
        "You picked the rates by the losses you report: so each schedule is flattered by its luck on the test.": (
            lambda valid, test: test.mean(2).argmin(1)
        ),
        "You gave all schedules one rate. The one it happens to suit wins.": _shared,
        "You picked the rate by its luckiest network. Use the mean over seeds.": (
            lambda valid, test: valid.amin(2).argmin(1)
        ),
    }.items():
        if torch.allclose(got[0], _paired(_picked(valid, test, pick))[0]):
            return message
    if torch.allclose(got[0], -right[0]):
        return "The sign: a schedule that is worse than the first has a positive difference."
    if not torch.allclose(got[0], right[0]):
        return "The means are wrong. Pick a rate for each schedule by the mean of `valid`, then average `test` there."
    if torch.allclose(got[1], _unpaired(kept)[1]):
        return "The errors ignore that the seeds are the same: take the differences seed by seed, then their spread."
    if torch.allclose(got[1], right[1] * test.shape[2] ** 0.5):
        return "You returned the spread of the differences. The error of their mean is smaller, by √(seeds)."
    return "The means are right, the errors are not: standard deviation of the differences (n − 1) over √n."


def _contest(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Losses (4 schedules, 5 rates, 12 or 16 seeds) whose best rates differ, with seeds that matter for all alike."""

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    best = torch.tensor([1.0, 2.0, 3.0, 3.0], dtype=torch.float64)
    bowl = 1.0 + 0.1 * (torch.arange(5, dtype=torch.float64) - best[:, None]).square()
    valid = bowl[:, :, None] + 0.02 * noise(4, 5, 12)
    test = bowl[:, :, None] + 0.1 * noise(16) + 0.02 * noise(4, 5, 16)
    at = best.long()
    test[torch.arange(4), at - 1] -= 0.2  # on the test part another rate is the luckiest
    valid[torch.arange(4), at + 1, 0] -= 0.9  # and on the validation part one network is
    valid[torch.arange(4), at + 1, 1] += 0.9
    return valid, test
