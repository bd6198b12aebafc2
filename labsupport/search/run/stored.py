"""A study in Optuna's storage: written trial by trial, read back as the state it stands for.

The main process alone writes. A trial is stored as RUNNING when it is asked and finished when it is told, both under
its number, so a record never stands twice, however often a trial was run.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from labsupport.experiments.workers import needed
from labsupport.search import space as spaces
from labsupport.search.contract import Record, State, Trial
from labsupport.search.run.plan import RunPlan

__all__ = ["Ledger", "opened"]

ABOUT = "adaptive-training"  # the study's attribute that says what is searched and how
SHARED = "run: storage must be written by one process at a time, another one runs this study too"
TRIES = 25  # to open a new database


@dataclass(frozen=True)
class Ledger:
    """Where a study is written: a storage, the study's identity there and its trials', by number."""

    storage: Any
    study: int
    trials: list[int]
    distributions: Mapping[str, Any]
    sign: int

    def asked(self, trial: Trial) -> None:
        """Store a trial that is about to be run.

        Raises:
            RuntimeError: another process stores trials of this study.
        """
        optuna = needed("run", "optuna")
        more = {"resource": trial.resource, "resumes": trial.resumes}
        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, params=trial.params,
            distributions={name: self.distributions[name] for name in trial.params},
            user_attrs={name: value for name, value in more.items() if value is not None},
        )  # fmt: skip
        with contextlib.suppress(KeyError):
            self.storage.get_trial_id_from_study_id_trial_number(self.study, trial.number)
            raise RuntimeError(f"{SHARED}: number {trial.number} stands there before it is asked")
        self.trials.append(self.storage.create_new_trial(self.study, template_trial=template))
        if (there := self.storage.get_trial_number_from_id(self.trials[-1])) != trial.number:  # in the same moment
            self._told(Record(trial, failed="two processes asked it at once"))
            raise RuntimeError(f"{SHARED}: number {trial.number} stands there as number {there}")

    def told(self, record: Record) -> None:
        """Store what became of a trial.

        Raises:
            RuntimeError: another process stored it.
        """
        try:
            self._told(record)
        except needed("run", "optuna").exceptions.UpdateFinishedTrialError as error:
            raise RuntimeError(f"{SHARED}: number {record.trial.number} is finished there") from error

    def _told(self, record: Record) -> None:
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
    ours = isinstance(storage, (str, os.PathLike)) and bool(os.fspath(storage))
    if ours:
        storage = _database(optuna, os.fspath(storage))
    elif not isinstance(storage, optuna.storages.BaseStorage):
        raise ValueError(f"run: storage must be None, a path, a url or a storage of Optuna, got {storage!r}")
    try:
        study = _found_or_begun(optuna, storage, state, plan)
        from labsupport.search.optuna.samplers import distribution  # needs Optuna

        distributions = {name: distribution(dim) for name, dim in state.space.dims.items()}
        ledger = Ledger(storage, study, [], distributions, -1 if plan.direction == "maximize" else 1)
        yield ledger, _read(optuna, ledger, state)
    finally:
        if ours:
            storage.remove_session()
            storage.engine.dispose()


def _database(optuna: Any, url: str) -> Any:
    """A database by its path or url. SQLite appends to a log and does not wait for the disk at each trial.

    A killed process loses nothing then, and a power cut the last trials, which are run again.

    Raises:
        ValueError: no database can be opened or made there, or it cannot be written.
    """
    sql = importlib.import_module("sqlalchemy")
    if "://" not in url:  # a path may hold what means something else in a url
        url = sql.URL.create("sqlite", database=url).render_as_string(hide_password=False)
    database = sql.make_url(url).database if url.startswith("sqlite") else None
    kwargs = {"creator": functools.partial(_connected, database)} if database else None
    for _ in range(TRIES):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=kwargs)
        except sql.exc.DatabaseError as error:
            problem = error
            if not isinstance(error, sql.exc.IntegrityError) and "already exists" not in str(error):
                break
            time.sleep(0.2)  # another process is making the same tables
    shown = sql.make_url(url).render_as_string()  # without a password
    raise ValueError(f"run: storage must be a database that can be written, got {shown} ({problem.orig})") from problem


def _connected(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
    return connection


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
        try:
            spaces.to_unit(state.space, params)
        except ValueError as problem:
            raise ValueError(
                f"run: storage must hold a study to which only run adds trials, got number {found.number} of another "
                f"program ({problem})"
            ) from problem
        trial = Trial(found.number, params, found.user_attrs.get("resource"), found.user_attrs.get("resumes"))
        ledger.trials.append(found._trial_id)
        if found.state == optuna.trial.TrialState.COMPLETE:
            records.append(Record(trial, ledger.sign * found.value, None, True))
        elif found.state.is_finished():
            records.append(Record(trial, None, found.user_attrs.get("failed", "its cause was not stored"), True))
        else:
            records.append(Record(trial))
    return replace(state, records=tuple(records))


@contextlib.contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Optuna greets a new study on stderr; not in a page."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
