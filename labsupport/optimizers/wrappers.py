"""Optimizers around optimizers: gradients clipped, or gathered over several batches, before the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

import torch

from labsupport.optimizers.rule import Optimizer, Params, Settings, State, check_inner, counter, zeros
from labsupport.remaking import recorded
from labsupport.values import check_count

__all__ = ["accumulated", "clipped_norm", "clipped_value"]


@recorded
@lru_cache(maxsize=None, typed=True)
def clipped_value(inner: Optimizer) -> Optimizer:
    """Every entry of the gradient cut to [−c, c] before `inner` sees it; the setting `clip_value` is c.

    It turns the gradient: large entries lose more than small ones.
    """

    def clip(grads: Params, settings: Settings) -> Params:
        limit = settings["clip_value"]
        return {name: grad.clamp(-limit, limit) for name, grad in grads.items()}

    return _after("clipped_value", clip, "clip_value", inner)


@recorded
@lru_cache(maxsize=None, typed=True)
def clipped_norm(inner: Optimizer) -> Optimizer:
    """The whole gradient shortened to length c where it is longer; the setting `clip_norm` is c.

    One length, of all parameters together: the direction stays. torch divides by the length plus 1e-6; here a
    gradient is exactly c long afterwards.
    A length beyond the dtype's range gives no step at all.
    Source: Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, algorithm 1.
    """

    def clip(grads: Params, settings: Settings) -> Params:
        length = torch.stack([grad.norm() for grad in grads.values()]).norm()
        scale = (settings["clip_norm"] / length.clamp(min=torch.finfo(length.dtype).tiny)).clamp(max=1)
        return {name: scale * grad for name, grad in grads.items()}

    return replace(_after("clipped_norm", clip, "clip_norm", inner), reach="network")


@recorded
@lru_cache(maxsize=None, typed=True)
def accumulated(inner: Optimizer, *, num_batches: int) -> Optimizer:
    """One step of `inner` after every `num_batches` batches, with the mean of their gradients; no move in between.

    A schedule still counts batches: `inner` meets the rate of the last batch of each group.
    """
    check_count("accumulated", "num_batches", num_batches)
    check_inner("accumulated", inner)
    slots = inner.init({name: torch.zeros(()) for name in inner.layers or ("",)})
    if any(slot.endswith("gathered") for slot in slots):
        raise ValueError(f"accumulated: inner must gather no batches itself, got {inner!r}")

    def init(params: Params) -> State:
        return {**inner.init(params), "gathered": zeros(params), "batches": {"seen": counter(params)}}

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        rest = {slot: each for slot, each in state.items() if slot not in ("gathered", "batches")}
        gathered = {name: g + grads[name] / num_batches for name, g in state["gathered"].items()}
        seen = state["batches"]["seen"] + 1
        full = seen >= num_batches
        moved, after = inner.update(gathered, rest, params, settings)
        params = {name: torch.where(full, moved[name], value) for name, value in params.items()}
        kept = {slot: {k: torch.where(full, after[slot][k], v) for k, v in each.items()} for slot, each in rest.items()}
        left = {name: torch.where(full, 0.0, g) for name, g in gathered.items()}
        return params, {**kept, "gathered": left, "batches": {"seen": torch.where(full, 0.0, seen)}}

    name = f"{inner.name}, {num_batches} batches a step"
    return replace(inner, name=name, init=init, update=update)


def _after(where: str, clip: Callable[[Params, Settings], Params], setting: str, inner: Optimizer) -> Optimizer:
    check_inner(where, inner)

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        return inner.update(clip(grads, settings), state, params, settings)

    defaults = MappingProxyType({**inner.defaults, setting: None})
    return replace(inner, name=f"{inner.name}, {setting}", update=update, defaults=defaults)
