"""Checks of the exercises that belong to page `diversity_and_merging`."""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import normal
from labsupport.checks.frame import check

__all__ = ["merged_weights", "subset_probability"]


def _fitted(activations: Tensor, weight: Tensor, kept: list[int]) -> Tensor:
    return torch.linalg.lstsq(activations[:, kept], activations @ weight.T).solution.T


def _others(units: int, kept: list[int]) -> list[int]:
    return [k for k in range(units) if k not in kept]


def _nearest(activations: Tensor, weight: Tensor, kept: list[int]) -> Tensor:
    found = weight[:, kept].clone()
    for k in _others(weight.shape[1], kept):
        gaps = (activations[:, kept] - activations[:, [k]]).square().sum(0)
        found[:, int(gaps.argmin())] += weight[:, k]
    return found


def _layers(generator: torch.Generator) -> dict[str, tuple]:
    mixed = normal(generator, 20, 3) @ normal(generator, 3, 6) + 0.3 * normal(generator, 20, 6)
    return {
        "six units, three kept": (mixed, normal(generator, 2, 6), [4, 0, 3]),
        "four kept, in another order": (mixed + 0.5, normal(generator, 3, 6), [5, 1, 2, 0]),
    }


@check(
    truth=_fitted,
    given=_layers,
    returns="a matrix (out, units kept)",
    wrong={
        "merged is deleted": (lambda activations, weight, kept: weight[:, kept],
            "You deleted the others. Merging lets those kept take over: new weights that give the same sums, as nearly "
            "as they can."),
        "rescaled": (lambda activations, weight, kept: weight[:, kept] * weight.shape[1] / len(kept),
            "Rescaling, as dropout does, keeps the size of the sums, not the sums. Fit them."),
        "kept for dropped": (lambda activations, weight, kept: _fitted(
                activations, weight, _others(weight.shape[1], kept)),
            "You fitted the units that are not in `kept`. Those in `kept` stay."),
        "only what was lost": (lambda activations, weight, kept: torch.linalg.lstsq(
                activations[:, kept],
                activations[:, (rest := _others(weight.shape[1], kept))] @ weight[:, rest].T).solution.T,
            "That is what the units kept take over. They also go on doing what they did: add their own weights, or fit "
            "the sums of all units."),
        "each to its nearest": (_nearest,
            "You gave each deleted unit's weights to the one most like it. Least squares spreads them over all that "
            "are kept, with the factors that fit."),
        "transposed": (lambda activations, weight, kept: _fitted(activations, weight, kept).T,
            "Return one row for each output, one column for each unit kept: transpose."),
        "in another order": (lambda activations, weight, kept: _fitted(activations, weight, sorted(kept)),
            "Your columns are in the order of the units' numbers. Column j belongs to unit `kept[j]`."),
    },
)  # fmt: skip
def merged_weights(answer: Callable, generator: torch.Generator) -> str | None:
    """`merged_weights(activations, weight, kept)`: weights of the units kept that best give the sums of all."""


def _det(kernel: Tensor, subset: tuple[int, ...] | list[int]) -> float:
    return float(torch.linalg.det(kernel[list(subset)][:, list(subset)]))


def _all_of(kernel: Tensor, size: int) -> list[tuple[int, ...]]:
    return list(itertools.combinations(range(len(kernel)), size))


def _chance(kernel: Tensor, subset: list[int]) -> float:
    return _det(kernel, subset) / math.fsum(_det(kernel, each) for each in _all_of(kernel, len(subset)))


def _alone(kernel: Tensor, subset: list[int]) -> float:
    sizes = kernel.diagonal()
    products = [float(sizes[list(each)].prod()) for each in _all_of(kernel, len(subset))]
    return float(sizes[list(subset)].prod()) / math.fsum(products)


def _kernels(generator: torch.Generator) -> list[tuple]:
    found = []
    for units, subset in ((4, [0, 2]), (5, [4, 1]), (5, [3, 0, 1])):
        half = normal(generator, units, 3)
        found.append((half @ half.T + 0.4 * torch.eye(units, dtype=half.dtype), subset))
    return found


@check(
    truth=_chance,
    given=_kernels,
    returns="one number",
    wrong={
        "not normalized": (_det,
            "That is the determinant. Probabilities sum to 1 over all subsets of this size: divide."),
        "any size": (lambda kernel, subset: _det(kernel, subset) / float(torch.linalg.det(
                kernel + torch.eye(len(kernel), dtype=kernel.dtype))),
            "det(I + L) sums over subsets of every size. Here the size is fixed: sum over subsets of this size."),
        "one by one": (_alone,
            "You multiply what units are worth alone. That they are alike stands off the diagonal: take determinants."),
        "kept for dropped": (lambda kernel, subset: _chance(kernel, _others(len(kernel), subset)),
            "That is the probability of drawing all the others."),
        "all alike": (lambda kernel, subset: 1 / math.comb(len(kernel), len(subset)),
            "That is a random subset. A k-DPP prefers subsets of large volume."),
        "volume for its square": (lambda kernel, subset: _det(kernel, subset) ** 0.5 / math.fsum(
                _det(kernel, each) ** 0.5 for each in _all_of(kernel, len(subset))),
            "The probability goes with the determinant, the squared volume, not with its root."),
        "orders counted": (lambda kernel, subset: _chance(kernel, subset) / math.factorial(len(subset)),
            "You count every subset once for each order of its units. {0, 2} and {2, 0} are one subset."),
        "over the whole": (lambda kernel, subset: _det(kernel, subset) / float(torch.linalg.det(kernel)),
            "You divide by the determinant of the whole kernel. Divide by the sum over all subsets of this size."),
        "logarithm": (lambda kernel, subset: math.log(_chance(kernel, subset)),
            "That is the logarithm of the probability."),
    },
)  # fmt: skip
def subset_probability(answer: Callable, generator: torch.Generator) -> str | None:
    """`subset_probability(kernel, subset)`: the probability of a subset under the k-DPP of its size."""
