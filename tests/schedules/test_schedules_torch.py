"""Schedules and torch's schedulers: where they agree, where torch's are wrong, and the adapter between them."""

import io
import warnings

import pytest
import torch
from test_schedules_members import restarts
from torch.optim import lr_scheduler

from labsupport import schedules as S

INIT = 0.3
D = 12


def sgd(lr=1.0):
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)


# The restarts that torch misses, of the first six, by t_mul: a tested fact of the pinned version.
MISSED = {1: [], 2: [], 3: [121], 5: [], 10: [111]}


@pytest.mark.parametrize("first", [1, 7, 10, 100])
@pytest.mark.parametrize("t_mul", MISSED)
def test_torch_asked_for_a_step_misses_some_restarts(t_mul, first):
    optimizer = sgd(INIT)
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, first, t_mul, eta_min=0.01)
    missed = []
    for start in restarts(first, t_mul)[:6]:
        scheduler.step(start)
        if optimizer.param_groups[0]["lr"] != INIT:
            assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
            missed.append(start // first)
    assert missed == MISSED[t_mul]


def followed(make, num_steps, lr=INIT):
    """The rates of a torch scheduler, stepped one by one."""
    optimizer = sgd(lr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own: of an `epoch` that SequentialLR hands to its parts
        scheduler, rates = make(optimizer), []
        for _ in range(num_steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


def warm(optimizer):
    parts = [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=7), lr_scheduler.CosineAnnealingLR(optimizer, D)]
    return lr_scheduler.SequentialLR(optimizer, parts, [7])


L = lr_scheduler
ORACLES = {
    "ExponentialLR": (lambda o: L.ExponentialLR(o, 0.9), S.exponential(INIT, decay_steps=1, decay_rate=0.9), 60),
    "StepLR": (lambda o: L.StepLR(o, D, 0.5), S.exponential(INIT, decay_steps=D, decay_rate=0.5, staircase=True), 60),
    "MultiStepLR": (
        lambda o: L.MultiStepLR(o, [5, 9], 0.1), S.piecewise([5, 9], [0.3, 0.03, 0.003], switch="at"), 60
    ),
    "PolynomialLR": (lambda o: L.PolynomialLR(o, D, 2.0), S.polynomial(INIT, decay_steps=D, end=0, power=2), 60),
    "CosineAnnealingLR": (
        lambda o: L.CosineAnnealingLR(o, D, eta_min=0.03), S.cosine(INIT, decay_steps=D, alpha=0.1), D + 1
    ),
    "CosineAnnealingWarmRestarts": (
        lambda o: L.CosineAnnealingWarmRestarts(o, 3, 3, eta_min=0.03),
        S.cosine_restarts(INIT, first_decay_steps=3, t_mul=3, alpha=0.1), 1100,
    ),
    "CyclicLR triangular": (
        lambda o: L.CyclicLR(o, 0.1, INIT, 6, cycle_momentum=False), S.triangular(0.1, INIT, half_cycle=6), 60
    ),
    "CyclicLR triangular2": (
        lambda o: L.CyclicLR(o, 0.1, INIT, 6, mode="triangular2", cycle_momentum=False),
        S.triangular(0.1, INIT, half_cycle=6, decay=0.5), 60,
    ),
    "SequentialLR": (warm, S.warmup(S.cosine(INIT, decay_steps=D), num_steps=7, start=0.1 * INIT), 7 + D + 1),
}  # fmt: skip


@pytest.mark.parametrize("name", ORACLES)
def test_torch_agrees_where_it_means_the_same(name):
    make, schedule, num_steps = ORACLES[name]
    difference = torch.tensor(followed(make, num_steps), dtype=torch.float64) - schedule(torch.arange(num_steps))
    assert difference.abs().max() <= 1e-12 * INIT


def test_the_cosine_stays_down_and_torch_s_rises_again():
    rates = followed(lambda o: L.CosineAnnealingLR(o, D), 2 * D + 1)
    assert rates[D] == pytest.approx(0, abs=1e-15) and rates[2 * D] == pytest.approx(INIT)
    assert S.cosine(INIT, decay_steps=D)(2 * D) == 0


WAVES = S.warmup(S.cosine_restarts(INIT, first_decay_steps=10, t_mul=3, m_mul=0.9), num_steps=100, start=0.01)


def two_groups(lr=0.07):
    a, b = (torch.zeros(1, requires_grad=True) for _ in range(2))
    return torch.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=lr)


def rates_of(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


@pytest.mark.parametrize("lr", [0.07, 0.0])
def test_the_adapter_gives_the_rates_of_the_schedule_for_10_000_steps(lr):
    optimizer = two_groups(lr)
    scheduler = S.as_lambda_lr(optimizer, WAVES)
    assert isinstance(scheduler, lr_scheduler.LambdaLR)
    expected = WAVES(torch.arange(10_001)).tolist()
    for step in range(10_000):
        assert rates_of(optimizer) == scheduler.get_last_lr() == [WAVES(step)] * 2
        assert abs(WAVES(step) - expected[step]) <= 1e-15
        optimizer.step()
        scheduler.step()


def saved(optimizer, scheduler):
    """A checkpoint as it comes back from a file that may hold no code."""
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("order", [("optimizer", "scheduler"), ("scheduler", "optimizer"), ("scheduler",)])
@pytest.mark.parametrize("late", [False, True])
def test_a_checkpoint_goes_on_with_the_same_rates(order, late):
    optimizer = two_groups()
    scheduler = S.as_lambda_lr(optimizer, WAVES)
    for _ in range(5_000):
        optimizer.step()
        scheduler.step()
    checkpoint, fresh = saved(optimizer, scheduler), two_groups(0.9)
    if late and order[0] == "optimizer":  # its state is loaded before there is a scheduler
        fresh.load_state_dict(checkpoint["optimizer"])
    parts = {"optimizer": fresh, "scheduler": S.as_lambda_lr(fresh, WAVES)}
    for part in order:
        parts[part].load_state_dict(checkpoint[part])
    for step in range(5_000, 10_000):
        assert rates_of(fresh) == parts["scheduler"].get_last_lr() == [WAVES(step)] * 2
        fresh.step()
        parts["scheduler"].step()


def test_a_rate_that_is_a_tensor_stays_one():
    rate = torch.tensor(0.5, dtype=torch.float64)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate, foreach=False)
    scheduler = S.as_lambda_lr(optimizer, WAVES)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == WAVES(1)
    state = scheduler.state_dict()
    state["last_epoch"] = 300
    scheduler.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == WAVES(300)


def test_a_group_that_joins_later_follows_too():
    optimizer = two_groups()
    scheduler = S.as_lambda_lr(optimizer, WAVES)
    optimizer.step()
    optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 9.0})
    scheduler.step()
    assert rates_of(optimizer) == [WAVES(1)] * 3


def test_the_adapter_stops_at_a_rate_that_is_none():
    optimizer = sgd()
    scheduler = S.as_lambda_lr(optimizer, S.exponential(1.0, decay_steps=1, decay_rate=1e200))
    optimizer.step()
    scheduler.step()
    with pytest.raises(ValueError, match=r"as_lambda_lr: schedule\(2\) must be a finite number >= 0, got inf"):
        scheduler.step()
