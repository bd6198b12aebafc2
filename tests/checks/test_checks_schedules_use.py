"""What the checks of page `what_to_use` call right is what the package's optimizers do, and what statistics says."""

import pytest
import torch
from scipy import stats

from labsupport import checks, optimizers
from labsupport.checks.schedules import what_to_use as schedules_use


def average_weights(num_steps, start):
    """Written another way: by counting the places that each gradient has moved."""
    places = torch.arange(start + 1, num_steps + 1)
    return (torch.arange(num_steps)[:, None] < places).double().mean(1)


def schedule_free_step(x, z, gradient, t, lr, beta):
    z = z - lr * gradient(z + beta * (x - z))
    return x + (z - x) / (t + 1), z


def paired_losses(valid, test):
    at = valid.mean(2).argmin(1)
    first = test[0, at[0]]
    each = [test[i, place] - first for i, place in enumerate(at)]
    means = torch.stack([difference.mean() for difference in each])
    errors = torch.tensor([stats.sem(difference.numpy()) for difference in each], dtype=torch.float64)
    return means, errors


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("answer", [average_weights, schedule_free_step, paired_losses])
def test_the_truth_is_accepted(answer, seed):
    assert getattr(checks.schedules, answer.__name__)(answer, seed).status == "correct"


@pytest.mark.parametrize(("num_steps", "start"), [(6, 0), (10, 5), (9, 8)])
def test_the_weights_are_those_of_the_packages_average(num_steps, start):
    gradients = torch.randn(num_steps, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    optimizer = optimizers.averaged(optimizers.sgd(), start=start)
    params = {"w": torch.zeros((), dtype=torch.float64)}
    state, settings = optimizer.init(params), {"lr": 0.1, "weight_decay": 0.0}
    for gradient in gradients:
        params, state = optimizer.update({"w": gradient}, state, params, settings)
    expected = -0.1 * (average_weights(num_steps, start) * gradients).sum()
    torch.testing.assert_close(params["w"], expected)


def test_the_step_is_the_packages():
    optimizer = optimizers.schedule_free()
    params = {"w": torch.tensor([1.0, -2.0], dtype=torch.float64)}
    state, settings = optimizer.init(params), {"lr": 0.3, "momentum": 0.8, "weight_decay": 0.0}
    x = z = params["w"]
    for t in range(5):
        place = optimizer.at(params, state, settings)
        params, state = optimizer.update({"w": 0.7 * place["w"]}, state, params, settings)
        x, z = schedule_free_step(x, z, lambda w: 0.7 * w, t, 0.3, 0.8)
        torch.testing.assert_close(params["w"], x)


def test_no_answer_that_is_stored_as_wrong_is_the_truth():
    names = schedules_use.__all__
    assert sorted(names) == ["average_weights", "paired_losses", "schedule_free_step"]
    for name in names:
        assert globals()[name] not in getattr(checks.schedules, name).wrong.values()
