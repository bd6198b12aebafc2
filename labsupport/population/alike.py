"""Whether networks that were built for different seeds compute the same but for their parameters and buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import FunctionType, MethodType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as globally

from labsupport.population.draws import random_layers

__all__ = ["check_alike", "check_followed"]

_BLANK = nn.Module().__dict__
_SIMPLE = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)


def check_followed(where: str, module: nn.Module) -> None:
    """Raise ValueError where a network does what members would not follow.

    These are hooks on gradients, hooks on dropout or noise layers, and parameters or modules in plain attributes.
    """
    hooked = [name for name, value in module.named_parameters() if value._backward_hooks]
    hooked += [path for path, layer in module.named_modules() if layer._backward_hooks or layer._backward_pre_hooks]
    if hooked or globally._global_backward_hooks or globally._global_backward_pre_hooks:
        got = hooked[0] if hooked else "one on all modules"
        raise ValueError(f"{where}: build must set no hooks on gradients (a mask can be a buffer), got {got!r}")
    for path in random_layers(module):
        layer = module.get_submodule(path)
        if layer._forward_hooks or layer._forward_pre_hooks:
            raise ValueError(f"{where}: build must set no hooks on dropout or noise layers, got {path!r}")
    for path, layer in module.named_modules():
        for name in () if isinstance(layer, nn.RNNBase) else sorted(_own(layer)):
            if _holds(vars(layer)[name]):
                full = f"{path}.{name}" if path else name
                rule = "register parameters and modules (as attributes, or in ParameterList and ModuleList)"
                raise ValueError(f"{where}: build must {rule}, got some in the plain attribute {full}")


def check_alike(where: str, modules: Sequence[nn.Module]) -> None:
    """Raise ValueError unless all have the same layers, and what is no parameter or buffer is equal in all."""
    first = modules[0]
    for other in modules[1:]:
        if str(other) != str(first):
            raise ValueError(f"{where}: build must make the same layers, with the same rates, for every seed")
        known = {id(value) for net in (first, other) for value in (*net.parameters(), *net.buffers())}
        for path, layer in first.named_modules():
            _check_pair(where, path, layer, other.get_submodule(path), known)


def _check_pair(where: str, path: str, layer: nn.Module, twin: nn.Module, known: set[int]) -> None:
    own, theirs = _compared(layer), _compared(twin)
    for name in sorted(own.keys() | theirs.keys()):
        if name not in own or name not in theirs or _differ(own[name], theirs[name], known):
            full, what = f"{path}.{name}" if path else name, own.get(name)
            advice = "; register it as a buffer" if isinstance(what, (Tensor, np.ndarray)) else ""
            rule = "modules that differ in parameters and buffers alone"
            raise ValueError(f"{where}: build must make {rule}, got a {full} of its own for each{advice}")


def _compared(layer: nn.Module) -> dict[str, object]:
    """What must be equal: plain attributes, hooks, and the forward of a class that was made for this layer alone."""
    hooks = {name: list(vars(layer)[name].values()) for name in ("_forward_hooks", "_forward_pre_hooks")}
    return {name: vars(layer)[name] for name in _own(layer)} | hooks | {"forward": type(layer).forward}


def _holds(value: object, depth: int = 0) -> bool:
    """Whether a plain value holds parameters or modules."""
    if isinstance(value, (nn.Parameter, nn.Module)):
        return True
    if depth > 3 or not isinstance(value, (list, tuple, set, dict)):
        return False
    return any(_holds(each, depth + 1) for each in (value.values() if isinstance(value, dict) else value))


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
    if one is other or depth > 6:
        return False
    if isinstance(one, (FunctionType, MethodType, partial)):
        return _differ(_parts_of(one), _parts_of(other), known, depth + 1)
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


def _parts_of(function: object) -> list[object]:
    """What a function computes with besides its arguments."""
    if isinstance(function, partial):
        return [function.func, function.args, function.keywords]
    if isinstance(function, MethodType):
        return [function.__func__]
    cells = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
    return [function.__code__.co_code, list(function.__code__.co_names), function.__defaults__, cells]


def _filled(cell: object) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # not yet assigned
        return False
