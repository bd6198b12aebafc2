"""Checks of the exercises that belong to page `adaptive_rates`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.compare import exactly
from labsupport.checks.draws import normal, uniform
from labsupport.checks.frame import check

__all__ = ["adadelta_step", "rmsprop_in_basis", "uncorrected_step"]


def _uncorrected(t: int, lr: float, beta1: float, beta2: float) -> float:
    return lr * (1 - beta1**t) / math.sqrt(1 - beta2**t)


@check(
    truth=_uncorrected,
    given=lambda generator: [
        (t, uniform(generator, 0.01, 1), uniform(generator, 0.3, 0.9), uniform(generator, 0.95, 0.999))
        for t in (2, 1, 10, 300)
    ],
    wrong={
        "as if corrected": (lambda t, lr, beta1, beta2: lr,
            "That is the corrected step. Uncorrected, both averages still lean to their start at 0."),
        "root forgotten": (lambda t, lr, beta1, beta2: lr * (1 - beta1**t) / (1 - beta2**t),
            "The denominator is the root of the average of squares."),
        "betas exchanged": (lambda t, lr, beta1, beta2: _uncorrected(t, lr, beta2, beta1),
            "β₁ belongs to the gradients, in the numerator; β₂ to their squares."),
        "the first step only": (lambda t, lr, beta1, beta2: _uncorrected(1, lr, beta1, beta2),
            "So long is the first step only; after t of them the weights add up to 1 − βᵗ."),
        "the correction itself": (lambda t, lr, beta1, beta2: lr * math.sqrt(1 - beta2**t) / (1 - beta1**t),
            "That is the factor that would mend the step. Asked for is the step without it."),
        "the numerator only": (lambda t, lr, beta1, beta2: lr * (1 - beta1**t),
            "The numerator is right; the root of the other average, too, is below 1."),
        "counted from 0": (lambda t, lr, beta1, beta2: _uncorrected(t + 1, lr, beta1, beta2),
            "That is the step after it: the first step has t = 1."),
    },
)  # fmt: skip
def uncorrected_step(answer: Callable, generator: torch.Generator) -> str | None:
    """`uncorrected_step(t, lr, beta1, beta2)`: η (1 − β₁ᵗ)/√(1 − β₂ᵗ)."""


def _averaged(before: Tensor, new: Tensor, decay: float) -> Tensor:
    return decay * before + (1 - decay) * new


def _adadelta(
    step: Callable[[Tensor, Tensor, Tensor, float], Tensor] = lambda s, old, m, eps: ((m + eps) / (s + eps)).sqrt(),
    moves: Callable[[Tensor, Tensor], Tensor] = lambda step, grad: step**2,
) -> Callable:
    """AdaDelta with this factor of its step, by both averages of squares, and this average of moves."""

    def stepped(grad: Tensor, square: Tensor, moved: Tensor, decay: float, eps: float) -> tuple[Tensor, ...]:
        new = _averaged(square, grad**2, decay)
        taken = step(new, square, moved, eps) * grad
        return taken, new, _averaged(moved, moves(taken, grad), decay)

    return stepped


def _averages(generator: torch.Generator) -> dict[str, tuple]:
    zero = torch.zeros(4, dtype=torch.float64)
    return {
        "In the middle": (normal(generator, 4), *(normal(generator, 4).abs() + 0.1 for _ in range(2)), 0.9, 1e-3),
        "From a start at 0": (normal(generator, 4), zero, zero, 0.9, 1e-3),
    }


@check(
    truth=_adadelta(),
    given=_averages,
    same=exactly,
    returns="three things: the step, the new average of squared gradients, that of squared steps",
    wrong={
        "ε outside the roots": (_adadelta(lambda s, old, m, eps: (m.sqrt() + eps) / (s.sqrt() + eps)),
            "both ε stand inside the roots, √(moved + ε) over √(square + ε)."),
        "no ε in the numerator": (_adadelta(lambda s, old, m, eps: (m / (s + eps)).sqrt()),
            "the numerator needs its own ε, √(moved + ε): else nothing ever moves from a start at 0."),
        "the old average of squares": (_adadelta(lambda s, old, m, eps: ((m + eps) / (old + eps)).sqrt()),
            "the present gradient belongs into the average of squares before you divide by its root."),
        "remembers gradients": (_adadelta(moves=lambda step, grad: grad**2),
            "the second average is one of gradients again. It must have the units of a step: average the steps."),
        "signed steps": (_adadelta(moves=lambda step, grad: step),
            "you average the steps themselves, whose signs cancel. Average their squares."),
        "single precision": (lambda g, s, m, decay, eps: tuple(
                part.double() for part in _adadelta()(g.float(), s.float(), m.float(), decay, eps)
            ),
            "right to six digits only: keep the dtype of what you are given."),
    },
)  # fmt: skip
def adadelta_step(answer: Callable, generator: torch.Generator) -> str | None:
    """`adadelta_step(grad, square, moved, decay, eps)`: the step and both averages after it."""


def _in_basis(grad: Tensor, square: Tensor, lr: float, decay: float, eps: float, basis: Tensor) -> tuple:
    turned = basis.mT @ grad
    square = _averaged(square, turned**2, decay)
    return basis @ (lr * turned / (square.sqrt() + eps)), square


def _not_there(grad: Tensor, square: Tensor, lr: float, decay: float, eps: float, basis: Tensor) -> tuple:
    return _in_basis(grad, square, lr, decay, eps, torch.eye(len(grad), dtype=grad.dtype))


def _turned_rates(grad: Tensor, square: Tensor, lr: float, decay: float, eps: float, basis: Tensor) -> tuple:
    _, square = _in_basis(grad, square, lr, decay, eps, basis)
    return basis @ (lr / (square.sqrt() + eps)) * grad, square


def _turned(generator: torch.Generator) -> list[tuple]:
    basis = torch.linalg.qr(normal(generator, 5, 5))[0]
    return [(normal(generator, 5), normal(generator, 5).abs() + 0.1, 0.1, 0.9, 1e-8, basis)]


@check(
    truth=_in_basis,
    given=_turned,
    returns="two things: the step and the new average of squares",
    wrong={
        "the basis not used": (_not_there,
            "That is plain RMSprop, with a rate for each weight. Look at the gradient along the basis first."),
        "rows for columns": (lambda *given: _in_basis(*given[:-1], given[-1].mT),
            "The columns of `basis` are the directions: along them the gradient is basis.T @ grad."),
        "not turned back": (lambda *given: (given[-1].mT @ _in_basis(*given)[0], _in_basis(*given)[1]),
            "Your step still counts along the columns of `basis`. Turn it back to the weights."),
        "only turned back": (lambda *given: (given[-1] @ _not_there(*given)[0], _not_there(*given)[1]),
            "You turn the step of plain RMSprop. The gradient must be turned first, then its squares averaged."),
        "the rates turned, not the gradient": (_turned_rates,
            "The rates belong to directions. Multiply the turned gradient by them, then turn the product back."),
    },
)  # fmt: skip
def rmsprop_in_basis(answer: Callable, generator: torch.Generator) -> str | None:
    """`rmsprop_in_basis(grad, square, lr, decay, eps, basis)`: RMSprop's step, a rate for each column of `basis`."""
