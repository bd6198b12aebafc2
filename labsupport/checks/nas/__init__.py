"""Checks of the exercises in chapter `nas`, collected from one file for each page."""

from labsupport.checks.nas.search_spaces import count_distinct, join_pictures, same_padding

__all__ = [
    "count_distinct",
    "join_pictures",
    "same_padding",
]
