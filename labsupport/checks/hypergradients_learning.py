"""Checks of the exercises of chapter `hypergradients` that belong to `learning_934_hyperparameters`."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from labsupport.checks.frame import check

__all__ = ["honest_gain", "learn_from_starts"]

Pair = tuple[Tensor, Tensor]


def _losses(train_from: Callable, third_loss: Callable, hyper: Tensor, starts: Sequence[int]) -> Tensor:
    return torch.stack([third_loss(train_from(hyper, start)) for start in starts])


def _paired(train_from: Callable, third_loss: Callable, first: Tensor, learnt: Tensor, starts: Sequence[int]) -> Pair:
    before, after = (_losses(train_from, third_loss, hyper, starts) for hyper in (first, learnt))
    gain = before - after
    return gain.mean(), gain.std() / len(starts) ** 0.5


def _unpaired(train_from: Callable, third_loss: Callable, first: Tensor, learnt: Tensor, starts: Sequence[int]) -> Pair:
    before, after = (_losses(train_from, third_loss, hyper, starts) for hyper in (first, learnt))
    return before.mean() - after.mean(), ((before.var() + after.var()) / len(starts)).sqrt()


def _biased(train_from: Callable, third_loss: Callable, first: Tensor, learnt: Tensor, starts: Sequence[int]) -> Pair:
    before, after = (_losses(train_from, third_loss, hyper, starts) for hyper in (first, learnt))
    return (before - after).mean(), (before - after).std(correction=0) / len(starts) ** 0.5


@check(
    wrong={
        "unpaired": _unpaired,
        "a loss called a gain": lambda *given: (-_paired(*given)[0], _paired(*given)[1]),
        "spread, not error": lambda *given: (_paired(*given)[0], _paired(*given)[1] * len(given[4]) ** 0.5),
        "divided by n": lambda *given: (_paired(*given)[0], _paired(*given)[1] / len(given[4]) ** 0.5),
        "n for n − 1": _biased,
        "one start only": lambda train_from, third_loss, first, learnt, starts: _paired(
            train_from, third_loss, first, learnt, [starts[0]] * len(starts)
        ),
        "single precision": lambda *given: tuple(part.float() for part in _paired(*given)),
    }
)
def honest_gain(answer: Callable, generator: torch.Generator) -> str | None:
    """`honest_gain(train_from, third_loss, first, learnt, starts)`: mean and standard error of the paired gains."""
    drawn = torch.rand(3, 9, generator=generator, dtype=torch.float64)
    first, learnt = drawn[2, :2].sort().values[[1, 0]] + torch.tensor([1.0, 0.0], dtype=torch.float64)

    def train_from(hyper: Tensor, start: int) -> Tensor:
        return torch.stack([hyper * (1 + drawn[0, start] / 4), 3 * drawn[1, start]])

    given = (train_from, torch.sum, first, learnt, [7, 2, 5, 1, 4, 8])
    got, truth = answer(*given), _paired(*given)
    if not isinstance(got, tuple) or len(got) != 2 or not all(isinstance(part, Tensor) for part in got):
        return "Return two tensors without dimensions: the mean gain, and its standard error."
    if any(part.dtype != torch.float64 for part in got):
        return "The losses are float64 and the answer is not: no conversion is needed here."
    if not torch.allclose(got[0], truth[0]):
        if torch.allclose(got[0], -truth[0]):
            return "The sign: a gain is the loss at the first coefficients minus that at the learnt ones."
        if torch.allclose(got[0], honest_gain.wrong["one start only"](*given)[0]):
            return "You train from one start all the time. One start is one case: take all that you are given."
        return f"The mean gain should be {truth[0]:.4f}; you found {got[0]:.4f}."
    named = {
        "unpaired": "The error is that of two separate groups. Both were trained from the same starts: take the "
        "difference start by start, so that what a start brings to both falls out.",
        "spread, not error": "This is the spread of the gains. The error of their mean is smaller, by √n.",
        "divided by n": "The error of a mean falls with √n, and yours with n.",
        "n for n − 1": "The standard deviation from few starts needs n − 1 in its denominator.",
    }
    for name, message in named.items():
        if torch.allclose(got[1], honest_gain.wrong[name](*given)[1]):
            return message
    if not torch.allclose(got[1], truth[1]):
        return f"The standard error should be {truth[1]:.4f}; you found {got[1]:.4f}."
    return None


Slope = Callable[[Tensor, int], Tensor]


def _learnt(logs: Tensor, slope: Slope, size: float, num_steps: int) -> Tensor:
    for k in range(num_steps):
        logs = logs - size * slope(logs, k).sign()
    return logs


def _raw(logs: Tensor, slope: Slope, size: float, num_steps: int) -> Tensor:
    for k in range(num_steps):
        logs = logs - size * slope(logs, k)
    return logs


def _from_the_first(logs: Tensor, slope: Slope, size: float, num_steps: int) -> Tensor:
    return logs - size * sum(slope(logs, k).sign() for k in range(num_steps))


def _dead_move(logs: Tensor, slope: Slope, size: float, num_steps: int) -> Tensor:
    for k in range(num_steps):
        logs = torch.where(slope(logs, k) > 0, logs - size, logs + size)
    return logs


@check(
    wrong={
        "one start": lambda logs, slope, size, num_steps: _learnt(logs, lambda at, k: slope(at, 0), size, num_steps),
        "starts from one": lambda logs, slope, size, n: _learnt(logs, lambda at, k: slope(at, k + 1), size, n),
        "no sign": _raw,
        "uphill": lambda logs, slope, size, num_steps: _learnt(logs, slope, -size, num_steps),
        "gradients of the first place": _from_the_first,
        "dead coefficients move": _dead_move,
        "one step only": lambda logs, slope, size, num_steps: _learnt(logs, slope, size, 1),
        "single precision": lambda *given: _learnt(*given).float(),
    }
)
def learn_from_starts(answer: Callable, generator: torch.Generator) -> str | None:
    """`learn_from_starts(logs, slope, size, num_steps)`: sign steps, the k-th by the hypergradient from start k."""
    drawn = torch.randn(12, 8, generator=generator, dtype=torch.float64)
    logs = drawn[0].clone()

    def slope(at: Tensor, k: int) -> Tensor:
        found = at.tanh() + 2 * drawn[1 + k] + 0.1 * (math.pi + k)
        return torch.cat([found[:-1], torch.zeros_like(found[:1])])  # the last pixel is dead

    args = (logs, slope, 0.35, 9)
    got, truth = answer(*args), _learnt(*args)
    if not isinstance(got, Tensor) or got.shape != truth.shape:
        return "Return the logarithms after the last step, a tensor like the one you were given."
    if got.dtype != torch.float64:
        return "The logarithms came back in another dtype than they went in: no conversion is needed here."
    named = {
        "one start": "All your steps use start 0: that is how coefficients learn one start by heart.",
        "starts from one": "Your first step uses start 1. The k-th of the steps, counted from 0, has start k.",
        "no sign": "You step by the gradient. Its sign is asked for: DrMAD's lengths are wrong, its signs less so.",
        "uphill": "You add the sign: that climbs. The validation loss shall fall.",
        "gradients of the first place": "You take all hypergradients at the first coefficients. Each belongs at the "
        "place that the steps before it have reached.",
        "dead coefficients move": "The last coefficient has a hypergradient of exactly 0 and moved all the same. "
        "sign(0) is 0: what decides nothing must stay.",
        "one step only": "Only one step was made: is `return` inside of the loop?",
    }
    for name, message in named.items():
        if torch.allclose(got, learn_from_starts.wrong[name](*args)):
            return message
    if not torch.allclose(got, truth):
        return f"It should begin with {truth[0]:.3f}, {truth[1]:.3f}; you found {got[0]:.3f}, {got[1]:.3f}."
    return None
