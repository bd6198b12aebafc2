"""Optimizers that give every layer a rate of its own."""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType

import torch
from torch import Tensor

from labsupport.optimizers.rule import Optimizer, Params, Settings, State, zeros
from labsupport.remaking import recorded

__all__ = ["lars"]


@recorded
@lru_cache(maxsize=None, typed=True)
def lars() -> Optimizer:
    """LARS: every tensor's gradient is scaled to its weights, r = trust ‖θ‖ / (‖g‖ + λ‖θ‖ + ε), then momentum.

    v ← ρv + ηr(g + λθ), θ ← θ − v: the rate stands inside the velocity, as in the paper. Where ‖θ‖ or ‖g‖ is 0, r = 1.
    Tensors with fewer than two dimensions (biases, norms) take r = 1 and λ = 0, as large-batch recipes do; the
    paper scales every layer. The settings `trust`, `momentum` and `weight_decay` are the paper's η, m and β.
    Source: You, Gitman & Ginsburg 2017, arXiv:1708.03888, algorithm 1.
    """

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        ratios, velocity = _ratios(grads, params, settings), {}
        for name, value in params.items():
            grad = grads[name]
            if name in ratios:
                grad = ratios[name] * (grad + settings["weight_decay"] * value)
            velocity[name] = settings["momentum"] * state["velocity"][name] + settings["lr"] * grad
        return {name: value - velocity[name] for name, value in params.items()}, {"velocity": velocity}

    defaults = {"lr": None, "momentum": 0.9, "weight_decay": 0.0, "trust": 0.001, "eps": 1e-8}
    return Optimizer(
        "lars", lambda params: {"velocity": zeros(params)}, update, MappingProxyType(defaults), reach="tensor"
    )


def _ratios(grads: Params, params: Params, settings: Settings) -> dict[str, Tensor]:
    """r of each tensor with two dimensions or more. All in one vector: torch 2.13 cannot compile them one by one."""
    names = [name for name, value in params.items() if value.ndim > 1]
    if not names:
        return {}
    size, slope = (torch.stack([each[name].norm() for name in names]) for each in (params, grads))
    whole = slope + settings["weight_decay"] * size + settings["eps"]
    ratio = torch.where((size > 0) & (slope > 0), settings["trust"] * size / whole, 1.0)
    return dict(zip(names, ratio.unbind(), strict=True))
