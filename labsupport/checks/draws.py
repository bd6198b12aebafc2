"""What the checks' inputs are drawn with: float64 whatever the default is, from the check's own generator."""

import torch
from torch import Tensor

__all__ = ["normal", "uniform", "whole"]


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Standard normal numbers of that shape, float64."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def uniform(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    """One number between `low` and `high`."""
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def whole(generator: torch.Generator, low: int, high: int) -> int:
    """One integer from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))
