"""Rates that come back up. Steps are optimizer updates, not epochs."""

from labsupport.remaking import recorded
from labsupport.schedules.cosines import half_cosine
from labsupport.schedules.elementwise import blend, count, largest, lookup, power, real
from labsupport.schedules.schedule import Schedule
from labsupport.values import check_count, check_number

__all__ = ["cosine_restarts", "triangular"]


@recorded
def cosine_restarts(
    init: float, *, first_decay_steps: int, t_mul: float = 2.0, m_mul: float = 1.0, alpha: float = 0.0
) -> Schedule:
    """Cosine decay that starts anew at its peak, each cycle `t_mul` times as long and `m_mul` times as high.

    The cycles are walked, not found by a logarithm: rounded, log₃ 243 is just below 5, and a schedule that trusts it
    ends a cycle where the next should start. Where a cycle starts between two steps (`t_mul` not whole), the first
    step after it is already past the peak.

    Args:
        init: peak of the first cycle; >= 0.
        first_decay_steps: its length; >= 1.
        t_mul: >= 1. Close to 1 there are many cycles, and a call takes time in proportion to those before its step.
        m_mul: in [0, 1], the factor on the peak's height above the floor.
        alpha: in [0, 1]; the floor is alpha · init.
    Raises:
        ValueError: a bound above is broken.
    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5; m_mul and alpha as in TensorFlow 1.
    """
    init = check_number("cosine_restarts", "init", init, low=0.0)
    first_decay_steps = check_count("cosine_restarts", "first_decay_steps", first_decay_steps)
    t_mul = check_number("cosine_restarts", "t_mul", t_mul, low=1.0)
    m_mul = check_number("cosine_restarts", "m_mul", m_mul, low=0.0, high=1.0)
    alpha = check_number("cosine_restarts", "alpha", alpha, low=0.0, high=1.0)

    def rule(step):
        if t_mul == 1.0:
            cycle, fraction = step // first_decay_steps, real(step % first_decay_steps) / first_decay_steps
        else:
            starts, lengths = _walk(first_decay_steps, t_mul, largest(step))
            cycle = count(real(step), starts, reached=True) - 1
            fraction = (real(step) - lookup(cycle, starts)) / lookup(cycle, lengths)
        return init * blend(alpha, 1.0, power(m_mul, real(cycle)) * half_cosine(fraction))

    return Schedule(rule, f"cosine_restarts({init}, {first_decay_steps=}, {t_mul=}, {m_mul=}, {alpha=})")


def _walk(first: int, t_mul: float, last_step: float) -> tuple[list[float], list[float]]:
    """Starts and lengths of all cycles that begin up to `last_step`; sums of integers, so exact, if t_mul is whole."""
    starts, lengths = [0.0], [float(first)]
    while starts[-1] + lengths[-1] <= last_step:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * t_mul)
    return starts, lengths


@recorded
def triangular(low: float, high: float, *, half_cycle: int, decay: float = 1.0) -> Schedule:
    """Up from `low` to `high` in `half_cycle` steps along a line, down in as many, and again.

    Args:
        low: rate at step 0 and between cycles; >= 0.
        high: the first peak; >= low.
        half_cycle: steps from `low` to the peak; >= 1.
        decay: in [0, 1], the factor on the peak's height above `low` from cycle to cycle.
    Raises:
        ValueError: a bound above is broken.
    Source: Smith 2017, arXiv:1506.01186, section 3: "triangular", and "triangular2" for decay ½.
    """
    low = check_number("triangular", "low", low, low=0.0)
    high = check_number("triangular", "high", high, low=low)
    half_cycle = check_count("triangular", "half_cycle", half_cycle)
    decay = check_number("triangular", "decay", decay, low=0.0, high=1.0)

    def rule(step):
        height = real(half_cycle - abs(step % (2 * half_cycle) - half_cycle)) / half_cycle
        return blend(low, high, power(decay, real(step // (2 * half_cycle))) * height)

    return Schedule(rule, f"triangular({low}, {high}, {half_cycle=}, {decay=})")
