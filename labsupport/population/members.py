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
from labsupport.population.alike import check_alike, check_followed
from labsupport.population.draws import GENERATOR, random_layers, rate_of
from labsupport.population.settings import check_names, each_member
from labsupport.values import check_count

__all__ = ["State", "check_fits", "freeze", "init", "member", "start", "tensors_of"]

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
        settings: name -> (members,), for loss and penalty (members, …): what each was given; others have defaults.
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

    A parameter that the loss does not reach has the gradient 0: weight decay moves it, where torch's optimizers would
    leave it at rest.

    Args:
        build: generator -> module. It gets a CPU generator with the member's seed; torch's global one is seeded the
            same while it runs, and restored, so that modules with torch's own starts differ from member to member.
        optimizer: from `labsupport.optimizers`.
        settings: name -> a number for all members or a tensor (members,). The names are the optimizer's; "dropout",
            the rate of every dropout layer; "<layer>.p" and "<layer>.std", that of one dropout or noise layer;
            "radius", of sharpness-aware minimization (Foret et al. 2021, arXiv:2010.01412, eqs. 2–3; two gradients a
            step); and "loss.<name>" and "penalty.<name>", which a plan's loss and penalty take, a number or
            (members, …). Layers not named keep their own rates.
        seeds: integers in 0 … 2⁶³ − 1, one for each member.
    Raises:
        ValueError: no seed; modules that differ in anything but parameters and buffers, or have no parameters; a
            setting that is unknown, missing, of the wrong shape, or not finite.
    """
    seeds = _checked("init", seeds)
    modules = [_built(build, seed) for seed in seeds]
    check_followed("init", modules[0])
    check_alike("init", modules)
    params = _stacked([{k: v for k, v in m.named_parameters() if v.requires_grad} for m in modules])
    still = [{k: v for k, v in m.named_parameters() if not v.requires_grad} | dict(m.named_buffers()) for m in modules]
    return _begun("init", copy.deepcopy(modules[0]), params, _stacked(still), optimizer, settings, seeds)


def start(
    module: nn.Module, params: Mapping[str, Tensor], optimizer: Optimizer, settings: Mapping[str, Tensor | float], *,
    seeds: Iterable[int],
) -> State:  # fmt: skip
    """Members with given weights, at step 0: a pruned or grown network, the ends of another run, a pre-trained net.

    Args:
        module: one network of the kind; it gives the computation, and the buffers that `params` does not name.
        params: name -> (members, …), every parameter of the module that requires a gradient; buffers and other
            parameters may stand here too.
        optimizer, settings: see `init`.
        seeds: one for each member; they fix orders, masks and noise, and which rows a member has.
    Raises:
        ValueError: a name is missing or unknown, a shape, dtype or device is not the module's, or as `init`.
    """
    seeds = _checked("start", seeds)
    if not isinstance(module, nn.Module):
        raise ValueError(f"start: module must be a torch.nn.Module, got {type(module).__name__}")
    check_followed("start", module)
    if not isinstance(params, Mapping):
        raise ValueError(f"start: params must map names to tensors (members, …), got {type(params).__name__}")
    trained = {k: v for k, v in module.named_parameters() if v.requires_grad}
    still = {k: v for k, v in module.named_parameters() if not v.requires_grad} | dict(module.named_buffers())
    unknown, missing = [k for k in params if k not in trained | still], [k for k in trained if k not in params]
    if unknown or missing:
        what = f"unknown: {', '.join(unknown)}" if unknown else f"none for {', '.join(missing)}"
        raise ValueError(f"start: params must name every trained parameter of the module and no other, got {what}")
    members = len(seeds)
    for name, value in params.items():
        check_fits("start", name, value, (trained | still)[name], members)
    owned = {k: params[k].detach().clone() for k in trained}
    rest = {k: params.get(k, v.detach().expand(members, *v.shape)).detach().clone() for k, v in still.items()}
    return _begun("start", copy.deepcopy(module), owned, rest, optimizer, settings, seeds)


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
        rate = rate_of(state.module, state.settings, path)
        setattr(module.get_submodule(path), kind, float(rate[i]) if isinstance(rate, Tensor) else rate)
    return module


def freeze(state: State, which: Which) -> State:
    """The same population with some members at rest: later steps leave them as they are."""
    index = torch.tensor(_indices(which, len(state)), device=state.active.device)
    return replace(state, active=state.active.index_fill(0, index, False))


def check_fits(where: str, name: str, value: Tensor, like: Tensor, members: int) -> None:
    """Raise ValueError unless a value is what `like` is, for each member."""
    shape = (members, *like.shape)
    if not isinstance(value, Tensor):
        raise ValueError(f"{where}: {name} must be a tensor {shape}, got {type(value).__name__}")
    if (value.shape, value.dtype, value.device) != (shape, like.dtype, like.device):
        got = f"{tuple(value.shape)} {value.dtype} {value.device}"
        raise ValueError(f"{where}: {name} must be {shape} {like.dtype} {like.device}, got {got}")


def _begun(
    where: str, module: nn.Module, params: dict[str, Tensor], buffers: dict[str, Tensor], optimizer: Optimizer,
    settings: Mapping[str, Tensor | float], seeds: tuple[int, ...],
) -> State:  # fmt: skip
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"{where}: optimizer must be one of labsupport.optimizers, such as sgd(), got {optimizer!r}")
    if not isinstance(settings, Mapping):
        raise ValueError(f"{where}: settings must map names to numbers, such as {{'lr': 0.1}}, got {settings!r}")
    if any(not value.is_floating_point() for value in params.values()):
        raise ValueError(f"{where}: build must make modules with real floating parameters, got others")
    if not params:
        raise ValueError(f"{where}: build must make modules with parameters that require a gradient, got none")
    first = next(iter(params.values()))
    given = {name: each_member(where, name, value, len(seeds), first) for name, value in settings.items()}
    check_names(where, module, optimizer, given)
    slots = tree_map(torch.clone, torch.func.vmap(optimizer.init)(params)) if optimizer.init(params) else {}
    active = torch.ones(len(seeds), dtype=torch.bool, device=first.device)
    diverged = torch.full((len(seeds),), -1, dtype=torch.int64, device=first.device)
    return State(module, optimizer, params, buffers, slots, given, seeds, 0, active, diverged)


def _checked(where: str, seeds: Iterable[int]) -> tuple[int, ...]:
    if not isinstance(seeds, Iterable):
        raise ValueError(f"{where}: seeds must be integers, one for each member, such as range(8), got {seeds!r}")
    seeds = tuple(check_count(where, "seeds", seed, at_least=0) for seed in seeds)
    if not seeds or max(seeds) >= 2**63:
        got = f"got {max(seeds)}" if seeds else "got none"
        raise ValueError(f"{where}: seeds must hold at least one seed, none above 2**63 - 1, {got}")
    return seeds


def _built(build: Build, seed: int) -> nn.Module:
    if not callable(build) or isinstance(build, nn.Module):
        raise ValueError(f"init: build must be a function of a generator, got {type(build).__name__}")
    with GENERATOR, torch.random.fork_rng(devices=[]):
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
