"""The work between two states: a population cut into slabs, and a slab taken through a number of steps."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from torch.utils._pytree import tree_leaves, tree_map

from labsupport.population import counters, programs
from labsupport.population.members import State, is_share, rate_of, tensors_of
from labsupport.population.plans import Plan, backend_for, check_fit, check_loss, slab_for
from labsupport.values import holds

__all__ = ["Runner", "runner"]

_TRAINED = ("params", "buffers", "slots")
AT_MOST = 100  # full batches in a row between two looks at who is still finite
_ONE_AT_A_TIME = threading.RLock()  # torch's compiler has one stance for all threads
_REFUSED = "torch.compile refuses the step"
_NOT_COMPILED: WeakSet = WeakSet()  # programs that torch.compile refused once


@dataclass(eq=False)
class Runner:
    """What stays the same from step to step, but for a program that turns out not to compile.

    Attributes:
        module: the arranged copy of the network that `program` computes.
        places: (slabs, members of a slab), the members of each; the last may be named twice.
        backend: what runs, and why.
    """

    module: nn.Module
    program: Callable
    draws: programs.Draws
    x: Tensor
    y: Tensor
    plan: Plan
    places: list[list[int]]
    compiled: bool
    backend: str

    @property
    def members(self) -> int:
        return self.places[-1][-1] + 1

    @property
    def per_epoch(self) -> int:
        return len(self.x) // self.plan.batch_size

    def slabs(self, state: State) -> list[State]:
        """The members in slabs of equal size, the last filled up with copies of the last member."""
        return [state[row] for row in self.places]

    def joined(self, slabs: list[State]) -> State:
        whole = tree_map(lambda *values: torch.cat(values)[: self.members], *map(tensors_of, slabs))
        seeds = tuple(seed for slab in slabs for seed in slab.seeds)[: self.members]
        return replace(slabs[0], seeds=seeds, **whole)

    @torch.inference_mode(False)
    @torch.no_grad()
    def advance(self, slab: State, place: int, num_steps: int) -> tuple[State, Tensor]:
        """`num_steps` updates of one slab: its new state, without gradients, and losses (members, num_steps)."""
        curves = []
        while num_steps:
            left = self.per_epoch - slab.step % self.per_epoch if len(self.x) > self.plan.batch_size else AT_MOST
            count = min(num_steps, left)
            with _ONE_AT_A_TIME:
                slab, curve = self._advance(slab, place, count)
            curves.append(curve)
            num_steps -= count
        return slab, torch.cat(curves, 1)

    def _advance(self, slab: State, place: int, num_steps: int) -> tuple[State, Tensor]:
        """Steps within an epoch.

        All members are taken through all steps; then those at rest are put back where they were, and those no longer
        finite make these steps again, eagerly and watched. So nothing watches the others.
        """
        batches = self._batches(slab, self.places[place], range(slab.step, slab.step + num_steps))
        trained, first = self._first(slab, batches[0])
        losses = [first]
        with programs.unguarded() if self.compiled else nullcontext():
            for batch in batches[1:]:
                trained, loss = self.program(self.module, trained, batch)
                losses.append(loss)
        curve = torch.stack(losses, 1)
        whole = (_whole(trained) & curve.isfinite().all(1)) | ~slab.active
        if not holds(slab.active):
            trained = tree_map(partial(_chosen, slab.active), trained, _trained(slab))
            curve = curve.where(slab.active[:, None], torch.nan)
        ended = replace(slab, step=slab.step + num_steps, **dict(zip(_TRAINED, trained, strict=True)))
        if not holds(whole):
            ended, curve = self._watched(slab, ended, curve, batches, (~whole).nonzero()[:, 0])
        return ended, curve.cpu()

    def _first(self, slab: State, batch: programs.Batch) -> tuple[tuple, Tensor]:
        """A step, and what to do where torch cannot compile or batch it."""
        try:
            return self.program(self.module, tree_map(torch.clone, _trained(slab)), batch)
        except TorchDynamoException as problem:
            if self.plan.backend == "auto":
                return self._eagerly(slab, batch, _line(problem))
            rule, what = "network and loss must be such as torch.compile takes whole (else: backend='eager')", problem
        except RuntimeError as problem:
            if "vmap" not in str(problem) and "atching rule" not in str(problem):
                raise
            rule, what = "network and loss must be such as torch.func.vmap takes (else: slab=1)", problem
        raise ValueError(f"train: {rule}, got {_line(what)}") from what

    def _eagerly(self, slab: State, batch: programs.Batch, why: str) -> tuple[tuple, Tensor]:
        """The first step where `backend="auto"` found something that cannot be compiled; the others follow eagerly."""
        _NOT_COMPILED.add(self.program)
        batched = len(self.places[0]) > 1
        self.program = programs.program(slab, self.plan.loss, self.draws, batched=batched, compiled=False)
        self.compiled, self.backend = False, f"eager ({_REFUSED}), {self.backend.partition('), ')[2]}"
        done = self._first(slab, batch)
        warnings.warn(f"train: {_REFUSED}, so it runs eagerly ({why})", RuntimeWarning, stacklevel=2)
        return done

    def _watched(
        self, slab: State, ended: State, curve: Tensor, batches: list[programs.Batch], which: Tensor
    ) -> tuple[State, Tensor]:
        """`ended` and `curve` with some members put right: each stops in front of its first step that is not finite."""
        batched = len(self.places[0]) > 1
        program = programs.program(slab, self.plan.loss, self.draws, batched=batched, compiled=False)
        few = slab[which]
        trained, active, diverged = _trained(few), few.active, few.diverged
        for at, batch in enumerate(batches):
            moved, losses = program(self.module, trained, batch.of(which))
            curve[which, at] = losses.where(active, torch.nan)
            still = active & losses.isfinite() & _whole(moved)
            diverged = torch.where(active & ~still, slab.step + at, diverged)
            trained = tree_map(partial(_chosen, still), moved, trained)
            active = still
        every, some = (*_trained(ended), ended.active, ended.diverged), (*trained, active, diverged)
        whole = tree_map(lambda all, few: all.index_copy(0, which, few), every, some)
        return replace(ended, **dict(zip((*_TRAINED, "active", "diverged"), whole, strict=True))), curve

    def _batches(self, slab: State, places: list[int], steps: range) -> list[programs.Batch]:
        rows = self._rows(slab, steps)
        settings, rates = _scheduled(slab, self.plan.schedule, self.draws, places, self.members, steps)
        keys = counters.keys(slab.seeds, steps, len(self.draws.layers)).to(self.x.device)
        return [
            programs.Batch(self.x, self.y, None if rows is None else rows[at], now, keys[at], odds)
            for at, (now, odds) in enumerate(zip(_each(settings, steps), _each(rates, steps), strict=True))
        ]

    def _rows(self, slab: State, steps: range) -> Tensor | None:
        """Rows of each step: (steps, members, batch_size), or (steps, batch_size) for a shared order."""
        size, n = self.plan.batch_size, len(self.x)
        if size == n:
            return None
        seeds = slab.seeds if self.plan.order == "own" else (0,)
        epochs = range(steps[0] // self.per_epoch, steps[-1] // self.per_epoch + 1)
        orders = [counters.orders(seeds, e, n)[:, : self.per_epoch * size].unflatten(1, (-1, size)) for e in epochs]
        first = steps[0] % self.per_epoch
        rows = torch.cat(orders, 1)[:, first : first + len(steps)].transpose(0, 1).contiguous().to(self.x.device)
        return rows if self.plan.order == "own" else rows[:, 0]


def runner(
    where: str, state: State, x: Tensor, y: Tensor, plan: Plan, num_epochs: int | None, num_steps: int = 0
) -> Runner:
    """A runner for these members, data and plan; `num_epochs` or `num_steps` is what the rule on compiling counts.

    Raises:
        ValueError: they do not fit together; `where` names the caller.
    """
    check_fit(where, state, x, y, plan)
    with torch.inference_mode(False):
        x, y = ((value.clone() if value.is_inference() else value).detach() for value in (x, y))
    look = partial(check_loss, where, plan.loss, y=y[: plan.batch_size])
    draws = programs.draws_of(state, x[: plan.batch_size], look)
    slab, because = slab_for(state, plan, convolved=draws.convolved)
    count = -(-len(state) // slab)
    size = -(-len(state) // count)
    places = [[min(at + i, len(state) - 1) for i in range(size)] for at in range(0, count * size, size)]
    total = count * (num_steps if num_epochs is None else num_epochs * (len(x) // plan.batch_size))
    backend, why = backend_for(plan, num_steps=total)
    compiled, sizes = backend == "compiled", (size, plan.batch_size, *x.shape)
    program = programs.program(state, plan.loss, draws, batched=size > 1, compiled=compiled, sizes=sizes)
    if compiled and plan.backend == "auto" and program in _NOT_COMPILED:
        backend, why, compiled = "eager", _REFUSED, False
        program = programs.program(state, plan.loss, draws, batched=size > 1, compiled=False)
    kind = f"slabs of {size}" if size > 1 else "one after another"
    text = f"{backend} ({why}), {kind} ({because})"
    module = programs.trainable(state.module, batched=size > 1).train()
    return Runner(module, program, draws, x, y, plan, places, compiled, text)


def _scheduled(
    slab: State,
    schedule: Mapping[str, Callable[[int], float | Tensor]],
    draws: programs.Draws,
    places: list[int],
    members: int,
    steps: range,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Settings and rates of random layers at each step, (steps, members)."""
    first = next(iter(slab.params.values()))
    still = first.new_ones(len(steps), len(slab))

    def over(name: str, base: Tensor | float) -> Tensor:
        values = still
        if name in schedule:
            values = torch.stack([_factors(name, schedule[name](at), places, members) for at in steps]).to(still)
        return values * base

    defaults = slab.optimizer.defaults
    names = [name for name in (*defaults, "radius") if name in slab.settings or name in schedule]
    settings = {name: over(name, slab.settings.get(name, defaults.get(name, 0.0))) for name in names}
    for name, values in settings.items():
        if is_share(name) and not holds(values < 1):
            raise ValueError(f"train: {name} must lie in [0, 1) at every step, got {float(values.max()):g}")
    rates = {}
    for path, kind, _ in draws.layers:
        name = f"{path}.{kind}"
        rates[path] = over(name if name in schedule or kind != "p" else "dropout", rate_of(slab, path))
        if kind == "p" and not holds(rates[path] < 1):
            raise ValueError(f"train: the scheduled rate of {path} must lie in [0, 1), got {rates[path].max():g}")
    return settings, rates


def _factors(name: str, value: float | Tensor, places: list[int], members: int) -> Tensor:
    """What a schedule gives at one step, for the members of a slab."""
    try:
        found = torch.as_tensor(value, dtype=torch.float64).cpu()
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty(0)
    if found.shape not in ((), (members,)) or not holds((found >= 0) & found.isfinite()):
        rule = f"a finite number or ({members},) of them, none below 0"
        raise ValueError(f"train: schedule[{name!r}] must give {rule}, got {value!r}")
    return found[places] if found.ndim else found.expand(len(places))


def _trained(state: State) -> tuple:
    return state.params, state.buffers, state.slots


def _chosen(which: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """`new` for the members named by booleans, `old` for the others."""
    return new.where(which.view(-1, *[1] * (new.ndim - 1)), old)


def _whole(trained: tuple) -> Tensor:
    """(members,): whether everything that training moves is finite."""
    return torch.stack([value.isfinite().reshape(len(value), -1).all(1) for value in tree_leaves(trained)]).all(0)


def _line(problem: Exception) -> str:
    return f"{type(problem).__name__}: {str(problem).strip().splitlines()[0]}"


def _each(table: dict[str, Tensor], steps: range) -> list[dict[str, Tensor]]:
    """From name -> (steps, members) to one dict for each step."""
    return [{name: values[at] for name, values in table.items()} for at in range(len(steps))]
