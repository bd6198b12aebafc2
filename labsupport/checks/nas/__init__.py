"""Checks of the exercises in chapter `nas`, collected from one file for each page."""

from labsupport.checks.nas.cheap_estimates import epochs_each, rank_agreement, sensitivity
from labsupport.checks.nas.search_spaces import count_distinct, join_pictures, same_padding
from labsupport.checks.nas.strategies import generation, winners_worth

__all__ = [
    "count_distinct",
    "epochs_each",
    "generation",
    "join_pictures",
    "rank_agreement",
    "same_padding",
    "sensitivity",
    "winners_worth",
]
