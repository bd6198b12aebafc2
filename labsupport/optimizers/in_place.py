"""The commonest rules once more, for `as_torch`: the same steps, but in place and on lists of tensors.

A rule's `update` makes new tensors, which is what a formula reads like and `torch.compile` melts together. Eagerly each
of them is one more way through memory, and beyond a few thousand weights memory is what a step costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from labsupport.optimizers.adaptive import adagrad, adam, adamw, rmsprop
from labsupport.optimizers.momenta import momentum, nesterov, sgd
from labsupport.optimizers.rule import Optimizer

__all__ = ["IN_PLACE"]

Tensors = Sequence[Tensor]
Slots = Mapping[str, Tensors]
Numbers = Mapping[str, float]


def _decayed(grads: Tensors, params: Tensors, settings: Numbers) -> Tensors:
    decay = settings["weight_decay"]
    return grads if decay == 0 else torch._foreach_add(grads, params, alpha=decay)


def _sgd(params: Tensors, grads: Tensors, slots: Slots, settings: Numbers, steps: float) -> None:
    torch._foreach_add_(params, _decayed(grads, params, settings), alpha=-settings["lr"])


def _momentum(params: Tensors, grads: Tensors, slots: Slots, settings: Numbers, steps: float) -> None:
    velocity = slots["velocity"]
    torch._foreach_mul_(velocity, settings["momentum"])
    torch._foreach_add_(velocity, _decayed(grads, params, settings))
    torch._foreach_add_(params, velocity, alpha=-settings["lr"])


def _nesterov(params: Tensors, grads: Tensors, slots: Slots, settings: Numbers, steps: float) -> None:
    velocity, grads = slots["velocity"], _decayed(grads, params, settings)
    torch._foreach_mul_(velocity, settings["momentum"])
    torch._foreach_add_(velocity, grads)
    torch._foreach_add_(params, grads, alpha=-settings["lr"])
    torch._foreach_add_(params, velocity, alpha=-settings["lr"] * settings["momentum"])


def _adagrad(params: Tensors, grads: Tensors, slots: Slots, settings: Numbers, steps: float) -> None:
    grads = _decayed(grads, params, settings)
    torch._foreach_addcmul_(slots["square"], grads, grads)
    _divided_step(params, grads, slots["square"], settings["lr"], settings["eps"])


def _rmsprop(params: Tensors, grads: Tensors, slots: Slots, settings: Numbers, steps: float) -> None:
    grads = _decayed(grads, params, settings)
    _average_squares(slots["square"], grads, settings["decay"])
    _divided_step(params, grads, slots["square"], settings["lr"], settings["eps"])


def _adam(params: Tensors, grads: Tensors, slots: Slots, settings: Numbers, steps: float) -> None:
    _corrected_step(params, _decayed(grads, params, settings), slots, settings, steps)


def _adamw(params: Tensors, grads: Tensors, slots: Slots, settings: Numbers, steps: float) -> None:
    torch._foreach_mul_(params, 1 - settings["lr"] * settings["weight_decay"])
    _corrected_step(params, grads, slots, settings, steps)


def _corrected_step(params: Tensors, grads: Tensors, slots: Slots, settings: Numbers, steps: float) -> None:
    beta1, beta2 = settings["beta1"], settings["beta2"]
    torch._foreach_lerp_(slots["mean"], grads, 1 - beta1)
    _average_squares(slots["square"], grads, beta2)
    root = (1 - beta2**steps) ** 0.5
    rate = settings["lr"] * root / (1 - beta1**steps)
    _divided_step(params, slots["mean"], slots["square"], rate, settings["eps"] * root)


def _average_squares(square: Tensors, values: Tensors, decay: float) -> None:
    torch._foreach_mul_(square, decay)
    torch._foreach_addcmul_(square, values, values, value=1 - decay)


def _divided_step(params: Tensors, values: Tensors, square: Tensors, rate: float, eps: float) -> None:
    size = torch._foreach_sqrt(square)
    torch._foreach_add_(size, eps)
    torch._foreach_addcdiv_(params, values, size, value=-rate)


Step = Callable[[Tensors, Tensors, Slots, Numbers, float], None]
IN_PLACE: Mapping[Optimizer, Step] = MappingProxyType({
    sgd(): _sgd, momentum(): _momentum, nesterov(): _nesterov, adagrad(): _adagrad, rmsprop(): _rmsprop,
    adam(): _adam, adamw(): _adamw,
})  # fmt: skip
"""By the rule itself, so that what wraps one or gives it another form is not taken for it: (params, grads, slots,
settings, steps with this one) -> None."""
