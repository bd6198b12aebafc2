"""Checks of the exercises that belong to page `cheap_estimates`."""

from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor

from labsupport.checks.draws import normal, whole
from labsupport.checks.frame import check

__all__ = ["epochs_each", "rank_agreement", "sensitivity"]


def _agreement(a: Tensor, b: Tensor) -> float:
    signs = [float((a[i] - a[j]) * (b[i] - b[j]) > 0) for i, j in combinations(range(len(a)), 2)]
    return 2 * sum(signs) / len(signs) - 1


def _pearson(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]).double())[0, 1])


def _ranks(values: Tensor) -> Tensor:
    return values.argsort().argsort().double()


def _pairs(generator: torch.Generator, n: int, shared: float) -> tuple[Tensor, Tensor]:
    first = normal(generator, n)
    return first.exp(), shared * first + normal(generator, n)


@check(
    truth=_agreement,
    given=lambda generator: [
        (torch.tensor([0.1, 0.2, 0.3, 9.0]).double(), torch.tensor([1.0, 3.0, 2.0, 4.0]).double()),
        _pairs(generator, 12, 1.0), _pairs(generator, 20, 0.3), _pairs(generator, 9, -2.0),
    ],
    wrong={
        "Pearson": (_pearson,
            "That is Pearson's correlation, of the values. An outlier decides it. τ asks which of each pair is ahead."),
        "Spearman": (lambda a, b: _pearson(_ranks(a), _ranks(b)),
            "That is Spearman's correlation, of the ranks. τ counts pairs instead."),
        "the share that agrees": (lambda a, b: (_agreement(a, b) + 1) / 2,
            "That is the share of pairs in the same order. Take off the pairs in opposite order."),
        "pairs counted once, halved": (lambda a, b: _agreement(a, b) / 2,
            "You divide by n(n − 1), which counts each pair twice. There are n(n − 1)/2 pairs."),
        "neighbours alone": (lambda a, b: float(
                ((a[1:] - a[:-1]) * (b[1:] - b[:-1])).sign().mean()),
            "You compare neighbours in the list alone. Every two of the n count."),
        "the reverse": (lambda a, b: -_agreement(a, b),
            "The sign is wrong: pairs in the same order count +1."),
    },
)  # fmt: skip
def rank_agreement(answer: Callable, generator: torch.Generator) -> str | None:
    """`rank_agreement(a, b)`: Kendall's τ of two lists without ties."""


def _parts(generator: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and slopes of three layers; the terms of the middle one have a negative sum, those of the others not."""
    shapes = [(3, 4), (5, 3), (2, whole(generator, 5, 7))]
    weights = [normal(generator, *shape) for shape in shapes]
    slopes = [normal(generator, *shape) for shape in shapes]
    signs = [(w * g).sum().sign() * side for w, g, side in zip(weights, slopes, (1, -1, 1), strict=True)]
    return weights, [g * sign for g, sign in zip(slopes, signs, strict=True)]


def _sum(terms: list[Tensor]) -> Tensor:
    return torch.stack([term.sum() for term in terms]).sum()


@check(
    truth=lambda weights, slopes: _sum([(w * g).abs() for w, g in zip(weights, slopes, strict=True)]),
    given=lambda generator: [_parts(generator) for _ in range(3)],
    wrong={
        "the sum first": (
            lambda weights, slopes: _sum([w * g for w, g in zip(weights, slopes, strict=True)]).abs(),
            "Gains and losses cancel in your sum. Take the size of each weight's term first."),
        "each layer's sum first": (
            lambda weights, slopes: _sum([(w * g).sum().abs() for w, g in zip(weights, slopes, strict=True)]),
            "Within a layer gains and losses cancel. Take the size of each weight's term, not of a layer's sum."),
        "gradients alone": (lambda weights, slopes: _sum([g.abs() for g in slopes]),
            "These are gradients alone. A weight that is cut moves by its own size: multiply by it."),
        "weights alone": (lambda weights, slopes: _sum([w.abs() for w in weights]),
            "These are the weights' sizes alone. What a cut does to the loss needs the gradient."),
        "squared": (lambda weights, slopes: _sum([(w * g).square() for w, g in zip(weights, slopes, strict=True)]),
            "You square the terms. SNIP takes their absolute values."),
        "a mean": (lambda weights, slopes: torch.stack(
                [(w * g).abs().mean() for w, g in zip(weights, slopes, strict=True)]).sum(),
            "You average within layers. Then a large layer counts no more than a small one: sum."),
    },
)  # fmt: skip
def sensitivity(answer: Callable, generator: torch.Generator) -> str | None:
    """`sensitivity(weights, slopes)`: SNIP's score, Σ |w ∂L/∂w| over all weights of all layers."""


@check(
    truth=lambda costs, examples, budget: [budget // (3 * cost * examples) for cost in costs],
    given=lambda generator: [
        ([6634, 7690, 9802], 1000, 160_000_000),
        ([whole(generator, 1000, 1500), whole(generator, 5000, 9000)], whole(generator, 90, 120), 13_700_000),
        ([whole(generator, 200, 300)], 64, 1_000_003),
    ],
    wrong={
        "equal epochs": (
            lambda costs, examples, budget: [len(costs) * budget // (3 * sum(costs) * examples)] * len(costs),
            "You give all cells equally many epochs. A cell of twice the multiply-adds then costs twice as much."),
        "forward alone": (lambda costs, examples, budget: [budget // (cost * examples) for cost in costs],
            "You count the way forward alone. The way back costs twice as much again: three in all."),
        "a step for an epoch": (lambda costs, examples, budget: [budget // (3 * cost) for cost in costs],
            "That is how many examples a cell may see. An epoch has `examples` of them."),
        "rounded": (lambda costs, examples, budget: [round(budget / (3 * cost * examples)) for cost in costs],
            "You round to the nearest epoch, and may spend more than the budget. Round down."),
        "shared out": (
            lambda costs, examples, budget: [budget // (3 * cost * examples * len(costs)) for cost in costs],
            "The budget is one cell's. You share it out among all of them."),
        "the dear trains longer": (
            lambda costs, examples, budget: [budget // (3 * cost * examples) for cost in sorted(costs, reverse=True)],
            "Each epoch of a dear cell costs more, so it gets fewer of them. Keep the order of `costs`."),
    },
)  # fmt: skip
def epochs_each(answer: Callable, generator: torch.Generator) -> str | None:
    """`epochs_each(costs, examples, budget)`: whole epochs of training that a budget of multiply-adds pays, by cell."""
