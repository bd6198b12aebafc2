"""What the checks of pages `momentum` and `clipping` call right is what optimizers do."""

import pytest
import torch

from labsupport import checks, optimizers


def coasting(velocity, lr, momentum):
    place, state = (
        {"w": torch.zeros((), dtype=torch.float64)},
        {"velocity": {"w": torch.tensor(velocity, dtype=torch.float64)}},
    )
    level, settings = {"w": torch.zeros((), dtype=torch.float64)}, {"lr": lr, "momentum": momentum, "weight_decay": 0.0}
    for _ in range(3000):
        place, state = optimizers.momentum().update(level, state, place, settings)
    return place["w"]


def fair_rate(lr, old, new):
    def step(momentum):
        place, slope = {"w": torch.zeros((), dtype=torch.float64)}, {"w": torch.ones((), dtype=torch.float64)}
        settings, state = {"lr": 1.0, "momentum": momentum, "weight_decay": 0.0}, optimizers.momentum().init(place)
        for _ in range(4000):
            before = place["w"]
            place, state = optimizers.momentum().update(slope, state, place, settings)
        return float(before - place["w"])

    return lr * step(old) / step(new)


def clip_by_norm(grads, limit):
    params = [torch.nn.Parameter(torch.zeros_like(grad)) for grad in grads]
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad.clone()
    torch.nn.utils.clip_grad_norm_(params, limit)
    return [param.grad for param in params]


def gathered(grads, sizes, limit):
    rows = torch.cat([grad.expand(size, -1) for grad, size in zip(grads, sizes, strict=True)])  # an example a row
    inner, params = optimizers.clipped_norm(optimizers.sgd()), {"w": torch.zeros_like(grads[0])}
    settings = {"lr": 1.0, "weight_decay": 0.0, "clip_norm": limit}
    return -inner.update({"w": rows.mean(0)}, inner.init(params), params, settings)[0]["w"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("answer", [coasting, fair_rate, clip_by_norm, gathered])
def test_the_truth_is_accepted(answer, seed):
    report = getattr(checks.optimizers, answer.__name__)(answer, seed)
    assert report.status == "correct", report.message
