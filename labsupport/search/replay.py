"""A table of learning curves on which any strategy is played again in milliseconds, and a clock for many workers.

    table = replay.load()
    state = hyperband.init(table.space, max_resource=81, eta=3, seed=0)
    state, time = replay.play(hyperband, state, replay.curve(table, seed=0))
    replay.regret(table, state)

512 settings of a network for digits were trained for 81 epochs, three times each; `chapters/search/tables/replay.py`
says how. Errors are fractions of examples.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from labsupport.experiments import tables
from labsupport.search import contract
from labsupport.search.contract import Record, State, Trial
from labsupport.search.space import Categorical, Integer, Params, Space
from labsupport.values import check_count

__all__ = ["SPACE", "Strategy", "Table", "curve", "epochs", "load", "play", "regret", "row", "settings", "trained_with"]

SPACE = Space({
    "log2_lr": Integer(-12, 3),
    "log2_memory": Integer(0, 3),  # momentum 1 − 2⁻ᵏ averages over 2ᵏ gradients
    "log10_weight_decay": Integer(-5, -2),
    "dropout": Categorical((0.0, 0.2)),
})  # fmt: skip
_SEEDS, _EPOCHS, _VALID, _TEST = 3, 81, 597, 600


class Table(NamedTuple):
    """Errors of every setting.

    `space` is `SPACE`; `valid` (settings, seeds, epochs) holds the validation error after each epoch, `test`
    (settings, seeds) the test error at the end, both in float64.
    """

    space: Space
    valid: Tensor
    test: Tensor


class Strategy(Protocol):
    """A strategy's module, after `init`."""

    def ask(self, state: State) -> tuple[Trial | None, State]: ...
    def tell(self, state: State, trial: Trial, value: float, *, failed: str | None = None) -> State: ...
    def finished(self, state: State) -> bool: ...


def settings() -> list[Params]:
    """All 512 settings, in the table's order."""
    dims = SPACE.dims.values()
    values = [dim.choices if isinstance(dim, Categorical) else range(dim.low, dim.high + 1) for dim in dims]
    return [dict(zip(SPACE.dims, point, strict=True)) for point in product(*values)]


def row(params: Params) -> int:
    """The table's row of a setting.

    Raises:
        ValueError: it is none of them.
    """
    try:
        return _rows()[tuple(params[name] for name in SPACE.dims)]
    except (KeyError, TypeError) as problem:
        raise ValueError(f"row: params must be a setting of the table, got {params!r}") from problem


def trained_with(params: Params) -> dict[str, float]:
    """What a setting means: lr, momentum, weight_decay and dropout, as `population.train` takes them."""
    return {
        "lr": 2.0 ** params["log2_lr"],
        "momentum": 1 - 2.0 ** -params["log2_memory"],
        "weight_decay": 10.0 ** params["log10_weight_decay"],
        "dropout": params["dropout"],
    }


@cache
def load() -> Table:
    """The table `search/replay`."""
    rows = tables.load("search/replay")
    valid = torch.cat([torch.tensor(r["valid"], dtype=torch.float64).view(_SEEDS, -1, _EPOCHS) for r in rows], dim=1)
    test = torch.cat([torch.tensor(r["test"], dtype=torch.float64).view(_SEEDS, -1) for r in rows], dim=1)
    return Table(SPACE, valid.transpose(0, 1) / _VALID, test.T / _TEST)


def curve(table: Table, *, seed: int) -> Callable[[Trial], float]:
    """An objective: the validation error of a trial's setting after its resource in epochs, the last where it is None.

    Args:
        seed: which of the three trainings, 0 … 2.
    Raises:
        ValueError: another seed; by the objective, a setting or an epoch that the table does not hold.
    """
    if check_count("curve", "seed", seed, at_least=0) >= table.valid.shape[1]:
        raise ValueError(f"curve: seed must be below {table.valid.shape[1]}, got {seed}")
    last = table.valid.shape[2]
    errors = table.valid[:, seed].tolist()

    def objective(trial: Trial) -> float:
        epoch = last if trial.resource is None else trial.resource
        if not 1 <= epoch <= last:
            raise ValueError(f"curve: resource must lie in 1 … {last}, got {epoch}")
        return errors[row(trial.params)][epoch - 1]

    return objective


def epochs(state: State, trial: Trial, *, full: int = _EPOCHS) -> int:
    """What a trial costs: its resource, less that of the trial it resumes; `full` where the strategy knows none."""
    done = 0 if trial.resumes is None else state.records[trial.resumes].trial.resource
    return (full if trial.resource is None else trial.resource) - done


def play(
    strategy: Strategy, state: State, objective: Callable[[Trial], float], *, num_epochs: int | None = None,
    speeds: Sequence[float] = (1.0,), until: float | None = None,
) -> tuple[State, float]:  # fmt: skip
    """Play a study to its end on workers that only pass the time.

    A worker that is free asks; it is busy for the trial's additional epochs over its speed, and then tells. Where
    nothing is to be asked it waits for the next tell. Of workers free at once the first in the list asks first.

    Args:
        state: where the study stands; trials that wait in it are not begun again.
        objective: trial -> value.
        num_epochs: no trial is begun that would bring the epochs begun here above this; >= 1, or None for no limit.
        speeds: epochs a unit of time, one for each worker, > 0.
        until: trials that would end after this time are not told; None for no limit.
    Returns:
        The state at the end, and the time of the last tell.
    Raises:
        ValueError: a bound above is broken.
    """
    if not speeds or not all(speed > 0 for speed in speeds):
        raise ValueError(f"play: speeds must hold one number > 0 or more, got {speeds!r}")
    left = None if num_epochs is None else check_count("play", "num_epochs", num_epochs)
    busy: list[tuple[float, int, int, Trial]] = []  # when, order of asking, who, what
    free, now, asked = list(range(len(speeds))), 0.0, 0
    while True:
        while free:
            trial, after = strategy.ask(state)
            if trial is None or (left is not None and epochs(after, trial) > left):
                break
            state, worker = after, free.pop(0)
            cost = epochs(state, trial)
            left = None if left is None else left - cost
            heapq.heappush(busy, (now + cost / speeds[worker], asked, worker, trial))
            asked += 1
        if not busy or (until is not None and busy[0][0] > until):
            return state, now
        now, _, worker, trial = heapq.heappop(busy)
        state = strategy.tell(state, trial, objective(trial))
        free = sorted([*free, worker])


def regret(table: Table, state: State) -> float:
    """By how much the setting that was found is worse than the best, in the mean over the three trainings.

    Found is the setting of `contract.best`; its validation error at the last epoch is compared with the smallest one.
    NaN where no trial has a value.
    """
    found: Record | None = contract.best(state)
    if found is None:
        return float("nan")
    ends = table.valid[:, :, -1].mean(1)
    return float(ends[row(found.trial.params)] - ends.min())


@cache
def _rows() -> dict[tuple[Any, ...], int]:
    return {tuple(params.values()): place for place, params in enumerate(settings())}
