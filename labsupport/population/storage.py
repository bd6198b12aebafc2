"""Populations on disk."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from labsupport import files
from labsupport.data import Partitions, Split
from labsupport.population.members import State

__all__ = ["fingerprint", "load", "resume", "save"]

Curves = dict[str, list[Tensor]]
GROUPS = ("params", "buffers", "settings")


def save(path: str | Path, state: State, curves: Curves | None = None, about: dict[str, Any] | None = None) -> None:
    """Write a state, with curves if there are any, atomically: a kill at any moment leaves the old file or the new."""
    path = _checked("save", path)
    if not isinstance(state, State):
        raise ValueError(f"save: state must be a State, got {state!r}")
    tensors = {"active": state.active, "diverged": state.diverged, "seeds": torch.tensor(state.seeds)}
    tensors |= {f"{group}/{name}": value for group in GROUPS for name, value in getattr(state, group).items()}
    tensors |= {f"slots/{slot}/{name}": value for slot, each in state.slots.items() for name, value in each.items()}
    for name, values in (curves or {}).items():
        tensors |= {f"curves/{name}/{at}": value for at, value in enumerate(values)}
    note = {"step": state.step, "optimizer": state.optimizer.name, **(about or {})}
    files.write(path, tensors, note)


def load(path: str | Path, like: State) -> State:
    """The state in a file, with the module and the optimizer of `like` (from `init`), on its device.

    Raises:
        ValueError: no such file, no population in it, or one of another network or optimizer.
    """
    if not isinstance(like, State):
        raise ValueError(f"load: like must be a State, such as init gives, got {like!r}")
    return _read(_checked("load", path), like)[0]


def resume(path: str | Path, state: State, curves: Curves, about: dict[str, Any]) -> tuple[State, str]:
    """Where a run stands, and under which backend it was; its curves fill `curves`. Without a file: `state` and "".

    Raises:
        ValueError: the file holds something that is not this run, or could not be written.
    """
    files.check_place("train", "save", path)
    if not Path(path).exists():
        return state, ""
    found, stored, note = _read(path, state)
    for name, value in about.items():
        if note.get(name) != value:
            raise ValueError(f"train: {path} must hold this run, got another {name}: {note.get(name)!r}, not {value!r}")
    for name, values in curves.items():
        values.extend(stored[f"{name}/{at}"] for at in range(sum(key.startswith(f"{name}/") for key in stored)))
    return found, note.get("backend", "")


def fingerprint(start: State, data: Split | Partitions, plan: Any) -> dict[str, Any]:
    """What makes two runs the same one: where they start, data and plan (schedules and losses only by name)."""
    return {
        "network": hashlib.sha256(str(start.module).encode()).hexdigest()[:16],
        "seeds": hashlib.sha256(repr(start.seeds).encode()).hexdigest()[:16],
        "settings": ", ".join(f"{name} {_digest([value])}" for name, value in sorted(start.settings.items())),
        "data": _of_data(data),
        "start": f"{start.step} {_digest(tree_leaves([start.params, start.buffers, start.slots, start.active]))}",
        "batches": f"{plan.batch_size}, {plan.order}",
        "schedule": ", ".join(sorted(plan.schedule)),
        "loss": _name(plan.loss),
        "penalty": _name(plan.penalty),
        "slab and backend": f"{plan.slab}, {plan.backend}",
    }


def _of_data(data: Split | Partitions) -> str:
    """Of all that is seen in training and validation; of partitions also whose rows are which."""
    if isinstance(data, Split):
        return _digest([*data.train, *data.valid])
    rows = [value for part in (data.train, data.valid) for value in (part.index, part.targets) if value is not None]
    return _digest([*data.pool, torch.tensor(data.seeds), *rows])


def _digest(tensors: list[Tensor]) -> str:
    digest = hashlib.sha256()
    for value in tensors:
        whole = torch.empty(value.shape, dtype=value.dtype).copy_(value.detach())
        digest.update(whole.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _name(function: Any) -> str:
    return "" if function is None else getattr(function, "__qualname__", type(function).__qualname__)


def _checked(where: str, path: str | Path) -> Path:
    if not isinstance(path, (str, Path)) or not Path(path).name:
        raise ValueError(f"{where}: path must name a file, got {path!r}")
    return Path(path)


def _read(path: str | Path, like: State) -> tuple[State, dict[str, Tensor], dict[str, Any]]:
    try:
        tensors, note = files.read(Path(path))
    except files.UNREADABLE as problem:
        raise ValueError(f"load: path must be a file written by save, got {path} ({problem})") from problem
    note = note if isinstance(note, dict) and "optimizer" in note else None
    if note is None or note["optimizer"] != like.optimizer.name:
        kind = f"another optimizer ({note['optimizer']})" if note else "something else"
        raise ValueError(f"load: {path} must hold a population under {like.optimizer.name}, got {kind}")
    device = like.active.device
    found = {group: _ordered(_under(tensors, group, device), getattr(like, group)) for group in GROUPS}
    for group in ("params", "buffers"):
        kinds = [{k: (v.shape[1:], v.dtype) for k, v in one.items()} for one in (found[group], getattr(like, group))]
        if kinds[0] != kinds[1]:
            raise ValueError(f"load: {path} must hold the {group} of this network, got {kinds[0]}")
    slots = {slot: _ordered(_under(tensors, f"slots/{slot}", device), each) for slot, each in like.slots.items()}
    rest = {name: tensors[name].to(device) for name in ("active", "diverged")}
    seeds = tuple(tensors["seeds"].tolist())
    state = replace(like, seeds=seeds, step=note["step"], slots=slots, **found, **rest)
    return state, _under(tensors, "curves", "cpu"), note


def _under(tensors: dict[str, Tensor], group: str, device: Any) -> dict[str, Tensor]:
    return {k.removeprefix(f"{group}/"): v.to(device) for k, v in tensors.items() if k.startswith(f"{group}/")}


def _ordered(found: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same in the order of `like`; names that `like` lacks come last."""
    return {name: found[name] for name in (*(k for k in like if k in found), *(k for k in found if k not in like))}
