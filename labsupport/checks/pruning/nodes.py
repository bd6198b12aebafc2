"""Checks of the exercises that belong to page `nodes`."""

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import normal
from labsupport.checks.frame import check

__all__ = ["removal_order", "taylor_saliency"]

Cost = Callable[[Tensor, list[int], list[int]], Tensor]


def _greedy(gram: Tensor, count: int, cost: Cost, sign: float = 1.0) -> tuple[list[int], list[int]]:
    """Who has gone, in order, and who is left; `cost` of each unit, given who has gone and who is left."""
    gone, left = [], list(range(len(gram)))
    for _ in range(count):
        gone.append(min(left, key=lambda k: sign * float(cost(gram, [k], gone))))
        left.remove(gone[-1])
    return gone, left


def _added(gram: Tensor, unit: list[int], gone: list[int]) -> Tensor:
    return gram[unit][:, unit].sum() + 2 * gram[unit][:, gone].sum()


def _order(gram: Tensor, count: int) -> list[int]:
    return _greedy(gram, count, _added)[0]


def _grams(generator: torch.Generator) -> dict[str, tuple]:
    pushes = normal(generator, 6, 4) * torch.tensor([1.0, 1.0, 1.6, 1.8, 2.0, 2.2], dtype=torch.float64)[:, None]
    pushes /= torch.linalg.vector_norm(pushes, dim=1, keepdim=True)
    sizes = torch.tensor([1.0, 1.05, 1.3, 1.35, 1.6, 1.9], dtype=torch.float64)[:, None]
    twins, rivals = pushes.clone(), pushes.clone()
    twins[1], rivals[4] = pushes[0] + 0.05 * pushes[1], -pushes[0] + 0.1 * pushes[4]
    slight = torch.diag(torch.tensor([1.0, 2.0, 1.55, 3.0, 3.3, 3.6], dtype=torch.float64))
    slight[0, 1] = slight[1, 0] = -0.3 + 0.02 * float(normal(generator).clamp(-1, 1))
    return {
        "two twins": ((twins * sizes) @ (twins * sizes).T, 3),
        "two that cancel": ((rivals * sizes) @ (rivals * sizes).T, 3),
        "any units": ((pushes * sizes) @ (pushes * sizes).T, 3),
        "two that cancel in part": (slight, 2),
        "a single removal": ((twins * sizes) @ (twins * sizes).T, 1),
    }


@check(
    truth=_order,
    given=_grams,
    returns="a list of unit numbers in the order of their removal",
    wrong={
        "ranked once": (lambda gram, count: gram.diagonal().argsort()[:count].tolist(),
            "You rank the units once, each alone. When some have gone, a unit also costs its products with them: "
            "rank anew after each removal."),
        "the units kept": (lambda gram, count: _greedy(gram, count, _added)[1],
            "These are the units that stay. Return those that go, in the order in which they go."),
        "dearest first": (lambda gram, count: _greedy(gram, count, _added, sign=-1.0)[0],
            "You delete the unit that costs most. Take the one whose removal adds least."),
        "sorted": (lambda gram, count: sorted(_order(gram, count)),
            "The right units, by their numbers. Return them in the order in which they go."),
        "pairs once": (lambda gram, count: _greedy(
                gram, count, lambda g, k, gone: g[k][:, k].sum() + g[k][:, gone].sum())[0],
            "Each pair stands in the matrix twice, (i, j) and (j, i): a new unit adds twice its products with those "
            "that have gone."),
        "beside those left": (lambda gram, count: _greedy(
                gram, count, lambda g, k, gone: 2 * g[k][:, [j for j in range(len(g)) if j not in gone]].sum()
                - g[k][:, k].sum())[0],
            "You count a unit's products with those that are still there. What is lost are the pushes of those that "
            "have gone."),
    },
)  # fmt: skip
def removal_order(answer: Callable, generator: torch.Generator) -> str | None:
    """`removal_order(gram, count)`: units in greedy order, where deleting a set D costs the sum of gram over D × D."""


def _series(o: Tensor, slope: Tensor, curve: Tensor) -> Tensor:
    return (-o * slope + o**2 * curve / 2).mean(0)


def _mean(value: Tensor) -> Tensor:
    return value.mean(0)


@check(
    truth=_series,
    given=lambda generator: [
        (normal(generator, n, 4) + 0.5, normal(generator, n, 4), normal(generator, n, 4).square()) for n in (7, 12)
    ],
    returns="one number for each unit",
    wrong={
        "averaged first": (lambda o, slope, curve: _series(*(_mean(v)[None] for v in (o, slope, curve))),
            "You average outputs and derivatives first. Each example has its own o and its own derivatives: multiply, "
            "then average."),
        "towards larger": (lambda o, slope, curve: (o * slope + o**2 * curve / 2).mean(0),
            "Deleting moves the output from o to 0: that is a step of −o."),
        "one half forgotten": (lambda o, slope, curve: (-o * slope + o**2 * curve).mean(0),
            "The term of second order is half the curvature times the squared step."),
        "first order only": (lambda o, slope, curve: (-o * slope).mean(0),
            "That is the first order. Add the term with the second derivative."),
        "small is unimportant": (lambda o, slope, curve: o.abs().mean(0),
            "How large a unit's output is says little: a small output may be in a steep place. Use the derivatives."),
        "step not squared": (lambda o, slope, curve: (-o * slope + o * curve / 2).mean(0),
            "In the term of second order the step counts squared."),
        "summed": (lambda o, slope, curve: _series(o, slope, curve) * len(o),
            "That is the sum over the examples. The loss is a mean over them."),
    },
)  # fmt: skip
def taylor_saliency(answer: Callable, generator: torch.Generator) -> str | None:
    """`taylor_saliency(o, slope, curve)`: −o slope + ½ o² curve for each example, averaged over the examples."""
