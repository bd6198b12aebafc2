"""Training a population: slab by slab, epoch by epoch, from one `State` to the next."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from tqdm import tqdm

from labsupport.data import Partitions, Rows, Split
from labsupport.optimizers import Optimizer
from labsupport.population import storage
from labsupport.population.feeds import Feed, feeds
from labsupport.population.fitting import are_labels
from labsupport.population.measuring import scores_of
from labsupport.population.members import State, init, member
from labsupport.population.plans import Plan
from labsupport.population.programs import network
from labsupport.population.runners import Runner, runner
from labsupport.values import check_count

__all__ = ["Result", "carry_on", "step", "train"]


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What a run gave; curves on the CPU.

    Attributes:
        state: the members at the end.
        train_loss: (members, steps), of each step's batch, before its update; NaN after a member's divergence.
        valid_epochs: (validations,), epochs finished at each.
        valid_loss, valid_error: (members, validations).
        backend: what ran, which way each layer went, and why: "eager (by hand it is as fast), slabs of 64 (6310
            parameters each), backward pass written out; by hand: 3 Linear, 2 ReLU".
        finished: whether all epochs of the plan were made; False after an interruption.
    """

    state: State
    train_loss: Tensor
    valid_epochs: Tensor
    valid_loss: Tensor
    valid_error: Tensor
    backend: str
    finished: bool

    def member(self, i: int) -> nn.Module:
        """Member i as an ordinary module."""
        return member(self.state, i)

    @property
    def diverged(self) -> Tensor:
        """The step at which each member stopped being finite, or -1; shape (members,)."""
        return self.state.diverged.cpu()

    def __repr__(self) -> str:
        end = "" if self.finished else ", not finished"
        return f"Result({self.state!r}, {len(self.valid_epochs)} validations, {self.backend}{end})"


def train(
    build: Callable[[torch.Generator], nn.Module], data: Split | Partitions, optimizer: Optimizer,
    settings: Mapping[str, Tensor | float], plan: Plan, *, seeds: Iterable[int],
) -> Result:  # fmt: skip
    """Train one network for each seed, side by side, and measure all after every epoch.

    A member whose loss or weights would stop being finite is left at its last finite state and marked; the others do
    not notice. KeyboardInterrupt (the stop button) ends the run after the last whole epoch.

    Args:
        build, optimizer, settings, seeds: see `init`.
        data: a `Split` for all, or `data.partitions(…)`, a sample for each seed; on the device where the members
            shall be trained.
        plan: epochs, batches, schedule, backend. Where `plan.save` names a file of this run, it is taken up there.
    Raises:
        ValueError: something does not fit together, or `plan.save` holds another run.
    """
    _check_kinds(data, plan)
    device = (data.pool if isinstance(data, Partitions) else data.train)[0].device
    return carry_on(init(build, optimizer, settings, seeds=seeds).to(device), data, plan)


def carry_on(state: State, data: Split | Partitions, plan: Plan) -> Result:
    """`train` for members that exist: `plan.num_epochs` more epochs from wherever they are.

    Raises:
        ValueError: as `train`, or the members stand in the middle of an epoch.
    """
    _check_kinds(data, plan)
    if not isinstance(state, State):
        raise ValueError(f"train: state must be a State, got {state!r}")
    parts = feeds(data)
    log = _Log(data, parts["valid"], plan, state)
    if plan.save is not None:
        state, backend = storage.resume(plan.save, state, log.curves, log.about)
        if backend and plan.backend == "auto":  # the same to the end, also when the plan has grown
            plan = replace(plan, backend=backend)
    work = runner("train", state, parts["train"], plan, plan.num_epochs)
    if plan.valid_every:
        are_labels("train: validation", parts["valid"], work.num_classes)
    if state.step % work.per_epoch:
        raise ValueError(f"carry_on: the members must stand at the end of an epoch, got step {state.step}")
    log.slabs = work.slabs.cut(state)
    done = log.epochs
    if done > plan.num_epochs:
        raise ValueError(f"train: {plan.save} must hold at most {plan.num_epochs} epochs, got {done}")
    with tqdm(
        total=(plan.num_epochs - done) * len(log.slabs), desc="train", unit="slab", disable=not plan.progress
    ) as bar:
        try:
            for epoch in range(done + 1, plan.num_epochs + 1):
                pairs = [_ticked(bar, work.advance(slab, at, work.per_epoch)) for at, slab in enumerate(log.slabs)]
                moved, losses = zip(*pairs, strict=True)
                scores = log.measured(moved, epoch)
                log.add(moved, losses, scores)
                log.store(work)
        except KeyboardInterrupt:
            warnings.warn(f"train: interrupted, {log.epochs} of {plan.num_epochs} epochs", RuntimeWarning, stacklevel=2)
    return log.close(work.slabs.joined(log.slabs), work.backend)


def step(
    state: State, x: Tensor, y: Tensor, plan: Plan, *, num_steps: int = 1, rows: Rows | None = None
) -> tuple[State, Tensor]:
    """`num_steps` updates of every member on batches of the n examples (x, y); `plan.num_epochs` is not used.

    Args:
        rows: each seed's own examples out of the pool (x, y), such as `partitions.train`; where it has targets of its
            own, y is not used.
    Returns:
        the new state, and losses (members, num_steps), each before its update, on the CPU.
    Raises:
        ValueError: the data do not fit the plan or the network.
    """
    check_count("step", "num_steps", num_steps)
    if rows is not None and not isinstance(rows, Rows):
        raise ValueError(f"step: rows must be data.Rows, such as partitions.train, got {type(rows).__name__}")
    work = runner("step", state, Feed(x, y, rows), plan, None, num_steps)
    pairs = [work.advance(slab, place, num_steps) for place, slab in enumerate(work.slabs.cut(state))]
    return work.slabs.joined([slab for slab, _ in pairs]), torch.cat([losses for _, losses in pairs])[: len(state)]


def _check_kinds(data: Split | Partitions, plan: Plan) -> None:
    if not isinstance(data, (Split, Partitions)) or not isinstance(plan, Plan):
        raise ValueError(f"train: data must be a data.Split or Partitions, and plan a Plan, got {data!r} and {plan!r}")


class _Log:
    """The curves of a run in the making."""

    def __init__(self, data: Split | Partitions, valid: Feed, plan: Plan, state: State) -> None:
        self.valid, self.plan, self.members = valid, plan, len(state)
        self.net = network(state.module, training=False)
        self.about = {} if plan.save is None else storage.fingerprint(state, data, plan)
        names = ("train_loss", "valid_epochs", "valid_loss", "valid_error")
        self.now: tuple[Sequence[State], dict[str, list[Tensor]]] = ((), {name: [] for name in names})

    @property
    def slabs(self) -> Sequence[State]:
        return self.now[0]

    @slabs.setter
    def slabs(self, slabs: Sequence[State]) -> None:
        self.now = slabs, self.curves

    @property
    def curves(self) -> dict[str, list[Tensor]]:
        return self.now[1]

    @property
    def epochs(self) -> int:
        return len(self.curves["train_loss"])

    def measured(self, slabs: Sequence[State], epoch: int) -> dict[str, Tensor]:
        """Validation after an epoch, where the plan wants one."""
        every = self.plan.valid_every
        if not every or (epoch % every and epoch != self.plan.num_epochs):
            return {}
        parts = zip(*(scores_of(slab, self.valid, self.plan.loss, net=self.net) for slab in slabs), strict=True)
        loss, error = (torch.cat(part)[: self.members].cpu() for part in parts)
        return {"valid_epochs": torch.tensor(epoch), "valid_loss": loss, "valid_error": error}

    def add(self, slabs: Sequence[State], losses: Sequence[Tensor], scores: dict[str, Tensor]) -> None:
        """Note an epoch by a single assignment, so that an interruption finds curves and members in step."""
        new = {"train_loss": torch.cat(losses)[: self.members], **scores}
        self.now = slabs, {k: [*old, new[k]] if k in new else old for k, old in self.curves.items()}

    def store(self, work: Runner) -> None:
        if self.plan.save is not None:
            about = {**self.about, "backend": "compiled" if work.compiled else "eager"}
            storage.save(self.plan.save, work.slabs.joined(self.slabs), self.curves, about)

    def close(self, state: State, backend: str) -> Result:
        lists, empty = self.curves, torch.zeros(len(state), 0)
        train_loss = torch.cat(lists["train_loss"], 1) if lists["train_loss"] else empty
        valid = [torch.stack(lists[name], 1) if lists[name] else empty for name in ("valid_loss", "valid_error")]
        epochs = torch.tensor([int(epoch) for epoch in lists["valid_epochs"]], dtype=torch.int64)
        return Result(state, train_loss, epochs, *valid, backend, self.epochs == self.plan.num_epochs)


def _ticked(bar: tqdm, pair: tuple[State, Tensor]) -> tuple[State, Tensor]:
    bar.update()
    return pair
