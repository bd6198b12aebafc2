"""Checks of the exercises that belong to page `starting_points`."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from labsupport.checks.compare import as_tensor, close
from labsupport.checks.draws import normal, uniform, whole
from labsupport.checks.frame import check

__all__ = ["maximal_update", "memory_bias", "set_forget_bias"]


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


@check(
    truth=lambda lag, kept: _logit(kept ** (1 / lag)),
    given=lambda generator: [
        *((whole(generator, 5, 205), uniform(generator, 0.1, 0.9)) for _ in range(3)), (20, 0.5), (1, 0.75),
    ],
    wrong={
        "the lag forgotten": (lambda lag, kept: _logit(kept),
            "That keeps the share over a single step: each gate takes its share, at every step."),
        "the share forgotten": (lambda lag, kept: math.log(lag),
            "That is the page's rule of thumb, which keeps about 1/e, not `kept`."),
        "the gate, not its bias": (lambda lag, kept: kept ** (1 / lag),
            "That is the gate's value. The bias goes through the sigmoid: which b has it as its image?"),
        "a logarithm for the logit": (lambda lag, kept: math.log(kept ** (1 / lag)),
            "A logarithm undoes an exponential; the sigmoid's inverse is another function."),
        "the sign lost": (lambda lag, kept: -_logit(kept ** (1 / lag)),
            "The sign is lost: such a gate is nearly closed, and forgets at once."),
    },
)  # fmt: skip
def memory_bias(answer: Callable, generator: torch.Generator) -> str | None:
    """`memory_bias(lag, kept)`: the forget bias b with sigmoid(b) ** lag = kept."""


def _filled(bias: Tensor, part: int, value: float) -> Tensor:
    size = len(bias) // 4
    bias = bias.clone()
    bias[part * size : (part + 1) * size] = value
    return bias


def _same_sums(got: Any, right: tuple) -> bool:
    one, two = map(as_tensor, got)
    return one.shape == two.shape and close(one + two, right[0] + right[1])


@check(
    truth=lambda bias_ih, bias_hh, value: (_filled(bias_ih, 1, value), _filled(bias_hh, 1, 0.0)),
    given=lambda generator: [(normal(generator, 12), normal(generator, 12), 1.5)],
    same=_same_sums,
    returns="two tensors with the shape of the two biases",
    keeps=True,
    wrong={
        "the colleague's": (lambda one, two, value: (_filled(one, 3, value), _filled(two, 3, value)),
            "The forget gate's bias has not changed; you set that of the output gate, the last part."),
        "both biases": (lambda one, two, value: (_filled(one, 1, value), _filled(two, 1, value)),
            "torch adds the two biases: with 1.5 in both, the gate starts with 3. Their sum must be 1.5."),
        "the other bias forgotten": (lambda one, two, value: (_filled(one, 1, value), two.clone()),
            "The sum of the two biases at the forget gate must be 1.5 for every unit: the other bias is random too."),
        "the first quarter": (lambda one, two, value: (_filled(one, 0, value), _filled(two, 0, 0.0)),
            "The forget gate's bias has not changed; you set that of the input gate, the first part."),
        "all gates": (lambda one, two, value: (torch.full_like(one, value), torch.zeros_like(two)),
            "The other three gates have changed too: only the second quarter belongs to the forget gate."),
        "the cell's own part": (lambda one, two, value: (_filled(one, 2, value), _filled(two, 2, 0.0)),
            "The forget gate's bias has not changed; you set that of the cell, the third part."),
    },
)  # fmt: skip
def set_forget_bias(answer: Callable, generator: torch.Generator) -> str | None:
    """`set_forget_bias(bias_ih, bias_hh, value)`: the pair whose sum is `value` at the forget gate, the rest kept."""


def _powers(first: float, hidden: float, last: float) -> Callable[[str, int, int], float]:
    """A rule: the growth of the width to these powers."""
    powers = {"input": first, "hidden": hidden, "output": last}
    return lambda layer, width, base: (width / base) ** powers[layer]


def _widths(generator: torch.Generator) -> list[tuple]:
    base = whole(generator, 16, 64)
    return [
        (layer, width, base)
        for width in (base, base * whole(generator, 2, 8))
        for layer in ("input", "hidden", "output")
    ]


def _factor(layer: str, width: int, base: int) -> float:
    return _powers(0.5, 0, -0.5)(layer, width, base)


@check(
    truth=_factor,
    given=_widths,
    wrong={
        "the standard": (_powers(0, 0, 0),
            "With factors 1 the output moves further, and the input layer's sums less far."),
        "Adam's factors": (_powers(0, -1, -1),
            "These are Adam's factors. A step of plain descent has the size of the gradient."),
        "one factor instead of two": (_powers(1, 0, -1),
            "The factor counts twice, in the gradient and in W = f·w. Which f has the right square?"),
        "the hidden layer like the output layer": (_powers(0.5, -0.5, -0.5),
            "The gradient of a hidden sum shrinks like 1/N, and N products add up. What must f do?"),
        "the wrong way round": (_powers(-0.5, 0, 0.5),
            "In the output layer N products that agree add up, and your f makes the step larger still."),
        "the input layer forgotten": (_powers(0, 0, -0.5),
            "In the input layer 64 products stay 64, but the gradient of a sum shrinks like 1/N. f² must undo it."),
    },
)  # fmt: skip
def maximal_update(answer: Callable, generator: torch.Generator) -> str | None:
    """`maximal_update(layer, width, base)`: the factor f in W = f·w that transfers plain descent's learning rate."""
