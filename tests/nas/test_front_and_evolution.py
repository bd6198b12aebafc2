"""Fronts against brute force, and regularized evolution."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from labsupport.experiments import seeded
from labsupport.nas import evolution, front
from labsupport.search import contract
from labsupport.search import space as spaces
from labsupport.search.space import Categorical, Float, Integer, Space

SPACE = Space(
    {"kind": Categorical(("a", "b")), "n": Integer(1, 3), "x": Float(1e-3, 1, log=True), "one": Integer(4, 4)},
    when={"x": ("kind", ("b",))},
)


@given(some.integers(0, 30), some.integers(1, 3), some.integers(0, 2**31))
def test_the_front_is_what_no_other_point_beats(count, aims, seed):
    points = torch.randint(0, 4, (count, aims), generator=seeded(seed))
    rows = points.tolist()
    beats = lambda a, b: all(x <= y for x, y in zip(a, b, strict=True)) and a != b  # noqa: E731
    assert front.non_dominated(points).tolist() == [not any(beats(other, row) for other in rows) for row in rows]


def test_equal_points_and_infinities_stay():
    points = torch.tensor([[1.0, 2.0], [1.0, 2.0], [math.inf, 0.0], [2.0, 2.0]])
    assert front.non_dominated(points).tolist() == [True, True, True, False]


@pytest.mark.parametrize("points", [torch.ones(3), torch.ones(3, 0), torch.ones(2, 2, dtype=torch.complex64), [[1.0]]])
def test_a_front_needs_points(points):
    with pytest.raises(ValueError, match="non_dominated: points must be real numbers of shape"):
        front.non_dominated(points)


def test_a_front_refuses_nan():
    with pytest.raises(ValueError, match="non_dominated: points must not hold NaN"):
        front.non_dominated(torch.tensor([[1.0, math.nan]]))


@given(some.integers(0, 2**31))
def test_a_mutant_differs_in_one_decision(seed):
    draws = seeded(seed)
    parent = spaces.sample(SPACE, generator=draws)
    child = evolution.mutate(SPACE, parent, generator=draws)
    spaces.to_unit(SPACE, child)
    changed = [name for name in parent.keys() & child.keys() if parent[name] != child[name]]
    assert len(changed) == 1
    if changed != ["kind"]:
        assert parent.keys() == child.keys()


def test_mutants_are_drawn_evenly():
    space = Space({"a": Categorical(tuple("abcd")), "b": Categorical((0, 1))})
    draws, parent = seeded(0), {"a": "b", "b": 0}
    found = [tuple(evolution.mutate(space, parent, generator=draws).values()) for _ in range(6000)]
    for mutant, share in {("a", 0): 1 / 6, ("c", 0): 1 / 6, ("d", 0): 1 / 6, ("b", 1): 1 / 2}.items():
        assert found.count(mutant) / 6000 == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 6000))


def test_a_space_of_one_setting_has_no_mutant():
    assert evolution.mutate(Space({"a": Integer(2, 2)}), {"a": 2}, generator=seeded(0)) == {"a": 2}


def _told(state, value):
    trial, state = evolution.ask(state)
    return trial, evolution.tell(state, trial, value(trial))


def test_the_oldest_dies_however_good_it_was():
    """With a tournament of all, each parent is the best of the latest three: the best of all is forgotten."""
    state = evolution.init(SPACE, num_trials=9, population=3, tournament=3, seed=0)
    for _ in range(9):
        _, state = _told(state, lambda trial: float(trial.number))  # ever worse
    for number in range(3, 9):
        parent = state.records[number - 3].trial.params
        child = state.records[number].trial.params
        assert sum(parent.get(name) != child.get(name) for name in ("kind", "n")) + (
            parent["kind"] == child["kind"] and parent.get("x") != child.get("x")
        ) == 1
    assert evolution.finished(state)
    assert evolution.ask(state)[0] is None


def test_failed_trials_are_no_parents():
    state = evolution.init(SPACE, population=2, tournament=2, seed=1)
    for number in range(8):
        _, state = _told(state, lambda trial: math.nan)
        assert state.records[number].failed
    assert contract.best(state) is None


def test_a_simple_function_is_searched_better_than_by_chance():
    space = Space({f"d{i}": Categorical(tuple(range(5))) for i in range(5)})
    value = lambda trial: float(sum(trial.params.values()))  # noqa: E731
    ends = []
    for seed in range(20):
        state = evolution.init(space, num_trials=100, population=10, tournament=4, seed=seed)
        while not evolution.finished(state):
            _, state = _told(state, value)
        ends.append(contract.best(state).value)
    assert sum(ends) / 20 < 2  # the best of 100 drawn ones is 3.4 on average


@pytest.mark.parametrize(("wrong", "message"), [
    ({"population": 1}, "population must be an integer >= 2"),
    ({"population": 4, "tournament": 5}, "tournament must be at most population = 4, got 5"),
    ({"tournament": 0}, "tournament must be an integer >= 1"),
    ({"num_trials": 0}, "num_trials must be an integer >= 1"),
])  # fmt: skip
def test_evolution_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        evolution.init(SPACE, seed=0, **wrong)
