"""Optimizers that give every coordinate a rate of its own: AdaGrad, RMSprop, AdaDelta, Adam, AdamW and Nadam.

Where papers and libraries differ, the difference is an option with both named: where ε stands ("outside" the root
or "inside"), which averages are corrected for starting at zero, what an accumulator starts from.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import MappingProxyType

import torch
from torch import Tensor

from labsupport.optimizers.rule import Optimizer, Params, Settings, State, counter, decayed, titled, zeros
from labsupport.remaking import recorded
from labsupport.values import check_choice, check_number

__all__ = ["adadelta", "adagrad", "adam", "adamw", "nadam", "rmsprop"]

PLACES = ("outside", "inside")
CORRECTIONS = ("both", "mean", "square", "none")


@recorded
@lru_cache(maxsize=None, typed=True)
def adagrad(*, initial: float = 0.0, eps_at: str = "outside") -> Optimizer:
    """AdaGrad: s ← s + g², θ ← θ − η g / (√s + ε).

    Args:
        initial: what every s starts from, >= 0: 0 in the paper and in torch, 0.1 in TensorFlow 1 (there with ε = 0).
        eps_at: "outside" the root (the paper, which calls it δ; torch, ε = 1e-10: the default) or "inside".
    Source: Duchi, Hazan & Singer 2011, JMLR 12:2121–2159, figure 1, with diagonal matrices.
    """
    name, init = _accumulating("adagrad", initial, eps_at)

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        grads = decayed(grads, params, settings)
        square = {name: s + grads[name].square() for name, s in state["square"].items()}
        return _scaled_step(params, grads, square, settings, eps_at), {"square": square}

    return Optimizer(
        name, init, update, MappingProxyType({"lr": None, "eps": 1e-10, "weight_decay": 0.0}), reach="entry"
    )


@recorded
@lru_cache(maxsize=None, typed=True)
def rmsprop(*, initial: float = 0.0, eps_at: str = "outside") -> Optimizer:
    """RMSprop: s ← βs + (1−β)g², θ ← θ − η g / (√s + ε); the setting `decay` is β.

    Args:
        initial: what every s starts from, >= 0: 0 in torch, 1 in TensorFlow 1. From 0 the first s is (1−β)g² and
            the first step 1/√(1−β) times as long as a later one under the same gradient.
        eps_at: "outside" the root (torch, with β = 0.99 and ε = 1e-8: the defaults) or "inside" (TensorFlow 1, 0.9
            and 1e-10).
    Source: Tieleman & Hinton 2012, Neural Networks for Machine Learning, lecture 6.5 (β = 0.9).
    """
    name, init = _accumulating("rmsprop", initial, eps_at)

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        grads = decayed(grads, params, settings)
        square = _averaged(state["square"], _squared(grads), settings["decay"])
        return _scaled_step(params, grads, square, settings, eps_at), {"square": square}

    defaults = {"lr": None, "decay": 0.99, "eps": 1e-8, "weight_decay": 0.0}
    return Optimizer(name, init, update, MappingProxyType(defaults), reach="entry")


@recorded
@lru_cache(maxsize=None, typed=True)
def adadelta() -> Optimizer:
    """AdaDelta: s ← βs + (1−β)g², Δ = √(u+ε)/√(s+ε) · g, u ← βu + (1−β)Δ², θ ← θ − ηΔ; the setting `decay` is β.

    Δ has the units of θ, so the rate η has none: its natural value is 1, the default (the paper has no η; torch
    added it). ε (1e-6) is not only a guard: it is what the first step is made of.
    Source: Zeiler 2012, arXiv:1212.5701, algorithm 1.
    """

    def init(params: Params) -> State:
        return {"square": zeros(params), "moved": zeros(params)}

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        grads, eps, before = decayed(grads, params, settings), settings["eps"], state["moved"]
        square = _averaged(state["square"], _squared(grads), settings["decay"])
        delta = {name: (before[name] + eps).sqrt() / (s + eps).sqrt() * grads[name] for name, s in square.items()}
        moved = {name: value - settings["lr"] * delta[name] for name, value in params.items()}
        return moved, {"square": square, "moved": _averaged(before, _squared(delta), settings["decay"])}

    defaults = {"lr": 1.0, "decay": 0.9, "eps": 1e-6, "weight_decay": 0.0}
    return Optimizer("adadelta", init, update, MappingProxyType(defaults), reach="entry")


@recorded
@lru_cache(maxsize=None, typed=True)
def adam(*, correction: str = "both", eps_at: str = "outside") -> Optimizer:
    """Adam: m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², θ ← θ − η m̂ / (√v̂ + ε), m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ).

    Weight decay enters the gradient, as λθ.

    Args:
        correction: which averages are divided by 1 − βᵗ: "both" (the paper, torch), "mean", "square" or "none".
        eps_at: "outside" the root (the paper, torch) or "inside".
    Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.
    """
    name = _adam_name("adam", correction, eps_at)

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        return _adam_step(decayed(grads, params, settings), state, params, settings, correction, eps_at)

    return Optimizer(name, _adam_start, update, MappingProxyType({**_ADAM, "weight_decay": 0.0}), reach="entry")


@recorded
@lru_cache(maxsize=None, typed=True)
def adamw(*, correction: str = "both", eps_at: str = "outside") -> Optimizer:
    """Adam with decoupled weight decay: θ ← (1 − ηλ)θ, then Adam's step with the gradient of the loss alone.

    λ (0.01) is multiplied by the rate, as in torch. In the paper the schedule's factor multiplies it, not the rate:
    their λ is our ηλ.

    Args:
        correction, eps_at: as for `adam`.
    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.
    """
    name = _adam_name("adamw", correction, eps_at)

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        keep = 1 - settings["lr"] * settings["weight_decay"]
        shrunk = {name: value * keep for name, value in params.items()}
        return _adam_step(grads, state, shrunk, settings, correction, eps_at)

    return Optimizer(name, _adam_start, update, MappingProxyType({**_ADAM, "weight_decay": 0.01}), reach="entry")


@recorded
@lru_cache(maxsize=None, typed=True)
def nadam(*, form: str = "torch") -> Optimizer:
    """Adam with Nesterov's look ahead and the warmed-up momentum μₜ = β₁(1 − ½·0.96^(ψt)); `momentum_decay` is ψ.

    θ ← θ − η [ (1−μₜ)/(1−μ₁…μₜ) g + μₜ₊₁/(1−μ₁…μₜ₊₁) m ] / (√v̂ + ε)

    Args:
        form: "torch", where m averages with β₁, or "dozat", where it averages with μₜ.
    Source: Dozat 2016, Incorporating Nesterov Momentum into Adam, algorithm 2; ψ = 0.004.
    """
    check_choice("nadam", "form", form, ("torch", "dozat"))

    def init(params: Params) -> State:
        state = _adam_start(params)
        return {**state, "count": {**state["count"], "product": counter(params, 1.0)}}

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        grads, steps, dtype = decayed(grads, params, settings), state["count"]["steps"] + 1, _dtype(params)
        now, later = (_warmed(settings, at) for at in (steps, steps + 1))
        product = state["count"]["product"] * now
        mean = _averaged(state["mean"], grads, settings["beta1"] if form == "torch" else now.to(dtype))
        square = _averaged(state["square"], _squared(grads), settings["beta2"])
        root = (1 - settings["beta2"] ** steps).sqrt().to(dtype)
        own, ahead = ((1 - now) / (1 - product)).to(dtype), (later / (1 - product * later)).to(dtype)
        step = {name: own * grads[name] + ahead * mean[name] for name in params}
        moved = {
            name: value - settings["lr"] * step[name] / (square[name].sqrt() / root + settings["eps"])
            for name, value in params.items()
        }
        return moved, {"mean": mean, "square": square, "count": {"steps": steps, "product": product}}

    defaults = {**_ADAM, "momentum_decay": 0.004, "weight_decay": 0.0}
    return Optimizer(titled("nadam", form, "torch"), init, update, MappingProxyType(defaults), reach="entry")


_ADAM = MappingProxyType({"lr": None, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8})


def _accumulating(rule: str, initial: float, eps_at: str) -> tuple[str, Callable[[Params], State]]:
    """The name and the start of a rule that sums or averages squares, its options checked."""
    initial = check_number(rule, "initial", initial, low=0.0)

    def init(params: Params) -> State:
        return {"square": {name: torch.full_like(value, initial) for name, value in params.items()}}

    return _with_eps(rule, f"from {initial:g}", "from 0", eps_at), init


def _adam_name(rule: str, correction: str, eps_at: str) -> str:
    """The name of a rule, its options checked."""
    check_choice(rule, "correction", correction, CORRECTIONS)
    return _with_eps(rule, f"corrected {correction}", "corrected both", eps_at)


def _with_eps(rule: str, option: str, usual: str, eps_at: str) -> str:
    check_choice(rule, "eps_at", eps_at, PLACES)
    return titled(titled(rule, option, usual), f"eps {eps_at}", "eps outside")


def _adam_start(params: Params) -> State:
    return {"mean": zeros(params), "square": zeros(params), "count": {"steps": counter(params)}}


def _adam_step(
    grads: Params, state: State, params: Params, settings: Settings, correction: str, eps_at: str
) -> tuple[Params, State]:
    steps, beta1, beta2 = state["count"]["steps"] + 1, settings["beta1"], settings["beta2"]
    mean = _averaged(state["mean"], grads, beta1)
    square = _averaged(state["square"], _squared(grads), beta2)
    one = torch.ones_like(steps)
    rate = settings["lr"] / (1 - beta1**steps if correction in ("both", "mean") else one)
    root = (1 - beta2**steps).sqrt() if correction in ("both", "square") else one
    # side by side in one tensor, or torch.compile works them out anew for every entry
    three = torch.broadcast_tensors(*(each.to(_dtype(params)) for each in (rate, root, rate * root)))
    rate, root, both = torch.stack(three).unbind()
    eps = settings["eps"]
    if eps_at == "outside":  # η m̂ / (√v̂ + ε) with numerator and denominator times the root of v's correction
        rate, size = both, {name: s.sqrt() + eps * root for name, s in square.items()}
    else:
        size = {name: (s / root.square() + eps).sqrt() for name, s in square.items()}
    moved = {name: torch.addcdiv(value, -rate * mean[name], size[name]) for name, value in params.items()}
    return moved, {"mean": mean, "square": square, "count": {"steps": steps}}


def _scaled_step(params: Params, grads: Params, square: Params, settings: Settings, eps_at: str) -> Params:
    """θ − ηg/(√s + ε), or ε inside the root."""
    lr, eps = settings["lr"], settings["eps"]
    size = {name: s.sqrt() + eps if eps_at == "outside" else (s + eps).sqrt() for name, s in square.items()}
    return {name: value - lr * grads[name] / size[name] for name, value in params.items()}


def _averaged(before: Params, new: Params, decay: Tensor | float) -> Params:
    if not isinstance(decay, Tensor):
        return {name: torch.lerp(value, new[name], 1 - decay) for name, value in before.items()}
    return {name: torch.lerp(value, new[name], (1 - decay).to(value.dtype)) for name, value in before.items()}


def _squared(values: Params) -> Params:
    return {name: value.square() for name, value in values.items()}


def _warmed(settings: Settings, steps: Tensor) -> Tensor:
    return settings["beta1"] * (1 - 0.5 * 0.96 ** (steps * settings["momentum_decay"]))


def _dtype(params: Params) -> torch.dtype:
    return next(iter(params.values())).dtype
