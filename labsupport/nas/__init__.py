"""Neural architecture search: spaces of codes, strategies that choose among them, estimates of what a code is worth."""

__all__ = ["cells"]
