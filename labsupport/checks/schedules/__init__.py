"""Checks of the exercises in chapter `schedules`, collected from one file for each page."""

from labsupport.checks.schedules.decay import clamped_cosine, noise_floor, place_in_cycles
from labsupport.checks.schedules.warmup_and_cycles import snapshot_steps, triangle_rate
from labsupport.checks.schedules.what_to_use import average_weights, paired_losses, schedule_free_step

__all__ = [
    "average_weights",
    "clamped_cosine",
    "noise_floor",
    "paired_losses",
    "place_in_cycles",
    "schedule_free_step",
    "snapshot_steps",
    "triangle_rate",
]
