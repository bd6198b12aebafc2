"""Halving and Hyperband: their plans against exact arithmetic, their studies against the algorithms written out."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labsupport.counters import seeded
from labsupport.search import halving, hyperband
from labsupport.search.contract import best, loss, tell
from labsupport.search.space import Float, Space

LINE = Space({"x": Float(0, 1)})


def finished(module, state, value):
    while not module.finished(state):
        trial, state = module.ask(state)
        state = tell(state, trial, value(trial))
    return state


@pytest.mark.parametrize("eta", [2, 3, 4])
def test_hyperband_s_plan_is_the_paper_s_in_exact_fractions(eta):
    for most in range(1, 1001):
        highest = max(s for s in range(11) if Fraction(eta) ** s <= most)
        truth = []
        for s in range(highest, -1, -1):
            num = math.ceil(Fraction(highest + 1, s + 1) * Fraction(eta) ** s)
            least = Fraction(most) / Fraction(eta) ** s
            truth.append(
                [(math.floor(num / Fraction(eta) ** i), math.floor(least * Fraction(eta) ** i)) for i in range(s + 1)]
            )
        assert hyperband.plan(most, eta=eta) == truth


def test_hyperband_has_six_brackets_at_243():
    brackets = hyperband.plan(243, eta=3)
    assert len(brackets) == 6 and math.floor(math.log(243, 3)) == 4  # which is what a float's logarithm makes of it
    assert brackets[0] == [(243, 1), (81, 3), (27, 9), (9, 27), (3, 81), (1, 243)] and brackets[-1] == [(6, 243)]
    assert [bracket[0] for bracket in hyperband.plan(81, eta=3)] == [(81, 1), (34, 3), (15, 9), (8, 27), (5, 81)]


@given(most=st.integers(1, 10**6), eta=st.integers(2, 9))
def test_every_bracket_of_hyperband_is_sound(most, eta):
    for bracket in hyperband.plan(most, eta=eta):
        sizes, resources = zip(*bracket, strict=True)
        assert resources[-1] == most and resources[0] >= 1 and sizes[-1] >= 1
        assert list(resources) == sorted(set(resources)) and list(sizes) == sorted(set(sizes), reverse=True)


def test_halving_s_plan_is_the_paper_s_for_all_sizes_to_64():
    for num in range(2, 65):
        rounds = math.ceil(math.log2(num))
        for budget in [num * rounds + extra for extra in (0, 1, 2, 7, num, 100, 1000, 12345)]:
            left, truth = num, []
            for _ in range(rounds):
                truth.append((left, math.floor(Fraction(budget, left * rounds))))
                left = math.ceil(Fraction(left, 2))
            assert left == 1 and truth[-1][0] == 2
            assert halving.plan(num, budget) == truth


@given(num=st.integers(1, 64), extra=st.integers(0, 5000))
def test_halving_spends_no_more_than_its_budget_and_ends_with_one(num, extra):
    least = num * math.ceil(math.log2(num))
    rounds = halving.plan(num, max(least, 1) + extra)
    assert sum(size * units for size, units in rounds) <= max(least, 1) + extra
    assert all(units >= 1 for _, units in rounds) and (rounds[-1][0] + 1) // 2 == 1
    with pytest.raises(ValueError, match="plan: budget must be"):
        halving.plan(num, least - 1)


def test_one_configuration_gets_all():
    assert halving.plan(1, 7) == [(1, 7)]
    assert halving.plan(2, 7) == [(2, 3)]
    assert halving.plan(8, 100) == [(8, 4), (4, 8), (2, 16)]


def sequential(brackets, values, draws):
    """The algorithm as the paper writes it: (configuration, resource) in order; values[r, c], lower is better."""
    asked, fresh = [], iter(range(draws))
    for plan in brackets:
        alive = [next(fresh) for _ in range(plan[0][0])]
        for rung, (size, resource) in enumerate(plan):
            alive = alive if rung == 0 else sorted(alive, key=lambda c: values[plan[rung - 1][1], c])[:size]
            asked += [(c, resource) for c in alive]
    return asked


@pytest.mark.parametrize(
    ("module", "options"),
    [(hyperband, {"max_resource": 27, "eta": 3}), (hyperband, {"max_resource": 21, "eta": 2})]
    + [(halving, {"num": num, "budget": 400}) for num in (1, 2, 5, 16, 37)],
)
def test_a_study_trains_what_the_algorithm_trains(module, options):
    if module is hyperband:
        brackets = hyperband.plan(options["max_resource"], eta=options["eta"])
    else:
        rounds = halving.plan(options["num"], options["budget"])
        totals = torch.tensor([units for _, units in rounds]).cumsum(0).tolist()
        brackets = [[(size, total) for (size, _), total in zip(rounds, totals, strict=True)]]
    for seed in range(5):
        values = torch.rand(1000, 200, generator=seeded(seed)).tolist()
        values = {(r, c): row[c] for r, row in enumerate(values) for c in range(200)}
        names = {}

        def value(trial, values=values, names=names):
            return values[trial.resource, names.setdefault(trial.params["x"], len(names))]

        state = finished(module, module.init(LINE, **options, seed=seed), value)
        found = [(names[record.trial.params["x"]], record.trial.resource) for record in state.records]
        truth = sequential(brackets, values, 200)
        assert found == truth
        spent = sum(
            r.trial.resource - (state.records[r.trial.resumes].trial.resource if r.trial.resumes is not None else 0)
            for r in state.records
        )
        assert module is hyperband or spent == sum(size * units for size, units in rounds) <= options["budget"]


@given(num=st.integers(1, 40), seed=st.integers(0, 99))
def test_halving_finds_the_best_where_ranks_never_change(num, seed):
    state = finished(halving, halving.init(LINE, num=num, budget=300, seed=seed), lambda trial: trial.params["x"])
    assert best(state).trial.params["x"] == min(record.trial.params["x"] for record in state.records)
    assert sum(record.trial.resumes is None for record in state.records) == num


def test_while_a_rung_waits_hyperband_goes_on_with_the_next_bracket():
    state = hyperband.init(LINE, max_resource=9, seed=0)
    trials = []
    while True:
        trial, state = hyperband.ask(state)
        if trial is None:
            break
        trials.append(trial)
    assert [trial.resource for trial in trials] == [1] * 9 + [3] * 5 + [9] * 3  # the first rungs of all brackets
    for trial in trials[9:14]:
        state = tell(state, trial, trial.params["x"])
    trial, state = hyperband.ask(state)
    assert trial.resource == 9 and trial.resumes in range(9, 14)


def test_a_rung_of_failures_ends_a_study_early():
    state = halving.init(LINE, num=8, budget=100, seed=0)
    for number in range(8):
        trial, state = halving.ask(state)
        state = tell(state, trial, 1.0 if number == 5 else math.nan)
    trial, state = halving.ask(state)
    assert (trial.resumes, trial.resource) == (5, 4 + 8)  # the only one that can go on does, at its own share
    assert halving.ask(state)[0] is None and not halving.finished(state)
    state = tell(state, trial, math.nan)
    assert halving.finished(state) and loss(best(state)) == 1.0


REFUSED = {
    "plan: num must be": lambda: halving.plan(0, 1),
    "plan: budget must be an integer": lambda: halving.plan(1, 0),
    "plan: budget must be an integer >= 1": lambda: halving.plan(2, 7.5),
    r"plan: budget must be >= num \* ceil\(log2\(num\)\) = 24, got 23": lambda: halving.plan(8, 23),
    "plan: budget must be >= num": lambda: halving.init(LINE, num=8, budget=23, seed=0),
    "plan: max_resource must be": lambda: hyperband.plan(0, eta=3),
    "plan: eta must be": lambda: hyperband.plan(9, eta=1),
    "plan: eta must be an integer": lambda: hyperband.init(LINE, max_resource=9, eta=2.5, seed=0),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused_by_message(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()
