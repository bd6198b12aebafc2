"""The state of a population: N networks of one architecture, stacked, and how they are made, picked and taken out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from labsupport.optimizers import Optimizer
from labsupport.optimizers.rule import SHARES
from labsupport.values import check_count, holds

__all__ = ["State", "freeze", "init", "member"]

Build = Callable[[torch.Generator], nn.Module]
Which = slice | Tensor | Sequence[int] | Sequence[bool]
Tree = dict[str, dict[str, Tensor]]


@dataclass(frozen=True, eq=False, repr=False)
class State:
    """Members of a population between two steps. Nothing in it is changed by training: a step returns a new one.

    Attributes:
        module: gives the computation and the shapes; its own values are not used.
        optimizer: the rule that all members follow.
        params: name -> (members, …), what is trained.
        buffers: name -> (members, …), what is not: running statistics, and parameters without gradient.
        slots: the optimizer's state, each tensor (members, …).
        settings: name -> (members,), what each member was given; others stand at their defaults.
        seeds: one for each member; with the step they fix orders, masks and noise.
        step: updates made since `init`.
        active: (members,) booleans; a member that is not stays as it is.
        diverged: (members,) integers: the step whose update would have made the member infinite or NaN (the
            member is left as it was before), or -1.
    """

    module: nn.Module
    optimizer: Optimizer
    params: dict[str, Tensor]
    buffers: dict[str, Tensor]
    slots: Tree
    settings: dict[str, Tensor]
    seeds: tuple[int, ...]
    step: int
    active: Tensor
    diverged: Tensor

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, which: Which) -> State:
        """Some of the members: a slice, booleans, or indices, in which a member may be named twice."""
        names = _indices(which, len(self))
        seeds, index = tuple(self.seeds[i] for i in names), torch.tensor(names, device=self.active.device)
        return replace(self, seeds=seeds, **tree_map(lambda value: value[index], tensors_of(self)))

    def to(self, target: torch.device | torch.dtype | str) -> State:
        """The same members on another device, or in another floating dtype."""

        if isinstance(target, torch.dtype) and not target.is_floating_point:
            raise ValueError(f"State.to: target must be a device or a floating dtype, got {target}")

        def move(value: Tensor) -> Tensor:
            keep = isinstance(target, torch.dtype) and not value.is_floating_point()
            return value if keep else value.to(target)

        def kept_wide(name: str, value: Tensor) -> Tensor:  # counts and the like: not as narrow as bfloat16
            wide = isinstance(target, torch.dtype) and name not in self.params
            return value.to(torch.promote_types(target, torch.float32)) if wide else move(value)

        slots = {slot: {name: kept_wide(name, v) for name, v in each.items()} for slot, each in self.slots.items()}
        return replace(self, **{**tree_map(move, tensors_of(self)), "slots": slots})

    def __repr__(self) -> str:
        lost = int((self.diverged >= 0).sum())
        kind = f"{len(self)} members of {type(self.module).__name__}, {self.optimizer.name}, step {self.step}"
        return f"State({kind}{f', {lost} diverged' if lost else ''})"


def init(build: Build, optimizer: Optimizer, settings: Mapping[str, Tensor | float], *, seeds: Iterable[int]) -> State:
    """A member for each seed, at step 0.

    Args:
        build: generator -> module. It gets a CPU generator with the member's seed; torch's global one is seeded the
            same while it runs, and restored, so that modules with torch's own starts differ from member to member.
        optimizer: from `labsupport.optimizers`.
        settings: name -> a number for all members or a tensor (members,). The names are the optimizer's; "dropout",
            the rate of every dropout layer; "<layer>.p" and "<layer>.std", that of one dropout or noise layer; and
            "radius", of sharpness-aware minimization (Foret et al. 2021, arXiv:2010.01412, eqs. 2–3; two gradients a
            step). Layers not named keep their own rates.
        seeds: integers in 0 … 2⁶³ − 1, one for each member.
    Raises:
        ValueError: no seed, modules that differ in shape or layers or have no parameters, a setting that is unknown,
            missing, of the wrong shape, or not finite.
    """
    seeds = _checked(seeds)
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"init: optimizer must be one of labsupport.optimizers, such as sgd(), got {optimizer!r}")
    if not isinstance(settings, Mapping):
        raise ValueError(f"init: settings must map names to numbers, such as {{'lr': 0.1}}, got {settings!r}")
    modules = [_built(build, seed) for seed in seeds]
    params = _stacked([{k: v for k, v in m.named_parameters() if v.requires_grad} for m in modules])
    still = [{k: v for k, v in m.named_parameters() if not v.requires_grad} | dict(m.named_buffers()) for m in modules]
    if any(not value.is_floating_point() for value in params.values()):
        raise ValueError("init: build must make modules with real floating parameters, got others")
    if not params:
        raise ValueError("init: build must make modules with parameters that require a gradient, got none")
    if len({str(module) for module in modules}) > 1:
        raise ValueError("init: build must make the same layers, with the same rates, for every seed")
    first = next(iter(params.values()))
    given = {name: _setting(name, value, len(seeds), first) for name, value in settings.items()}
    _check_names(modules[0], optimizer, given)
    slots = tree_map(torch.clone, torch.func.vmap(optimizer.init)(params)) if optimizer.init(params) else {}
    active = torch.ones(len(seeds), dtype=torch.bool, device=first.device)
    diverged = torch.full((len(seeds),), -1, dtype=torch.int64, device=first.device)
    return State(modules[0], optimizer, params, _stacked(still), slots, given, seeds, 0, active, diverged)


def member(state: State, i: int) -> nn.Module:
    """Member i as an ordinary module of its own, in training mode, its dropout and noise layers at its own rates.

    Raises:
        ValueError: there is no such member.
    """
    if check_count("member", "i", i, at_least=0) >= len(state):
        raise ValueError(f"member: i must lie in 0 … {len(state) - 1}, got {i}")
    module = copy.deepcopy(state.module)
    slots = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with torch.no_grad():
        for name, value in {**state.params, **state.buffers}.items():
            slots[name].data = value[i].detach().clone()
    for path, kind in random_layers(module).items():
        rate = rate_of(state, path)
        setattr(module.get_submodule(path), kind, float(rate[i]) if isinstance(rate, Tensor) else rate)
    return module


def freeze(state: State, which: Which) -> State:
    """The same population with some members at rest: later steps leave them as they are."""
    index = torch.tensor(_indices(which, len(state)), device=state.active.device)
    return replace(state, active=state.active.index_fill(0, index, False))


def random_layers(module: nn.Module) -> dict[str, str]:
    """Path of each dropout or noise layer, in the module's order, and the name of its rate: "p" or "std"."""
    kinds = {path: getattr(layer, "random_rate", None) for path, layer in module.named_modules()}
    dropouts = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
    kinds |= {path: "p" for path, layer in module.named_modules() if type(layer) in dropouts}
    return {path: kind for path, kind in kinds.items() if kind}


def rate_of(state: State, path: str) -> Tensor | float:
    """The rate of a dropout or noise layer: its own setting, else "dropout", else what the module was built with."""
    kind = random_layers(state.module)[path]
    for name in (f"{path}.{kind}", *(["dropout"] if kind == "p" else [])):
        if name in state.settings:
            return state.settings[name]
    return float(getattr(state.module.get_submodule(path), kind))


def known_settings(module: nn.Module, optimizer: Optimizer) -> list[str]:
    """Names that settings and schedules may have."""
    layers = random_layers(module)
    known = [*optimizer.defaults, "radius", *(f"{path}.{kind}" for path, kind in layers.items())]
    return known + (["dropout"] if "p" in layers.values() else [])


def is_share(name: str) -> bool:
    """Whether a setting must lie below 1."""
    return name == "dropout" or name in SHARES or name.endswith(".p")


def _checked(seeds: Iterable[int]) -> tuple[int, ...]:
    if not isinstance(seeds, Iterable):
        raise ValueError(f"init: seeds must be integers, one for each member, such as range(8), got {seeds!r}")
    seeds = tuple(check_count("init", "seeds", seed, at_least=0) for seed in seeds)
    if not seeds or max(seeds) >= 2**63:
        got = f"got {max(seeds)}" if seeds else "got none"
        raise ValueError(f"init: seeds must hold at least one seed, none above 2**63 - 1, {got}")
    return seeds


def _built(build: Build, seed: int) -> nn.Module:
    if not callable(build) or isinstance(build, nn.Module):
        raise ValueError(f"init: build must be a function of a generator, got {type(build).__name__}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = build(torch.Generator().manual_seed(seed))
    if not isinstance(module, nn.Module):
        raise ValueError(f"init: build must return a torch.nn.Module, got {type(module).__name__}")
    if any(map(nn.parameter.is_lazy, (*module.parameters(), *module.buffers()))):
        raise ValueError("init: build must give every layer its sizes, got a lazy layer")
    return module


def _stacked(every: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    kinds = [{name: (value.shape, value.dtype, value.device) for name, value in one.items()} for one in every]
    if any(kind != kinds[0] for kind in kinds):
        raise ValueError("init: build must make modules of one shape, dtype and device for every seed")
    return {name: torch.stack([one[name].detach() for one in every]) for name in every[0]}


def _setting(name: str, value: Tensor | float, members: int, like: Tensor) -> Tensor:
    try:
        each = torch.as_tensor(value, dtype=like.dtype).detach().to(like.device)
        each = each.expand(members).clone() if each.ndim == 0 else each
    except (TypeError, ValueError, RuntimeError):
        each = None
    if each is None or each.shape != (members,) or not holds(each.isfinite()):
        raise ValueError(f"init: settings[{name!r}] must be finite, one number or ({members},), got {value!r}")
    if not holds(each >= 0):
        raise ValueError(f"init: settings[{name!r}] must be >= 0, got {value!r}")
    return each


def _check_names(module: nn.Module, optimizer: Optimizer, given: dict[str, Tensor]) -> None:
    known = known_settings(module, optimizer)
    for name in given:
        if name not in known:
            raise ValueError(f"init: settings must be among {', '.join(known)}, got {name!r}")
    for name, default in optimizer.defaults.items():
        if default is None and name not in given:
            got = ", ".join(given) or "none"
            raise ValueError(f"init: settings must hold {name!r} for {optimizer.name}, got {got}")
    for name, value in given.items():
        if is_share(name) and not holds(value < 1):
            raise ValueError(f"init: settings[{name!r}] must lie in [0, 1), got {value}")


def _indices(which: Which, members: int) -> list[int]:
    try:
        where = which if isinstance(which, slice) else np.asarray(which)
        index = np.arange(members)[where] if isinstance(where, slice) or where.size else np.empty(0)
    except (IndexError, TypeError, ValueError):
        index = np.empty((0, 0))
    if index.ndim != 1 or not len(index):
        rule = "which must be a slice, booleans or indices that name at least one"
        raise ValueError(f"State: {rule} of {members} members (member(state, i) is one module), got {which!r}")
    return index.tolist()


def tensors_of(state: State) -> dict[str, object]:
    """Everything that has an axis of members, by the name of its field."""
    names = ("params", "buffers", "slots", "settings", "active", "diverged")
    return {name: getattr(state, name) for name in names}
