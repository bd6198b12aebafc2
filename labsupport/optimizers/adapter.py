"""Any optimizer of this room as a `torch.optim.Optimizer`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from operator import is_
from typing import Any

import torch
from torch import Tensor

from labsupport.optimizers.blocks import ANSWER, Entry, Straight, Team, teams
from labsupport.optimizers.rule import SHARES, Optimizer
from labsupport.values import check_number

__all__ = ["as_torch"]

NOT_SETTINGS = ("params", "param_names", "rule", "answering", "initial_lr")
"""What else a parameter group holds."""


def as_torch(
    optimizer: Optimizer, params: Iterable[Tensor] | Iterable[dict], settings: Mapping[str, float]
) -> torch.optim.Optimizer:
    """A torch optimizer over `params` that takes `optimizer`'s steps.

    A parameter without a gradient rests, and its steps are not counted. Rules that look beyond single entries (`lars`,
    `clipped_norm`) count the steps of a group and take a length of all gradients over one group. Parameters must not
    share memory. Schedulers that also move the momentum find it in rules with a setting `momentum`; for the others
    pass them `cycle_momentum=False`.

    A step of SGD, momentum, Nesterov, AdaGrad, RMSprop, Adam or AdamW in torch's form takes about as long as torch's
    own with `foreach=True`. Other rules are made for networks of the course's size: for a million weights they take
    three to eight times as long as a rule written in place would. Parameters that come and go cost a new layout each
    time.

    Where the rule takes its gradient elsewhere than at its answer (`schedule_free`, `averaged`), the parameters stand
    at the place of the gradient; the methods `eval()` and `train()` move them to the answer and back. What is written
    into such parameters from outside (`net.load_state_dict`, a bound on their norm) is lost with the next step: make a
    new optimizer after it. A scheduled `momentum` of `schedule_free` takes hold one step late.

    Args:
        optimizer: of this room, without `by_layer`: parameters have no names here, and torch's groups do the same.
        params: tensors that require a gradient, or torch's groups, each with settings of its own.
        settings: name -> number; one left out stands at its default. They lie in the parameter groups, where a torch
            scheduler finds "lr".
    Raises:
        ValueError: the optimizer holds `by_layer`; a setting is unknown, missing or out of its range; later: a
            gradient is sparse, a step is taken between `eval()` and `train()`, or a state is loaded that belongs to
            another rule.
    """
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"as_torch: optimizer must be one of labsupport.optimizers, got {optimizer!r}")
    if optimizer.layers:
        advice = "torch's parameter groups, [{'params': layer.parameters(), 'lr': 0.01}, …], do what by_layer does"
        raise ValueError(f"as_torch: optimizer must hold no by_layer: {advice}, got {optimizer!r}")
    if not isinstance(settings, Mapping):
        raise ValueError(f"as_torch: settings must map names to numbers, such as {{'lr': 0.1}}, got {settings!r}")
    return _Adapted(optimizer, params, settings)


class _Adapted(torch.optim.Optimizer):
    """`state[parameter]` holds the rule's slots: a tensor like the parameter, or a dict of counts."""

    def __init__(self, rule: Optimizer, params: Iterable[Tensor] | Iterable[dict], settings: Mapping) -> None:
        self.rule, self.names = rule, tuple(rule.defaults)
        self.known: dict[int, tuple[list[Tensor], list[tuple], Entry, list[Team | Straight]]] = {}
        _check_names(rule, settings)
        super().__init__(params, {**rule.defaults, **settings, "rule": rule.name, "answering": False})

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "rule": self.rule, "names": self.names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.known = {}

    def add_param_group(self, param_group: dict) -> None:
        _check_names(self.rule, [name for name in param_group if name not in NOT_SETTINGS])
        for name in self.rule.defaults:
            value = check_number("as_torch", f"settings[{name!r}]", param_group.get(name, self.defaults[name]), low=0.0)
            if name in SHARES and value >= 1:
                raise ValueError(f"as_torch: settings[{name!r}] must lie in [0, 1), got {value}")
        super().add_param_group(param_group)
        for tensor in self.param_groups[-1]["params"]:
            if not tensor.is_floating_point():
                self.param_groups.pop()
                raise ValueError(f"as_torch: params must be real floating tensors, got {tensor.dtype}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One update of every parameter that has a gradient; `closure`, if given, computes them first."""
        for group in self.param_groups:
            if group["answering"]:
                raise ValueError("step: the parameters must stand where the gradient is taken, call train() first")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for number, group in enumerate(self.param_groups):
            settings = {name: group[name] for name in self.names}
            for team in self._teams(number, [tensor for tensor in group["params"] if tensor.grad is not None]):
                team.move(self.rule, settings)
        return loss

    def eval(self) -> None:
        """Move the parameters to the rule's answer, such as the average of `schedule_free`."""
        self._turn(answering=True)

    def train(self) -> None:
        """Move the parameters back to where the gradient is taken."""
        self._turn(answering=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the settings and the state that `state_dict()` of an optimizer with the same rule returned."""
        saved = state_dict.get("param_groups") if isinstance(state_dict, Mapping) else None
        if not saved or any(group.get("rule") != self.rule.name for group in saved):
            got = saved[0].get("rule", "another kind") if saved else "none"
            raise ValueError(f"load_state_dict: state_dict must come from {self.rule.name!r}, got that of {got!r}")
        super().load_state_dict(state_dict)
        own = chain.from_iterable(group["params"] for group in self.param_groups)
        for key, tensor in zip(chain.from_iterable(group["params"] for group in saved), own, strict=True):
            for slot, entry in state_dict["state"].get(key, {}).items():
                if isinstance(entry, dict):  # torch has brought the counts to the parameter's dtype
                    self.state[tensor][slot] = {name: value.to(tensor.device) for name, value in entry.items()}

    @torch.no_grad()
    def _turn(self, *, answering: bool) -> None:
        for group in self.param_groups:
            if self.rule.at is None or group["answering"] == answering:
                continue
            group["answering"] = answering
            settings = {name: group[name] for name in self.names}
            for tensor in group["params"]:
                entry = self.state.get(tensor)
                if entry:
                    slots = {slot: each if isinstance(each, dict) else {"": each} for slot, each in entry.items()}
                    answer = slots.pop(ANSWER)
                    tensor.copy_((answer if answering else self.rule.at(answer, slots, settings))[""])

    def _teams(self, number: int, tensors: list[Tensor]) -> list[Team | Straight]:
        """How the parameters that have gradients are laid out; anew where they or their state changed."""
        if not tensors:
            return []
        kinds = [(tensor.dtype, tensor.device, tensor.shape, tensor.grad.layout) for tensor in tensors]
        before, were, entry, found = self.known.get(number, ([], [], {}, []))
        if kinds == were and all(map(is_, before, tensors)) and entry is self.state.get(tensors[0]):
            return found
        for tensor in tensors:
            if tensor.grad.layout != torch.strided:
                raise ValueError(f"step: gradients must be dense, got one of {tensor.grad.layout}")
            _bring(tensor, self.state[tensor])
        found = teams(self.rule, {tensor: self.state[tensor] for tensor in tensors})
        if not self.rule.elementwise:  # one count for the group, also for those that rest
            for tensor in self.param_groups[number]["params"]:
                if self.state.get(tensor):
                    self.state[tensor].update(found[0].shared)
        self.known[number] = tensors, kinds, self.state[tensors[0]], found
        return found


def _bring(tensor: Tensor, entry: Entry) -> None:
    """Bring a parameter's state to where the parameter is now."""
    for slot, value in entry.items():
        if isinstance(value, dict):
            entry[slot] = {name: count.to(tensor.device) for name, count in value.items()}
        elif value.shape != tensor.shape:
            now, then = list(tensor.shape), list(value.shape)
            raise ValueError(f"step: a parameter must keep its shape, got {now} with a state of {then}: begin anew")
        else:
            entry[slot] = value.to(tensor.device, tensor.dtype)


def _check_names(rule: Optimizer, names: Iterable[str]) -> None:
    for name in names:
        if name not in rule.defaults:
            raise ValueError(f"as_torch: settings must be among {', '.join(rule.defaults)}, got {name!r}")
