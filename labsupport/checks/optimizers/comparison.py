"""Checks of the exercises that belong to page `comparison`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.compare import exactly
from labsupport.checks.draws import normal, uniform
from labsupport.checks.frame import check

__all__ = ["lion_step", "tuned_difference"]

Pair = tuple[float, float]


def _summary(difference: Tensor) -> Pair:
    return float(difference.mean()), float(difference.std() / math.sqrt(len(difference)))


def _tuned(fresh: Tensor, by: Tensor) -> Tensor:
    return fresh[by.mean(1).argmin()]


def _paired(valid_a: Tensor, test_a: Tensor, valid_b: Tensor, test_b: Tensor) -> Pair:
    return _summary(_tuned(test_a, valid_a) - _tuned(test_b, valid_b))


def _unpaired(va: Tensor, ta: Tensor, vb: Tensor, tb: Tensor) -> Pair:
    a, b = _tuned(ta, va), _tuned(tb, vb)
    return float(a.mean() - b.mean()), math.hypot(_summary(a)[1], _summary(b)[1])


def _luckiest(valid: Tensor, test: Tensor) -> Tensor:
    return test[int(valid.argmin()) // valid.shape[1]]


def _example(generator: torch.Generator) -> list[tuple]:
    """Two optimizers with best rates of their own, another best rate on the test, and a lucky seed elsewhere."""
    noise, own = normal(generator, 4, 7, 12), normal(generator, 12)  # what a seed's start is worth, to both
    place = torch.arange(7, dtype=torch.float64)[:, None]
    bowls = [(place - best) ** 2 + 5 for best in (2, 1, 4, 5)]  # valid a, test a, valid b, test b
    va, ta, vb, tb = (bowl + 0.05 * part for bowl, part in zip(bowls, noise, strict=True))
    va[0, 0], vb[6, 1] = 0.5, 0.7
    return [(va, ta + own, vb, tb + own)]


@check(
    truth=_paired,
    given=_example,
    returns="a pair: the difference and its standard error",
    wrong={
        "tuned on the test": (lambda va, ta, vb, tb: _summary(_tuned(ta, ta) - _tuned(tb, tb)),
            "You choose the rate by the errors that you report. Choose by the validation errors."),
        "one rate for both": (lambda va, ta, vb, tb: _summary(_tuned(ta, va + vb) - _tuned(tb, va + vb)),
            "You use one rate for both. Each optimizer needs the rate that is best for it."),
        "the luckiest seed chooses the rate": (lambda va, ta, vb, tb: _summary(_luckiest(va, ta) - _luckiest(vb, tb)),
            "One lucky seed chooses your rate. Choose by the mean over the seeds."),
        "the validation errors are reported": (lambda va, ta, vb, tb: _summary(_tuned(va, va) - _tuned(vb, vb)),
            "You report the errors that chose the rate. Report those of the fresh seeds."),
        "not paired": (_unpaired,
            "You treat the two samples as independent. Seed i has the same start in both: take differences first."),
        "the spread, not the error of the mean": (lambda va, ta, vb, tb: (
                _paired(va, ta, vb, tb)[0], _paired(va, ta, vb, tb)[1] * math.sqrt(ta.shape[1])
            ),
            "Your error is the spread of one seed's difference. That of the mean is smaller by √(number of seeds)."),
        "the other way round": (lambda va, ta, vb, tb: _paired(vb, tb, va, ta),
            "The sign is wrong: asked for is the error of the first less that of the second."),
        "no standard error": (lambda va, ta, vb, tb: _paired(va, ta, vb, tb)[0],
            "Return a pair: the difference and its standard error. You returned one number."),
    },
)  # fmt: skip
def tuned_difference(answer: Callable, generator: torch.Generator) -> str | None:
    """`tuned_difference(valid_a, test_a, valid_b, test_b)`: difference of two tuned optimizers and its error."""


def _lion(w: Tensor, g: Tensor, m: Tensor, lr: float, beta1: float, beta2: float) -> tuple[Tensor, Tensor]:
    return w - lr * (beta1 * m + (1 - beta1) * g).sign(), beta2 * m + (1 - beta2) * g


def _along(way: Callable) -> Callable:
    """Lion that steps along way(g, m, β₁, β₂) instead."""
    return lambda w, g, m, lr, b1, b2: (w - lr * way(g, m, b1, b2), _lion(w, g, m, lr, b1, b2)[1])


@check(
    truth=_lion,
    given=lambda generator: [(*normal(generator, 3, 400), 0.01 + uniform(generator), 0.6, 0.9)],
    same=exactly,
    returns="two tensors: the new weight and the new mean",
    wrong={
        "no sign": (_along(lambda g, m, b1, b2: b1 * m + (1 - b1) * g),
            "Every entry must move by exactly lr, up or down: take the sign of what you step along."),
        "sign of the gradient": (_along(lambda g, m, b1, b2: g.sign()),
            "You step along the sign of the gradient alone; the mean must have its share, beta1."),
        "sign of the new mean": (_along(lambda g, m, b1, b2: (b2 * m + (1 - b2) * g).sign()),
            "You step along a mix with beta2. It forgets more slowly and is what is kept; the step mixes with beta1."),
        "sign of the old mean": (_along(lambda g, m, b1, b2: m.sign()),
            "You step along the old mean alone; the new gradient must have its share, 1 − beta1."),
        "betas exchanged": (lambda w, g, m, lr, b1, b2: _lion(w, g, m, lr, b2, b1),
            "beta1 and beta2 are exchanged: beta1 mixes the step, beta2 the mean that is kept."),
        "one beta for both": (lambda w, g, m, lr, b1, b2: _lion(w, g, m, lr, b1, b1),
            "The mean that is kept must forget with beta2; yours forgets with beta1."),
        "uphill": (_along(lambda g, m, b1, b2: -(b1 * m + (1 - b1) * g).sign()),
            "Your step leads uphill: subtract it."),
        "the mean keeps the sign": (
            lambda w, g, m, lr, b1, b2: (_lion(w, g, m, lr, b1, b2)[0], b2 * m + (1 - b2) * g.sign()),
            "The step is right. The new mean is beta2 · mean + (1 − beta2) · grad, without any sign."),
        "single precision": (lambda w, g, m, lr, b1, b2: tuple(x.float() for x in _lion(w, g, m, lr, b1, b2)),
            "The weights are float64, and you returned float32: keep the dtype."),
    },
)  # fmt: skip
def lion_step(answer: Callable, generator: torch.Generator) -> str | None:
    """`lion_step(weight, grad, mean, lr, beta1, beta2)`: the new weight and the new mean."""
