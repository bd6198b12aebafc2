"""Checks of the exercises in chapter `search`, collected from one file for each page."""

from labsupport.checks.search.grid_and_random import log_grid, trials_needed, values_per_axis
from labsupport.checks.search.many_at_once import reported_error, seen_regret, speed_up

__all__ = [
    "log_grid",
    "reported_error",
    "seen_regret",
    "speed_up",
    "trials_needed",
    "values_per_axis",
]
