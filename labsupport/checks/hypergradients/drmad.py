"""Checks of the exercises that belong to page `drmad`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.frame import check

__all__ = ["line_hypergradient"]


def _line(place: Callable[[int, int], float] = lambda k, steps: k / steps) -> Callable:
    """DrMAD whose step k of `steps` back is taken at this place on the line."""

    def walked(
        start: Tensor, end: Tensor, w_bar: Tensor, products: Callable, num_steps: int, lr: float, momentum: float
    ) -> Tensor:
        v_bar, lam_bar = torch.zeros_like(w_bar), torch.zeros_like(w_bar)
        for number in reversed(range(num_steps)):
            u = place(number, num_steps)
            v_bar = v_bar - lr * w_bar
            curved, mixed = products((1 - u) * start + u * end, v_bar)
            lam_bar, w_bar, v_bar = lam_bar + mixed, w_bar + curved, momentum * v_bar
        return lam_bar

    return walked


def _printed(
    start: Tensor, end: Tensor, w_bar: Tensor, products: Callable, num_steps: int, lr: float, momentum: float
) -> Tensor:
    lam_bar = torch.zeros_like(w_bar)
    for number in reversed(range(num_steps)):
        u = number / num_steps
        curved, mixed = products((1 - u) * start + u * end, w_bar)
        lam_bar, w_bar = lam_bar - mixed, w_bar - curved
    return lam_bar


def _products(w: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
    """Of Σ ¼ w⁴ + ½ exp(λ) w² at λ = −1."""
    return (3 * w**2 + math.exp(-1)) * vector, math.exp(-1) * w * vector


def _walk(generator: torch.Generator) -> list[tuple]:
    start, end, w_bar = (0.5 + torch.rand(3, generator=generator, dtype=torch.float64) for _ in range(3))
    return [(start - 1.5, 2 * end, w_bar, _products, 5, 0.1, 0.5)]


@check(
    truth=_line(),
    given=_walk,
    returns="λ̄ alone, a tensor like the weights: here each weight has a coefficient of its own",
    wrong={
        "from the start to the end": (_line(lambda k, steps: (steps - 1 - k) / steps),
            "You walk from start to end. Going back begins at the end: k = K − 1 first."),
        "ends exchanged": (lambda start, end, *rest: _line()(end, start, *rest),
            "At u = 0 the line is at the start and at u = 1 at the end: w = (1 − u)·start + u·end."),
        "stays at the end": (_line(lambda k, steps: 1.0),
            "Your weights never move: step k of the way back is taken at u = k/K."),
        "begins at the end itself": (_line(lambda k, steps: (k + 1) / steps),
            "Your places are 1 … 1/K. A step back is taken at the weights *before* the step: u = k/K, the last of "
            "them 0."),
        "as printed": (_printed,
            "That is the published pseudo-code: the rate and the adjoint of the velocity are missing."),
        "no momentum": (lambda *given: _line()(*given[:-1], 0.0),
            "v̄ is lost from step to step: what is left of it, times the momentum, goes on."),
        "stretched to its mean": (lambda *given: _line()(*given) / given[4],
            "You return the mean over the steps; the contributions add up."),
    },
)  # fmt: skip
def line_hypergradient(answer: Callable, generator: torch.Generator) -> str | None:
    """`line_hypergradient(start, end, w_bar, products, num_steps, lr, momentum)`: DrMAD's recursion along the line."""
