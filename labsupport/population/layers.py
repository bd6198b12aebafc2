"""How the layers of all members are computed at once: by hand where a layer is known, else by `torch.func.vmap`.

An activation has the members in front: (members, batch, …). By hand, linear layers are batched products with the batch
last in memory, W xᵀ (products of many small matrices are faster with few rows than with few columns), and convolutions
are grouped, the members' channels side by side. A loss summed over members then gives each its own gradient by one
ordinary backward pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules import module as globally
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves, tree_map

from labsupport.population.draws import Given

__all__ = ["Way", "arrange", "forward", "over_members", "vmap_refuses", "words"]

Values = dict[str, Tensor]
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Way(NamedTuple):
    """How one layer goes.

    Attributes:
        path: of the layer; "" is the whole network.
        kind: name of its class.
        call: (layer, its values, x) -> output, all with an axis of members; moved buffers are replaced in the values.
        names: of its parameters and buffers: (name in the layer, name in the network).
        why: why it is not computed by hand; "" where it is.
    """

    path: str
    kind: str
    call: Callable[[nn.Module, dict[str, Tensor], Tensor], Tensor]
    names: tuple[tuple[str, str], ...]
    why: str = ""


def arrange(module: nn.Module) -> tuple[Way, ...]:
    """The ways of the layers of `trainable`'s copy of a network, in the order in which they run.

    A tree of `Sequential` is taken apart; what else it holds goes by hand if it is exactly one of torch's layers known
    here, without hooks, and by vmap otherwise. Of a parametrized one (`torch.nn.utils.parametrize`, a mask for example)
    only the parametrization goes by vmap. A network with a forward of its own, or with layers or parameters used twice,
    goes wholly by vmap.
    """
    why = _tied(module)
    return (_mapped("", module, why),) if why else tuple(_taken_apart("", module))


def forward(ways: Sequence[Way], layers: Sequence[nn.Module], values: Values, x: Tensor) -> Tensor:
    """Outputs (members, batch, …) of all members for x (members, batch, …).

    Args:
        layers: the layer of each way.
        values: name -> (members, …); what the network moves is replaced there.
    """
    if len(x) == 1 and not torch.compiler.is_compiling():
        x = x.clone() if any(way.why for way in ways) else x  # a layer may write into it
        return _alone(ways, layers, values, x.squeeze(0)).unsqueeze(0)
    for way, layer in zip(ways, layers, strict=True):
        own = {short: values[name] for short, name in way.names if name in values}
        x = way.call(layer, own, x)
        values.update({name: own[short] for short, name in way.names if short in own})
    return x


def _alone(ways: Sequence[Way], layers: Sequence[nn.Module], values: Values, x: Tensor) -> Tensor:
    """One member, its layers as they stand, on `values` that still have the axis of members."""
    for way, layer in zip(ways, layers, strict=True):
        before = {short: values[name].squeeze(0) for short, name in way.names if name in values}
        own = dict(before)
        if way.why or parametrize.is_parametrized(layer):
            x = functional_call(layer, own, (x,))
        else:  # a copy that is nobody else's: its tensors are put in place, faster than by functional_call
            for short, value in own.items():
                (layer._parameters if short in layer._parameters else layer._buffers)[short] = value
            x = layer(x)
            own.update((short, value) for short, value in layer._buffers.items() if short in own)
        # what was written into is a view of `values`; what was reassigned is put there
        moved = [(short, name) for short, name in way.names if own.get(short) is not before.get(short)]
        values.update({name: own[short].unsqueeze(0) for short, name in moved})
    return x


def over_members(function: Callable, *inputs: object) -> object:
    """`function` of each member alone: by vmap, or as it stands where there is one member only.

    What vmap has no rule for it does member by member, slower and the same; its warning of that is held back.
    """
    first = next(value for value in tree_leaves(inputs) if isinstance(value, Tensor))
    if len(first) == 1:
        return tree_map(lambda value: value[None], function(*tree_map(lambda value: value[0], inputs)))
    if torch.compiler.is_compiling():
        return vmap(function)(*inputs)
    before = torch._C._debug_only_are_vmap_fallback_warnings_enabled()
    torch._C._functorch._set_vmap_fallback_warning_enabled(False)
    try:
        return vmap(function)(*inputs)
    finally:
        torch._C._functorch._set_vmap_fallback_warning_enabled(before)


def vmap_refuses(problem: RuntimeError) -> bool:
    """Whether an error is vmap's own: data-dependent branches, operations without a rule for batches."""
    return "vmap" in str(problem) or "atching rule" in str(problem)


def words(ways: Sequence[Way], *, alone: bool) -> str:
    """Which layers go which way, and why, for the line that reports it."""
    hand = Counter(way.kind for way in ways if not way.why)
    rest = Counter((way.kind, way.why) for way in ways if way.why)
    parts = [f"by hand: {', '.join(map(_counted, hand.items()))}"] if hand else []
    if rest:
        named = (f"{_counted((kind, count))} ({why})" for (kind, why), count in rest.items())
        parts.append(f"{'as it stands' if alone else 'by vmap'}: {', '.join(named)}")
    return "; ".join(parts)


def _counted(item: tuple[str, int]) -> str:
    kind, count = item
    return kind if count == 1 else f"{count} {kind}"


def _tied(module: nn.Module) -> str:
    """Why the whole network must go by vmap."""
    modules = [layer for _, layer in module.named_modules(remove_duplicate=False)]
    values = [value for _, value in module.named_parameters(remove_duplicate=False)]
    values += [value for _, value in module.named_buffers(remove_duplicate=False)]
    if len(set(map(id, modules))) < len(modules) or len(set(map(id, values))) < len(values):
        return "a layer, parameter or buffer used twice"
    if globally._global_forward_hooks or globally._global_forward_pre_hooks:
        return "hooks on all modules"
    return ""


def _taken_apart(path: str, layer: nn.Module) -> list[Way]:
    why = _changed(layer)
    if type(layer) is nn.Sequential and not why:
        inside = (_taken_apart(f"{path}.{name}" if path else name, child) for name, child in layer.named_children())
        return [way for ways in inside for way in ways]
    kind = parametrize.type_before_parametrizations(layer)
    if kind not in KNOWN:
        return [_mapped(path, layer, why or ("a forward of its own" if path == "" else "not known by hand"))]
    call, fits, _ = KNOWN[kind]
    if why or not fits(layer):
        return [_mapped(path, layer, why or "options not known by hand")]
    call = call if kind is type(layer) else _parametrized
    return [Way(path, type(layer).__name__, call, _names(path, layer))]


def _changed(layer: nn.Module) -> str:
    """Why a layer is not what its class says."""
    if any(getattr(layer, kind) for kind in HOOKS):
        return "hooks"
    _, _, original = KNOWN.get(parametrize.type_before_parametrizations(layer), (None, None, type(layer).forward))
    return "a forward of its own" if "forward" in vars(layer) or type(layer).forward is not original else ""


def _names(path: str, layer: nn.Module) -> tuple[tuple[str, str], ...]:
    own = (*layer.named_parameters(), *layer.named_buffers())
    return tuple((name, f"{path}.{name}" if path else name) for name, _ in own)


def _mapped(path: str, layer: nn.Module, why: str) -> Way:
    return Way(path, type(layer).__name__, _as_it_stands, _names(path, layer), why)


def _as_it_stands(layer: nn.Module, own: Values, x: Tensor) -> Tensor:
    """The layer's own forward, by vmap."""
    buffers = [name for name, _ in layer.named_buffers() if name in own]

    def one(own: Values, x: Tensor) -> tuple[Tensor, Values]:
        own = dict(own)
        said = functional_call(layer, own, (x,))  # which leaves in `own` what the call reassigned
        return said, {name: own[name] for name in buffers}

    said, moved = over_members(one, own, x)
    own.update(moved)
    return said


def _parametrized(layer: nn.Module, own: Values, x: Tensor) -> Tensor:
    """A layer known by hand, with parameters that are first computed from others."""
    values = {name: value for name, value in own.items() if not name.startswith("parametrizations.")}
    for name, rule in layer.parametrizations.items():
        inside = f"parametrizations.{name}."
        given = {key.removeprefix(inside): value for key, value in own.items() if key.startswith(inside)}
        buffers = [key for key, _ in rule.named_buffers() if key in given]

        def one(given: Values, rule: nn.Module = rule, buffers: list[str] = buffers) -> tuple[Tensor, Values]:
            given = dict(given)
            said = functional_call(rule, given, ())
            return said, {key: given[key] for key in buffers}

        values[name], moved = over_members(one, given)
        own.update({inside + key: value for key, value in moved.items()})
    call, _, _ = KNOWN[parametrize.type_before_parametrizations(layer)]
    x = call(layer, values, x)
    own.update({name: value for name, value in values.items() if name in own})
    return x


def _linear(layer: nn.Linear, own: Values, x: Tensor) -> Tensor:
    if x.ndim < 3:
        return _as_it_stands(layer, own, x)
    rows = x if x.ndim == 3 else x.flatten(1, -2)
    if layer.bias is None:
        said = torch.bmm(own["weight"], rows.mT).mT
    else:
        said = torch.baddbmm(own["bias"][:, :, None], own["weight"], rows.mT).mT
    return said if x.ndim == 3 else said.unflatten(1, x.shape[1:-1])


def _side_by_side(x: Tensor) -> Tensor:
    """(members, batch, channels, …) as (batch, members · channels, …)."""
    return x.transpose(0, 1).flatten(1, 2)


def _apart(x: Tensor, members: int) -> Tensor:
    return x.unflatten(1, (members, -1)).transpose(0, 1)


def _convolution(layer: nn.Conv2d, own: Values, x: Tensor) -> Tensor:
    if x.ndim != layer.weight.ndim + 1:
        return _as_it_stands(layer, own, x)
    bias = None if layer.bias is None else own["bias"].flatten()
    weight, groups = own["weight"].flatten(0, 1), len(x) * layer.groups
    function = F.conv2d if isinstance(layer, nn.Conv2d) else F.conv1d
    return _apart(function(_side_by_side(x), weight, bias, layer.stride, layer.padding, layer.dilation, groups), len(x))


def _batch_norm(layer: nn.BatchNorm2d, own: Values, x: Tensor) -> Tensor:
    if layer.training:
        own["num_batches_tracked"] = own["num_batches_tracked"] + 1
    mean, var = own["running_mean"].flatten().clone(), own["running_var"].flatten().clone()
    weight, bias = (own[name].flatten() if name in own else None for name in ("weight", "bias"))
    said = F.batch_norm(_side_by_side(x), mean, var, weight, bias, layer.training, layer.momentum, layer.eps)
    if layer.training:
        own["running_mean"], own["running_var"] = (value.detach().view(len(x), -1) for value in (mean, var))
    return _apart(said, len(x))


def _by_channel(layer: nn.Module, own: Values, x: Tensor) -> Tensor:
    if x.ndim == (5 if isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)) else 4):
        return _apart(layer(_side_by_side(x)), len(x))
    return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def _by_entry(layer: nn.Module, own: Values, x: Tensor) -> Tensor:
    return layer(x)


def _flatten(layer: nn.Flatten, own: Values, x: Tensor) -> Tensor:
    first, last = (at + 1 if at >= 0 else at for at in (layer.start_dim, layer.end_dim))
    return x.flatten(first, last)


def _given(layer: Given, own: Values, x: Tensor) -> Tensor:
    if not layer.training:
        return x
    return x * own["given"] if layer.kind == "p" else x + own["given"]


def _not_in_place(layer: nn.Module) -> bool:
    return not getattr(layer, "inplace", False)


def _images(layer: nn.Conv2d) -> bool:
    return layer.padding_mode == "zeros"


def _running(layer: nn.BatchNorm2d) -> bool:
    return layer.track_running_stats and layer.momentum is not None


def _whole(layer: nn.Module) -> bool:
    return not getattr(layer, "return_indices", False)


def _from_examples(layer: nn.Flatten) -> bool:
    return layer.start_dim >= 1


KNOWN = {
    kind: (call, fits, kind.forward)
    for call, fits, kinds in (
        (_linear, _whole, (nn.Linear,)),
        (_convolution, _images, (nn.Conv1d, nn.Conv2d)),
        (_batch_norm, _running, (nn.BatchNorm1d, nn.BatchNorm2d)),
        (_by_channel, _whole, (nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)),
        (_by_entry, _not_in_place, (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.SiLU, nn.Identity)),
        (_flatten, _from_examples, (nn.Flatten,)),
        (_given, _whole, (Given,)),
    )
    for kind in kinds
}
"""Class -> (how it is computed, whether its options are known, its forward when this was read)."""
