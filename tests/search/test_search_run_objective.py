"""What an objective does to its trial, raises, returns or reports touches its own trial alone."""

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from search.test_search_contract import SPACE, bowl

from labsupport.search import random_search
from labsupport.search.run import RunPlan, processes, report, run

QUIET = {"progress": False}


def on_threads():
    return ThreadPoolExecutor(2)


@pytest.mark.parametrize("executor", [None, on_threads])
def test_an_objective_that_changes_its_trial_changes_no_study(executor):
    def objective(trial):
        value = bowl(trial)
        trial.params.clear()
        return value

    def together(trials):
        values = [bowl(trial) for trial in trials]
        trials.pop().params["x"] = None
        return values

    alone = run(random_search, SPACE, bowl, num_trials=6, **QUIET)
    assert run(random_search, SPACE, objective, num_trials=6, executor=executor, **QUIET) == alone
    plan = RunPlan(batch=2)
    assert run(random_search, SPACE, together, num_trials=6, executor=executor, plan=plan, **QUIET) == alone


class Mute(BaseException):
    def __str__(self):
        raise RuntimeError("it cannot say what it is")


class Unseen:
    def __repr__(self):
        raise RuntimeError("it cannot be shown")


def stopped(trial):
    ways = [
        lambda: throws(Mute()), lambda: throws(GeneratorExit("stop")), lambda: throws(asyncio.CancelledError("late")),
        lambda: Unseen(), lambda: torch.zeros((), device="meta"), lambda: 10**400, lambda: [0.0] * 10**5,
    ]  # fmt: skip
    return ways[trial.number]()


def throws(error):
    raise error


@pytest.mark.parametrize("executor", [None, on_threads, processes(1)])
def test_nothing_that_an_objective_raises_or_returns_ends_a_study(executor):
    state = run(random_search, SPACE, stopped, num_trials=7, executor=executor, **QUIET)
    causes = [record.failed for record in state.records]
    assert causes[:4] == ["Mute", "GeneratorExit: stop", "CancelledError: late", "RuntimeError: it cannot be shown"]
    assert all(cause.startswith("the value was no number but ") and len(cause) < 400 for cause in causes[4:])


@pytest.mark.parametrize("values", [
    lambda count: dict.fromkeys(range(count), 1.0), lambda count: set(range(count)), lambda count: 1.0,
    lambda count: (1.0 for _ in range(count)), lambda count: torch.ones(()),
])  # fmt: skip
def test_the_values_of_a_batch_stand_in_the_order_of_its_trials(values):
    state = run(random_search, SPACE, lambda trials: values(len(trials)), num_trials=3, plan=RunPlan(batch=3), **QUIET)
    assert all("must return a list of a value for each of 3 trials" in record.failed for record in state.records)


@pytest.mark.parametrize("executor", [None, processes(1)])
def test_a_report_that_no_storage_could_hold_fails_its_own_trial_alone(tmp_path, executor):
    def objective(trial):
        report(trial._replace(number=[0, 99, -1, 3][trial.number]), 2**63 if trial.number == 3 else 2**63 - 1, math.inf)
        return 1.0

    heard = []
    plan = RunPlan(on_report=lambda trial, step, value: heard.append((trial.number, step, value)))
    state = run(random_search, SPACE, objective, num_trials=4, storage=tmp_path / "s.db", executor=executor, plan=plan,
                **QUIET)  # fmt: skip
    causes = [record.failed for record in state.records]
    assert heard == [(0, 2**63 - 1, math.inf)] and causes[0] is None
    assert "report: trial must be one that the objective was given" in causes[1] and "number=-1" in causes[2]
    assert causes[3] == f"ValueError: report: step must be below 2**63, got {2**63}"
