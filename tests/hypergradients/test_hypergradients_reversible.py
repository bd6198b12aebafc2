"""Training backwards to the bit."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_hypergradients import flat, make

from labsupport import hypergradients as hg
from labsupport.hypergradients import Problem, hypergradient
from labsupport.hypergradients.reversible import SCALE, _moved, _Rewinding
from labsupport.hypergradients.runs import Run


def small(momentum, num_steps):
    """Three weights and noisy batches, fast enough for thousands of steps."""
    x = torch.randn(num_steps, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    problem = Problem(
        lambda w, h, row: (w["w"] * row).sum().tanh() + hg.log_l2(w, h),
        lambda w: w["w"].square().sum(), {"w": x[0].clone()}, x.__getitem__, num_steps, 0.1 * (1 - momentum), momentum,
    )  # fmt: skip
    return problem, {"w": torch.tensor(-1.0, dtype=torch.float64)}


def rewound(momentum, num_steps):
    problem, hyper = small(momentum, num_steps)
    tape = _Rewinding(Run(problem, hyper, "eager"))
    start = tape.weights.clone(), tape.velocity.clone(), tape.buffer.clone()
    tape.train()
    return problem, tape, start


@pytest.mark.parametrize(("momentum", "spills"), [(0.1, 13), (0.9, 0), (0.95, 0), (0.5, 4), (1 / 3, 6)])
def test_it_comes_back_to_the_bit(momentum, spills):
    problem, tape, start = rewound(momentum, 250)
    assert len(tape.stack) == spills and not torch.equal(tape.weights, start[0])
    assert math.prod(tape.buffer.shape) == sum(value.numel() for value in problem.weights.values())
    for step, _ in tape.back():
        assert 0 <= step < 250
    assert all(torch.equal(one, other) for one, other in zip((tape.weights, tape.velocity, tape.buffer), start))
    assert tape.stack == []


@pytest.mark.parametrize("momentum", [0.9, 0.95])
def test_a_long_run_with_several_spills(momentum):
    _, tape, start = rewound(momentum, 2000)
    assert len(tape.stack) >= 2
    assert len(list(tape.back())) == 2000
    assert all(torch.equal(one, other) for one, other in zip((tape.weights, tape.velocity, tape.buffer), start))


@pytest.mark.parametrize("momentum", [0.1, 0.5, 0.9, 0.95])
def test_the_weights_on_the_way_back_are_those_of_the_way_there(momentum):
    problem, hyper = small(momentum, 80)
    tape, there = _Rewinding(Run(problem, hyper, "eager")), []
    slope = tape._slope
    tape._slope = lambda step: (there.append(tape.weights.clone()), slope(step))[1]
    tape.train()
    there = list(reversed(there))
    tape._slope = slope
    for (_, place), then in zip(tape.back(), there, strict=True):
        assert torch.equal((flat(place) * SCALE).round().long(), then)


@pytest.mark.parametrize("momentum", [0.1, 0.5, 0.9, 0.95])
@pytest.mark.parametrize("num_steps", [1, 20, 300, 2000])
def test_memory_is_the_formula(momentum, num_steps):
    problem, hyper = small(momentum, num_steps)
    tape = _Rewinding(Run(problem, hyper, "eager"))
    for step in range(num_steps):
        tape._damp(step)  # the number of spills does not depend on the values
    numel = tape.weights.numel()
    assert tape.num_bytes <= 1.1 * (math.log2(1 / momentum) / 8 * num_steps * numel + 24 * numel)
    assert tape.num_bytes == 8 * numel * (3 + len(tape.stack))


@given(
    st.lists(st.integers(-(2**50), 2**50), min_size=1, max_size=5), st.integers(0, 2**52),
    st.sampled_from([Fraction(1, 10), Fraction(9, 10), Fraction(19, 20), Fraction(1, 3), Fraction(997, 1000)]),
)  # fmt: skip
def test_a_digit_moved_is_moved_back(velocity, held, share):
    velocity = torch.tensor(velocity)
    buffer = torch.full_like(velocity, held)
    damped, fuller = _moved(velocity, buffer, share.denominator, share.numerator)
    assert (damped.double() - float(share) * velocity.double()).abs().max() <= share.numerator + 4
    assert (fuller >= 0).all()
    back = _moved(damped, fuller, share.numerator, share.denominator)
    assert torch.equal(back[0], velocity) and torch.equal(back[1], buffer)


@pytest.mark.parametrize("momentum", [0, 0.0, lambda hyper, step: torch.tensor(0.5)])
def test_momentum_must_be_a_number_above_zero(momentum):
    with pytest.raises(ValueError, match=r"Reversible: momentum must be a number in \(0, 1\), got"):
        hypergradient(*make(momentum), hg.Reversible())


def test_momentum_must_be_a_fraction():
    with pytest.raises(ValueError, match=r"momentum must be a fraction with a denominator <= 1000, got 0\.90"):
        hypergradient(*make(0.9000001), hg.Reversible())


def test_it_notices_that_training_does_not_repeat():
    problem, hyper = make(0.5)
    generator = torch.Generator().manual_seed(0)

    def batches(step):
        x, y = problem.batches(step)
        return (x + torch.rand(x.shape, generator=generator, dtype=x.dtype) if step else x), y

    with pytest.raises(ValueError, match="Reversible: train_loss and batches must give the same each time"):
        hypergradient(replace(problem, batches=batches), hyper, hg.Reversible())


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e9])
def test_it_stops_at_the_step_whose_gradient_is_out_of_range(bad):
    problem, hyper = make(0.5, num_steps=120)

    def batches(step):
        x, y = problem.batches(step)
        return (x * bad if step == 71 else x), y

    def train_loss(weights, hyper, batch):
        return problem.train_loss(weights, hyper, batch) + (weights["0.weight"] * batch[0].sum()).sum() * 1e-9

    broken = replace(problem, batches=batches, train_loss=train_loss)
    if bad == 1e9:
        broken = replace(broken, train_loss=lambda w, h, b: train_loss(w, h, b) * b[0].abs().max())
    with pytest.raises(FloatingPointError, match="finite and below 262144, got others at step 71: lower the learning"):
        hypergradient(broken, hyper, hg.Reversible())
