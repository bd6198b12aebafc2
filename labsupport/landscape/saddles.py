"""Critical points: what the Hessian says of them, and how long walkers take to leave them.

A *critical point* has gradient zero. Its *index* is the number of negative eigenvalues of the Hessian. A
saddle is *strict* when the index is at least 1: then some direction leads down at second order.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from labsupport.values import check_count, check_generator, check_number, holds, is_finite

__all__ = [
    "Descent", "Inertia", "Walkers", "ball_when_flat", "escape_time", "first_passage", "hessian", "in_directions",
    "inertia", "isotropic", "kind", "multiplicative", "start", "step", "walk",
]  # fmt: skip

Noise = Callable[[Tensor, int, float, torch.Generator], Tensor]  # gradient, step, lr, generator to gradient


class Inertia(NamedTuple):
    """How many eigenvalues of a symmetric matrix are negative (the *index*), zero and positive."""

    negative: int
    zero: int
    positive: int


class Walkers(NamedTuple):
    """Replicas that descend the same function: position and velocity, both (replicas, dim)."""

    position: Tensor
    velocity: Tensor


def hessian(f: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    """The (dim, dim) matrix of second derivatives of `f` at `point` (dim,), made exactly symmetric.

    Raises:
        ValueError: `point` is not a vector of floating numbers, or `f` does not return one number with a gradient.
    """
    if not _is_floating(point, 1):
        raise ValueError(f"hessian: point must be a floating (dim,) tensor, got {_said(point)}")
    with torch.enable_grad():
        value = f(point.detach().clone().requires_grad_())
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise ValueError(f"hessian: f must return one number as a tensor, got {_said(value)}")
    if not value.requires_grad:
        raise ValueError(
            "hessian: f must be differentiable by torch, got a number without gradient "
            "(computed with detach, item or a comparison?)"
        )
    matrix = torch.func.jacrev(torch.func.jacrev(lambda x: f(x).reshape(())))(point)
    return (matrix + matrix.mT) / 2


def inertia(matrix: Tensor, *, tolerance: float = 1e-9) -> Inertia:
    """Signs of the eigenvalues of a symmetric matrix (dim, dim), solved in float64.

    Args:
        tolerance: eigenvalues within `tolerance` × the largest magnitude count as zero; never less than the rounding
            of the matrix's own dtype, dim × its epsilon (1.2e-7 for float32).
    Raises:
        ValueError: not a real square tensor, not symmetric, not finite, or tolerance < 0.
    """
    if not isinstance(matrix, Tensor) or matrix.is_complex():
        raise ValueError(f"inertia: matrix must be a real tensor, got {_said(matrix)}")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(f"inertia: matrix must be square (dim, dim), got {tuple(matrix.shape)}")
    check_number("inertia", "tolerance", tolerance, low=0)
    if matrix.is_floating_point():
        tolerance = max(tolerance, len(matrix) * torch.finfo(matrix.dtype).eps)
    matrix = matrix.detach().double()
    if not is_finite(matrix):
        raise ValueError("inertia: matrix must be finite, got NaN or infinity")
    if not torch.allclose(matrix, matrix.mT, rtol=1e-5, atol=1e-5 * float(matrix.abs().max())):
        raise ValueError("inertia: matrix must be symmetric, got one that differs from its transpose")
    values = torch.linalg.eigvalsh(matrix)
    small = tolerance * values.abs().max()
    negative, positive = int((values < -small).sum()), int((values > small).sum())
    return Inertia(negative, len(values) - negative - positive, positive)


def kind(signs: Inertia) -> str:
    """What the second derivatives say of a critical point with these signs.

    "minimum" (every direction leads up), "maximum" (every one down), "strict saddle" (some lead down; with zeros and
    no way up at second order it may be a maximum all the same), or "undecided": zeros and no negative eigenvalue, so
    that second derivatives cannot tell. Some authors (Lee et al. 2016) count maxima as strict saddles.
    """
    if not isinstance(signs, Inertia):
        raise ValueError(f"kind: signs must be an Inertia, as inertia(matrix) returns it, got {_said(signs)}")
    if signs.negative:
        return "strict saddle" if signs.zero or signs.positive else "maximum"
    return "undecided" if signs.zero else "minimum"


def escape_time(offset: float, *, curvature: float, lr: float, radius: float = 1.0, momentum: float = 0.0) -> float:
    """Steps until a walker `offset` from a quadratic saddle's ridge is `radius` away along the escape direction.

    Each step multiplies the distance by the largest root r of r² − (1 + momentum + lr·|h|) r + momentum = 0,
    which is 1 + lr·|h| without momentum; so the time is log(radius / offset) / log r. (With momentum the first
    steps, while the velocity builds up, come on top.)

    Args:
        offset: distance to the ridge, > 0 (from 0 the time is infinite) and < radius.
        curvature: eigenvalue h of the escape direction, < 0.
        lr: learning rate, > 0.
        momentum: torch's ρ in v = ρ v + g, in [0, 1).
    Raises:
        ValueError: a bound above is broken.
    """
    for name, value in (("offset", offset), ("curvature", curvature), ("radius", radius)):
        check_number("escape_time", name, value)
    if not 0 < offset < radius:
        raise ValueError(f"escape_time: offset must lie in (0, radius = {radius}), got {offset}")
    if not curvature < 0:
        raise ValueError(f"escape_time: curvature must be < 0, got {curvature}")
    _check_rates("escape_time", lr, momentum)
    gain = -lr * curvature
    less = 1 - momentum - gain  # r = 1 + s with s² + less·s − gain = 0: no cancellation where gain is tiny
    root = math.sqrt(less**2 + 4 * gain)
    return math.log(radius / offset) / math.log1p(2 * gain / (less + root) if less > 0 else (root - less) / 2)


@dataclass(frozen=True)
class Descent:
    """How walkers descend: v ← ρ v + noise(g), θ ← θ − η v.

    Args:
        lr: learning rate η, > 0.
        momentum: torch's ρ, in [0, 1).
        noise: what is done to the gradient at each step, such as `isotropic(std)`; None leaves it.
    Raises:
        ValueError: a bound above is broken.
    """

    lr: float
    momentum: float = 0.0
    noise: Noise | None = None

    def __post_init__(self) -> None:
        _check_rates("Descent", self.lr, self.momentum)
        if self.noise is not None and not callable(self.noise):
            raise ValueError(f"Descent: noise must be a function such as isotropic(std), or None, got {self.noise!r}")


def start(position: Tensor) -> Walkers:
    """Walkers at rest at `position` (replicas, dim).

    Raises:
        ValueError: not (replicas, dim), not floating, or not finite.
    """
    if not _is_floating(position, 2):
        raise ValueError(f"start: position must be a floating (replicas, dim) tensor, got {_said(position)}")
    if not is_finite(position):
        raise ValueError("start: position must be finite, got NaN or infinity")
    return Walkers(position, torch.zeros_like(position))


def step(walkers: Walkers, gradient: Tensor, *, lr: float, momentum: float = 0.0) -> Walkers:
    """One update in torch's form: v ← ρ v + g, θ ← θ − η v.

    Raises:
        ValueError: `gradient` has not the positions' shape (replicas, dim) and dtype, lr <= 0, momentum not in [0, 1).
    """
    _check_rates("step", lr, momentum)
    _check_gradient("step", gradient, walkers.position)
    return _step(walkers, gradient, lr, momentum)


def _step(walkers: Walkers, gradient: Tensor, lr: float, momentum: float) -> Walkers:
    velocity = momentum * walkers.velocity + gradient if momentum else gradient
    return Walkers(walkers.position - lr * velocity, velocity)


def isotropic(std: float) -> Noise:
    """Adds independent N(0, std²) to every component of the gradient."""
    check_number("isotropic", "std", std, low=0)
    return lambda gradient, t, lr, generator: gradient + std * _normal(gradient, generator)


def in_directions(directions: Tensor, std: float) -> Noise:
    """Adds N(0, std²) along each column of `directions` (dim, k), orthonormal, and nothing elsewhere.

    Raises:
        ValueError: the columns are not orthonormal, or std < 0; later, a gradient has another dim or dtype.
    """
    check_number("in_directions", "std", std, low=0)
    gram = directions.mT @ directions if _is_floating(directions, 2) else None
    if gram is None or not holds((gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).abs() < 1e-5):
        raise ValueError(f"in_directions: directions must have orthonormal columns, got {_said(directions)}")

    def noisy(gradient: Tensor, t: int, lr: float, generator: torch.Generator) -> Tensor:
        if (len(directions), directions.dtype) != (gradient.shape[1], gradient.dtype):
            rule = f"directions must fit the gradient, {_said(gradient)}"
            raise ValueError(f"in_directions: {rule}, got {_said(directions)}")
        coefficients = _normal(gradient[:, :1].expand(-1, directions.shape[1]), generator)
        return gradient + std * coefficients @ directions.mT

    return noisy


def multiplicative(std: float) -> Noise:
    """Scales each walker's whole gradient by 1 + N(0, std²): no noise where the gradient is zero."""
    check_number("multiplicative", "std", std, low=0)
    return lambda gradient, t, lr, generator: gradient * (1 + std * _normal(gradient[:, :1], generator))


def ball_when_flat(radius: float, *, threshold: float, every: int) -> Noise:
    """Perturbed descent: each `every` steps, where the gradient is small, a jump drawn uniformly from a ball.

    After Jin, Ge, Netrapalli, Kakade & Jordan 2017, arXiv:1703.00887, simplified: they look at every step since the
    last jump, take the gradient at the new point, and stop when a jump has brought no decrease.

    Args:
        radius: of the ball, in the units of the position (with momentum ρ the jump goes on to radius / (1 − ρ)).
        threshold: gradient norm at or below which a walker is moved.
        every: steps between two perturbations, >= 1.
    Raises:
        ValueError: a bound above is broken.
    """
    check_count("ball_when_flat", "every", every)
    for name, value in (("radius", radius), ("threshold", threshold)):
        check_number("ball_when_flat", name, value, low=0)

    def noisy(gradient: Tensor, t: int, lr: float, generator: torch.Generator) -> Tensor:
        if t % every:
            return gradient
        direction = torch.nn.functional.normalize(_normal(gradient, generator), dim=1)
        length = _uniform(gradient[:, :1], generator) ** (1 / gradient.shape[1])
        flat = gradient.norm(dim=1, keepdim=True) <= threshold
        return torch.where(flat, gradient + radius * length * direction / lr, gradient)

    return noisy


def walk(
    gradient: Callable[[Tensor], Tensor],
    position: Tensor,
    descent: Descent,
    *,
    num_steps: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The positions (num_steps + 1, replicas, dim) of walkers that descend from `position` (replicas, dim).

    Raises:
        ValueError: num_steps < 1, noise without a generator, or a gradient of another shape.
    """
    walkers, positions = start(position), [position]
    check_count("walk", "num_steps", num_steps)
    _check_noise("walk", descent, generator)
    for t in range(num_steps):
        walkers = _advance("walk", gradient, walkers, descent, t, generator)
        positions.append(walkers.position)
    return torch.stack(positions)


def first_passage(
    gradient: Callable[[Tensor], Tensor],
    position: Tensor,
    escaped: Callable[[Tensor], Tensor],
    descent: Descent,
    *,
    max_steps: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """For each walker the first step after which it has escaped: (replicas,) float64, infinite if it never does.

    A walker that becomes NaN or infinite without having escaped gets NaN, and a RuntimeWarning counts them.

    Args:
        gradient: positions (replicas, dim) to gradients of the same shape.
        position: (replicas, dim) starting points.
        escaped: positions to booleans (replicas,).
        max_steps: when to give up, >= 1.
        generator: for the noise of `descent`.
    Raises:
        ValueError: a bound above is broken, noise comes without a generator, or a function returns another shape.
    """
    walkers = start(position)
    check_count("first_passage", "max_steps", max_steps)
    _check_noise("first_passage", descent, generator)
    steps = torch.full((len(position),), math.inf, dtype=torch.float64, device=position.device)
    steps[_escaped(escaped, position)] = 0
    for t in range(max_steps):
        if steps.isfinite().all():
            break
        walkers = _advance("first_passage", gradient, walkers, descent, t, generator)
        steps[_escaped(escaped, walkers.position) & steps.isinf()] = t + 1
    return _without_lost(steps, walkers)


def _without_lost(steps: Tensor, walkers: Walkers) -> Tensor:
    """NaN, with a warning, for the walkers that left the finite numbers before they escaped."""
    lost = steps.isinf() & ~walkers.position.isfinite().all(dim=1)
    if lost.any():
        found = f"{int(lost.sum())} of {len(lost)} walkers became NaN or infinite before they escaped"
        warnings.warn(f"first_passage: {found}", RuntimeWarning, stacklevel=3)
    return steps.masked_fill(lost, math.nan)


def _escaped(escaped: Callable[[Tensor], Tensor], position: Tensor) -> Tensor:
    out = escaped(position.clone())
    if not isinstance(out, Tensor) or out.dtype != torch.bool or out.shape != position.shape[:1]:
        rule = f"escaped must return booleans of shape ({len(position)},)"
        raise ValueError(f"first_passage: {rule}, got {_said(out)}")
    return out


def _advance(
    function: str, gradient: Callable, walkers: Walkers, descent: Descent, t: int, generator: torch.Generator | None
) -> Walkers:
    pull = gradient(walkers.position.clone())  # its own copy: it may work in place
    _check_gradient(function, pull, walkers.position)
    if descent.noise is not None:
        pull = descent.noise(pull, t, descent.lr, generator)
    return _step(walkers, pull, descent.lr, descent.momentum)


def _is_floating(thing: object, ndim: int) -> bool:
    return isinstance(thing, Tensor) and thing.is_floating_point() and thing.ndim == ndim and thing.numel() > 0


def _said(thing: object) -> str:
    """What came instead: a tensor's dtype and shape, else the type."""
    return f"{thing.dtype} {tuple(thing.shape)}" if isinstance(thing, Tensor) else type(thing).__name__


def _check_gradient(function: str, gradient: Tensor, position: Tensor) -> None:
    fits = isinstance(gradient, Tensor) and gradient.shape == position.shape and gradient.dtype == position.dtype
    if not fits:
        raise ValueError(f"{function}: gradient must be {_said(position)}, as the positions are, got {_said(gradient)}")


def _check_rates(function: str, lr: float, momentum: float) -> None:
    if check_number(function, "lr", lr, low=0) == 0:
        raise ValueError(f"{function}: lr must be > 0, got {lr}")
    if check_number(function, "momentum", momentum, low=0) >= 1:
        raise ValueError(f"{function}: momentum must lie in [0, 1), got {momentum}")


def _check_noise(function: str, descent: Descent, generator: torch.Generator | None) -> None:
    if not isinstance(descent, Descent):
        raise ValueError(f"{function}: descent must be a Descent, such as Descent(lr=0.1), got {descent!r}")
    if descent.noise is not None:
        check_generator(function, generator)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    check_generator("noise", generator)
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device).to(like.device)


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=generator.device).to(like.device)
