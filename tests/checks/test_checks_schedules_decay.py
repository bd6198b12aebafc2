"""The checks of chapter schedules, pages decay and warmup_and_cycles: right answers of another kind, and refusals."""

import math

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from labsupport import schedules as S
from labsupport.checks import schedules


def floor_by_walking(lr, curvature, noise):
    if lr * curvature >= 2:
        return math.inf
    square = 1.0
    for _ in range(20_000):
        square = (1 - lr * curvature) ** 2 * square + lr**2 * noise**2
    return curvature * square / 2


def packaged_cosine(step, init, decay_steps):
    return S.cosine(init, decay_steps=decay_steps)(step)


def torch_place(step, first, t_mul):
    """torch's scheduler, stepped without an argument, counts rightly."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, first, t_mul)
    cycle = 0
    for _ in range(step):
        optimizer.step()
        scheduler.step()
        cycle += scheduler.T_cur == 0
    return cycle, scheduler.T_cur


def walked_place(step, first, t_mul):
    cycle, start = 0, 0
    while start + first * t_mul**cycle <= step:
        start += first * t_mul**cycle
        cycle += 1
    return [cycle, step - start]


def packaged_triangle(step, low, high, half_cycle):
    return S.triangular(low, high, half_cycle=half_cycle)(step)


def interpolated_triangle(step, low, high, half_cycle):
    return float(np.interp(step % (2 * half_cycle), [0, half_cycle, 2 * half_cycle], [low, high, low]))


def snapshots_by_differences(schedule, num_steps):
    rates = np.array([schedule(step) for step in range(num_steps)])
    signs = np.sign(np.append(np.diff(rates), 1.0))  # the end counts as a rise
    return [t for t in range(1, num_steps) if signs[t] > 0 and signs[t - 1] < 0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (schedules.noise_floor, floor_by_walking),
        (schedules.clamped_cosine, packaged_cosine),
        (schedules.place_in_cycles, walked_place),
        (schedules.triangle_rate, packaged_triangle),
        (schedules.triangle_rate, interpolated_triangle),
        (schedules.snapshot_steps, snapshots_by_differences),
    ],
    ids=["by walking", "the package's cosine", "by sums", "the package's triangle", "numpy's", "by differences"],
)
def test_right_answers_of_another_kind_are_accepted(check, answer, seed):
    report = check(answer, seed)
    assert report.status == "correct", report


@pytest.mark.parametrize(("first", "t_mul"), [(1, 3), (7, 2), (5, 1), (10, 10)])
def test_the_places_are_those_of_torch_stepped_one_by_one(first, t_mul):
    steps = [0, 1, first - 1, first, 3 * first, 4 * first - 1, 13 * first, 40 * first]
    assert [tuple(walked_place(step, first, t_mul)) for step in steps] == [
        torch_place(step, first, t_mul) for step in steps
    ]


@pytest.mark.parametrize("t_mul", [2, 3, 5, 10])
def test_a_logarithm_with_a_little_more_is_refused_too(t_mul):
    """Adding 1e-9 mends the restarts that the rounding misses; with 1e-3 others come too early."""

    def nudged(step, first, factor):
        if factor == 1:
            return divmod(step, first)
        cycle = int(math.log(step / first * (factor - 1) + 1, factor) + 1e-3)
        return cycle, step - first * (factor**cycle - 1) // (factor - 1)

    assert schedules.place_in_cycles(nudged).status == "wrong"


@pytest.mark.parametrize(
    ("check", "answer", "word"),
    [
        (schedules.noise_floor, lambda lr, curvature, noise: noise / curvature, "; you found"),
        (schedules.clamped_cosine, lambda step, init, decay_steps: init, "; you found"),
        (schedules.clamped_cosine, lambda step, init, decay_steps: math.nan, "you found nan"),
        (schedules.place_in_cycles, lambda step, first, t_mul: 3, "Return the pair"),
        (schedules.triangle_rate, lambda step, low, high, half_cycle: low, "; you found"),
        (schedules.snapshot_steps, lambda schedule, num_steps: [], "you found []"),
    ],
    ids=["another formula", "constant", "NaN", "a number", "no triangle", "nothing"],
)
def test_other_wrong_answers_are_refused_with_a_reason(check, answer, word):
    report = check(answer)
    assert report.status == "wrong"
    assert word in report.message
