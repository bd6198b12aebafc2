"""Schedules one by one: restarts, exact ends, what composes, and the noise."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labsupport import counters
from labsupport import schedules as S
from labsupport.schedules import elementwise, noise

INIT = 0.3
D = 12


def half(x):
    return 0.5 * (1 + math.cos(math.pi * x))


def restarts(first, t_mul, until=10**12):
    """Steps at which cycles start, summed as integers."""
    start, length, found = 0, first, []
    while start <= until and len(found) < 200:
        found.append(start)
        start, length = start + length, length * t_mul
    return found


@pytest.mark.parametrize("t_mul", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("first", [1, 7, 10, 100])
def test_every_restart_starts_exactly_at_its_peak(first, t_mul):
    schedule = S.cosine_restarts(INIT, first_decay_steps=first, t_mul=t_mul, alpha=0.1)
    starts = restarts(first, t_mul)
    assert [schedule(step) for step in starts] == [INIT] * len(starts)
    assert schedule(torch.tensor(starts)).tolist() == [INIT] * len(starts)
    for start, following in pairwise(starts):
        if following - start > 1:
            last = 0.1 + 0.9 * half((following - start - 1) / (following - start))
            assert math.isclose(schedule(following - 1), INIT * last, rel_tol=1e-12)
            assert schedule(torch.tensor([following - 1, following])).tolist() == [schedule(following - 1), INIT]


def test_peaks_shrink_and_the_floor_stays():
    schedule = S.cosine_restarts(1.0, first_decay_steps=10, t_mul=2, m_mul=0.5, alpha=0.2)
    assert [schedule(step) for step in (0, 10, 30, 70)] == pytest.approx([1, 0.6, 0.4, 0.3], abs=1e-15)


def test_cycles_of_a_fraction_of_a_step_start_where_they_are_whole():
    schedule = S.cosine_restarts(INIT, first_decay_steps=8, t_mul=1.5)
    assert [schedule(step) for step in (0, 8, 20, 38, 65)] == [INIT] * 5
    assert schedule(106) < INIT  # the next start is 105.5


def test_a_steep_cycle_does_not_wait_for_its_predecessors():
    schedule = S.cosine_restarts(INIT, first_decay_steps=1, t_mul=2)
    assert schedule(2**52 - 1) == INIT and schedule(2**52 - 1 + 2**51) == pytest.approx(INIT / 2)


def test_the_ends_are_exact():
    init, end = 0.1, 0.07
    for power in (0.1, 1, 3):
        line = S.polynomial(init, decay_steps=49, end=end, power=power)
        assert line(0) == init and line(49) == line(50) == end
    assert S.polynomial(init, decay_steps=49, end=end, cycle=True)(49 * 10**6) == end
    wave = S.cosine(init, decay_steps=49, alpha=0.7)
    assert wave(0) == init and wave(49) == wave(10**9) == init * 0.7
    ramp = S.triangular(end, init, half_cycle=49)
    assert [ramp(t) for t in (0, 49, 98, 98 * 10**9 + 49)] == [end, init, end, init]
    ramp = S.wsd(init, warmup_steps=49, stable_steps=10, decay_steps=5, end=end)
    assert [ramp(t) for t in (0, 49, 59, 64, 65)] == [0, init, init, end, end]


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_blend_is_exact_at_both_ends(start, end):
    assert elementwise.blend(start, end, 0.0) == start and elementwise.blend(start, end, 1.0) == end


def test_phases_of_no_length():
    line = S.polynomial(INIT, decay_steps=D, end=0)
    only = S.wsd(INIT, warmup_steps=0, stable_steps=0, decay_steps=D)
    assert torch.allclose(only(torch.arange(30)), line(torch.arange(30)), rtol=0, atol=1e-15)
    assert only(0) == INIT and S.piecewise([], [0.2])(5) == 0.2 and S.join([line], [])(3) == line(3)
    assert S.cosine(INIT, decay_steps=1)(1) == 0 and S.triangular(0.0, INIT, half_cycle=1)(1) == INIT


def test_a_boundary_at_zero_gives_way_at_once():
    assert S.piecewise([0], [0.1, 0.2], switch="at")(0) == 0.2
    assert S.join([S.constant(0.1), S.constant(0.2)], [0])(0) == 0.2


def test_a_growing_rate_ends_in_infinity_for_ints_and_tensors():
    growing = S.exponential(1e-6, decay_steps=1, decay_rate=10.0)
    assert growing(3) == pytest.approx(1e-3) and growing(400) == math.inf
    assert growing(torch.tensor([400])).tolist() == [math.inf]
    assert S.exponential(INIT, decay_steps=1, decay_rate=0)(torch.arange(3)).tolist() == [INIT, 0, 0]


def test_the_transformer_s_schedule_is_warmup_and_inverse_square_root():
    width, n = 512, 40
    schedule = S.warmup(S.inverse_sqrt(width**-0.5 * n**-0.5, decay_steps=n), num_steps=n)
    t = np.arange(1, 400, dtype=float)
    expected = width**-0.5 * np.minimum(t**-0.5, t * n**-1.5)  # eq. 3 of the paper
    assert np.abs(schedule(torch.arange(1, 400)).numpy() / expected - 1).max() < 1e-14


def test_composed_schedules_compose():
    inner = S.warmup(S.scale(S.cosine_restarts(INIT, first_decay_steps=4), 2.0), num_steps=3)
    outer = S.join([inner, S.warmup(inner, num_steps=5, start=0.4)], [10])
    steps = torch.arange(60)
    expected = [inner(t) if t < 10 else 0.4 * (1 - (t - 10) / 5) if t < 15 else inner(t - 15) for t in range(60)]
    assert torch.allclose(outer(steps), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15)
    assert S.warmup(S.cosine(INIT, decay_steps=9), num_steps=4)(4) == INIT


def test_the_hash_is_splitmix64():
    """The first two outputs for the state 0, as the generator's authors publish them."""
    outputs = [counters.mix(counters.wrap(counters.GOLDEN * k)) % 2**64 for k in (1, 2)]
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert counters.mix(torch.tensor([counters.GOLDEN])).item() % 2**64 == outputs[0]


def test_the_noise_is_standard_normal_and_independent():
    seeds, steps = 64, torch.arange(4000)
    draws = torch.stack([noise.normal(seed, steps) for seed in range(seeds)])
    n = draws.numel()
    assert abs(draws.mean()) < 4 / math.sqrt(n)
    assert abs(draws.square().mean() - 1) < 4 * math.sqrt(2 / n)
    assert abs(draws.pow(3).mean()) < 4 * math.sqrt(15 / n)
    assert abs(draws.pow(4).mean() - 3) < 4 * math.sqrt(96 / n)
    assert abs((draws[:, 1:] * draws[:, :-1]).mean()) < 4 / math.sqrt(n)
    assert abs((draws[1:] * draws[:-1]).mean()) < 4 / math.sqrt(n)
    quantiles = torch.special.ndtr(draws.flatten().sort().values)
    grid = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    assert (quantiles - grid).abs().max() < 1.95 / math.sqrt(n)  # Kolmogorov and Smirnov, 1 in 1000


def test_the_variance_of_the_noise_fades_as_said():
    """Without a cosine the noise can be read off: it is what is left after the line."""
    steps = torch.arange(200)
    options = {"decay_steps": 100, "initial_variance": 0.5, "variance_decay": 0.55, "num_periods": 0}
    quiet = S.linear_cosine(1.0, decay_steps=100, num_periods=0)(steps)
    draws = torch.stack([S.noisy_linear_cosine(1.0, **options, seed=seed)(steps) for seed in range(400)]) - quiet
    expected = 0.5 / (1 + steps.clamp(max=100)) ** 0.55
    ratio = draws.square().mean(0) / expected
    assert abs(ratio.mean() - 1) < 4 * math.sqrt(2 / draws.numel()) and (ratio - 1).abs().max() < 5 * math.sqrt(2 / 400)
    assert draws[0, 150] != draws[0, 151] and draws[0, 0] != draws[1, 0]


def test_without_variance_it_is_the_quiet_schedule():
    quiet, noisy = S.linear_cosine(INIT, decay_steps=D), S.noisy_linear_cosine(
        INIT, decay_steps=D, initial_variance=0, seed=5
    )  # fmt: skip
    assert [noisy(t) for t in range(30)] == [quiet(t) for t in range(30)]


def test_the_rate_can_be_negative_unless_it_is_clipped():
    steps = torch.arange(100)
    assert S.noisy_linear_cosine(INIT, decay_steps=100, seed=0)(steps).min() < 0
    rates = S.noisy_linear_cosine(INIT, decay_steps=100, seed=0, clip=(0, INIT))(steps)
    assert rates.min() == 0 and rates.max() == INIT
