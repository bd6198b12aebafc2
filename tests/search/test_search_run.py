"""A study run here: whatever an objective does, each trial is told once, stored once, and the study goes on."""

import json
import math
import sys
import time
import warnings

import numpy as np
import optuna
import pytest
import torch
from search.test_search_contract import POINT, SPACE, STRATEGIES, bowl
from search.test_search_contract import run as by_hand

from labsupport.search import asha, contract, gaussian_process, hyperband, random_search, tpe
from labsupport.search.run import RunPlan, device, report, run
from labsupport.search.space import Categorical, Float, Integer, Space

QUIET = {"progress": False}


def plan_of(name, **more):
    """A strategy's options as `run` takes them: the number of trials, and a plan with the rest."""
    options = dict(STRATEGIES[name][1])
    return {"num_trials": options.pop("num_trials", None), "plan": RunPlan(options=options, **more), **QUIET}


@pytest.fixture(params=STRATEGIES)
def name(request):
    return request.param


def test_a_run_is_what_asking_and_telling_by_hand_comes_to(name):
    module, options = STRATEGIES[name]
    found = run(module, SPACE, bowl, **plan_of(name))
    assert found == by_hand((module, options), module.init(SPACE, **options, seed=0))


def test_a_study_cut_anywhere_goes_on_from_its_storage_as_if_it_had_not_been(name, tmp_path):
    whole, calls = run(STRATEGIES[name][0], SPACE, bowl, **plan_of(name)), []

    def cut(trial):
        calls.append(trial.number)
        if len(calls) % 6 == 0:
            raise KeyboardInterrupt
        return bowl(trial)

    url = f"sqlite:///{tmp_path / 's.db'}"
    storage = url if name in ("grid", "asha") else optuna.storages.InMemoryStorage()
    state, starts = None, 0
    while state is None or not STRATEGIES[name][0].finished(state):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "run: interrupted", RuntimeWarning)
            state, starts = run(STRATEGIES[name][0], SPACE, cut, storage=storage, **plan_of(name)), starts + 1
    assert state == whole and starts > 1 and len(calls) == len(whole.records) + starts - 1
    assert contract.to_json(state) == contract.to_json(whole)
    study = optuna.load_study(study_name="search", storage=storage)
    for record, trial in zip(whole.records, study.trials, strict=True):
        assert (trial.number, trial.value, trial.params) == (record.trial.number, record.value, record.trial.params)
        assert trial.user_attrs.get("resource") == record.trial.resource
        assert trial.user_attrs.get("resumes") == record.trial.resumes
        assert set(trial.distributions) == set(trial.params) and trial.datetime_complete >= trial.datetime_start
    assert study.best_value == min(record.value for record in whole.records)


def test_a_trial_that_was_running_when_all_was_lost_is_run_again_under_its_number(tmp_path):
    url, seen = f"sqlite:///{tmp_path / 's.db'}", []
    run(random_search, SPACE, bowl, num_trials=4, storage=url, **QUIET)
    other = optuna.storages.RDBStorage(url)
    study = other.get_study_id_from_name("search")
    lost = other.get_all_trials(study)[2]
    other.create_new_trial(study, template_trial=optuna.create_trial(
        state=optuna.trial.TrialState.RUNNING, params=lost.params, distributions=lost.distributions))  # fmt: skip
    state = run(random_search, SPACE, lambda trial: seen.append(trial.number) or bowl(trial), num_trials=6,
                storage=url, **QUIET)  # fmt: skip
    assert seen == [4, 5] and [record.trial.number for record in state.records] == list(range(6))
    assert state.records[4].trial.params == lost.params
    assert len(optuna.load_study(study_name="search", storage=url).trials) == 6


def misbehaving(trial):
    """Every way to fail that leaves the process alone."""
    ways = [
        lambda: 1 / 0, lambda: math.nan, lambda: math.inf, lambda: "good", lambda: None, lambda: True,
        lambda: torch.zeros(2), lambda: sys.exit(3), lambda: time.sleep(30), lambda: float("-inf"),
        lambda: endless(),
    ]  # fmt: skip
    return ways[trial.number]() if trial.number < len(ways) else 1.0


def endless():
    try:
        while True:
            time.sleep(0)
    except Exception:
        return 0.0


CAUSES = [
    "ZeroDivisionError: division by zero", "the value was nan", "the value was inf",
    "the value was no number but 'good'", "the value was no number but None", "the value was no number but True",
    "the value was no number but tensor([0., 0.])", "SystemExit: 3", "it ran past its time limit of 0.3 s",
    "the value was -inf", "it ran past its time limit of 0.3 s",
]  # fmt: skip


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_what_fails_is_a_failed_trial_with_its_cause(tmp_path, direction):
    plan = RunPlan(time_limit=0.3, direction=direction)
    begun = time.monotonic()
    state = run(random_search, SPACE, misbehaving, num_trials=13, storage=tmp_path / "s.db", plan=plan, **QUIET)
    assert time.monotonic() - begun < 5
    assert [record.failed for record in state.records] == [*CAUSES, None, None]
    trials = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 's.db'}").trials
    assert [trial.user_attrs.get("failed") for trial in trials] == [*CAUSES, None, None]
    assert {trial.state.name for trial in trials[:11]} == {"FAIL"} and trials[12].value == 1.0
    assert run(random_search, SPACE, misbehaving, num_trials=13, storage=tmp_path / "s.db", plan=plan, **QUIET) == state


def test_numbers_of_any_kind_are_values():
    kinds = [1, 1.0, np.float32(1), np.float64(1), np.int64(1), torch.tensor(1.0), torch.ones(1, requires_grad=True)]
    state = run(random_search, SPACE, lambda trial: kinds[trial.number], num_trials=len(kinds), **QUIET)
    assert [record.value for record in state.records] == [1.0] * len(kinds)


def test_maximizing_is_minimizing_the_negative(tmp_path):
    low = run(tpe, SPACE, lambda trial: -bowl(trial), num_trials=15, **QUIET)
    storage = optuna.storages.InMemoryStorage()
    plan = RunPlan(direction="maximize", study="up")
    high = run(tpe, SPACE, bowl, num_trials=15, storage=storage, plan=plan, **QUIET)
    assert high == low == run(tpe, SPACE, bowl, num_trials=15, storage=storage, plan=plan, **QUIET)
    study = optuna.load_study(study_name="up", storage=storage)
    assert study.best_value == -contract.best(high).value == max(bowl(record.trial) for record in high.records)


def test_a_batch_is_one_call_and_as_many_values():
    sizes = []

    def population(trials):
        sizes.append(len(trials))
        if len(sizes) == 2:
            return [1.0]
        values = torch.tensor([bowl(trial) for trial in trials], dtype=torch.float64)
        values[0] = math.nan
        return values

    state = run(random_search, SPACE, population, num_trials=22, plan=RunPlan(batch=5), **QUIET)
    assert sizes == [5, 5, 5, 5, 2]
    causes = [record.failed for record in state.records]
    assert causes[5:10] == ["ValueError: objective must return a list of a value for each of 5 trials, got [1.0]"] * 5
    assert [number for number, cause in enumerate(causes) if cause == "the value was nan"] == [0, 10, 15, 20]
    assert all(record.value == bowl(record.trial) for record in state.records if not record.failed)
    one = run(random_search, SPACE, lambda trials: [bowl(trial) for trial in trials], num_trials=3,
              plan=RunPlan(batch=1), **QUIET)  # fmt: skip
    assert one == run(random_search, SPACE, bowl, num_trials=3, **QUIET)


def test_a_batch_of_halving_is_a_rung():
    sizes = []
    plan = RunPlan(batch=27, options={"max_resource": 9, "eta": 3})
    run(hyperband, SPACE, lambda trials: sizes.append(len(trials)) or list(map(bowl, trials)), plan=plan, **QUIET)
    assert sizes == [9 + 5 + 3, 3 + 1, 1]  # the first rungs of all brackets at once, then what goes on


def test_reports_are_stored_and_handed_on(tmp_path):
    heard = []

    def objective(trial):
        for step in range(3):
            report(trial, step, torch.tensor(trial.number + step / 10))
        report(trial, 2, math.nan if trial.number else 7.0)
        return 1.0

    plan = RunPlan(on_report=lambda trial, step, value: heard.append((trial.number, step, round(value, 3))))
    run(random_search, SPACE, objective, num_trials=2, storage=tmp_path / "s.db", plan=plan, **QUIET)
    assert heard[:5] == [(0, 0, 0.0), (0, 1, 0.1), (0, 2, 0.2), (0, 2, 7.0), (1, 0, 1.0)] and len(heard) == 8
    trials = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 's.db'}").trials
    assert trials[0].intermediate_values == pytest.approx({0: 0.0, 1: 0.1, 2: 7.0})
    assert math.isnan(trials[1].intermediate_values[2])
    run(random_search, SPACE, objective, num_trials=2, **QUIET)  # nobody listens
    report(contract.Trial(0, {}), 0, 1.0)
    with pytest.raises(ValueError, match="report: step must be an integer >= 0, got -1"):
        report(contract.Trial(0, {}), -1, 1.0)


def test_an_objective_asks_for_its_device():
    found = []
    plan = RunPlan(devices=("meta", "cpu"), time_limit=60)
    run(random_search, SPACE, lambda trial: found.append(device()) or 1.0, num_trials=2, plan=plan, **QUIET)
    assert found == [torch.device("meta")] * 2 and device() == torch.device("cpu")


def test_ctrl_c_keeps_what_is_finished():
    def objective(trial):
        if trial.number == 3:
            raise KeyboardInterrupt
        return 1.0

    with pytest.warns(RuntimeWarning, match="run: interrupted, 3 trials told"):
        state = run(random_search, SPACE, objective, num_trials=5, **QUIET)
    assert [record.value for record in state.records] == [1.0, 1.0, 1.0, None]


def test_a_study_may_be_made_longer(tmp_path):
    first = run(tpe, SPACE, bowl, num_trials=12, storage=tmp_path / "s.db", **QUIET)
    longer = run(tpe, SPACE, bowl, num_trials=16, storage=tmp_path / "s.db", **QUIET)
    assert longer == run(tpe, SPACE, bowl, num_trials=16, **QUIET) and longer.records[:12] == first.records


def test_num_trials_ends_any_strategy():
    options = {"max_resource": 9}
    state = run(asha, SPACE, bowl, num_trials=30, plan=RunPlan(options=options), **QUIET)
    assert len(state.records) == 30 and not contract.waiting(state) and "num_trials" not in state.options


OTHERS = [
    ("strategy", {"strategy": tpe}), ("seed", {"plan": RunPlan(seed=1)}), ("space", {"space": POINT}),
    ("direction", {"plan": RunPlan(direction="maximize")}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "change"), OTHERS)
def test_another_study_of_the_same_name_is_refused(tmp_path, what, change):
    storage = f"sqlite:///{tmp_path / 's.db'}"
    given = {"strategy": random_search, "space": SPACE, "objective": bowl, "num_trials": 2, "storage": storage, **QUIET}
    run(**given)
    with pytest.raises(ValueError, match=rf"run: {what} must stay that of the study 'search' .*RunPlan\(study=…\)"):
        run(**{**given, **change})
    assert len(run(**{**given, **change, "plan": RunPlan(study="another")}).records) == 2


def test_other_options_and_other_programs_studies_are_refused():
    storage = optuna.storages.InMemoryStorage()
    run(asha, SPACE, bowl, storage=storage, num_trials=3, plan=RunPlan(options={"max_resource": 9}), **QUIET)
    with pytest.raises(ValueError, match="run: options must stay that of the study 'search'"):
        run(asha, SPACE, bowl, storage=storage, num_trials=3, plan=RunPlan(options={"max_resource": 27}), **QUIET)
    study = optuna.create_study(study_name="theirs", storage=storage)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(ValueError, match="run: storage must hold a study that run began, got 'theirs'"):
        run(random_search, SPACE, bowl, num_trials=2, storage=storage, plan=RunPlan(study="theirs"), **QUIET)


def test_every_kind_of_value_comes_back_from_a_file(tmp_path):
    space = Space({
        "a": Categorical((None, True, 2, 0.5, "x")), "b": Integer(-(2**40), 2**40), "c": Float(-1e300, 1e300),
        "d": Float(1e-300, 1, log=True), "e": Float(2, 2), "f": Integer(3, 3, log=True), "g": Integer(0, 1),
    }, {"g": ("a", (True, None))})  # fmt: skip
    journal = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "log")))
    for storage in (str(tmp_path / "s.db"), journal):
        state = run(random_search, space, lambda trial: trial.number / 3, num_trials=25, storage=storage, **QUIET)
        assert run(random_search, space, bowl, num_trials=25, storage=storage, **QUIET) == state
        assert state == run(random_search, space, lambda trial: trial.number / 3, num_trials=25, **QUIET)


def test_optuna_says_nothing_in_a_page(tmp_path, capfd):
    before = optuna.logging.get_verbosity()
    run(random_search, SPACE, bowl, num_trials=2, storage=tmp_path / "s.db", **QUIET)
    assert capfd.readouterr() == ("", "") and optuna.logging.get_verbosity() == before
    run(random_search, SPACE, bowl, num_trials=2)
    assert "search: 100%" in capfd.readouterr().err


def test_without_optuna_memory_works_and_a_storage_names_the_extra(monkeypatch):
    for package in ("optuna", "distributed", "dask", "cloudpickle"):
        monkeypatch.setitem(sys.modules, package, None)
    assert len(run(random_search, SPACE, bowl, num_trials=2, **QUIET).records) == 2
    message = r'run: optuna must be installed: pip install "adaptive-training\[cluster\]"'
    with pytest.raises(ModuleNotFoundError, match=message):
        run(random_search, SPACE, bowl, num_trials=2, storage="s.db", **QUIET)


@pytest.mark.parametrize(("change", "message"), [
    ({"strategy": math}, "strategy must have init, ask, tell and finished"),
    ({"objective": 3}, "objective must be a function of a trial, got 3"),
    ({"num_trials": 0}, "num_trials must be an integer >= 1, got 0"),
    ({"num_trials": 2.5}, "num_trials must be an integer >= 1, got 2.5"),
    ({"executor": 4}, "executor must be None, an Executor or a function that makes one, got 4"),
    ({"executor": lambda: 4}, "executor must be or make a concurrent.futures.Executor, got 4"),
    ({"storage": 4}, "storage must be None, a path, a url or a storage of Optuna, got 4"),
    ({"plan": {}}, "plan must be a RunPlan"),
    ({"strategy": gaussian_process, "num_trials": None}, "num_trials and options must suit .*missing .*'num_trials'"),
    ({"plan": RunPlan(options={"wrong": 1})}, "num_trials and options must suit .*'wrong'"),
    ({"space": {}}, "init: space must be a Space"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_before_the_work(change, message):
    calls = []
    given = {"strategy": random_search, "space": SPACE, "objective": calls.append, "num_trials": 2, **QUIET, **change}
    with pytest.raises(ValueError, match=message):
        run(**given)
    assert not calls


@pytest.mark.parametrize(("change", "message"), [
    ({"in_flight": 0}, "in_flight must be an integer >= 1, got 0"),
    ({"time_limit": 0}, "time_limit must be a finite number >= "),
    ({"threads": -1}, "threads must be an integer >= 1, got -1"),
    ({"batch": True}, "batch must be an integer >= 1, got True"),
    ({"devices": "cpu"}, "devices must be a tuple of names, got 'cpu'"),
    ({"devices": ("gpu7",)}, "devices must be names that torch knows, got 'gpu7'"),
    ({"resources": [1]}, r"resources must be a dict, got \[1\]"),
    ({"resources": {"GPU": -1}}, r"resources\['GPU'\] must be a finite number >= 0, got -1"),
    ({"on_report": 1}, "on_report must be a function or None, got 1"),
    ({"study": ""}, "study must be a name, got ''"),
    ({"direction": "up"}, "direction must be one of 'minimize', 'maximize', got 'up'"),
    ({"seed": 2**64}, "seed must be below 2\\*\\*64"),
    ({"options": None}, "options must be a dict, got None"),
])  # fmt: skip
def test_a_plan_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=f"RunPlan: {message}"):
        RunPlan(**change)


def test_what_a_study_is_about_is_plain_json(tmp_path):
    run(tpe, SPACE, bowl, num_trials=2, storage=tmp_path / "s.db", **QUIET)
    about = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 's.db'}").user_attrs
    assert json.loads(json.dumps(about)) == about and about["adaptive-training"]["strategy"] == "tpe"
