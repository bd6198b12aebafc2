"""Checks of the exercises that belong to page `flat_minima`."""

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import normal, uniform
from labsupport.checks.frame import check

__all__ = ["edge_with_momentum", "sam_step", "scale_free_sharpness"]


@check(
    truth=lambda curvature, momentum: 2 * (1 + momentum) / curvature,
    given=lambda generator: [
        *((uniform(generator, 0.5, 9.5), uniform(generator, 0.1, 0.9)) for _ in range(3)), (10.0, 0.0), (4.0, 0.9),
    ],
    wrong={
        "momentum forgotten": (lambda curvature, momentum: 2 / curvature,
            "That is the edge without momentum. Walk at a slightly larger rate: it still comes to rest."),
        "momentum shrinks the window": (lambda curvature, momentum: 2 * (1 - momentum) / curvature,
            "You shortened the window for the longer steps; but the velocity turns with the overshoot."),
        "longer steps, wider window": (lambda curvature, momentum: 2 / (curvature * (1 - momentum)),
            "From 1 the walk at that rate blows up: the window does not grow as fast as the steps."),
        "half the way": (lambda curvature, momentum: (1 + momentum) / curvature,
            "At that rate the walk is quickly damped, not at its edge: you lost a factor of two."),
    },
)  # fmt: skip
def edge_with_momentum(answer: Callable, generator: torch.Generator) -> str | None:
    """`edge_with_momentum(curvature, momentum)`: the largest rate at which v ← ρv + g, x ← x − ηv stays bounded."""


def _summed(of: Callable[[Tensor, Tensor], Tensor]) -> Callable[[list[Tensor], list[Tensor]], float]:
    return lambda weights, curvatures: sum(float(of(w, h)) for w, h in zip(weights, curvatures, strict=True))


def _layers(generator: torch.Generator) -> dict[str, tuple]:
    w, h = torch.tensor([[[2.0, -1.0]], [[3.0, 5.0]]], dtype=torch.float64)
    shapes = (4, 3), (2, 4)
    drawn = [[normal(generator, *shape) for shape in shapes] for _ in range(2)]
    return {
        "A network of two layers": (drawn[0], [part.square() for part in drawn[1]]),
        "Weights (2, −1) with curvatures (3, 5)": ([w], [h]),
    }


@check(
    truth=_summed(lambda w, h: (w**2 * h).sum()),
    given=_layers,
    wrong={
        "the colleague's": (_summed(lambda w, h: h.sum()),
            "you add up the curvatures alone: multiply a layer by 2 and its curvatures fall by 4. Use the weights."),
        "one length for all layers": (
            lambda weights, curvatures: (
                sum(float(w.square().sum()) for w in weights) * sum(float(h.sum()) for h in curvatures)
            ),
            "one length for all layers moves when a layer grows and the next one shrinks: pair weights and curvatures.",
        ),
        "one length for each layer": (_summed(lambda w, h: w.square().sum() * h.sum()),
            "whole layers no longer move it, but single units do: pair each weight with its own curvature."),
        "the weight, not its square": (_summed(lambda w, h: (w.abs() * h).sum()),
            "weight times curvature: a weight doubled quarters its curvature, so one factor of it is too few."),
        "divided where to multiply": (_summed(lambda w, h: (h / w.square()).sum()),
            "divided by the squared weight, the measure moves twice as far: large weights have small curvatures."),
    },
)  # fmt: skip
def scale_free_sharpness(answer: Callable, generator: torch.Generator) -> str | None:
    """`scale_free_sharpness(weights, curvatures)`: Σ w² h over all weights, which no rescaling of units moves."""


def _up(gradient: Callable, theta: Tensor, radius: float) -> Tensor:
    slope = gradient(theta)
    return theta + radius * slope / slope.norm()


def _bowl(theta: Tensor) -> Tensor:
    return torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64).to(theta) * theta


@check(
    truth=lambda gradient, theta, lr, radius: theta - lr * gradient(_up(gradient, theta, radius)),
    given=lambda generator: [(_bowl, normal(generator, 3), lr, radius) for lr, radius in ((0.1, 0.5), (0.3, 0.05))],
    keeps=True,
    wrong={
        "plain descent": (lambda gradient, theta, lr, radius: theta - lr * gradient(theta),
            "That is plain gradient descent: the radius has no effect."),
        "stays uphill": (lambda gradient, theta, lr, radius: (
                _up(gradient, theta, radius) - lr * gradient(_up(gradient, theta, radius))
            ),
            "You descend from the point uphill. Only the gradient is taken there; the step starts at θ."),
        "looks downhill": (lambda gradient, theta, lr, radius: theta - lr * gradient(_up(gradient, theta, -radius)),
            "You look downhill: the sign of the first step must be plus."),
        "not normalized": (lambda gradient, theta, lr, radius: theta - lr * gradient(theta + radius * gradient(theta)),
            "The step uphill must have length r, whatever the gradient's: divide by its norm."),
        "adds both gradients": (
            lambda gradient, theta, lr, radius: theta - lr * (gradient(theta) + gradient(_up(gradient, theta, radius))),
            "You apply two gradients. The first only shows the way up; only the second is applied."),
    },
)  # fmt: skip
def sam_step(answer: Callable, generator: torch.Generator) -> str | None:
    """`sam_step(gradient, theta, lr, radius)`: θ − η·g(θ + r·g/‖g‖), and `theta` left as it was."""
