"""How much each layer loses, and what a network costs: parameters, multiply-adds, seconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from labsupport import population
from labsupport.data import Rows
from labsupport.population import Scores, State
from labsupport.pruning.edges.ranking import check_sparsity, keep_largest
from labsupport.pruning.masks import name_of, plain
from labsupport.values import check_count, holds, is_finite

__all__ = ["Costs", "by_sensitivity", "costs", "latency", "layer_masks", "sensitivity", "weights_of"]


class Costs(NamedTuple):
    """Of one forward pass: parameters, those of them that are not 0, and multiply-adds of all examples together."""

    parameters: int
    nonzero: int
    multiply_adds: int


def weights_of(params: Mapping[str, Tensor], *, batch_dims: int = 0) -> dict[str, Tensor]:
    """The weights among parameters: those of two axes or more beyond the leading `batch_dims`, unlike biases.

    Raises:
        ValueError: a parameter is parametrized, such as by a mask: what is seen of it is not what lies there.
    """
    if hidden := [name for name in params if ".parametrizations." in f".{name}"]:
        raise ValueError(f"weights_of: params must not lie behind masks (see masks.plain), got {hidden[0]}")
    return {name: value for name, value in params.items() if value.ndim >= 2 + batch_dims}


def sensitivity(
    state: State, x: Tensor, y: Tensor, *, sparsities: Sequence[float], loss: Callable[..., Tensor] = cross_entropy,
    rows: Rows | None = None,
) -> Scores:  # fmt: skip
    """What every member becomes with one layer pruned by size and the others whole, at every sparsity.

    All layers and sparsities of all members are measured as one population.

    Args:
        x, y, loss, rows: see `population.evaluate`.
        sparsities: of the layer that is pruned, each in [0, 1).
    Returns:
        Loss and error, each (members, layers, sparsities), the layers in the order of `weights_of(state.params)`.
    Raises:
        ValueError: a bound above is broken, or as `population.evaluate`.
    """
    if not isinstance(state, State):
        raise ValueError(f"sensitivity: state must be a population.State, got {type(state).__name__}")
    if not isinstance(sparsities, Sequence) or not len(sparsities):
        raise ValueError(f"sensitivity: sparsities must be one number or more, got {sparsities!r}")
    for sparsity in sparsities:
        check_sparsity("sensitivity", sparsity)
    weights = weights_of(state.params, batch_dims=1)
    if not weights:
        raise ValueError("sensitivity: state must have weights of two axes or more, got none")
    shape = (len(state), len(weights), len(sparsities))
    every = state[[member for member in range(len(state)) for _ in range(shape[1] * shape[2])]]
    params = {name: value.unflatten(0, shape).clone() for name, value in every.params.items()}
    for layer, (name, weight) in enumerate(weights.items()):
        for place, sparsity in enumerate(sparsities):
            mask = keep_largest(weight.abs(), sparsity=sparsity, batch_dims=1)
            params[name][:, layer, place] = torch.where(mask, weight, 0)
    pruned = replace(every, params={name: value.flatten(0, 2) for name, value in params.items()})
    return Scores(*(part.unflatten(0, shape) for part in population.evaluate(pruned, x, y, loss=loss, rows=rows)))


def by_sensitivity(
    losses: Tensor, sizes: Sequence[int], *, sparsities: Sequence[float], sparsity: float
) -> list[float]:
    """A sparsity for each layer: each alone would cost the same loss, and all together the wanted fraction goes.

    Between measured sparsities the loss is taken as straight; where it falls, as level.

    Args:
        losses: (layers, sparsities), of one layer pruned at a time.
        sizes: weights of each layer.
        sparsities: at which it was measured: rising, from 0.
        sparsity: fraction of all weights to go, in [0, 1).
    Raises:
        ValueError: shapes that do not fit, a bound is broken, or more is wanted than the sparsities reach.
    """
    check_sparsity("by_sensitivity", sparsity)
    at = torch.tensor([float(value) for value in sparsities], dtype=torch.float64)
    weights = torch.tensor([check_count("by_sensitivity", "sizes", size) for size in sizes], dtype=torch.float64)
    if not len(weights):
        raise ValueError("by_sensitivity: sizes must name a layer or more, got none")
    if not isinstance(losses, Tensor) or losses.shape != (len(weights), len(at)) or not is_finite(losses):
        got = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(f"by_sensitivity: losses must be finite, ({len(weights)}, {len(at)}), got {got}")
    if len(at) < 2 or at[0] != 0 or not holds(at.diff() > 0) or at[-1] >= 1:
        raise ValueError(f"by_sensitivity: sparsities must rise from 0 and stay below 1, got {list(sparsities)}")
    if sparsity > at[-1]:
        raise ValueError(f"by_sensitivity: sparsity must be at most the largest measured, {at[-1]:g}, got {sparsity}")
    rising = losses.double().cpu().cummax(1).values
    low, high = float(rising.min()) - 1, float(rising.max())
    for _ in range(80):
        middle = (low + high) / 2
        reached = (_reached(rising, at, middle) * weights).sum() / weights.sum()
        low, high = (middle, high) if reached < sparsity else (low, middle)
    under, over = _reached(rising, at, low), _reached(rising, at, high)
    totals = (under * weights).sum() / weights.sum(), (over * weights).sum() / weights.sum()
    share = (sparsity - totals[0]) / (totals[1] - totals[0]) if totals[1] > totals[0] else 0.0
    return (under + share * (over - under)).tolist()


def _reached(losses: Tensor, at: Tensor, most: float) -> Tensor:
    """The largest sparsity at which each layer's loss is no more than that; 0 where none is."""
    last = (losses <= most).sum(1)
    before, after = (last - 1).clamp(min=0), last.clamp(max=len(at) - 1)
    low, high = (losses.gather(1, place[:, None])[:, 0] for place in (before, after))
    share = ((most - low) / (high - low).clamp(min=torch.finfo(torch.float64).tiny)).clamp(0, 1)
    return torch.where(last == 0, 0.0, at[before] + share * (at[after] - at[before]))


def layer_masks(
    scores: Mapping[str, Tensor], sparsities: float | Mapping[str, float], *, batch_dims: int = 0
) -> dict[str, Tensor]:
    """`keep_largest` in every layer by itself, at one sparsity for all or at each its own.

    Raises:
        ValueError: a layer has no sparsity, or as `keep_largest`.
    """
    each = sparsities if isinstance(sparsities, Mapping) else dict.fromkeys(scores, sparsities)
    if each.keys() != scores.keys():
        raise ValueError(f"layer_masks: sparsities must name {', '.join(scores)}, got {', '.join(each)}")
    return {name: keep_largest(value, sparsity=each[name], batch_dims=batch_dims) for name, value in scores.items()}


def costs(module: nn.Module, x: Tensor) -> Costs:
    """Counted in one pass of x: linear layers and convolutions, whose weights of 0 are multiplied like others.

    The pass is one in eval mode, which is then what it was. What a mask hides counts as 0.

    Raises:
        ValueError: it is no module.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"costs: module must be a torch.nn.Module, got {type(module).__name__}")
    counted: list[int] = []

    def count(layer: nn.Module, _: tuple, said: Tensor) -> None:
        each = layer.weight[0].numel()  # multiply-adds for one number that comes out
        counted.append(said.numel() * each)

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    hooks = [layer.register_forward_hook(count) for layer in module.modules() if isinstance(layer, kinds)]
    try:
        with torch.no_grad(), _evaluating(module):
            module(x)
    finally:
        for hook in hooks:
            hook.remove()
    params = dict(module.named_parameters())
    shown = plain(params | {name: mask for name, mask in module.named_buffers() if name_of(name) != name})
    nonzero = sum(int(value.count_nonzero()) for value in shown.values())
    return Costs(sum(value.numel() for value in params.values()), nonzero, sum(counted))


def latency(module: nn.Module, x: Tensor, *, num_rounds: int = 30) -> float:
    """Seconds of one forward pass in eval mode, without gradients: the median of several, after three more.

    Raises:
        ValueError: it is no module, or num_rounds < 1.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"latency: module must be a torch.nn.Module, got {type(module).__name__}")
    check_count("latency", "num_rounds", num_rounds)
    wait = torch.accelerator.synchronize if x.device.type not in ("cpu", "meta") else lambda: None
    times = []
    with torch.inference_mode(), _evaluating(module):
        for _ in range(3 + num_rounds):
            wait()
            start = time.perf_counter()
            module(x)
            wait()
            times.append(time.perf_counter() - start)
    return statistics.median(times[3:])


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """In eval mode, so that norms and random state stay as they are; then each layer in its mode of before."""
    modes = {layer: layer.training for layer in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for layer, mode in modes.items():
            layer.training = mode
