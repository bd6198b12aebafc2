"""Neural architecture search: spaces of codes, strategies that choose among them, estimates of what a code is worth."""

__all__ = [
    "alike", "cells", "chain_controller", "chains", "controller", "costs", "darts", "estimation", "evolution", "front",
    "learning", "policy", "shared", "space", "stacks", "table", "trials",
]  # fmt: skip
