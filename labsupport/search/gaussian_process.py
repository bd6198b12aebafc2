"""Bayesian optimization: a Gaussian process of what was told, and the trial from which it expects most improvement.

The start is a scrambled Sobol design. Then the kernel is fitted to the told values, and expected improvement is
maximized over the unit cube: over many candidates first, then by L-BFGS from the best of them. What is not known yet
stands in the process as a lie, so that it is not proposed again: trials asked and not told at the smallest value told
(the constant liar), but no lower than a deviation below the guess there (ours): results that come in meanwhile may have
made the smallest value incredible, and a process that must believe it bends everywhere. Failed ones stand at the mean.
No lie moves the fit of the kernel.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from labsupport.search.acquisition import log_improvement_slopes
from labsupport.search.contract import State, Trial, check_state, ended, generator, placed, start, tell
from labsupport.search.cube import design_then, points, seen, snap, sobol
from labsupport.search.gaussian import Conditioned, condition, fit, forecast
from labsupport.search.space import Categorical, Dimension, Float, Space
from labsupport.values import check_count

__all__ = ["ask", "finished", "init", "tell"]

STARTS = 4  # how many candidates L-BFGS starts from


def init(space: Space, *, num_trials: int, num_initial: int = 8, num_candidates: int = 512, seed: int) -> State:
    """A search of `num_trials` trials, none asked yet.

    Args:
        num_trials: >= 1.
        num_initial: trials of the start design, >= 2; the model needs two values at least.
        num_candidates: points where expected improvement is looked at before it is refined, >= 1.
        seed: integer in 0 … 2⁶⁴ − 1.
    Raises:
        ValueError: a bound above is broken, or `space` is no Space.
    Source: Jones, Schonlau & Welch 1998, doi:10.1023/A:1008306431147; Snoek, Larochelle & Adams 2012, arXiv:1206.2944.
    """
    options = {"num_trials": check_count("gaussian_process.init", "num_trials", num_trials)}
    options["num_initial"] = check_count("gaussian_process.init", "num_initial", num_initial, at_least=2)
    options["num_candidates"] = check_count("gaussian_process.init", "num_candidates", num_candidates)
    return start("gaussian_process", space, options, seed=seed)


def ask(state: State) -> tuple[Trial | None, State]:
    """The next trial, at once, however many are not told yet; None after the last one.

    No setting is asked twice while candidates find another one; a space of few settings is asked again.

    Raises:
        ValueError: the state is another strategy's.
    Source: Ginsbourger, Le Riche & Carraro 2010, doi:10.1007/978-3-642-10701-6_6 (the constant liar).
    """
    check_state("gaussian_process", state)
    return design_then(state, _propose)


def finished(state: State) -> bool:
    """Whether all trials have been told."""
    check_state("gaussian_process", state)
    return ended(state)


def _propose(state: State) -> Tensor:
    """The point (dims,) of largest expected improvement among those not asked before."""
    draws = generator(state, len(state.records))
    records = placed(state)
    every = points(state.space, [record.trial.params for record in records])
    known = torch.tensor([record.value is not None for record in records])
    failed = torch.tensor([record.failed is not None for record in records])
    y = _standardized(torch.tensor([r.value for r in records if r.value is not None], dtype=torch.float64))
    x = _features(state.space, every)
    hyper = fit(x[known], y)
    guess, variance, _ = forecast(condition(x[known], y, hyper), x)
    lies = torch.where(failed, 0.0, (guess - variance.sqrt()).clamp_min(y.min()))[~known]
    given = condition(torch.cat([x[known], x[~known]]), torch.cat([y, lies]), hyper)
    best = guess[known].min()
    score = _Score(state.space, given, best)

    candidates = _candidates(state, every[known][y.argsort()], draws)
    values = score(candidates)
    refined = _refined(state.space, score, candidates[values.argsort(descending=True)[:STARTS]])
    candidates, values = torch.cat([refined, candidates]), torch.cat([score(refined), values])
    fresh = ~seen(candidates, every)
    return candidates[values.where(fresh, -torch.inf).argmax() if fresh.any() else values.argmax()]


class _Score(NamedTuple):
    """The logarithm of expected improvement at points (n, dims)."""

    space: Space
    given: Conditioned
    best: Tensor

    def __call__(self, at: Tensor) -> Tensor:
        mean, variance, _ = forecast(self.given, _features(self.space, at))
        return log_improvement_slopes(mean, variance.clamp_min(1e-12), best=self.best)[0]

    def with_slopes(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """And its gradient (n, dims), which means something for dimensions that are floats."""
        mean, variance, pull = forecast(self.given, _features(self.space, at))
        value, by_mean, by_variance = log_improvement_slopes(mean, variance.clamp_min(1e-12), best=self.best)
        starts = accumulate(map(_num_features, self.space.dims.values()), initial=0)
        return value, pull(by_mean, by_variance)[:, list(starts)[:-1]]


def _features(space: Space, at: Tensor) -> Tensor:
    """What the kernel sees of points (n, dims): their coordinates, but of categories, without order, one a choice."""
    columns = []
    for dim, column in zip(space.dims.values(), at.unbind(dim=1), strict=True):
        if (count := _num_features(dim)) > 1:
            columns.append(torch.nn.functional.one_hot((column * count).long(), count).double())
        else:
            columns.append(column[:, None])
    return torch.cat(columns, dim=1)


def _num_features(dim: Dimension) -> int:
    return len(dim.choices) if isinstance(dim, Categorical) and len(dim.choices) > 2 else 1


def _standardized(y: Tensor) -> Tensor:
    """Of mean 0 and variance 1, none further above the median than the least is below it (ours); all 0 where
    all are equal.

    One diverged training would make all the others look alike.
    """
    y = y / y.abs().max().clamp_min(1e-300)
    reach = y.median() - y.min()
    y = y.clamp_max(y.median() + reach) if reach > 0 else y
    deviation = y.std(correction=0)
    return (y - y.mean()) / torch.where(deviation > 1e-12, deviation, 1.0)


def _candidates(state: State, ranked: Tensor, draws: torch.Generator) -> Tensor:
    """Settings everywhere, and half as many about the best five told: near ones, and with a few dimensions redrawn."""
    count, dims = state.options["num_candidates"], len(state.space.dims)
    seed = int(torch.randint(2**31, (), generator=draws))
    everywhere = sobol(dims, seed=seed, start=0, count=count)
    near = ranked[torch.randint(min(5, len(ranked)), (count // 2,), generator=draws)]
    scale = 10 ** (-1 - 2 * torch.rand(len(near), 1, generator=draws, dtype=torch.float64))
    moved = near + scale * torch.randn(near.shape, generator=draws, dtype=torch.float64)
    redrawn = torch.rand(near.shape, generator=draws, dtype=torch.float64) < 0.5 / dims
    moved = torch.where(redrawn, torch.rand(near.shape, generator=draws, dtype=torch.float64), moved)
    return snap(state.space, torch.cat([everywhere, moved.clamp(0, 1)]))[0]


def _refined(space: Space, score: _Score, first: Tensor) -> Tensor:
    """Where L-BFGS climbs to from these points (n, dims), in the floats that exist there; all points at once."""
    from scipy import optimize  # slow to import, and only this function needs it

    exists = snap(space, first)[1]
    free = exists & torch.tensor([isinstance(dim, Float) and dim.low < dim.high for dim in space.dims.values()])
    if not free.any():
        return first

    def loss(values):
        value, slopes = score.with_slopes(first.masked_scatter(free, torch.from_numpy(values.copy())))
        return -float(value.sum()), -slopes[free].numpy()

    begin = first[free].numpy()
    end = optimize.minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * len(begin),
                            options={"maxiter": 40, "ftol": 1e-6})  # fmt: skip
    return first.masked_scatter(free, torch.from_numpy(end.x).clamp(0, 1))
