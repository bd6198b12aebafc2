"""Checks of the exercises of chapter `landscape` that belong to page `linear_paths`."""

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.frame import check

__all__ = ["loss_barrier", "permute_hidden"]


@check(
    wrong={
        "highest less lowest": lambda losses: float(losses.max() - losses.min()),
        "above the start": lambda losses: float(losses.max() - losses[0]),
        "above the higher end": lambda losses: float(losses.max() - max(losses[0], losses[-1])),
        "above the mean of the ends": lambda losses: float(losses.max() - (losses[0] + losses[-1]) / 2),
        "the middle only": lambda losses: float(losses[len(losses) // 2] - (losses[0] + losses[-1]) / 2),
    }
)
def loss_barrier(answer: Callable, generator: torch.Generator) -> str | None:
    """`loss_barrier(losses)`: highest rise above the straight line between the first and the last loss."""
    u = torch.linspace(0, 1, 41, dtype=torch.float64)
    low = 0.2 + float(torch.rand((), generator=generator, dtype=torch.float64))
    got = float(answer(low - 0.9 * u * (1 - u)))
    if got < -1e-9:
        return "On a path that sags between two equal ends you found less than 0: look at every position, ends too."
    if got > 1e-9:
        return "On a path that only sags between two equal ends you found a hill: its lowest point does not matter."
    climb = low + 2 * u
    got = float(answer(climb))
    if abs(got) > 1e-9:
        if abs(got - 1) < 1e-9:
            return "On an even climb by 2 you found 1: compare with the line at its place, not with the ends' mean."
        return f"An even climb from {low:.2f} to {low + 2:.2f} has no barrier; you found {got:.2f}."
    early = low + 2 * u + torch.where(u < 0.3, 0.6 * torch.sin(torch.pi * u / 0.3), torch.zeros_like(u))
    expected, got = _barrier(early, u), float(answer(early))
    if abs(got) < 1e-9:
        return "A hill early on a climb may be lower than the higher end: measure it from the line at its place."
    if abs(got - expected) > 1e-6:
        return f"With a hill early on a climb the barrier is {expected:.3f}; you found {got:.3f}."
    return None


def _barrier(losses: Tensor, u: Tensor) -> float:
    return float((losses - (1 - u) * losses[0] - u * losses[-1]).max())


def _inverse(order: Tensor) -> Tensor:
    return order.argsort()


@check(
    wrong={
        "incoming weights only": lambda w1, b1, w2, order: (w1[order], b1[order], w2),
        "bias forgotten": lambda w1, b1, w2, order: (w1[order], b1, w2[:, order]),
        "outputs moved": lambda w1, b1, w2, order: (w1[order], b1[order], w2[order]),
        "back instead of forth": lambda w1, b1, w2, order: (w1[order], b1[order], w2[:, _inverse(order)]),
        "inputs moved": lambda w1, b1, w2, order: (w1[:, order], b1[order], w2[:, order]),
        "the other way round": lambda w1, b1, w2, order: (
            w1[_inverse(order)], b1[_inverse(order)], w2[:, _inverse(order)]),
        "nothing moved": lambda w1, b1, w2, order: (w1, b1, w2),
    }
)  # fmt: skip
def permute_hidden(answer: Callable, generator: torch.Generator) -> str | None:
    """`permute_hidden(w1, b1, w2, order)`: hidden unit k of the result is unit order[k], the function stays."""
    w1, w2, x = torch.randn(3, 5, 5, generator=generator, dtype=torch.float64)
    b1 = torch.randn(5, generator=generator, dtype=torch.float64)
    order = torch.tensor([1, 3, 0, 4, 2])  # one cycle: not its own inverse
    moved = answer(w1.clone(), b1.clone(), w2.clone(), order.clone())
    if not isinstance(moved, tuple) or [tuple(part.shape) for part in moved] != [(5, 5), (5,), (5, 5)]:
        return "Return three tensors with the shapes of w1, b1 and w2."
    first, bias, second = moved
    if torch.equal(first, w1) and torch.equal(second, w2):
        return "No unit has moved."
    if torch.equal(first, w1[:, order]):
        return "You moved the columns of w1: those are the inputs. A hidden unit's weights are its row."
    if torch.equal(first, w1[_inverse(order)]) and torch.equal(second, w2[:, _inverse(order)]):
        return "The function stays, but unit k must become the old unit order[k]; you moved unit k to place order[k]."
    if torch.equal(first, w1[order]) and torch.equal(bias, b1):
        return "The function has changed: each unit's bias must move with its row."
    if torch.equal(second, w2):
        return "The function has changed: what leaves a unit must move too, its column of w2."
    if torch.equal(second, w2[order]):
        return "The function has changed: you moved the rows of w2, which are the outputs; a unit's column must move."
    if torch.equal(second, w2[:, _inverse(order)]):
        return "The function has changed: w1 is in the new order and w2 in its inverse; both need the same."
    before, after = (torch.relu(x @ a.T + b) @ c.T for a, b, c in ((w1, b1, w2), moved))
    if not torch.allclose(before, after):
        return "The function has changed: outputs differ by up to " + f"{(before - after).abs().max():.2g}."
    if not torch.equal(first, w1[order]):
        return "The function stays, but row k of the new w1 must be row order[k] of the old one."
    return None
