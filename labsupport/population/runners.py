"""The work between two states: a slab of members taken through a number of steps."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from labsupport import counters
from labsupport.population import compiling, programs
from labsupport.population.draws import Draws
from labsupport.population.feeds import Feed
from labsupport.population.fitting import are_labels, check_fit, looked_at, objective_of
from labsupport.population.layers import vmap_refuses
from labsupport.population.members import State
from labsupport.population.plans import Plan
from labsupport.population.settings import at_steps
from labsupport.population.slabs import Slabs, slabs_for
from labsupport.values import holds

__all__ = ["Runner", "runner"]

_TRAINED = ("params", "buffers", "slots")
AT_MOST = 100  # full batches in a row between two looks at who is still finite


@dataclass(eq=False)
class Runner:
    """What stays the same from step to step, but for a program that turns out not to compile.

    Attributes:
        step: an update of a slab.
        eager: the same as it stands; `step` itself where nothing is compiled.
        num_classes: that cross-entropy tells apart; 0 under another loss.
        backend: what runs, and why.
    """

    step: programs.Eager | compiling.Compiled
    eager: programs.Eager
    draws: Draws
    feed: Feed
    plan: Plan
    slabs: Slabs
    num_classes: int
    backend: str

    @property
    def compiled(self) -> bool:
        """Whether a compiled step runs."""
        return self.step is not self.eager

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return len(self.feed) // self.plan.batch_size

    @torch.inference_mode(False)
    @torch.no_grad()
    def advance(self, slab: State, place: int, num_steps: int) -> tuple[State, Tensor]:
        """`num_steps` updates of one slab: its new state, without gradients, and losses (members, num_steps)."""
        curves = []
        while num_steps:
            left = self.per_epoch - slab.step % self.per_epoch if len(self.feed) > self.plan.batch_size else AT_MOST
            count = min(num_steps, left)
            slab, curve = self._advance(slab, self._batches(slab, place, range(slab.step, slab.step + count)))
            curves.append(curve)
            num_steps -= count
        return slab, torch.cat(curves, 1)

    def _advance(self, slab: State, batches: _Batches) -> tuple[State, Tensor]:
        """Steps within an epoch.

        All members are taken through all steps; then those at rest are put back where they were, and those no longer
        finite make these steps again from a kept start, watched. So nothing watches the others.
        """
        with compiling.ONE_AT_A_TIME if self.compiled else nullcontext():
            trained, losses = self._taken(slab, batches)
        curve = torch.stack(losses, 1)
        whole = (_whole(trained) & curve.isfinite().all(1)) | ~slab.active
        if not holds(slab.active):
            trained = tree_map(partial(_chosen, slab.active), trained, _trained(slab))
            curve = curve.where(slab.active[:, None], torch.nan)
        ended = replace(slab, step=slab.step + len(batches), **dict(zip(_TRAINED, trained, strict=True)))
        if not holds(whole):
            ended, curve = self._watched(slab, ended, curve, batches, (~whole).nonzero()[:, 0])
        return ended, curve.cpu()

    def _taken(self, slab: State, batches: _Batches) -> tuple[tuple, list[Tensor]]:
        """A copy of what is trained, taken through all steps, and the losses of each."""
        trained, first = self._first(slab, batches[0])
        losses = [first]
        with compiling.unguarded() if self.compiled else nullcontext():
            for at in range(1, len(batches)):
                trained, loss = self.step(trained, batches[at])
                losses.append(loss)
        return self.step.end(trained), losses

    def _first(self, slab: State, batch: programs.Batch) -> tuple[tuple, Tensor]:
        """A step, and what to do where torch cannot compile or batch it."""
        try:
            return self.step(self.step.begin(_trained(slab)), batch)
        except compiling.refusals() as problem:
            if self.plan.backend == "auto":
                return self._eagerly(slab, batch, _line(problem))
            rule, what = "network and loss must be such as torch.compile takes whole (else: backend='eager')", problem
        except RuntimeError as problem:
            if not vmap_refuses(problem):
                raise
            rule, what = "network and loss must be such as torch.func.vmap takes (else: slab=1)", problem
        raise ValueError(f"train: {rule}, got {_line(what)}") from what

    def _eagerly(self, slab: State, batch: programs.Batch, why: str) -> tuple[tuple, Tensor]:
        """The first step where `backend="auto"` found something that cannot be compiled; the others follow eagerly."""
        compiling.give_up(self.step)
        self.step = self.eager
        self.backend = f"eager ({compiling.REFUSED}), {self.backend.partition('), ')[2]}"
        done = self._first(slab, batch)
        warnings.warn(f"train: {compiling.REFUSED}, so it runs eagerly ({why})", RuntimeWarning, stacklevel=2)
        return done

    def _watched(
        self, slab: State, ended: State, curve: Tensor, batches: _Batches, which: Tensor
    ) -> tuple[State, Tensor]:
        """`ended` and `curve` with some members put right: each stops in front of its first step that is not finite."""
        few = slab[which]
        trained, active, diverged = _trained(few), few.active, few.diverged
        for at in range(len(batches)):
            moved, losses = self.eager(self.eager.begin(trained), batches[at].of(which))
            moved = self.eager.end(moved)
            curve[which, at] = losses.where(active, torch.nan)
            still = active & losses.isfinite() & _whole(moved)
            diverged = torch.where(active & ~still, slab.step + at, diverged)
            trained = tree_map(partial(_chosen, still), moved, trained)
            active = still
        every, some = (*_trained(ended), ended.active, ended.diverged), (*trained, active, diverged)
        whole = tree_map(lambda all, few: all.index_copy(0, which, few), every, some)
        return replace(ended, **dict(zip((*_TRAINED, "active", "diverged"), whole, strict=True))), curve

    def _batches(self, slab: State, place: int, steps: range) -> _Batches:
        examples, first = self.feed.batches(slab.seeds, steps, self.plan), next(iter(slab.params.values()))
        told = at_steps(
            slab.module, slab.optimizer, slab.settings, first, self.plan.schedule, self.draws,
            self.slabs.places[place], self.slabs.members, steps,
        )  # fmt: skip
        keys = counters.keys(slab.seeds, steps, len(self.draws.layers)).to(first.device)
        return _Batches(examples, told, keys)


@dataclass(frozen=True, eq=False)
class _Batches:
    """What each of some steps sees, put together when it is asked for."""

    examples: Sequence[tuple[Tensor, Tensor]]
    told: list[tuple[dict[str, Tensor], dict[str, Tensor]]]
    keys: Tensor

    def __len__(self) -> int:
        return len(self.told)

    def __getitem__(self, at: int) -> programs.Batch:
        settings, rates = self.told[at]
        return programs.Batch(*self.examples[at], settings, self.keys[at], rates)


def runner(where: str, state: State, feed: Feed, plan: Plan, num_epochs: int | None, num_steps: int = 0) -> Runner:
    """A runner for these members, examples and plan; `num_epochs` or `num_steps` is what the rule on compiling counts.

    Raises:
        ValueError: they do not fit together; `where` names the caller.
    """
    check_fit(where, state, feed, plan)
    with torch.inference_mode(False):
        x, y = ((value.clone() if value.is_inference() else value).detach() for value in (feed.x, feed.y))
        feed = replace(feed, x=x, y=y)
    objective = objective_of(where, state, plan)
    draws, num_classes = looked_at(where, state, feed, plan, objective)
    labels = are_labels(where, feed, num_classes)
    slabs = slabs_for(state, plan.slab, convolved=draws.convolved)
    net = programs.network(state.module, training=True)
    eager = step = programs.Eager(net, state.params, state.optimizer, objective, draws, labels=labels)
    total = len(slabs.places) * (num_steps if num_epochs is None else num_epochs * (len(feed) // plan.batch_size))
    backend, why = compiling.backend_for(plan.backend, num_steps=total, written=bool(eager.links))
    if backend == "compiled":
        sizes = (slabs.size, plan.batch_size, *x.shape[1:])
        step = compiling.compiled(net, state.optimizer, objective, draws, sizes)
        if plan.backend == "auto" and compiling.given_up(step):
            backend, why, step = "eager", compiling.REFUSED, eager
    how = "backward pass written out; " if eager.links and step is eager else ""
    text = f"{backend} ({why}), {slabs.words()}, {how}{net.words(alone=slabs.size == 1)}"
    return Runner(step, eager, draws, feed, plan, slabs, num_classes, text)


def _trained(state: State) -> tuple:
    return state.params, state.buffers, state.slots


def _chosen(which: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """`new` for the members named by booleans, `old` for the others."""
    return new.where(which.view(-1, *[1] * (new.ndim - 1)), old)


def _whole(trained: tuple) -> Tensor:
    """(members,): whether everything that training moves is finite."""
    rows = [value.reshape(len(value), -1) for value in tree_leaves(trained)]
    sums = torch.stack([value.sum(1, dtype=None if value.is_floating_point() else torch.float32) for value in rows])
    if holds(sums.isfinite()):  # no sum hides what is not; a sum may overflow
        return torch.ones_like(sums[0], dtype=torch.bool)
    return torch.stack([value.isfinite().all(1) for value in rows]).all(0)


def _line(problem: Exception) -> str:
    return f"{type(problem).__name__}: {str(problem).strip().splitlines()[0]}"
