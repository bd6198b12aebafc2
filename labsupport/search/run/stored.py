"""A study in Optuna's storage: written trial by trial, read back as the state it stands for.

The main process alone writes. A trial is stored as RUNNING when it is asked and finished when it is told, both under
its number, so a record never stands twice, however often a trial was run.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from labsupport.experiments.workers import needed
from labsupport.search import space as spaces
from labsupport.search.contract import Record, State, Trial
from labsupport.search.run.plan import RunPlan
from labsupport.search.space import Categorical, Float

__all__ = ["Ledger", "opened"]

ABOUT = "adaptive-training"  # the study's attribute that says what is searched and how


@dataclass(frozen=True)
class Ledger:
    """Where a study is written: a storage, the study's identity there and its trials', by number."""

    storage: Any
    study: int
    trials: list[int]
    distributions: Mapping[str, Any]
    sign: int

    def asked(self, trial: Trial) -> None:
        """Store a trial that is about to be run."""
        optuna = needed("run", "optuna")
        more = {"resource": trial.resource, "resumes": trial.resumes}
        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, params=trial.params,
            distributions={name: self.distributions[name] for name in trial.params},
            user_attrs={name: value for name, value in more.items() if value is not None},
        )  # fmt: skip
        self.trials.append(self.storage.create_new_trial(self.study, template_trial=template))

    def told(self, record: Record) -> None:
        """Store what became of a trial."""
        states, trial = needed("run", "optuna").trial.TrialState, self.trials[record.trial.number]
        if record.failed is None:
            self.storage.set_trial_state_values(trial, states.COMPLETE, [self.sign * record.value])
        else:
            self.storage.set_trial_user_attr(trial, "failed", record.failed)
            self.storage.set_trial_state_values(trial, states.FAIL)

    def reported(self, number: int, step: int, value: float) -> None:
        """Store a value from the middle of a trial that is not told yet."""
        self.storage.set_trial_intermediate_value(self.trials[number], step, value)


@contextlib.contextmanager
def opened(storage: Any, state: State, plan: RunPlan) -> Iterator[tuple[Ledger, State]]:
    """The study of that name in a storage, begun where there is none, and its state so far.

    Args:
        storage: a path or url of SQLite, the url of another database, or an `optuna.storages.BaseStorage`.
        state: the study before its first trial, as `init` gives it.
    Raises:
        ModuleNotFoundError: Optuna is not installed.
        ValueError: `storage` is none; or the study is there with another space, strategy, option, seed or direction.
    """
    optuna = needed("run", "optuna")
    ours = isinstance(storage, (str, os.PathLike))
    if ours:
        storage = _database(optuna, os.fspath(storage))
    elif not isinstance(storage, optuna.storages.BaseStorage):
        raise ValueError(f"run: storage must be None, a path, a url or a storage of Optuna, got {storage!r}")
    try:
        study = _found_or_begun(optuna, storage, state, plan)
        distributions = {name: _distribution(optuna, dim) for name, dim in state.space.dims.items()}
        ledger = Ledger(storage, study, [], distributions, -1 if plan.direction == "maximize" else 1)
        yield ledger, _read(optuna, ledger, state)
    finally:
        if ours:
            storage.remove_session()
            storage.engine.dispose()


def _database(optuna: Any, url: str) -> Any:
    """A database by its path or url. SQLite appends to a log and does not wait for the disk at each trial.

    A killed process loses nothing then, and a power cut the last trials, which are run again.
    """
    url = url if "://" in url else f"sqlite:///{url}"
    path = importlib.import_module("sqlalchemy").make_url(url).database if url.startswith("sqlite") else None
    if not path:
        return optuna.storages.RDBStorage(url)

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=60)
        connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        return connection

    return optuna.storages.RDBStorage(url, engine_kwargs={"creator": connect})


def _found_or_begun(optuna: Any, storage: Any, state: State, plan: RunPlan) -> int:
    about = json.loads(json.dumps(_about(state)))
    direction = optuna.study.StudyDirection[plan.direction.upper()]
    if plan.study not in [study.study_name for study in storage.get_all_studies()]:
        with _quiet(optuna):
            study = storage.create_new_study([direction], plan.study)
        storage.set_study_user_attr(study, ABOUT, about)
        return study
    study = storage.get_study_id_from_name(plan.study)
    old = storage.get_study_user_attrs(study).get(ABOUT)
    if old is None and not storage.get_all_trials(study, deepcopy=False):  # stopped before it was described
        storage.set_study_user_attr(study, ABOUT, old := about)
    if old is None:
        raise ValueError(f"run: storage must hold a study that run began, got {plan.study!r} of another program")
    directions = storage.get_study_directions(study)
    pairs = {**{name: (old.get(name), about[name]) for name in about}, "direction": (directions, [direction])}
    for name, (before, now) in pairs.items():
        if before != now:
            raise ValueError(
                f"run: {name} must stay that of the study {plan.study!r} in the storage, {before}, got {now}; another "
                "study takes another RunPlan(study=…)"
            )
    return study


def _about(state: State) -> dict[str, Any]:
    """What must not change; a study may be made longer."""
    options = {name: value for name, value in state.options.items() if name not in ("strategy", "num_trials")}
    space = json.loads(spaces.to_json(state.space))
    return {"strategy": state.options.get("strategy"), "space": space, "options": options, "seed": state.seed}


def _read(optuna: Any, ledger: Ledger, state: State) -> State:
    records = []
    for found in ledger.storage.get_all_trials(ledger.study, deepcopy=False):
        params = {name: found.params[name] for name in state.space.dims if name in found.params}
        trial = Trial(found.number, params, found.user_attrs.get("resource"), found.user_attrs.get("resumes"))
        ledger.trials.append(found._trial_id)
        if found.state == optuna.trial.TrialState.COMPLETE:
            records.append(Record(trial, ledger.sign * found.value, None, True))
        elif found.state.is_finished():
            records.append(Record(trial, None, found.user_attrs.get("failed", "its cause was not stored"), True))
        else:
            records.append(Record(trial))
    return replace(state, records=tuple(records))


def _distribution(optuna: Any, dim: spaces.Dimension) -> Any:
    kinds = optuna.distributions
    if isinstance(dim, Categorical):
        return kinds.CategoricalDistribution(dim.choices)
    kind = kinds.FloatDistribution if isinstance(dim, Float) else kinds.IntDistribution
    return kind(dim.low, dim.high, log=dim.log)


@contextlib.contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Optuna greets a new study on stderr; not in a page."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
