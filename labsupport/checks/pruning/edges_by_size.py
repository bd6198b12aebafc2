"""Checks of the exercises that belong to page `edges_by_size`."""

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import whole
from labsupport.checks.frame import check

__all__ = ["layer_fractions", "mask_of"]


def _mask(scores: Tensor, dropped: int) -> Tensor:
    order = scores.argsort(descending=True, stable=True)[: len(scores) - dropped]
    return torch.zeros(len(scores), dtype=torch.bool).index_fill(0, order, True)


def _tied(generator: torch.Generator) -> list[tuple]:
    """Scores with ties at the edge, and counts that lie above and below one half; one of them exactly there."""
    cases = []
    for size, sparsity in ((10, 0.35), (10, 0.25), (9, 0.4), (11, 0.7)):
        scores = torch.randint(1, 100, (size,), generator=generator).double().unique()[:3]
        scores = torch.cat([scores, scores[:1], scores.new_full((size - len(scores) - 1,), 50.0)])
        cases.append((scores[torch.randperm(size, generator=generator)], sparsity))
    cases.append((torch.tensor([3.0, 1.0, 2.0, 1.0, 5.0, 4.0], dtype=torch.float64), 0.2))
    return cases


def _by_threshold(scores: Tensor, sparsity: float) -> Tensor:
    dropped = int(sparsity * len(scores) + 0.5)
    return scores >= scores.sort().values[dropped]


def _later_stays(scores: Tensor, sparsity: float) -> Tensor:
    return _mask(scores.flip(0), int(sparsity * len(scores) + 0.5)).flip(0)


@check(
    truth=lambda scores, sparsity: _mask(scores, int(sparsity * len(scores) + 0.5)),
    given=_tied,
    wrong={
        "the fraction kept": (lambda scores, sparsity: _mask(scores, len(scores) - int(sparsity * len(scores) + 0.5)),
            "You keep as many as should go: sparsity is the fraction that is dropped."),
        "what goes for what stays": (lambda scores, sparsity: ~_mask(scores, int(sparsity * len(scores) + 0.5)),
            "Your mask is True where a weight goes. It should be True where it stays."),
        "rounded down": (lambda scores, sparsity: _mask(scores, int(sparsity * len(scores))),
            "You round the count down. Add one half first."),
        "half to even": (lambda scores, sparsity: _mask(scores, round(sparsity * len(scores))),
            "`round` takes a count that ends in one half to the even number. Add one half and round down instead."),
        "a threshold": (_by_threshold,
            "You compare with a threshold, so all that equal it stay, or go, together. Rank instead, and count."),
        "the later stays": (_later_stays,
            "Of two equal scores the one that comes first stays, so that every machine gives the same mask."),
    },
)  # fmt: skip
def mask_of(answer: Callable, generator: torch.Generator) -> str | None:
    """`mask_of(scores, sparsity)`: True where a weight stays; ⌊sparsity · n + ½⌋ go, the first of equals stays."""


def _layers(generator: torch.Generator) -> list[tuple]:
    cases = []
    for _ in range(3):
        sizes = [whole(generator, 20, 30), whole(generator, 8, 12), whole(generator, 3, 6)]
        layers = [torch.rand(n, generator=generator, dtype=torch.float64) * (1 + 2 * i) for i, n in enumerate(sizes)]
        cases.append((layers, 0.3))
    return cases


def _fractions(layers: list[Tensor], kept: float, *, more: int = 0) -> list[float]:
    sizes = torch.cat(layers)
    bound = sizes.sort(descending=True).values[round(kept * len(sizes)) - 1 + more]
    return [float((layer < bound).double().mean()) for layer in layers]


@check(
    truth=_fractions,
    given=_layers,
    wrong={
        "kept for dropped": (lambda layers, kept: [1 - share for share in _fractions(layers, kept)],
            "These are the fractions that stay. Asked is what each layer loses."),
        "kept taken for sparsity": (lambda layers, kept: _fractions(layers, 1 - kept),
            "You drop the fraction that was to be kept."),
        "every layer alike": (lambda layers, kept: [1 - kept for _ in layers],
            "You prune each layer by itself. Rank all weights together: layers with small weights lose more."),
        "shares of the whole": (lambda layers, kept: [
                share * len(layer) / len(torch.cat(layers))
                for share, layer in zip(_fractions(layers, kept), layers, strict=True)],
            "You divide by the number of all weights. Divide by each layer's own."),
        "one too many": (lambda layers, kept: _fractions(layers, kept, more=1),
            "One weight too many stays. Of n in descending order, the last that stays has the index "
            "`round(kept * n) - 1`."),
        "one too few": (lambda layers, kept: _fractions(layers, kept, more=-1),
            "One weight too few stays. Of n in descending order, the last that stays has the index "
            "`round(kept * n) - 1`, and it stays too."),
    },
)  # fmt: skip
def layer_fractions(answer: Callable, generator: torch.Generator) -> str | None:
    """`layer_fractions(layers, kept)`: what each layer loses when the largest fraction `kept` of all weights stays."""
