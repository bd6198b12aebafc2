"""The table of learning curves, and the clock that plays a study on it."""

import math

import pytest
import torch

from labsupport.search import asha, contract, halving, hyperband, random_search, replay
from labsupport.search.contract import Trial


@pytest.fixture(scope="module")
def table():
    return replay.load()


def test_the_settings_are_all_points_of_the_space():
    every = replay.settings()
    assert len(every) == 512
    assert [replay.row(params) for params in every] == list(range(512))
    assert replay.trained_with(every[0]) == {"lr": 2.0**-12, "momentum": 0.0, "weight_decay": 1e-5, "dropout": 0.0}
    assert replay.trained_with(every[-1]) == {"lr": 8.0, "momentum": 0.875, "weight_decay": 1e-2, "dropout": 0.2}


@pytest.mark.parametrize("params", [{}, {"log2_lr": 4, "log2_memory": 0, "log10_weight_decay": -5, "dropout": 0.0}, {
    "log2_lr": [1], "log2_memory": 0, "log10_weight_decay": -5, "dropout": 0.0}, None])  # fmt: skip
def test_a_setting_that_is_not_in_the_table(params):
    with pytest.raises(ValueError, match="row: params must be a setting of the table"):
        replay.row(params)


def test_the_table_holds_errors(table):
    assert table.valid.shape == (512, 3, 81) and table.test.shape == (512, 3)
    for errors in (table.valid, table.test):
        assert errors.dtype == torch.float64 and errors.min() >= 0 and errors.max() <= 1
    assert table.valid[:, :, -1].mean(1).min() < 0.06  # some setting trains well, and most do not
    assert table.valid[:, :, -1].mean(1).median() > 0.06


def test_a_curve_is_the_tables_row(table):
    objective = replay.curve(table, seed=2)
    params = replay.settings()[300]
    assert objective(Trial(0, params, resource=7)) == table.valid[300, 2, 6]
    assert objective(Trial(0, params)) == table.valid[300, 2, 80]
    for wrong in (0, 82):
        with pytest.raises(ValueError, match="curve: resource must lie in 1 … 81"):
            objective(Trial(0, params, resource=wrong))
    with pytest.raises(ValueError, match="curve: seed must be below 3, got 3"):
        replay.curve(table, seed=3)


def test_one_worker_plays_as_a_loop_does(table):
    objective = replay.curve(table, seed=0)
    state = hyperband.init(table.space, max_resource=81, eta=3, seed=5)
    played, now = replay.play(hyperband, state, objective)
    used = 0
    while not hyperband.finished(state):
        trial, state = hyperband.ask(state)
        used += replay.epochs(state, trial)
        state = hyperband.tell(state, trial, objective(trial))
    assert played == state
    assert now == used


def test_epochs_stay_within_their_limit(table):
    objective = replay.curve(table, seed=0)
    state = random_search.init(table.space, seed=0)
    played, now = replay.play(random_search, state, objective, num_epochs=81 * 6 + 80)
    assert now == 81 * 6 and len(played.records) == 6


def test_workers_share_the_time():
    state, fast = random_search.init(replay.SPACE, num_trials=7, seed=0), (81.0, 81.0, 27.0)
    played, now = replay.play(random_search, state, lambda trial: float(trial.number), speeds=fast)
    assert random_search.finished(played)
    assert now == 3.0  # 0 1 | 2 on the slow one | 3 4 | 5 6
    early, then = replay.play(random_search, state, lambda trial: float(trial.number), speeds=fast, until=2.0)
    assert then == 2.0 and [record.done for record in early.records] == [True, True, False, True, True, False, False]


def test_a_synchronous_rung_waits_for_its_slowest_worker():
    state = halving.init(replay.SPACE, num=2, budget=2, seed=0)
    _, now = replay.play(halving, state, lambda trial: 0.0, speeds=(1.0, 0.25))
    assert now == 4.0
    state = asha.init(replay.SPACE, max_resource=3, num=9, seed=0)
    played, _ = replay.play(asha, state, lambda trial: float(trial.number), speeds=(1.0, 1.0, 1.0))
    assert asha.finished(played) and sum(r.trial.resource == 3 for r in played.records) == 3


def test_regret_is_of_the_setting_that_was_found(table):
    ends = table.valid[:, :, -1].mean(1)
    state = random_search.init(table.space, num_trials=1, seed=0)
    assert math.isnan(replay.regret(table, state))
    trial, state = random_search.ask(state)
    state = contract.tell(state, trial, 0.5)
    assert replay.regret(table, state) == pytest.approx(float(ends[replay.row(trial.params)] - ends.min()), abs=0)


@pytest.mark.parametrize("speeds", [(), (1.0, 0.0), (1.0, math.nan)])
def test_speeds_that_are_none(speeds):
    with pytest.raises(ValueError, match="play: speeds must hold one number > 0 or more"):
        replay.play(random_search, random_search.init(replay.SPACE, seed=0), lambda trial: 0.0, speeds=speeds)
