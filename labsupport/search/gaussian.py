"""Gaussian processes with zero mean and a Matérn 5/2 kernel: how likely the data are, what they say elsewhere, a fit.

The kernel has one length for each input (automatic relevance determination): an input that does not matter gets a
long one. `signal` and `noise` are variances: of the function, and of what each measurement adds to it. Everything is
computed in float64 and differentiable once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from labsupport.values import check_count, holds, is_finite, number

__all__ = ["Hyper", "covariance", "fit", "log_marginal", "posterior"]

# `fit` looks here, for inputs in the unit cube and values of unit variance; its priors are normal in the logarithms.
LENGTHS, SIGNAL, NOISE = (0.02, 50.0), (0.05, 20.0), (1e-6, 1.0)
PRIORS = {"lengths": (0.5, 1.0), "signal": (1.0, 1.0), "noise": (1e-4, 2.0)}  # median, and deviation of the logarithm


class Hyper(NamedTuple):
    """What a kernel is given: lengths (dims,), signal () and noise (), both variances."""

    lengths: Tensor
    signal: Tensor
    noise: Tensor


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
    return _log_marginal("log_marginal", x.double(), y.double(), lengths, signal, noise).to(y.dtype)


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
    dims = x.shape[1]
    priors = [PRIORS["lengths"]] * dims + [PRIORS["signal"], PRIORS["noise"]]
    centre = torch.tensor(priors, dtype=torch.float64, device=x.device)

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.from_numpy(logs.copy()).to(x.device).requires_grad_()
        prior = 0.5 * ((at - centre[:, 0].log()) / centre[:, 1]).square().sum()
        value = prior - _log_marginal("fit", x, y, *_hyper(at.exp()))
        (gradient,) = torch.autograd.grad(value, at)
        return float(value.detach()), gradient.cpu().numpy()

    ends = [_descent(loss, start, dims, max_steps) for start in range(num_starts)]
    best = min(ends, key=lambda end: end.fun)
    return _hyper(torch.from_numpy(best.x).to(x.device).exp())


def _descent(loss: Callable, start: int, dims: int, max_steps: int) -> Any:
    from scipy import optimize  # slow to import, and only this function needs it

    bounds = np.log([LENGTHS] * dims + [SIGNAL, NOISE])
    first = np.log([PRIORS["lengths"][0]] * dims + [PRIORS["signal"][0], PRIORS["noise"][0]])
    first[:dims] += (-1) ** start * 0.8 * math.ceil(start / 2)
    first = first.clip(bounds[:, 0], bounds[:, 1])
    options = {"maxiter": max_steps}
    return optimize.minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options)


def _hyper(values: Tensor) -> Hyper:
    return Hyper(values[:-2], values[-2], values[-1])


def _matern(x: Tensor, z: Tensor, lengths: Tensor, signal: Tensor | float) -> Tensor:
    lengths = lengths.double()
    square = (x.double() / lengths)[:, None, :].sub((z.double() / lengths)[None, :, :]).square().sum(dim=-1)
    apart = square > 0
    # The root has no derivative at 0, the kernel has one, and it is 0 there.
    scaled = math.sqrt(5) * torch.where(apart, square, 1.0).sqrt().mul(apart)
    return signal * (1 + scaled + scaled.square() / 3) * torch.exp(-scaled)


def _log_marginal(
    where: str, x: Tensor, y: Tensor, lengths: Tensor, signal: Tensor | float, noise: Tensor | float
) -> Tensor:
    factor = _factor(where, x, lengths, signal, noise)
    white = torch.linalg.solve_triangular(factor, y[:, None], upper=False)
    constant = 0.5 * len(y) * math.log(2 * math.pi)
    return -0.5 * white.square().sum() - factor.diagonal().log().sum() - constant


def _factor(where: str, x: Tensor, lengths: Tensor, signal: Tensor | float, noise: Tensor | float) -> Tensor:
    """The lower Cholesky factor of the covariance of measurements at x."""
    eye = torch.eye(len(x), dtype=torch.float64, device=x.device)
    factor, info = torch.linalg.cholesky_ex(_matern(x, x, lengths, signal) + noise * eye)
    if not holds(info == 0):
        value = number(torch.as_tensor(noise))
        raise ValueError(f"{where}: the covariance of x must be positive definite: raise noise, got {value:g}")
    return factor


def _check(where: str, x: Tensor, y: Tensor | None, at: Tensor, **kernel: Tensor | float) -> None:
    if x.ndim != 2 or not is_finite(x):
        raise ValueError(f"{where}: x must be finite of shape (points, dims), got shape {tuple(x.shape)}")
    if at.ndim != 2 or at.shape[1] != x.shape[1] or not is_finite(at):
        raise ValueError(f"{where}: at must be finite of shape (points, {x.shape[1]}), got shape {tuple(at.shape)}")
    if y is not None and (y.shape != x.shape[:1] or not is_finite(y)):
        raise ValueError(f"{where}: y must be finite of shape ({len(x)},), got shape {tuple(y.shape)}")
    if "lengths" in kernel and kernel["lengths"].shape != x.shape[1:]:
        raise ValueError(f"{where}: lengths must have shape ({x.shape[1]},), got {tuple(kernel['lengths'].shape)}")
    for name, value in kernel.items():
        value = torch.as_tensor(value)
        above = value >= 0 if name == "noise" else value > 0
        if not holds(above & torch.isfinite(value)):
            rule = ">= 0" if name == "noise" else "> 0"
            raise ValueError(f"{where}: {name} must be finite and {rule}, got {value.tolist()}")
