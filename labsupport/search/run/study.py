"""The loop of a study: ask, have it run, write, tell."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from queue import Empty, SimpleQueue
from typing import Any

from tqdm.auto import tqdm

from labsupport.search import contract
from labsupport.search.contract import State, Trial
from labsupport.search.run import channel, stored
from labsupport.search.run.crew import Crew, Here
from labsupport.search.run.plan import RunPlan
from labsupport.search.run.work import Outcome
from labsupport.search.space import Space
from labsupport.values import check_count

__all__ = ["run"]


def run(
    strategy: Any, space: Space, objective: Callable, *, num_trials: int | None = None, storage: Any = None,
    executor: Executor | Callable[[], Executor] | None = None, progress: bool = True, plan: RunPlan = RunPlan(),  # noqa: B008
) -> State:  # fmt: skip
    """Run a study, or the rest of one, and return its state.

    A trial that raises, returns no finite number, runs past the time limit or takes its worker down is a failed trial
    with its cause. Ctrl-C ends the study early: what is finished is kept and returned, with a RuntimeWarning.

    Args:
        strategy: a module or object with init, ask, tell and finished, such as `search.tpe`.
        objective: trial -> number; with `plan.batch`, list of trials -> as many numbers. It may be run twice where a
            worker or this process was lost. To processes and clusters it travels by cloudpickle, with what it holds,
            once a call; large data is better loaded inside.
        num_trials: ends the study, and is handed to `init` where that takes it; None: the strategy ends it.
        storage: keeps every trial, so that the same call goes on after this process was killed. A path or url of
            SQLite, the url of another database, or a storage of Optuna; None: memory alone.
        executor: None runs one trial after another, here. Or any executor: of threads, `client.get_executor()` of a
            Dask client; or a function that makes one, such as `processes(4)`: only then is a broken pool made anew.
        progress: shows a progress bar.
    Returns:
        the state, whose values are what was minimized: negated ones with direction "maximize".
    Raises:
        ValueError: something does not fit together, before the work.
        ModuleNotFoundError: storage, processes or cluster need a package of the extra `cluster`.
        RuntimeError: an executor that cannot be made anew broke, or another process runs the same study; what is
            finished is in the storage.
    """
    start = _start(strategy, space, objective, num_trials, plan)
    if executor is not None and not isinstance(executor, Executor) and not callable(executor):
        raise ValueError(f"run: executor must be None, an Executor or a function that makes one, got {executor!r}")
    with contextlib.ExitStack() as stack:
        opened = contextlib.nullcontext((None, start)) if storage is None else stored.opened(storage, start, plan)
        ledger, state = stack.enter_context(opened)
        bar = stack.enter_context(_bar(state, num_trials, plan, progress))
        study = _Study(strategy, state, num_trials, ledger, bar)
        _to_its_end(study, Crew(Here() if executor is None else executor, objective, plan))
    return study.state


class _Study:
    """A state, and what follows a trial that is asked or told."""

    def __init__(self, strategy: Any, state: State, num_trials: int | None, ledger: Any, bar: tqdm) -> None:
        self.strategy, self.state, self.num_trials, self.ledger, self.bar = strategy, state, num_trials, ledger, bar
        self.stale = deque(contract.waiting(state))

    def next(self) -> Trial | None:
        """A trial that was asked and lost, else a new one; None: nothing now."""
        if self.stale:
            return self.stale.popleft()
        if self.num_trials is not None and len(self.state.records) >= self.num_trials:
            return None
        trial, self.state = self.strategy.ask(self.state)
        if trial is not None and self.ledger is not None:
            self.ledger.asked(trial)
        return trial

    def tell(self, trial: Trial, outcome: Outcome, sign: int) -> None:
        """Tell it, and write what then stands in the state."""
        if self.state.records[trial.number].done:
            return
        value = None if outcome.value is None else sign * outcome.value
        state = self.strategy.tell(self.state, trial, value, failed=outcome.failed)
        if self.ledger is not None:
            self.ledger.told(state.records[trial.number])
        self.state = state
        self.bar.update()


def _bar(state: State, num_trials: int | None, plan: RunPlan, progress: bool) -> tqdm:
    done = sum(record.done for record in state.records)
    return tqdm(total=num_trials, initial=done, desc=plan.study, unit="trial", disable=not progress)


def _to_its_end(study: _Study, crew: Crew) -> None:
    """Work, and leave no process behind however that ends."""
    try:
        _work(study, crew)
    except BaseException as error:
        crew.close(now=True)
        if not isinstance(error, KeyboardInterrupt):
            raise
        told = sum(record.done for record in study.state.records)
        warnings.warn(f"run: interrupted, {told} trials told", RuntimeWarning, stacklevel=3)
    else:
        crew.close(now=False)


def _work(study: _Study, crew: Crew) -> None:
    """Until nothing is in flight and nothing comes."""
    plan, sign = crew.plan, -1 if crew.plan.direction == "maximize" else 1
    with contextlib.ExitStack() as stack:
        arrived: SimpleQueue = SimpleQueue()
        if plan.on_report is not None:
            crew.line, arrived = stack.enter_context(channel.opened(crew.client))
        try:
            while True:
                while crew.has_room() and (trials := _next(study, crew)):
                    crew.begin(trials)
                if not crew.flying:
                    break
                done = crew.done()
                _hear(study, plan, arrived)
                for trial, outcome in crew.collected(done):
                    study.tell(trial, outcome, sign)
        except KeyboardInterrupt:
            for trial, outcome in crew.collected({future for future in crew.flying if future.done()}):
                study.tell(trial, outcome, sign)
            raise


def _next(study: _Study, crew: Crew) -> tuple[Trial, ...]:
    """The trials of the next call."""
    if crew.suspects:
        return (crew.suspects[0],)
    found: list[Trial] = []
    while len(found) < (crew.plan.batch or 1):
        trial = crew.again.popleft() if crew.again else study.next()
        if trial is None:
            break
        found.append(trial)
    return tuple(found)


def _hear(study: _Study, plan: RunPlan, arrived: SimpleQueue) -> None:
    """Store the reports that have come, and hand them on."""
    with contextlib.suppress(Empty):
        while True:
            number, step, value = arrived.get_nowait()
            record = study.state.records[number]
            if not record.done:
                if study.ledger is not None:
                    study.ledger.reported(number, step, value)
                plan.on_report(record.trial, step, value)


def _start(strategy: Any, space: Space, objective: Callable, num_trials: int | None, plan: RunPlan) -> State:
    """The study before its first trial."""
    if not isinstance(plan, RunPlan):
        raise ValueError(f"run: plan must be a RunPlan, got {plan!r}")
    missing = [name for name in ("init", "ask", "tell", "finished") if not callable(getattr(strategy, name, None))]
    if missing:
        raise ValueError(f"run: strategy must have init, ask, tell and finished, got {strategy!r}")
    if not callable(objective):
        raise ValueError(f"run: objective must be a function of a trial, got {objective!r}")
    options = {**plan.options, "seed": plan.seed}
    signature = inspect.signature(strategy.init)
    if num_trials is not None:
        check_count("run", "num_trials", num_trials)
        if "num_trials" in signature.parameters:
            options["num_trials"] = num_trials
    try:
        signature.bind(space, **options)
    except TypeError as problem:
        raise ValueError(f"run: num_trials and options must suit the strategy's init{signature}: {problem}") from None
    state = strategy.init(space, **options)
    if not isinstance(state, State):
        raise ValueError(f"run: strategy.init must give a contract.State, got {state!r}")
    return state
