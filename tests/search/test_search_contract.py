"""The table of strategies: whatever they search with, a study starts, goes on, breaks off and ends in the same ways."""

import math
import pickle
import random
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labsupport.search import (
    asha,
    contract,
    gaussian_process,
    grid,
    halving,
    hyperband,
    low_discrepancy,
    random_search,
    tpe,
)
from labsupport.search.contract import Trial, best, tell
from labsupport.search.space import Categorical, Float, Integer, Space, to_unit

SPACE = Space(
    {
        "lr": Float(1e-5, 1, log=True),
        "layers": Integer(1, 3),
        "optimizer": Categorical(("sgd", "adam")),
        "momentum": Float(0, 0.99),
    },
    {"momentum": ("optimizer", ("sgd",))},
)
POINT = Space({"x": Float(2, 2), "n": Integer(3, 3, log=True), "c": Categorical(("only",))})

# A strategy, and options with which a study ends after a few dozen trials. Whoever adds a strategy adds its line.
STRATEGIES = {
    "grid": (grid, {"points": 3}),
    "random_search": (random_search, {"num_trials": 20}),
    "low_discrepancy": (low_discrepancy, {"num_trials": 20}),
    "halving": (halving, {"num": 13, "budget": 200}),
    "hyperband": (hyperband, {"max_resource": 20, "eta": 3}),
    "asha": (asha, {"max_resource": 9, "eta": 3, "num": 20}),
    "gaussian_process": (gaussian_process, {"num_trials": 14, "num_candidates": 32}),
    "tpe": (tpe, {"num_trials": 20}),
}


@pytest.fixture(params=STRATEGIES)
def strategy(request):
    return STRATEGIES[request.param]


def begun(strategy, space=SPACE, seed=0):
    module, options = strategy
    return module.init(space, **options, seed=seed)


def bowl(trial):
    place = to_unit(SPACE, trial.params)
    return float((place - 0.3).square().sum()) + 1 / (trial.resource or 1)


class Crowd(NamedTuple):
    """Who works on a study: how many at once, in what order they come back, and what goes wrong."""

    workers: int = 1
    order: int = 0
    value: object = bowl
    fails: float = 0.0


def run(strategy, state, crowd=Crowd()):  # noqa: B008 (nothing in it changes)
    """Ask and tell to the end."""
    module, draws = strategy[0], random.Random(crowd.order)
    at_work = contract.waiting(state)
    while not module.finished(state):
        trial = 0
        while trial is not None and len(at_work) < crowd.workers:
            trial, state = module.ask(state)
            at_work += [] if trial is None else [trial]
        done = at_work.pop(draws.randrange(len(at_work)))  # an empty list: neither finished nor anything to do
        failed = "worker lost" if draws.random() < crowd.fails else None
        state = tell(state, done, None if failed else crowd.value(done), failed=failed)
    assert module.ask(state) == (None, state) and not at_work
    return state


crowds = st.builds(Crowd, st.integers(1, 30), st.integers(0, 999), st.just(bowl), st.sampled_from([0.0, 0.3, 1.0]))


@given(crowd=crowds, seed=st.integers(0, 2**64 - 1))
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_study_ends_whoever_works_on_it(name, crowd, seed):
    records = run(STRATEGIES[name], begun(STRATEGIES[name], seed=seed), crowd).records
    assert [record.trial.number for record in records] == list(range(len(records))) and records
    for trial in (record.trial for record in records):
        to_unit(SPACE, trial.params)  # refuses what is not of the space, and what does not exist
        assert ("momentum" in trial.params) == (trial.params["optimizer"] == "sgd")
        if trial.resumes is not None:
            parent = records[trial.resumes]
            assert parent.trial.params == trial.params and parent.trial.resource < trial.resource
            assert parent.failed is None
    continued = [record.trial.resumes for record in records if record.trial.resumes is not None]
    assert len(set(continued)) == len(continued)


@given(crowd=crowds)
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_failed_trial_never_wins(name, crowd):
    state = run(STRATEGIES[name], begun(STRATEGIES[name]), crowd)
    winner = best(state)
    assert all(record.done and (record.value is None) == bool(record.failed) for record in state.records)
    if crowd.fails == 1:
        assert winner is None
    elif winner is not None:
        rivals = [r for r in state.records if r.value is not None and r.trial.resource == winner.trial.resource]
        assert winner.failed is None and winner.value == min(record.value for record in rivals)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, torch.tensor(math.nan)])
def test_what_is_not_finite_never_wins(strategy, bad):
    seen = {}

    def some(trial):
        seen[trial.number] = bad if trial.number % 3 == 0 else bowl(trial)
        return seen[trial.number]

    state = run(strategy, begun(strategy), Crowd(value=some))
    assert all((r.failed or "").startswith("the value was") == (r.trial.number % 3 == 0) for r in state.records)
    assert best(state).trial.number % 3


def through_json(state):
    return contract.from_json(contract.to_json(state))


def through_pickle(state):
    return pickle.loads(pickle.dumps(state))


@pytest.mark.parametrize("carried", [through_json, through_pickle])
def test_a_study_that_breaks_off_goes_on_exactly(strategy, carried):
    module, crowd = strategy[0], Crowd(workers=4, order=1, fails=0.2)
    here = there = begun(strategy)
    draws = random.Random(7)
    for _ in range(12):
        here, there = module.ask(here)[1], module.ask(carried(there))[1]
        assert here == there == carried(here)
        if (out := contract.waiting(here)) and draws.random() < 0.7:
            trial = out[draws.randrange(len(out))]
            value = bowl(trial) if trial.number % 4 else math.nan
            here, there = tell(here, trial, value), tell(carried(there), trial, value)
    assert run(strategy, here, crowd) == run(strategy, carried(there), crowd)


def test_the_same_seed_gives_the_same_study_and_another_another(strategy, untouched_global_state):
    once, again, other = (run(strategy, begun(strategy, seed=seed)) for seed in (5, 5, 6))
    assert once == again
    assert [record.trial for record in once.records] != [record.trial for record in other.records]


def test_the_default_dtype_changes_nothing(strategy):
    before = run(strategy, begun(strategy))
    torch.set_default_dtype(torch.float64)
    try:
        assert run(strategy, begun(strategy)) == before
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_default_device_changes_nothing(strategy):
    before = run(strategy, begun(strategy))
    grid._shuffled.cache_clear()
    with torch.device("meta"):  # as after torch.set_default_device("cuda"), where there is one
        assert run(strategy, begun(strategy)) == before


def test_asking_and_telling_leave_the_old_state_as_it_was(strategy):
    module, start = strategy[0], begun(strategy)
    before = contract.to_json(start)
    trial, asked = module.ask(start)
    kept = contract.to_json(asked)
    tell(asked, trial, 1.0)
    trial.params["lr"] = 7.0
    assert contract.to_json(start) == before and contract.to_json(asked) == kept


def test_a_space_of_one_point_and_a_constant_value_are_fine(strategy):
    state = run(strategy, begun(strategy, POINT), Crowd(3, value=lambda trial: 1.0))
    assert all(record.trial.params == {"x": 2.0, "n": 3, "c": "only"} for record in state.records)
    assert best(state).value == 1.0
    assert best(run(strategy, begun(strategy), Crowd(value=lambda trial: 0))).value == 0.0


def test_equal_trials_are_told_apart_by_number(strategy):
    state = begun(strategy, Space({"c": Categorical((1, 2))}))
    assert len(run(strategy, state, Crowd(2, value=lambda trial: trial.params["c"])).records) >= 2


def test_what_was_not_asked_or_is_told_cannot_be_told(strategy):
    trial, state = strategy[0].ask(begun(strategy))
    told = tell(state, trial, 1.0)
    with pytest.raises(ValueError, match="tell: trial must not have been told before, got number 0 again"):
        tell(told, trial, 1.0)
    for stranger in (trial._replace(number=1), trial._replace(params={}), trial._replace(resource=99), -1, None):
        with pytest.raises(ValueError, match="tell: trial must be one that was asked"):
            tell(state, stranger, 1.0)
    for bad in (None, "1", True, torch.zeros(2), 1j):
        with pytest.raises(ValueError, match="tell: value must be a number, or failed the cause"):
            tell(state, trial, bad)
    with pytest.raises(ValueError, match="tell: failed must be None or say the cause"):
        tell(state, trial, 1.0, failed="")


def test_a_state_of_another_strategy_and_bad_seeds_are_refused(strategy):
    module = strategy[0]
    other = random_search if module is not random_search else grid
    state = begun(STRATEGIES["random_search" if other is random_search else "grid"])
    for act in (module.ask, module.finished):
        with pytest.raises(ValueError, match="must come from"):
            act(state)
        with pytest.raises(ValueError, match="must come from"):
            act(None)
    for seed in (-1, 2**64, 0.5, None, True):
        with pytest.raises(ValueError, match="seed must be"):
            begun(strategy, seed=seed)
    with pytest.raises(ValueError, match="space must be a Space"):
        begun(strategy, {"x": Float(0, 1)})


def test_every_strategy_gives_the_same_tell(strategy):
    assert strategy[0].tell is tell and {"ask", "finished", "init", "tell"} <= set(strategy[0].__all__)


def test_the_best_is_of_the_largest_resource_and_the_earliest_of_equals():
    state = contract.start("x", SPACE, {}, seed=0)
    for resource, value in ((1, 0.1), (3, 0.5), (3, 0.4), (3, 0.4), (9, math.nan)):
        trial, state = contract.add(state, {}, resource=resource)
        assert contract.loss(state.records[-1]) == math.inf
        state = tell(state, trial, value)
    assert best(state).trial.number == 2 and contract.loss(best(state)) == 0.4
    assert best(contract.start("x", SPACE, {}, seed=0)) is None


def test_a_study_is_told_numbers_of_any_kind():
    for value in (1, 1.0, torch.tensor(1.0), torch.ones(1, 1, requires_grad=True)):
        trial, state = contract.add(contract.start("x", SPACE, {}, seed=0), {})
        assert type(tell(state, trial, value).records[0].value) is float
    assert isinstance(trial, Trial) and contract.waiting(state) == [trial]
    failed = tell(state, trial, 3.0, failed="out of memory").records[0]
    assert failed.value is None and failed.failed == "out of memory"


def test_generators_differ_by_seed_and_number():
    drawn = {
        contract.generator(contract.start("x", SPACE, {}, seed=seed), number).initial_seed()
        for seed in (0, 1, 2, 2**63, 2**64 - 1)
        for number in range(100)
    }
    assert len(drawn) == 500


@pytest.mark.parametrize("text", ["", "null", "{}", '{"records": [3]}'])
def test_what_is_no_state_is_refused(text):
    with pytest.raises(ValueError, match="from_json: text must be a state that to_json wrote"):
        contract.from_json(text)
