"""Checks of the exercises of chapter `optimizers` that belong to page `adaptive_rates`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.frame import check

__all__ = ["adadelta_step", "rmsprop_in_basis", "uncorrected_step"]


def _near(got: float, value: float) -> bool:
    return math.isclose(got, value, rel_tol=1e-9, abs_tol=1e-12)


@check(
    wrong={
        "as if corrected": lambda t, lr, beta1, beta2: lr,
        "root forgotten": lambda t, lr, beta1, beta2: lr * (1 - beta1**t) / (1 - beta2**t),
        "betas exchanged": lambda t, lr, beta1, beta2: lr * (1 - beta2**t) / math.sqrt(1 - beta1**t),
        "the first step only": lambda t, lr, beta1, beta2: lr * (1 - beta1) / math.sqrt(1 - beta2),
        "the correction itself": lambda t, lr, beta1, beta2: lr * math.sqrt(1 - beta2**t) / (1 - beta1**t),
        "the numerator only": lambda t, lr, beta1, beta2: lr * (1 - beta1**t),
        "counted from 0": lambda t, lr, beta1, beta2: lr * (1 - beta1 ** (t + 1)) / math.sqrt(1 - beta2 ** (t + 1)),
    }
)
def uncorrected_step(answer: Callable, generator: torch.Generator) -> str | None:
    """`uncorrected_step(t, lr, beta1, beta2)`: η (1 − β₁ᵗ)/√(1 − β₂ᵗ)."""
    for t in (1, 2, 10, 300):
        a, b, c = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        lr, beta1, beta2 = 0.01 + b, 0.3 + 0.6 * a, 0.95 + 0.049 * c
        m, root = 1 - beta1**t, math.sqrt(1 - beta2**t)
        got = float(answer(t, lr, beta1, beta2))
        if _near(got, lr * m / root):
            continue
        place = f"Step {t}, rate {lr:.3g}, β₁ = {beta1:.3g}, β₂ = {beta2:.4g}: you say {got:.4g}."
        if _near(got, lr):
            return f"{place} That is the corrected step. Uncorrected, both averages still lean to their start at 0."
        if _near(got, lr * m / root**2):
            return f"{place} The denominator is the root of the average of squares."
        if _near(got, lr * (1 - beta2**t) / math.sqrt(1 - beta1**t)):
            return f"{place} β₁ belongs to the gradients, in the numerator; β₂ to their squares."
        if _near(got, lr * root / m):
            return f"{place} That is the factor that would mend the step. Asked for is the step without it."
        if _near(got, lr * m):
            return f"{place} The numerator is right; the root of the other average, too, is below 1."
        if _near(got, lr * (1 - beta1) / math.sqrt(1 - beta2)):
            return f"{place} So long is the first step only; after t of them the weights add up to 1 − βᵗ."
        if _near(got, lr * (1 - beta1 ** (t + 1)) / math.sqrt(1 - beta2 ** (t + 1))):
            return f"{place} That is the step after it: the first step has t = 1."
        return f"{place} Expected is {lr * m / root:.4g}."
    return None


def _averaged(before: Tensor, new: Tensor, decay: float) -> Tensor:
    return decay * before + (1 - decay) * new


def _adadelta(grad: Tensor, square: Tensor, moved: Tensor, decay: float, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    square = _averaged(square, grad**2, decay)
    step = (moved + eps).sqrt() / (square + eps).sqrt() * grad
    return step, square, _averaged(moved, step**2, decay)


def _outside(grad: Tensor, square: Tensor, moved: Tensor, decay: float, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    square = _averaged(square, grad**2, decay)
    step = (moved.sqrt() + eps) / (square.sqrt() + eps) * grad
    return step, square, _averaged(moved, step**2, decay)


def _no_start(grad: Tensor, square: Tensor, moved: Tensor, decay: float, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    square = _averaged(square, grad**2, decay)
    step = moved.sqrt() / (square + eps).sqrt() * grad
    return step, square, _averaged(moved, step**2, decay)


def _old_square(grad: Tensor, square: Tensor, moved: Tensor, decay: float, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    step = (moved + eps).sqrt() / (square + eps).sqrt() * grad
    return step, _averaged(square, grad**2, decay), _averaged(moved, step**2, decay)


def _of_gradients(
    grad: Tensor, square: Tensor, moved: Tensor, decay: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    step, square, _ = _adadelta(grad, square, moved, decay, eps)
    return step, square, _averaged(moved, grad**2, decay)


def _signed(grad: Tensor, square: Tensor, moved: Tensor, decay: float, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    step, square, _ = _adadelta(grad, square, moved, decay, eps)
    return step, square, _averaged(moved, step, decay)


def _single(grad: Tensor, square: Tensor, moved: Tensor, decay: float, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    step, square, moved = _adadelta(grad.float(), square.float(), moved.float(), decay, eps)
    return step.double(), square.double(), moved.double()


@check(
    wrong={
        "ε outside the roots": _outside,
        "no ε in the numerator": _no_start,
        "the old average of squares": _old_square,
        "remembers gradients": _of_gradients,
        "signed steps": _signed,
        "single precision": _single,
    }
)
def adadelta_step(answer: Callable, generator: torch.Generator) -> str | None:
    """`adadelta_step(grad, square, moved, decay, eps)`: the step and both averages after it."""
    zero = torch.zeros(4, dtype=torch.float64)
    for start in (True, False):
        grad = torch.randn(4, generator=generator, dtype=torch.float64)
        square, moved = (zero, zero) if start else torch.rand(2, 4, generator=generator, dtype=torch.float64) + 0.1
        given = grad, square, moved, 0.9, 1e-3
        got, expected = answer(*given), _adadelta(*given)
        if not isinstance(got, tuple | list) or len(got) != 3:
            return "Return three things: the step, the new average of squared gradients, that of squared steps."
        if all(torch.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(got, expected, strict=True)):
            continue
        if complaint := _of_step(got, expected, given):
            return complaint
    return None


def _of_step(got: tuple, expected: tuple, given: tuple) -> str:
    (step, square, moved), close = got, torch.allclose
    for name, value, right in zip(("step", "average of squares", "average of steps"), got, expected, strict=True):
        if close(value, right, rtol=1e-5, atol=1e-8) and not close(value, right, rtol=1e-12, atol=1e-14):
            return f"Your {name} is right to six digits only: keep the dtype of what you are given."
    if not close(square, expected[1]):
        return "The average of squares keeps the share `decay` of the old one and takes 1 − decay of the new square."
    if bool((step == 0).all()):
        return "From a start at 0 nothing ever moves: the numerator needs its own ε, √(moved + ε)."
    if close(step, _outside(*given)[0]):
        return "Both ε stand inside the roots, √(moved + ε) over √(square + ε)."
    if close(step, _old_square(*given)[0]):
        return "The present gradient belongs into the average of squares before you divide by its root."
    if close(step, expected[0]) and close(moved, _of_gradients(*given)[2]):
        return "The second average is one of gradients again. It must have the units of a step: average the steps."
    if close(step, expected[0]) and close(moved, _signed(*given)[2]):
        return "You average the steps themselves, whose signs cancel. Average their squares."
    return f"The first entry of your step is {float(step[0]):.4g}; expected is {float(expected[0][0]):.4g}."


def _in_basis(
    grad: Tensor, square: Tensor, lr: float, decay: float, eps: float, basis: Tensor
) -> tuple[Tensor, Tensor]:
    turned = basis.mT @ grad
    square = _averaged(square, turned**2, decay)
    return basis @ (lr * turned / (square.sqrt() + eps)), square


def _not_back(grad: Tensor, square: Tensor, lr: float, decay: float, eps: float, basis: Tensor) -> tuple:
    step, square = _in_basis(grad, square, lr, decay, eps, basis)
    return basis.mT @ step, square


def _not_there(grad: Tensor, square: Tensor, lr: float, decay: float, eps: float, basis: Tensor) -> tuple:
    return _in_basis(grad, square, lr, decay, eps, torch.eye(len(grad), dtype=grad.dtype))


def _only_back(grad: Tensor, square: Tensor, lr: float, decay: float, eps: float, basis: Tensor) -> tuple:
    step, square = _not_there(grad, square, lr, decay, eps, basis)
    return basis @ step, square


def _turned_rates(grad: Tensor, square: Tensor, lr: float, decay: float, eps: float, basis: Tensor) -> tuple:
    _, square = _in_basis(grad, square, lr, decay, eps, basis)
    return basis @ (lr / (square.sqrt() + eps)) * grad, square


@check(
    wrong={
        "the basis not used": _not_there,
        "rows for columns": lambda grad, square, lr, decay, eps, basis: _in_basis(
            grad, square, lr, decay, eps, basis.mT
        ),
        "not turned back": _not_back,
        "only turned back": _only_back,
        "the rates turned, not the gradient": _turned_rates,
        "single precision": lambda grad, square, lr, decay, eps, basis: tuple(
            part.double() for part in _in_basis(grad.float(), square.float(), lr, decay, eps, basis.float())
        ),
    }
)
def rmsprop_in_basis(answer: Callable, generator: torch.Generator) -> str | None:
    """`rmsprop_in_basis(grad, square, lr, decay, eps, basis)`: RMSprop's step, a rate for each column of `basis`."""
    drawn = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(drawn)[0]
    grad = torch.randn(5, generator=generator, dtype=torch.float64)
    square = torch.rand(5, generator=generator, dtype=torch.float64) + 0.1
    given = grad, square, 0.1, 0.9, 1e-8
    got, (step, after) = answer(*given, basis), _in_basis(*given, basis)
    if not isinstance(got, tuple | list) or len(got) != 2:
        return "Return two things: the step and the new average of squares."
    if all(torch.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(got, (step, after), strict=True)):
        return None
    close = torch.allclose
    if close(got[0], step, rtol=1e-4, atol=1e-6) and close(got[1], after, rtol=1e-4, atol=1e-6):
        return "Right to six digits only: keep the dtype of what you are given."
    if close(got[0], _not_there(*given, basis)[0]):
        return "That is plain RMSprop, with a rate for each weight. Look at the gradient along the basis first."
    if close(got[0], _only_back(*given, basis)[0]):
        return "You turn the step of plain RMSprop. The gradient must be turned first, then its squares averaged."
    if close(got[0], _in_basis(*given, basis.mT)[0]):
        return "The columns of `basis` are the directions: along them the gradient is basis.T @ grad."
    if close(got[0], basis.mT @ step):
        return "Your step still counts along the columns of `basis`. Turn it back to the weights."
    if close(got[0], _turned_rates(*given, basis)[0]):
        return "The rates belong to directions. Multiply the turned gradient by them, then turn the product back."
    return f"The first entry of your step is {float(got[0][0]):.4g}; expected is {float(step[0]):.4g}."
