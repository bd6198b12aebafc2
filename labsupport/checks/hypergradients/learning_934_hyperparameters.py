"""Checks of the exercises that belong to page `learning_934_hyperparameters`."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from labsupport.checks.draws import normal
from labsupport.checks.frame import check

__all__ = ["honest_gain", "learn_from_starts"]


def _gain(error: Callable[[Tensor, Tensor], Tensor]) -> Callable:
    """The answer with the right mean and this error, from the losses before and after."""

    def told(train_from: Callable, third_loss: Callable, first: Tensor, learnt: Tensor, starts: Sequence[int]) -> tuple:
        before, after = (
            torch.stack([third_loss(train_from(hyper, start)) for start in starts]) for hyper in (first, learnt)
        )
        return (before - after).mean(), error(before, after)

    return told


def _error(before: Tensor, after: Tensor) -> Tensor:
    return (before - after).std() / len(before) ** 0.5


def _training(generator: torch.Generator) -> list[tuple]:
    drawn = torch.rand(3, 9, generator=generator, dtype=torch.float64)
    first, learnt = drawn[2, :2].sort().values[[1, 0]] + torch.tensor([1.0, 0.0], dtype=torch.float64)

    def train_from(hyper: Tensor, start: int) -> Tensor:
        return torch.stack([hyper * (1 + drawn[0, start] / 4), 3 * drawn[1, start].to(hyper)])

    return [(train_from, torch.sum, first, learnt, [7, 2, 5, 1, 4, 8])]


@check(
    truth=_gain(_error),
    given=_training,
    returns="two numbers: the mean gain, and its standard error",
    wrong={
        "unpaired": (_gain(lambda before, after: ((before.var() + after.var()) / len(before)).sqrt()),
            "The error is that of two separate groups. Both were trained from the same starts: take the difference "
            "start by start, so that what a start brings to both falls out."),
        "a loss called a gain": (lambda train_from, third_loss, first, learnt, starts: _gain(_error)(
                train_from, third_loss, learnt, first, starts
            ),
            "The sign: a gain is the loss at the first coefficients minus that at the learnt ones."),
        "spread, not error": (_gain(lambda before, after: (before - after).std()),
            "This is the spread of the gains. The error of their mean is smaller, by √n."),
        "divided by n": (_gain(lambda before, after: (before - after).std() / len(before)),
            "The error of a mean falls with √n, and yours with n."),
        "n for n − 1": (_gain(lambda before, after: (before - after).std(correction=0) / len(before) ** 0.5),
            "The standard deviation from few starts needs n − 1 in its denominator."),
        "one start only": (lambda *given: _gain(_error)(*given[:4], [given[4][0]] * len(given[4])),
            "You train from one start all the time. One start is one case: take all that you are given."),
    },
)  # fmt: skip
def honest_gain(answer: Callable, generator: torch.Generator) -> str | None:
    """`honest_gain(train_from, third_loss, first, learnt, starts)`: mean and standard error of the paired gains."""


Slope = Callable[[Tensor, int], Tensor]


def _learnt(moves: Callable[[Tensor], Tensor] = torch.sign, shift: Callable[[int], int] = lambda k: k) -> Callable:
    """The answer that moves against moves(hypergradient), of start shift(k) in step k."""

    def told(logs: Tensor, slope: Slope, size: float, num_steps: int) -> Tensor:
        for k in range(num_steps):
            logs = logs - size * moves(slope(logs, shift(k)))
        return logs

    return told


def _from_the_first(logs: Tensor, slope: Slope, size: float, num_steps: int) -> Tensor:
    return logs - size * sum(slope(logs, k).sign() for k in range(num_steps))


def _pixels(generator: torch.Generator) -> list[tuple]:
    drawn = normal(generator, 12, 24)

    def slope(at: Tensor, k: int) -> Tensor:
        found = at.tanh() + 2 * drawn[1 + k].to(at) + 0.1 * (math.pi + k)
        return torch.cat([found[:-1], torch.zeros_like(found[:1])])  # the last pixel is dead

    return [(drawn[0], slope, 0.35, 9)]


@check(
    truth=_learnt(),
    given=_pixels,
    returns="the logarithms after the last step, a tensor like the one you were given",
    wrong={
        "one start": (_learnt(shift=lambda k: 0),
            "All your steps use start 0: that is how coefficients learn one start by heart."),
        "starts from one": (_learnt(shift=lambda k: k + 1),
            "Your first step uses start 1. The k-th of the steps, counted from 0, has start k."),
        "no sign": (_learnt(lambda slope: slope),
            "You step by the gradient. Its sign is asked for: DrMAD's lengths are wrong, its signs less so."),
        "uphill": (_learnt(lambda slope: -slope.sign()),
            "You add the sign: that climbs. The validation loss shall fall."),
        "gradients of the first place": (_from_the_first,
            "You take all hypergradients at the first coefficients. Each belongs at the place that the steps before it "
            "have reached."),
        "dead coefficients move": (_learnt(lambda slope: torch.where(slope > 0, 1.0, -1.0)),
            "The last coefficient has a hypergradient of exactly 0 and moved all the same. sign(0) is 0: what decides "
            "nothing must stay."),
        "one step only": (lambda logs, slope, size, num_steps: _learnt()(logs, slope, size, 1),
            "Only one step was made: is `return` inside of the loop?"),
    },
)  # fmt: skip
def learn_from_starts(answer: Callable, generator: torch.Generator) -> str | None:
    """`learn_from_starts(logs, slope, size, num_steps)`: sign steps, the k-th by the hypergradient from start k."""
