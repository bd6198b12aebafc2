"""Layers with learning rates of their own: slower, faster, or at rest until they thaw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from labsupport.optimizers.rule import Optimizer, Params, Settings, State, check_inner
from labsupport.remaking import recorded

__all__ = ["by_layer"]

REST = ""
"""The group of the parameters that lie in none of the layers; its slots have the names that `inner` gives."""


@recorded
def by_layer(inner: Optimizer, *, layers: Sequence[str]) -> Optimizer:
    """`inner` with its rate multiplied in each of the layers by a setting of theirs, `rate.<layer>`, 1 by default.

    These are torch's parameter groups. Each layer has a state of its own, counts too, in slots `<layer>:<slot>`. At
    rate 0 a layer rests: neither its parameters (no weight decay) nor its state move. When its rate rises from 0, its
    training goes on from there, or begins; the setting must then be above 0 where a schedule multiplies it.

    The whole gradient is clipped outside: `clipped_norm(by_layer(adam(), layers=["0"]))`; its length is that of all
    layers, at rest or not. `averaged` outside counts the steps of the network; inside, those of each layer.

    Args:
        inner: with a setting "lr".
        layers: paths of modules, such as "0" or "body.2"; a parameter belongs to the longest path that is its name
            or is followed by a dot in it, and moves as under `inner` where there is none.
    Raises:
        ValueError: `inner` looks at the whole network (`clipped_norm`), holds `by_layer` itself or has no "lr";
            layers are none, no strings, empty or repeated; at `init`: a layer has no parameter of its own.
    """
    check_inner("by_layer", inner)
    if inner.reach == "network":
        advice = "what does goes outside, as in clipped_norm(by_layer(adam(), layers=…)); your own rule says reach="
        raise ValueError(f"by_layer: inner must not look at the whole network; {advice}, got {inner!r}")
    if inner.layers:
        raise ValueError(f"by_layer: inner must hold no by_layer itself, name all layers in one, got {inner!r}")
    if "lr" not in inner.defaults:
        raise ValueError(f"by_layer: inner must have a setting 'lr', got {inner!r}")
    paths = list(layers) if isinstance(layers, Sequence) and not isinstance(layers, str) else []
    if not paths or not all(isinstance(path, str) and path for path in paths) or len(set(paths)) < len(paths):
        rule = "different paths of modules, at least one, such as ['0', 'body.2']"
        raise ValueError(f"by_layer: layers must be {rule}, got {layers!r}")
    return _by_layer(inner, tuple(paths))


@lru_cache(maxsize=None, typed=True)
def _by_layer(inner: Optimizer, layers: tuple[str, ...]) -> Optimizer:
    def init(params: Params) -> State:
        groups = names_by_layer(params, layers)
        for layer in layers:
            if layer not in groups:
                rule = "layers must each have a parameter that no longer path takes"
                raise ValueError(f"by_layer: {rule}, got {layer!r} for {', '.join(params)}")
        return _joined({at: inner.init({name: params[name] for name in names}) for at, names in groups.items()})

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        moved, after = {}, {}
        for group in _groups(state, params, settings, layers):
            slopes = {name: grads[name] for name in group.params}
            new, after[group.layer] = _moved(inner, slopes, group)
            moved |= new
        return {name: moved[name] for name in params}, _joined(after)

    def at(params: Params, state: State, settings: Settings) -> Params:
        places = {}
        for group in _groups(state, params, settings, layers):
            places |= inner.at(group.params, group.state, group.settings)
        return {name: places[name] for name in params}

    name = f"{inner.name}, rates of {', '.join(layers)}"
    defaults = MappingProxyType({**inner.defaults, **{f"rate.{layer}": 1.0 for layer in layers}})
    place = at if inner.at else None
    return replace(inner, name=name, init=init, update=update, defaults=defaults, at=place, layers=layers)


class _Group(NamedTuple):
    """What belongs to a layer: parameters, state under the names of the rule inside, its rate and settings."""

    layer: str
    params: Params
    state: State
    rate: Tensor | float
    settings: Settings


def names_by_layer(params: Params, layers: tuple[str, ...]) -> dict[str, list[str]]:
    """The names of the parameters of each layer that has any."""
    found: dict[str, list[str]] = {}
    for name in params:
        fitting = [layer for layer in layers if name == layer or name.startswith(f"{layer}.")]
        found.setdefault(max(fitting, key=len, default=REST), []).append(name)
    return found


def _groups(state: State, params: Params, settings: Settings, layers: tuple[str, ...]) -> Iterator[_Group]:
    for layer, names in names_by_layer(params, layers).items():
        rate = settings[f"rate.{layer}"] if layer else 1.0
        slots = {slot.rpartition(":")[2]: each for slot, each in state.items() if slot.rpartition(":")[0] == layer}
        usual = not isinstance(rate, Tensor) and rate == 1
        own = settings if usual else {**settings, "lr": settings["lr"] * rate}
        yield _Group(layer, {name: params[name] for name in names}, slots, rate, own)


def _joined(states: dict[str, State]) -> State:
    """The states of all groups in one, each slot under a name of its own."""
    return {f"{at}:{slot}" if at else slot: each for at, state in states.items() for slot, each in state.items()}


def _moved(inner: Optimizer, grads: Params, group: _Group) -> tuple[Params, State]:
    """A step of one group; none where its rate is 0."""
    if not isinstance(group.rate, Tensor) and group.rate == 0:
        return group.params, group.state
    moved, after = inner.update(grads, group.state, group.params, group.settings)
    if not isinstance(group.rate, Tensor):
        return moved, after
    rests = group.rate == 0

    def kept(old: Params, new: Params) -> Params:
        return {name: torch.where(rests, value, new[name]) for name, value in old.items()}

    return kept(group.params, moved), {slot: kept(each, after[slot]) for slot, each in group.state.items()}
