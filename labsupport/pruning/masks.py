"""Weights held at exactly 0 while a network trains: masks as buffers, by `torch.nn.utils.parametrize`.

    masks.apply_(net, {"0.weight": scores > bound})

A masked parameter is computed as `torch.where(mask, original, 0)` in every pass. `original` is what the optimizer
moves; where the mask is False its gradient is 0, and whatever momentum, Adam or weight decay do to it, the network sees
0. The mask travels with the module: in `state_dict`, to other devices, into copies and pickles, and into a population,
where `population.init` and `population.start` stack it like any buffer, so that each member has its own.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

__all__ = ["apply_", "from_torch_prune_", "masked", "masks_of", "name_of", "plain", "remove_", "to_torch_prune_"]

INSIDE = re.compile(r"(?<![^.])parametrizations\.([^.]+)\.(original|0\.mask)$")


class _Mask(nn.Module):
    """The mask of one parameter, and the order in which its layer held its parameters before."""

    is_mask = True  # by which `labsupport.population` knows that it need not differentiate through it

    def __init__(self, mask: Tensor, order: tuple[str, ...]) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.order = order

    def forward(self, value: Tensor) -> Tensor:
        return torch.where(self.mask, value, 0)

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def apply_(module: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """Mask parameters, in place. The parameters stay the same objects, so that an optimizer made before goes on.

    A mask replaces the one that a parameter had. What it hides is kept: a later mask with True there shows it again.

    Args:
        module: the network, or one layer.
        masks: name of a parameter, as `named_parameters` of the plain module says it ("0.weight"), -> boolean tensor
            of its shape on its device, False where it is to be 0. They are copied.
    Returns:
        module
    Raises:
        ValueError: a name is unknown, its parameter is tied, parametrized in another way or one of torch's recurrent
            layers; or a mask is not boolean or of another shape or device. The module is then as it was.
    """
    _check_module("apply_", module)
    if not isinstance(masks, Mapping):
        raise ValueError(f"apply_: masks must map names to boolean tensors, got {type(masks).__name__}")
    places = _places(module)
    for name, mask in masks.items():
        _check_place("apply_", module, name, places)
        _check_like("apply_", name, mask, places[name][0])
    by_layer: dict[str, dict[str, Tensor]] = {}
    for name, mask in masks.items():
        path, _, own = name.rpartition(".")
        by_layer.setdefault(path, {})[own] = mask.detach().clone()
    for path, own in by_layer.items():
        layer = module.get_submodule(path)
        every = {**_masks(layer), **own}
        _wrap(_unwrap(layer), every)
    return module


def masks_of(module: nn.Module) -> dict[str, Tensor]:
    """The masks of a module, name of the parameter -> copy of its mask, as `apply_` takes them."""
    _check_module("masks_of", module)
    found = {}
    for path, layer in module.named_modules():
        found |= {f"{path}.{own}".lstrip("."): mask.clone() for own, mask in _masks(layer).items()}
    return found


def remove_(module: nn.Module) -> nn.Module:
    """Make a masked module an ordinary one, in place, its masked weights 0. The parameters stay the same objects."""
    _check_module("remove_", module)
    for layer in list(module.modules()):
        for own, mask in _masks(layer).items():
            with torch.no_grad():
                layer.parametrizations[own].original.masked_fill_(~mask, 0)
        _unwrap(layer)
    return module


def name_of(key: str) -> str:
    """The name that a parameter of a masked module, or its mask, has in the plain module; others keep theirs."""
    return INSIDE.sub(r"\1", key)


def plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the plain module from that of a masked one, masked weights 0.

    Args:
        state: name -> tensor, for one module or, each (members, …), for a population: params and buffers together.
    Raises:
        ValueError: a masked parameter comes without its mask.
    """
    found = {}
    for key, value in state.items():
        kind = INSIDE.search(key)
        if kind and kind[2] == "original":
            hidden = key.removesuffix("original") + "0.mask"
            if hidden not in state:
                raise ValueError(f"plain: state must hold a mask for each masked parameter, got none named {hidden}")
            value = torch.where(state[hidden], value, 0)
        if not kind or kind[2] == "original":
            found[name_of(key)] = value
    return found


def masked(state: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a masked module from that of a plain one; with masks (members, …), that of a population.

    Args:
        state: name -> tensor.
        masks: name -> boolean tensor of the same shape.
    Raises:
        ValueError: a mask has a name that is not in the state, is not boolean, or has another shape.
    """
    if not isinstance(state, Mapping) or not isinstance(masks, Mapping):
        got = f"{type(state).__name__} and {type(masks).__name__}"
        raise ValueError(f"masked: state and masks must map names to tensors, got {got}")
    for name, mask in masks.items():
        if name not in state:
            raise ValueError(f"masked: masks must have names of the state, got {name!r}")
        _check_like("masked", name, mask, state[name])
    found = {}
    for key, value in state.items():
        if key in masks:
            path, _, own = key.rpartition(".")
            inside = f"{path}.parametrizations.{own}".lstrip(".")
            found |= {f"{inside}.original": value, f"{inside}.0.mask": masks[key]}
        else:
            found[key] = value
    return found


def from_torch_prune_(module: nn.Module) -> nn.Module:
    """Turn the masks of `torch.nn.utils.prune` into ours, in place; what they hide is kept.

    Raises:
        ValueError: a parameter is tied, or of one of torch's recurrent layers. The module is then as it was.
    """
    _check_module("from_torch_prune_", module)
    places, masks = _places(module), {}
    for path, layer in module.named_modules():
        for own in [hook._tensor_name for hook in layer._forward_pre_hooks.values() if _is_torch_prune(hook)]:
            name = f"{path}.{own}".lstrip(".")
            _check_place("from_torch_prune_", module, f"{name}_orig", places)
            masks[name] = layer.get_buffer(f"{own}_mask") != 0
    orders = {}
    for name in masks:
        path, _, own = name.rpartition(".")
        layer = module.get_submodule(path)
        orders.setdefault(path, []).append(own)
        hidden = layer.get_parameter(f"{own}_orig").detach().clone()
        prune.remove(layer, own)
        layer.get_parameter(own).data = hidden
    for path, pruned in orders.items():  # torch puts what it prunes last; its own layers have their weights first
        layer = module.get_submodule(path)
        _sort(layer, sorted([*pruned, *layer._parameters], key=lambda own: "bias" in own))
    return apply_(module, masks)


def to_torch_prune_(module: nn.Module) -> nn.Module:
    """Turn our masks into those of `torch.nn.utils.prune`, in place; what they hide is kept."""
    masks = masks_of(module)
    for layer in list(module.modules()):
        _unwrap(layer)
    for name, mask in masks.items():
        path, _, own = name.rpartition(".")
        prune.custom_from_mask(module.get_submodule(path), own, mask)
    return module


def _masks(layer: nn.Module) -> dict[str, Tensor]:
    """Of one layer: name of its own parameter -> mask."""
    lists = layer._modules.get("parametrizations", {})
    return {own: each[0].mask for own, each in lists.items() if is_ours(each)}


def is_ours(parametrized: nn.Module) -> bool:
    return len(parametrized) == 1 and isinstance(parametrized[0], _Mask)


def _is_torch_prune(hook: Callable) -> bool:
    return isinstance(hook, prune.BasePruningMethod)


def _wrap(layer: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    order, base = tuple(layer._parameters), type(layer)
    for own, mask in masks.items():
        parametrize.register_parametrization(layer, own, _Mask(mask, order), unsafe=True)
    layer.parametrizations.train(layer.training)
    # torch forbids pickles of such a layer, and its copies share a class, so that unmasking one would break the other
    made = type(layer)
    made.__reduce_ex__ = _reduced
    if not hasattr(base, "__deepcopy__"):
        del made.__deepcopy__
    return layer


def _unwrap(layer: nn.Module) -> nn.Module:
    """The layer without its masks and with everything that they hid, in place."""
    masks = _masks(layer)
    if masks:
        lists = layer._modules.pop("parametrizations")
        layer.__class__ = type(layer).__bases__[0]
        for own in masks:
            layer._parameters[own] = lists[own].original
        _sort(layer, lists[next(iter(masks))][0].order)
    return layer


def _sort(layer: nn.Module, order: tuple[str, ...] | list[str]) -> None:
    held = layer._parameters
    layer._parameters = {name: held[name] for name in (*(k for k in order if k in held), *held)}


def _reduced(layer: nn.Module, protocol: int) -> tuple[Callable, tuple[Any, ...]]:
    """How a masked layer is copied and pickled: as a plain layer, which is then masked."""
    twin = layer.__new__(type(layer))
    twin.__dict__ = {**layer.__dict__}
    for name in ("_modules", "_parameters"):
        twin.__dict__[name] = copy.copy(layer.__dict__[name])
    return _wrap, (_unwrap(twin), _masks(layer))


def _places(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Plain name -> the parameter; those that are tied come with all that share it."""
    every = [(name_of(key), value) for key, value in module.named_parameters(remove_duplicate=False)]
    return {name: [other for _, other in every if other is value] for name, value in every}


def _check_module(where: str, module: nn.Module) -> None:
    if not isinstance(module, nn.Module):
        raise ValueError(f"{where}: module must be a torch.nn.Module, got {type(module).__name__}")
    for path, layer in module.named_modules():
        lists = layer._modules.get("parametrizations", {})
        if len({is_ours(each) for each in lists.values()}) > 1:
            raise ValueError(f"{where}: a masked layer must have no other parametrization, got one in {path!r}")


def _check_place(where: str, module: nn.Module, name: str, places: Mapping[str, list[nn.Parameter]]) -> None:
    """Raise ValueError unless a parameter of this name can be masked."""
    if name not in places:
        hint = ", which torch.nn.utils.prune holds: see from_torch_prune_" if f"{name}_orig" in places else ""
        raise ValueError(f"{where}: masks must have names of parameters ({', '.join(places)}), got {name!r}{hint}")
    layer = module.get_submodule(name.rpartition(".")[0])
    if len(places[name]) > 1:
        raise ValueError(f"{where}: a masked parameter must not be tied to another, got {name!r}")
    if parametrize.is_parametrized(layer) and not _masks(layer):
        raise ValueError(f"{where}: a masked layer must have no other parametrization, got {name!r}")
    if isinstance(layer, nn.RNNBase):
        kept = "which keeps a list of its weights where no mask is seen"
        raise ValueError(f"{where}: a masked layer must not be torch's {type(layer).__name__}, {kept}, got {name!r}")


def _check_like(where: str, name: str, mask: Tensor, like: Tensor) -> None:
    kind = (mask.shape, mask.dtype, mask.device) if isinstance(mask, Tensor) else type(mask).__name__
    if kind != (like.shape, torch.bool, like.device):
        got = f"{tuple(mask.shape)} {mask.dtype} {mask.device}" if isinstance(mask, Tensor) else kind
        raise ValueError(f"{where}: the mask {name} must be {tuple(like.shape)} torch.bool {like.device}, got {got}")
