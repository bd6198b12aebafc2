"""The cut itself: indexing of parameters, buffers and the optimizer's state, in a module or in a population."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from labsupport.population import State
from labsupport.pruning.masks import name_of
from labsupport.pruning.surgery.edits import Edit, Steps
from labsupport.pruning.surgery.graphs import Held, held_by

__all__ = ["cut", "cut_", "cut_state"]

Pair = tuple[nn.Parameter, nn.Parameter, str]  # a parameter, what is left of it, its plain name


def cut(module: nn.Module, edit: Edit) -> nn.Module:
    """A smaller copy of a module; see `cut_`. The one given stays as it is."""
    _check_fits("cut", module, edit)
    return cut_(copy.deepcopy(module), edit)


@torch.no_grad()
def cut_(module: nn.Module, edit: Edit, optimizer: torch.optim.Optimizer | None = None) -> nn.Module:
    """Cut units out of a module, in place, and out of its optimizer, which then goes on where it stands.

    The parameters that get smaller are new objects without gradients. The optimizer moves those from now on. What it
    holds for a weight that stays is the same bit by bit, and so are its counts, groups and settings; it stays the same
    object, so that schedulers go on too. To keep the old ones, copy both: `copy.deepcopy((module, optimizer))`.

    Args:
        module: of the edit's architecture, masked or not; masks are cut too.
        edit: from `keep` or `load`, with the same units for all.
        optimizer: torch's, or one from `optimizers.as_torch`, over parameters of the module.
    Returns:
        module
    Raises:
        ValueError: the edit is for another architecture, or for members of a population; or the optimizer moves other
            parameters, or its state has another form than an entry for each weight, row or column (as that of LBFGS).
            Module and optimizer are then as they were.
    """
    tensors, layers = _check_fits("cut_", module, edit)
    if edit.members is not None:
        got = f"those of {edit.members} members: see cut_state"
        raise ValueError(f"cut_: edit must keep units of one network, got {got}")
    pairs: list[Pair] = []
    made: list[tuple[dict[str, Tensor | None], str, Tensor]] = []
    for name, steps in edit.steps.items():
        for store, key, value, trained in tensors[name]:
            small = _pick(value, steps)
            if trained:
                small = nn.Parameter(small, value.requires_grad)
                pairs.append((value, small, name))
            made.append((store, key, small))
    carried = None if optimizer is None else _carried(optimizer, module, pairs, edit)
    for store, key, small in made:
        store[key] = small
    for layer in layers:
        _resize(layer)
    if carried:
        _take_up(optimizer, *carried)
    return module


def cut_state(state: State, edit: Edit) -> State:
    """A population of smaller networks, with its optimizer's state, settings and steps. The one given stays as it is.

    Args:
        state: members of the edit's architecture.
        edit: the same units for all members, or (members, kept), as many for each.
    Raises:
        ValueError: the edit is for another architecture or another number of members.
    """
    if not isinstance(state, State):
        raise ValueError(f"cut_state: state must be a population.State, got {type(state).__name__}")
    _check_fits("cut_state", state.module, edit)
    if edit.members not in (None, len(state)):
        raise ValueError(f"cut_state: edit must keep units of {len(state)} members, got {edit.members}")

    def sliced(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {key: _pick(value, edit.steps.get(name_of(key), ()), stacked=True) for key, value in values.items()}

    slots = {slot: sliced(each) for slot, each in state.slots.items()}
    first = replace(edit, kept={layer: index[0] if index.ndim == 2 else index for layer, index in edit.kept.items()})
    small = cut(state.module, first)
    return replace(state, module=small, params=sliced(state.params), buffers=sliced(state.buffers), slots=slots)


def _check_fits(where: str, module: nn.Module, edit: Edit) -> tuple[dict[str, list[Held]], list[nn.Module]]:
    """The tensors of a module by plain names, and the layers that get smaller.

    Raises:
        ValueError: the edit is for another architecture.
    """
    if not isinstance(edit, Edit) or not isinstance(module, nn.Module):
        got = f"{type(module).__name__} and {type(edit).__name__}"
        raise ValueError(f"{where}: module must be a torch.nn.Module and edit an Edit, got {got}")
    tensors, layers = held_by(where, module)
    own, other = {name: each[0][2].shape for name, each in tensors.items()}, edit.shapes
    if own != other:
        name = next(name for name in (*own, *other) if own.get(name) != other.get(name))
        got = f"one for {name} {other.get(name, 'none')}, where module has {tuple(own.get(name, ())) or 'none'}"
        raise ValueError(f"{where}: edit must be for the architecture of module, got {got}")
    cuts = [layers[path] for path in edit.layers]
    for path, layer in zip(edit.layers, cuts):
        if not isinstance(layer, (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)):
            got = f"one that cuts {type(layer).__name__} {path!r}"
            raise ValueError(f"{where}: edit must be for the architecture of module, got {got}")
    return tensors, cuts


def _pick(value: Tensor, steps: Steps, *, stacked: bool = False) -> Tensor:
    """The entries that are kept; with `stacked`, behind an axis of members, for each its own where steps say so."""
    for dim, index in steps:
        index, axis = index if value.is_cpu else index.to(value.device), dim + stacked
        if index.ndim == 1:
            value = value.index_select(axis, index)
        else:
            view = [len(index), *(index.shape[1] if each == axis else 1 for each in range(1, value.ndim))]
            value = value.take_along_dim(index.view(view), axis)
    return value


def _carried(
    optimizer: torch.optim.Optimizer, module: nn.Module, pairs: list[Pair], edit: Edit
) -> tuple[list[list[Tensor]], dict[Tensor, Any]]:
    """What the optimizer moves in each group, and its state, after the cut."""
    if not isinstance(optimizer, torch.optim.Optimizer) or isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError(f"cut_: optimizer must hold a state for each weight, got {type(optimizer).__name__}")
    own = {id(value) for value in module.parameters()}
    if any(id(value) not in own for group in optimizer.param_groups for value in group["params"]):
        raise ValueError("cut_: optimizer must move parameters of module alone, got others")
    after = {id(value): small for value, small, _ in pairs}
    state = {}
    for value, small, name in pairs:
        shape, steps = edit.shapes[name], edit.steps[name]
        entries = optimizer.state.get(value, {})
        state[small] = {slot: _sliced(slot, each, shape, steps) for slot, each in entries.items()}
    return [[after.get(id(value), value) for value in group["params"]] for group in optimizer.param_groups], state


def _take_up(optimizer: torch.optim.Optimizer, groups: list[list[Tensor]], state: dict[Tensor, Any]) -> None:
    for group, params in zip(optimizer.param_groups, groups, strict=True):
        for value, small in zip(group["params"], params, strict=True):
            if small is not value:
                optimizer.state.pop(value, None)
        group["params"] = params
    optimizer.state.update({value: entries for value, entries in state.items() if entries})


def _sliced(slot: str, entry: Any, shape: tuple[int, ...], steps: Steps) -> Any:
    """What an optimizer holds for a parameter of a shape, for what is left of it."""
    if isinstance(entry, dict):
        return {name: _sliced(slot, each, shape, steps) for name, each in entry.items()}
    if not isinstance(entry, Tensor) or entry.numel() == 1:
        return copy.deepcopy(entry)
    if entry.ndim != len(shape) or any(a not in (1, b) for a, b in zip(entry.shape, shape)):
        got = f"{slot} {list(entry.shape)}"
        raise ValueError(f"cut_: optimizer must hold one entry for each weight of {list(shape)}, got {got}")
    return _pick(entry, [(dim, index) for dim, index in steps if entry.shape[dim] == shape[dim]])


def _resize(layer: nn.Module) -> None:
    """Bring what a layer says of its sizes to those of its tensors."""
    if isinstance(layer, nn.Linear):
        rows, columns = layer.weight.shape
        sizes = {"out_features": rows, "in_features": columns}
    elif isinstance(layer, nn.Conv2d):
        rows, columns = layer.weight.shape[:2]
        groups = rows if layer.groups > 1 else 1
        sizes = {"groups": groups, "out_channels": rows, "in_channels": columns * groups}
    else:
        value = layer.running_mean if layer.weight is None else layer.weight
        sizes = {"num_features": layer.num_features if value is None else len(value)}
    layer.__dict__.update(sizes)
