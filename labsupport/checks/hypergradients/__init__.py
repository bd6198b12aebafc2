"""Checks of the exercises in chapter `hypergradients`, collected from one file for each page."""

from labsupport.checks.hypergradients.backprop_through_training import bits_kept, step_back, undamp
from labsupport.checks.hypergradients.beyond_drmad import exact_method, implicit_hypergradient
from labsupport.checks.hypergradients.drmad import line_hypergradient
from labsupport.checks.hypergradients.learning_934_hyperparameters import honest_gain, learn_from_starts
from labsupport.checks.hypergradients.multi_task import design_ties, tie_slope

__all__ = [
    "bits_kept",
    "design_ties",
    "exact_method",
    "honest_gain",
    "implicit_hypergradient",
    "learn_from_starts",
    "line_hypergradient",
    "step_back",
    "tie_slope",
    "undamp",
]
