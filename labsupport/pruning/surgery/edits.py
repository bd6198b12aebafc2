"""Edits as data: which units of which layer are kept, for which architecture; made, stored, read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from labsupport import files
from labsupport.pruning.surgery.graphs import Graph, Group, Place

__all__ = ["Edit", "alive", "keep", "load", "save", "silence"]

KIND = "labsupport.pruning.surgery, edit 1"
Steps = Sequence[tuple[int, Tensor]]  # along which axis of a tensor, which entries
Units = Mapping[str, "Tensor | Sequence[int] | Sequence[Sequence[int]]"]


@dataclass(frozen=True, eq=False)
class Edit:
    """Everything that a cut needs to know, without the network.

    Attributes:
        kept: layer -> int64 indices (kept,), or (members, kept) where each member of a population keeps its own. On
            the CPU.
        places: the same layers -> the axes that hold their units.
        shapes: name -> shape of every parameter and buffer of the architecture that it is for.
    """

    kept: Mapping[str, Tensor]
    places: Mapping[str, tuple[Place, ...]]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def members(self) -> int | None:
        """For how many members it is; None where all keep the same units."""
        return next((len(index) for index in self.kept.values() if index.ndim == 2), None)

    @cached_property
    def steps(self) -> dict[str, Steps]:
        """Name of each tensor that gets smaller -> how it is indexed."""
        found: dict[str, list[tuple[int, Tensor]]] = {}
        for layer, index in self.kept.items():
            wide = {1: index}
            for name, dim, each, _ in self.places[layer]:
                if each not in wide:
                    wide[each] = (index[..., None] * each + torch.arange(each)).flatten(-2)
                found.setdefault(name, []).append((dim, wide[each]))
        for steps in found.values():
            if len(steps) > 1:
                steps.sort(key=lambda step: step[0])  # rows first: that is faster
        return found

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Paths of the layers whose tensors get smaller."""
        return tuple(dict.fromkeys(name.rpartition(".")[0] for name in self.steps))


def keep(graph: Graph, units: Units) -> Edit:
    """The edit that keeps these units and cuts the rest of their layers.

    Args:
        graph: from `graph`.
        units: layer, a key of `graph.units`, -> which of its units stay, in which order: indices (kept,), or, for a
            population, (members, kept). A layer left out stays whole. Layers that share their units need one entry.
    Raises:
        ValueError: an unknown layer, one whose units are fixed, two entries for the same units, none kept; indices
            that are repeated or out of range; numbers of kept units or of members that differ.
    """
    if not isinstance(graph, Graph) or not isinstance(units, Mapping) or not units:
        got = f"{type(graph).__name__} and {units!r}"
        raise ValueError(f"keep: graph must come from graph and units map layers to indices, got {got}")
    kept, places, taken = {}, {}, {}
    for layer, given in units.items():
        group = _group(graph, layer)
        if id(group) in taken:
            got = f"{taken[id(group)]!r} and {layer!r}, which share them"
            raise ValueError(f"keep: units must be given once, got {got}")
        taken[id(group)] = layer
        kept[layer], places[layer] = _indices("keep", layer, given, group.size), group.places
    _check_members("keep", kept)
    return Edit(kept, places, graph.shapes)


def alive(graph: Graph, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The units that weights or masks leave, as `keep` takes them.

    A unit is dead when all that makes it is 0, incoming weights and bias, or all that reads it. In the second case the
    network stays the same without it. In the first it does where its activation makes 0 of 0 and no batch norm follows.

    Args:
        graph: from `graph`.
        tensors: plain name -> weights (`masks.plain(net.state_dict())`) or masks (`masks.masks_of(net)`), for a
            population each (members, …). What is left out counts as not 0.
    Returns:
        Layer -> int64 indices (kept,) or (members, kept), for every layer that loses a unit.
    Raises:
        ValueError: a tensor has another name or shape, a layer would lose all its units, or members would keep
            different numbers of units.
    """
    if not isinstance(graph, Graph) or not isinstance(tensors, Mapping):
        got = f"{type(graph).__name__} and {type(tensors).__name__}"
        raise ValueError(f"alive: graph must come from graph and tensors map names to tensors, got {got}")
    leading = _leading(graph, tensors)
    found = {}
    for group in graph.groups:
        if group.fixed:
            continue
        left = ~(_silent(group, tensors, leading, "in") | _silent(group, tensors, leading, "out"))
        counts = left.sum(-1)
        if bool((counts == group.size).all()):
            continue
        layer = group.layers[0]
        if bool((counts == 0).any()):
            raise ValueError(f"alive: tensors must leave a unit of each layer, got none of {layer!r}")
        if leading and int(counts.min()) < int(counts.max()):
            got = f"{int(counts.min())} to {int(counts.max())} of {layer!r}"
            raise ValueError(f"alive: tensors must leave each member as many units as the others, got {got}")
        found[layer] = left.nonzero()[:, -1].view(*leading, -1).cpu()
    return found


def silence(edit: Edit) -> dict[str, Tensor]:
    """Masks, as `masks.apply_` takes them, that multiply the units which would go by 0: of all weights that read them.

    Returns:
        Name -> boolean mask of the weight's shape, (members, …) where each member keeps its own.
    """
    found: dict[str, Tensor] = {}
    for layer, index in edit.kept.items():
        for place in edit.places[layer]:
            if place.role != "out":
                continue
            shape, leading = edit.shapes[place.name], index.shape[:-1]
            stays = torch.zeros(*leading, shape[place.dim] // place.each, dtype=torch.bool).scatter_(-1, index, True)
            view = [-1 if axis == place.dim else 1 for axis in range(len(shape))]
            stays = stays.repeat_interleave(place.each, -1).view(*leading, *view)
            found[place.name] = stays.expand(*leading, *shape).clone()
    return found


def save(path: str | Path, edit: Edit) -> None:
    """Write an edit, atomically: indices as safetensors, the rest as a note of JSON in the same file."""
    if not isinstance(edit, Edit):
        raise ValueError(f"save: edit must be an Edit, got {type(edit).__name__}")
    files.check_place("save", "path", path)
    places = {layer: [list(place) for place in each] for layer, each in edit.places.items()}
    files.write(Path(path), dict(edit.kept), {"kind": KIND, "places": places, "shapes": dict(edit.shapes)})


def load(path: str | Path) -> Edit:
    """The edit in a file.

    Raises:
        ValueError: no such file, no edit in it, or one whose indices do not fit its own shapes.
    """
    try:
        kept, note = files.read(Path(path))
    except (*files.UNREADABLE, TypeError) as problem:
        raise ValueError(f"load: path must be a file written by save, got {path!r} ({problem})") from problem
    if not isinstance(note, dict) or note.get("kind") != KIND or set(note.get("places", ())) != set(kept):
        raise ValueError(f"load: path must be a file written by save, got {str(path)!r} with something else")
    try:
        places = {layer: tuple(Place(*each) for each in found) for layer, found in note["places"].items()}
        shapes = {name: tuple(shape) for name, shape in note["shapes"].items()}
        sizes = {layer: _size(found, shapes) for layer, found in places.items()}
    except (AttributeError, LookupError, TypeError, ZeroDivisionError) as problem:
        raise ValueError(f"load: path must be a file written by save, got {str(path)!r}, damaged") from problem
    for layer, size in sizes.items():
        kept[layer] = _indices("load", layer, kept[layer], size)
    _check_members("load", kept)
    return Edit({layer: kept[layer] for layer in places}, places, shapes)


def _size(places: Sequence[Place], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many units these places hold, all of them as many."""
    sizes = {shapes[place.name][place.dim] / place.each for place in places}
    if len(sizes) != 1:
        raise LookupError("places of different sizes")
    return int(sizes.pop())


def _group(graph: Graph, layer: str) -> Group:
    group = next((each for each in graph.groups if layer in each.layers), None)
    if group is None or group.fixed:
        got = f"{layer!r}, whose units are fixed: {group.fixed}" if group else repr(layer)
        raise ValueError(f"keep: units must name layers that can be cut ({', '.join(graph.units)}), got {got}")
    return group


def _indices(where: str, layer: str, given: object, size: int) -> Tensor:
    """As a tensor on the CPU, or a refusal."""
    what = f"{where}: units of {layer!r} must be"
    try:
        if isinstance(given, Tensor):
            every, index = given.tolist(), given.detach().cpu().clone()
        else:
            every = [each.tolist() if hasattr(each, "tolist") else each for each in given]
            index = torch.tensor(every)
        flat = (unit for each in every for unit in (each if isinstance(each, (list, tuple)) else [each]))
        if not isinstance(given, Tensor) and any(isinstance(unit, bool) for unit in flat):
            raise TypeError("a bool is no index")
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as problem:
        raise ValueError(f"{what} indices, as many for each member, got {given!r} ({problem})") from problem
    if index.ndim in (1, 2) and index.numel() == 0:
        raise ValueError(f"{what} one or more, got none: a layer pruned to nothing")
    if index.ndim not in (1, 2) or index.dtype != torch.int64:
        raise ValueError(f"{what} int64 indices (kept,) or (members, kept), got {tuple(index.shape)} {index.dtype}")
    for row in every if index.ndim == 2 else [every]:
        low, high = min(row), max(row)
        if low < 0 or high >= size:
            raise ValueError(f"{what} in 0 … {size - 1}, got {low if low < 0 else high}")
        if len(set(row)) < len(row):
            raise ValueError(f"{what} named once, got {next(unit for unit in row if row.count(unit) > 1)} twice")
    return index


def _check_members(where: str, kept: Mapping[str, Tensor]) -> None:
    members = {len(index) for index in kept.values() if index.ndim == 2}
    if len(members) > 1:
        raise ValueError(f"{where}: units must be given for as many members in each layer, got {sorted(members)}")


def _leading(graph: Graph, tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """() for tensors of one network, (members,) for those of a population."""
    found = set()
    for name, value in tensors.items():
        shape = graph.shapes.get(name)
        if not isinstance(value, Tensor):
            raise ValueError(f"alive: tensors must map names to tensors, got {type(value).__name__} for {name!r}")
        extra = value.ndim - len(shape) if shape is not None else -1
        if extra not in (0, 1) or tuple(value.shape[extra:]) != shape:
            rule = "have names and shapes of the architecture, or one axis of members more"
            raise ValueError(f"alive: tensors must {rule}, got {name!r} {tuple(value.shape)}")
        if shape:
            found.add(tuple(value.shape[:extra]))
    if len(found) != 1:
        raise ValueError(f"alive: tensors must all be of one network or of as many members, got {sorted(found)}")
    return found.pop()


def _silent(group: Group, tensors: Mapping[str, Tensor], leading: tuple[int, ...], role: str) -> Tensor:
    """(…, units): whether every place of a role is 0 for a unit."""
    places = [place for place in group.places if place.role == role]
    device = next(iter(tensors.values())).device
    if not places or any(place.name not in tensors for place in places):
        return torch.zeros(*leading, group.size, dtype=torch.bool, device=device)
    found = []
    for place in places:
        zero = (tensors[place.name] == 0).movedim(place.dim + len(leading), len(leading))
        found.append(zero.reshape(*leading, group.size, -1).all(-1))
    return torch.stack(found).all(0)
