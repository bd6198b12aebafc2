"""A study on processes and threads that come and go: nothing finished is lost, nothing stands twice, no one is left."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import optuna
import pytest
import torch
from search import long_study
from search.test_search_contract import SPACE, bowl

from labsupport.experiments import workers
from labsupport.search import hyperband, low_discrepancy, random_search
from labsupport.search.run import RunPlan, device, processes, report, run

QUIET = {"progress": False}
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


@pytest.fixture(autouse=True)
def no_one_is_left():
    before = set(multiprocessing.active_children())
    yield
    deadline = time.monotonic() + 10
    while left := set(multiprocessing.active_children()) - before:
        assert time.monotonic() < deadline, f"{left} outlived the study"
        time.sleep(0.02)


def serial(num_trials, objective=bowl):
    return run(random_search, SPACE, objective, num_trials=num_trials, **QUIET)


def test_four_processes_lose_none_of_a_thousand_short_trials():
    state = run(random_search, SPACE, bowl, num_trials=1000, executor=processes(4), **QUIET)
    assert state == serial(1000)


@pytest.mark.parametrize("make", [lambda: ThreadPoolExecutor(3), lambda: processes(2)()])
def test_lambdas_and_closures_travel_to_an_executor_that_stays_open(make):
    shift = torch.tensor(0.25, dtype=torch.float64)
    with make() as executor:
        state = run(random_search, SPACE, lambda trial: bowl(trial) + shift, num_trials=9, executor=executor, **QUIET)
        assert executor.submit(abs, -1).result() == 1
    assert state == serial(9, lambda trial: bowl(trial) + 0.25)


def test_a_worker_has_one_thread_and_its_own_device_and_reports():
    heard = []

    def objective(trial):
        report(trial, 1, trial.number)
        report(trial, 2, torch.get_num_threads())
        time.sleep(0.05)
        return {"cpu": 0.0, "meta": 1.0}[str(device())]

    before = torch.get_num_threads()
    plan = RunPlan(devices=("cpu", "meta"), on_report=lambda trial, *more: heard.append((trial.number, *more)))
    state = run(random_search, SPACE, objective, num_trials=8, executor=processes(2), plan=plan, **QUIET)
    assert sorted(heard) == [(number, step, [number, 1][step - 1]) for number in range(8) for step in (1, 2)]
    assert {record.value for record in state.records[:2]} == {0.0, 1.0} == {r.value for r in state.records}
    assert torch.get_num_threads() == before


def test_a_report_arrives_before_the_result():
    heard = []

    def objective(trial):
        report(trial, 1, trial.number)
        return 1.0

    plan = RunPlan(on_report=lambda trial, step, value: heard.append(value))
    run(random_search, SPACE, objective, num_trials=200, executor=processes(2), plan=plan, **QUIET)
    assert sorted(heard) == list(range(200))


@POSIX
def test_a_trial_that_kills_its_worker_each_time_fails_and_the_study_goes_on(tmp_path):
    def objective(trial):
        with (tmp_path / f"{trial.number}").open("a") as calls:
            calls.write(".")
        if trial.number in (3, 4, 11):
            os.kill(os.getpid(), signal.SIGKILL)
        return bowl(trial)

    storage = tmp_path / "s.db"
    state = run(random_search, SPACE, objective, num_trials=16, storage=storage, executor=processes(3), **QUIET)
    failed = {record.trial.number: record.failed for record in state.records if record.failed}
    assert failed == dict.fromkeys([3, 4, 11], "it took its worker down, 2 times when it ran alone")
    assert all(r.value == bowl(r.trial) for r in state.records if not r.failed) and len(state.records) == 16
    trials = optuna.load_study(study_name="search", storage=f"sqlite:///{storage}").trials
    assert [trial.state.name for trial in trials].count("FAIL") == 3 and trials[3].user_attrs["failed"] == failed[3]
    assert max(len((tmp_path / f"{number}").read_text()) for number in range(16)) <= 5


@POSIX
def test_one_killed_worker_costs_no_trial(tmp_path):
    def objective(trial):
        if trial.number == 5 and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return bowl(trial)

    batch = RunPlan(batch=2)
    for given in ({"plan": RunPlan()}, {"plan": batch}):
        (tmp_path / "once").unlink(missing_ok=True)
        work = objective if given["plan"] is not batch else lambda trials: list(map(objective, trials))
        assert run(random_search, SPACE, work, num_trials=16, executor=processes(2), **given, **QUIET) == serial(16)
        assert (tmp_path / "once").exists()


@POSIX
def test_an_executor_that_cannot_be_made_anew_says_so_and_keeps_what_is_finished(tmp_path):
    def objective(trial):
        if trial.number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return bowl(trial)

    given = {"num_trials": 9, "storage": tmp_path / "s.db", "plan": RunPlan(in_flight=1), **QUIET}
    with processes(1)() as executor, pytest.raises(RuntimeError, match="executor must be a function that makes one"):
        run(random_search, SPACE, objective, executor=executor, **given)
    again = []
    state = run(random_search, SPACE, lambda trial: again.append(trial.number) or bowl(trial), **given)
    assert again == [5, 6, 7, 8] and state == serial(9)


def exits():
    os._exit(1)


def test_workers_that_cannot_start_end_the_study_and_not_its_trials(tmp_path):
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    given = {"num_trials": 4, "storage": tmp_path / "s.db", **QUIET}
    with pytest.raises(RuntimeError, match="executor must make workers that live"):
        run(random_search, SPACE, bowl,
            executor=lambda: ProcessPoolExecutor(1, mp_context=context, initializer=exits), **given)  # fmt: skip
    assert run(random_search, SPACE, bowl, **given) == serial(4)


class Fragile(ThreadPoolExecutor):
    """It refuses the third call, as a pool does whose idle worker was killed."""

    made = 0

    def __init__(self):
        super().__init__(1)
        type(self).made += 1
        self.calls = 0

    def submit(self, function, *arguments):
        self.calls += 1
        if self.calls == 3 and self.made == 1:
            raise BrokenProcessPool("gone")
        if self.calls == 2 and self.made == 1:
            future = Future()
            future.set_exception(BrokenProcessPool("gone"))
            return future
        return super().submit(function, *arguments)


def test_a_pool_that_is_found_broken_when_a_trial_is_handed_over_is_made_anew():
    state = run(random_search, SPACE, bowl, num_trials=6, executor=Fragile, plan=RunPlan(in_flight=3), **QUIET)
    assert state == serial(6) and Fragile.made == 2


def test_an_executor_that_was_shut_down_is_named():
    class Gone(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            future = Future()
            assert future.cancel() and not future.set_running_or_notify_cancel()
            return future

    with Gone(1) as executor, pytest.raises(RuntimeError, match="executor must stay until the study ends"):
        run(random_search, SPACE, bowl, num_trials=3, executor=executor, **QUIET)


def test_what_runs_too_long_on_a_process_leaves_the_worker_to_others():
    def objective(trial):
        time.sleep(60 if trial.number == 1 else 0.01)
        return bowl(trial)

    begun = time.monotonic()
    state = run(random_search, SPACE, objective, num_trials=8, executor=processes(1),
                plan=RunPlan(time_limit=0.5), **QUIET)  # fmt: skip
    assert time.monotonic() - begun < 20 and state.records[1].failed == "it ran past its time limit of 0.5 s"
    assert sum(record.value == bowl(record.trial) for record in state.records) == 7


class Slow:
    """It takes longer to arrive than a call may take."""

    def __call__(self, trial):
        return bowl(trial)

    def __reduce__(self):
        return arrive_late, ()


def arrive_late():
    time.sleep(1.5)
    return bowl


def test_the_time_limit_of_a_trial_does_not_count_what_its_worker_imports_first():
    state = run(random_search, SPACE, Slow(), num_trials=3, executor=processes(1), plan=RunPlan(time_limit=1), **QUIET)
    assert state == serial(3)


def test_rungs_are_filled_on_processes_as_they_are_here():
    plan = RunPlan(options={"max_resource": 9})
    state = run(hyperband, SPACE, bowl, executor=processes(2), plan=plan, **QUIET)
    alone = run(hyperband, SPACE, bowl, plan=plan, **QUIET)
    assert hyperband.finished(state) and len(state.records) == len(alone.records)


def test_ctrl_c_ends_the_workers_and_keeps_what_is_finished():
    heard = []

    def listen(trial, step, value):
        heard.append(trial)
        if len(heard) == 5:
            raise KeyboardInterrupt

    def objective(trial):
        report(trial, 1, 1)
        time.sleep(600 if trial.number == 5 else 0)
        return bowl(trial)

    with pytest.warns(RuntimeWarning, match=r"run: interrupted, \d+ trials told"):
        state = run(low_discrepancy, SPACE, objective, num_trials=20, executor=processes(2),
                    plan=RunPlan(on_report=listen), **QUIET)  # fmt: skip
    assert 3 <= sum(record.done for record in state.records) < 20


def test_without_cloudpickle_functions_travel_by_name_and_lambdas_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    assert run(random_search, SPACE, bowl, num_trials=3, executor=processes(1), **QUIET) == serial(3)
    with pytest.raises(ModuleNotFoundError, match=r'run: cloudpickle must be installed: pip install "adaptive-'):
        run(random_search, SPACE, lambda trial: 1.0, num_trials=3, executor=processes(1), **QUIET)
    monkeypatch.setattr(bowl, "__module__", "__main__")
    with pytest.raises(ModuleNotFoundError, match="run: cloudpickle must be installed"):
        workers.dumped("run", bowl)


def test_the_number_of_processes_is_checked():
    with pytest.raises(ValueError, match="processes: count must be an integer >= 1, got 0"):
        processes(0)


def started(storage, calls):
    command = [sys.executable, long_study.__file__, str(storage), str(calls)]
    folder = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)


def finished(storage):
    trials = optuna.load_study(study_name="search", storage=f"sqlite:///{storage}").trials
    return {trial.number: trial.value for trial in trials if trial.state.is_finished()}


@POSIX
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killing_the_main_process_amid_200_trials_loses_none(tmp_path, how):
    storage, calls = tmp_path / "s.db", tmp_path / "calls"
    child = started(storage, calls)
    try:
        deadline = time.monotonic() + 60
        while not calls.exists() or calls.read_text().count("\n") < 60:
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(child.pid, how)
        assert child.wait(20) == (-how if how == signal.SIGKILL else 0)
        while alive(child.pid):
            assert time.monotonic() < deadline, "a worker outlived the main process"
            time.sleep(0.02)
    finally:
        if alive(child.pid):
            os.killpg(child.pid, signal.SIGKILL)
    before, again = finished(storage), []
    assert 40 <= len(before) < long_study.NUM
    state = run(random_search, long_study.SPACE, lambda t: again.append(t.number) or t.params["x"],
                num_trials=long_study.NUM, storage=storage, **QUIET)  # fmt: skip
    after = finished(storage)
    assert not before.keys() & set(again) and before.keys() | set(again) == after.keys() == set(range(long_study.NUM))
    assert {number: after[number] for number in before} == before and len(state.records) == long_study.NUM
    assert state == run(random_search, long_study.SPACE, lambda t: t.params["x"], num_trials=long_study.NUM, **QUIET)


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
