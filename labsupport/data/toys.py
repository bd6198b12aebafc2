"""Toy problems with known answers: two spirals, MONK's, and loss surfaces given by a formula."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from labsupport.data.splits import Split
from labsupport.values import check_choice, check_count, check_generator, check_number

__all__ = ["linear_chain", "monks", "quadratic", "strict_saddle", "two_spirals"]

_VALUES = (3, 3, 2, 3, 4, 2)  # number of values of the six attributes
_NUM_TRAIN = {1: 124, 2: 169, 3: 122}
_NOISE = 0.05  # of the third problem's training labels


def two_spirals(
    num_examples: int, *, noise: float = 0.02, turns: float = 1.5, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Points on two interleaved spirals, one the other turned by half a circle.

    A point at fraction r of its arm has radius r and angle 2π · turns · r (+ π in class 1); r lies in [0.1, 1].

    Args:
        num_examples: number of points of both classes together; >= 2. Class 0 gets the odd one.
        noise: standard deviation of the normal noise on each coordinate; >= 0. Arms lie 1 / (2 · turns) apart.
        turns: full turns of an arm; > 0.
        generator: draws positions, order and noise; the tensors live on its device.
    Returns:
        x of shape (num_examples, 2), float32, and y of shape (num_examples,), int64, in random order.
    Source: Lang & Witbrock 1988, "Learning to tell two spirals apart" (there 3 turns and 194 points).
    """
    num_examples = check_count("two_spirals", "num_examples", num_examples, at_least=2)
    noise = check_number("two_spirals", "noise", noise, low=0.0)
    turns = check_number("two_spirals", "turns", turns)
    if turns <= 0:
        raise ValueError(f"two_spirals: turns must be > 0, got {turns!r}")
    check_generator("two_spirals", generator)
    where = {"generator": generator, "device": generator.device}
    y = torch.randperm(num_examples, **where) % 2
    radius = 0.1 + 0.9 * torch.rand(num_examples, **where, dtype=torch.float64).sqrt()
    angle = 2 * math.pi * turns * radius + math.pi * y
    x = radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    return (x + noise * torch.randn(num_examples, 2, **where, dtype=torch.float64)).float(), y


def monks(problem: int, *, generator: torch.Generator) -> Split:
    """One of the three MONK's problems, made from its rule: all 432 robots of six attributes.

    A robot is in class 1 when, with attributes a1 … a6 counted from 1,
    (1) a1 = a2 or a5 = 1; (2) exactly two attributes equal 1; (3) a5 = 3 and a4 = 1, or a5 ≠ 4 and a2 ≠ 3.

    train holds 124, 169 or 122 robots drawn without replacement; in problem 3 six of its labels (5 %) are
    flipped. valid holds the robots not drawn, rightly labelled. test holds all 432, rightly labelled and in
    counting order, so it contains train's robots, as it did in 1991. These are not the samples that UCI
    distributes: the same rules and sizes, but another draw for every generator state. Published error rates
    on UCI's sample compare only roughly.

    Args:
        problem: 1, 2 or 3.
        generator: draws the training robots and the flipped labels; the tensors live on its device.
    Returns:
        A Split with x one-hot of 17 = 3 + 3 + 2 + 3 + 4 + 2 inputs, float32.
    Source: Thrun et al. 1991, "The MONK's problems", CMU-CS-91-197.
    """
    check_choice("monks", "problem", problem, _NUM_TRAIN)
    check_generator("monks", generator)
    device, num_train = generator.device, _NUM_TRAIN[problem]
    robots = torch.cartesian_prod(*(torch.arange(count, device=device) for count in _VALUES))
    x = torch.cat([torch.nn.functional.one_hot(robots[:, k], count) for k, count in enumerate(_VALUES)], dim=1).float()
    y = _monks_rule(problem, robots + 1).long()
    order = torch.randperm(len(x), generator=generator, device=device)
    drawn, rest = order[:num_train], order[num_train:]
    labels = y[drawn]
    if problem == 3:
        flipped = torch.randperm(num_train, generator=generator, device=device)[: round(_NOISE * num_train)]
        labels[flipped] = 1 - labels[flipped]
    return Split((x[drawn], labels), (x[rest], y[rest]), (x, y), class_names=("0", "1"))


def _monks_rule(problem: int, robots: Tensor) -> Tensor:
    a1, a2, _, a4, a5, _ = robots.unbind(1)
    if problem == 1:
        return (a1 == a2) | (a5 == 1)
    if problem == 2:
        return (robots == 1).sum(1) == 2
    return ((a5 == 3) & (a4 == 1)) | ((a5 != 4) & (a2 != 3))


def _check_point(where: str, name: str, tensor: Tensor, length: int | None = None) -> None:
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        raise ValueError(f"{where}: {name} must be a floating-point tensor, got {getattr(tensor, 'dtype', tensor)!r}")
    if tensor.ndim < 1 or tensor.shape[-1] < 1 or (length is not None and tensor.shape[-1] != length):
        rule = f"(…, {length})" if length else "(…, d) with d >= 1"
        raise ValueError(f"{where}: {name} must have shape {rule}, got {tuple(tensor.shape)}")


def quadratic(point: Tensor, curvatures: Tensor) -> Tensor:
    """½ Σ hᵢ θᵢ²: a bowl, or a saddle where curvatures hᵢ of both signs occur.

    Args:
        point: θ of shape (…, d).
        curvatures: h of shape (d,), or broadcasting against point with a last axis of d.
    Returns:
        Shape (…), the inputs' dtype and device.
    """
    _check_point("quadratic", "point", point)
    _check_point("quadratic", "curvatures", curvatures, point.shape[-1])
    return 0.5 * (curvatures * point.square()).sum(-1)


def strict_saddle(point: Tensor) -> Tensor:
    """½x² − ½y² + ¼y⁴: a strict saddle at the origin between two minima at (0, ±1) of height −¼.

    Args:
        point: (x, y) of shape (…, 2).
    Returns:
        Shape (…). The Hessian at the origin is diag(1, −1), at the minima diag(1, 2).
    """
    _check_point("strict_saddle", "point", point, 2)
    x, y = point.unbind(-1)
    return 0.5 * x.square() - 0.5 * y.square() + 0.25 * y**4


def linear_chain(weights: Tensor) -> Tensor:
    """½(1 − w₁ w₂ … w_L)²: a deep linear net of width 1 that should learn the factor 1.

    The origin is critical for depth L >= 2. It is a strict saddle for L = 2 (Hessian eigenvalues ±1); for
    L >= 3 its Hessian is zero and the saddle is not strict.

    Args:
        weights: shape (…, L), L >= 1 the depth.
    Returns:
        Shape (…).
    """
    _check_point("linear_chain", "weights", weights)
    return 0.5 * (1 - weights.prod(-1)).square()
