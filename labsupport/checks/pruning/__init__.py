"""Checks of the exercises in chapter `pruning`, collected from one file for each page."""

from labsupport.checks.pruning.edges_by_curvature import brain_surgery, surgery_costs
from labsupport.checks.pruning.edges_by_size import layer_fractions, mask_of
from labsupport.checks.pruning.retraining import survivors, train_pruned

__all__ = [
    "brain_surgery",
    "layer_fractions",
    "mask_of",
    "surgery_costs",
    "survivors",
    "train_pruned",
]
