"""The stored repeats on the table of curves: what the strategies spend, and how near the best they come."""

import pytest
import torch

from labsupport.experiments import tables
from labsupport.search import replay

NAME = "search/strategies"


@pytest.fixture(scope="module")
def stored():
    blocks = tables.load(NAME)
    names = blocks[0].keys() - {"first"}
    return {name: torch.cat([torch.tensor(block[name]) for block in blocks]) for name in names}


@pytest.fixture(scope="module")
def objective():
    return replay.curve(replay.load(), seed=0)


def spent(state):
    return sum(replay.epochs(state, record.trial) for record in state.records)


def test_random_search_gets_no_fewer_epochs(objective):
    states = tables.recipe(NAME).alone(0, objective)
    assert spent(states["halving"]) == 456 <= spent(states["random_6"])
    assert spent(states["hyperband"]) == 1581 <= spent(states["random_20"])


def test_waiting_or_not_the_epochs_are_the_same(objective):
    recipe = tables.recipe(NAME)
    for speeds in recipe.SPEEDS.values():
        assert spent(recipe.on_rungs(0, objective, speeds)[0]) == recipe.EPOCHS
        left = recipe.EPOCHS - spent(recipe.asynchronous(0, objective, speeds, num_epochs=recipe.EPOCHS))
        assert 0 <= left < recipe.RESOURCE


def test_halving_and_hyperband_beat_as_many_epochs_of_random_search(stored):
    assert all(len(column) == 500 for column in stored.values())
    assert stored["halving"].mean() <= stored["random_6"].mean() / 2
    better = stored["random_20"] - stored["hyperband"]
    assert better.mean() > 2 * better.std() / 500**0.5


def test_the_first_repeat_is_what_is_stored(stored):
    for name, found in tables.recipe(NAME).played(0).items():
        assert found == pytest.approx(stored[name][0].item(), abs=1e-3)
