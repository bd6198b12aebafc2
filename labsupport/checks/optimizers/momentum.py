"""Checks of the exercises that belong to page `momentum`."""

import math
from collections.abc import Callable

import torch

from labsupport.checks.draws import uniform
from labsupport.checks.frame import check

__all__ = ["coasting", "fair_rate"]


@check(
    truth=lambda velocity, lr, momentum: -lr * velocity * momentum / (1 - momentum),
    given=lambda generator: [
        *((-uniform(generator, 2, 5), uniform(generator, 0.01, 1), uniform(generator, 0.2, 0.95)) for _ in range(4)),
        (-2.0, 0.1, 0.875),
    ],
    wrong={
        "the first step only": (lambda velocity, lr, momentum: -lr * momentum * velocity,
            "That is the first step. The second is ρ times as long, and so on."),
        "one step too many": (lambda velocity, lr, momentum: -lr * velocity / (1 - momentum),
            "You counted a step with the full velocity: the first one on level ground has ρ of it."),
        "the sign lost": (lambda velocity, lr, momentum: lr * velocity * momentum / (1 - momentum),
            "The size is right. The ball moves against its velocity, θ ← θ − ηv."),
        "the rate forgotten": (lambda velocity, lr, momentum: -velocity * momentum / (1 - momentum),
            "A step is the velocity times the rate."),
        "a ball at rest": (lambda velocity, lr, momentum: 0.0,
            "No gradient acts, but the ball keeps the share ρ of its velocity at each step."),
    },
)  # fmt: skip
def coasting(answer: Callable, generator: torch.Generator) -> str | None:
    """`coasting(velocity, lr, momentum)`: −ηvρ/(1−ρ), the way on level ground."""


@check(
    truth=lambda lr, old, new: lr * (1 - new) / (1 - old),
    given=lambda generator: [
        *((uniform(generator, 0.01, 1), uniform(generator, 0.1, 0.5), uniform(generator, 0.6, 0.99)) for _ in range(4)),
        (0.5, 0.0, 0.9), (0.1, 0.9, 0.0),
    ],
    wrong={
        "the rate as it was": (lambda lr, old, new: lr,
            "You keep the rate: the step then does not keep its old length."),
        "upside down": (lambda lr, old, new: lr * (1 - old) / (1 - new),
            "You turn the fraction: more momentum makes longer steps already, so the rate must fall."),
        "as if there had been no momentum": (lambda lr, old, new: lr * (1 - new),
            "You forget that the old momentum, too, lengthened the steps."),
        "by the momenta": (lambda lr, old, new: lr * old / new,
            "Not the momentum counts, but what is missing to 1."),
        "the root": (lambda lr, old, new: lr * math.sqrt((1 - new) / (1 - old)),
            "You take a root. It belongs to noise, which adds up in squares; a steady gradient does not."),
    },
)  # fmt: skip
def fair_rate(answer: Callable, generator: torch.Generator) -> str | None:
    """`fair_rate(lr, old, new)`: the rate that keeps η/(1−ρ)."""
