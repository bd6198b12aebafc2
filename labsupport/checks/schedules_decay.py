"""Checks of the exercises of chapter `schedules` that belong to the pages `decay` and `warmup_and_cycles`."""

import math
from collections.abc import Callable

import torch

from labsupport import schedules
from labsupport.checks.frame import check

__all__ = ["clamped_cosine", "noise_floor", "place_in_cycles", "snapshot_steps", "triangle_rate"]


def _drawn(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def _whole(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator))


def _close(a: float, b: float) -> bool:
    return a == b or abs(a - b) <= 1e-9 * max(1.0, abs(b))


def _square(lr: float, curvature: float, noise: float) -> float:
    """Stationary E[w²] of w ← w − lr (curvature · w + noise · ξ)."""
    return lr * noise**2 / (curvature * (2 - lr * curvature))


@check(
    wrong={
        "it settles at the minimum": lambda lr, curvature, noise: 0.0,
        "mean square for the loss": lambda lr, curvature, noise: (
            _square(lr, curvature, noise) if lr * curvature < 2 else math.inf
        ),
        "one half forgotten": lambda lr, curvature, noise: (
            2 * _square(lr, curvature, noise) * curvature / 2 if lr * curvature < 2 else math.inf
        ),
        "noise of one step": lambda lr, curvature, noise: curvature * (lr * noise) ** 2 / 2,
        "small rates only": lambda lr, curvature, noise: lr * noise**2 / 4 if lr * curvature < 2 else math.inf,
        "no edge": lambda lr, curvature, noise: curvature * _square(lr, curvature, noise) / 2,
        "noise not squared": lambda lr, curvature, noise: (
            lr * noise / (2 * (2 - lr * curvature)) if lr * curvature < 2 else math.inf
        ),
    }
)
def noise_floor(answer: Callable, generator: torch.Generator) -> str | None:
    """`noise_floor(lr, curvature, noise)`: the mean loss at which w ← w − lr (curvature · w + noise · ξ) ends up."""
    h, noise = _drawn(0.5, 0.9, generator), _drawn(1.5, 3.0, generator)
    lr = _drawn(0.8, 1.2, generator) / h
    got, right = float(answer(lr, h, noise)), h * _square(lr, h, noise) / 2
    if got == 0:
        return "With noise in every step the weight never comes to rest, so its mean loss is not 0."
    if _close(got, right / noise):
        return "Noise of twice the size makes a floor four times as high: it is the variance that adds up."
    if _close(got, 2 * right):
        return "The loss is ½ h w², so one half of h times the mean square."
    if _close(got, 2 * right / h):
        return "That is the mean square of w. The loss is ½ h times it."
    if _close(got, h * (lr * noise) ** 2 / 2):
        return "That is the noise of one step. Earlier ones are forgotten only by a factor (1 − ηh)² each: they add."
    if _close(got, lr * noise**2 / 4):
        return "That holds for small rates. Do not drop the square in (1 − ηh)²: here ηh is near 1."
    if not _close(got, right):
        return f"For η = {lr:.3f}, h = {h:.3f}, noise {noise:.3f} the floor is {right:.4f}; you found {got:.4f}."
    if (got := float(answer(2.5 / h, h, noise))) != math.inf:
        return f"With ηh = 2.5 each step overshoots by more than it corrects: the answer is math.inf, not {got:.3g}."
    return None


@check(
    wrong={
        "climbs again": lambda step, init, decay_steps: init / 2 * (1 + math.cos(math.pi * step / decay_steps)),
        "starts anew": lambda step, init, decay_steps: (
            init / 2 * (1 + math.cos(math.pi * (step % decay_steps) / decay_steps))
        ),
        "half the height": lambda step, init, decay_steps: (
            init / 4 * (1 + math.cos(math.pi * min(step, decay_steps) / decay_steps))
        ),
        "full period": lambda step, init, decay_steps: (
            init / 2 * (1 + math.cos(2 * math.pi * min(step, decay_steps) / decay_steps))
        ),
        "below zero": lambda step, init, decay_steps: init * math.cos(math.pi * min(step, decay_steps) / decay_steps),
        "back to the start": lambda step, init, decay_steps: (
            init if step > decay_steps else init / 2 * (1 + math.cos(math.pi * step / decay_steps))
        ),
    }
)
def clamped_cosine(answer: Callable, generator: torch.Generator) -> str | None:
    """`clamped_cosine(step, init, decay_steps)`: half a cosine from init to 0, then 0."""
    init, horizon = _drawn(0.1, 2.0, generator), _whole(20, 40, generator)
    right = schedules.cosine(init, decay_steps=horizon)
    for step in (0, 1, horizon // 3, horizon // 2, horizon - 1, horizon):
        got = float(answer(step, init, horizon))
        if _close(got, right(step)) and math.isfinite(got):
            continue
        place = f"Step {step} of {horizon}, init {init:.3f}"
        if _close(got, right(step) / 2):
            return f"{place}: your rate is half of what it should be. At step 0 it must be init."
        if step == horizon and _close(got, init):
            return f"{place}: the rate is back at init. It should have arrived at 0: a horizon is no restart."
        if _close(got, init * math.cos(math.pi * step / horizon)):
            return f"{place}: your rate is {got:.3f}, a whole cosine: it will fall below 0. Add 1 to it, then halve."
        if _close(got, init / 2 * (1 + math.cos(2 * math.pi * step / horizon))):
            return f"{place}: your rate is {got:.4f}. It falls twice as fast, and comes back: go half a period, to π."
        if got < -1e-9:
            return f"{place}: the rate is {got:.3f}, which climbs the loss. Add 1 to the cosine, then halve."
        return f"{place}: the rate is {right(step):.4f}; you found {got:.4f}. The cosine goes half a period, to π."
    for step in (horizon + 1, horizon + horizon // 2, 2 * horizon, 5 * horizon):
        got, risen = float(answer(step, init, horizon)), init / 2 * (1 + math.cos(math.pi * step / horizon))
        if got == 0.0 or abs(got) < 1e-12:
            continue
        if _close(got, risen):
            return (
                f"Step {step} is past the horizon {horizon}, your rate is {got:.4f}: it climbs again. Clamp the step."
            )
        return f"Step {step} is past the horizon {horizon}: the rate must stay at 0, and yours is {got:.4f}."
    return None


def _walked(step: int, first: int, t_mul: int) -> tuple[int, int]:
    cycle, start, length = 0, 0, first
    while start + length <= step:
        cycle, start, length = cycle + 1, start + length, length * t_mul
    return cycle, step - start


def _by_logarithm(step: int, first: int, t_mul: int) -> tuple[int, int]:
    if t_mul == 1:
        return step // first, step % first
    cycle = int(math.log(step / first * (t_mul - 1) + 1, t_mul))
    return cycle, step - first * (t_mul**cycle - 1) // (t_mul - 1)


def _rounded_logarithm(step: int, first: int, t_mul: int) -> tuple[int, int]:
    if t_mul == 1:
        return step // first, step % first
    cycle = round(math.log(step / first * (t_mul - 1) + 1, t_mul))
    return cycle, step - first * (t_mul**cycle - 1) // (t_mul - 1)


def _late(step: int, first: int, t_mul: int) -> tuple[int, int]:
    cycle, start, length = 0, 0, first
    while start + length < step:
        cycle, start, length = cycle + 1, start + length, length * t_mul
    return cycle, step - start


def _powers(step: int, first: int, t_mul: int) -> tuple[int, int]:
    cycle, start = 0, 0
    while t_mul > 1 and first * t_mul ** (cycle + 1) <= step:
        cycle += 1
        start = first * t_mul**cycle
    return (cycle, step - start) if t_mul > 1 else (step // first, step % first)


def _by_series(step: int, first: int, t_mul: int) -> tuple[int, int]:
    """The walk for t_mul > 1 by the sum of a geometric series, which divides by t_mul − 1."""
    cycle = 0
    while first * (t_mul ** (cycle + 1) - 1) // (t_mul - 1) <= step:
        cycle += 1
    return cycle, step - first * (t_mul**cycle - 1) // (t_mul - 1)


@check(
    wrong={
        "trusts the logarithm": _by_logarithm,
        "rounds the logarithm": _rounded_logarithm,
        "equal cycles": lambda step, first, t_mul: (step // first, step % first),
        "restarts a step late": _late,
        "starts at the powers": _powers,
        "counts from one": lambda step, first, t_mul: (
            _walked(step, first, t_mul)[0] + 1,
            _walked(step, first, t_mul)[1],
        ),
        "only longer cycles": _by_series,
    }
)
def place_in_cycles(answer: Callable, generator: torch.Generator) -> str | None:
    """`place_in_cycles(step, first, t_mul)`: the cycle, from 0, and the steps since it began."""
    first = _whole(5, 9, generator)
    plain = [(step, first, 2) for step in (0, 1, first - 1, first + 1, 3 * first - 1, 3 * first + 2, 7 * first + 1)]
    equal = [(step, first, 1) for step in (0, first, 3 * first + 2)]
    edges = [
        (length * (t_mul**cycle - 1) // (t_mul - 1) + more, length, t_mul)
        for t_mul in (2, 3, 5, 10) for length in (1, 7, 10, 100, first) for cycle in range(1, 9) for more in (0, -1)
    ]  # fmt: skip
    for case in (*plain, *equal, *edges):
        right, got = _walked(*case), _tried(answer, case)
        if isinstance(got, str):
            return got
        if isinstance(got, tuple | list) and len(got) == 2 and all(_close(float(a), b) for a, b in zip(got, right)):
            continue
        return _complaint_on_place(case, right, got)
    return None


def _tried(answer: Callable, case: tuple[int, int, int]) -> object:
    """The answer, or a complaint that names the cycles for which it fails."""
    try:
        return answer(*case)
    except ArithmeticError as error:
        kind = "equal cycles (t_mul 1)" if case[2] == 1 else f"t_mul {case[2]}"
        raised = f"{type(error).__name__}: {error}"
        return f"For {kind} your function raised {raised}. The sum of a series divides by t_mul − 1."


def _complaint_on_place(case: tuple[int, int, int], right: tuple[int, int], got: object) -> str:
    step, first, t_mul = case
    place = f"Step {step}, first cycle {first}, t_mul {t_mul}: cycle {right[0]}, {right[1]} steps into it"
    if not isinstance(got, tuple | list) or len(got) != 2:
        return f"{place}; return the pair, you returned {got!r}."
    cycle, since = got
    text = f"{place}; you found cycle {cycle}, {since} steps."
    if step == 0 and cycle == 1:
        return f"{text} The first cycle has the number 0."
    if since < 0:
        return f"{text} You are in a cycle that has not begun: rounding to the nearest goes up half of the time."
    if _by_logarithm(*case) != right:
        return f"{text} A logarithm that should be whole comes out a hair below. Add up the lengths, in integers."
    if right[1] == 0 and since > 0:
        return f"{text} The cycle before is over: its last step was the one before this."
    if (cycle, since) == _powers(*case):
        return f"{text} Cycle k does not begin at first · t_mulᵏ but where all cycles before it end."
    if (cycle, since) == (step // first, step % first):
        return f"{text} Each cycle is {t_mul} times as long as the one before."
    return f"{text} A cycle begins where all the cycles before it end: at the sum of their lengths."


def _triangle(step: int, low: float, high: float, half: int, fold: Callable) -> float:
    cycle = 1 + step // (2 * half)
    return low + (high - low) * max(0.0, 1 - fold(step / half - 2 * cycle + 1))


@check(
    wrong={
        "the notes' floor": lambda step, low, high, half_cycle: _triangle(step, low, high, half_cycle, math.floor),
        "nothing folded": lambda step, low, high, half_cycle: _triangle(step, low, high, half_cycle, lambda x: x),
        "rounded": lambda step, low, high, half_cycle: _triangle(step, low, high, half_cycle, lambda x: abs(round(x))),
        "upside down": lambda step, low, high, half_cycle: low + high - _triangle(step, low, high, half_cycle, abs),
        "whole cycle for half": lambda step, low, high, half_cycle: _triangle(step, low, high, 2 * half_cycle, abs),
        "low forgotten": lambda step, low, high, half_cycle: _triangle(step, low, high, half_cycle, abs) - low,
    }
)
def triangle_rate(answer: Callable, generator: torch.Generator) -> str | None:
    """`triangle_rate(step, low, high, half_cycle)`: Smith's triangular rate."""
    low, half = _drawn(0.05, 0.2, generator), _whole(6, 10, generator)
    high = low + _drawn(0.5, 1.0, generator)
    right = schedules.triangular(low, high, half_cycle=half)
    values = {step: float(answer(step, low, high, half)) for step in range(4 * half + 1)}
    for step, got in values.items():
        if _close(got, right(step)):
            continue
        place = f"Step {step}, half a cycle {half} steps, {low:.3f} to {high:.3f}: the rate is {right(step):.3f}"
        text = f"{place}; yours is {got:.3f}."
        if len({round(value, 9) for value in values.values()}) < half:
            beyond = " and goes beyond `high`" if max(values.values()) > high + 1e-9 else ""
            return f"{text} Your rate stands still, jumps{beyond}: nothing inside a cycle needs rounding."
        if max(values.values()) > high + 1e-9:
            return f"{text} Yours goes beyond `high`. How far is step / half_cycle from the peak, on either side?"
        if step == 0 and _close(got, high):
            return f"{text} It begins at the bottom."
        if step == 0 and _close(got, 0.0):
            return f"{text} The triangle stands on `low`, not on 0."
        if _close(got, schedules.triangular(low, high, half_cycle=2 * half)(step)):
            return f"{text} The rate rises for half_cycle steps and falls for as many."
        return text
    return None


def _restarts(rates: list[float]) -> list[int]:
    """The last step of each descent: the rate does not rise after a step unless it fell before; and the last step."""
    fell, found = False, []
    for step in range(len(rates)):
        fell = fell or (step > 0 and rates[step] < rates[step - 1])
        if fell and (step == len(rates) - 1 or rates[step + 1] > rates[step]):
            found.append(step)
            fell = False
    return found


def _rates(schedule: schedules.Schedule, num_steps: int) -> list[float]:
    return schedule(torch.arange(num_steps)).tolist()


@check(
    wrong={
        "at the peaks": lambda schedule, num_steps: [step + 1 for step in _restarts(_rates(schedule, num_steps))],
        "the end forgotten": lambda schedule, num_steps: [
            step for step in _restarts(_rates(schedule, num_steps)) if step < num_steps - 1
        ],
        "only the end": lambda schedule, num_steps: [num_steps - 1],
        "every rise": lambda schedule, num_steps: [
            step for step in range(num_steps)
            if step == num_steps - 1 or schedule(step + 1) > schedule(step)
        ],
        "equal distances": lambda schedule, num_steps: [
            num_steps * (i + 1) // len(_restarts(_rates(schedule, num_steps))) - 1
            for i in range(len(_restarts(_rates(schedule, num_steps))))
        ],
        "beyond the end": lambda schedule, num_steps: _restarts(_rates(schedule, num_steps + 40)),
    }
)  # fmt: skip
def snapshot_steps(answer: Callable, generator: torch.Generator) -> str | None:
    """`snapshot_steps(schedule, num_steps)`: after which steps to keep the weights for an ensemble."""
    first, rise = _whole(8, 14, generator), _whole(3, 6, generator)
    restarts = schedules.cosine_restarts(0.3, first_decay_steps=first, t_mul=2)
    equal = schedules.cosine_restarts(0.3, first_decay_steps=first, t_mul=1)
    cases = {
        "equal cosine cycles": (equal, 3 * first), "cosine cycles, each twice as long": (restarts, 7 * first),
        "cosine cycles, cut short": (restarts, 4 * first), "cycles after a warm-up": (
            schedules.warmup(restarts, num_steps=rise), rise + 3 * first
        ), "triangles": (schedules.triangular(0.0, 0.3, half_cycle=first), 4 * first),
    }  # fmt: skip
    for name, (schedule, num_steps) in cases.items():
        right, got = _restarts(_rates(schedule, num_steps)), [int(step) for step in answer(schedule, num_steps)]
        if got != right:
            return _complaint_on_snapshots(f"{name}, {num_steps} steps", right, got, num_steps)
    return None


def _complaint_on_snapshots(place: str, right: list[int], got: list[int], num_steps: int) -> str:
    text = f"{place}: keep the weights after steps {right}; you have {got}."
    if got and max(got) >= num_steps:
        shifted = got == [step + 1 for step in right]
        why = "there the rate is at its peak again" if shifted else f"the run ends after step {num_steps - 1}"
        return f"{text} Not so late: {why}."
    if got == right[:-1]:
        return f"{text} The end of the run is a snapshot too, the best one."
    if got == right[-1:]:
        return f"{text} That is one network, no ensemble."
    if len(got) > len(right):
        return f"{text} A rate that rises step by step, as in a warm-up, is no restart: it must have fallen before."
    return f"{text} A cycle ends where its rate is lowest, wherever that is."
