"""Checks of the exercises in chapter `nas`, collected from one file for each page."""

from labsupport.checks.nas.cheap_estimates import epochs_each, rank_agreement, sensitivity
from labsupport.checks.nas.controller import advantages, coins, reinforce_slope
from labsupport.checks.nas.search_spaces import count_distinct, join_pictures, same_padding
from labsupport.checks.nas.strategies import generation, winners_worth
from labsupport.checks.nas.weight_sharing import kept_operation, most_likely

__all__ = [
    "advantages",
    "coins",
    "count_distinct",
    "epochs_each",
    "generation",
    "join_pictures",
    "kept_operation",
    "most_likely",
    "rank_agreement",
    "reinforce_slope",
    "same_padding",
    "sensitivity",
    "winners_worth",
]
