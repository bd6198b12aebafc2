"""Checks of the exercises in chapter `landscape`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.frame import check
from labsupport.checks.landscape_flat import edge_with_momentum, sam_step, scale_free_sharpness
from labsupport.checks.landscape_line import loss_barrier, permute_hidden
from labsupport.landscape import saddles

__all__ = [
    "edge_with_momentum",
    "escape_noise",
    "loss_barrier",
    "morse_index",
    "permute_hidden",
    "saddle_exponent",
    "sam_step",
    "scale_free_sharpness",
    "steps_to_escape",
]


def _symmetric(eigenvalues: list[float], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    dim = len(eigenvalues)
    basis, _ = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
    matrix = basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.mT
    return (matrix + matrix.mT) / 2, basis


@check(
    wrong={
        "reads the diagonal": lambda hessian: int((hessian.diagonal() < 0).sum()),
        "counts zeros as negative": lambda hessian: int((torch.linalg.eigvalsh(hessian) <= 1e-9).sum()),
        "counts the ways up": lambda hessian: int((torch.linalg.eigvalsh(hessian) > 1e-9).sum()),
        "trusts the determinant": lambda hessian: int(torch.linalg.det(hessian) < 0),
    }
)
def morse_index(answer: Callable, generator: torch.Generator) -> str | None:
    """`morse_index(hessian)`: number of negative eigenvalues."""
    pass_between_axes = torch.tensor([[1.0, 3.0], [3.0, 1.0]], dtype=torch.float64)
    if int(answer(pass_between_axes)) == 0:
        return "For [[1, 3], [3, 1]] you found 0. The diagonal is positive, yet along (1, −1) it bends down."
    flat, _ = _symmetric([-1.0, 0.0, 0.0, 2.0], generator)
    if int(answer(flat)) == 3:
        return "Eigenvalues −1, 0, 0, 2 have index 1: a zero eigenvalue is neither up nor down."
    maximum, _ = _symmetric([-3.0, -2.0, -1.0], generator)
    if int(answer(maximum)) == 0:
        return "Three negative eigenvalues gave 0: you count the ways up, and the index counts the ways down."
    if int(answer(maximum)) == 1:
        return "Three negative eigenvalues gave 1: the determinant's sign only tells odd numbers from even ones."
    nearly_flat, _ = _symmetric([-1e-13, 1e-13, 1.0], generator)
    if int(answer(nearly_flat)) != 0:
        return (
            "An eigenvalue of −1e-13 beside one of 1 is rounding: below a billionth of the largest, it counts as zero."
        )
    if int(answer(1e-12 * pass_between_axes)) != 1:
        return "A tiny multiple of [[1, 3], [3, 1]] still has index 1: compare with the largest, not a fixed number."
    for eigenvalues in ([-2.0, -1.0, 0.5, 3.0, 4.0], [1.0, 2.0], [-1e-6, 5.0, 6.0], [-1.0, -1e-12, 0.0]):
        matrix, _ = _symmetric(eigenvalues, generator)
        expected, got = sum(value < -1e-9 for value in eigenvalues), int(answer(matrix))
        if got != expected:
            return f"Eigenvalues {eigenvalues}: the index is {expected}, you found {got}."
    return None


@check(
    wrong={
        "distance over speed": lambda offset, curvature, lr: math.ceil((1 - offset) / (lr * abs(curvature) * offset)),
        "contracts": lambda offset, curvature, lr: math.ceil(math.log(1 / offset) / abs(math.log(1 + lr * curvature))),
        "continuous time": lambda offset, curvature, lr: math.ceil(math.log(1 / offset) / (lr * abs(curvature))),
        "curvature forgotten": lambda offset, curvature, lr: math.ceil(math.log(1 / offset) / math.log(1 + lr)),
    }
)
def steps_to_escape(answer: Callable, generator: torch.Generator) -> str | None:
    """`steps_to_escape(offset, curvature, lr)`: whole steps until |u| >= 1 for f = ½·curvature·u², from `offset`."""
    cases = [(1e-3, -1.0, 0.1), (1e-8, -0.5, 0.3)]
    draw = torch.rand(3, 2, generator=generator, dtype=torch.float64).tolist()
    cases += [(10 ** (-1 - 6 * a), -0.1 - 2 * b, 0.2) for a, b in draw]
    for offset, curvature, lr in cases:
        position, expected = offset, 0
        while position < 1:
            position, expected = position * (1 - lr * curvature), expected + 1
        got, rate = float(answer(offset, curvature, lr)), 1 - lr * curvature
        exact = math.log(1 / offset) / math.log(rate)
        if got == expected or (abs(exact - round(exact)) < 1e-9 and abs(got - expected) == 1):  # rounding decides a tie
            continue
        place = f"From {offset:.3g}, curvature {curvature:.3g}, rate {lr:.3g}: it takes {expected} steps, not {got:g}."
        if abs(got - exact) <= 1:
            return f"{place} The formula is right, and a step is whole: count up to the first at which u is at least 1."
        if got > 3 * expected:
            return f"{place} The slope grows with the distance, so the distance grows exponentially, not like a line."
        if abs(got - math.log(1 / offset) / math.log(1 + lr)) <= 1:
            return f"{place} Your time does not depend on the curvature."
        if abs(got - math.log(1 / offset) / abs(math.log(1 + lr * curvature))) <= 1:
            return f"{place} You multiply by 1 − η|h|: that is the way into a valley. Out of a pass it is {rate:.3g}."
        if abs(got - math.log(1 / offset) / (lr * abs(curvature))) <= 1:
            return f"{place} Close, but a step multiplies by 1 + η|h|, not by e^(η|h|)."
        return place
    return None


@check(
    wrong={
        "noise everywhere": lambda hessian, std, generator: (
            std * torch.randn(len(hessian), generator=generator, dtype=hessian.dtype)
        ),
        "noise where it is safe": lambda hessian, std, generator: _along(hessian, std, generator, sign=1),
        "one axis for a direction": lambda hessian, std, generator: (
            std
            * torch.randn(len(hessian), generator=generator, dtype=hessian.dtype)
            * (hessian.diagonal() == hessian.diagonal().min())
        ),
        "no randomness": lambda hessian, std, generator: std * torch.linalg.eigh(hessian)[1][:, 0],
        "scaled by the curvature": lambda hessian, std, generator: hessian @ _along(hessian, std, generator, sign=-1),
    }
)
def escape_noise(answer: Callable, generator: torch.Generator) -> str | None:
    """`escape_noise(hessian, std, generator)`: N(0, std²) along each escape direction, nothing elsewhere."""
    matrix, basis = _symmetric([-2.0, -0.5, -1e-13, 0.0, 1.0, 3.0, 4.0], generator)
    try:
        draws = torch.stack([answer(matrix, 0.3, generator) for _ in range(1000)])
    except RuntimeError as error:
        if "dtype" not in str(error):
            raise
        return "The Hessian is float64, so your random numbers must be too: dtype=hessian.dtype."
    if draws.shape != (1000, 7):
        return f"One draw must be a vector of 7 components, got shape {tuple(draws.shape[1:])}."
    if float(draws.std(0).max()) < 1e-12:
        return "Every draw is the same: use the generator."
    if int(torch.linalg.matrix_rank(draws)) == 1:
        return (
            "All your noise lies on one axis. A saddle's directions are eigenvectors, and here two of them lead down."
        )
    twins = [answer(matrix, 0.3, torch.Generator(generator.device).manual_seed(1)) for _ in range(2)]
    if not torch.equal(*twins):
        return (
            "Two generators with the same seed gave two different draws: all randomness must come from the generator."
        )
    return _complaint_on_noise(draws @ basis, 0.3)


def _complaint_on_noise(parts: Tensor, std: float) -> str | None:
    """What is wrong with draws (count, 7) in the basis of eigenvectors, of which the first two lead down."""
    sizes = parts.square().mean(0).sqrt()
    if float(sizes[:2].max()) < 1e-9:
        return "There is no noise along the escape directions, the only ones that lead out of the saddle."
    if float(sizes[4:].min()) > 1e-9:
        return "There is noise in stable directions too: project on the eigenvectors with negative eigenvalue."
    if float(sizes[2:].max()) > 1e-9:
        return "Noise on directions that do not lead down: an eigenvalue below a billionth of the largest is zero."
    out = parts[:, :2]
    if float(out.mean(0).abs().max()) > 5 * std / math.sqrt(len(out)):
        return "The mean of your noise is not zero: it pushes to one side."
    if float((out.std(0) / std - 1).abs().max()) > 0.12:
        found = ", ".join(f"{value:.2f}" for value in out.std(0).tolist())
        return f"Along the two escape directions the standard deviation must be {std}; you gave {found}."
    if abs(float((out[:, 0] * out[:, 1]).mean())) > 0.16 * std**2:
        return "Your noise is the same number along both escape directions: draw one for each."
    if abs(float((out / std).pow(4).mean()) - 3) > 0.7:
        return "Mean and size are right, but the draws are not normal."
    return None


def _along(hessian: Tensor, std: float, generator: torch.Generator, *, sign: int) -> Tensor:
    values, vectors = torch.linalg.eigh(hessian)
    chosen = vectors[:, sign * values > 1e-9]
    return std * chosen @ torch.randn(chosen.shape[1], generator=generator, dtype=hessian.dtype)


@check(
    wrong={
        "a straight line": lambda steps, offsets: float((steps[0] - steps[-1]) / (offsets[-1] - offsets[0])),
        "the sign lost": lambda steps, offsets: math.log(steps[0] / steps[-1]) / math.log(offsets[0] / offsets[-1]),
        "logarithm on one side": lambda steps, offsets: (
            math.log(steps[0] / steps[-1]) / float(offsets[-1] - offsets[0])
        ),
        "two points": lambda steps, offsets: -math.log(steps[0] / steps[1]) / math.log(offsets[0] / offsets[1]),
        "one point": lambda steps, offsets: math.log(steps[0]) / math.log(1 / offsets[0]),
    }
)
def saddle_exponent(answer: Callable, generator: torch.Generator) -> str | None:
    """`saddle_exponent(steps, offsets)`: p in steps ≈ c·offset^(−p), from measurements at several offsets."""
    offsets = torch.tensor([0.01, 0.02, 0.05, 0.1], dtype=torch.float64)
    for power in (1.0, 1.5, 3.0):
        constant = 0.5 + 5 * float(torch.rand((), generator=generator, dtype=torch.float64))
        got = float(answer(constant * offsets**-power, offsets))
        if abs(got + power) < 0.02:
            return f"You found {got:.2f}: the sign is lost. Steps grow as the offset shrinks, so p is positive."
        if abs(got) > 5 * power or got != got:
            return f"Steps that grow as offset^(−{power:g}) gave {got:.3g}: take the logarithm of both, then the slope."
        if abs(got - power) > 0.02:
            return f"Steps {constant:.2f} × offset^(−{power:g}) gave {got:.2f}: the constant must not enter the slope."
    noisy = offsets**-2 * torch.tensor([1.0, 0.6, 1.5, 1.4], dtype=torch.float64)
    logs = offsets.log() - offsets.log().mean()
    fitted = -float((logs * noisy.log()).sum() / (logs * logs).sum())
    got = float(answer(noisy, offsets))
    if abs(got - fitted) > 0.05:
        return f"From measurements with errors you found {got:.2f}; the line through all points gives {fitted:.2f}."
    descent = saddles.Descent(lr=0.05)
    walked = saddles.first_passage(lambda u: -(u**2), offsets[:, None], lambda u: u[:, 0] >= 1, descent, max_steps=4000)
    got = float(answer(walked, offsets))
    if abs(got - 1) > 0.15:
        return f"On a measured walk whose exponent is near 1 you found {got:.2f}."
    return None
