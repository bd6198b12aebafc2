"""Checks of the exercises that belong to page `clipping`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import normal, whole
from labsupport.checks.frame import check

__all__ = ["clip_by_norm", "gathered"]


def _length(grads: list[Tensor]) -> float:
    return math.sqrt(sum(grad.double().square().sum().item() for grad in grads))


def _scaled(grads: list[Tensor], limit: float, length: float) -> list[Tensor]:
    return [grad * min(1.0, limit / max(length, 1e-30)) for grad in grads]


def _grads(generator: torch.Generator) -> dict[str, tuple]:
    first = [torch.randn(shape, generator=generator, dtype=torch.float32) for shape in ((4, 3), (5,), (2, 5))]
    grads = [part * s / _length(first) for part, s in zip(first, (1.0, 3.0, 6.0), strict=True)]
    size = _length(grads)
    return {
        "A limit of a fifth of the length": (grads, size / 5),
        "A limit just below the length": (grads, size / 1.1),
        "A gradient shorter than the limit": (grads, 2 * size),
        "A gradient of zero": ([torch.zeros_like(grad) for grad in grads], 1.0),
    }


@check(
    truth=lambda grads, limit: _scaled(grads, limit, _length(grads)),
    given=_grads,
    returns="a list of tensors with the shapes of the gradients",
    wrong={
        "each tensor alone": (
            lambda grads, limit: [part for grad in grads for part in _scaled([grad], limit, _length([grad]))],
            "each tensor has a factor of its own, which turns the gradient: take one length for all."),
        "by value": (lambda grads, limit: [grad.clamp(-limit, limit) for grad in grads],
            "entries are cut one by one, which turns the gradient."),
        "short ones lengthened": (lambda grads, limit: [grad * (limit / max(_length(grads), 1e-30)) for grad in grads],
            "it must stay as it is: clipping only shortens."),
        "lengths added": (lambda grads, limit: _scaled(grads, limit, sum(g.norm().item() for g in grads)),
            "lengths do not add up; their squares do."),
        "the length squared": (lambda grads, limit: _scaled(grads, limit, _length(grads) ** 2),
            "you divided by the squared length: the root is missing."),
        "zero divided by zero": (lambda grads, limit: [
                grad * torch.tensor(_length(grads)).clamp(max=limit) / _length(grads) for grad in grads
            ],
            "your function divides by zero. A gradient of zero must stay zero."),
        "thrown away": (
            lambda grads, limit: [torch.zeros_like(grad) for grad in grads] if _length(grads) > limit else grads,
            "the long gradient is thrown away; clipping keeps its direction."),
    },
)  # fmt: skip
def clip_by_norm(answer: Callable, generator: torch.Generator) -> str | None:
    """`clip_by_norm(grads, limit)`: the tensors together shortened to `limit` where they are longer."""


def _shortened(grad: Tensor, limit: float) -> Tensor:
    return _scaled([grad], limit, grad.norm().item())[0]


def _weighted(grads: list[Tensor], sizes: list[int]) -> Tensor:
    return sum(size * grad for size, grad in zip(sizes, grads, strict=True)) / sum(sizes)


def _batches(generator: torch.Generator) -> dict[str, tuple]:
    base, sizes = normal(generator, 6), [32, 32, whole(generator, 5, 12)]
    grads = [scale * (base + normal(generator, 6)) for scale in (1, 1, 20)]
    size = _weighted(grads, sizes).norm().item()
    return {
        "A limit that nothing reaches": (grads, sizes, 100 * size),
        "A limit that the gradient exceeds": (grads, sizes, size / 4),
    }


@check(
    truth=lambda grads, sizes, limit: _shortened(_weighted(grads, sizes), limit),
    given=_batches,
    returns="one tensor of the shape of a gradient",
    wrong={
        "a plain mean": (lambda grads, sizes, limit: _shortened(sum(grads) / len(grads), limit),
            "you weigh all batches alike, so each of the last batch's examples counts more than one before."),
        "a sum": (lambda grads, sizes, limit: _shortened(sum(grads), limit),
            "you add the gradients up: three batches then make a step three times as long as their large batch."),
        "not clipped": (lambda grads, sizes, limit: _weighted(grads, sizes),
            "yours is as long as before: the clip is missing."),
        "each batch clipped": (lambda grads, sizes, limit: _weighted([_shortened(g, limit) for g in grads], sizes),
            "you clip each batch before you gather; the optimizer meets one gradient, and clips it once."),
        "the last batch": (lambda grads, sizes, limit: _shortened(grads[-1], limit),
            "only the last batch is left; the others have been overwritten."),
        "sums over examples": (lambda grads, sizes, limit: _shortened(_weighted(grads, sizes) * sum(sizes), limit),
            "that is the gradient of the summed loss: divide by the number of examples."),
        "by value": (lambda grads, sizes, limit: _weighted(grads, sizes).clamp(-limit, limit),
            "you cut the entries; a clip by norm keeps the direction."),
    },
)  # fmt: skip
def gathered(answer: Callable, generator: torch.Generator) -> str | None:
    """`gathered(grads, sizes, limit)`: the clipped gradient of the mean loss over all examples."""
