"""labsupport/search/optuna: samplers beside their strategies alone, pruners beside sorting by hand, a whole script."""

import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from labsupport.search import gaussian_process, grid, halving, hyperband, low_discrepancy, random_search, tpe
from labsupport.search.optuna.pruners import AshaPruner, HalvingPruner, HyperbandPruner
from labsupport.search.optuna.samplers import Sampler
from labsupport.search.space import Categorical, Float, Integer, Space, from_unit

ROOT = Path(__file__).resolve().parents[2]
SPACE = Space(
    {
        "kind": Categorical(("sgd", "adam")),
        "lr": Float(1e-4, 1, log=True),
        "momentum": Float(0, 0.99),
        "depth": Integer(1, 4),
    },
    {"momentum": ("kind", ("sgd",))},
)
STRATEGIES = {
    "grid": (grid, {"points": 3}),
    "random_search": (random_search, {}),
    "low_discrepancy": (low_discrepancy, {}),
    "gaussian_process": (gaussian_process, {"num_initial": 4, "num_candidates": 32}),
    "tpe": (tpe, {"num_initial": 4}),
}


@pytest.fixture(autouse=True)
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def setting(trial):
    """Define-by-run: what is not needed is not asked for."""
    kind = trial.suggest_categorical("kind", ["sgd", "adam"])
    found = {"kind": kind, "lr": trial.suggest_float("lr", 1e-4, 1, log=True)}
    if kind == "sgd":
        found["momentum"] = trial.suggest_float("momentum", 0, 0.99)
    return found | {"depth": trial.suggest_int("depth", 1, 4)}


def error(params):
    best = {"sgd": -1, "adam": -3}[params["kind"]]
    return (math.log10(params["lr"]) - best) ** 2 + params.get("momentum", 0.3) + 0.1 * params["depth"]


def objective(trial):
    return error(setting(trial))


def alone(strategy, options, count, seed=0):
    """The settings that a strategy asks without Optuna."""
    limit = {} if strategy is grid else {"num_trials": count}
    state = strategy.init(SPACE, **options, **limit, seed=seed)
    for _ in range(count):
        trial, state = strategy.ask(state)
        state = strategy.tell(state, trial, error(trial.params))
    return [record.trial.params for record in state.records]


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_study_asks_what_the_strategy_asks_alone(name, direction):
    strategy, options = STRATEGIES[name]
    sign = 1 if direction == "minimize" else -1
    study = optuna.create_study(direction=direction)
    for _ in range(2):  # another process, or another day: nothing but the study and the seed is needed
        study.sampler = pickle.loads(pickle.dumps(Sampler(strategy, space=SPACE, options=options, seed=7)))
        study.optimize(lambda trial: sign * objective(trial), n_trials=5)
    assert [trial.params for trial in study.trials] == alone(strategy, options, 10, seed=7)


def test_a_script_finds_the_minimum_without_being_told_the_space():
    study = optuna.create_study(sampler=Sampler(gaussian_process, options={"num_candidates": 64}, seed=0))
    study.optimize(lambda t: (t.suggest_float("x", -1, 2) - 0.7) ** 2 + (t.suggest_float("y", 0, 1) - 0.2) ** 2,
                   n_trials=18)  # fmt: skip
    assert study.best_value < 1e-4


def test_only_what_maps_exactly_is_inferred():
    def wide(trial):
        trial.suggest_float("x", 0, 1)
        trial.suggest_float("log", 1e-3, 1, log=True)
        trial.suggest_int("n", 1, 5, log=True)
        trial.suggest_categorical("c", ["a", None, 2])
        trial.suggest_float("stepped", 0, 1, step=0.25)
        trial.suggest_int("even", 0, 8, step=2)
        trial.suggest_categorical("twins", [1, True])
        trial.suggest_int("long", 0, 2**41)
        trial.suggest_float("moving", 0, 1 + trial.number)
        if trial.number % 2:
            trial.suggest_float("odd", 0, 1)
        return 1.0

    study = optuna.create_study(sampler=Sampler(tpe, options={"num_initial": 2}, seed=0))
    study.optimize(wide, n_trials=6)
    trial = study.ask()
    assert set(trial.relative_params) == {"x", "log", "n", "c"}
    assert {trial.params["even"] for trial in study.trials[:6]} <= {0, 2, 4, 6, 8}


def test_a_parameter_that_the_space_does_not_know_is_drawn_alone():
    def drawn(seed):
        study = optuna.create_study(sampler=Sampler(low_discrepancy, space=Space({"x": Float(0, 1)}), seed=seed))
        study.optimize(lambda t: t.suggest_float("x", 0, 1) + sum(t.suggest_int(n, 0, 10**6) for n in "ab"), n_trials=4)
        return [(trial.params["a"], trial.params["b"]) for trial in study.trials]

    assert drawn(0) == drawn(0) != drawn(1)
    assert len({value for pair in drawn(0) for value in pair}) == 8


def test_trials_that_wait_for_their_workers_are_not_asked_again():
    """The second is asked before the first has told anybody what it was given, as two processes do."""
    for strategy in (gaussian_process, tpe, low_discrepancy):
        study = optuna.create_study(sampler=Sampler(strategy, space=SPACE, seed=1))
        study.optimize(objective, n_trials=12)
        pair = [study.ask().relative_params for _ in range(2)]
        state = strategy.init(SPACE, num_trials=20, seed=1)
        for _ in range(12):
            trial, state = strategy.ask(state)
            state = strategy.tell(state, trial, error(trial.params))
        first, state = strategy.ask(state)
        second, _ = strategy.ask(state)
        assert pair == [first.params, second.params]
        assert pair[0] != pair[1]


def made(state, value=None, params=None):
    params = {"kind": "adam", "lr": 0.5, "depth": 1} if params is None else params
    kinds = {"kind": optuna.distributions.CategoricalDistribution(["sgd", "adam"])}
    kinds |= {"lr": optuna.distributions.FloatDistribution(1e-9, 9, log=True)}
    kinds |= {"depth": optuna.distributions.IntDistribution(1, 4)}
    used = {name: kinds[name] for name in params}
    return optuna.trial.create_trial(state=state, value=value, params=params, distributions=used)


def test_what_a_strategy_is_told_of_each_trial(monkeypatch):
    trials = {  # a trial, and of its record: whether the setting is known, the value, whether it failed, and is over
        "complete": (made(TrialState.COMPLETE, 2.5), (True, -2.5, False, True)),
        "infinite": (made(TrialState.COMPLETE, math.inf), (True, None, True, True)),
        "failed": (made(TrialState.FAIL), (True, None, True, True)),
        "pruned": (made(TrialState.PRUNED, 0.1), (True, None, True, True)),
        "running": (made(TrialState.RUNNING), (True, None, False, False)),
        "outside": (made(TrialState.COMPLETE, 1.0, {"kind": "adam", "lr": 5, "depth": 1}), (False, None, True, True)),
        "lacking": (made(TrialState.COMPLETE, 1.0, {"lr": 0.5}), (False, None, True, True)),
        "waiting": (made(TrialState.WAITING, params={}), (False, None, False, False)),
        "later": (made(TrialState.COMPLETE, 0.0), None),
    }
    seen = []
    sampler = Sampler(random_search, space=SPACE, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial, _ in trials.values():
        study.add_trial(trial)
    monkeypatch.setattr(random_search, "ask", lambda state: (seen.append(state.records), (None, state))[1])
    sampler.sample_relative(study, SimpleNamespace(number=8), {"any": None})
    records = seen[-1]
    assert [record.trial.number for record in records] == list(range(8))
    for (name, (_, wanted)), record in zip(trials.items(), records):
        found = bool(record.trial.params), record.value, record.failed is not None, record.done
        assert found == wanted, name


@pytest.mark.parametrize("strategy", [gaussian_process, tpe])
def test_a_trial_of_which_only_the_number_is_known_is_passed_over(strategy):
    study = optuna.create_study(sampler=Sampler(strategy, space=SPACE, options={"num_initial": 3}, seed=0))
    study.add_trial(optuna.trial.create_trial(value=-9.0, params={}, distributions={}))
    study.optimize(objective, n_trials=8)
    assert all(set(trial.params) >= {"kind", "lr", "depth"} for trial in study.trials[1:])


def test_a_grid_ends_and_draws_go_on():
    study = optuna.create_study(sampler=Sampler(grid, space=Space({"n": Integer(1, 3)}), options={"points": 3}, seed=0))
    study.optimize(lambda trial: trial.suggest_int("n", 1, 3), n_trials=6)
    assert sorted(trial.params["n"] for trial in study.trials[:3]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Sampler(halving, options={"num": 4, "budget": 20}, seed=0), "whole trainings"),
        (lambda: Sampler(hyperband, options={"max_resource": 9}, seed=0), "whole trainings"),
        (lambda: Sampler(tpe, options={"gamma": 2}, seed=0), "gamma"),
        (lambda: Sampler(tpe, seed=-1), "seed"),
        (lambda: AshaPruner(0), "max_resource"),
        (lambda: HalvingPruner(8, 23), "budget"),
        (lambda: HyperbandPruner(9, eta=1), "eta"),
    ],
)
def test_refusals(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_several_objectives_are_refused():
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=Sampler(tpe, seed=0))
    with pytest.raises(ValueError, match="study must have one objective, got 2"):
        study.ask().suggest_float("x", 0, 1)


def curves(pruner, values, *, direction="minimize", name="study"):
    """How far each trial trains where trial i reports values[i][step - 1] at each step."""
    study = optuna.create_study(direction=direction, pruner=pruner, study_name=name)
    lengths = []
    for row in values:
        trial = study.ask()
        for step, value in enumerate(row, 1):
            trial.report(value, step)
            if trial.should_prune():
                break
        lengths.append(step)
        study.tell(trial, state=TrialState.PRUNED)
    return lengths


def by_hand(values, rungs, keep):
    """The same, by sorting at each rung all that came to it so far; rungs[i] are those of trial i."""
    length = len(values[0])
    came, lengths = {}, []
    for row, (group, stops) in zip(values, rungs, strict=True):
        last = length
        for step in stops:
            here = came.setdefault((group, step), [])
            here.append(row[step - 1])
            if sorted(here).index(row[step - 1]) >= max(keep(len(here)), 1):
                last = step
                break
        lengths.append(last)
    return lengths


def drawn(count, length, seed=0):
    return torch.rand(count, length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_asha_stops_whoever_is_not_among_the_best_so_far(direction):
    values = drawn(60, 27)
    reported = values if direction == "minimize" else [[-value for value in row] for row in values]
    found = curves(AshaPruner(27, min_resource=2), reported, direction=direction)
    assert found == by_hand(values, [(0, (3, 9))] * 60, lambda n: n // 3)
    assert set(found) == {3, 9, 27}


def test_halving_stops_the_worse_half_so_far():
    pruner = HalvingPruner(16, 16 * 4 * 2)
    assert pruner.resources == [2, 6, 14, 30]
    values = drawn(40, 30)
    assert curves(pruner, values) == by_hand(values, [(0, (2, 6, 14))] * 40, lambda n: (n + 1) // 2)


def test_hyperband_compares_within_a_bracket():
    pruner, values = HyperbandPruner(9), drawn(80, 9)
    groups = [pruner.bracket("study", number) for number in range(80)]
    rungs = [(group, [(1, 3), (3,), ()][group]) for group in groups]
    assert curves(pruner, values) == by_hand(values, rungs, lambda n: n // 3)
    assert groups != [pruner.bracket("other", number) for number in range(80)]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 250), st.integers(2, 4))
def test_brackets_have_the_plan_s_shares(max_resource, eta):
    pruner, count = HyperbandPruner(max_resource, eta=eta), 2000
    found = torch.tensor([pruner.bracket("study", number) for number in range(count)]).bincount(
        minlength=len(pruner.brackets)
    )
    sizes = torch.tensor([plan[0][0] for plan in hyperband.plan(max_resource, eta=eta)], dtype=torch.float64)
    share = sizes / sizes.sum()
    assert ((found / count - share).abs() <= 5 * (share * (1 - share) / count).sqrt() + 1e-9).all()


def test_six_brackets_where_optuna_builds_five():
    """⌊log₃ 243⌋ is 5; Optuna's float logarithm says 4.999…"""
    theirs = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=243, reduction_factor=3)
    trial = (study := optuna.create_study(pruner=theirs)).ask()
    trial.report(1.0, 1)
    trial.should_prune()
    assert theirs._n_brackets == 5
    assert len(HyperbandPruner(243, eta=3).brackets) == 6
    assert {HyperbandPruner(243, eta=3).bracket("study", number) for number in range(500)} == set(range(6))
    assert study.trials[0].number == 0


def test_nan_stops_and_pushes_nobody_out():
    assert curves(AshaPruner(9), [[math.nan] * 9, [1.0] * 9, [2.0] * 9]) == [1, 9, 1]


def test_a_trial_is_judged_at_its_first_report_past_a_rung():
    study = optuna.create_study(pruner=AshaPruner(27))
    for value in (1.0, 2.0):
        trial = study.ask()
        assert not trial.should_prune()  # nothing was reported
        trial.report(value, 5)
        assert trial.should_prune() == (value == 2.0)
        trial.report(3.0, 6)
        assert not trial.should_prune()  # 1 and 3 are behind it, 9 is to come


SCRIPT = """
import multiprocessing
import sys
import optuna
{imports}

def objective(trial):
    kind = trial.suggest_categorical("kind", ["sgd", "adam"])
    rate = trial.suggest_float("rate", 1e-4, 1, log=True)
    layers = trial.suggest_int("layers", 1, 3)
    width = sum(trial.suggest_int(f"width {{i}}", 4, 64) for i in range(layers))
    if kind == "sgd":
        rate *= 1 - trial.suggest_float("momentum", 0, 0.9)
    for epoch in range(1, 4):
        error = abs(rate - 0.01) + 1 / width + 1 / epoch
        trial.report(error, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return error

def work(storage):
    study = optuna.load_study(study_name="script", storage=storage, sampler={sampler}, pruner={pruner})
    study.optimize(objective, n_trials=3)

if __name__ == "__main__":
    shared = "forkserver" in multiprocessing.get_all_start_methods()  # they import once
    context = multiprocessing.get_context("forkserver" if shared else "spawn")
    workers = [context.Process(target=work, args=(sys.argv[1],)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(any(worker.exitcode for worker in workers))
"""
THEIRS = {
    "imports": "",
    "sampler": "optuna.samplers.TPESampler(seed=0)",
    "pruner": "optuna.pruners.HyperbandPruner(1, 3, 3)",
}
OURS = {
    "imports": "from labsupport.search import tpe\nfrom labsupport.search.optuna import pruners, samplers",
    "sampler": "samplers.Sampler(tpe, seed=0)",
    "pruner": "pruners.HyperbandPruner(3, eta=3)",
}


def test_a_script_runs_in_four_processes_with_sampler_and_pruner_exchanged(tmp_path):
    storage, script = f"sqlite:///{(tmp_path / 'study.db').as_posix()}", tmp_path / "script.py"
    study = optuna.create_study(study_name="script", storage=storage)
    theirs = {"__name__": "theirs"}
    exec(SCRIPT.format(**THEIRS), theirs)
    theirs["work"](storage)
    script.write_text(SCRIPT.format(**OURS))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(script), storage]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
    states = [trial.state for trial in study.trials]
    assert len(states) == 15
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}
    assert len({trial.params["rate"] for trial in study.trials}) == 15  # one seed for all, and none repeats another


def test_without_optuna_the_error_names_the_extra_and_the_room_works(tmp_path):
    (tmp_path / "optuna.py").write_text("raise ImportError('no Optuna here')\n")
    code = """
import sys
from labsupport.search import contract, gaussian_process, hyperband, tpe
assert "optuna" not in sys.modules
from labsupport.search.optuna import samplers
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert "ImportError: labsupport.search.optuna needs Optuna" in done.stderr and "[cluster]" in done.stderr


def test_the_space_given_and_the_space_drawn_from_agree():
    """Every setting of ours lies in Optuna's distributions of it."""
    sampler = Sampler(random_search, space=SPACE, seed=0)
    study = optuna.create_study(sampler=sampler)
    found = sampler.infer_relative_search_space(study, study.ask())
    for corner in (0.0, 0.5, 1.0):
        for name, value in from_unit(SPACE, torch.full((4,), corner, dtype=torch.float64)).items():
            assert found[name]._contains(found[name].to_internal_repr(value))


@pytest.mark.parametrize(("strategy", "options", "message"), [
    ("tpe", None, "strategy must be a module such as search.tpe, got 'tpe'"),
    (grid, None, "options must suit .*grid.init.*missing a required .*'points'"),
    (halving, None, "options must suit .*halving.init.*missing a required .*'num'"),
    (tpe, {"wrong": 1}, "options must suit .*tpe.init.*'wrong'"),
])  # fmt: skip
def test_what_is_no_strategy_or_lacks_its_options_is_refused(strategy, options, message):
    with pytest.raises(ValueError, match=f"Sampler: {message}"):
        Sampler(strategy, options=options, seed=0)
