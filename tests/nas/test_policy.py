"""The recurrent policy against enumeration and finite differences."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from labsupport.experiments import seeded
from labsupport.nas import policy
from labsupport.nas.policy import Policy

SMALL = Policy((3, 2, 4), width=5)
CODES = torch.tensor(list(itertools.product(range(3), range(2), range(4))))
BOUNDED = replace(SMALL, bounds=(1.1, 0.44, 1.1), temperature=5.0)


def _learner(how=SMALL, runs=2, scale=10.0):
    """Far from the start, where probabilities are far from even."""
    learner = policy.start(how, seeds=range(runs))
    return learner._replace(params={name: scale * value for name, value in learner.params.items()})


def _all(how, params):
    return policy.score(how, params, CODES.expand(len(params["bias"]), -1, -1))


def test_the_cell_is_torchs():
    twin = nn.LSTMCell(4, 3, dtype=torch.float64)
    draws = seeded(0)
    x, h, c = (torch.randn(1, 6, size, dtype=torch.float64, generator=draws) for size in (4, 3, 3))
    weight = torch.cat([twin.weight_ih, twin.weight_hh], 1)[None]
    ours = policy.lstm_cell(x, h, c, weight, (twin.bias_ih + twin.bias_hh)[None])
    for one, other in zip(ours, twin(x[0], (h[0], c[0])), strict=True):
        torch.testing.assert_close(one[0], other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("how", [SMALL, BOUNDED])
def test_probabilities_sum_to_one_and_entropies_to_that_of_the_codes(how):
    """The chain rule: the mean, over codes, of the decisions' entropies is the entropy of the code."""
    found = _all(how, _learner(how).params)
    p = found.log_probs.exp()
    torch.testing.assert_close(p.sum(1), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-12)
    whole = -(p * found.log_probs).sum(1)
    torch.testing.assert_close((p * found.entropy).sum(1), whole, rtol=0, atol=1e-12)
    assert p.std() > 0.001


def test_bounds_hold_every_probability():
    """With logits in ±0.44 an operation of two has at most 1 / (1 + e^−0.88)."""
    how = replace(SMALL, bounds=(0.44, 0.44, 0.44))
    p = _all(how, _learner(how, scale=100.0).params).log_probs.exp().view(2, 3, 2, 4)
    second = p.sum(3) / p.sum((2, 3))[:, :, None]
    assert second.max() <= 1 / (1 + math.exp(-0.88)) + 1e-12
    assert second.max() > 0.65


def test_draws_follow_the_probabilities():
    params, count = _learner(runs=1).params, 20_000
    drawn = policy.decide(SMALL, params, torch.rand(1, count, 3, dtype=torch.float64, generator=seeded(1)))
    again = policy.score(SMALL, params, drawn.choices)
    torch.testing.assert_close(drawn.log_probs, again.log_probs, rtol=0, atol=0)
    p = _all(SMALL, params).log_probs.exp()[0]
    place = (drawn.choices[0] * torch.tensor([8, 4, 1])).sum(1)
    share = torch.bincount(place, minlength=24) / count
    assert ((share - p).abs() <= 4.5 * (p * (1 - p) / count).sqrt()).all()


def _expected(how, params, rewards):
    """Minus the expected reward and weighted entropy of each run, by enumeration."""
    found = _all(how, params)
    p = found.log_probs.exp()
    return -(p * rewards).sum(1) + how.entropy_weight * (p * found.log_probs).sum(1)


def test_gradients_are_those_of_finite_differences():
    learner, draws = _learner(), seeded(2)
    choices = CODES[torch.randint(24, (2, 4), generator=draws)]
    advantages = torch.randn(2, 4, dtype=torch.float64, generator=draws)
    how = replace(SMALL, entropy_weight=0.3)
    grads = policy.gradients(how, learner.params, choices, advantages)

    def loss(params):
        found = policy.score(how, params, choices)
        return float(-(advantages * found.log_probs + 0.3 * found.entropy).mean(1).sum())

    for name, value in learner.params.items():
        for place in torch.randint(value.numel(), (6,), generator=draws).tolist():
            step = torch.zeros(value.numel(), dtype=torch.float64)
            step[place] = 1e-5
            moved = [{**learner.params, name: value + sign * step.view_as(value)} for sign in (1, -1)]
            slope = (loss(moved[0]) - loss(moved[1])) / 2e-5
            assert float(grads[name].flatten()[place]) == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_the_estimate_has_no_bias(baseline):
    """The mean over draws within 3 standard errors of the exact gradient, in a random direction and in all entries."""
    learner, count = _learner(runs=1), 20_000
    rewards = torch.rand(24, dtype=torch.float64, generator=seeded(3))
    leaves = {name: value.detach().requires_grad_() for name, value in learner.params.items()}
    exact = torch.autograd.grad(_expected(SMALL, leaves, rewards).sum(), list(leaves.values()))
    drawn = policy.decide(SMALL, learner.params, torch.rand(1, count, 3, dtype=torch.float64, generator=seeded(4)))
    place = (drawn.choices[0] * torch.tensor([8, 4, 1])).sum(1)
    each = _single_gradients(learner.params, rewards - baseline)
    flat = torch.cat([value.flatten() for value in exact])
    sample = each[place]
    error = sample.std(0) / count**0.5
    direction = torch.randn(len(flat), dtype=torch.float64, generator=seeded(5))
    along = sample @ direction
    assert abs(along.mean() - flat @ direction) <= 3 * along.std() / count**0.5
    live = error > 1e-12
    assert ((sample.mean(0) - flat).abs()[live] <= 5 * error[live]).all()
    mean = policy.gradients(SMALL, learner.params, drawn.choices, (rewards[place] - baseline)[None])
    torch.testing.assert_close(torch.cat([v.flatten() for v in mean.values()]), sample.mean(0), rtol=0, atol=1e-10)


def _single_gradients(params, advantages):
    """The estimate from each code alone, (24, parameters)."""
    rows = [policy.gradients(SMALL, params, CODES[None, k : k + 1], advantages[None, k : k + 1]) for k in range(24)]
    return torch.stack([torch.cat([value.flatten() for value in row.values()]) for row in rows])


def test_a_baseline_without_the_present_reward():
    how, rewards = replace(SMALL, baseline_decay=0.75), [0.5, 0.9, math.nan, 0.1]
    learner, seen = policy.start(how, seeds=[0]), []
    for reward in rewards:
        before = learner
        learner = policy.learn(how, learner, CODES[:1], torch.tensor([reward], dtype=torch.float64))
        seen.append(torch.equal(before.params["heads"], learner.params["heads"]))
    assert seen == [True, False, True, False]  # the first becomes the baseline, NaN teaches nothing
    assert float(learner.baseline) == pytest.approx(0.75 * (0.75 * 0.5 + 0.25 * 0.9) + 0.25 * 0.1)


def test_taught_gets_the_advantage_over_earlier_rewards():
    seen, learner = [], policy.start(SMALL, seeds=[0])

    def slope(advantages):
        seen.append(float(advantages))
        return {name: torch.zeros_like(value) for name, value in learner.params.items()}

    for reward in (0.5, 0.9):
        learner = policy.taught(SMALL, learner, slope, torch.tensor([reward], dtype=torch.float64))
    assert seen == pytest.approx([0.0, 0.4])


def test_runs_do_not_notice_each_other():
    draws = seeded(6)
    choices, rewards = CODES[torch.randint(24, (5, 3), generator=draws)], torch.rand(5, 3, generator=draws).double()
    rewards[2, 1] = math.nan
    together, alone = policy.start(SMALL, seeds=range(3)), [policy.start(SMALL, seeds=[seed]) for seed in range(3)]
    for step in range(5):
        together = policy.learn(SMALL, together, choices[step], rewards[step])
        alone = [policy.learn(SMALL, one, choices[step, r : r + 1], rewards[step, r : r + 1])
                 for r, one in enumerate(alone)]  # fmt: skip
    for name, value in together.params.items():
        torch.testing.assert_close(value, torch.cat([one.params[name] for one in alone]), rtol=0, atol=1e-12)


def test_a_better_code_becomes_likelier():
    how = replace(SMALL, lr=0.05)
    learner, rewards = policy.start(how, seeds=range(4)), torch.linspace(0, 1, 24, dtype=torch.float64)
    before = _all(how, learner.params).log_probs.exp() @ rewards
    draws = seeded(7)
    for _ in range(150):
        made = policy.decide(how, learner.params, torch.rand(4, 1, 3, dtype=torch.float64, generator=draws))
        place = (made.choices[:, 0] * torch.tensor([8, 4, 1])).sum(1)
        learner = policy.learn(how, learner, made.choices[:, 0], rewards[place])
    assert ((_all(how, learner.params).log_probs.exp() @ rewards) > before + 0.3).all()


def test_begun_leaves_biases_at_zero():
    params = policy.begun({"bias": (3,), "w": (4, 5)}, seeds=[0, 1]).params
    assert not params["bias"].any()
    assert np.abs(params["w"].numpy()).max() <= 0.1
    assert not torch.equal(params["w"][0], params["w"][1])


@pytest.mark.parametrize(("wrong", "message"), [
    ({"sizes": ()}, "sizes must name a decision"),
    ({"sizes": (3, 0)}, "sizes must be an integer >= 1"),
    ({"bounds": (1.0,)}, "bounds one for each"),
    ({"width": 0}, "width must be an integer >= 1"),
    ({"lr": 0.0}, "lr must be > 0"),
    ({"temperature": 0.0}, "temperature must be > 0"),
    ({"bounds": (1.0, 0.0, 1.0)}, "bounds must be > 0"),
    ({"baseline_decay": 1.0}, "baseline_decay must be below 1"),
    ({"entropy_weight": -1.0}, "entropy_weight must be"),
])  # fmt: skip
def test_a_policy_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **wrong)


def test_shapes_are_refused():
    params = policy.start(SMALL, seeds=[0]).params
    with pytest.raises(ValueError, match=r"decide: uniforms must have shape \(1, samples, 3\), got \(2, 1, 3\)"):
        policy.decide(SMALL, params, torch.rand(2, 1, 3))
    with pytest.raises(ValueError, match="score: choices must have shape"):
        policy.score(SMALL, params, CODES)


def test_rewards_are_one_for_each_run():
    """Where there are as many runs as samples, advantages of the runs alone would be spread over the samples."""
    learner = policy.start(SMALL, seeds=[0, 1])
    with pytest.raises(ValueError, match=r"gradients: advantages must have shape \(2, 2\), one for each code, got"):
        policy.gradients(SMALL, learner.params, CODES[:4].view(2, 2, 3), torch.ones(2))
    with pytest.raises(ValueError, match=r"taught: rewards must have shape \(2,\), one for each run, got \(1,\)"):
        policy.learn(SMALL, learner, CODES[:2], torch.ones(1))
