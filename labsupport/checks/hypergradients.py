"""Checks of the exercises in chapter `hypergradients`, collected from one file for each pair of pages."""

from labsupport.checks.hypergradients_frontier import exact_method, implicit_hypergradient
from labsupport.checks.hypergradients_learning import honest_gain, learn_from_starts
from labsupport.checks.hypergradients_paths import bits_kept, line_hypergradient, step_back, undamp
from labsupport.checks.hypergradients_tasks import design_ties, tie_slope

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
