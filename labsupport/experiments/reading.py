"""What `Samples` are made of, read from what a caller gives and refused where it is something else."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Hashable
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labsupport.values import is_finite

__all__ = []  # Samples alone uses them


def read_axes(edge: Any) -> tuple[str, ...]:
    """Names of axes, each once."""
    if not isinstance(edge, (tuple, list)) or not all(isinstance(axis, str) for axis in edge):
        raise ValueError(f"Samples: edge must be a tuple of axes' names, got {edge!r}")
    return tuple(dict.fromkeys(edge))


def _listed(given: Any) -> list:
    """A sequence, tensor or array as a list; empty if it is none of them, such as a set, which has no order."""
    if isinstance(given, (str, bytes)) or not hasattr(given, "__getitem__"):
        return []
    return given.tolist() if hasattr(given, "tolist") else list(given)


def read_seeds(given: Any) -> tuple[int, ...]:
    """Different integers, at least two."""
    seeds = _listed(given)
    if not all(isinstance(seed, Integral) and not isinstance(seed, bool) for seed in seeds) or len(seeds) < 2:
        raise ValueError(f"Samples: seeds must be an integer per replicate, at least 2, got {reprlib.repr(given)}")
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise ValueError(f"Samples: seeds must differ, got {twice} twice")
    return tuple(map(int, seeds))


def read_labels(given: Any, total: int) -> tuple[Hashable, ...]:
    """A cluster's label for each of `total` replicates."""
    labels = _listed(given)
    hashable = all(isinstance(label, Hashable) for label in labels)
    if len(labels) != total or not hashable or len(set(labels)) < 2:
        got = f"{reprlib.repr(given)} for {total}"
        raise ValueError(f"Samples: clusters must be a hashable label per replicate, >= 2 different ones, got {got}")
    return tuple(labels)


def read_column(name: str, given: Any, seeds: tuple[int, ...]) -> Tensor:
    """A condition's numbers as a new tensor, bool or float64."""
    of = f" in condition {name!r}" if name else ""
    try:
        column = given.detach().cpu() if isinstance(given, Tensor) else torch.from_numpy(np.array(given))
    except (TypeError, ValueError, RuntimeError):
        column = torch.empty(())
    if column.ndim != 1 or column.is_complex():
        raise ValueError(f"Samples: values must be a 1-d sequence of numbers, got {reprlib.repr(given)}{of}")
    if len(column) != len(seeds):
        raise ValueError(f"Samples: values must be one per seed, {len(seeds)} in all, got {len(column)}{of}")
    if not is_finite(column):
        at = int(torch.isfinite(column).logical_not().nonzero()[0])
        found = f"{float(column[at])} at seed {seeds[at]}{of}"
        raise ValueError(f"Samples: values must be finite, a diverged run must count something, got {found}")
    return column.clone() if column.dtype == torch.bool else column.to(torch.float64, copy=True)


def elementwise(function: Callable[[Tensor], Tensor], column: Tensor) -> Tensor:
    """A function of each number, shown not to depend on the others."""
    found = function(column.clone())
    if not isinstance(found, Tensor) or found.shape != column.shape:
        raise ValueError(f"map: function must return a tensor of shape {tuple(column.shape)}, got {found!r}")
    alone = torch.cat([function(each.clone()).reshape(-1)[:1] for each in column.split(1)])
    if not torch.allclose(alone.double(), found.double(), equal_nan=True):
        raise ValueError(f"map: function must be elementwise, got {function!r}, which mixes replicates")
    return found
