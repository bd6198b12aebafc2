"""Checks of the exercises in chapter `pruning`, collected from one file for each page."""

from labsupport.checks.pruning.diversity_and_merging import merged_weights, subset_probability
from labsupport.checks.pruning.nodes import removal_order, taylor_saliency

__all__ = [
    "merged_weights",
    "removal_order",
    "subset_probability",
    "taylor_saliency",
]
