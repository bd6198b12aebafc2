"""Checks of the exercises on flat minima; chapter `landscape` collects them."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.frame import check

__all__ = ["edge_with_momentum", "sam_step", "scale_free_sharpness"]


@check(
    wrong={
        "momentum forgotten": lambda curvature, momentum: 2 / curvature,
        "momentum shrinks the window": lambda curvature, momentum: 2 * (1 - momentum) / curvature,
        "longer steps, wider window": lambda curvature, momentum: 2 / (curvature * (1 - momentum)),
        "half the way": lambda curvature, momentum: (1 + momentum) / curvature,
    }
)
def edge_with_momentum(answer: Callable, generator: torch.Generator) -> str | None:
    """`edge_with_momentum(curvature, momentum)`: the largest rate at which v ← ρv + g, x ← x − ηv stays bounded."""
    draws = torch.rand(3, 2, generator=generator, dtype=torch.float64).tolist()
    cases = [(10.0, 0.0), (4.0, 0.9), *((0.5 + 9 * a, 0.1 + 0.8 * b) for a, b in draws)]
    for curvature, momentum in cases:
        got, edge = float(answer(curvature, momentum)), 2 * (1 + momentum) / curvature
        place = f"Curvature {curvature:.3g}, momentum {momentum:.3g}: you found {got:.4g}."
        if math.isclose(got, edge, rel_tol=1e-6):
            continue
        if math.isclose(got, edge / 2, rel_tol=1e-6):
            return f"{place} At that rate the walk is quickly damped, not at its edge: you lost a factor of two."
        if math.isclose(got, 2 / curvature, rel_tol=1e-6):
            return f"{place} That is the edge without momentum. Walk at 1.5 times that rate: it still comes to rest."
        if math.isclose(got, 2 * (1 - momentum) / curvature, rel_tol=1e-6):
            return f"{place} You shortened the window for the longer steps; but the velocity turns with the overshoot."
        if _size_after(curvature, momentum, got) > 1e3:
            return f"{place} From 1 the walk at that rate blows up: the window does not grow as fast as the steps."
        return f"{place} The walk at a slightly larger rate stays bounded too, or the number is no learning rate."
    return None


def _size_after(curvature: float, momentum: float, lr: float, num_steps: int = 2000) -> float:
    x, v = 1.0, 0.0
    for _ in range(num_steps):
        v = momentum * v + curvature * x
        x -= lr * v
        if abs(x) > 1e6:
            return math.inf
    return abs(x)


def _pairs(weights: list[Tensor], curvatures: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(weights, curvatures, strict=True))


@check(
    wrong={
        "the colleague's": lambda weights, curvatures: sum(float(h.sum()) for h in curvatures),
        "one length for all layers": lambda weights, curvatures: (
            sum(float(w.square().sum()) for w in weights) * sum(float(h.sum()) for h in curvatures)
        ),
        "one length for each layer": lambda weights, curvatures: sum(
            float(w.square().sum() * h.sum()) for w, h in _pairs(weights, curvatures)
        ),
        "the weight, not its square": lambda weights, curvatures: sum(
            float((w.abs() * h).sum()) for w, h in _pairs(weights, curvatures)
        ),
        "divided where to multiply": lambda weights, curvatures: sum(
            float((h / w.square()).sum()) for w, h in _pairs(weights, curvatures)
        ),
    }
)
def scale_free_sharpness(answer: Callable, generator: torch.Generator) -> str | None:
    """`scale_free_sharpness(weights, curvatures)`: Σ w² h over all weights, which no rescaling of units moves."""
    one = [torch.tensor([[2.0, -1.0]], dtype=torch.float64)], [torch.tensor([[3.0, 5.0]], dtype=torch.float64)]
    small = float(answer(*one))
    if math.isclose(small, 8.0):
        return "You add up the curvatures alone: multiply a layer by 2 and its curvatures fall by 4. Use the weights."
    if math.isclose(small, 11.0):
        return "Weight times curvature: a weight doubled quarters its curvature, so one factor of it is too few."
    weights, curvatures = _random_net(generator)
    found, layers = float(answer(weights, curvatures)), _moved(weights, curvatures, torch.full((4,), 3.0))
    if not math.isclose(found, float(answer(*layers)), rel_tol=1e-9):
        if math.isclose(small, 3 / 4 + 5):
            return "Divided by the squared weight, the measure moves twice as far: large weights have small curvatures."
        return "Multiplying the first layer by 3 and dividing the second by 3 still moves your measure."
    units = _moved(weights, curvatures, torch.tensor([3.0, 0.5, 1.0, 2.0]))
    if not math.isclose(found, float(answer(*units)), rel_tol=1e-9):
        return "Whole layers no longer move it, but single units do: pair each weight with its own curvature."
    if not math.isclose(small, 17.0):
        return f"Weights (2, −1) with curvatures (3, 5) give 4·3 + 1·5 = 17, you found {small:g}."
    return None


def _random_net(generator: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
    shapes = [(4, 3), (2, 4)]
    draws = [torch.randn(2, *shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [draw[0] for draw in draws], [draw[1].square() for draw in draws]


def _moved(weights: list[Tensor], curvatures: list[Tensor], scale: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Hidden unit i's incoming weights times scale[i], its outgoing ones divided by it; curvatures the other way."""
    rows, columns = scale.double()[:, None], scale.double()[None, :]
    return [weights[0] * rows, weights[1] / columns], [curvatures[0] / rows**2, curvatures[1] * columns**2]


def _up(gradient: Callable, theta: Tensor, radius: float) -> Tensor:
    slope = gradient(theta)
    return theta + radius * slope / slope.norm()


@check(
    wrong={
        "plain descent": lambda gradient, theta, lr, radius: theta - lr * gradient(theta),
        "stays uphill": lambda gradient, theta, lr, radius: (
            _up(gradient, theta, radius) - lr * gradient(_up(gradient, theta, radius))
        ),
        "looks downhill": lambda gradient, theta, lr, radius: theta - lr * gradient(_up(gradient, theta, -radius)),
        "not normalized": lambda gradient, theta, lr, radius: theta - lr * gradient(theta + radius * gradient(theta)),
        "adds both gradients": lambda gradient, theta, lr, radius: (
            theta - lr * (gradient(theta) + gradient(_up(gradient, theta, radius)))
        ),
    }
)
def sam_step(answer: Callable, generator: torch.Generator) -> str | None:
    """`sam_step(gradient, theta, lr, radius)`: θ − η·g(θ + r·g/‖g‖), and `theta` left as it was."""
    curvatures = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)
    for lr, radius in ((0.1, 0.5), (0.3, 0.05)):
        theta = torch.randn(3, generator=generator, dtype=torch.float64)
        kept = theta.clone()
        got = answer(lambda point: curvatures * point, theta, lr, radius)
        if not torch.equal(theta, kept):
            return "Your step changed `theta` in place: return new weights and leave the old ones alone."
        complaint = _complaint_on_sam(got, lambda point: curvatures * point, theta, lr, radius)
        if complaint:
            return complaint
    return None


def _complaint_on_sam(got: Tensor, gradient: Callable, theta: Tensor, lr: float, radius: float) -> str | None:
    higher = _up(gradient, theta, radius)
    known = {
        "That is plain gradient descent: the radius has no effect.": theta - lr * gradient(theta),
        "You descend from the point uphill. Only the gradient is taken there; the step starts at θ.": (
            higher - lr * gradient(higher)
        ),
        "You look downhill: the sign of the first step must be plus.": (
            theta - lr * gradient(_up(gradient, theta, -radius))
        ),
        "The step uphill must have length r, whatever the gradient's: divide by its norm.": (
            theta - lr * gradient(theta + radius * gradient(theta))
        ),
        "You apply two gradients. The first only shows the way up; only the second is applied.": (
            theta - lr * (gradient(theta) + gradient(higher))
        ),
    }
    if got.shape == theta.shape and torch.allclose(got, theta - lr * gradient(higher), atol=1e-10):
        return None
    for message, value in known.items():
        if got.shape == theta.shape and torch.allclose(got, value, atol=1e-10):
            return message
    return f"From θ = {theta.tolist()} with rate {lr} and radius {radius} the step leads elsewhere."
