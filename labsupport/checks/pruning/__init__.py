"""Checks of the exercises in chapter `pruning`, collected from one file for each page."""

from labsupport.checks.pruning.smaller_for_real import left_to_multiply, saved_bias

__all__ = ["left_to_multiply", "saved_bias"]
