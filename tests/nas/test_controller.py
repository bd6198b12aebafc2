"""The controller as a strategy: anchors, a pure function of the study, replay, chains."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from labsupport.experiments import seeded
from labsupport.nas import cells, chain_controller, chains, controller, learning
from labsupport.nas.controller import Learning
from labsupport.search import contract
from labsupport.search.space import Categorical, Integer, Space

REWARDS = torch.rand(750, dtype=torch.float64, generator=seeded(0))
CHAINS = chains.search_space(3)


def _played(strategy, state, value, *, forget=False):
    rows = []
    while not strategy.finished(state):
        if forget:
            learning._known.clear()
        trial, state = strategy.ask(state)
        rows.append(trial.params)
        state = strategy.tell(state, trial, value(trial))
    return rows, state


def _value(trial):
    return -float(REWARDS[cells.row(trial.params)])


def test_anchors_against_numpy():
    draws = np.random.default_rng(0)
    previous, current, w_prev, w_curr, v = (draws.normal(size=shape) for shape in ((4, 3), 3, (5, 3), (5, 3), 5))
    expected = [1 / (1 + np.exp(-v @ np.tanh(w_prev @ h + w_curr @ current))) for h in previous]
    ours = controller.anchor_probabilities(*map(torch.from_numpy, (previous, current, w_prev, w_curr, v)))
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("at", range(5))
def test_anchors_refuse_shapes(at):
    given = [torch.zeros(shape) for shape in ((4, 3), (3,), (5, 3), (5, 3), (5,))]
    given[at] = torch.zeros(7, 8)
    with pytest.raises(ValueError, match=r"anchor_probabilities: shapes must be \(j, h\)"):
        controller.anchor_probabilities(*given)


@pytest.mark.parametrize("wrong", [[0.0, 0.0, 0.0], np.zeros(3), torch.zeros(3, dtype=torch.int64)])
def test_anchors_refuse_what_is_no_tensor_of_floating_point(wrong):
    given = [torch.zeros(shape) for shape in ((4, 3), (5, 3), (5, 3), (5,))]
    with pytest.raises(ValueError, match="anchor_probabilities: all must be tensors of floating point, got "):
        controller.anchor_probabilities(given[0], wrong, *given[1:])


def test_a_study_is_a_function_of_what_was_asked_and_told():
    """Remembered or learnt again from the beginning, as it is or through JSON, the trials are the same."""
    begin = controller.init(cells.SPACE, num_trials=12, learning=Learning(lr=0.1), seed=3)
    first, state = _played(controller, begin, _value)
    assert _played(controller, begin, _value, forget=True)[0] == first
    cut = contract.from_json(contract.to_json(replace(state, records=state.records[:7])))
    assert _played(controller, cut, _value)[0] == first[7:]
    other = _played(controller, begin, lambda trial: -_value(trial))[0]
    assert other[:2] == first[:2]
    assert other != first


def test_what_is_remembered_is_what_is_learnt():
    """A study whose last result is another one is not taken for the one that is known."""
    state = controller.init(cells.SPACE, learning=Learning(lr=0.3), seed=5)
    for _ in range(6):
        trial, state = controller.ask(state)
        before, state = state, controller.tell(state, trial, _value(trial))
    controller.ask(state)
    known = controller._learnt(controller.tell(before, trial, 10.0)).params["heads"]
    learning._known.clear()
    torch.testing.assert_close(controller._learnt(controller.tell(before, trial, 10.0)).params["heads"], known)
    assert not torch.equal(controller._learnt(state).params["heads"], known)


def test_trials_that_wait_are_no_lesson():
    state = controller.init(cells.SPACE, learning=Learning(lr=0.5), seed=0)
    asked = []
    for _ in range(4):
        trial, state = controller.ask(state)
        asked.append(trial)
    for trial in (asked[1], asked[2], asked[3]):
        state = controller.tell(state, trial, _value(trial))
    late = controller.ask(state)[0]
    learning._known.clear()
    assert controller.ask(state)[0] == late
    whole = controller.tell(state, asked[0], _value(asked[0]))
    filled = controller.ask(whole)[0]
    learning._known.clear()
    assert controller.ask(whole)[0] == filled != late


def test_nan_is_told_as_failed_and_teaches_nothing():
    state = controller.init(cells.SPACE, num_trials=5, seed=1)
    _, ended = _played(controller, state, lambda trial: math.nan)
    assert all(record.failed == "the value was nan" and record.value is None for record in ended.records)
    assert contract.best(ended) is None
    blind = controller.replay(cells.SPACE, torch.full((750,), torch.nan), num_trials=5, seeds=[1])
    assert [cells.row(record.trial.params) for record in ended.records] == blind[0].tolist()


def test_replay_is_the_study_many_times():
    rewards = torch.stack([REWARDS, REWARDS.flip(0), REWARDS.where(REWARDS > 0.2, torch.nan)])
    how = Learning(lr=0.1, entropy_weight=0.01, width=8)
    rows = controller.replay(cells.SPACE, rewards, num_trials=25, learning=how, seeds=[4, 5, 6])
    for run, seed in enumerate((4, 5, 6)):
        begin = controller.init(cells.SPACE, num_trials=25, learning=how, seed=seed)
        played, _ = _played(controller, begin, lambda trial: -float(rewards[run, cells.row(trial.params)]))  # noqa: B023
        assert [cells.row(code) for code in played] == rows[run].tolist()


def test_it_learns():
    rows = controller.replay(cells.SPACE, REWARDS, num_trials=150, seeds=range(20))
    assert REWARDS[rows[:, -25:]].mean() > REWARDS.mean() + 0.15


@pytest.mark.parametrize(("space", "message"), [
    (Space({"n": Integer(1, 3)}), "Categorical dimensions alone"),
    (Space({"a": Categorical((0, 1)), "b": Categorical((0, 1))}, when={"b": ("a", (1,))}), "always exist"),
])  # fmt: skip
def test_other_spaces_are_refused(space, message):
    with pytest.raises(ValueError, match=message):
        controller.init(space, seed=0)


def test_the_controller_refuses():
    with pytest.raises(ValueError, match="num_trials must be an integer >= 1"):
        controller.init(cells.SPACE, num_trials=0, seed=0)
    with pytest.raises(ValueError, match="lr must be > 0"):
        controller.init(cells.SPACE, learning=Learning(lr=0.0), seed=0)
    with pytest.raises(ValueError, match=r"replay: rewards must be \(750,\)"):
        controller.replay(cells.SPACE, torch.rand(3), num_trials=2, seeds=[0])
    with pytest.raises(ValueError, match="controller: state must come from"):
        controller.ask(chain_controller.init(CHAINS, seed=0))
    assert controller.policy_for(cells.SPACE, Learning(width=3)).sizes == (5, 2, 5, 3, 5)


def _odd(trial):
    """Minus the share of filters of side 3, plus that of anchors."""
    chain = chains.decode(trial.params)
    anchors = [anchor for layer in chain.layers for anchor in layer.anchors]
    return -sum(layer.kernel == 3 for layer in chain.layers) / len(chain.layers) - sum(anchors) / max(1, len(anchors))


def test_chains_grow_deeper_and_better():
    quick = Learning(lr=0.05)
    begin = chain_controller.init(CHAINS, num_trials=90, first_layers=1, grow_every=20, learning=quick, seed=0)
    played, state = _played(chain_controller, begin, _odd)
    assert [code["depth"] for code in played] == [1] * 20 + [2] * 20 + [3] * 50
    assert chain_controller.layers_at(state, 39) == 2
    values = [record.value for record in state.records]
    assert sum(values[-15:]) / 15 < sum(values[:15]) / 15 - 0.5
    assert chain_controller.ask(state)[0] is None


def test_chains_are_a_function_of_what_was_told():
    begin = chain_controller.init(CHAINS, num_trials=10, grow_every=4, seed=2)
    first, state = _played(chain_controller, begin, _odd)
    assert _played(chain_controller, begin, _odd, forget=True)[0] == first
    cut = contract.from_json(contract.to_json(replace(state, records=state.records[:6])))
    assert _played(chain_controller, cut, _odd)[0] == first[6:]


def test_a_certain_anchor_leaves_the_weights_finite():
    state = chain_controller.init(CHAINS, num_trials=25, first_layers=3, learning=Learning(lr=1.0), seed=1)
    read = lambda trial: sum(value for name, value in trial.params.items() if "anchor" in name) / 3  # noqa: E731
    _, state = _played(chain_controller, state, lambda trial: -read(trial))
    params = chain_controller._learnt(state).params
    assert all(value.isfinite().all() for value in params.values())
    assert params["v"].abs().sum() > 40  # beyond that the sigmoid is 1


def test_log_probabilities_of_chains_sum_to_one():
    """Over all chains of two layers of few choices each, by enumeration."""
    state = chain_controller.init(CHAINS, learning=Learning(width=4), seed=0)
    params = {name: 8 * value for name, value in chain_controller._learnt(state).params.items()}
    assert params["w_prev"].any()
    total, names = 0.0, [name for name in chains.search_space(2).dims if name != "depth"]
    sizes = [len(CHAINS.dims[name].choices) for name in names]
    for places in np.ndindex(*sizes):
        code = dict(zip(names, places, strict=True))
        pick = lambda asked, _, code=code: torch.tensor([code[name] for name in asked])  # noqa: E731
        total += float(chain_controller._walk(params, 2, pick)[0].exp())
    assert total == pytest.approx(1, abs=1e-10)


def test_a_high_score_of_an_anchor_means_that_it_is_read():
    """States are positive in all entries where the gates are open, and so are then the scores."""
    state = chain_controller.init(CHAINS, learning=Learning(width=4), seed=0)
    params = chain_controller._learnt(state).params
    gates = torch.tensor([10.0, 0.0, 10.0, 10.0], dtype=torch.float64).repeat_interleave(4)
    unit, seen = torch.eye(4, dtype=torch.float64)[None], []
    params |= {"bias": gates[None], "w_prev": unit, "w_curr": unit, "v": torch.full_like(params["v"], 3.0)}

    def pick(names, log_p):
        seen.extend(log_p[:, 1].exp().tolist() if "anchor" in names[0] else [])
        return torch.zeros(len(names), dtype=torch.int64)

    chain_controller._walk(params, 3, pick)
    assert len(seen) == 3
    assert min(seen) > 0.99


def test_gradients_of_chains_by_finite_differences():
    state = chain_controller.init(CHAINS, learning=Learning(width=4, entropy_weight=0.1), seed=0)
    how, draws = chain_controller._policy_of(state), seeded(0)
    params = {name: 5 * value for name, value in chain_controller._learnt(state).params.items()}
    code = chains.encode(chains.Chain((chains.Layer(3, 8, 1, ()), chains.Layer(5, 16, 2, (True,)),
                                       chains.Layer(1, 24, 1, (False, True)))))  # fmt: skip
    pick = lambda names, _: torch.tensor([CHAINS.dims[name].choices.index(code[name]) for name in names])  # noqa: E731
    grads = chain_controller._slope(how, CHAINS, params, code, torch.tensor([0.7], dtype=torch.float64))

    def loss(params):
        log_prob, entropy = chain_controller._walk(params, 3, pick)
        return -float(0.7 * log_prob + 0.1 * entropy)

    for name, value in params.items():
        for place in torch.randint(value.numel(), (5,), generator=draws).tolist():
            step = torch.zeros(value.numel(), dtype=torch.float64)
            step[place] = 1e-5
            ends = [loss({**params, name: value + sign * step.view_as(value)}) for sign in (1, -1)]
            assert float(grads[name].flatten()[place]) == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"space": cells.SPACE}, "space must be one of chains.search_space"),
    ({"first_layers": 4}, "first_layers must be at most the largest depth, 3, got 4"),
    ({"first_layers": 0}, "first_layers must be an integer >= 1"),
    ({"grow_every": 0}, "grow_every must be an integer >= 1"),
    ({"num_trials": 0}, "num_trials must be an integer >= 1"),
])  # fmt: skip
def test_the_controller_of_chains_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        chain_controller.init(**{"space": CHAINS, "seed": 0} | wrong)
