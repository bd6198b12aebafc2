"""Checks of the exercises in chapter `initialization`, collected from one file for each page."""

from labsupport.checks.initialization.starting_points import maximal_update, memory_bias, set_forget_bias
from labsupport.checks.initialization.symmetry_and_scale import jittered_start, merge_twins, steps_until_all_move
from labsupport.checks.initialization.variance_scaling import he_std, leaky_gain, orthogonal_start

__all__ = [
    "he_std",
    "jittered_start",
    "leaky_gain",
    "maximal_update",
    "memory_bias",
    "merge_twins",
    "orthogonal_start",
    "set_forget_bias",
    "steps_until_all_move",
]
