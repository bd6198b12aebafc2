"""Checks of the exercises in chapter `optimizers`, collected from one file for each group of pages."""

from labsupport.checks.optimizers_adaptive import adadelta_step, rmsprop_in_basis, uncorrected_step
from labsupport.checks.optimizers_comparison import lion_step, tuned_difference
from labsupport.checks.optimizers_momentum import clip_by_norm, coasting, fair_rate, gathered

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
