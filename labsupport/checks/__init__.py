"""Checks for the exercises: each tests properties of a reader's function and explains what is wrong."""

from labsupport.checks import hypergradients, initialization, landscape, nas, optimizers, pruning, schedules, search
from labsupport.checks.frame import Check, Report, collect, grade

__all__ = [
    "ALL", "Check", "Report", "grade", "hypergradients", "initialization", "landscape", "nas", "optimizers", "pruning",
    "schedules", "search",
]  # fmt: skip

ALL: dict[str, Check] = collect(landscape, initialization, optimizers, schedules, hypergradients, pruning, search, nas)
