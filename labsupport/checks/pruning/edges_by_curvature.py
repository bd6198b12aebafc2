"""Checks of the exercises that belong to page `edges_by_curvature`."""

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import normal, whole
from labsupport.checks.frame import check

__all__ = ["brain_surgery", "surgery_costs"]


def _bowls(generator: torch.Generator) -> list[tuple]:
    """Weights that pull at nearly the same thing, and a Hessian that says so."""
    cases = []
    for size in (3, 4, 5):
        root = normal(generator, size, size) + 1.5
        cases.append((normal(generator, size) + 2, root @ root.mT / size + 0.3 * torch.eye(size, dtype=torch.float64)))
    return cases


def _moved(weight: Tensor, column: Tensor, pivot: Tensor, q: int) -> Tensor:
    return (weight - weight[q] / pivot * column).index_fill(0, torch.tensor([q]), 0.0)


def _surgery(weight: Tensor, hessian: Tensor, q: int) -> Tensor:
    inverse = torch.linalg.inv(hessian)
    return _moved(weight, inverse[:, q], inverse[q, q], q)


@check(
    truth=_surgery,
    given=lambda generator: [(*bowl, whole(generator, 0, len(bowl[0]) - 1)) for bowl in _bowls(generator)],
    wrong={
        "nobody moves": (lambda weight, hessian, q: weight.index_fill(0, torch.tensor([q]), 0.0),
            "You delete the weight and let the others stand. That is damage; surgery moves them."),
        "the Hessian for its inverse": (lambda weight, hessian, q: _moved(weight, hessian[:, q], hessian[q, q], q),
            "You move along a column of the Hessian. Along its inverse the loss rises least."),
        "one over the Hessian's diagonal": (
            lambda weight, hessian, q: _moved(weight, torch.linalg.inv(hessian)[:, q], 1 / hessian[q, q], q),
            "You divide by 1/H_qq. The diagonal of the inverse is another number, unless the others cannot help."),
        "the wrong way": (lambda weight, hessian, q: (2 * weight - _surgery(weight, hessian, q)).index_fill(
                0, torch.tensor([q]), 0.0),
            "The others move the wrong way: look at the sign."),
        "the move alone": (lambda weight, hessian, q: _surgery(weight, hessian, q) - weight,
            "That is the move. Return the weights after it."),
        "not divided": (lambda weight, hessian, q: weight - weight[q] * torch.linalg.inv(hessian)[:, q],
            "Weight q does not land on 0: divide the move by [H⁻¹]_qq."),
    },
)  # fmt: skip
def brain_surgery(answer: Callable, generator: torch.Generator) -> str | None:
    """`brain_surgery(weight, hessian, q)`: the weights after the deletion of weight q, the others moved."""


def _from_zero(weight: Tensor, hessian: Tensor) -> Tensor:
    after = torch.stack([_surgery(weight, hessian, q) for q in range(len(weight))])
    return ((after @ hessian) * after).sum(1) / 2


@check(
    truth=lambda weight, hessian: weight.square() / (2 * torch.linalg.inv(hessian).diagonal()),
    given=_bowls,
    wrong={
        "damage": (lambda weight, hessian: weight.square() * hessian.diagonal() / 2,
            "That is what a deletion costs when the others stay. They may move."),
        "one over the Hessian's diagonal": (lambda weight, hessian: weight.square() / (2 * hessian.diagonal()),
            "You divide by the Hessian's diagonal. Divide by that of its inverse."),
        "one half forgotten": (lambda weight, hessian: weight.square() / torch.linalg.inv(hessian).diagonal(),
            "Your costs are twice what they should be."),
        "not squared": (lambda weight, hessian: weight.abs() / (2 * torch.linalg.inv(hessian).diagonal()),
            "The loss is a bowl: a weight twice as far costs four times as much."),
        "multiplied": (lambda weight, hessian: weight.square() * torch.linalg.inv(hessian).diagonal() / 2,
            "You multiply by the inverse's diagonal. Where the others can help it is large, and the cost small."),
        "measured from 0": (_from_zero,
            "You take the bowl to be lowest at 0. It is lowest at `weight`: what counts is how far the weights move."),
    },
)  # fmt: skip
def surgery_costs(answer: Callable, generator: torch.Generator) -> str | None:
    """`surgery_costs(weight, hessian)`: what each deletion costs when the others may move."""
