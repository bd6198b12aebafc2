"""A network of linear layers as what layer-wise methods work on: one matrix and one Hessian a layer."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from labsupport.models import ACTIVATIONS
from labsupport.pruning.edges.layers import layer_hessian

__all__ = ["layer_hessians", "layer_inputs", "matrices", "steps_of", "with_matrices"]


def matrices(module: nn.Module) -> dict[str, Tensor]:
    """Weights of every linear layer, by its name: (out, in), with the bias as one more column where it has one.

    Those of a masked layer come with its zeros.

    Raises:
        ValueError: there is no linear layer.
    """
    layers = _linear("matrices", module)
    return {name: _joined(layer) for name, layer in layers.items()}


def with_matrices(module: nn.Module, found: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a network with other weights in some of its linear layers; see `matrices`.

    Raises:
        ValueError: a layer is unknown, masked or parametrized, or a matrix has another shape.
    """
    layers = _linear("with_matrices", module)
    for name, matrix in found.items():
        if name not in layers:
            raise ValueError(f"with_matrices: found must name linear layers, {', '.join(layers)}, got {name!r}")
        if not {"weight", "bias"} <= layers[name]._parameters.keys():
            got = f"{name!r}, which is masked or computed: see masks.remove_ and masks.from_torch_prune_"
            raise ValueError(f"with_matrices: found must name layers whose weights are parameters, got {got}")
        wanted = _joined(layers[name]).shape
        if not isinstance(matrix, Tensor) or matrix.shape != wanted:
            got = tuple(matrix.shape) if isinstance(matrix, Tensor) else type(matrix).__name__
            raise ValueError(f"with_matrices: {name} must be a tensor {tuple(wanted)}, got {got}")
    twin = copy.deepcopy(module)
    with torch.no_grad():
        for name, matrix in found.items():
            layer = twin.get_submodule(name)
            layer.weight.copy_(matrix[:, : layer.in_features])
            if layer.bias is not None:
                layer.bias.copy_(matrix[:, -1])
    return twin


def layer_inputs(module: nn.Sequential, x: Tensor) -> dict[str, Tensor]:
    """What every linear layer of a chain gets from examples x: (n, in), float64, by the layer's name.

    Raises:
        ValueError: the module is no chain of linear layers and elementwise activations, or x does not fit.
    """
    steps = steps_of("layer_inputs", module, x)
    return {name: before for name, layer, before in steps if isinstance(layer, nn.Linear)}


def layer_hessians(module: nn.Sequential, x: Tensor, *, damping: float) -> dict[str, Tensor]:
    """`layer_hessian` of every linear layer of a chain on examples x, float64, by the layer's name.

    Raises:
        ValueError: the module is no chain of linear layers and elementwise activations, x does not fit, or damping < 0.
    """
    steps = steps_of("layer_hessians", module, x)
    return {
        name: layer_hessian(before, damping=damping, bias=layer.bias is not None)
        for name, layer, before in steps if isinstance(layer, nn.Linear)
    }  # fmt: skip


def steps_of(where: str, module: nn.Sequential, x: Tensor) -> list[tuple[str, nn.Module | None, Tensor]]:
    """Each layer's name, itself and its input in float64; at the end, without a layer, the output."""
    if not isinstance(module, nn.Sequential):
        raise ValueError(f"{where}: module must be a torch.nn.Sequential, got {type(module).__name__}")
    kinds = (nn.Linear, *ACTIVATIONS.values())
    if not isinstance(x, Tensor) or x.is_complex():
        raise ValueError(f"{where}: x must be a real tensor, got {getattr(x, 'dtype', type(x).__name__)}")
    _check_untied(where, module)
    steps, value = [], x.detach().double()
    for place, (name, layer) in enumerate(module._modules.items()):  # named_children passes by what stands there twice
        if isinstance(layer, nn.Flatten) and place == 0:
            value = layer(value)
            continue
        if type(layer) not in kinds:
            rule = "linear layers and elementwise activations in a row"
            raise ValueError(f"{where}: module must be {rule}, got {type(layer).__name__} at {name!r}")
        if isinstance(layer, nn.Linear) and value.shape[1:] != (layer.in_features,):
            raise ValueError(f"{where}: x must be (n, {layer.in_features}) at {name!r}, got {tuple(value.shape)}")
        steps.append((name, layer, value))
        if isinstance(layer, nn.Linear):
            bias = 0 if layer.bias is None else layer.bias.detach().double()
            value = value @ layer.weight.detach().double().mT + bias
        else:
            value = layer(value.clone())  # it may work in place
    return [*steps, ("", None, value)]


def _check_untied(where: str, module: nn.Sequential) -> None:
    weights = [id(layer.weight) for layer in module._modules.values() if type(layer) is nn.Linear]
    if len(set(weights)) < len(weights):
        raise ValueError(f"{where}: module must have a weight of its own in each linear layer, got one used twice")


def _linear(where: str, module: nn.Module) -> dict[str, nn.Linear]:
    found = {
        name: layer for name, layer in module.named_modules()
        if type(layer) is nn.Linear or (isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer))
    }  # fmt: skip
    if not found:
        raise ValueError(f"{where}: module must have linear layers, got {type(module).__name__} without one")
    return found


def _joined(layer: nn.Linear) -> Tensor:
    weight = layer.weight.detach()
    return weight.clone() if layer.bias is None else torch.cat([weight, layer.bias.detach()[:, None]], dim=1)
