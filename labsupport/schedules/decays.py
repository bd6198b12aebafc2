"""Rates that fall in steps, by powers and by roots; TensorFlow 1's formulas where it had one.

The learning rate is in the optimizer's units; steps are optimizer updates, not epochs.
"""

from collections.abc import Sequence
from typing import Any, Literal

from labsupport.remaking import recorded
from labsupport.schedules import elementwise
from labsupport.schedules.elementwise import at_least, blend, count, exp, lookup, real
from labsupport.schedules.schedule import Schedule, check_boundaries, check_start
from labsupport.values import check_choice, check_number

__all__ = ["constant", "exponential", "inverse_sqrt", "inverse_time", "natural_exp", "piecewise", "polynomial"]


@recorded
def constant(value: float) -> Schedule:
    """The same rate at every step.

    Raises:
        ValueError: `value` is not finite or below 0.
    """
    value = check_number("constant", "value", value, low=0.0)
    return Schedule(lambda step: 0.0 * real(step) + value, f"constant({value})")


@recorded
def piecewise(
    boundaries: Sequence[int], values: Sequence[float], *, switch: Literal["after", "at"] = "after"
) -> Schedule:
    """Constant rates that change at given steps.

    Args:
        boundaries: strictly increasing integers >= 0.
        values: rates >= 0, one more than boundaries.
        switch: "after" keeps the old rate at the boundary itself, as TensorFlow does; "at" has the new one there
            already, as torch's MultiStepLR.
    Raises:
        ValueError: a bound above is broken, or an unknown switch.
    """
    edges = check_boundaries("piecewise", boundaries)
    check_choice("piecewise", "switch", switch, ("after", "at"))
    rates = [check_number("piecewise", f"values[{i}]", value, low=0.0) for i, value in enumerate(values)]
    if len(rates) != len(edges) + 1:
        raise ValueError(f"piecewise: values must be one more than the {len(edges)} boundaries, got {len(rates)}")

    def rule(step):
        return lookup(count(step, edges, reached=switch == "at"), rates)

    return Schedule(rule, f"piecewise({edges}, {rates}, {switch=})")


@recorded
def exponential(init: float, *, decay_steps: int, decay_rate: float, staircase: bool = False) -> Schedule:
    """init · decay_rate^p with p = step / decay_steps; p is rounded down with `staircase`.

    Args:
        init: rate at step 0; >= 0.
        decay_steps: steps in which the rate falls by `decay_rate`; >= 1.
        decay_rate: >= 0; above 1 the rate grows, as in a search for the largest rate.
    Raises:
        ValueError: a bound above is broken.
    """
    init, decay_steps, decay_rate = _check("exponential", init, decay_steps, decay_rate, staircase)

    def rule(step):
        return init * elementwise.power(decay_rate, _periods(step, decay_steps, staircase))

    return Schedule(rule, f"exponential({init}, {decay_steps=}, {decay_rate=}, {staircase=})")


@recorded
def natural_exp(init: float, *, decay_steps: int, decay_rate: float, staircase: bool = False) -> Schedule:
    """init · e^(−decay_rate · p) with p = step / decay_steps; arguments and errors as in `exponential`."""
    init, decay_steps, decay_rate = _check("natural_exp", init, decay_steps, decay_rate, staircase)

    def rule(step):
        return init * exp(-decay_rate * _periods(step, decay_steps, staircase))

    return Schedule(rule, f"natural_exp({init}, {decay_steps=}, {decay_rate=}, {staircase=})")


@recorded
def inverse_time(init: float, *, decay_steps: int, decay_rate: float, staircase: bool = False) -> Schedule:
    """init / (1 + decay_rate · p) with p = step / decay_steps; arguments and errors as in `exponential`."""
    init, decay_steps, decay_rate = _check("inverse_time", init, decay_steps, decay_rate, staircase)

    def rule(step):
        return init / (1.0 + decay_rate * _periods(step, decay_steps, staircase))

    return Schedule(rule, f"inverse_time({init}, {decay_steps=}, {decay_rate=}, {staircase=})")


@recorded
def inverse_sqrt(init: float, *, decay_steps: int) -> Schedule:
    """init / √(1 + step / decay_steps), which has no horizon.

    After a warm-up of as many steps, `warmup(inverse_sqrt(peak, decay_steps=n), num_steps=n)`, it is the Transformer's
    schedule: peak · min(t / n, √(n / t)) at step t.

    Args:
        init: rate at step 0; >= 0.
        decay_steps: >= 1.
    Raises:
        ValueError: a bound above is broken.
    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 3.
    """
    init, decay_steps = check_start("inverse_sqrt", init, decay_steps)

    def rule(step):
        return init / (1.0 + real(step) / decay_steps) ** 0.5

    return Schedule(rule, f"inverse_sqrt({init}, {decay_steps=})")


@recorded
def polynomial(
    init: float, *, decay_steps: int, end: float = 1e-4, power: float = 1.0, cycle: bool = False
) -> Schedule:
    """(init − end) · (1 − step / decay_steps)^power + end, and `end` after the horizon.

    Args:
        init: rate at step 0; >= 0.
        decay_steps: the horizon; >= 1.
        end: rate at the horizon; >= 0. Above `init` the rate grows.
        power: >= 0; 1 is a line.
        cycle: past the horizon, stretch it to the next multiple of `decay_steps` that is not below the step: each cycle
            begins lower than the one before. `end` is reached at every multiple.
    Raises:
        ValueError: a bound above is broken.
    """
    init, decay_steps = check_start("polynomial", init, decay_steps)
    end = check_number("polynomial", "end", end, low=0.0)
    power = check_number("polynomial", "power", power, low=0.0)
    check_choice("polynomial", "cycle", cycle, (True, False))

    def rule(step):
        horizon = at_least(-(-step // decay_steps), 1) * decay_steps if cycle else decay_steps
        rest = at_least(horizon - step, 0)
        return blend(end, init, (real(rest) / horizon) ** power)

    return Schedule(rule, f"polynomial({init}, {decay_steps=}, {end=}, {power=}, {cycle=})")


def _check(where: str, init: float, decay_steps: int, decay_rate: float, staircase: bool) -> tuple[float, int, float]:
    check_choice(where, "staircase", staircase, (True, False))
    return *check_start(where, init, decay_steps), check_number(where, "decay_rate", decay_rate, low=0.0)


def _periods(step: Any, decay_steps: int, staircase: bool) -> Any:
    """step / decay_steps, rounded down (in integers, so exactly) if asked."""
    return real(step // decay_steps) if staircase else real(step) / decay_steps
