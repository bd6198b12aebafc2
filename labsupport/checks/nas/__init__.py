"""Checks of the exercises in chapter `nas`, collected from one file for each page."""

from labsupport.checks.nas.controller import advantages, coins, reinforce_slope
from labsupport.checks.nas.search_spaces import count_distinct, join_pictures, same_padding
from labsupport.checks.nas.weight_sharing import kept_operation, most_likely

__all__ = [
    "advantages",
    "coins",
    "count_distinct",
    "join_pictures",
    "kept_operation",
    "most_likely",
    "reinforce_slope",
    "same_padding",
]
