"""What an optimizer is here, and the small steps that several share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from labsupport.remaking import Remade
from labsupport.values import check_choice

__all__ = ["Optimizer", "check_inner", "counter", "decayed", "titled", "zeros"]

Params = dict[str, Tensor]
State = dict[str, dict[str, Tensor]]
Settings = Mapping[str, "Tensor | float"]

SHARES = frozenset({"momentum", "beta1", "beta2", "decay"})
"""Names of settings that must lie below 1."""
REACHES = ("entry", "tensor", "network")


@dataclass(frozen=True, eq=False)
class Optimizer(Remade):
    """A rule of descent. One that a function of this room made can be pickled, and comes back as the same object.

    Attributes:
        name: what it is called.
        init: params -> state, a dict of dicts of tensors.
        update: (grads, state, params, settings) -> (params, state). `settings` holds every name in `defaults`: a
            number, or a tensor without dimensions. Nothing is checked here.
        defaults: name of each setting -> its default; None where the caller must give one.
        at: (params, state, settings) -> where the gradient is to be taken, for rules that take it elsewhere than at
            the parameters they would hand out; None is at the parameters.
        reach: how far a rule looks. "entry": every entry of a parameter moves by itself, so that a part of a tensor, or
            several tensors of a layer in one, are updated as they would be whole. "tensor": something of a whole
            tensor enters, such as its length; "network": something of all tensors together, or it was not said.
        layers: the layers that `by_layer` gives rates of their own.
    Raises:
        ValueError: an unknown reach.
    """

    name: str
    init: Callable[[Params], State]
    update: Callable[[Params, State, Params, Settings], tuple[Params, State]]
    defaults: Mapping[str, float | None]
    at: Callable[[Params, State, Settings], Params] | None = None
    reach: Literal["entry", "tensor", "network"] = "network"
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("Optimizer", "reach", self.reach, REACHES)

    @property
    def elementwise(self) -> bool:
        """Whether every entry moves by itself."""
        return self.reach == "entry"

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(self.defaults)})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "defaults": dict(self.defaults)}  # a MappingProxyType cannot be pickled

    def __deepcopy__(self, memo: dict) -> Optimizer:
        return self


def check_inner(where: str, inner: Optimizer) -> None:
    """Raise ValueError unless `inner`, which a rule named `where` wraps, is an optimizer of this room."""
    if not isinstance(inner, Optimizer):
        raise ValueError(f"{where}: inner must be one of labsupport.optimizers, such as sgd(), got {inner!r}")


def titled(name: str, option: str, usual: str) -> str:
    """A rule's name, with an option that is not the usual one: states of rules with other names are not exchanged."""
    return name if option == usual else f"{name}, {option}"


def zeros(params: Params) -> Params:
    """Zeros like the parameters."""
    return {name: torch.zeros_like(value) for name, value in params.items()}


def counter(params: Params, value: float = 0.0) -> Tensor:
    """A number for the whole network, in float32 or wider: in bfloat16, 256 + 1 is 256 and 0.999 is 1."""
    first = next(iter(params.values()))
    return first.new_full((), value, dtype=torch.promote_types(first.dtype, torch.float32))


def decayed(grads: Params, params: Params, settings: Settings) -> Params:
    """Gradients of the loss plus ½λ‖θ‖², λ the setting weight_decay; where it is the number 0, as they are."""
    decay = settings["weight_decay"]
    if not isinstance(decay, Tensor) and decay == 0:
        return grads
    return {name: grad + decay * params[name] for name, grad in grads.items()}
