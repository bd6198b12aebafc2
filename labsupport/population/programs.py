"""One update of all members as one function of what is trained and a batch.

The losses of all members are summed, and one ordinary backward pass gives each its own gradient. A dense chain with
cross-entropy has its backward pass written out (`chains`); its steps of plain descent are taken in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._pytree import tree_map

from labsupport.optimizers import Optimizer
from labsupport.population import chains
from labsupport.population.draws import Draws, Given, given, trainable
from labsupport.population.layers import Way, arrange, forward, over_members, words
from labsupport.population.updates import Layout, place_of, update, uphill

__all__ = ["Batch", "Eager", "Network", "Objective", "functional", "member_losses", "named", "of_penalty",
           "network", "outputs"]  # fmt: skip

Values = dict[str, Tensor]
Trained = tuple[Values, Values, dict[str, Values]]  # parameters, buffers, slots
IGNORED = -100
"""The label that torch's cross-entropy leaves out."""


class Batch(NamedTuple):
    """What a step sees of each member.

    Attributes:
        x, y: its examples, (members, batch, …).
        settings: name -> (members, …), those that were given or are scheduled: the optimizer's, those of loss and
            penalty, "radius".
        keys: of its random layers' draws, (members, layers, 2).
        rates: of these layers, path -> (members,).
    """

    x: Tensor
    y: Tensor
    settings: dict[str, Tensor]
    keys: Tensor
    rates: dict[str, Tensor]

    def of(self, members: Tensor) -> Batch:
        """The same for some members, by index."""
        return Batch(*tree_map(lambda value: value[members], tuple(self)))


class Objective(NamedTuple):
    """What is minimized: `loss(output, target)` with the settings that it takes, and `penalty(params, settings)`."""

    loss: Callable[..., Tensor]
    loss_settings: tuple[str, ...] = ()
    penalty: Callable[[dict[str, Tensor], Mapping[str, Tensor]], Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Network:
    """A network arranged for many members.

    Attributes:
        ways: how its layers go; equal for networks that are built alike.
        layers: the layer of each.
    """

    ways: tuple[Way, ...]
    layers: tuple[nn.Module, ...]

    def words(self, *, alone: bool) -> str:
        """Which layers go which way, and why."""
        return words(self.ways, alone=alone)


def network(module: nn.Module, *, training: bool) -> Network:
    """The arrangement of a network; its values are not used."""
    twin = trainable(module).train(training)
    if not training and any(isinstance(layer, Given) and layer.training for layer in twin.modules()):
        raise ValueError("evaluate: dropout and noise layers must rest in evaluation mode, got one that stays on")
    ways = arrange(twin)
    return Network(ways, tuple(twin.get_submodule(way.path) for way in ways))


def outputs(net: Network, params: Values, buffers: Values, x: Tensor) -> Tensor:
    """What every member says of its x, (members, n, …); a network in evaluation mode."""
    return forward(net.ways, net.layers, {**params, **_cloned(buffers)}, x)  # it may count its calls


def member_losses(objective: Objective, said: Tensor, y: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
    """Mean loss of each member on its batch, (members,)."""
    own = named(settings, "loss", objective.loss_settings)
    if objective.loss is cross_entropy and not own and said.ndim == 3 and y.ndim == 2 and not y.is_floating_point():
        if len(said) == 1:
            return cross_entropy(said.squeeze(0), y.squeeze(0).long()).unsqueeze(0)
        losses = cross_entropy(said.mT, y.long(), reduction="none")
        return losses.sum(1) / (y != IGNORED).sum(1)
    return over_members(lambda said, y, own: objective.loss(said, y, **own), said, y, own)


def named(settings: Mapping[str, Tensor], kind: str, names: tuple[str, ...]) -> Values:
    """Settings called `<kind>.<name>` by their short names."""
    return {name: settings[f"{kind}.{name}"] for name in names if f"{kind}.{name}" in settings}


class Eager:
    """The step that runs as it stands; `labels` says whether all targets are class numbers, none of them ignored."""

    def __init__(
        self, net: Network, params: dict[str, torch.Tensor], optimizer: Optimizer, objective: Objective,
        draws: Draws, *, labels: bool,
    ) -> None:  # fmt: skip
        self.net, self.optimizer, self.objective, self.draws = net, optimizer, objective, draws
        links = chains.chain_of(net.ways, net.layers)
        theirs = {name for link in links for name in (link.weight, link.bias) if name}
        fits = labels and objective == Objective(cross_entropy) and theirs == set(params) and not draws.layers
        self.links = links if fits else ()
        in_place = bool(self.links) and chains.moves_in_place(optimizer)
        self.layout = None if in_place else Layout(optimizer, params)

    def begin(self, trained: Trained) -> Trained:
        """A copy of what is trained, laid out for the steps, which may change it."""
        params, buffers, slots = trained
        lay = self.layout.joined if self.layout else _cloned
        held = chains.as_bits(self.links, params, _cloned(buffers))
        return lay(params), held, {slot: lay(each) for slot, each in slots.items()}

    def end(self, trained: Trained) -> Trained:
        """What is trained, by the names of its parameters."""
        params, buffers, slots = trained
        part = self.layout.parted if self.layout else dict
        held = chains.as_masks(self.links, buffers)
        return part(params), held, {slot: part(each) for slot, each in slots.items()}

    def __call__(self, trained: Trained, batch: Batch) -> tuple[Trained, Tensor]:
        """An update."""
        if self.layout or "radius" in batch.settings:
            slope = self._written if self.links else self._differentiated
            return _step(self.optimizer, slope, trained, batch)
        params, buffers, slots = trained
        seen = chains.shown(self.links, params, buffers)
        losses, slopes = chains.losses_and_slopes(self.links, seen, batch.x.flatten(2), batch.y)
        settings = dict(self.optimizer.defaults) | batch.settings
        chains.descend(self.links, slopes, params, slots.get("velocity"), settings, buffers)
        return trained, losses

    def _written(self, place: Values, buffers: Values, batch: Batch) -> tuple[Values, Tensor, Values]:
        """Gradients, losses and buffers, by the written backward pass; all that is trained as the layout has it."""
        params = self.layout.parted(place) if self.layout else place
        seen = chains.shown(self.links, params, buffers)
        losses, slopes = chains.losses_and_slopes(self.links, seen, batch.x.flatten(2), batch.y)
        grads = chains.shown(self.links, chains.gradients(self.links, slopes), buffers)
        return self.layout.joined(grads) if self.layout else grads, losses, buffers

    def _differentiated(self, place: Values, buffers: Values, batch: Batch) -> tuple[Values, Tensor, Values]:
        """Gradients, losses and moved buffers, by autograd; it takes apart what lies together, and joins its slopes."""
        leaves = {name: value.detach().requires_grad_() for name, value in place.items()}
        with torch.enable_grad():
            params = self.layout.parted(leaves)
            losses, moved = _objective(self.net, self.objective, self.draws, batch, params, buffers)
            grads = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
        moved = {name: value.detach() for name, value in moved.items()}
        return dict(zip(leaves, grads, strict=True)), losses.detach(), moved


def functional(ways: tuple[Way, ...], optimizer: Optimizer, objective: Objective, draws: Draws) -> Callable:
    """(layers, trained, batch) -> (trained, losses), in functions that `torch.compile` can trace."""

    def step(layers: tuple[nn.Module, ...], trained: Trained, batch: Batch) -> tuple[Trained, Tensor]:
        slope = partial(_traced, Network(ways, layers), objective, draws)
        moved, losses = _step(optimizer, slope, trained, batch)
        return tree_map(Tensor.copy_, trained, moved), losses

    return step


def _step(optimizer: Optimizer, slope: Callable, trained: Trained, batch: Batch) -> tuple[Trained, Tensor]:
    """An update of what is trained, which `slope` takes and gives as it lies."""
    params, buffers, slots = trained
    settings = dict(optimizer.defaults) | batch.settings
    own = {name: settings[name] for name in optimizer.defaults}
    place = place_of(optimizer, params, slots, own)
    grads, losses, moved = slope(place, buffers, batch)
    if "radius" in settings:
        grads, _, _ = slope(uphill(place, grads, settings["radius"]), buffers, batch)
    params, slots = update(optimizer, grads, slots, params, own)
    return (params, moved, slots), losses


def _objective(
    net: Network, objective: Objective, draws: Draws, batch: Batch, params: Values, buffers: Values
) -> tuple[Tensor, Values]:
    """Each member's loss and penalty, (members,), and the buffers that the pass moved."""
    values = {**params, **_cloned(buffers), **given(draws, batch.keys, batch.rates)}
    losses = member_losses(objective, forward(net.ways, net.layers, values, batch.x), batch.y, batch.settings)
    if objective.penalty is not None:
        losses = losses + over_members(objective.penalty, params, of_penalty(batch.settings))
    return losses, {name: values[name] for name in buffers}


def _cloned(values: Values) -> Values:
    return {name: value.clone() for name, value in values.items()}


def of_penalty(settings: Mapping[str, Tensor]) -> Values:
    """Every setting by its name, and those called `penalty.<name>` also as `<name>`."""
    return dict(settings) | {
        name.removeprefix("penalty."): v for name, v in settings.items() if name.startswith("penalty.")
    }


def _traced(
    net: Network, objective: Objective, draws: Draws, params: Values, buffers: Values, batch: Batch
) -> tuple[Values, Tensor, Values]:
    """Gradients, losses and moved buffers, as functions of functions."""

    def total(params: Values) -> tuple[Tensor, tuple[Tensor, Values]]:
        losses, moved = _objective(net, objective, draws, batch, params, buffers)
        return losses.sum(), (losses, moved)

    grads, (losses, moved) = torch.func.grad(total, has_aux=True)(params)
    return grads, losses, moved
