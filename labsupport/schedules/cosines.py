"""Rates that fall along a cosine. Steps are optimizer updates, not epochs."""

import math
from collections.abc import Callable
from typing import Any

from labsupport.remaking import recorded
from labsupport.schedules.elementwise import at_least, at_most, blend, cos, real
from labsupport.schedules.noise import normal
from labsupport.schedules.schedule import Schedule, check_start
from labsupport.values import check_count, check_number

__all__ = ["cosine", "half_cosine", "linear_cosine", "noisy_linear_cosine"]


def half_cosine(fraction: Any) -> Any:
    """½(1 + cos π fraction): 1 at fraction 0, 0 at 1, both exactly. For a float or a float64 tensor."""
    return 0.5 * (1.0 + cos(math.pi * fraction))


@recorded
def cosine(init: float, *, decay_steps: int, alpha: float = 0.0) -> Schedule:
    """Half-cosine decay from `init` at step 0 to `alpha * init` at `decay_steps`, constant after.

    Args:
        init: rate at step 0; >= 0.
        decay_steps: the horizon; >= 1.
        alpha: in [0, 1], what is left of the rate.
    Raises:
        ValueError: a bound above is broken.
    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5.
    """
    init, decay_steps = check_start("cosine", init, decay_steps)
    alpha = check_number("cosine", "alpha", alpha, low=0.0, high=1.0)

    def rule(step):
        return init * blend(alpha, 1.0, half_cosine(real(at_most(step, decay_steps)) / decay_steps))

    return Schedule(rule, f"cosine({init}, {decay_steps=}, {alpha=})")


@recorded
def linear_cosine(
    init: float, *, decay_steps: int, num_periods: float = 0.5, alpha: float = 0.0, beta: float = 0.001
) -> Schedule:
    """init · [(alpha + 1 − p) · ½(1 + cos 2π num_periods p) + beta] with p = step / decay_steps; constant after.

    The first rate is (1 + alpha + beta) · init.

    Args:
        init: scale of the rate; >= 0.
        decay_steps: the horizon; >= 1.
        num_periods: periods of the cosine up to the horizon; >= 0.
        alpha, beta: added to the line, and to the product; >= 0.
    Raises:
        ValueError: a bound above is broken.
    Source: Bello et al. 2017, arXiv:1709.07417; TensorFlow 1.
    """
    name = "linear_cosine"
    init, decay_steps = check_start(name, init, decay_steps)
    num_periods, alpha, beta = _check_shape(name, num_periods, alpha, beta)
    shape = _linear_cosine(decay_steps, num_periods, alpha, beta)
    text = f"{name}({init}, {decay_steps=}, {num_periods=}, {alpha=}, {beta=})"
    return Schedule(lambda step: init * shape(step, 0.0), text)


@recorded
def noisy_linear_cosine(
    init: float, *, decay_steps: int, initial_variance: float = 1.0, variance_decay: float = 0.55,
    num_periods: float = 0.5, alpha: float = 0.0, beta: float = 0.001, seed: int,
    clip: tuple[float, float] | None = None,
) -> Schedule:  # fmt: skip
    """`linear_cosine` with normal noise of variance initial_variance / (1 + step)^variance_decay added to its line.

    The noise is a hash of (seed, step). Past the horizon it goes on, with the horizon's variance.

    Args:
        initial_variance, variance_decay: >= 0. At the default variance, 1, the noise is as large as the line itself.
        seed: integer >= 0; each gives another path.
        clip: (low, high) that the rate is kept within, 0 <= low <= high. Without it the rate can be negative, as
            TensorFlow's.
        init, decay_steps, num_periods, alpha, beta: as in `linear_cosine`.
    Raises:
        ValueError: a bound above is broken.
    Source: Bello et al. 2017, arXiv:1709.07417; TensorFlow 1.
    """
    name = "noisy_linear_cosine"
    init, decay_steps = check_start(name, init, decay_steps)
    num_periods, alpha, beta = _check_shape(name, num_periods, alpha, beta)
    initial_variance = check_number(name, "initial_variance", initial_variance, low=0.0)
    variance_decay = check_number(name, "variance_decay", variance_decay, low=0.0)
    seed = check_count(name, "seed", seed, at_least=0)
    low, high = (-math.inf, math.inf) if clip is None else _check_clip(name, clip)
    shape = _linear_cosine(decay_steps, num_periods, alpha, beta)

    def rule(step):
        variance = initial_variance / (1.0 + real(at_most(step, decay_steps))) ** variance_decay
        rate = init * shape(step, variance**0.5 * normal(seed, step))
        return at_most(at_least(rate, low), high)

    options = f"{initial_variance=}, {variance_decay=}, {num_periods=}, {alpha=}, {beta=}, {seed=}, {clip=}"
    return Schedule(rule, f"{name}({init}, {decay_steps=}, {options})")


def _linear_cosine(decay_steps: int, num_periods: float, alpha: float, beta: float) -> Callable[[Any, Any], Any]:
    """The function of step and noise that the initial rate is multiplied with."""

    def shape(step, noise):
        step = at_most(step, decay_steps)
        line = real(decay_steps - step) / decay_steps
        wave = half_cosine(2.0 * num_periods * (real(step) / decay_steps))
        return (alpha + line + noise) * wave + beta

    return shape


def _check_shape(where: str, num_periods: float, alpha: float, beta: float) -> list[float]:
    named = {"num_periods": num_periods, "alpha": alpha, "beta": beta}
    return [check_number(where, name, value, low=0.0) for name, value in named.items()]


def _check_clip(where: str, clip: tuple[float, float]) -> tuple[float, float]:
    if not isinstance(clip, tuple | list) or len(clip) != 2:
        raise ValueError(f"{where}: clip must be None or a pair (low, high), got {clip!r}")
    low = check_number(where, "clip[0]", clip[0], low=0.0)
    return low, check_number(where, "clip[1]", clip[1], low=low)
