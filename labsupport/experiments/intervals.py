"""The statistics behind `Samples`: Student's and exact intervals, and the ends of a bootstrap's."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from scipy import special
from torch import Tensor

from labsupport.values import check_number

__all__ = ["Estimate", "Resampled"]

Statistic = Callable[[Tensor], Any]  # (conditions, replicates), float64, to one number


@dataclass(frozen=True)
class Resampled:
    """What the BCa interval of a statistic is made of; called with a tail, its ends."""

    value: float
    draws: tuple[float, ...] = field(repr=False)
    left_out: tuple[float, ...] = field(repr=False)

    def __call__(self, tail: float) -> tuple[float, float]:
        draws, left_out = (torch.tensor(part, dtype=torch.float64) for part in (self.draws, self.left_out))
        return accelerated(self.value, draws, left_out, tail)


class Estimate(NamedTuple):
    """A statistic of all replicates, its standard error, the ends of its interval; of how many independent units.

    `edge` is that of the samples; `ends` gives the interval of another confidence, None: Student's.
    """

    value: float
    error: float
    low: float
    high: float
    count: int
    edge: tuple[str, ...] = ()
    ends: Resampled | None = None

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """(low, high) at this confidence, of the same kind as the one it was made with.

        Raises:
            ValueError: confidence outside (0, 1).
        """
        tail = tail_of("interval", confidence)
        return self.ends(tail) if self.ends else around(self.value, self.error, self.count, tail)


def exact(true: int, total: int, tail: float) -> tuple[float, float]:
    """The interval of a share of `total` with `tail` outside on either side (Clopper & Pearson)."""
    low = float(special.betaincinv(true, total - true + 1, tail)) if true else 0.0
    return low, float(special.betaincinv(true + 1, total - true, 1 - tail)) if true < total else 1.0


def evaluated(where: str, statistic: Statistic, data: Tensor) -> float:
    """A statistic's number; ValueError unless it is one, and finite."""
    found = statistic(data)
    try:
        value = float(found)
    except (TypeError, ValueError, RuntimeError):
        value = math.nan
    if not math.isfinite(value):
        got = f"{reprlib.repr(found)} from {data.shape[1]} replicates"
        raise ValueError(f"{where}: statistic must return one finite number, got {got}")
    return value


def tail_of(where: str, confidence: float) -> float:
    """Probability on either side of an interval."""
    confidence = check_number(where, "confidence", confidence, low=0, high=1)
    if not 0 < confidence < 1:
        raise ValueError(f"{where}: confidence must lie between 0 and 1, got {confidence}")
    return (1 - confidence) / 2


def around(value: float, error: float, count: int, tail: float) -> tuple[float, float]:
    """Ends of Student's interval of `count` independent units."""
    reach = float(special.stdtrit(count - 1, 1 - tail)) * error
    return value - reach, value + reach


def accelerated(value: float, draws: Tensor, left_out: Tensor, tail: float) -> tuple[float, float]:
    """Ends of the BCa interval: quantiles of the draws, their only value where all are equal."""
    if bool((draws == draws[0]).all()):
        return float(draws[0]), float(draws[0])
    below = float((draws < value).double().mean() + (draws <= value).double().mean()) / 2
    if not 0 < below < 1:
        got = f"{value:g} and draws from {float(draws.min()):g} to {float(draws.max()):g}"
        raise ValueError(f"bootstrap: statistic must lie among its draws, got {got}")
    bias, away = float(special.ndtri(below)), left_out.mean() - left_out
    spread = float(away.square().sum()) ** 1.5
    bend = float(away.pow(3).sum()) / (6 * spread) if spread > 0 else 0.0
    shifted = [bias + float(special.ndtri(at)) for at in (tail, 1 - tail)]
    levels = [float(special.ndtr(bias + z / max(1 - bend * z, 1e-9))) for z in shifted]
    low, high = torch.quantile(draws, torch.tensor(levels, dtype=torch.float64)).tolist()
    return low, high
