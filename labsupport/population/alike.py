"""Whether networks that were built for different seeds compute the same but for their parameters and buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["check_alike"]

_BLANK = nn.Module().__dict__
_SIMPLE = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)


def check_alike(where: str, modules: Sequence[nn.Module]) -> None:
    """Raise ValueError unless all have the same layers, and what is no parameter or buffer is equal in all."""
    first = modules[0]
    for other in modules[1:]:
        if str(other) != str(first):
            raise ValueError(f"{where}: build must make the same layers, with the same rates, for every seed")
        known = {id(value) for net in (first, other) for value in (*net.parameters(), *net.buffers())}
        for path, layer in first.named_modules():
            twin = other.get_submodule(path)
            for name in sorted(_own(layer) | _own(twin)):
                absent = name not in vars(layer) or name not in vars(twin)
                if absent or _differ(vars(layer)[name], vars(twin)[name], known):
                    full, what = f"{path}.{name}" if path else name, vars(layer).get(name)
                    advice = "; register it as a buffer" if isinstance(what, (Tensor, np.ndarray)) else ""
                    rule = "modules that differ in parameters and buffers alone"
                    raise ValueError(f"{where}: build must make {rule}, got a {full} of its own for each{advice}")


def _own(layer: nn.Module) -> set[str]:
    return {name for name in vars(layer) if name == "training" or name not in _BLANK}


def _differ(one: object, other: object, known: set[int], depth: int = 0) -> bool:
    """Whether two values are not the same; what cannot be compared, such as two functions, counts as the same.

    `known` are the ids of parameters and buffers, which may differ.
    """
    if id(one) in known and id(other) in known:
        return False
    if type(one) is not type(other):
        return True
    if one is other or depth > 4:
        return False
    if isinstance(one, Tensor):
        return one.shape != other.shape or not (one.is_meta or torch.equal(one, other))
    if isinstance(one, np.ndarray):
        return not np.array_equal(one, other)
    if isinstance(one, (*_SIMPLE, np.generic)):
        return bool(one != other) and not (one != one and other != other)
    if isinstance(one, (set, frozenset)):
        return one != other
    if isinstance(one, Mapping):
        return one.keys() != other.keys() or any(_differ(one[key], other[key], known, depth + 1) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) != len(other) or any(_differ(a, b, known, depth + 1) for a, b in zip(one, other, strict=True))
    if isinstance(one, (nn.Module, torch.Generator)) or callable(one) or not hasattr(one, "__dict__"):
        return False
    return _differ(vars(one), vars(other), known, depth + 1)
