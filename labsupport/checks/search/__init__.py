"""Checks of the exercises in chapter `search`, collected from one file for each page."""

from labsupport.checks.search.bandits import halving_plan, promotable, rungs, survivors
from labsupport.checks.search.bayesian_optimization import improvement, liar_batch, log_likelihood, regrets
from labsupport.checks.search.grid_and_random import log_grid, trials_needed, values_per_axis
from labsupport.checks.search.many_at_once import idle_share, reported_error, speed_up
from labsupport.checks.search.scaling_out import hours_with_checkpoints, left_over

__all__ = [
    "halving_plan",
    "hours_with_checkpoints",
    "idle_share",
    "improvement",
    "left_over",
    "liar_batch",
    "log_grid",
    "log_likelihood",
    "promotable",
    "regrets",
    "reported_error",
    "rungs",
    "speed_up",
    "survivors",
    "trials_needed",
    "values_per_axis",
]
