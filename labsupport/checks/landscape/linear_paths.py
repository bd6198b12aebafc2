"""Checks of the exercises that belong to page `linear_paths`."""

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import normal, uniform
from labsupport.checks.frame import check

__all__ = ["loss_barrier", "permute_hidden"]


def _barrier(losses: Tensor) -> float:
    u = torch.linspace(0, 1, len(losses), dtype=losses.dtype)
    return float((losses - (1 - u) * losses[0] - u * losses[-1]).max())


def _paths(generator: torch.Generator) -> dict[str, tuple]:
    u, low = torch.linspace(0, 1, 41, dtype=torch.float64), uniform(generator, 0.2, 1.2)
    hill = torch.where(u < 0.3, 0.6 * torch.sin(torch.pi * u / 0.3), 0.0)
    return {
        "On a path that sags between two equal ends": (low - 0.9 * u * (1 - u),),
        "On an even climb": (low + 2 * u,),
        "With a hill early on a climb": (low + 2 * u + hill,),
    }


@check(
    truth=_barrier,
    given=_paths,
    wrong={
        "highest less lowest": (lambda losses: float(losses.max() - losses.min()),
            "you found a hill, and its lowest point does not matter. Measure from the line between the ends."),
        "above the start": (lambda losses: float(losses.max() - losses[0]),
            "you measure from the start alone. A climb from end to end is no hill: take the line between both."),
        "above the higher end": (lambda losses: float(losses.max() - max(losses[0], losses[-1])),
            "the hill may be lower than the higher end: measure it from the line at its place."),
        "above the mean of the ends": (lambda losses: float(losses.max() - (losses[0] + losses[-1]) / 2),
            "compare with the line at its place, not with the ends' mean."),
        "the middle only": (lambda losses: float(losses[len(losses) // 2] - (losses[0] + losses[-1]) / 2),
            "you found less than 0: look at every position, ends too."),
    },
)  # fmt: skip
def loss_barrier(answer: Callable, generator: torch.Generator) -> str | None:
    """`loss_barrier(losses)`: highest rise above the straight line between the first and the last loss."""


def _network(generator: torch.Generator) -> list[tuple]:
    order = torch.tensor([1, 3, 0, 4, 2])  # one cycle: not its own inverse
    return [(normal(generator, 5, 5), normal(generator, 5), normal(generator, 5, 5), order)]


@check(
    truth=lambda w1, b1, w2, order: (w1[order], b1[order], w2[:, order]),
    given=_network,
    returns="three tensors with the shapes of w1, b1 and w2",
    wrong={
        "incoming weights only": (lambda w1, b1, w2, order: (w1[order], b1[order], w2),
            "The function has changed: what leaves a unit must move too, its column of w2."),
        "bias forgotten": (lambda w1, b1, w2, order: (w1[order], b1, w2[:, order]),
            "The function has changed: each unit's bias must move with its row."),
        "outputs moved": (lambda w1, b1, w2, order: (w1[order], b1[order], w2[order]),
            "The function has changed: you moved the rows of w2, which are the outputs; a unit's column must move."),
        "back instead of forth": (lambda w1, b1, w2, order: (w1[order], b1[order], w2[:, order.argsort()]),
            "The function has changed: w1 is in the new order and w2 in its inverse; both need the same."),
        "inputs moved": (lambda w1, b1, w2, order: (w1[:, order], b1[order], w2[:, order]),
            "You moved the columns of w1: those are the inputs. A hidden unit's weights are its row."),
        "the other way round": (
            lambda w1, b1, w2, order: (w1[order.argsort()], b1[order.argsort()], w2[:, order.argsort()]),
            "The function stays, but unit k must become the old unit order[k]; you moved unit k to place order[k]."),
        "nothing moved": (lambda w1, b1, w2, order: (w1, b1, w2), "No unit has moved."),
    },
)  # fmt: skip
def permute_hidden(answer: Callable, generator: torch.Generator) -> str | None:
    """`permute_hidden(w1, b1, w2, order)`: hidden unit k of the result is unit order[k], the function stays."""
