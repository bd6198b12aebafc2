"""Checks of the exercises that belong to page `retraining`."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from labsupport.checks.draws import normal, uniform, whole
from labsupport.checks.frame import check

__all__ = ["survivors", "train_pruned"]

Train = Callable[[Tensor], Tensor]


def _largest(sizes: Tensor, sparsity: float) -> Tensor:
    order = sizes.argsort(descending=True, stable=True)
    mask = torch.zeros(len(sizes), dtype=torch.bool)
    mask[order[: len(sizes) - round(sparsity * len(sizes))]] = True
    return mask


def _rounds(
    weight: Tensor, sparsities: Sequence[float], train: Train, *,
    size: Callable[[Tensor], Tensor] = torch.abs, again: bool = False, of_rest: bool = False,
    cut: bool = True,
) -> Tensor:  # fmt: skip
    """The mask after all rounds; `again` lets deleted weights return, `of_rest` deletes fractions of what is left.

    Without `cut` training goes on from whatever the deleted weights were.
    """
    mask, left = torch.ones(len(weight), dtype=torch.bool), 1.0
    for number, sparsity in enumerate(sparsities):
        weight = train(weight) if number else weight
        left = left * (1 - sparsity) if of_rest else 1 - sparsity
        sizes = size(weight)
        mask = _largest(sizes if again else sizes.masked_fill(~mask, -torch.inf), 1 - left)
        weight = torch.where(mask, weight, 0) if cut else weight
    return mask


def _trained_first(weight: Tensor, sparsities: Sequence[float], train: Train) -> Tensor:
    for _ in sparsities[1:]:
        weight = train(weight)
    return _largest(weight.abs(), sparsities[-1])


def _trainings(generator: torch.Generator) -> dict[str, tuple]:
    def case(n: int) -> tuple:
        weight, pull, factor = normal(generator, n), normal(generator, n), uniform(generator, 4.0, 6.0)

        def train(weight: Tensor) -> Tensor:
            weight = torch.as_tensor(weight, dtype=torch.float64)
            return torch.cos(factor * weight + weight.roll(1)) + pull  # a weight's training depends on another's

        return weight, [0.25, 0.5, 0.875], train

    return {f"With {n} weights": case(n) for n in (8 * whole(generator, 3, 6), 80, 160)}


@check(
    truth=_rounds,
    given=_trainings,
    returns="a boolean tensor with one entry for each weight, True where it stays",
    wrong={
        "ranked once": (lambda weight, sparsities, train: _largest(weight.abs(), sparsities[-1]),
            "you rank the weights once, before any training. After each round the sizes are others: rank them anew."),
        "one cut at the end": (_trained_first,
            "you train first and cut once. Here every cut changes what the next training begins with."),
        "deleted weights come back": (
            lambda weight, sparsities, train: _rounds(weight, sparsities, train, again=True),
            "a weight that was deleted comes back, because training moved it. What is gone stays gone: rank the rest."),
        "a fraction of what is left": (
            lambda weight, sparsities, train: _rounds(weight, sparsities, train, of_rest=True),
            "too many go: each sparsity is a fraction of all weights, not of those that are left."),
        "the largest go": (
            lambda weight, sparsities, train: _rounds(weight, sparsities, train, size=lambda w: -w.abs()),
            "you delete the largest weights. The smallest go."),
        "ranked with the sign": (
            lambda weight, sparsities, train: _rounds(weight, sparsities, train, size=lambda w: w),
            "you rank by the value, so that all negative weights go first. Size is |w|."),
        "kept for deleted": (
            lambda weight, sparsities, train: _rounds(weight, [1 - sparsity for sparsity in sparsities], train),
            "sparsity is the fraction that is deleted, not the one that stays."),
        "trained before the first cut": (
            lambda weight, sparsities, train: _rounds(train(weight), sparsities, train),
            "you train before the first cut too. First cut; then train before each further cut."),
        "never set to 0": (
            lambda weight, sparsities, train: _rounds(weight, sparsities, train, cut=False),
            "you rank rightly, but train weights that were deleted with their old values. A cut sets them to 0."),
        "only the first cut": (lambda weight, sparsities, train: _rounds(weight, sparsities[:1], train),
            "that is the mask after the first round."),
    },
)  # fmt: skip
def survivors(answer: Callable, generator: torch.Generator) -> str | None:
    """`survivors(weight, sparsities, train)`: the mask after pruning by size in rounds, with training in between."""


def _masked(
    weight: Tensor, mask: Tensor, gradients: Tensor, velocity: Tensor, lr: float, momentum: float, *,
    gradient: bool = False, at_start: bool = False, at_end: bool = False,
) -> Tensor:  # fmt: skip
    """Momentum, with the mask on the gradient, on the weights before each step, or on what is returned."""
    weight, velocity = torch.where(mask, weight, 0), velocity.clone()
    for slope in gradients:
        weight = torch.where(mask, weight, 0) if at_start else weight
        velocity = momentum * velocity + (slope * mask if gradient else slope)
        weight = weight - lr * velocity
    return torch.where(mask, weight, 0) if at_end else weight


def _right(
    weight: Tensor, mask: Tensor, gradients: Tensor, velocity: Tensor, lr: float, momentum: float
) -> Tensor:  # fmt: skip
    return _masked(weight, mask, gradients, velocity, lr, momentum, at_end=True)


def _runs(generator: torch.Generator) -> dict[str, tuple]:
    found = {}
    for steps in (1, whole(generator, 3, 6)):
        mask = torch.tensor([True, False, True, True, False, False])
        numbers = normal(generator, 6), mask, normal(generator, steps, 6), normal(generator, 6)
        found[f"After step {steps}"] = (*numbers, uniform(generator, 0.1, 0.3), uniform(generator, 0.7, 0.9))
    return found


@check(
    truth=_right,
    given=_runs,
    returns="a tensor with the weights that the network computes with",
    wrong={
        "only the gradient is masked": (lambda *run: _masked(*run, gradient=True),
            "a deleted weight is not 0: its gradient is, but the velocity from before still moves it."),
        "zeroed once": (lambda *run: _masked(*run),
            "a deleted weight is not 0: you zero it once, and the next step moves it. Zero is only a value."),
        "masked before the step": (lambda *run: _masked(*run, at_start=True),
            "a deleted weight is not 0: you mask before each step, and the network computes with what comes after."),
        "momentum thrown away": (
            lambda weight, mask, gradients, velocity, lr, momentum: _right(
                weight, mask, gradients, torch.zeros_like(velocity), lr, momentum
            ),
            "the weights that stay go another way: they lost the velocity they had."),
        "held where it was": (
            lambda weight, mask, *run: torch.where(mask, _right(weight, mask, *run), weight),
            "a deleted weight stands still at its old value. It must be 0."),
        "mask upside down": (lambda weight, mask, *run: _right(weight, ~mask, *run),
            "you delete the weights that should stay: the mask is True where a weight stays."),
        "no momentum": (
            lambda weight, mask, gradients, velocity, lr, momentum: _right(
                weight, mask, gradients, velocity, lr, 0.0
            ),
            "the weights that stay go another way: in each step the velocity keeps the share `momentum` of itself."),
    },
)  # fmt: skip
def train_pruned(answer: Callable, generator: torch.Generator) -> str | None:
    """`train_pruned(weight, mask, gradients, velocity, lr, momentum)`: what the network computes with in the end."""
