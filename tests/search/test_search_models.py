"""Bayesian optimization and TPE: what they find, what they never ask again, how a state goes on where it stopped."""

import itertools
import math

import pytest
import torch

from labsupport.search import contract, cube, gaussian_process, space, tpe
from labsupport.search.acquisition import log_improvement_slopes
from labsupport.search.space import Categorical, Float, Integer, Space

STRATEGIES = [gaussian_process, tpe]
MIXED = Space(
    {
        "kind": Categorical(("sgd", "adam", "lion")),
        "lr": Float(1e-5, 1, log=True),
        "momentum": Float(0, 0.99),
        "depth": Integer(1, 5),
        "width": Integer(8, 256, log=True),
        "drop": Float(0, 0.7),
        "fixed": Float(2, 2),
        "norm": Categorical(("batch", "group", "layer")),
        "groups": Integer(1, 3),
    },
    {
        "momentum": ("kind", ("sgd", "lion")),
        "drop": ("depth", (3, 4)),
        "norm": ("depth", (3, 5)),
        "groups": ("norm", ("group",)),
    },
)
SQUARE = Space({"a": Float(0, 1), "b": Float(0, 1)})
FEW = Space({"a": Integer(1, 3), "b": Categorical(("x", "y"))})

both = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda module: module.__name__.rsplit(".", 1)[-1])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def bowl(params):
    return (params["a"] - 0.3) ** 2 + (params["b"] - 0.6) ** 2


def waves(params):
    return math.sin(9 * params["a"]) + math.cos(7 * params["b"])


def mixed(params):
    lr = math.log10(params["lr"])
    best = {"sgd": -1, "adam": -3, "lion": -4}[params["kind"]]
    return (lr - best) ** 2 + 0.1 * (params["depth"] - 3) ** 2 + params.get("drop", 0.5) + params.get("momentum", 0.2)


def begun(strategy, where, *, num_trials=14, num_initial=4, seed=0, **options):
    options |= {"num_candidates": 64} if strategy is gaussian_process else {}
    return strategy.init(where, num_trials=num_trials, num_initial=num_initial, seed=seed, **options)


def searched(strategy, state, objective, *, stop=None):
    """Asks and tells in turn until nothing is left, or `stop` trials have been asked."""
    while len(state.records) != stop:
        trial, state = strategy.ask(state)
        if trial is None:
            break
        value = objective(trial.params)
        state = strategy.tell(state, trial, value, failed="it broke" if value is None else None)
    return state


def asked(state):
    return [record.trial.params for record in state.records]


def test_snap_is_the_way_to_a_setting_and_back_for_many_points_at_once():
    at = torch.rand(400, len(MIXED.dims), generator=seeded(), dtype=torch.float64)
    at[0], at[1] = 0.0, 1.0
    snapped, exists = cube.snap(MIXED, at)
    settings = [space.from_unit(MIXED, row) for row in at]
    assert torch.allclose(snapped, cube.points(MIXED, settings), rtol=0, atol=1e-12)
    assert exists.tolist() == [[name in setting for name in MIXED.dims] for setting in settings]
    again, _ = cube.snap(MIXED, snapped)
    assert torch.allclose(again, snapped, rtol=0, atol=1e-12)


def test_points_are_those_of_to_unit_also_where_none_is_a_choice():
    where = Space({**MIXED.dims, "clip": Categorical((0.5, None, "auto"))}, {**MIXED.when, "clip": ("kind", ("sgd",))})
    settings = [space.sample(where, generator=seeded(i)) for i in range(60)]
    rows = torch.stack([space.to_unit(where, setting) for setting in settings])
    assert torch.allclose(cube.points(where, settings), rows, rtol=0, atol=1e-12)
    assert cube.points(where, []).shape == (0, 10)


@pytest.mark.parametrize("dim", [Integer(2, 6), Integer(1, 9, log=True), Integer(7, 7)])
def test_the_shares_of_integers_tile_the_unit_interval(dim):
    where = Space({"a": dim})
    places = cube.points(where, [{"a": k} for k in range(dim.low, dim.high + 1)])[:, 0]
    low, high = cube.share(dim, places)
    assert low[0].item() == pytest.approx(0, abs=1e-12) and high[-1].item() == pytest.approx(1)
    assert torch.allclose(low[1:], high[:-1])
    for place in (low + 1e-9, high - 1e-9):
        settings = [space.from_unit(where, row)["a"] for row in place[:, None]]
        assert settings == list(range(dim.low, dim.high + 1))


def test_seen_finds_settings_and_none_among_nothing():
    before = torch.tensor([[0.5, 0.25], [0.0, 1.0]], dtype=torch.float64)
    at = torch.tensor([[0.0, 1.0 - 1e-12], [0.5, 0.26], [0.0, 0.25]], dtype=torch.float64)
    assert cube.seen(at, before).tolist() == [True, False, False]
    assert cube.seen(at, before[:0]).tolist() == [False] * 3


@both
def test_it_finds_a_bowl(strategy):
    close = {gaussian_process: 1e-3, tpe: 0.05}[strategy]
    count = {gaussian_process: 20, tpe: 60}[strategy]
    for seed in range(2):
        state = searched(strategy, begun(strategy, SQUARE, num_trials=count, seed=seed), bowl)
        assert contract.best(state).value < close


def test_tpe_beats_random_search_on_a_conditional_space():
    gains = []
    for seed in range(24):
        found = contract.best(searched(tpe, tpe.init(MIXED, num_trials=60, seed=seed), mixed)).value
        draws = seeded(seed)
        gains.append(min(mixed(space.sample(MIXED, generator=draws)) for _ in range(60)) - found)
    gains = torch.tensor(gains)
    assert gains.mean() > 3 * gains.std() / math.sqrt(len(gains))


@both
def test_a_state_goes_on_from_json_as_if_nothing_had_happened(strategy):
    whole = searched(strategy, begun(strategy, MIXED), mixed)
    for stop in (0, 3, 9):
        part = searched(strategy, begun(strategy, MIXED), mixed, stop=stop)
        pending, part = strategy.ask(part)
        part = contract.from_json(contract.to_json(part))
        part = strategy.tell(part, pending, mixed(pending.params))
        assert contract.to_json(searched(strategy, part, mixed)) == contract.to_json(whole)
    other = searched(strategy, begun(strategy, MIXED, seed=1), mixed)
    assert asked(other)[0] != asked(whole)[0] and asked(other)[-1] != asked(whole)[-1]


@both
def test_asking_and_settings_leave_the_state_and_torchs_random_numbers_alone(strategy):
    before = torch.get_rng_state()
    state = searched(strategy, begun(strategy, MIXED), mixed, stop=8)
    text = contract.to_json(state)
    first, second = strategy.ask(state)[0], strategy.ask(state)[0]
    assert first == second and contract.to_json(state) == text
    assert torch.equal(before, torch.get_rng_state())


def test_the_constant_liar_changes_the_proposal():
    state = searched(gaussian_process, begun(gaussian_process, SQUARE, num_trials=40), waves, stop=10)
    batch = []
    for _ in range(6):
        trial, state = gaussian_process.ask(state)
        batch.append(trial)
    at = cube.points(SQUARE, [trial.params for trial in batch])
    assert torch.pdist(at).min() > 0.01, "trials of one batch lie apart"
    assert [trial.number for trial in batch] == list(range(10, 16))
    assert gaussian_process.ask(state)[0].number == 16


def test_a_lie_that_results_have_contradicted_is_not_upheld():
    """Trials are under way where their neighbours were told to be bad: the search must not be drawn there."""
    state = gaussian_process.init(Space({"x": Float(0, 1)}), num_trials=40, seed=0)
    for place in (0.0, 0.1, 0.3, 0.45, 0.6, 0.75, 0.85, 0.9, 0.96):
        trial, state = contract.add(state, {"x": place})
        state = contract.tell(state, trial, (place - 0.5) ** 2)
    for place in (0.65, 0.7):
        _, state = contract.add(state, {"x": place})
    assert abs(gaussian_process.ask(state)[0].params["x"] - 0.5) < 0.05


def test_a_pending_trial_counts_as_bad_for_tpe():
    state = searched(tpe, begun(tpe, SQUARE, num_trials=400), bowl, stop=30)
    alone = cube.points(SQUARE, [tpe.ask(state)[0].params])
    for _ in range(40):
        _, state = tpe.ask(state)
    batch = cube.points(SQUARE, asked(state)[30:])
    assert (batch[1:] != alone).all(dim=1).all()
    assert batch.std(dim=0).min() > 0.05


@both
def test_trials_not_told_never_hold_up_the_next(strategy):
    """Also where nothing at all has been told: the start design goes on."""
    state, trials = begun(strategy, MIXED), []
    for _ in range(14):
        trial, state = strategy.ask(state)
        trials.append(trial)
    assert strategy.ask(state) == (None, state) and not strategy.finished(state)
    points = cube.points(MIXED, [trial.params for trial in trials])
    assert not any(cube.seen(points[i : i + 1], points[:i]).item() for i in range(1, 14))
    for trial in reversed(trials):
        state = strategy.tell(state, trial, 1.0)
    assert strategy.finished(state) and strategy.ask(state) == (None, state)


@both
def test_failed_trials_are_left_out_of_the_model_but_not_asked_again(strategy):
    """All of the better half fails: the search settles at its border, and asks nothing twice."""

    def half(params):
        return None if params["a"] < 0.5 else params["a"] + 0.1 * params["b"]

    state = searched(strategy, begun(strategy, SQUARE, num_trials=40), half)
    failed = [record.failed is not None for record in state.records]
    assert any(failed) and not all(failed[20:])
    assert contract.best(state).value < 0.65
    at = cube.points(SQUARE, asked(state))
    assert not any(cube.seen(at[i : i + 1], at[:i]).item() for i in range(1, len(at)))


def test_few_candidates_do_because_they_are_refined():
    state = gaussian_process.init(SQUARE, num_trials=20, num_initial=4, num_candidates=4, seed=0)
    assert contract.best(searched(gaussian_process, state, bowl)).value < 1e-5


def test_improvement_is_on_the_best_value_told(monkeypatch):
    asked_of = []

    def spied(mean, variance, *, best):
        asked_of.append(float(best))
        return log_improvement_slopes(mean, variance, best=best)

    monkeypatch.setattr(gaussian_process, "log_improvement_slopes", spied)
    state = searched(gaussian_process, begun(gaussian_process, SQUARE), bowl, stop=10)
    values = torch.tensor([record.value for record in state.records], dtype=torch.float64)
    asked_of.clear()
    gaussian_process.ask(state)
    least = gaussian_process._standardized(values).min().item()
    assert asked_of and asked_of == pytest.approx([least] * len(asked_of), abs=0.02)


def test_the_worst_values_are_brought_near():
    y = gaussian_process._standardized(torch.tensor([0.0, 1.0, 2.0, 3.0, 1e9], dtype=torch.float64))
    plain = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0], dtype=torch.float64)  # 2 + (2 − 0)
    assert torch.allclose(y, (plain - plain.mean()) / plain.std(correction=0))


@both
def test_diverged_trainings_do_not_make_the_others_look_alike(strategy):
    state = begun(strategy, SQUARE, num_trials={gaussian_process: 20, tpe: 60}[strategy])
    state = searched(strategy, state, lambda params: bowl(params) + (1e6 if params["a"] > 0.7 else 0))
    assert contract.best(state).value < {gaussian_process: 2e-3, tpe: 0.05}[strategy]


@both
@pytest.mark.parametrize("value", [0.0, 3.5, -1e300, 1e-300, None, math.nan, math.inf])
def test_histories_that_say_nothing_are_searched_all_the_same(strategy, value):
    state = searched(strategy, begun(strategy, MIXED), lambda params: value)
    assert strategy.finished(state) and len(state.records) == 14
    at = cube.points(MIXED, asked(state))
    assert not any(cube.seen(at[i : i + 1], at[:i]).item() for i in range(1, len(at)))
    won = contract.best(state)
    assert won is None if value is None or not math.isfinite(value) else won.value == value


@both
def test_one_value_among_failures_is_no_model_yet(strategy):
    values = iter([1.0] + [None] * 13)
    state = searched(strategy, begun(strategy, SQUARE), lambda params: next(values))
    assert strategy.finished(state) and contract.best(state).trial.number == 0


@both
def test_huge_and_tiny_values_do_not_matter_by_their_scale(strategy):
    plain = searched(strategy, begun(strategy, SQUARE), bowl)
    for scale in (2.0**900, 2.0**-900):
        assert asked(searched(strategy, begun(strategy, SQUARE), lambda p, s=scale: s * bowl(p))) == asked(plain)
    apart = searched(strategy, begun(strategy, SQUARE), lambda p: 1e300 if p["a"] > 0.5 else -1e300)
    assert strategy.finished(apart)


@both
def test_a_space_of_few_settings_is_asked_once_each_and_then_again(strategy):
    state = searched(strategy, begun(strategy, FEW, num_trials=9), lambda p: p["a"] + (p["b"] == "x"))
    settings = {(a, b) for a, b in itertools.product((1, 2, 3), "xy")}
    assert {tuple(params.values()) for params in asked(state)[:6]} == settings
    assert len(state.records) == 9 and strategy.finished(state)
    one = Space({"a": Float(2, 2), "b": Categorical(("x",)), "c": Integer(7, 7)})
    state = searched(strategy, begun(strategy, one, num_trials=6), lambda p: 1.0)
    assert asked(state) == [{"a": 2.0, "b": "x", "c": 7}] * 6


@both
def test_every_setting_is_one_of_the_space(strategy):
    state = searched(strategy, begun(strategy, MIXED, num_trials=25), mixed)
    for params in asked(state):
        space.to_unit(MIXED, params)  # refuses a name or value that is none
        assert type(params["depth"]) is int and type(params["lr"]) is float
    assert {params["kind"] for params in asked(state)} == {"sgd", "adam", "lion"}


@pytest.mark.parametrize(
    "names", [("lr", "momentum"), ("depth", "norm"), ("kind", "width"), ("depth", "drop", "fixed")]
)
def test_what_is_drawn_has_the_parzen_density(names):
    """What even draws give as the mean of f · density, drawing from the density gives as the mean of f."""
    when = {name: rule for name, rule in MIXED.when.items() if name in names and rule[0] in names}
    part = Space({name: MIXED.dims[name] for name in names}, when)
    trials = torch.rand(9, len(names), generator=seeded(), dtype=torch.float64) ** 2
    parzen = tpe._parzen(part, cube.snap(part, trials)[0])
    even, exists = cube.snap(part, torch.rand(40_000, len(names), generator=seeded(1), dtype=torch.float64))
    weight = tpe._log_density(parzen, even, exists).exp()
    assert weight.mean() == pytest.approx(1, abs=4 * weight.std().item() / 200)
    assert weight.min() >= 0.1 - 1e-12, "one of the ten kernels is flat"
    drawn, _ = tpe._drawn(parzen, 40_000, seeded(2))
    for edge in (0.1, 0.2, 0.4, 0.6, 0.8):
        weighted, direct = weight[:, None] * (even < edge), (drawn < edge).double()
        error = ((weighted.var(dim=0) + direct.var(dim=0)) / 40_000).sqrt()
        assert ((weighted.mean(dim=0) - direct.mean(dim=0)).abs() <= 4 * error).all()


def asked_after(histories, **options):
    """The mean of `a` over nine proposals of TPE after trials at (a, value), where a value of None failed."""
    state = begun(tpe, SQUARE, num_trials=99, **options)
    for i, (a, value) in enumerate(histories):
        trial, state = contract.add(state, {"a": a, "b": i / len(histories)})
        state = contract.tell(state, trial, value, failed="it broke" if value is None else None)
    draws = []
    for j in range(9):
        draws.append(tpe.ask(state)[0].params["a"])
        _, state = contract.add(state, {"a": 0.9, "b": j / 9})
    return sum(draws) / 9


def test_the_better_part_is_a_share_of_what_was_told_and_no_failed_trial_belongs_to_it():
    assert asked_after([(0.2 if i < 8 else 0.8, float(i)) for i in range(40)], gamma=0.2) < 0.4
    assert asked_after([(0.2 if i < 10 else 0.8, float(i) if i < 10 else None) for i in range(40)]) < 0.45


@both
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_trials": 0}, "num_trials must be an integer >= 1, got 0"),
        ({"num_initial": 1}, "num_initial must be an integer >= 2, got 1"),
        ({"num_candidates": 0}, "num_candidates must be an integer >= 1, got 0"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
    ],
)
def test_options_that_cannot_be_are_refused(strategy, change, message):
    name = strategy.__name__.rsplit(".", 1)[-1]
    with pytest.raises(ValueError, match=rf"{name}.init: {message}"):
        strategy.init(SQUARE, **({"num_trials": 5, "seed": 0} | change))


def test_other_refusals():
    with pytest.raises(ValueError, match=r"tpe.init: gamma must be a number in \[0, 1\], got 2"):
        tpe.init(SQUARE, num_trials=5, gamma=2, seed=0)
    for function in (tpe.ask, tpe.finished):
        with pytest.raises(ValueError, match=r"tpe: state must come from tpe.init, got one of gaussian_process"):
            function(begun(gaussian_process, SQUARE))
