"""Checks of the exercises that belong to page `saddle_points`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.compare import as_tensor, close
from labsupport.checks.draws import normal, uniform
from labsupport.checks.frame import check

__all__ = ["escape_noise", "morse_index", "saddle_exponent", "steps_to_escape"]


def _symmetric(eigenvalues: list[float], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    basis, _ = torch.linalg.qr(normal(generator, len(eigenvalues), len(eigenvalues)))
    matrix = basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.mT
    return (matrix + matrix.mT) / 2, basis


def _index(hessian: Tensor) -> int:
    curvatures = torch.linalg.eigvalsh(hessian)
    return int((curvatures < -1e-9 * curvatures.abs().max()).sum())


def _hessians(generator: torch.Generator) -> dict[str, tuple]:
    pass_between_axes = torch.tensor([[1.0, 3.0], [3.0, 1.0]], dtype=torch.float64)
    spectra = {
        "Eigenvalues −1, 0, 0, 2": [-1.0, 0.0, 0.0, 2.0],
        "Three negative eigenvalues": [-3.0, -2.0, -1.0],
        "Eigenvalues 1, −1e-13 and 1e-13, of which two are rounding": [-1e-13, 1e-13, 1.0],
        "Two negative eigenvalues of five": [-2.0, -1.0, 0.5, 3.0, 4.0],
        "No negative eigenvalue": [1.0, 2.0],
        "One eigenvalue of −1e-6 beside 5 and 6": [-1e-6, 5.0, 6.0],
        "Eigenvalues −1, −1e-12 and 0": [-1.0, -1e-12, 0.0],
    }
    drawn = {label: (_symmetric(values, generator)[0],) for label, values in spectra.items()}
    return {"[[1, 3], [3, 1]]": (pass_between_axes,), **drawn, "A tiny multiple of it": (1e-12 * pass_between_axes,)}


@check(
    truth=_index,
    given=_hessians,
    wrong={
        "reads the diagonal": (lambda hessian: int((hessian.diagonal() < 0).sum()),
            "the diagonal tells of the axes only. Along (1, −1) this one bends down, though its diagonal is positive."),
        "counts zeros as negative": (lambda hessian: int((torch.linalg.eigvalsh(hessian) <= 1e-9).sum()),
            "a zero eigenvalue is neither up nor down, and you count it."),
        "counts the ways up": (lambda hessian: int((torch.linalg.eigvalsh(hessian) > 1e-9).sum()),
            "you count the ways up, and the index counts the ways down."),
        "trusts the determinant": (lambda hessian: int(torch.linalg.det(hessian) < 0),
            "the determinant's sign only tells odd numbers from even ones."),
        "a fixed threshold": (lambda hessian: int((torch.linalg.eigvalsh(hessian) < -1e-9).sum()),
            "its index is 1 as well: compare with the largest eigenvalue, not with a fixed number."),
    },
)  # fmt: skip
def morse_index(answer: Callable, generator: torch.Generator) -> str | None:
    """`morse_index(hessian)`: number of negative eigenvalues."""


def _escaped(offset: float, curvature: float, lr: float) -> int:
    return math.ceil(math.log(1 / offset) / math.log(1 - lr * curvature))


def _offsets(generator: torch.Generator) -> list[tuple]:
    drawn = []
    while len(drawn) < 3:  # away from whole numbers of steps, where rounding decides
        case = 10 ** -uniform(generator, 1, 7), -uniform(generator, 0.1, 2.1), 0.2
        exact = math.log(1 / case[0]) / math.log(1 - case[2] * case[1])
        drawn += [case] if 0.01 < exact % 1 < 0.99 else []
    return [(1e-3, -1.0, 0.1), (1e-8, -0.5, 0.3), *drawn]


@check(
    truth=_escaped,
    given=_offsets,
    wrong={
        "distance over speed": (lambda offset, curvature, lr: math.ceil((1 - offset) / (lr * abs(curvature) * offset)),
            "The slope grows with the distance, so the distance grows exponentially, not like a line."),
        "contracts": (lambda offset, curvature, lr: math.ceil(math.log(1 / offset) / abs(math.log(1 + lr * curvature))),
            "You multiply by 1 − η|h|: that is the way into a valley. Out of a pass it is more than 1."),
        "continuous time": (lambda offset, curvature, lr: math.ceil(math.log(1 / offset) / (lr * abs(curvature))),
            "Close, but a step multiplies by 1 + η|h|, not by e^(η|h|)."),
        "curvature forgotten": (lambda offset, curvature, lr: math.ceil(math.log(1 / offset) / math.log(1 + lr)),
            "Your time does not depend on the curvature."),
        "not whole": (lambda offset, curvature, lr: math.log(1 / offset) / math.log(1 - lr * curvature),
            "The formula is right, and a step is whole: count up to the first at which u is at least 1."),
        "rounded down": (lambda offset, curvature, lr: int(math.log(1 / offset) / math.log(1 - lr * curvature)),
            "The formula is right, and after so many whole steps u is still below 1: one more."),
    },
)  # fmt: skip
def steps_to_escape(answer: Callable, generator: torch.Generator) -> str | None:
    """`steps_to_escape(offset, curvature, lr)`: whole steps until |u| >= 1 for f = ½·curvature·u², from `offset`."""


def _along(hessian: Tensor, std: float, generator: torch.Generator, *, sign: int) -> Tensor:
    values, vectors = torch.linalg.eigh(hessian)
    chosen = vectors[:, sign * values > 1e-9]
    return std * chosen @ normal(generator, chosen.shape[1])


@check(
    wrong={
        "noise everywhere": (lambda hessian, std, generator: std * normal(generator, len(hessian)),
            "There is noise in stable directions too: project on the eigenvectors with negative eigenvalue."),
        "noise where it is safe": (lambda hessian, std, generator: _along(hessian, std, generator, sign=1),
            "There is no noise along the escape directions, the only ones that lead out of the saddle."),
        "one axis for a direction": (lambda hessian, std, generator: (
                std * normal(generator, len(hessian)) * (hessian.diagonal() == hessian.diagonal().min())
            ),
            "All your noise lies on one axis. A saddle's directions are eigenvectors, and here two of them lead down."),
        "no randomness": (lambda hessian, std, generator: std * torch.linalg.eigh(hessian)[1][:, 0],
            "Every draw is the same: use the generator."),
        "scaled by the curvature": (lambda hessian, std, generator: hessian @ _along(hessian, std, generator, sign=-1),
            "Along the escape directions the standard deviation must be `std`, whatever the curvature."),
    },
)  # fmt: skip
def escape_noise(answer: Callable, generator: torch.Generator) -> str | None:
    """`escape_noise(hessian, std, generator)`: N(0, std²) along each escape direction, nothing elsewhere."""
    matrix, basis = _symmetric([-2.0, -0.5, -1e-13, 0.0, 1.0, 3.0, 4.0], generator)
    try:
        draws = [as_tensor(answer(matrix, 0.3, generator)) for _ in range(1000)]
    except RuntimeError as error:
        if "dtype" not in str(error):
            raise
        return "The Hessian is float64, so your random numbers must be too: dtype=hessian.dtype."
    if any(draw is None or draw.shape != (7,) for draw in draws):
        return "One draw must be a vector of 7 components, as the Hessian has 7 rows."
    parts = torch.stack(draws).double() @ basis
    if float(parts.std(0).max()) < 1e-6:
        return "no randomness"
    if int(torch.linalg.matrix_rank(parts, rtol=1e-5)) == 1:
        return "one axis for a direction"
    twins = [answer(matrix, 0.3, torch.Generator().manual_seed(1)) for _ in range(2)]
    if not close(*twins):
        return (
            "Two generators with the same seed gave two different draws: all randomness must come from the generator."
        )
    return _complaint_on_noise(parts, 0.3)


def _complaint_on_noise(parts: Tensor, std: float) -> str | None:
    """What is wrong with draws (count, 7) in the basis of eigenvectors, of which the first two lead down."""
    sizes = parts.square().mean(0).sqrt()
    if float(sizes[:2].max()) < 1e-5:
        return "noise where it is safe"
    if float(sizes[4:].min()) > 1e-5:
        return "noise everywhere"
    if float(sizes[2:].max()) > 1e-5:
        return "Noise on directions that do not lead down: an eigenvalue below a billionth of the largest is zero."
    out = parts[:, :2] / std
    if float(out.mean(0).abs().max()) > 5 / math.sqrt(len(out)):
        return "The mean of your noise is not zero: it pushes to one side."
    if float((out.std(0) - 1).abs().max()) > 0.12:
        return "scaled by the curvature"
    if abs(float((out[:, 0] * out[:, 1]).mean())) > 0.16:
        return "Your noise is the same number along both escape directions: draw one for each."
    if abs(float(out.pow(4).mean()) - 3) > 0.9:
        return "Mean and size are right, but the draws are not normal."
    return None


def _fitted(steps: Tensor, offsets: Tensor) -> float:
    x, y = offsets.log() - offsets.log().mean(), steps.log()
    return -float((x * y).sum() / (x * x).sum())


def _measured(generator: torch.Generator) -> dict[str, tuple]:
    offsets = torch.tensor([0.01, 0.02, 0.05, 0.1], dtype=torch.float64)
    cases = {
        f"Steps that grow as offset^(−{power:g})": (uniform(generator, 1.5, 5.5) * offsets**-power, offsets)
        for power in (1.0, 1.5, 3.0)
    }
    return {**cases, "Measurements with errors": (offsets**-2 * offsets.new_tensor([1.0, 0.6, 1.5, 1.4]), offsets)}


@check(
    truth=_fitted,
    given=_measured,
    wrong={
        "a straight line": (lambda steps, offsets: float((steps[0] - steps[-1]) / (offsets[-1] - offsets[0])),
            "take the logarithm of both, then the slope."),
        "the sign lost": (lambda steps, offsets: -_fitted(steps, offsets),
            "the sign is lost. Steps grow as the offset shrinks, so p is positive."),
        "logarithm on one side": (
            lambda steps, offsets: math.log(steps[0] / steps[-1]) / float(offsets[-1] - offsets[0]),
            "you took the logarithm of the steps alone. The offsets need it too."),
        "two points": (lambda steps, offsets: -math.log(steps[0] / steps[1]) / math.log(offsets[0] / offsets[1]),
            "you use two points. The line through all of them has another slope."),
        "one point": (lambda steps, offsets: math.log(steps[0]) / math.log(1 / offsets[0]),
            "the constant must not enter the slope: it takes more than one point."),
    },
)  # fmt: skip
def saddle_exponent(answer: Callable, generator: torch.Generator) -> str | None:
    """`saddle_exponent(steps, offsets)`: p in steps ≈ c·offset^(−p), from measurements at several offsets."""
