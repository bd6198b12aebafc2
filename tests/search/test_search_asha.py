"""Asynchronous halving against the algorithm written out, with one worker and with many."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labsupport.search import asha
from labsupport.search.contract import best, tell, waiting
from labsupport.search.space import Float, Space

LINE = Space({"x": Float(0, 1)})


def job(told, promoted, eta, top):
    """`get_job` of Li et al. 2020, algorithm 2: told[k] maps trial to value; the trial and its rung, or None."""
    for k in range(top - 1, -1, -1):
        finite = sorted((value, number) for number, value in told[k].items() if math.isfinite(value))
        candidates = [number for _, number in finite[: len(told[k]) // eta]]
        promotable = [number for number in candidates if number not in promoted[k]]
        if promotable:
            return k, promotable[0]
    return None


@given(workers=st.integers(1, 12), order=st.integers(0, 999), eta=st.integers(2, 4), fails=st.booleans())
def test_every_ask_is_the_algorithm_s(workers, order, eta, fails):
    resources = asha.rungs(1, 30, eta=eta)
    told, promoted = [{} for _ in resources], [set() for _ in resources]
    state, draws = asha.init(LINE, max_resource=30, eta=eta, seed=order), random.Random(order)
    for _ in range(80):
        expected = job(told, promoted, eta, len(resources) - 1)
        trial, state = asha.ask(state)
        if expected is None:
            assert trial.resumes is None and trial.resource == resources[0]
        else:
            rung, number = expected
            assert (trial.resumes, trial.resource) == (number, resources[rung + 1])
            promoted[rung].add(number)
        out = waiting(state)
        draws.shuffle(out)
        for done in out[: draws.randint(1, workers) if len(out) >= workers else 0]:
            value = math.nan if fails and draws.random() < 0.3 else draws.random()
            state = tell(state, done, value)
            told[resources.index(done.resource)][done.number] = value


def counts(state, resources):
    return [sum(record.trial.resource == resource for record in state.records) for resource in resources]


def single(values, eta, num):
    """A study of one worker in which each new setting's value is the next one of `values`, at all resources."""
    state, named, left = asha.init(LINE, max_resource=eta**3, eta=eta, num=num, seed=0), {}, iter(values)
    while not asha.finished(state):
        trial, state = asha.ask(state)
        state = tell(state, trial, named.setdefault(trial.params["x"], next(left) if trial.resumes is None else None))
    return state


@pytest.mark.parametrize("eta", [2, 3, 4])
@pytest.mark.parametrize("num", [1, 7, 27, 50])
def test_one_worker_promotes_exactly_the_top_where_the_best_come_first(eta, num):
    values = list(range(num))
    state = single(values, eta, num)
    size = num
    for resource in asha.rungs(1, eta**3, eta=eta):
        here = [record.value for record in state.records if record.trial.resource == resource]
        assert sorted(here) == values[:size]  # the top ⌊n / η⌋ of the rung below, and no other
        size //= eta


@given(eta=st.integers(2, 4), num=st.integers(1, 60), seed=st.integers(0, 99))
def test_when_one_worker_is_done_the_top_of_every_rung_has_gone_on(eta, num, seed):
    values = random.Random(seed).sample(range(1000), num)
    state = single(values, eta, num)
    resources = asha.rungs(1, eta**3, eta=eta)
    for low, high in itertools.pairwise(resources):
        here, above = (sorted(r.value for r in state.records if r.trial.resource == at) for at in (low, high))
        assert set(here[: len(here) // eta]) <= set(above) <= set(here)
    first, second = counts(state, resources)[:2]
    assert first == num and second >= num // eta


def test_asks_that_wait_for_tells_never_repeat_a_trial():
    state, trials = asha.init(LINE, max_resource=9, seed=0), []
    for _ in range(9):
        trial, state = asha.ask(state)
        trials.append(trial)
    for trial in trials:
        state = tell(state, trial, trial.params["x"])
    asked = []
    for _ in range(6):
        trial, state = asha.ask(state)
        asked.append(trial)
    order = sorted(trials, key=lambda trial: trial.params["x"])
    assert [trial.resumes for trial in asked] == [trial.number for trial in order[:3]] + [None] * 3
    assert len({trial.params["x"] for trial in trials + asked[3:]}) == 12


def test_rungs_are_counted_from_the_top():
    assert asha.rungs(1, 81, eta=3) == [1, 3, 9, 27, 81]
    assert asha.rungs(1, 243, eta=3) == [1, 3, 9, 27, 81, 243]  # a float's logarithm loses one
    assert asha.rungs(2, 81, eta=3) == [3, 9, 27, 81]
    assert asha.rungs(5, 5, eta=2) == [5]
    assert asha.rungs(1, 100, eta=4) == [1, 6, 25, 100]


def test_a_study_ends_with_its_new_settings():
    state = single(list(range(27)), 3, 27)
    assert counts(state, [1, 3, 9, 27]) == [27, 9, 3, 1] and best(state).value == 0


REFUSED = {
    "rungs: min_resource must be": lambda: asha.rungs(0, 9, eta=3),
    "rungs: max_resource must be an integer >= 4, got 3": lambda: asha.rungs(4, 3, eta=3),
    "rungs: eta must be": lambda: asha.init(LINE, max_resource=9, eta=1, seed=0),
    "asha.init: num must be": lambda: asha.init(LINE, max_resource=9, num=0, seed=0),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused_by_message(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()
