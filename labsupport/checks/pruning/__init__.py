"""Checks of the exercises in chapter `pruning`, collected from one file for each page."""

from labsupport.checks.pruning.diversity_and_merging import merged_weights, subset_probability
from labsupport.checks.pruning.edges_by_curvature import brain_surgery, surgery_costs
from labsupport.checks.pruning.edges_by_size import layer_fractions, mask_of
from labsupport.checks.pruning.nodes import removal_order, taylor_saliency
from labsupport.checks.pruning.retraining import survivors, train_pruned
from labsupport.checks.pruning.smaller_for_real import left_to_multiply, saved_bias

__all__ = [
    "brain_surgery",
    "layer_fractions",
    "left_to_multiply",
    "mask_of",
    "merged_weights",
    "removal_order",
    "saved_bias",
    "subset_probability",
    "surgery_costs",
    "survivors",
    "taylor_saliency",
    "train_pruned",
]
