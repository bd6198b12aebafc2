"""Checks of the exercises in chapter `optimizers`, collected from one file for each page."""

from labsupport.checks.optimizers.adaptive_rates import adadelta_step, rmsprop_in_basis, uncorrected_step
from labsupport.checks.optimizers.clipping import clip_by_norm, gathered
from labsupport.checks.optimizers.comparison import lion_step, tuned_difference
from labsupport.checks.optimizers.momentum import coasting, fair_rate

__all__ = [
    "adadelta_step",
    "clip_by_norm",
    "coasting",
    "fair_rate",
    "gathered",
    "lion_step",
    "rmsprop_in_basis",
    "tuned_difference",
    "uncorrected_step",
]
