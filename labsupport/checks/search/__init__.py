"""Checks of the exercises in chapter `search`, collected from one file for each page."""

from labsupport.checks.search.grid_and_random import log_grid, trials_needed, values_per_axis

__all__ = [
    "log_grid",
    "trials_needed",
    "values_per_axis",
]
