"""An optimizer's step for all members at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from labsupport.optimizers import Optimizer
from labsupport.optimizers.layer_rates import names_by_layer
from labsupport.population.layers import over_members

__all__ = ["Layout", "place_of", "uphill", "update"]

ALL = ".all"  # no parameter's name begins so, and none has two dots in a row
Values = dict[str, Tensor]
Slots = dict[str, Values]
Settings = Mapping[str, "Tensor | float"]


class Layout:
    """How a rule's tensors lie while a slab is trained.

    A rule that looks at single entries sees all parameters of a layer that it knows, or of the whole network, as one
    tensor (members, entries), so that its few operations are made once and not for every small tensor. Whatever looks
    further, at lengths of tensors, sees each parameter as it is. Made from the parameters, (members, …) by name.
    """

    def __init__(self, optimizer: Optimizer, params: dict[str, torch.Tensor]) -> None:
        self.optimizer = optimizer
        if optimizer.elementwise:
            parts = names_by_layer(params, optimizer.layers)
            self.groups = {f"{path}.{ALL}" if path else ALL: names for path, names in parts.items()}
        else:
            self.groups = {name: [name] for name in params}
        self.shapes = {name: value.shape[1:] for name, value in params.items()}
        self.sizes = {key: [self.shapes[name].numel() for name in names] for key, names in self.groups.items()}

    def joined(self, values: Values) -> Values:
        """Values by the names of parameters, laid together where they are there; other names stay. All are new."""
        if not self.optimizer.elementwise:
            return {name: value.detach().clone() for name, value in values.items()}
        like = {n: value.detach() for n, value in values.items() if value.shape[1:] == self.shapes.get(n)}
        rows, groups = _rows(like), {k: names for k, names in self.groups.items() if all(n in like for n in names)}
        laid = {key: torch.cat([rows[name] for name in names], 1) for key, names in groups.items()}
        together = {name for names in groups.values() for name in names}
        return laid | {name: value.detach().clone() for name, value in values.items() if name not in together}

    def parted(self, values: Values) -> Values:
        """The opposite: views of what lies together."""
        if not self.optimizer.elementwise:
            return values
        found = {name: value for name, value in values.items() if name not in self.groups}
        for key in values.keys() & self.groups.keys():
            for name, part in zip(self.groups[key], values[key].split(self.sizes[key], 1), strict=True):
                found[name] = part.view(len(part), *self.shapes[name])
        order = [name for name in self.shapes if name in found]
        return {name: found[name] for name in (*order, *(name for name in found if name not in self.shapes))}


def update(
    optimizer: Optimizer, grads: Values, slots: Slots, params: Values, settings: Settings
) -> tuple[Values, Slots]:
    """`optimizer.update` for all members: params, gradients and slots (members, …), settings (members,) or numbers.

    A rule that looks at single entries gets them as they are, (members, entries), with settings (members, 1). Whatever
    looks further goes by vmap.
    """
    if not optimizer.elementwise:
        return _mapped(optimizer.update, settings, grads, slots, params)
    rows = {slot: _rows(each) for slot, each in slots.items()}
    moved, after = optimizer.update(_rows(grads), rows, _rows(params), _columns(settings))
    slots = {slot: _shaped(after[slot], each) for slot, each in slots.items()}
    return _shaped(moved, params), slots


def place_of(optimizer: Optimizer, params: Values, slots: Slots, settings: Settings) -> Values:
    """Where the members' gradients are to be taken."""
    if optimizer.at is None:
        return params
    if not optimizer.elementwise:
        return _mapped(optimizer.at, settings, params, slots)
    rows = {slot: _rows(each) for slot, each in slots.items()}
    return _shaped(optimizer.at(_rows(params), rows, _columns(settings)), params)


def uphill(place: Values, grads: Values, radius: Tensor) -> Values:
    """Each member's place moved by `radius` (members,) along its gradient: sharpness-aware minimization's second place.

    Source: Foret et al. 2021, arXiv:2010.01412, eq. 2.
    """

    def one(place: Values, grads: Values, radius: Tensor) -> Values:
        length = sum(grad.square().sum() for grad in grads.values()).sqrt()
        scale = radius / length.clamp(min=torch.finfo(length.dtype).tiny)
        return {name: value + scale * grads[name] for name, value in place.items()}

    return over_members(one, place, grads, radius)


def _mapped(function: Callable, settings: Settings, *inputs: object) -> object:
    numbers = {name: value for name, value in settings.items() if not isinstance(value, Tensor)}
    each = {name: value for name, value in settings.items() if isinstance(value, Tensor)}
    return over_members(lambda each, *inputs: function(*inputs, numbers | each), each, *inputs)


def _rows(values: Values) -> Values:
    """Tensors (members, …) as (members, entries); a member's number has one."""
    return {name: value.flatten(1) if value.ndim > 1 else value[:, None] for name, value in values.items()}


def _columns(settings: Settings) -> dict[str, Tensor | float]:
    return {name: value[:, None] if isinstance(value, Tensor) else value for name, value in settings.items()}


def _shaped(rows: Values, like: Values) -> Values:
    return {name: rows[name].reshape(value.shape) for name, value in like.items()}
