"""Checks of the exercises in chapter `landscape`, collected from one file for each page."""

from labsupport.checks.landscape.flat_minima import edge_with_momentum, sam_step, scale_free_sharpness
from labsupport.checks.landscape.linear_paths import loss_barrier, permute_hidden
from labsupport.checks.landscape.saddle_points import escape_noise, morse_index, saddle_exponent, steps_to_escape

__all__ = [
    "edge_with_momentum",
    "escape_noise",
    "loss_barrier",
    "morse_index",
    "permute_hidden",
    "saddle_exponent",
    "sam_step",
    "scale_free_sharpness",
    "steps_to_escape",
]
