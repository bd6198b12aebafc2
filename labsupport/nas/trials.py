"""A search that trains: each trial's code becomes a network, is trained for some steps, and is told by its errors.

    task = trials.Task(split, trials.Outline((1, 14, 14), 10), num_steps=200)
    state = trials.search(evolution, task, num_trials=64, num_blocks=3, storage="study.db", seed=0)

With a storage the same call goes on after the process was killed, and finds the same candidates: a candidate's training
is a function of the task's seed and the trial's number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from labsupport.counters import mix, seeded
from labsupport.data import Split
from labsupport.nas import space, stacks
from labsupport.nas.stacks import Outline, Stack
from labsupport.search.contract import State, Trial
from labsupport.search.run import RunPlan, run
from labsupport.values import check_count, check_number

__all__ = ["Outline", "Task", "error", "search", "train"]


@dataclass(frozen=True, eq=False)
class Task:
    """What a candidate is judged by. Called with a trial, it trains the trial's code and returns its validation error.

    Args:
        split: images (n, channels, height, width) in [0, 1], as `outline` says.
        outline: what all candidates share.
        num_steps, batch_size: of the training, each >= 1.
        lr: of SGD with momentum 0.9, along half a cosine to 0; > 0.
        seed: >= 0.
    Raises:
        ValueError: a bound above is broken.
    """

    split: Split
    outline: Outline
    num_steps: int = 200
    batch_size: int = 32
    lr: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size"):
            check_count("Task", name, getattr(self, name))
        check_count("Task", "seed", self.seed, at_least=0)
        check_number("Task", "lr", self.lr, low=0.0)
        if self.split.train[0].shape[1:] != self.outline.image_shape:
            found = tuple(self.split.train[0].shape[1:])
            raise ValueError(f"Task: split must hold images of shape {self.outline.image_shape}, got {found}")

    def __call__(self, trial: Trial) -> float:
        """The share of validation examples that the trained network gets wrong."""
        return error(self.trained(trial), *self.split.valid)

    def trained(self, trial: Trial) -> Stack:
        """The trial's network after training, on the split's device; again the same for the same trial."""
        draws = seeded(mix(mix(self.seed) + trial.number + 1) % 2**64)
        net = stacks.build(space.decode(trial.params), self.outline, generator=draws).to(self.split.train[0].device)
        return train(net, self, generator=draws)


def train(net: Stack, task: Task, *, generator: torch.Generator) -> Stack:
    """Train a network in place, on batches drawn without replacement, and leave it in evaluation mode.

    It takes the dtype and device of the images.

    Raises:
        FloatingPointError: a loss that is not finite.
    """
    x, y = task.split.train
    net.to(x)
    optimizer = torch.optim.SGD(net.parameters(), task.lr, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.num_steps)
    order = torch.empty(0, dtype=torch.int64)
    for step in range(task.num_steps):
        while len(order) < task.batch_size:
            order = torch.cat([order, torch.randperm(len(x), generator=generator)])
        rows, order = order[: task.batch_size].to(x.device), order[task.batch_size :]
        loss = cross_entropy(net(x[rows]), y[rows])
        if not loss.isfinite():
            raise FloatingPointError(f"train: the loss is {loss.item()} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def error(net: Stack, x: torch.Tensor, y: torch.Tensor) -> float:
    """The share of examples that a network in evaluation mode gets wrong."""
    with torch.no_grad():
        return float((net(x).argmax(1) != y).double().mean())


def search(
    strategy: Any, task: Task, *, num_trials: int, num_blocks: int, storage: Any = None, progress: bool = True,
    seed: int,
) -> State:  # fmt: skip
    """Search NASNet's cells of so many blocks, one candidate after another.

    Args:
        strategy: a module of `search` or `nas` with init, ask, tell and finished.
        num_trials, num_blocks: >= 1.
        storage: keeps every trial, so that the same call goes on after a kill, see `search.run`; None: memory alone.
        progress: shows a progress bar.
        seed: of the strategy; `task.seed` is that of the trainings.
    Returns:
        The state: what was tried, and its validation error.
    """
    plan = RunPlan(study="nas", seed=seed)
    searched = space.search_space(num_blocks)
    return run(strategy, searched, task, num_trials=num_trials, storage=storage, progress=progress, plan=plan)
