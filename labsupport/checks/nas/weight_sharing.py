"""Checks of the exercises that belong to page `weight_sharing`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import normal, uniform, whole
from labsupport.checks.frame import check

__all__ = ["kept_operation", "most_likely"]


def _most(bound: float, num: int) -> float:
    return math.exp(bound) / (math.exp(bound) + (num - 1) * math.exp(-bound))


@check(
    truth=_most,
    given=lambda generator: [
        (1.1, 2), (0.44, 5), (1.5, 6), (uniform(generator, 0.2, 3.0), whole(generator, 3, 12)),
    ],
    wrong={
        "others at zero": (lambda bound, num: math.exp(bound) / (math.exp(bound) + num - 1),
            "Your other logits are 0. The chosen one is likeliest when the others are as low as they may be: −bound."),
        "a sigmoid": (lambda bound, num: 1 / (1 + math.exp(-bound)),
            "A sigmoid of the bound is for one logit against 0. Here all `num` choices share a softmax."),
        "one other": (lambda bound, num: _most(bound, 2),
            "You count one other choice. There are num − 1, and each has its share."),
        "bounded twice": (lambda bound, num: _most(bound * math.tanh(bound), num),
            "Your logit is c · tanh(c). The tanh can come as near to 1 as it likes, so the logit to the bound."),
        "everything": (lambda bound, num: 1.0,
            "No: a bounded logit leaves the others something, however long the controller learns."),
    },
)  # fmt: skip
def most_likely(answer: Callable, generator: torch.Generator) -> str | None:
    """`most_likely(bound, num)`: the largest probability of one of `num` choices with logits in ±bound."""


def _kept(logits: Tensor, names: list[str]) -> str:
    return max((float(z), name) for z, name in zip(logits, names, strict=True) if name != "zero")[1]


def _strongest(logits: Tensor, names: list[str]) -> str:
    return names[int(logits.argmax())]


def _places_shifted(logits: Tensor, names: list[str]) -> str:
    """The place among those left, looked up among all."""
    left = [i for i, name in enumerate(names) if name != "zero"]
    return names[int(logits[left].argmax())]


def _mixtures(generator: torch.Generator) -> list[tuple]:
    names = ["identity", "zero", "tanh", "relu", "sigmoid"]
    top = normal(generator, 5)
    top[1] = 4.0
    low = torch.tensor([-0.5, 0.3, -2.0, -0.9, -1.5], dtype=torch.float64)
    return [
        (top, names), (low, names), (normal(generator, 3), ["zero", "relu", "identity"]),
        (torch.tensor([1.0, 0.2, 0.9, 2.5, -3.0], dtype=torch.float64), names),
        (torch.tensor([0.1, 0.5, 0.7], dtype=torch.float64), ["tanh", "relu", "zero"]),
    ]  # fmt: skip


@check(
    truth=_kept,
    given=_mixtures,
    wrong={
        "zero too": (_strongest,
            "You may keep \"zero\". DARTS leaves it out: its logit says how much of the node to mute, not which "
            "operation to use."),
        "shifted places": (_places_shifted,
            "You take \"zero\" out of the logits, and then look the place up in the names that still have it."),
        "the smallest": (lambda logits, names: _kept(-logits, names),
            "You keep the smallest logit. The largest has the largest share of the mixture."),
        "the largest size": (lambda logits, names: _kept(logits.abs(), names),
            "You compare sizes without signs. A very negative logit has hardly a share."),
        "a place": (lambda logits, names: names.index(_kept(logits, names)),
            "You return a place. Asked is the name of the operation."),
    },
)  # fmt: skip
def kept_operation(answer: Callable, generator: torch.Generator) -> str | None:
    """`kept_operation(logits, names)`: the name with the largest logit, "zero" left out."""
