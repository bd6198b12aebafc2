"""What another evaluation is worth: the improvement on the best value so far that a normal forecast expects."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from labsupport.values import holds

__all__ = ["expected_improvement", "log_improvement_slopes"]


def expected_improvement(mean: Tensor, variance: Tensor, *, best: Tensor | float) -> Tensor:
    """E max(best − f, 0) for f normal: σ (φ(z) + z Φ(z)) with z = (best − mean) / σ. Small values are better.

    Accurate to rounding also where it is tiny, until it underflows to 0. Where the variance is 0 it is
    max(best − mean, 0), and the gradient with respect to the variance is given as 0.

    Args:
        mean: of any shape.
        variance: of the same shape, >= 0.
        best: the value to improve on; a number, or a tensor that broadcasts.
    Returns:
        The shape and dtype of mean.
    Raises:
        ValueError: shapes that differ, a mean of integers, or a variance below 0.
    Source: Jones, Schonlau & Welch 1998, doi:10.1023/A:1008306431147, eq. 15.
    """
    z, deviation, gain = _standardized("expected_improvement", mean, variance, best)
    uncertain = deviation * _log_h(z).exp()
    return torch.where(variance > 0, uncertain, gain.clamp_min(0)).to(mean.dtype)


def log_improvement_slopes(
    mean: Tensor, variance: Tensor, *, best: Tensor | float
) -> tuple[Tensor, Tensor, Tensor]:
    """The logarithm of `expected_improvement`, and its derivatives in mean and variance, in closed form.

    It has a slope also where the improvement itself underflows to 0.

    Args, Raises: as there; the variance is > 0.
    Returns:
        Three tensors of mean's shape, float64.
    Source: Ament, Daulton, Eriksson, Balandat & Bakshy 2023, arXiv:2310.20708; the branches are ours.
    """
    z, deviation, _ = _standardized("log_improvement_slopes", mean, variance, best)
    logs = _log_h(z)
    ratio = (torch.special.log_ndtr(z) - logs).exp()  # Φ / (φ + z Φ), the derivative of the logarithm
    ratio = torch.where(z > -1e3, ratio, -z - 2 / z)  # there the two logarithms cancel
    return deviation.log() + logs, -ratio / deviation, (1 - z * ratio) / (2 * deviation.square())


def _standardized(where: str, mean: Tensor, variance: Tensor, best: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """z, σ and best − mean in float64; where the variance is 0, σ is 1 so that nothing there is infinite."""
    if not mean.is_floating_point():  # the answer would be rounded
        raise ValueError(f"{where}: mean must be a tensor of floats, got {mean.dtype}")
    if mean.shape != variance.shape:
        raise ValueError(f"{where}: variance must have mean's shape {tuple(mean.shape)}, got {tuple(variance.shape)}")
    if not holds(variance >= 0):
        raise ValueError(f"{where}: variance must be >= 0, got {variance.min().item()}")
    variance = variance.double()
    deviation = torch.where(variance > 0, variance, 1.0).sqrt()
    gain = best - mean.double()
    return gain / deviation, deviation, gain


def _log_h(z: Tensor) -> Tensor:
    """log(φ(z) + z Φ(z)). Each branch sees only numbers that it can bear, so the gradients of the others are 0."""
    near, far = z > -1, z < -100
    a = torch.where(near, z, 0.0)
    density = torch.exp(-0.5 * a.square()) / math.sqrt(2 * math.pi)
    direct = torch.log(density + a * torch.special.ndtr(a))
    b = torch.where(near | far, -2.0, z)
    mills = math.sqrt(math.pi / 2) * torch.special.erfcx(-b / math.sqrt(2))  # Φ(b) / φ(b)
    middle = -0.5 * b.square() - 0.5 * math.log(2 * math.pi) + torch.log1p(b * mills)
    c = torch.where(far, z, -100.0)
    d = c.pow(-2)  # 1 + c Φ/φ = d − 3d² + 15d³ − 105d⁴ + …
    tail = -0.5 * c.square() - 0.5 * math.log(2 * math.pi) + d.log() + torch.log1p(d * (-3 + d * (15 - 105 * d)))
    return torch.where(near, direct, torch.where(far, tail, middle))
