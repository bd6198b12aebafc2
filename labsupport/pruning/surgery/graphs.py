"""Which layers share their units: a network is traced once, and every axis that holds the same units is found."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils import parametrize, prune

from labsupport.pruning.masks import is_ours, name_of

__all__ = ["Graph", "Group", "Place", "graph", "held_by"]

Held = tuple[dict[str, "Tensor | None"], str, Tensor, bool]
CALLED = {
    "same": {
        *(torch.relu, torch.tanh, torch.sigmoid, torch.abs, torch.neg, torch.clamp, operator.neg, "relu", "relu_"),
        *("tanh", "sigmoid", "contiguous", "clamp", "abs", "neg", "clone", "detach", "float", "double"),
        *(functional.relu, functional.tanh, functional.sigmoid, functional.gelu, functional.silu, functional.elu),
        *(functional.leaky_relu, functional.softplus, functional.hardtanh, functional.relu6, functional.dropout),
        *(functional.avg_pool2d, functional.max_pool2d, functional.adaptive_avg_pool2d),
        *(functional.adaptive_max_pool2d,),
    },
    "joint": {
        *(operator.add, operator.iadd, operator.sub, operator.isub, operator.mul, operator.imul, operator.truediv),
        *(torch.add, torch.sub, torch.mul, torch.div, "add", "add_", "sub", "sub_", "mul", "mul_", "div"),
    },
    "flat": {torch.flatten, torch.reshape, "flatten", "view", "reshape"},
    "mean": {torch.mean, torch.sum, "mean", "sum"},
}
SAME = (
    nn.ReLU, nn.ReLU6, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.ELU, nn.Softplus, nn.Hardtanh, nn.Mish,
    nn.Hardswish, nn.Hardsigmoid, nn.Identity, nn.Dropout, nn.Dropout2d, nn.MaxPool2d, nn.AvgPool2d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d,
)  # fmt: skip


class Place(NamedTuple):
    """An axis of a tensor that holds units.

    Attributes:
        name: of the parameter or buffer in the plain module.
        dim: the axis.
        each: entries in a row that belong to one unit, such as the pixels of a channel behind a flatten.
        role: "in" where the axis makes the units (rows of a weight, a bias), "out" where it reads them (columns),
            "along" where it goes with them (norms, convolutions of a channel by itself).
    """

    name: str
    dim: int
    each: int
    role: str


@dataclass(frozen=True)
class Group:
    """Units that can only go together, one place or many: those of a layer, or of all that a sum adds up.

    Attributes:
        layers: paths of the layers that make them; any of them names the group.
        size: how many units.
        places: every axis that holds them.
        fixed: why they cannot be cut; "" where they can.
    """

    layers: tuple[str, ...]
    size: int
    places: tuple[Place, ...]
    fixed: str


@dataclass(frozen=True)
class Graph:
    """The units of an architecture.

    Attributes:
        groups: in the order of computation.
        shapes: name -> shape of every parameter and buffer of the plain module, by which an architecture is known.
    """

    groups: tuple[Group, ...]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def units(self) -> dict[str, int]:
        """Each layer whose units can be cut -> how many it has."""
        return {layer: group.size for group in self.groups if not group.fixed for layer in group.layers}


def graph(module: nn.Module, example: Tensor) -> Graph:
    """Trace a network by `torch.fx` and find which axes of which tensors hold the same units.

    Followed are linear layers, two-dimensional convolutions (whole, or each channel by itself), batch norm,
    activations, dropout, pooling, flatten, means over pixels, and sums and products of two such things. What another
    layer reads or makes is fixed, as are the outputs; to cut there is refused. While torch.fx traces, no other thread
    may call a module: it takes every call for one of its own.

    Args:
        module: the network, masked or not; it stays as it is.
        example: an input (n, …); only its shape matters. A floating one is brought to the device and dtype of the
            network, which in a population may be others than those of its members.
    Raises:
        ValueError: the network cannot be traced or run on the example, its parameters are tied, or weights are computed
            in another way than by our masks.
    """
    if not isinstance(module, nn.Module) or not isinstance(example, Tensor):
        got = f"{type(module).__name__} and {type(example).__name__}"
        raise ValueError(f"graph: module must be a torch.nn.Module and example a tensor, got {got}")
    tensors, layers = held_by("graph", module)
    shapes = {name: tuple(each[0][2].shape) for name, each in tensors.items()}
    for path, layer in layers.items():
        _check_weights(path, layer)
    twin = copy.deepcopy(module).eval()
    like = next(twin.parameters(), None)
    if like is not None:
        example = example.to(like) if example.is_floating_point() else example.to(like.device)
    try:
        traced = fx.GraphModule(twin, fx.Tracer().trace(twin))
        ran = _Ran(traced)
        with torch.no_grad():
            ran.run(example)
    except Exception as problem:  # whatever a forward may raise
        rule = "module must be one that torch.fx can trace, and the example must fit it"
        got = next(iter(str(problem).strip().splitlines()), type(problem).__name__)
        raise ValueError(f"graph: {rule}, got {got}") from problem
    return Graph(_Walk(traced, ran.shapes).groups(), shapes)


def _check_weights(path: str, layer: nn.Module) -> None:
    """Raise ValueError unless each weight is a parameter or masked by us: what else computes it would not be cut."""
    hooked = any(hasattr(hook, "compute_weight") or isinstance(hook, prune.BasePruningMethod)
                 for hook in layer._forward_pre_hooks.values())  # fmt: skip
    foreign = parametrize.is_parametrized(layer) and not all(map(is_ours, layer.parametrizations.values()))
    if hooked or foreign:
        rule = "module must hold its weights as parameters, masked by masks.apply_ or not"
        raise ValueError(f"graph: {rule}, got others in {path!r}: see masks.from_torch_prune_")


def held_by(where: str, module: nn.Module) -> tuple[dict[str, list[Held]], dict[str, nn.Module]]:
    """The tensors of a module by plain names, a masked parameter with its mask, and its layers by paths.

    Each tensor comes as the dict that holds it, its key there, itself, and whether it is a parameter.

    Raises:
        ValueError: one tensor stands under two names.
    """
    found: dict[str, list[Held]] = {}
    layers, seen = dict(module.named_modules()), set()
    for path, layer in layers.items():
        masked = "parametrizations" in path
        for store, trained in ((layer._parameters, True), (layer._buffers, False)):
            for key, value in store.items():
                if value is None:
                    continue
                name = f"{path}.{key}" if path else key
                if id(value) in seen:
                    raise ValueError(f"{where}: module must tie no tensors, got {name!r} under another name too")
                seen.add(id(value))
                found.setdefault(name_of(name) if masked else name, []).append((store, key, value, trained))
    return found, layers


class _Ran(fx.Interpreter):
    """Runs a network and notes the shape of whatever is a tensor."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n] = tuple(result.shape)
        return result


class _Flow(NamedTuple):
    """What runs along an edge: the number of its units' space, and how many entries in a row each unit has."""

    space: int
    each: int


class _Walk:
    """Follows units through a network; spaces that turn out to be the same are joined (union–find)."""

    def __init__(self, traced: fx.GraphModule, shapes: Mapping[fx.Node, tuple[int, ...]]) -> None:
        self.traced, self.shapes = traced, shapes
        self.parents: list[int] = []
        self.made: list[tuple[str, int]] = []  # space -> the layer that makes it, its size
        self.places: list[tuple[int, Place]] = []
        self.fixed: list[tuple[int, str]] = []
        self.calls: dict[str, tuple[_Flow | None, _Flow | None]] = {}
        self.flows: dict[fx.Node, _Flow | None] = {}
        for node in traced.graph.nodes:
            if node in shapes:
                self.flows[node] = self.follow(node)
        for node in traced.graph.find_nodes(op="get_attr"):  # a weight that is also used outside its layer
            self.fixed += [(space, f"{node.target} is used elsewhere") for space, place in self.places
                           if place.name == name_of(node.target)]  # fmt: skip

    def groups(self) -> tuple[Group, ...]:
        roots = [self.root(space) for space in range(len(self.parents))]
        found = []
        for root in dict.fromkeys(roots):
            layers = [self.made[space] for space, own in enumerate(roots) if own == root]
            places = dict.fromkeys(place for space, place in self.places if roots[space] == root)
            why = [why for space, why in self.fixed if roots[space] == root]
            found.append(Group(tuple(name for name, _ in layers), layers[0][1], tuple(places), (why or [""])[0]))
        return tuple(found)

    def root(self, space: int) -> int:
        while self.parents[space] != space:
            space = self.parents[space]
        return space

    def follow(self, node: fx.Node) -> _Flow | None:
        """The flow out of a node; whatever is not known fixes what flows in."""
        inputs = [each for each in node.all_input_nodes if each in self.shapes]
        kind = next((kind for kind, targets in CALLED.items() if node.target in targets), "")
        if node.op == "call_module":
            return self.layer(node, inputs)
        if node.op in ("call_function", "call_method") and inputs:
            if kind in ("same", "joint") and len(inputs) == 1:
                return self.flows[inputs[0]]
            if kind == "joint":
                return self.joined(node, inputs)
            first = bool(node.args) and node.args[0] is inputs[0]  # not by keyword
            if first and ((kind == "flat" and self.flattens(node)) or (kind == "mean" and self.averages(node))):
                return self.widened(node, inputs[0])
        self.fix(inputs, "they are outputs" if node.op == "output" else f"{node.name} reads them")
        return None

    def fix(self, nodes: list[fx.Node], why: str) -> None:
        self.fixed += [(self.flows[node].space, why) for node in nodes if self.flows.get(node)]

    def joined(self, node: fx.Node, inputs: list[fx.Node]) -> _Flow | None:
        flows = [self.flows[each] for each in inputs]
        alike = all(self.shapes[each] == self.shapes[node] for each in inputs)
        if not alike or None in flows or len({flow.each for flow in flows}) > 1:
            self.fix(inputs, f"{node.name} joins them with what has other units or none")
            return None
        for flow in flows[1:]:
            self.parents[self.root(flow.space)] = self.root(flows[0].space)
        return flows[0]

    def flattens(self, node: fx.Node) -> bool:
        """Whether all axes but the first become one, by a call that does not hold their size as a number."""
        before, after = self.shapes[node.args[0]], self.shapes[node]
        flat = len(after) == 2 and after == (before[0], math.prod(before[1:]))
        if node.target in (torch.flatten, "flatten"):
            return flat
        sizes = node.args[1] if isinstance(node.args[1], (tuple, list)) else node.args[1:]
        return flat and len(sizes) == 2 and sizes[1] == -1

    def averages(self, node: fx.Node) -> bool:
        """Whether axes beyond the second are averaged away."""
        dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        dims = (dims,) if isinstance(dims, int) else tuple(dims or ())
        rank = len(self.shapes[node.args[0]])
        return bool(dims) and all(isinstance(dim, int) and dim % rank >= 2 for dim in dims)

    def widened(self, node: fx.Node, before: fx.Node) -> _Flow | None:
        flow, width = self.flows[before], self.shapes[node][1]
        return flow and flow._replace(each=flow.each * width // self.shapes[before][1])

    def layer(self, node: fx.Node, inputs: list[fx.Node]) -> _Flow | None:
        path, layer = node.target, self.traced.get_submodule(node.target)
        before = inputs[0] if len(inputs) == 1 else None
        flow, rank = (self.flows[before], len(self.shapes[before])) if before else (None, 0)
        if before and isinstance(layer, SAME):
            return flow
        if before and isinstance(layer, nn.Flatten) and self.shapes[node][1:] == (math.prod(self.shapes[before][1:]),):
            return self.widened(node, before)
        along = isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels == layer.out_channels
        if before and (along or isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))) and rank in (2, 4):
            return self.along(path, layer, flow)
        linear = isinstance(layer, nn.Linear) and rank == 2
        if before and (linear or (isinstance(layer, nn.Conv2d) and layer.groups == 1 and rank == 4)):
            return self.made_by(path, layer, flow, before)
        self.fix(inputs, f"{type(layer).__name__} {path!r} reads them")
        return None

    def along(self, path: str, layer: nn.Module, flow: _Flow | None) -> _Flow | None:
        if path in self.calls:
            first = self.calls[path][0]
            if flow and first and flow.each == first.each:
                self.parents[self.root(flow.space)] = self.root(first.space)
            elif flow != first:
                self.fixed += [(each.space, f"{path!r} goes with other units too") for each in (flow, first) if each]
            return flow
        self.calls[path] = (flow, flow)
        if flow:
            own = (*layer._parameters.items(), *layer._buffers.items(), *_masked(layer))
            names = [name for name, value in own if value is not None and value.ndim]
            self.places += [(flow.space, Place(_under(path, name), 0, flow.each, "along")) for name in names]
        return flow

    def made_by(self, path: str, layer: nn.Module, flow: _Flow | None, before: fx.Node) -> _Flow:
        """The units of a linear layer or convolution, which may be called twice."""
        if path in self.calls:
            first, own = self.calls[path]
            if flow and first and flow.each == first.each:
                self.parents[self.root(flow.space)] = self.root(first.space)
            elif flow != first:
                self.fixed += [(each.space, f"{path!r} reads other units too") for each in (flow, first) if each]
            return own
        if flow:
            self.places.append((flow.space, Place(_under(path, "weight"), 1, flow.each, "out")))
        space = len(self.parents)
        self.parents.append(space)
        self.made.append((path, layer.weight.shape[0]))
        names = ["weight"] if layer.bias is None else ["weight", "bias"]
        self.places += [(space, Place(_under(path, name), 0, 1, "in")) for name in names]
        self.calls[path] = (flow, _Flow(space, 1))
        return self.calls[path][1]


def _under(path: str, name: str) -> str:
    return f"{path}.{name}".lstrip(".")


def _masked(layer: nn.Module) -> list[tuple[str, Tensor]]:
    """Names and values of a layer's parametrized parameters."""
    return [(name, getattr(layer, name)) for name in layer._modules.get("parametrizations", {})]
