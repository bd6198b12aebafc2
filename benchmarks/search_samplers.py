"""Our Gaussian process and TPE beside Optuna's: seconds a proposal, and what they find, from `search/beside_optuna`."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from statistics import fmean
from types import ModuleType

import torch
from scipy import stats
from torch import Tensor

from benchmarks.timing import Row, at_least, at_most, barred, clocked, measured, unmeasured
from labsupport.experiments import seeded, tables
from labsupport.search import contract, gaussian_process, problems, tpe
from labsupport.search.problems import Problem
from labsupport.search.space import Params, sample

try:
    import optuna as peer
except ImportError:
    peer = None

__all__ = ["holm", "proposals", "regrets"]

TOLD, ASKED = 60, 5
STRATEGIES = {"gp": ("Gaussian process", gaussian_process, "GPSampler"), "tpe": ("TPE", tpe, "TPESampler")}
WHERE = {
    "branin": "Branin, 30 trials", "hartmann6": "Hartmann-6, 60", "conditional": "a space with conditions, 60",
    "table": "trained networks, 30",
}  # fmt: skip
MARGIN = 0.1  # of random's regret
TIMED = {(key, problem): f"a proposal, {STRATEGIES[key][0]}, {where}"
         for key in STRATEGIES
         for problem, where in (("hartmann6", "six floats"), ("conditional", "a space with conditions"))}  # fmt: skip
COMPARED = {(key, problem): f"worse by at most, of random's regret: {STRATEGIES[key][0]}, {WHERE[problem]}"
            for key in STRATEGIES for problem in WHERE}  # fmt: skip


@barred({what: at_least(1) for what in TIMED.values()})
def proposals() -> Iterator[Row]:
    """Where 60 random trials have been told; the mean of five proposals, each told before the next."""
    for (key, problem), what in TIMED.items():
        _, strategy, sampler = STRATEGIES[key]
        if peer is None:
            yield unmeasured(what, "no Optuna here")
            continue
        posed = getattr(problems, problem)()
        settings = [sample(posed.space, generator=seeded(number)) for number in range(TOLD)]
        yield clocked(what, partial(ours, strategy, posed, settings), partial(theirs, sampler, posed, settings),
                      peer_name=f"Optuna's {sampler}", rounds=15)  # fmt: skip


def ours(strategy: ModuleType, problem: Problem, settings: list[Params]) -> float:
    state, taken = strategy.init(problem.space, num_trials=10**6, num_initial=TOLD, seed=0), []
    for params in settings:
        trial, state = contract.add(state, params)
        state = strategy.tell(state, trial, problem.value(params))
    for _ in range(1 + ASKED):
        began = time.perf_counter()
        trial, state = strategy.ask(state)
        taken.append(time.perf_counter() - began)
        state = strategy.tell(state, trial, problem.value(trial.params))
    return fmean(taken[1:])


def theirs(sampler: str, problem: Problem, settings: list[Params]) -> float:
    """As the recipe makes them."""
    suggested = tables.recipe("search/beside_optuna").suggested
    peer.logging.set_verbosity(peer.logging.ERROR)
    study, taken = peer.create_study(sampler=peer.samplers.RandomSampler(seed=0)), []
    for params in settings:
        study.enqueue_trial(params)
    study.optimize(lambda trial: problem.value(suggested(trial, problem.space)), n_trials=TOLD)
    together = {"multivariate": True, "group": True} if sampler == "TPESampler" and problem.space.when else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "experimental"
        study.sampler = getattr(peer.samplers, sampler)(seed=0, **together)
        for _ in range(1 + ASKED):
            began = time.perf_counter()
            trial = study.ask()
            params = suggested(trial, problem.space)
            taken.append(time.perf_counter() - began)
            study.tell(trial, problem.value(params))
    return fmean(taken[1:])


@barred({what: at_most(MARGIN, "") for what in COMPARED.values()})
def regrets() -> Iterator[Row]:
    """Upper ends of the intervals, by the rule of the recipe."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in tables.load("search/beside_optuna"):
        found.setdefault((row["strategy"], row["problem"]), []).extend(row["regrets"])
    random, excess = {}, {}
    for key, problem in COMPARED:
        mine, peers, plain = (found[name, problem] for name in (key, f"optuna_{key}", "random"))
        mine, peers, plain = (torch.tensor(each[: len(mine)], dtype=torch.float64) for each in (mine, peers, plain))
        excess[key, problem], random[key, problem] = mine - peers - MARGIN * plain, float(plain.mean())
    for which, upper in holm(excess).items():
        value = upper / random[which] + MARGIN
        yield measured(COMPARED[which], value, unit="", better="lower")


def holm(excess: Mapping, *, level: float = 0.05) -> dict:
    """Upper ends of two-sided t intervals of means, as wide as Holm asks for that all those below 0 are at once.

    The least likely to have a mean of 0 or more comes first, at level / count; then the next, at level / (count − 1);
    from the first that reaches 0 on, all have its width.

    Args:
        excess: name -> (repeats,).
        level: the chance that any is wrong.
    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """

    def end(values: Tensor, share: float) -> float:
        error = float(values.std()) / math.sqrt(len(values))
        return float(values.mean()) + float(stats.t.ppf(1 - share / 2, len(values) - 1)) * error

    def chance(values: Tensor) -> float:
        return float(stats.ttest_1samp(values.numpy(), 0, alternative="less").pvalue)

    left, ends = len(excess), {}
    for name in sorted(excess, key=lambda name: chance(excess[name])):
        ends[name] = end(excess[name], level / left)
        left -= ends[name] < 0
    return {name: ends[name] for name in excess}
