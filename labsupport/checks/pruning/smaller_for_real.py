"""Checks of the exercises that belong to page `smaller_for_real`."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from labsupport.checks.draws import whole
from labsupport.checks.frame import check

__all__ = ["left_to_multiply", "saved_bias"]


def _products(widths: Sequence[int]) -> int:
    return sum(a * b for a, b in pairwise(widths))


def _left(widths: Sequence[int], drop: int) -> int:
    return _products([widths[0], *(width - drop for width in widths[1:-1]), widths[-1]])


def _networks(generator: torch.Generator) -> list[tuple]:
    drop = whole(generator, 5, 9)
    hidden = [whole(generator, 30, 60) for _ in range(3)]
    return [([20, *hidden[:1], 10], drop), ([20, *hidden[:2], 10], drop), ([64, *hidden, 12], 2 * drop)]


@check(
    truth=_left,
    given=_networks,
    wrong={
        "zeroed is removed": (lambda widths, drop: _products(widths),
            "That is the whole network's count: you have set the units to 0 and multiplied by them all the same."),
        "fraction kept for dropped": (
            lambda widths, drop: _products([widths[0], *(drop for _ in widths[1:-1]), widths[-1]]),
            "You have kept the units that go. Of n hidden units, n − drop stay."),
        "rows alone": (
            lambda widths, drop: sum(a * (b - drop) for a, b in pairwise(widths[:-1])) + widths[-2] * widths[-1],
            "You cut the rows that make the units. The columns that read them go too."),
        "columns alone": (
            lambda widths, drop: widths[0] * widths[1] + sum((a - drop) * b for a, b in pairwise(widths[1:])),
            "You cut the columns that read the units. The rows that make them go too."),
        "inputs and outputs go too": (lambda widths, drop: _products([width - drop for width in widths]),
            "Inputs and outputs are given by the problem: only hidden layers lose units."),
        "biases counted": (lambda widths, drop: _left(widths, drop) + sum(widths[1:-1]) - drop * (len(widths) - 2)
                           + widths[-1],
            "A bias is added, not multiplied. Count the entries of the matrices alone."),
    },
)  # fmt: skip
def left_to_multiply(answer: Callable, generator: torch.Generator) -> str | None:
    """`left_to_multiply(widths, drop)`: multiply-adds once every hidden layer has lost `drop` units."""


def _saved(weight: Tensor, bias: Tensor, constant: Tensor, gone: Sequence[int]) -> Tensor:
    return bias + weight[:, gone] @ constant[gone]


def _stays(weight: Tensor, gone: Sequence[int]) -> list[int]:
    return [unit for unit in range(weight.shape[1]) if unit not in gone]


def _layers(generator: torch.Generator) -> list[tuple]:
    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    return [(drawn(3, 6), drawn(3), drawn(6).abs() + 0.5, [1, 4]), (drawn(4, 4), drawn(4), drawn(4).abs() + 0.5, [3])]


@check(
    truth=_saved,
    given=_layers,
    wrong={
        "merged is deleted": (lambda weight, bias, constant, gone: bias,
            "You have only deleted the units. What they put out for every example must go on being added."),
        "weights without outputs": (lambda weight, bias, constant, gone: bias + weight[:, gone].sum(1),
            "Each outgoing weight is multiplied by what its unit puts out."),
        "those that stay": (
            lambda weight, bias, constant, gone: _saved(weight, bias, constant, _stays(weight, gone)),
            "You have added what the other units put out. Those are still there and would count twice."),
        "taken away": (lambda weight, bias, constant, gone: 2 * bias - _saved(weight, bias, constant, gone),
            "The sign: the next layer added these constants, so its bias must add them too."),
        "mean for sum": (
            lambda weight, bias, constant, gone: bias + (weight[:, gone] * constant[gone]).mean(1),
            "A layer adds up what its inputs bring; it does not average."),
        "the old bias forgotten": (lambda weight, bias, constant, gone: weight[:, gone] @ constant[gone],
            "The bias that the layer had is gone. Add the constants to it."),
    },
)  # fmt: skip
def saved_bias(answer: Callable, generator: torch.Generator) -> str | None:
    """`saved_bias(weight, bias, constant, gone)`: the next layer's bias with which constant units can be cut."""
