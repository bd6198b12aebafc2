"""Who does the work: an executor, the calls it has at the moment, and what to do when a worker is lost.

One killed process breaks a whole pool and all of its futures. The pool is then made anew, and what it had not finished
is run again, one trial at a time, until it is known which one kills: that one fails, and the others go on as before.
Dask replaces its workers itself, but gives up on all the calls that the lost ones had; these are run again likewise.
"""

from __future__ import annotations

import functools
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from concurrent.futures.thread import ThreadPoolExecutor
from typing import Any, NamedTuple

from labsupport.experiments import workers
from labsupport.search.contract import Trial
from labsupport.search.run.channel import here
from labsupport.search.run.plan import RunPlan
from labsupport.search.run.work import Outcome, Task, perform
from labsupport.values import check_count

__all__ = ["Crew", "Here", "client_of", "processes", "width"]

Trials = tuple[Trial, ...]
DEATHS = 2  # so many workers may a trial take down alone
LOOK = 0.2  # seconds between looks at what does not come as a result: reports, new workers


def processes(count: int) -> Callable[[], Executor]:
    """A function that makes a pool of so many worker processes, for `run(executor=…)`.

    They leave Ctrl-C to this process and end with it, also where it is killed. In a script the call of
    `run` stands under `if __name__ == "__main__":`.

    Raises:
        ValueError: count < 1.
    """
    return functools.partial(workers.pool, check_count("processes", "count", count), preload=__name__)


class Here(Executor):
    """An executor of one worker, which is the caller: `submit` returns when the call is done."""

    def submit(self, function: Callable, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        future.set_result(function(*args, **kwargs))
        return future


def client_of(executor: Executor) -> Any:
    """The `distributed.Client` behind Dask's executor; None for any other."""
    return getattr(executor, "_client", None) if type(executor).__module__.startswith("distributed.") else None


def width(executor: Executor, plan: RunPlan) -> int:
    """How many calls to keep in flight now."""
    if plan.in_flight is not None:
        return plan.in_flight
    if isinstance(executor, Here):
        return 1
    if (client := client_of(executor)) is not None:
        return max(1, sum(client.nthreads().values()))
    return getattr(executor, "_max_workers", None) or len(plan.devices) or os.cpu_count() or 1


class Call(NamedTuple):
    """Trials in flight together, the place they have there, and whether nothing else may be beside them."""

    trials: Trials
    slot: int
    alone: bool


class Crew:
    """The calls in flight on an executor.

    Args:
        made: an executor, or a function that makes one.
        objective: as given to `run`.
        line: on which workers report; None: they do not.
    """

    def __init__(self, made: Executor | Callable[[], Executor], objective: Callable, plan: RunPlan) -> None:
        self.make = None if isinstance(made, Executor) else made
        self.executor = made if self.make is None else _checked(made())
        self.client, self.plan, self.line = client_of(self.executor), plan, None
        near = isinstance(self.executor, (Here, ThreadPoolExecutor))
        self.objective = objective if near else workers.dumped("run", objective)
        self.flying: dict[Future, Call] = {}
        self.suspects: deque[Trial] = deque()
        self.again: deque[Trial] = deque()  # innocent, to be run as if they had just been asked
        self.deaths: Counter[int] = Counter()
        self._width, self._seen, self._broken = width(self.executor, plan), time.monotonic(), False

    def has_room(self) -> bool:
        """Whether another call may be handed over."""
        if self.client is not None and time.monotonic() - self._seen > 1:
            self._width, self._seen = width(self.executor, self.plan), time.monotonic()
        alone = self.suspects or any(call.alone for call in self.flying.values())
        return not self._broken and len(self.flying) < (1 if alone else self._width)

    def begin(self, trials: Trials) -> None:
        """Hand a call over; while there are suspects, the first of them."""
        alone = bool(self.suspects)
        if alone:
            self.suspects.popleft()
        taken = {call.slot for call in self.flying.values()}
        slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
        plan, devices = self.plan, self.plan.devices
        task = Task(
            trials, self.objective, plan.batch is not None, here(), plan.time_limit, plan.threads,
            devices[slot % len(devices)] if devices else None, self.line,
        )  # fmt: skip
        more = {"pure": False, "resources": dict(plan.resources) or None} if self.client is not None else {}
        try:
            self.flying[self.executor.submit(perform, task, **more)] = Call(trials, slot, alone)
        except BrokenExecutor:
            self.again.extend(trials)
            self._broken = True
            if not self.flying:
                self._renew()

    def done(self) -> set[Future]:
        """Wait for a call to end, or a little while, and give those that did."""
        patient = self.client is None and self.line is None
        return wait(self.flying, timeout=None if patient else LOOK, return_when=FIRST_COMPLETED).done

    def collected(self, done: set[Future]) -> Iterator[tuple[Trial, Outcome]]:
        """What came of these calls that are done, each released once all of it was taken.

        Where a worker was lost, its trials are kept for later.
        """
        lost = {future for future in done if _is_lost(future)}
        for future in done - lost:
            trials, _, alone = self.flying[future]
            if _is_blamed(future) and not alone:  # Dask blames all that a lost worker had, also what only waited there
                self.suspects.extend(trials)
            else:
                yield from zip(trials, _outcomes(future, len(trials)), strict=True)
            del self.flying[future]
        if lost:
            yield from self._after_a_death()

    def close(self, *, now: bool) -> None:
        """Give the executor back; one that was made for this ends, with `now` in the middle of its calls."""
        for future in self.flying:
            future.cancel()
        self.flying.clear()
        if self.make is not None:
            workers.end(self.executor, now=now)

    def _after_a_death(self) -> Iterator[tuple[Trial, Outcome]]:
        """Sort what was in flight when a worker died: the finished, the killer if it is known, and the suspects."""
        wait(self.flying)  # a pool that is broken breaks all of them at once
        yield from self.collected({future for future in self.flying if not _is_lost(future)})
        lost = [call.trials for call in self.flying.values()]
        self.flying.clear()
        self._renew()
        if len(lost) > 1 or len(lost[0]) > 1:
            self.suspects.extend(trial for trials in lost for trial in trials)
            return
        (trial,) = lost[0]
        self.deaths[trial.number] += 1
        self.again.extend(self.suspects)
        self.suspects.clear()
        if self.deaths[trial.number] < DEATHS:
            self.suspects.append(trial)
        else:
            yield trial, Outcome(failed=f"it took its worker down, {DEATHS} times when it ran alone")

    def _renew(self) -> None:
        if self.make is None:
            raise RuntimeError(
                "run: executor must be a function that makes one, such as processes(4), to go on after a lost worker; "
                f"a {type(self.executor).__name__} broke. Everything finished is kept"
            )
        workers.end(self.executor, now=True)
        self.executor, self._broken = _checked(self.make()), False
        try:
            self.executor.submit(os.getpid).result()
        except BrokenExecutor as error:
            raise RuntimeError(
                "run: executor must make workers that live; one died before it had a trial (is run called in a script "
                'without `if __name__ == "__main__":`?)'
            ) from error


def _checked(executor: Any) -> Executor:
    if not isinstance(executor, Executor):
        raise ValueError(f"run: executor must be or make a concurrent.futures.Executor, got {executor!r}")
    return executor


def _is_lost(future: Future) -> bool:
    return not future.cancelled() and isinstance(future.exception(), BrokenExecutor)


def _is_blamed(future: Future) -> bool:
    """Whether Dask has given up on a call because its workers died."""
    return not future.cancelled() and type(future.exception()).__name__ == "KilledWorker"


def _outcomes(future: Future, count: int) -> list[Outcome]:
    if _is_blamed(future):
        return [Outcome(failed="it took its workers down when it ran alone")] * count
    try:
        return future.result()
    except CancelledError as error:
        raise RuntimeError(
            "run: executor must stay until the study ends; it cancelled a trial, because it was shut down or lost its "
            "cluster. Everything finished is kept"
        ) from error
    except (Exception, SystemExit) as error:
        return [Outcome(failed=f"{type(error).__name__}: {error}")] * count
