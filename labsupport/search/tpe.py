"""The tree-structured Parzen estimator: where good trials lie more densely than bad ones.

The told trials are split at a quantile. Both parts get a density, a mixture with one kernel about each trial and a
flat one for the space; candidates are drawn from the good density, and the one at which good over bad is largest is
asked. That ratio orders points as expected improvement does under these densities. In each dimension a kernel is as
wide as the part's trials spread (ours): wide at first, narrow where the good ones have gathered.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from labsupport.search.contract import State, Trial, check_state, ended, generator, loss, placed, start, tell
from labsupport.search.cube import SAME, design_then, points, seen, share, snap
from labsupport.search.space import Categorical, Dimension, Float, Integer, Space
from labsupport.values import check_count, check_number

__all__ = ["ask", "finished", "init", "tell"]

MOST_GOOD = 25
WIDTH = 0.4  # of a kernel, in deviations of the centres; it shrinks as there are more
NARROWEST = 0.07  # in the unit cube
EVEN = 8  # how many centres the even spread counts for, so that few centres close together are not believed


def init(
    space: Space, *, num_trials: int, num_initial: int = 10, gamma: float = 0.15, num_candidates: int = 24, seed: int
) -> State:
    """A search of `num_trials` trials, none asked yet.

    Args:
        num_trials: >= 1.
        num_initial: trials of the start design, a scrambled Sobol sequence; >= 2.
        gamma: the share of the told trials that counts as good, in [0, 1]: ⌈gamma · told⌉ of them, 25 at most.
        num_candidates: drawn from the good density for each trial, >= 1.
        seed: integer in 0 … 2⁶⁴ − 1.
    Raises:
        ValueError: a bound above is broken, or `space` is no Space.
    Source: Bergstra, Bardenet, Bengio & Kégl 2011, Algorithms for Hyper-Parameter Optimization, section 4.
    """
    options = {"num_trials": check_count("tpe.init", "num_trials", num_trials)}
    options["num_initial"] = check_count("tpe.init", "num_initial", num_initial, at_least=2)
    options["gamma"] = check_number("tpe.init", "gamma", gamma, low=0, high=1)
    options["num_candidates"] = check_count("tpe.init", "num_candidates", num_candidates)
    return start("tpe", space, options, seed=seed)


def ask(state: State) -> tuple[Trial | None, State]:
    """The next trial, at once, however many are not told yet; None after the last one.

    Failed trials and trials that are not told yet count as bad. No setting is asked twice while the candidates hold
    another one.

    Raises:
        ValueError: the state is another strategy's.
    """
    check_state("tpe", state)
    return design_then(state, _propose)


def finished(state: State) -> bool:
    """Whether all trials have been told."""
    check_state("tpe", state)
    return ended(state)


class _Parzen(NamedTuple):
    """A mixture: a kernel about each trial, and a flat one that comes last and exists nowhere."""

    space: Space
    centres: Tensor  # (kernels, dims)
    exists: Tensor  # (kernels, dims): a kernel is flat along what its trial did not have
    widths: Tensor  # (dims,): deviations of the numbers, and for categories how likely another one is drawn


def _propose(state: State) -> Tensor:
    """The point (dims,) with the largest ratio among candidates that were not asked before."""
    draws = generator(state, len(state.records))
    ranked = sorted(placed(state), key=loss)
    told = sum(record.value is not None for record in ranked)
    count = min(max(math.ceil(state.options["gamma"] * told), 1), MOST_GOOD)
    every = points(state.space, [record.trial.params for record in ranked])
    good, bad = (_parzen(state.space, part) for part in (every[:count], every[count:]))
    candidates, exists = _drawn(good, state.options["num_candidates"], draws)
    ratio = _log_density(good, candidates, exists) - _log_density(bad, candidates, exists)
    fresh = ~seen(candidates, every)
    return candidates[ratio.where(fresh, -torch.inf).argmax() if fresh.any() else ratio.argmax()]


def _parzen(space: Space, centres: Tensor) -> _Parzen:
    centres, exists = snap(space, torch.cat([centres, centres.new_full((1, len(space.dims)), 0.5)]))
    exists[-1] = False
    count, told = len(centres), exists.sum(dim=0)
    mean = centres.where(exists, 0.0).sum(dim=0) / told.clamp_min(1)
    square = (centres - mean).square().where(exists, 0.0).sum(dim=0)
    spread = ((square + EVEN / 12) / (told + EVEN)).sqrt()
    near = (WIDTH * spread * max(count - 1, 1) ** (-1 / (len(space.dims) + 4))).tolist()
    widths = [_width(dim, width, count) for dim, width in zip(space.dims.values(), near, strict=True)]
    return _Parzen(space, centres, exists, centres.new_tensor(widths))


def _width(dim: Dimension, near: float, count: int) -> float:
    """Of integers at least one's share, or the next one would hardly ever be drawn."""
    if isinstance(dim, Categorical):
        return len(dim.choices) / (len(dim.choices) + count)
    return max(near, 1 / (dim.high - dim.low + 1) if isinstance(dim, Integer) else 0.0, NARROWEST)


def _drawn(parzen: _Parzen, count: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Settings (count, dims) drawn from the mixture, and which dimensions exist in them."""
    which = torch.randint(len(parzen.centres), (count,), generator=draws)
    centres, exists, widths = parzen.centres[which], parzen.exists[which], parzen.widths
    evenly = torch.rand(centres.shape, generator=draws, dtype=torch.float64)
    again = torch.rand(centres.shape, generator=draws, dtype=torch.float64)
    low, high = _below(centres, widths, 0.0), _below(centres, widths, 1.0)
    near = centres + widths * torch.special.ndtri(low + (high - low) * evenly)
    same = torch.where(again < widths, evenly, centres)
    at = torch.where(_categorical(parzen.space), same, near.clamp(0, 1))
    return snap(parzen.space, torch.where(exists, at, evenly))


def _log_density(parzen: _Parzen, at: Tensor, exists: Tensor) -> Tensor:
    """The logarithm of the mixture's density at settings (n, dims), over that of drawing evenly: (n,)."""
    columns = []
    for i, dim in enumerate(parzen.space.dims.values()):
        centres, width, column = parzen.centres[:, i], parzen.widths[i], at[:, i, None]
        if isinstance(dim, Categorical):
            same = (column - centres).abs() < SAME
            each = (width + len(dim.choices) * (1 - width) * same).log()
        elif isinstance(dim, Integer):
            low, high = share(dim, column)
            each = (_below(centres, width, high) - _below(centres, width, low)).log() - (high - low).log()
        elif dim.low < dim.high:
            each = -0.5 * ((column - centres) / width).square() - (width * math.sqrt(2 * math.pi)).log()
        else:
            each = torch.zeros(len(at), len(centres), dtype=at.dtype)
        if isinstance(dim, Integer) or (isinstance(dim, Float) and dim.low < dim.high):
            each = each - (_below(centres, width, 1.0) - _below(centres, width, 0.0)).log()
        columns.append(each.where(exists[:, i, None] & parzen.exists[:, i], 0.0))
    return torch.stack(columns).sum(dim=0).logsumexp(dim=1) - math.log(len(parzen.centres))


def _below(centres: Tensor, width: Tensor, place: Tensor | float) -> Tensor:
    return torch.special.ndtr((place - centres) / width)


def _categorical(space: Space) -> Tensor:
    return torch.tensor([isinstance(dim, Categorical) for dim in space.dims.values()])
