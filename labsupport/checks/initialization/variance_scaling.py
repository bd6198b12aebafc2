"""Checks of the exercises that belong to page `variance_scaling`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.compare import as_tensor, close
from labsupport.checks.draws import normal, uniform, whole
from labsupport.checks.frame import check

__all__ = ["he_std", "leaky_gain", "orthogonal_start"]


@check(
    truth=lambda slope: math.sqrt(2 / (1 + slope**2)),
    given=lambda generator: [(1.0,), (0.0,), (uniform(generator, 0.2, 0.7),)],
    wrong={
        "counts the zeros": (lambda slope: math.sqrt(2),
            "√2 belongs to slope 0. Slope 1 is the identity, which changes nothing: no zeros are involved."),
        "variance for standard deviation": (lambda slope: 2 / (1 + slope**2),
            "That is the square of the gain: take the root."),
        "mean instead of mean square": (lambda slope: math.sqrt(2 / (1 + slope)),
            "Negative inputs are multiplied by the slope, so their squares by its square."),
        "mean slope": (lambda slope: 2 / (1 + slope),
            "Your gain keeps the mean size |z|. What adds up over independent inputs is the mean square."),
        "one half forgotten": (lambda slope: 1 / math.sqrt(1 + slope**2),
            "Slope 1 is the identity, whose gain is 1: each half of the normal law weighs one half."),
        "upside down": (lambda slope: math.sqrt((1 + slope**2) / 2),
            "That is what leaky ReLU does to the signal; the gain must undo it."),
    },
)  # fmt: skip
def leaky_gain(answer: Callable, generator: torch.Generator) -> str | None:
    """`leaky_gain(slope)`: the gain that keeps the mean square through leaky ReLU."""


def _std(fan: float) -> float:
    return math.sqrt(2 / fan)


def _shapes(generator: torch.Generator) -> list[tuple]:
    shape = (whole(generator, 12, 16), whole(generator, 4, 8), 3, 5)
    return [(shape[:2],), (shape,)]


@check(
    truth=lambda shape: _std(shape[1] * math.prod(shape[2:])),
    given=_shapes,
    wrong={
        "kernel forgotten": (lambda shape: _std(shape[1]),
            "A 3×5 kernel sums over 15 places of each channel, and you count the channels alone."),
        "fan-out": (lambda shape: _std(shape[0] * math.prod(shape[2:])),
            "You count what leaves an input, the fan-out. An output sums over shape[1] channels, not shape[0]."),
        "outputs without kernel": (lambda shape: _std(shape[0]),
            "Your count is of outputs, and without the kernel: the weight is (outputs, inputs, *kernel)."),
        "all weights": (lambda shape: _std(math.prod(shape)),
            "You count all weights of the layer. One output sums over its own inputs only."),
        "one side of the kernel": (lambda shape: _std(shape[1] * math.prod(shape[2:3])),
            "You count one side of the 3×5 kernel: it has 15 places."),
        "variance for standard deviation": (lambda shape: 2 / (shape[1] * math.prod(shape[2:])),
            "You return the variance; the standard deviation is its root."),
        "needs a kernel": (lambda shape: _std(shape[1] * shape[2] * shape[3]),
            "This is a linear layer, without a kernel, and your function raised an IndexError."),
        "Xavier's": (lambda shape: math.sqrt(2 / ((shape[0] + shape[1]) * math.prod(shape[2:]))),
            "That is Xavier's compromise between both sides; He's rule counts the inputs of one output."),
    },
)  # fmt: skip
def he_std(answer: Callable, generator: torch.Generator) -> str | None:
    """`he_std(shape)`: He's standard deviation for a weight of that shape, by fan-in."""


def _orthonormal(rows: int, columns: int, generator: torch.Generator, *, signs: bool = True) -> Tensor:
    q, r = torch.linalg.qr(normal(generator, max(rows, columns), min(rows, columns)))
    q = q * r.diagonal().sign() if signs else q
    return q if rows >= columns else q.mT


@check(
    wrong={
        "independent draws": (
            lambda rows, columns, gain, generator: gain * normal(generator, rows, columns) / math.sqrt(columns),
            "Rows (or columns, where there are fewer of them) must all have the length gain; yours are random."),
        "lengths only": (lambda rows, columns, gain, generator: (
                gain * torch.nn.functional.normalize(normal(generator, rows, columns), dim=int(rows <= columns))
            ),
            "The lengths are right, but different rows (or columns) must be orthogonal as well."),
        "gain forgotten": (lambda rows, columns, gain, generator: _orthonormal(rows, columns, generator),
            "The matrix is orthogonal, but its singular values are 1: multiply by the gain."),
        "gain squared": (lambda rows, columns, gain, generator: gain**2 * _orthonormal(rows, columns, generator),
            "The singular values are the gain's square: multiply by the gain once."),
        "tall only": (
            lambda rows, columns, gain, generator: gain * torch.linalg.qr(normal(generator, rows, columns))[0],
            "Asked for 3 × 7 you gave another shape: a wide matrix is a tall one transposed."),
        "signs of the factorization": (
            lambda rows, columns, gain, generator: gain * _orthonormal(rows, columns, generator, signs=False),
            "Over 400 draws some entries have a mean far from 0: the factorization chose the signs, not chance. "
            "Multiply each column by the sign of R's diagonal."),
        "generator forgotten": (
            lambda rows, columns, gain, generator: gain * _orthonormal(rows, columns, torch.default_generator),
            "Two generators of equal seed gave different matrices: hand `generator` on to torch.randn."),
        "single precision": (
            lambda rows, columns, gain, generator: gain * _orthonormal(rows, columns, generator).float(),
            "Asked for is float64: give torch.randn the dtype torch.float64."),
        "no randomness": (lambda rows, columns, gain, generator: gain * torch.eye(rows, columns, dtype=torch.float64),
            "Every draw is the same: use the generator."),
    }
)  # fmt: skip
def orthogonal_start(answer: Callable, generator: torch.Generator) -> str | None:
    """`orthogonal_start(rows, columns, gain, generator)`: gain times a uniform (semi-)orthogonal float64 matrix."""
    for rows, columns in ((4, 4), (7, 3), (3, 7)):
        drawn = as_tensor(answer(rows, columns, 1.5, generator))
        if drawn is None or tuple(drawn.shape) != (rows, columns):
            return "tall only" if rows < columns else f"Asked for {rows} × {columns} you gave another shape."
        if drawn.dtype != torch.float64:
            return "single precision"
        small, one = drawn @ drawn.mT if rows <= columns else drawn.mT @ drawn, torch.eye(min(rows, columns))
        for size, name in ((1.0, "gain forgotten"), (1.5**4, "gain squared")):
            if close(small, size * one):
                return name
        if not close(small.diagonal(), 1.5**2 * one.diagonal()):
            return "independent draws"
        if not close(small, 1.5**2 * one):
            return "lengths only"
    return _misused(answer, generator)


def _misused(answer: Callable, generator: torch.Generator) -> str | None:
    """What is wrong with the randomness of `answer`, whose matrices are orthogonal."""
    seed = whole(generator, 0, 2**30)
    first, again, other = (answer(3, 3, 1.0, torch.Generator().manual_seed(s)) for s in (seed, seed, seed + 1))
    draws = torch.stack([as_tensor(answer(3, 3, 1.0, generator)) for _ in range(400)])
    if close(first, other) or float(draws.std(0).max()) < 1e-9:
        return "no randomness"
    if not close(first, again):
        return "generator forgotten"
    return "signs of the factorization" if float(draws.mean(0).abs().max()) > 0.2 else None
