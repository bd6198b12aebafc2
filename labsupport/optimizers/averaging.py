"""Optimizers whose answer is an average of where they have been, and the gradient taken elsewhere.

The parameters handed out are the average: a population validates it, `member` returns it. The gradient is taken at
`optimizer.at(params, state, settings)`. Running statistics of batch norm are those of the place of the gradient.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

import torch
from torch import Tensor

from labsupport.optimizers.rule import Optimizer, Params, Settings, State, check_inner, counter, decayed, titled
from labsupport.remaking import recorded
from labsupport.values import check_count

__all__ = ["averaged", "schedule_free"]


@recorded
@lru_cache(maxsize=None, typed=True)
def averaged(inner: Optimizer, *, start: int = 0) -> Optimizer:
    """The mean of the places that `inner` visits after its step number `start`; until then, its place.

    Args:
        inner: takes the steps; it must take its gradient where it stands.
        start: updates before the mean begins, >= 0; around `accumulated` they are batches.
    Source: Polyak & Juditsky 1992, SIAM J. Control Optim. 30(4).
    """
    check_count("averaged", "start", start, at_least=0)
    check_inner("averaged", inner)
    if inner.at is not None:
        raise ValueError(f"averaged: inner must take its gradient where it stands, got {inner!r}")

    def init(params: Params) -> State:
        return {**inner.init(params), "fast": dict(params), "averaged": {"steps": counter(params)}}

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        rest = {slot: each for slot, each in state.items() if slot not in ("fast", "averaged")}
        fast, rest = inner.update(grads, rest, state["fast"], settings)
        steps = state["averaged"]["steps"] + 1
        share = 1 / (steps - start).clamp(min=1)
        return _towards(params, fast, share), {**rest, "fast": fast, "averaged": {"steps": steps}}

    def at(params: Params, state: State, settings: Settings) -> Params:
        return state["fast"]

    name = titled(f"averaged {inner.name}", f"from step {start}", "from step 0")
    return replace(inner, name=name, init=init, update=update, at=at)


@recorded
@lru_cache(maxsize=None, typed=True)
def schedule_free() -> Optimizer:
    """Schedule-free SGD: y = (1−β)z + βx, z ← z − ηg(y), x ← (1−c)x + cz; x is the answer, `momentum` is β.

    c = η_max²/Σ η_max², η_max the largest rate so far: 1/t while the rate stays, less for steps of a warm-up.
    Source: Defazio, Yang, Mehta, Mishchenko, Khaled & Cutkosky 2024, arXiv:2405.15682, eqs. 2–4; the weight c of its
    section on warm-up.
    """

    def init(params: Params) -> State:
        return {"fast": dict(params), "weight": {"largest": counter(params), "total": counter(params)}}

    def at(params: Params, state: State, settings: Settings) -> Params:
        return _towards(state["fast"], params, settings["momentum"])

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        grads = decayed(grads, at(params, state, settings), settings)
        fast = {name: z - settings["lr"] * grads[name] for name, z in state["fast"].items()}
        largest = torch.maximum(
            state["weight"]["largest"], torch.zeros_like(state["weight"]["largest"]) + settings["lr"]
        )
        total = state["weight"]["total"] + largest.square()
        share = torch.where(total > 0, largest.square() / total, 0.0)
        return _towards(params, fast, share), {"fast": fast, "weight": {"largest": largest, "total": total}}

    defaults = MappingProxyType({"lr": None, "momentum": 0.9, "weight_decay": 0.0})
    return Optimizer("schedule_free", init, update, defaults, at, reach="entry")


def _towards(here: Params, there: Params, share: Tensor | float) -> Params:
    """The way from `here` to `there`, a share of it."""
    return {name: (1 - share) * value + share * there[name] for name, value in here.items()}
