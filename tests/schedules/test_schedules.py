"""Schedules: TensorFlow 1's formulas, exact restarts, and one table of contracts that every schedule joins.

The references below are written in float64 NumPy from the formulas, apart from the package.
"""

import copy
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labsupport import schedules
from labsupport.schedules import noise
from labsupport.schedules.schedule import Schedule

INIT = 0.3
D = 12  # the horizon of most cases
STEPS = [*range(3 * D + 2), 100, 363, 364, 1000, 10**5]  # further out TensorFlow's own formulas lose digits


# TensorFlow 1, in float64: each of (t,) steps.
def progress(t, staircase=False):
    return np.floor(t / D) if staircase else t / D


def tf_polynomial(t, power, cycle, end=1e-4):
    horizon = D * np.where(t == 0, 1, np.ceil(t / D)) if cycle else D
    t = t if cycle else np.minimum(t, D)
    return (INIT - end) * (1 - t / horizon) ** power + end


def tf_cosine(t, alpha):
    return INIT * ((1 - alpha) * 0.5 * (1 + np.cos(np.pi * np.minimum(t, D) / D)) + alpha)


def tf_linear_cosine(t, periods=0.5, alpha=0.0, beta=0.001, eps=0.0):
    t = np.minimum(t, D)
    return INIT * ((alpha + eps + (D - t) / D) * 0.5 * (1 + np.cos(2 * np.pi * periods * t / D)) + beta)


def tf_restarts(t, first, t_mul, m_mul=1.0, alpha=0.0, index=None):
    """By TensorFlow's logarithm, or with the index of the cycle given."""
    done = t / first
    if t_mul == 1:
        cycle = np.floor(done)
        fraction = done - cycle
    else:
        cycle = np.floor(np.log(1 - done * (1 - t_mul)) / np.log(t_mul)) if index is None else index
        fraction = (done - (1 - t_mul**cycle) / (1 - t_mul)) / t_mul**cycle
    return INIT * ((1 - alpha) * 0.5 * m_mul**cycle * (1 + np.cos(np.pi * fraction)) + alpha)


def cycles(t, first, t_mul):
    """The index of the cycle that each step is in, by adding integers."""
    found = []
    for step in t.astype(object):
        index, start, length = 0, 0, first
        while start + length <= step:
            index, start, length = index + 1, start + length, length * t_mul
        found.append(index)
    return np.array(found, dtype=float)


def hashed(seed, t):
    """splitmix64 in NumPy's uint64, from the state mix(seed), outputs 2t + 1 and 2t + 2; then Box and Muller."""

    def mix(z):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    state, t = mix(np.full(1, seed, np.uint64)), t.astype(np.uint64)
    a, b = (mix(state + np.uint64(0x9E3779B97F4A7C15) * (np.uint64(2) * t + np.uint64(k))) for k in (1, 2))
    u, v = (a >> np.uint64(11)).astype(float), (b >> np.uint64(11)).astype(float)
    return np.sqrt(-2 * np.log((u + 1) / 2**53)) * np.cos(2 * np.pi * v / 2**53)


def tf_noisy(t, seed, variance=1.0, decay=0.55, periods=0.5):
    spread = np.sqrt(variance / (1 + np.minimum(t, D)) ** decay)
    return tf_linear_cosine(t, periods, eps=spread * hashed(seed, t))


def smith(t, low, high, half, decay=1.0):
    cycle = np.floor(1 + t / (2 * half))
    return low + (high - low) * np.maximum(0, 1 - np.abs(t / half - 2 * cycle + 1)) * decay ** (cycle - 1)


def trapezoid(t, shape=lambda x: 1 - x, end=0.0):
    x = np.clip((t - 30) / D, 0, 1)
    return np.where(t < 10, INIT * t / 10, end + (INIT - end) * shape(x))


def half(x):
    return 0.5 * (1 + np.cos(np.pi * x))


@dataclass
class Case:
    """A schedule with its truth; `low` and `high` bound it; `slope` bounds a step's change, except into `jumps`."""

    make: Callable[[], Schedule]
    truth: Callable[[np.ndarray], np.ndarray]
    slope: float = 0.0
    low: float = 0.0
    high: float = INIT
    jumps: Callable[[int], bool] = field(default=lambda t: False)


S = schedules
RATES = {"decay_steps": D, "decay_rate": 0.5}
LOG2 = INIT * math.log(2) / D
STAIRS = {"jumps": lambda t: t % D == 0}
CASES = {
    "constant": Case(lambda: S.constant(INIT), lambda t: np.full(t.shape, INIT), low=INIT),
    "piecewise": Case(
        lambda: S.piecewise([0, 5, 9], [0.1, 0.3, 0.2, 0.05]),
        lambda t: np.select([t <= 0, t <= 5, t <= 9], [0.1, 0.3, 0.2], 0.05),
        low=0.05, jumps=lambda t: t in (1, 6, 10),
    ),
    "piecewise at": Case(
        lambda: S.piecewise([5, 9], [0.3, 0.2, 0.05], switch="at"),
        lambda t: np.select([t < 5, t < 9], [0.3, 0.2], 0.05),
        low=0.05, jumps=lambda t: t in (5, 9),
    ),
    "exponential": Case(lambda: S.exponential(INIT, **RATES), lambda t: INIT * 0.5 ** progress(t), LOG2),
    "exponential staircase": Case(
        lambda: S.exponential(INIT, **RATES, staircase=True), lambda t: INIT * 0.5 ** progress(t, True), **STAIRS
    ),
    "natural_exp": Case(lambda: S.natural_exp(INIT, **RATES), lambda t: INIT * np.exp(-0.5 * t / D), INIT * 0.5 / D),
    "natural_exp staircase": Case(
        lambda: S.natural_exp(INIT, **RATES, staircase=True),
        lambda t: INIT * np.exp(-0.5 * progress(t, True)), **STAIRS,
    ),
    "inverse_time": Case(
        lambda: S.inverse_time(INIT, **RATES), lambda t: INIT / (1 + 0.5 * t / D), INIT * 0.5 / D
    ),
    "inverse_time staircase": Case(
        lambda: S.inverse_time(INIT, **RATES, staircase=True),
        lambda t: INIT / (1 + 0.5 * progress(t, True)), **STAIRS,
    ),
    "inverse_sqrt": Case(
        lambda: S.inverse_sqrt(INIT, decay_steps=D), lambda t: INIT * np.sqrt(D / (t + D)), INIT / 2 / D
    ),
    "polynomial": Case(
        lambda: S.polynomial(INIT, decay_steps=D), lambda t: tf_polynomial(t, 1, False), INIT / D, low=1e-4
    ),
    "polynomial squared": Case(
        lambda: S.polynomial(INIT, decay_steps=D, power=2, end=0.1),
        lambda t: tf_polynomial(t, 2, False, 0.1), 0.4 / D, low=0.1,
    ),
    "polynomial root": Case(
        lambda: S.polynomial(INIT, decay_steps=D, power=0.5), lambda t: tf_polynomial(t, 0.5, False), 0.09, low=1e-4
    ),
    "polynomial cycle": Case(
        lambda: S.polynomial(INIT, decay_steps=D, cycle=True), lambda t: tf_polynomial(t, 1, True), INIT / D,
        low=1e-4, jumps=lambda t: t % D == 1,
    ),
    "cosine": Case(
        lambda: S.cosine(INIT, decay_steps=D, alpha=0.1), lambda t: tf_cosine(t, 0.1), INIT * 1.6 / D, low=0.03
    ),
    "cosine_restarts": Case(
        lambda: S.cosine_restarts(INIT, first_decay_steps=9, t_mul=3, m_mul=0.5, alpha=0.1),
        lambda t: tf_restarts(t, 9, 3, 0.5, 0.1, cycles(t, 9, 3)), INIT * 1.6 / 9, low=0.03,
        jumps=lambda t: t % 9 == 0,
    ),
    "cosine_restarts equal": Case(
        lambda: S.cosine_restarts(INIT, first_decay_steps=9, t_mul=1), lambda t: tf_restarts(t, 9, 1), INIT * 1.6 / 9,
        jumps=lambda t: t % 9 == 0,
    ),
    "cosine_restarts between steps": Case(
        lambda: S.cosine_restarts(INIT, first_decay_steps=5, t_mul=1.3), lambda t: tf_restarts(t, 5, 1.3), INIT,
    ),
    "linear_cosine": Case(
        lambda: S.linear_cosine(INIT, decay_steps=D), tf_linear_cosine, INIT * 2.6 / D, high=INIT * 1.001
    ),
    "linear_cosine waves": Case(
        lambda: S.linear_cosine(INIT, decay_steps=D, num_periods=2, alpha=0.2, beta=0.01),
        lambda t: tf_linear_cosine(t, 2, 0.2, 0.01), INIT * 9 / D, high=INIT * 1.21,
    ),
    "noisy_linear_cosine": Case(
        lambda: S.noisy_linear_cosine(INIT, decay_steps=D, seed=3), lambda t: tf_noisy(t, 3), low=-1.5, high=3,
        slope=5,
    ),
    "noisy_linear_cosine for ever": Case(
        lambda: S.noisy_linear_cosine(
            INIT, decay_steps=D, initial_variance=0.2, variance_decay=1, num_periods=1, seed=2**64 - 1
        ),
        lambda t: tf_noisy(t, 2**64 - 1, 0.2, 1, 1), low=-1.5, high=3, slope=5,
    ),
    "noisy_linear_cosine clipped": Case(
        lambda: S.noisy_linear_cosine(INIT, decay_steps=D, seed=3, clip=(0.01, 0.2)),
        lambda t: np.clip(tf_noisy(t, 3), 0.01, 0.2), low=0.01, high=0.2, slope=0.19,
    ),
    "triangular": Case(
        lambda: S.triangular(0.1, INIT, half_cycle=6), lambda t: smith(t, 0.1, INIT, 6), 0.2 / 6, low=0.1
    ),
    "triangular halved": Case(
        lambda: S.triangular(0.1, INIT, half_cycle=6, decay=0.5), lambda t: smith(t, 0.1, INIT, 6, 0.5), 0.2 / 6,
        low=0.1,
    ),
    "warmup": Case(
        lambda: S.warmup(S.cosine(INIT, decay_steps=D), num_steps=7, start=0.02),
        lambda t: np.where(t < 7, 0.02 + (INIT - 0.02) * t / 7, tf_cosine(np.maximum(t - 7, 0), 0)), INIT / 7,
    ),
    "join": Case(
        lambda: S.join([S.constant(0.2), S.polynomial(INIT, decay_steps=D), S.constant(0.1)], [4, 20]),
        lambda t: np.select([t < 4, t < 20], [0.2, tf_polynomial(np.maximum(t - 4, 0), 1, False)], 0.1), INIT / D,
        low=1e-4, jumps=lambda t: t in (4, 20),
    ),
    "scale": Case(
        lambda: S.scale(S.cosine(INIT, decay_steps=D), 0.5), lambda t: 0.5 * tf_cosine(t, 0), INIT * 0.8 / D
    ),
    "wsd": Case(
        lambda: S.wsd(INIT, warmup_steps=10, stable_steps=20, decay_steps=D),
        lambda t: np.interp(t, [0, 10, 30, 30 + D], [0, INIT, INIT, 0]), INIT / 10,
    ),
    "wsd cosine": Case(
        lambda: S.wsd(INIT, warmup_steps=10, stable_steps=20, decay_steps=D, end=0.1, shape="cosine"),
        lambda t: trapezoid(t, half, 0.1), INIT / 10,
    ),
    "wsd root": Case(
        lambda: S.wsd(INIT, warmup_steps=10, stable_steps=20, decay_steps=D, end=0.1, shape="1-sqrt"),
        lambda t: trapezoid(t, lambda x: 1 - np.sqrt(x), 0.1), 0.06,
    ),
}  # fmt: skip
every = pytest.mark.parametrize("name", CASES)
steps_of_any_size = st.one_of(st.integers(0, 5 * D), st.integers(0, 10**6), st.integers(0, 2**53))


def test_every_schedule_is_in_the_table():
    made = {name for name in schedules.__all__ if name not in ("Schedule", "as_lambda_lr")}
    assert {name.split()[0] for name in CASES} == made


@every
def test_it_equals_its_formula_for_ints_and_for_tensors(name):
    case, schedule = CASES[name], CASES[name].make()
    truth = case.truth(np.array(STEPS, dtype=float))
    assert np.abs(truth - [schedule(step) for step in STEPS]).max() <= 1e-12 * INIT
    assert np.abs(truth - schedule(torch.tensor(STEPS)).numpy()).max() <= 1e-12 * INIT


@every
@given(steps=st.lists(steps_of_any_size, max_size=9))
def test_ints_and_tensors_agree(name, steps):
    schedule = CASES[name].make()
    rates = schedule(torch.tensor(steps, dtype=torch.int64))
    assert rates.dtype == torch.float64 and rates.shape == (len(steps),)
    for step, rate in zip(steps, rates.tolist(), strict=True):
        alone = schedule(step)
        assert type(alone) is float and abs(alone - rate) <= 4e-15


@every
@given(steps=st.permutations([0, 1, 4, 5, 6, D - 1, D, D + 1, 40, 121, 10**9]), skip=st.integers(0, 10))
def test_it_is_pure(name, steps, skip):
    """Any order of calls, repeated, a tensor between them, and a schedule that starts late: the same rates."""
    schedule, before = CASES[name].make(), torch.random.get_rng_state()
    rates = {step: schedule(step) for step in steps}
    schedule(torch.tensor(steps))
    late = CASES[name].make()
    assert [late(step) for step in sorted(steps)[skip:]] == [rates[step] for step in sorted(steps)[skip:]]
    assert [schedule(step) for step in steps] == list(rates.values())
    assert torch.equal(before, torch.random.get_rng_state())


@every
@given(step=steps_of_any_size)
def test_it_stays_in_its_range(name, step):
    case = CASES[name]
    rate = case.make()(step)
    assert case.low - 1e-15 <= rate <= case.high + 1e-15


@every
@given(step=st.one_of(st.integers(1, 6 * D), st.integers(1, 10**6)))
def test_it_changes_little_from_step_to_step_but_where_it_jumps(name, step):
    case, schedule = CASES[name], CASES[name].make()
    if not case.jumps(step):
        assert abs(schedule(step) - schedule(step - 1)) <= case.slope + 1e-15


@every
def test_any_shape_and_any_integer_dtype(name):
    schedule = CASES[name].make()
    steps = torch.arange(6)
    rates = schedule(steps)
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32, torch.uint64):
        assert torch.equal(schedule(steps.to(dtype)), rates)
    assert torch.equal(schedule(steps.view(2, 3)), rates.view(2, 3))
    assert schedule(steps[3]).shape == () and schedule(steps[:0]).shape == (0,)
    assert torch.allclose(schedule(steps.view(2, 3).T), rates.view(2, 3).T, rtol=0, atol=1e-15)
    assert steps.tolist() == list(range(6)) and type(schedule(np.int32(3))) is float


@every
def test_its_repr_makes_it_again(name):
    schedule = CASES[name].make()
    again = eval(repr(schedule), vars(schedules))
    assert repr(again) == repr(schedule) and [again(t) for t in range(50)] == [schedule(t) for t in range(50)]
    assert copy.deepcopy(schedule)(7) == schedule(7)


BAD_STEPS = {
    "step must be an integer >= 0, got -1": -1,
    "step must be an integer >= 0, got 1.0": 1.0,
    "step must be an integer >= 0, got nan": math.nan,
    "step must be an integer >= 0, got True": True,
    "step must be an integer >= 0, got '3'": "3",
    "step must be an integer >= 0, got None": None,
    "step must be an integer >= 0, got [1]": [1],
    "step must be an integer <= 2**53, got 9007199254740993": 2**53 + 1,
    "step must hold integers in 0 … 2**53, got -2": torch.tensor([3, -2]),
    "step must hold integers in 0 … 2**53, got 9007199254740993": torch.tensor([[2**53 + 1]]),
    "step must be an integer or a tensor of integers, got a tensor of torch.float32": torch.ones(2),
    "step must be an integer or a tensor of integers, got a tensor of torch.bool": torch.tensor([True]),
    "step must be an integer or a tensor of integers, got a tensor of torch.complex64": torch.ones(1) * 1j,
}


@every
@pytest.mark.parametrize("message", BAD_STEPS)
def test_steps_that_are_none_are_refused(name, message):
    schedule = CASES[name].make()
    with pytest.raises(ValueError, match=f"^{re.escape(f'{name.split()[0]}: {message}')}$"):
        schedule(BAD_STEPS[message])


# What each argument must be, and what is tried instead.
POSITIVE = ("an integer >= 1", [0, -3, 1.5, 2.0, True, math.nan, None, "9"])
NATURAL = ("an integer >= 0", [-1, 0.5, False, math.nan])
RATE = ("a finite number >= 0", [-0.1, math.nan, math.inf, True, None, "1"])
FRACTION = (r"a number in \[0, 1\]", [-0.1, 1.1, math.nan, True])
FLAG = ("one of True, False", [0, 1, "yes", None])
DECAY = {"init": RATE, "decay_steps": POSITIVE, "decay_rate": RATE, "staircase": FLAG}
LINEAR = {"init": RATE, "decay_steps": POSITIVE, "num_periods": RATE, "alpha": RATE, "beta": RATE}
A_SCHEDULE = ("a Schedule", [0.1, None, math.cos])
ARGUMENTS = {
    "constant": {"value": RATE},
    "exponential": DECAY,
    "natural_exp": DECAY,
    "inverse_time": DECAY,
    "inverse_sqrt": {"init": RATE, "decay_steps": POSITIVE},
    "polynomial": {"init": RATE, "decay_steps": POSITIVE, "end": RATE, "power": RATE, "cycle": FLAG},
    "cosine": {"init": RATE, "decay_steps": POSITIVE, "alpha": FRACTION},
    "cosine_restarts": {
        "init": RATE, "first_decay_steps": POSITIVE, "m_mul": FRACTION, "alpha": FRACTION,
        "t_mul": ("a finite number >= 1", [0.5, 0, -2, math.nan, math.inf]),
    },
    "linear_cosine": LINEAR,
    "noisy_linear_cosine": LINEAR | {
        "initial_variance": RATE, "variance_decay": RATE, "seed": NATURAL,
        "clip": (r"None or a pair \(low, high\)", [0.1, (0.1,), "01", (0, 1, 2)]),
    },
    "triangular": {"low": RATE, "high": ("a finite number >= 0.1", [0.05, math.nan]), "half_cycle": POSITIVE,
                   "decay": FRACTION},
    "warmup": {"schedule": A_SCHEDULE, "num_steps": POSITIVE, "start": RATE},
    "scale": {"schedule": A_SCHEDULE, "factor": RATE},
    "wsd": {
        "peak": RATE, "warmup_steps": NATURAL, "stable_steps": NATURAL, "decay_steps": POSITIVE,
        "end": (r"a number in \[0, 0.3\]", [0.31, -0.1, math.nan]),
        "shape": ("one of 'linear', 'cosine', '1-sqrt'", ["sqrt", 1, None]),
    },
}  # fmt: skip
GOOD = {
    "init": INIT, "value": INIT, "decay_steps": D, "decay_rate": 0.5, "first_decay_steps": D, "seed": 0, "low": 0.1,
    "high": 0.3, "half_cycle": 5, "schedule": S.constant(0.1), "num_steps": 3, "factor": 0.5, "peak": 0.3,
    "warmup_steps": 3, "stable_steps": 3,
}  # fmt: skip
POSITIONAL = ("init", "value", "low", "high", "schedule", "factor", "peak")


def call(function, options):
    placed = [options[name] for name in POSITIONAL if name in options]
    return getattr(schedules, function)(*placed, **{k: v for k, v in options.items() if k not in POSITIONAL})


@pytest.mark.parametrize(
    ("function", "argument", "bad"),
    [(f, a, bad) for f, arguments in ARGUMENTS.items() for a, (_, values) in arguments.items() for bad in values],
)
def test_arguments_are_refused_by_function_name_rule_and_value(function, argument, bad):
    rule = ARGUMENTS[function][argument][0]
    options = {name: GOOD[name] for name in ARGUMENTS[function] if name in GOOD}
    call(function, options)
    with pytest.raises(ValueError, match=f"^{function}: {argument} must be {rule}, got {re.escape(repr(bad))}$"):
        call(function, options | {argument: bad})


def sgd(lr=1.0):
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)


C = S.constant(0.1)
REFUSALS = {
    "piecewise: boundaries must increase strictly, got [5, 3]": lambda: S.piecewise([5, 3], [1, 2, 3]),
    "piecewise: boundaries must increase strictly, got [5, 5]": lambda: S.piecewise([5, 5], [1, 2, 3]),
    "piecewise: boundaries[1] must be an integer >= 0, got 2.5": lambda: S.piecewise([1, 2.5], [1, 2, 3]),
    "piecewise: boundaries[0] must be an integer >= 0, got -1": lambda: S.piecewise([-1], [1, 2]),
    "piecewise: boundaries[0] must be an integer >= 0, got True": lambda: S.piecewise([True], [1, 2]),
    "piecewise: values must be one more than the 1 boundaries, got 3": lambda: S.piecewise([1], [1, 2, 3]),
    "piecewise: values must be one more than the 1 boundaries, got 1": lambda: S.piecewise([1], [1]),
    "piecewise: values[1] must be a finite number >= 0, got -2": lambda: S.piecewise([1], [1, -2]),
    "piecewise: values[0] must be a finite number >= 0, got nan": lambda: S.piecewise([1], [math.nan, 2]),
    "piecewise: switch must be one of 'after', 'at', got 'before'": lambda: S.piecewise([1], [1, 2], switch="before"),
    "join: boundaries must increase strictly, got [5, 3]": lambda: S.join([C, C, C], [5, 3]),
    "join: boundaries[0] must be an integer >= 0, got -1": lambda: S.join([C, C], [-1]),
    "join: schedules must be one more than the 1 boundaries, got 1": lambda: S.join([C], [3]),
    "join: schedules must be one more than the 0 boundaries, got 0": lambda: S.join([], []),
    "join: schedules[1] must be a Schedule, got 0.1": lambda: S.join([C, 0.1], [3]),
    "noisy_linear_cosine: clip[0] must be a finite number >= 0, got -0.1": lambda: S.noisy_linear_cosine(
        0.1, decay_steps=9, seed=0, clip=(-0.1, 1)
    ),
    "noisy_linear_cosine: clip[1] must be a finite number >= 0.5, got 0.1": lambda: S.noisy_linear_cosine(
        0.1, decay_steps=9, seed=0, clip=(0.5, 0.1)
    ),
    "as_lambda_lr: optimizer must be a torch.optim.Optimizer, got 3": lambda: S.as_lambda_lr(3, C),
    "as_lambda_lr: schedule must be a Schedule, got 0.1": lambda: S.as_lambda_lr(sgd(), 0.1),
    "as_lambda_lr: schedule(0) must be a finite number >= 0, got -1.0": lambda: S.as_lambda_lr(
        sgd(), Schedule(lambda step: -1.0, "below()")
    ),
    "normal: seed must be an integer >= 0, got -1": lambda: noise.normal(-1, 3),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        REFUSALS[message]()


@pytest.mark.parametrize("t_mul", [3, 10])
def test_tensorflow_trusts_a_logarithm_and_is_wrong(t_mul):
    """At 121 · T₀ for t_mul 3, 111 · T₀ for 10, its formula in float64 gives the floor in place of the peak."""
    step = np.array([{3: 121, 10: 111}[t_mul] * 7.0])
    assert tf_restarts(step, 7, t_mul, alpha=0.1)[0] == pytest.approx(0.1 * INIT, abs=1e-12)
    assert S.cosine_restarts(INIT, first_decay_steps=7, t_mul=t_mul, alpha=0.1)(int(step[0])) == INIT
