"""What all strategies share: trials, the history of a study, and how a result is told.

A strategy is a module with `init(space, *, …, seed) -> State`, `ask(state) -> (Trial | None, State)`, the `tell` of
this file and `finished(state) -> bool`. A state holds nothing but what was asked and told, and a strategy is a pure
function of it: where `ask` gives None, nothing is to be asked until a tell, or never again. Smaller values are better.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

from labsupport.counters import mix, seeded
from labsupport.search import space as spaces
from labsupport.search.space import Params, Space
from labsupport.values import check_count

__all__ = [
    "Record", "State", "Trial", "add", "as_number", "best", "check_state", "ended", "from_json", "generator", "loss",
    "placed", "start", "tell", "to_json", "waiting",
]  # fmt: skip


class Trial(NamedTuple):
    """One evaluation to be made.

    `number` counts the trials of the study from 0; `params` is the setting; `resource` is what the training has used
    in all when it is over (epochs, say), counted from its very beginning, None where a strategy knows none; `resumes`
    is the number of the trial that this one continues, None where it begins.
    """

    number: int
    params: Params
    resource: int | None = None
    resumes: int | None = None


class Record(NamedTuple):
    """A trial and what became of it: a finite value, or the cause of its failure; neither until it is told."""

    trial: Trial
    value: float | None = None
    failed: str | None = None
    done: bool = False


@dataclass(frozen=True)
class State:
    """A study so far: its space, seed, the strategy with its options, and a record for each trial, by number.

    Nothing but plain data: it pickles, and `to_json` writes it.
    """

    space: Space
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    records: tuple[Record, ...] = ()


def start(strategy: str, space: Space, options: Mapping[str, Any], *, seed: int) -> State:
    """The state of a study in which nothing was asked yet; for the `init` of a strategy.

    Args:
        strategy: its name, which `check_state` compares.
        options: name -> what JSON can hold.
        seed: integer in 0 … 2⁶⁴ − 1; all that a strategy draws depends on it and on the trial's number alone.
    Raises:
        ValueError: `space` is no Space, or the seed is outside.
    """
    if not isinstance(space, Space):
        raise ValueError(f"{strategy}.init: space must be a Space, got {space!r}")
    if check_count(f"{strategy}.init", "seed", seed, at_least=0) >= 2**64:
        raise ValueError(f"{strategy}.init: seed must be below 2**64, got {seed}")
    return State(space, int(seed), {"strategy": strategy, **options})


def check_state(strategy: str, state: State) -> None:
    """Raise ValueError unless `state` is one of this strategy's."""
    if not isinstance(state, State) or state.options.get("strategy") != strategy:
        found = state.options.get("strategy") if isinstance(state, State) else type(state).__name__
        raise ValueError(f"{strategy}: state must come from {strategy}.init, got one of {found}")


def generator(state: State, number: int) -> torch.Generator:
    """A new generator on the CPU for what is drawn for this trial: from a hash of the study's seed and the number."""
    return seeded(mix(mix(state.seed) + number + 1) % 2**64)


def add(
    state: State, params: Params, *, resource: int | None = None, resumes: int | None = None
) -> tuple[Trial, State]:
    """The next trial, and the state in which it has been asked; for the `ask` of a strategy."""
    trial = Trial(len(state.records), dict(params), resource, resumes)
    kept = trial._replace(params=dict(params))  # whoever changes the trial's own does not change the history
    return trial, replace(state, records=(*state.records, Record(kept)))


def tell(state: State, trial: Trial, value: float | Tensor | None, *, failed: str | None = None) -> State:
    """The state in which a trial's result is known. NaN, an infinity and a cause make a trial that never wins.

    Args:
        trial: one that was asked and not told yet.
        value: a number, or a tensor of one; smaller is better. Not read where `failed` is given.
        failed: why there is no value.
    Raises:
        ValueError: the trial was never asked, or told before; `value` is no number; or `failed` is an empty string.
    """
    number = trial.number if isinstance(trial, Trial) else -1
    if not 0 <= number < len(state.records) or state.records[number].trial != trial:
        raise ValueError(f"tell: trial must be one that was asked, got {trial!r}")
    if state.records[number].done:
        raise ValueError(f"tell: trial must not have been told before, got number {number} again")
    if failed is not None and (not isinstance(failed, str) or not failed):
        raise ValueError(f"tell: failed must be None or say the cause, got {failed!r}")
    if failed is None:
        value = as_number(value)
        failed = None if math.isfinite(value) else f"the value was {value}"
    record = Record(state.records[number].trial, None if failed else value, failed, True)
    return replace(state, records=(*state.records[:number], record, *state.records[number + 1 :]))


def loss(record: Record) -> float:
    """What a strategy compares: the value, or +inf where the trial failed or is not told yet."""
    return math.inf if record.value is None else record.value


def best(state: State) -> Record | None:
    """The record of the smallest value among the trials of the largest resource that has a value.

    Values after unequal training do not compare. The earliest of equal ones; None where no trial has a value.
    """
    valued = [record for record in state.records if record.value is not None]
    return min(valued, key=lambda record: (-(record.trial.resource or 0), record.value), default=None)


def placed(state: State) -> list[Record]:
    """The records whose setting is known; of a trial that others made (see `optuna`) there may be a number alone."""
    return [record for record in state.records if record.trial.params]


def waiting(state: State) -> list[Trial]:
    """The trials that were asked and not told, by number."""
    return [record.trial for record in state.records if not record.done]


def ended(state: State) -> bool:
    """Whether all trials of a study of `num_trials` were asked and told; for the `finished` of a strategy."""
    wanted = state.options["num_trials"]
    return wanted is not None and len(state.records) >= wanted and not waiting(state)


def to_json(state: State) -> str:
    """The state as text, from which `from_json` makes an equal one."""
    records = [{**record._asdict(), "trial": record.trial._asdict()} for record in state.records]
    space = json.loads(spaces.to_json(state.space))
    whole = {"space": space, "seed": state.seed, "options": state.options, "records": records}
    return json.dumps(whole, allow_nan=False)


def from_json(text: str) -> State:
    """The state that `to_json` wrote.

    Raises:
        ValueError: the text is no such.
    """
    try:
        whole = json.loads(text)
        records = tuple(Record(**{**record, "trial": Trial(**record["trial"])}) for record in whole["records"])
        return State(spaces.from_json(json.dumps(whole["space"])), whole["seed"], whole["options"], records)
    except (KeyError, TypeError, json.JSONDecodeError) as problem:
        raise ValueError(f"from_json: text must be a state that to_json wrote, got {text!r}") from problem


def as_number(value: Any) -> float:
    """What an objective returned, as a float: a real number or a tensor of one; NaN and infinities pass.

    Raises:
        ValueError: it is none.
    """
    one = isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex() and not value.is_meta
    if not one and (not isinstance(value, Real) or isinstance(value, bool)):
        raise ValueError(f"tell: value must be a number, or failed the cause, got {value!r}")
    try:
        return float(value.detach() if one else value)
    except OverflowError:
        raise ValueError("tell: value must fit into a float, got an integer of over 308 digits") from None
