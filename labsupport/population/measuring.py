"""How good the members are: outputs, losses, errors and gradients of all of them, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from labsupport.data import Rows
from labsupport.population.feeds import Feed
from labsupport.population.fitting import check_x
from labsupport.population.layers import vmap_refuses
from labsupport.population.members import State
from labsupport.population.programs import IGNORED, Network, Objective, member_losses, network, outputs
from labsupport.population.settings import loss_settings
from labsupport.population.slabs import slabs_for

__all__ = ["Scores", "evaluate", "gradients", "predict", "scores_of"]

AT_ONCE = 16  # members measured together on a CPU: their activations then stay in its cache
Values = dict[str, Tensor]


class Scores(NamedTuple):
    """Mean loss and fraction of examples classified wrongly, both (members,); the error is NaN without classes."""

    loss: Tensor
    error: Tensor


def evaluate(state: State, x: Tensor, y: Tensor, *, loss: Callable[..., Tensor], rows: Rows | Tensor | None = None
             ) -> Scores:  # fmt: skip
    """Mean loss and error of every member on (x, y), in evaluation mode.

    The error is the fraction of rows whose largest output is not at y, or that hold a NaN; rows that the loss ignores
    (y = −100) do not count. NaN unless y holds class numbers, one for each row, and the output has shape (n, classes)
    with two classes or more.

    Args:
        x, y: the examples of all; with `rows`, the pool from which they are taken.
        loss: (output, target) -> mean loss, a scalar; members' settings `loss.<name>` are handed to it by keyword.
        rows: each member's own examples: `Rows`, such as `partitions.test`, which go by the members' seeds; or row
            numbers (members, n), int64, by their places. Where `Rows` have targets of their own, y is not used.
    Raises:
        ValueError: x and y differ in length, rows do not fit, or `loss` returns something other than a scalar.
    """
    check_x("evaluate", state, x)
    if not isinstance(y, Tensor) or len(x) != len(y) or not callable(loss):
        got = f"{len(x)}, {len(y) if isinstance(y, Tensor) else type(y).__name__} and {loss!r}"
        raise ValueError(f"evaluate: y must have the rows of x, and loss be a function of (output, target), got {got}")
    if isinstance(rows, Tensor):
        return _by_place(state, x, y, loss, rows)
    if rows is not None and not isinstance(rows, Rows):
        raise ValueError(f"evaluate: rows must be data.Rows or a tensor (members, n), got {type(rows).__name__}")
    if rows is not None:
        rows.check_pool("evaluate: rows", x, y)
    return scores_of(state, Feed(x, y, rows), loss)


def scores_of(state: State, feed: Feed, loss: Callable[..., Tensor], *, net: Network | None = None) -> Scores:
    """`evaluate` on a feed; `net` is the members' network in evaluation mode, where it is at hand."""
    objective = Objective(loss, loss_settings("evaluate", loss, state.settings))

    def scored(net: Network, some: _Some) -> tuple[Tensor, Tensor]:
        x, y = feed.all("evaluate", some.seeds)
        return _scores(outputs(net, some.params, some.buffers, x), y, objective, some.settings)

    with torch.no_grad():
        return Scores(*_in_groups(state, scored, net))


def _by_place(state: State, x: Tensor, y: Tensor, loss: Callable[..., Tensor], rows: Tensor) -> Scores:
    """Rows by the places of the members, which stand in for their seeds."""
    if rows.ndim != 2 or len(rows) != len(state) or rows.dtype != torch.int64:
        got = f"{tuple(rows.shape)} {rows.dtype}"
        raise ValueError(f"evaluate: rows must be int64 of shape ({len(state)}, n), got {got}")
    if not rows.numel() or int(rows.min()) < 0 or int(rows.max()) >= len(x):
        raise ValueError(f"evaluate: rows must lie in 0 … {len(x) - 1}, at least one a member, got {rows}")
    places = tuple(range(len(state)))
    return scores_of(replace(state, seeds=places), Feed(x, y, Rows(rows.to(x.device), places)), loss)


def _scores(said: Tensor, y: Tensor, objective: Objective, settings: Values) -> tuple[Tensor, Tensor]:
    losses = member_losses(objective, said, y, settings)
    if losses.ndim != 1:
        got = list(losses.shape[1:])
        raise ValueError(f"evaluate: loss must return a scalar, the mean over the batch, got {got}")
    if said.ndim != 3 or said.shape[2] < 2 or y.ndim != 2 or y.is_floating_point():
        return losses, torch.full_like(losses, torch.nan)
    largest, where = said.contiguous().max(-1)
    wrong, counted = (where != y) | largest.isnan(), y != IGNORED
    return losses, (wrong & counted).sum(1).to(losses.dtype) / counted.sum(1)


def predict(state: State, x: Tensor) -> Tensor:
    """Outputs of every member for x, in evaluation mode: (members, n, …)."""
    check_x("predict", state, x)

    def said(net: Network, some: _Some) -> Tensor:
        return outputs(net, some.params, some.buffers, x.expand(len(some.seeds), *x.shape))

    with torch.no_grad():
        return _in_groups(state, said)


def gradients(state: State, x: Tensor, y: Tensor, *, loss: Callable[..., Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean loss of every member on (x, y), and its gradient, in evaluation mode.

    Returns:
        losses (members,) and gradients shaped like `state.params`. Where the parameters require gradients, both can
            be differentiated again.
    Raises:
        ValueError: `loss` returns something other than a scalar.
    """
    check_x("gradients", state, x)
    if not isinstance(y, Tensor) or len(x) != len(y):
        got = f"{len(x)} and {len(y) if isinstance(y, Tensor) else type(y).__name__}"
        raise ValueError(f"gradients: y must have the rows of x, got {got}")
    objective = Objective(loss, loss_settings("gradients", loss, state.settings))
    return _in_groups(state, partial(_slopes, x=x, y=y, objective=objective))


def _slopes(net: Network, some: _Some, *, x: Tensor, y: Tensor, objective: Objective) -> tuple[Tensor, Values]:
    again = torch.is_grad_enabled() and any(value.requires_grad for value in some.params.values())
    leaves = {k: v if again and v.requires_grad else v.detach().requires_grad_() for k, v in some.params.items()}
    x, y = (value.expand(len(some.seeds), *value.shape) for value in (x, y))
    with torch.enable_grad():
        losses = member_losses(objective, outputs(net, leaves, some.buffers, x), y, some.settings)
        if losses.ndim != 1:
            got = list(losses.shape[1:])
            raise ValueError(f"gradients: loss must return a scalar, the mean over the batch, got {got}")
        slopes = torch.autograd.grad(
            losses.sum(), list(leaves.values()), create_graph=again, allow_unused=True, materialize_grads=True
        )
    return losses if again else losses.detach(), dict(zip(leaves, slopes, strict=True))


class _Some(NamedTuple):
    """Members that are measured together."""

    params: Values
    buffers: Values
    settings: Values
    seeds: tuple[int, ...]


def _in_groups(state: State, function: Callable[[Network, _Some], object], net: Network | None = None) -> object:
    """What `function` gives for all members, group by group; one after another where vmap cannot take the network."""
    size = slabs_for(state, None).size
    size = min(size, AT_ONCE) if state.active.device.type == "cpu" else size
    net = net or network(state.module, training=False)
    try:
        return _joined(function, net, state, size)
    except RuntimeError as problem:
        if size == 1 or not vmap_refuses(problem):
            raise
        return _joined(function, net, state, 1)


def _joined(function: Callable, net: Network, state: State, size: int) -> object:
    parts = []
    for at in range(0, len(state), size):
        which = slice(at, at + size)
        trees = [tree_map(lambda value: value[which], tree) for tree in (state.params, state.buffers, state.settings)]  # noqa: B023
        parts.append(function(net, _Some(*trees, state.seeds[which])))
    return tree_map(lambda *values: torch.cat(values), *parts)
