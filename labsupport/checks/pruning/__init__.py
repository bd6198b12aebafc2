"""Checks of the exercises in chapter `pruning`, collected from one file for each page."""

from labsupport.checks.pruning.edges_by_curvature import brain_surgery, surgery_costs
from labsupport.checks.pruning.edges_by_size import layer_fractions, mask_of
from labsupport.checks.pruning.retraining import survivors, train_pruned
from labsupport.checks.pruning.smaller_for_real import left_to_multiply, saved_bias

__all__ = [
    "brain_surgery",
    "layer_fractions",
    "left_to_multiply",
    "mask_of",
    "saved_bias",
    "surgery_costs",
    "survivors",
    "train_pruned",
]
