"""A study on a Dask cluster: workers are killed, come late, and take what no worker survives with them."""

import multiprocessing
import os
import signal
import sys
import time

import dask
import distributed
import optuna
import pytest
from search.test_search_contract import SPACE, bowl

from labsupport.experiments import tables, workers
from labsupport.search import random_search
from labsupport.search.run import RunPlan, device, report, run

QUIET = {"progress": False}
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


@pytest.fixture(scope="module")
def client():
    """Two workers in processes of their own; a task that has killed two is given up."""
    before = set(multiprocessing.active_children())
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=60, resources={"SLOT": 1}
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client
    deadline = time.monotonic() + 10
    while set(multiprocessing.active_children()) - before:
        assert time.monotonic() < deadline, "a worker outlived the cluster"
        time.sleep(0.02)


def serial(num_trials):
    return run(random_search, SPACE, bowl, num_trials=num_trials, **QUIET)


def test_lambdas_travel_to_a_cluster_and_reports_come_back(client):
    heard = []

    def objective(trial):
        report(trial, 1, trial.number)
        report(trial, 2, os.getpid())
        return bowl(trial) if str(device()) == "cpu" else 0.0

    plan = RunPlan(on_report=lambda trial, *more: heard.append((trial.number, *more)), resources={"SLOT": 1})
    state = run(random_search, SPACE, objective, num_trials=12, executor=client.get_executor(), plan=plan, **QUIET)
    assert state == serial(12)
    assert sorted(each for each in heard if each[1] == 1) == [(number, 1, number) for number in range(12)]
    assert len({value for _, step, value in heard if step == 2} - {os.getpid()}) == 2


def test_a_time_limit_holds_in_a_worker_that_sleeps(client):
    begun = time.monotonic()
    state = run(random_search, SPACE, lambda trial: time.sleep(9 if trial.number == 1 else 0) or bowl(trial),
                num_trials=6, executor=client.get_executor, plan=RunPlan(time_limit=0.5), **QUIET)  # fmt: skip
    assert time.monotonic() - begun < 8
    assert [record.failed for record in state.records].count("it ran past its time limit of 0.5 s") == 1


@POSIX
def test_a_killed_worker_amid_200_trials_loses_none(client, tmp_path):
    storage = tmp_path / "s.db"

    def objective(trial):
        time.sleep(0.005)
        if trial.number == 60 and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return bowl(trial)

    state = run(random_search, SPACE, objective, num_trials=200, storage=storage,
                executor=client.get_executor(), **QUIET)  # fmt: skip
    assert state == serial(200) and (tmp_path / "once").exists()
    trials = optuna.load_study(study_name="search", storage=f"sqlite:///{storage}").trials
    assert [trial.number for trial in trials] == list(range(200))
    assert [trial.value for trial in trials] == [record.value for record in state.records]


@POSIX
def test_a_trial_that_kills_each_of_its_workers_fails_and_the_study_goes_on(client):
    def objective(trial):
        if trial.number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return bowl(trial)

    state = run(random_search, SPACE, objective, num_trials=8, executor=client.get_executor(), **QUIET)
    assert state.records[2].failed == "it took its workers down when it ran alone"
    assert [record.failed for record in state.records].count(None) == 7


def test_workers_that_come_late_are_used():
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0", silence_logs=60
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        heard = []

        def listen(trial, step, value):
            heard.append(value)
            if len(heard) == 5:
                cluster.scale(3)

        def objective(trial):
            report(trial, 0, int(distributed.get_worker().address.rpartition("/")[2]))
            time.sleep(0.05)
            return bowl(trial)

        state = run(random_search, SPACE, objective, num_trials=100, executor=client.get_executor(),
                    plan=RunPlan(on_report=listen), **QUIET)  # fmt: skip
    assert len(set(heard)) == 3 and len(set(heard[:5])) == 1 and state == serial(100)


RECIPE = """
import os, pathlib, signal
CASES = [{"depth": depth, "seed": seed} for depth in (2, 3) for seed in range(4)]
def run(case):
    once = pathlib.Path(__file__).with_suffix(".once")
    if case == CASES[3] and not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"steps": 10 * case["depth"] + case["seed"], "pid": os.getpid()}
"""


@POSIX
def test_a_table_is_made_on_a_cluster_and_a_case_stands_once(client, tmp_path, capsys):
    recipe = tmp_path / "steps.py"
    recipe.write_text(RECIPE, encoding="utf-8")
    assert tables.main([str(recipe), "--cluster", client.scheduler.address]) == 0
    rows = tables.load(recipe.with_suffix(".json"))
    assert [row["steps"] for row in rows] == [20, 21, 22, 23, 30, 31, 32, 33]
    assert os.getpid() not in {row["pid"] for row in rows} and recipe.with_suffix(".once").exists()
    assert "8 rows" in capsys.readouterr().out


def test_a_table_says_what_its_cluster_lacks(tmp_path, capsys, monkeypatch):
    recipe = tmp_path / "steps.py"
    recipe.write_text(RECIPE, encoding="utf-8")
    with dask.config.set({"distributed.comm.timeouts.connect": "300ms"}):
        assert tables.main([str(recipe), "--cluster", "tcp://127.0.0.1:9"]) == 1
    assert "table: CLUSTER must be the address of a Dask scheduler that answers, got tcp" in capsys.readouterr().err
    assert tables.main([str(recipe), "--cluster", "nowhere://"]) == 1
    assert "table: CLUSTER must be the address" in capsys.readouterr().err
    assert tables.main([str(recipe), "--cluster", "tcp://127.0.0.1:9", "--jobs", "2"]) == 1
    assert "table: JOBS must be left out where CLUSTER is given, got 2" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert tables.main([str(recipe), "--cluster", "tcp://127.0.0.1:9"]) == 1
    assert 'table: distributed must be installed: pip install "adaptive-training[cluster]"' in capsys.readouterr().err
    with pytest.raises(ModuleNotFoundError, match="any: nothing_of_the_kind must be installed"):
        workers.needed("any", "nothing_of_the_kind")
