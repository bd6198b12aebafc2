"""Gaussian processes with zero mean and a Matérn 5/2 kernel: how likely the data are, what they say elsewhere, a fit.

The kernel has one length for each input (automatic relevance determination): an input that does not matter gets a
long one. `signal` and `noise` are variances: of the function, and of what each measurement adds to it. Everything is
computed in float64 and differentiable once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from labsupport.values import check_count, holds, is_finite, number

__all__ = ["Conditioned", "Hyper", "condition", "covariance", "fit", "forecast", "log_marginal", "posterior"]

# `fit` looks here, for inputs in the unit cube and values of unit variance; its priors are normal in the logarithms.
LENGTHS, SIGNAL, NOISE = (0.02, 50.0), (0.05, 20.0), (1e-6, 1.0)
PRIORS = {"lengths": (0.5, 1.0), "signal": (1.0, 1.0), "noise": (1e-4, 2.0)}  # median, and deviation of the logarithm


class Hyper(NamedTuple):
    """What a kernel is given: lengths (dims,), signal () and noise (), both variances."""

    lengths: Tensor
    signal: Tensor
    noise: Tensor


class Conditioned(NamedTuple):
    """A process of which values have been measured, ready to be asked often; `condition` makes it."""

    x: Tensor
    factor: Tensor
    weights: Tensor
    hyper: Hyper


def covariance(x: Tensor, z: Tensor, *, lengths: Tensor, signal: Tensor | float) -> Tensor:
    """The Matérn 5/2 kernel, signal · (1 + √5 r + 5 r²/3) exp(−√5 r), where r² = Σ (xᵢ − zᵢ)² / lengthsᵢ².

    Args:
        x: (n, dims).
        z: (m, dims).
        lengths: (dims,), > 0.
        signal: a variance, > 0.
    Returns:
        (n, m) float64.
    Raises:
        ValueError: a shape or a bound above is broken.
    Source: Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, eq. 4.17.
    """
    _check("covariance", x, None, z, lengths=lengths, signal=signal)
    return _matern(x, z, lengths, signal)


def log_marginal(
    x: Tensor, y: Tensor, *, lengths: Tensor, signal: Tensor | float, noise: Tensor | float
) -> Tensor:
    """The logarithm of the density of the values `y` at `x`, whatever the function: −½ yᵀK⁻¹y − ½ log|K| − n/2 log 2π.

    Args:
        x: (n, dims).
        y: (n,), of a process with mean 0.
        lengths: (dims,), > 0.
        signal: variance of the function, > 0.
        noise: variance of a measurement about the function, >= 0; K is the covariance with it on the diagonal.
    Returns:
        () of y's dtype; differentiable in all five.
    Raises:
        ValueError: a shape or a bound above is broken, or K is not positive definite in float64.
    Source: Rasmussen & Williams 2006, eq. 2.30 and algorithm 2.1.
    """
    _check("log_marginal", x, y, x, lengths=lengths, signal=signal, noise=noise)
    factor = _factor("log_marginal", x, lengths, signal, noise)
    white = torch.linalg.solve_triangular(factor, y.double()[:, None], upper=False)
    constant = 0.5 * len(y) * math.log(2 * math.pi)
    return (-0.5 * white.square().sum() - factor.diagonal().log().sum() - constant).to(y.dtype)


def posterior(
    x: Tensor, y: Tensor, at: Tensor, *, lengths: Tensor, signal: Tensor | float, noise: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Mean and variance of the function at other points, once `y` has been measured at `x`.

    The variance is the function's: a new measurement would add `noise` to it.

    Args:
        x: (n, dims); n may be 0, which leaves the prior.
        y: (n,), of a process with mean 0.
        at: (m, dims).
        lengths, signal, noise: as in `log_marginal`.
    Returns:
        mean (m,) and variance (m,), >= 0, of at's dtype.
    Raises:
        ValueError: as in `log_marginal`.
    Source: Rasmussen & Williams 2006, eqs. 2.25 and 2.26, algorithm 2.1.
    """
    _check("posterior", x, y, at, lengths=lengths, signal=signal, noise=noise)
    factor = _factor("posterior", x, lengths, signal, noise)
    sides = torch.cat([y.double()[:, None], _matern(x, at, lengths, signal)], dim=1)
    white = torch.linalg.solve_triangular(factor, sides, upper=False)
    mean = white[:, 1:].mT @ white[:, 0]
    variance = (signal - white[:, 1:].square().sum(dim=0)).clamp_min(0)
    return mean.to(at.dtype), variance.to(at.dtype)


def condition(x: Tensor, y: Tensor, hyper: Hyper) -> Conditioned:
    """The process once `y` has been measured at `x`, factored once for every later `forecast`.

    Args:
        x: (n, dims), n >= 1.
        y: (n,).
        hyper: as `fit` gives it.
    Raises:
        ValueError: as in `log_marginal`.
    """
    _check("condition", x, y, x, **hyper._asdict())
    factor = _factor("condition", x, *hyper)
    return Conditioned(x.double(), factor, torch.cholesky_solve(y.double()[:, None], factor)[:, 0], hyper)


def forecast(given: Conditioned, at: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """What `posterior` says at other points, and how to go from slopes in mean and variance to slopes in the points.

    Args:
        at: (m, dims).
    Returns:
        mean (m,) and variance (m,), >= 0, in float64; and pull(by_mean, by_variance), of two tensors (m,) the gradient
        (m, dims) in `at` of whatever has these derivatives. It is exact and needs no graph.
    Raises:
        ValueError: at is no such tensor.
    """
    if at.ndim != 2 or at.shape[1] != given.x.shape[1]:
        raise ValueError(f"forecast: at must have shape (points, {given.x.shape[1]}), got {tuple(at.shape)}")
    lengths, signal, _ = given.hyper
    steep, cross = _steepness(_scaled(at, given.x, lengths), signal)
    white = torch.linalg.solve_triangular(given.factor, cross.mT, upper=False)

    def pull(by_mean: Tensor, by_variance: Tensor) -> Tensor:
        solved = torch.linalg.solve_triangular(given.factor.mT, white, upper=True).mT
        by_square = -5 / 6 * steep * (by_mean[:, None] * given.weights - 2 * by_variance[:, None] * solved)
        return 2 * (at * by_square.sum(dim=1, keepdim=True) - by_square @ given.x) / lengths.square()

    return cross @ given.weights, (signal - white.square().sum(dim=0)).clamp_min(0), pull


def fit(x: Tensor, y: Tensor, *, num_starts: int = 2, max_steps: int = 60) -> Hyper:
    """The most probable lengths, signal and noise: marginal likelihood times a weak prior, by L-BFGS on the logarithms.

    The bounds and the prior (ours) suppose inputs in the unit cube and values of mean 0 and variance 1. The starts
    are fixed, so the same data give the same fit: the priors' medians first, then shorter and longer lengths in turn.

    Args:
        x: (n, dims), n >= 1.
        y: (n,).
        num_starts: >= 1; the best end counts.
        max_steps: of L-BFGS for each start, >= 1.
    Returns:
        `Hyper`, float64 where x is; `posterior(x, y, at, **hyper._asdict())` takes it.
    Raises:
        ValueError: a bound above is broken.
    Source: Byrd, Lu, Nocedal & Zhu 1995, doi:10.1137/0916069 (L-BFGS-B, through SciPy).
    """
    _check("fit", x, y, x)
    check_count("fit", "num_starts", num_starts)
    check_count("fit", "max_steps", max_steps)
    if len(x) == 0:
        raise ValueError("fit: x must hold at least one point, got none")
    x, y = x.detach().double(), y.detach().double()
    dims, apart = x.shape[1], (x.mT[:, :, None] - x.mT[:, None, :]).square()
    priors = [PRIORS["lengths"]] * dims + [PRIORS["signal"], PRIORS["noise"]]
    centre = torch.tensor(priors, dtype=torch.float64, device=x.device)

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.from_numpy(logs.copy()).to(x.device)
        away = (at - centre[:, 0].log()) / centre[:, 1]
        value, slope = _likelihood(apart, y, _hyper(at.exp()))
        return float(0.5 * away.square().sum() - value), (away / centre[:, 1] - slope).cpu().numpy()

    ends = [_descent(loss, start, dims, max_steps) for start in range(num_starts)]
    best = min(ends, key=lambda end: end.fun)
    return _hyper(torch.from_numpy(best.x).to(x.device).exp())


def _descent(loss: Callable, start: int, dims: int, max_steps: int) -> Any:
    from scipy import optimize  # slow to import, and only this function needs it

    bounds = np.log([LENGTHS] * dims + [SIGNAL, NOISE])
    first = np.log([PRIORS["lengths"][0]] * dims + [PRIORS["signal"][0], PRIORS["noise"][0]])
    first[:dims] += (-1) ** start * 0.8 * math.ceil(start / 2)
    first = first.clip(bounds[:, 0], bounds[:, 1])
    options = {"maxiter": max_steps, "ftol": 1e-7}
    return optimize.minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options)


def _hyper(values: Tensor) -> Hyper:
    return Hyper(values[:-2], values[-2], values[-1])


def _scaled(x: Tensor, z: Tensor, lengths: Tensor) -> Tensor:
    """√5 r: (n, m)."""
    lengths = lengths.double()
    square = (x.double() / lengths)[:, None, :].sub((z.double() / lengths)[None, :, :]).square().sum(dim=-1)
    apart = square > 0
    # The root has no derivative at 0, the kernel has one, and it is 0 there.
    return math.sqrt(5) * torch.where(apart, square, 1.0).sqrt().mul(apart)


def _steepness(scaled: Tensor, signal: Tensor | float) -> tuple[Tensor, Tensor]:
    """Where √5 r is this, −6/5 of the kernel's derivative in r², and the kernel."""
    decay = signal * torch.exp(-scaled)
    steep = decay * (1 + scaled)
    return steep, steep + decay * scaled.square() / 3


def _matern(x: Tensor, z: Tensor, lengths: Tensor, signal: Tensor | float) -> Tensor:
    return _steepness(_scaled(x, z, lengths), signal)[1]


def _likelihood(apart: Tensor, y: Tensor, hyper: Hyper) -> tuple[Tensor, Tensor]:
    """The log marginal likelihood, and its gradient in the logarithms of lengths, signal and noise, without a graph.

    Args:
        apart: (dims, n, n), the squared differences of the inputs.
    Source: Rasmussen & Williams 2006, eq. 5.9.
    """
    lengths, signal, noise = hyper
    steep, kernel = _steepness((5 * torch.tensordot(lengths.pow(-2), apart, dims=1)).sqrt(), signal)
    factor = _cholesky("fit", kernel, noise)
    weights = torch.cholesky_solve(y[:, None], factor)
    slope = 0.5 * (weights @ weights.mT - torch.cholesky_inverse(factor))  # in the covariance
    by_lengths = 5 / 3 * (apart.flatten(1) @ (slope * steep).flatten()) / lengths.square()
    value = -0.5 * y @ weights[:, 0] - factor.diagonal().log().sum() - 0.5 * len(y) * math.log(2 * math.pi)
    return value, torch.cat([by_lengths, torch.stack([(slope * kernel).sum(), noise * slope.trace()])])


def _factor(where: str, x: Tensor, lengths: Tensor, signal: Tensor | float, noise: Tensor | float) -> Tensor:
    """The lower Cholesky factor of the covariance of measurements at x."""
    return _cholesky(where, _matern(x, x, lengths, signal), noise)


def _cholesky(where: str, kernel: Tensor, noise: Tensor | float) -> Tensor:
    eye = torch.eye(len(kernel), dtype=torch.float64, device=kernel.device)
    factor, info = torch.linalg.cholesky_ex(kernel + noise * eye)
    if not holds(info == 0):
        value = number(torch.as_tensor(noise))
        raise ValueError(f"{where}: the covariance of x must be positive definite: raise noise, got {value:g}")
    return factor


def _check(where: str, x: Tensor, y: Tensor | None, at: Tensor, **kernel: Tensor | float) -> None:
    for name, given in (("x", x), ("y", y), ("at", at)):
        if given is not None and not (isinstance(given, Tensor) and given.is_floating_point()):  # it would be rounded
            found = given.dtype if isinstance(given, Tensor) else type(given).__name__
            raise ValueError(f"{where}: {name} must be a tensor of floats, got {found}")
    if x.ndim != 2 or not is_finite(x):
        raise ValueError(f"{where}: x must be finite of shape (points, dims), got shape {tuple(x.shape)}")
    if at.ndim != 2 or at.shape[1] != x.shape[1] or not is_finite(at):
        raise ValueError(f"{where}: at must be finite of shape (points, {x.shape[1]}), got shape {tuple(at.shape)}")
    if y is not None and (y.shape != x.shape[:1] or not is_finite(y)):
        raise ValueError(f"{where}: y must be finite of shape ({len(x)},), got shape {tuple(y.shape)}")
    for name, value in kernel.items():
        if not isinstance(value, (Tensor, Real)):
            raise ValueError(f"{where}: {name} must be a tensor or number, got {value!r}")
        value = torch.as_tensor(value)
        if name == "lengths" and value.shape != x.shape[1:]:
            raise ValueError(f"{where}: lengths must have shape ({x.shape[1]},), got {tuple(value.shape)}")
        if name != "lengths" and value.numel() != 1:
            raise ValueError(f"{where}: {name} must be one number, got shape {tuple(value.shape)}")
        above = value >= 0 if name == "noise" else value > 0
        if not holds(above & torch.isfinite(value)):
            rule = ">= 0" if name == "noise" else "> 0"
            raise ValueError(f"{where}: {name} must be finite and {rule}, got {value.tolist()}")
