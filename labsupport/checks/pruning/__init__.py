"""Checks of the exercises in chapter `pruning`, collected from one file for each page."""

from labsupport.checks.pruning.retraining import survivors, train_pruned

__all__ = ["survivors", "train_pruned"]
