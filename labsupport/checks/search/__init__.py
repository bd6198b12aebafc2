"""Checks of the exercises in chapter `search`, collected from one file for each page."""

from labsupport.checks.search.bandits import halving_plan, promotable, rungs, survivors
from labsupport.checks.search.bayesian_optimization import improvement, liar_batch, log_likelihood, regrets
from labsupport.checks.search.grid_and_random import log_grid, trials_needed, values_per_axis

__all__ = [
    "halving_plan",
    "improvement",
    "liar_batch",
    "log_grid",
    "log_likelihood",
    "promotable",
    "regrets",
    "rungs",
    "survivors",
    "trials_needed",
    "values_per_axis",
]
