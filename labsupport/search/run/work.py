"""What a worker does: evaluate an objective at trials, within a time, and say what came of it.

Nothing that an objective does ends a worker but a signal: whatever it raises becomes the cause of a failed trial.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import functools
import math
import multiprocessing
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

import torch

from labsupport.experiments.workers import start_worker
from labsupport.search.contract import Trial, as_number
from labsupport.search.run.channel import Line, here, sending

__all__ = ["Outcome", "Task", "device", "perform"]

LONGEST = 300  # characters of a value that was none, in the cause of a failure


class Outcome(NamedTuple):
    """A finite value, or the cause of failure."""

    value: float | None = None
    failed: str | None = None


class Task(NamedTuple):
    """A call of the objective and how it is to be made; it travels to the worker.

    `objective` is a function or its pickled bytes; with `together` it gets the list of trials. `home` is the process
    that sent it, whose torch threads are left alone.
    """

    trials: tuple[Trial, ...]
    objective: Callable | bytes
    together: bool
    home: tuple[str, int]
    time_limit: float | None = None
    threads: int | None = None
    device: str | None = None
    line: Line | None = None


class _OverTime(BaseException):
    """Raised in the thread of a call that takes too long; no `except Exception` in an objective holds it."""


_DEVICE: contextvars.ContextVar[str | None] = contextvars.ContextVar("device", default=None)


def device() -> torch.device:
    """Where this trial is to train, by `RunPlan.devices`: for an objective. The CPU where there are none."""
    return torch.device(_DEVICE.get() or "cpu")


def perform(task: Task) -> list[Outcome]:
    """What came of each trial of a task. A worker calls it.

    Raises:
        KeyboardInterrupt: the objective was interrupted from outside.
    """
    if task.home != here():
        _settle_in(task.threads)
    try:
        objective = _loaded(task.objective) if isinstance(task.objective, bytes) else task.objective  # takes imports
        with sending(task.line, task.trials):
            values = _within(task.time_limit, functools.partial(_called, task, objective))
        return [_judged(value) for value in values]
    except _OverTime:
        return [Outcome(failed=f"it ran past its time limit of {task.time_limit:g} s")] * len(task.trials)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a framework's own way to stop is a failure here, too
        return [Outcome(failed=_told(error))] * len(task.trials)


def _called(task: Task, objective: Callable) -> Sequence[Any]:
    trials = [trial._replace(params=dict(trial.params)) for trial in task.trials]  # it may change what it gets
    with _placed(task.device):
        if not task.together:
            return [objective(trials[0])]
        values = objective(trials)
    values = values.tolist() if isinstance(values, torch.Tensor) else values
    ordered = hasattr(values, "__len__") and not isinstance(values, (Mapping, Set))
    if not ordered or len(values) != len(task.trials):
        raise ValueError(
            f"objective must return a list of a value for each of {len(task.trials)} trials, got {_short(values)}"
        )
    return values


def _judged(value: Any) -> Outcome:
    try:
        number = as_number(value)
    except ValueError:
        return Outcome(failed=f"the value was no number but {_short(value)}")
    return Outcome(number) if math.isfinite(number) else Outcome(failed=f"the value was {number}")


def _told(error: BaseException) -> str:
    """A cause, also of an error that cannot say what it is."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def _short(value: Any) -> str:
    """What a value looks like, on no more than a few lines."""
    found = repr(value)
    return found if len(found) <= LONGEST else f"{found[:LONGEST]}…"


@contextlib.contextmanager
def _placed(name: str | None) -> Iterator[None]:
    token = _DEVICE.set(name)
    try:
        with torch.cuda.device(name) if name and torch.device(name).type == "cuda" else contextlib.nullcontext():
            yield
    finally:
        _DEVICE.reset(token)


def _within(seconds: float | None, call: Callable[[], Any]) -> Any:
    """The call's result; _OverTime, and the call left to itself, where it takes longer."""
    if seconds is None:
        return call()
    found: list[Any] = []
    context = contextvars.copy_context()

    def work() -> None:
        try:
            found.append((context.run(call), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    finally:
        if late := thread.is_alive():  # too late, or interrupted
            raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
            raise_in(ctypes.c_ulong(thread.ident), ctypes.py_object(_OverTime))
    if late or not found:
        raise _OverTime
    value, error = found[0]
    if error is not None:
        raise error
    return value


@functools.lru_cache(maxsize=1)
def _loaded(objective: bytes) -> Callable:
    return pickle.loads(objective)


@functools.lru_cache(maxsize=1)
def _settle_in(threads: int | None) -> None:
    """Once in a worker process: torch's threads, and a watch over the parent where a pool keeps the process."""
    if threads is not None:
        torch.set_num_threads(threads)
    if multiprocessing.parent_process() is not None and threading.current_thread() is threading.main_thread():
        start_worker()
