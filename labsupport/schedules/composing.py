"""Schedules made of schedules. Steps are optimizer updates, not epochs."""

from collections.abc import Sequence
from typing import Literal

from labsupport.remaking import recorded
from labsupport.schedules.cosines import half_cosine
from labsupport.schedules.elementwise import at_least, at_most, blend, choose, real
from labsupport.schedules.schedule import Schedule, check_boundaries, check_schedule
from labsupport.values import check_choice, check_count, check_number

__all__ = ["join", "scale", "warmup", "wsd"]

SHAPES = {"linear": lambda x: 1.0 - x, "cosine": half_cosine, "1-sqrt": lambda x: 1.0 - x**0.5}


@recorded
def warmup(schedule: Schedule, *, num_steps: int, start: float = 0.0) -> Schedule:
    """A line from `start` at step 0 to the schedule's first rate at `num_steps`, then the schedule from its step 0.

    Args:
        schedule: what follows.
        num_steps: >= 1.
        start: a rate >= 0: 0 wastes the first update, and the rate that suits a small batch is a start too.
    Raises:
        ValueError: a bound above is broken.
    Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2.
    """
    check_schedule("warmup", "schedule", schedule)
    num_steps = check_count("warmup", "num_steps", num_steps)
    start = check_number("warmup", "start", start, low=0.0)
    peak = schedule(0)

    def rule(step):
        rising = blend(start, peak, real(step) / num_steps)
        return choose(step < num_steps, rising, schedule.rule(at_least(step - num_steps, 0)))

    return Schedule(rule, f"warmup({schedule}, {num_steps=}, {start=})")


@recorded
def join(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after another, each counted from its own step 0 at the boundary where it takes over.

    Args:
        schedules: at least one.
        boundaries: strictly increasing integers >= 0, one fewer than schedules; at the boundary itself the new one
            holds.
    Raises:
        ValueError: a bound above is broken.
    """
    parts = list(schedules)
    for i, part in enumerate(parts):
        check_schedule("join", f"schedules[{i}]", part)
    edges = check_boundaries("join", boundaries)
    if len(parts) != len(edges) + 1:
        raise ValueError(f"join: schedules must be one more than the {len(edges)} boundaries, got {len(parts)}")

    def rule(step):
        rate = parts[0].rule(step)
        for part, edge in zip(parts[1:], edges, strict=True):
            rate = choose(step >= edge, part.rule(at_least(step - edge, 0)), rate)
        return rate

    return Schedule(rule, f"join({parts}, {edges})")


@recorded
def scale(schedule: Schedule, factor: float) -> Schedule:
    """`factor` times the schedule.

    Raises:
        ValueError: not a schedule, or a factor that is not finite or below 0.
    """
    check_schedule("scale", "schedule", schedule)
    factor = check_number("scale", "factor", factor, low=0.0)
    return Schedule(lambda step: factor * schedule.rule(step), f"scale({schedule}, {factor})")


@recorded
def wsd(
    peak: float, *, warmup_steps: int, stable_steps: int, decay_steps: int, end: float = 0.0,
    shape: Literal["linear", "cosine", "1-sqrt"] = "linear",
) -> Schedule:  # fmt: skip
    """Warm-up, stable, decay: up a line from 0 to `peak`, constant, down to `end`, which stays. A trapezoid if linear.

    Until the decay begins, it does not depend on how long the run will be: a longer one goes on from there.

    Args:
        peak: the stable rate; >= 0.
        warmup_steps, stable_steps: >= 0.
        decay_steps: >= 1.
        end: in [0, peak].
        shape: of the decay: "linear", "cosine" (half a period), or "1-sqrt", 1 − √x, which falls fast at first.
    Raises:
        ValueError: a bound above is broken, or an unknown shape.
    Source: Xing et al. 2018, arXiv:1802.08770 (trapezoid); Hu et al. 2024, arXiv:2404.06395 (the name); Hägele et al.
        2024, arXiv:2405.18392 (1 − √x).
    """
    peak = check_number("wsd", "peak", peak, low=0.0)
    warmup_steps = check_count("wsd", "warmup_steps", warmup_steps, at_least=0)
    stable_steps = check_count("wsd", "stable_steps", stable_steps, at_least=0)
    decay_steps = check_count("wsd", "decay_steps", decay_steps)
    end = check_number("wsd", "end", end, low=0.0, high=peak)
    check_choice("wsd", "shape", shape, SHAPES)

    def rule(step):
        gone = real(at_most(at_least(step - warmup_steps - stable_steps, 0), decay_steps)) / decay_steps
        falling = blend(end, peak, SHAPES[shape](gone))
        return choose(step < warmup_steps, peak * (real(step) / max(warmup_steps, 1)), falling)

    return Schedule(rule, f"wsd({peak}, {warmup_steps=}, {stable_steps=}, {decay_steps=}, {end=}, {shape=})")
