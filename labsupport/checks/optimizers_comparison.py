"""Checks of the exercises of chapter `optimizers` that belong to page `comparison`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.frame import check

__all__ = ["lion_step", "tuned_difference"]


def _tuned(fresh: Tensor, by: Tensor) -> Tensor:
    return fresh[by.mean(1).argmin()]


def _summary(difference: Tensor) -> tuple[float, float]:
    return float(difference.mean()), float(difference.std() / math.sqrt(len(difference)))


def _unpaired(valid_a: Tensor, test_a: Tensor, valid_b: Tensor, test_b: Tensor) -> tuple[float, float]:
    a, b = _tuned(test_a, valid_a), _tuned(test_b, valid_b)
    return float(a.mean() - b.mean()), math.hypot(*(float(part.std()) / math.sqrt(len(part)) for part in (a, b)))


def _paired(valid_a: Tensor, test_a: Tensor, valid_b: Tensor, test_b: Tensor) -> tuple[float, float]:
    return _summary(_tuned(test_a, valid_a) - _tuned(test_b, valid_b))


def _luckiest(valid: Tensor, test: Tensor) -> Tensor:
    return test[int(valid.argmin()) // valid.shape[1]]


@check(
    wrong={
        "tuned on the test": lambda va, ta, vb, tb: _summary(_tuned(ta, ta) - _tuned(tb, tb)),
        "one rate for both": lambda va, ta, vb, tb: _summary(_tuned(ta, va + vb) - _tuned(tb, va + vb)),
        "the luckiest seed chooses the rate": lambda va, ta, vb, tb: _summary(_luckiest(va, ta) - _luckiest(vb, tb)),
        "the validation errors are reported": lambda va, ta, vb, tb: _summary(_tuned(va, va) - _tuned(vb, vb)),
        "not paired": _unpaired,
        "the spread, not the error of the mean": lambda va, ta, vb, tb: (
            _paired(va, ta, vb, tb)[0], _paired(va, ta, vb, tb)[1] * math.sqrt(ta.shape[1])
        ),
        "the other way round": lambda va, ta, vb, tb: _paired(vb, tb, va, ta),
        "no standard error": lambda va, ta, vb, tb: _paired(va, ta, vb, tb)[0],
    }
)  # fmt: skip
def tuned_difference(answer: Callable, generator: torch.Generator) -> str | None:
    """`tuned_difference(valid_a, test_a, valid_b, test_b)`: difference of two tuned optimizers and its error."""
    given = _example(generator)
    got = answer(*given)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        return f"Return a pair: the difference and its standard error. You returned {got!r:.60}."
    effect, error = (float(part) for part in got)
    expected, right = _paired(*given)
    if _near(effect, -expected):
        return "The sign is wrong: asked for is the error of the first less that of the second."
    for name, complaint in _COMPLAINTS.items():
        if _near(effect, tuned_difference.wrong[name](*given)[0]):
            return complaint
    if not _near(effect, expected):
        return f"The difference should be {expected:.3f}; you found {effect:.3f}."
    if _near(error, right * math.sqrt(given[1].shape[1])):
        return "Your error is the spread of one seed's difference. That of the mean is smaller by √(number of seeds)."
    if _near(error, _unpaired(*given)[1]):
        return "You treat the two samples as independent. Seed i has the same start in both: take differences first."
    if not _near(error, right):
        return f"The standard error should be {right:.4f}; you found {error:.4f}. (torch's .std() divides by n − 1.)"
    return None


_COMPLAINTS = {
    "tuned on the test": "You choose the rate by the errors that you report. Choose by the validation errors.",
    "one rate for both": "You use one rate for both. Each optimizer needs the rate that is best for it.",
    "the luckiest seed chooses the rate": "One lucky seed chooses your rate. Choose by the mean over the seeds.",
    "the validation errors are reported": "You report the errors that chose the rate. Report those of the fresh seeds.",
}


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-7)


def _example(generator: torch.Generator) -> list[Tensor]:
    """Two optimizers with best rates of their own, another best rate on the test, and a lucky seed elsewhere."""
    noise = torch.randn(4, 7, 12, generator=generator, dtype=torch.float64)
    own = torch.randn(12, generator=generator, dtype=torch.float64)  # what a seed's start is worth, to both
    place = torch.arange(7, dtype=torch.float64)[:, None]
    bowls = [(place - best) ** 2 + 5 for best in (2, 1, 4, 5)]  # valid a, test a, valid b, test b
    va, ta, vb, tb = (bowl + 0.05 * part for bowl, part in zip(bowls, noise, strict=True))
    va[0, 0], vb[6, 1] = 0.5, 0.7
    return [va, ta + own, vb, tb + own]


def _lion(weight: Tensor, grad: Tensor, mean: Tensor, lr: float, betas: tuple[float, float]) -> tuple[Tensor, Tensor]:
    step = betas[0] * mean + (1 - betas[0]) * grad
    return weight - lr * step.sign(), betas[1] * mean + (1 - betas[1]) * grad


@check(
    wrong={
        "no sign": lambda w, g, m, lr, b1, b2: (w - lr * (b1 * m + (1 - b1) * g), b2 * m + (1 - b2) * g),
        "sign of the gradient": lambda w, g, m, lr, b1, b2: (w - lr * g.sign(), b2 * m + (1 - b2) * g),
        "sign of the new mean": lambda w, g, m, lr, b1, b2: (
            w - lr * (b2 * m + (1 - b2) * g).sign(), b2 * m + (1 - b2) * g
        ),
        "sign of the old mean": lambda w, g, m, lr, b1, b2: (w - lr * m.sign(), b2 * m + (1 - b2) * g),
        "betas exchanged": lambda w, g, m, lr, b1, b2: _lion(w, g, m, lr, (b2, b1)),
        "one beta for both": lambda w, g, m, lr, b1, b2: _lion(w, g, m, lr, (b1, b1)),
        "uphill": lambda w, g, m, lr, b1, b2: (2 * w - _lion(w, g, m, lr, (b1, b2))[0], b2 * m + (1 - b2) * g),
        "the mean keeps the sign": lambda w, g, m, lr, b1, b2: (
            _lion(w, g, m, lr, (b1, b2))[0], b2 * m + (1 - b2) * g.sign()
        ),
        "single precision": lambda w, g, m, lr, b1, b2: tuple(x.float() for x in _lion(w, g, m, lr, (b1, b2))),
    }
)  # fmt: skip
def lion_step(answer: Callable, generator: torch.Generator) -> str | None:
    """`lion_step(weight, grad, mean, lr, beta1, beta2)`: the new weight and the new mean."""
    w, g, m = torch.randn(3, 400, generator=generator, dtype=torch.float64)
    lr, b1, b2 = 0.01 + float(torch.rand((), generator=generator)), 0.6, 0.9
    moved, mean = answer(w, g, m, lr, b1, b2)
    right, kept = _lion(w, g, m, lr, (b1, b2))
    if moved.dtype != w.dtype or mean.dtype != w.dtype:
        return f"The weights are {w.dtype}, and you returned {moved.dtype} and {mean.dtype}: keep the dtype."
    if torch.allclose(w - moved, right - w):
        return "Your step leads uphill: subtract it."
    if not torch.allclose((w - moved).abs(), torch.full_like(w, lr)):
        return "Every entry must move by exactly lr, up or down: take the sign of what you step along."
    mixed_up = torch.allclose(mean, b1 * m + (1 - b1) * g)
    if mixed_up and torch.equal((w - moved).sign(), kept.sign()):
        return "beta1 and beta2 are exchanged: beta1 mixes the step, beta2 the mean that is kept."
    if not torch.allclose(moved, right):
        return _wrong_direction((w - moved).sign(), g, m, b2)
    if mixed_up:
        return "The mean that is kept must forget with beta2; yours forgets with beta1."
    if not torch.allclose(mean, kept):
        return "The step is right. The new mean is beta2 · mean + (1 − beta2) · grad, without any sign."
    return None


def _wrong_direction(sign: Tensor, g: Tensor, m: Tensor, beta2: float) -> str:
    if torch.equal(sign, g.sign()):
        return "You step along the sign of the gradient alone; the mean must have its share, beta1."
    if torch.equal(sign, m.sign()):
        return "You step along the old mean alone; the new gradient must have its share, 1 − beta1."
    if torch.equal(sign, (beta2 * m + (1 - beta2) * g).sign()):
        return "You step along a mix with beta2. It forgets more slowly and is what is kept; the step mixes with beta1."
    return "Some entries move the wrong way: step along the sign of beta1 · mean + (1 − beta1) · grad, the old mean."
