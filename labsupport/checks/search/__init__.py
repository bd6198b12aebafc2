"""Checks of the exercises in chapter `search`, collected from one file for each page."""

from labsupport.checks.search.grid_and_random import log_grid, trials_needed, values_per_axis
from labsupport.checks.search.many_at_once import idle_share, reported_error, speed_up
from labsupport.checks.search.scaling_out import left_over, lost_share

__all__ = [
    "idle_share",
    "left_over",
    "log_grid",
    "lost_share",
    "reported_error",
    "speed_up",
    "trials_needed",
    "values_per_axis",
]
