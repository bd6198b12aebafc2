"""Any optimizer of this room as a `torch.optim.Optimizer`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from labsupport.optimizers.rule import SHARES, Optimizer, Params, State
from labsupport.values import check_number

__all__ = ["as_torch"]

ANSWER = "answer"


def as_torch(
    optimizer: Optimizer, params: Iterable[Tensor] | Iterable[dict], settings: Mapping[str, float]
) -> torch.optim.Optimizer:
    """A torch optimizer over `params` that takes `optimizer`'s steps.

    Where the rule takes its gradient elsewhere than at its answer (`schedule_free`, `averaged`), the parameters stand
    at the place of the gradient; the methods `eval()` and `train()` move them to the answer and back.

    Args:
        optimizer: of this room.
        params: tensors that require a gradient, or torch's groups, each with settings of its own.
        settings: name -> number; one left out stands at its default. They lie in the parameter groups, where a torch
            scheduler finds "lr".
    Raises:
        ValueError: a setting is unknown, missing or out of its range.
    """
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"as_torch: optimizer must be one of labsupport.optimizers, got {optimizer!r}")
    for name in settings:
        if name not in optimizer.defaults:
            raise ValueError(f"as_torch: settings must be among {', '.join(optimizer.defaults)}, got {name!r}")
    return _Adapted(optimizer, params, {**optimizer.defaults, **settings})


class _Adapted(torch.optim.Optimizer):
    """Slots with an entry for each parameter lie in `state[parameter]`, the others in `state[name of the slot]`."""

    def __init__(self, rule: Optimizer, params: Iterable[Tensor] | Iterable[dict], settings: dict) -> None:
        self.rule, self.answering = rule, False
        super().__init__(params, settings)

    def add_param_group(self, param_group: dict) -> None:
        for name in self.rule.defaults:
            value = check_number("as_torch", f"settings[{name!r}]", param_group.get(name, self.defaults[name]), low=0.0)
            if name in SHARES and value >= 1:
                raise ValueError(f"as_torch: settings[{name!r}] must lie in [0, 1), got {value}")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One update of every parameter that has a gradient; `closure`, if given, computes them first."""
        if self.answering:
            raise ValueError("step: the parameters must stand where the gradient is taken, call train() first")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for number, group in enumerate(self.param_groups):
            self._move(number, group)
        return loss

    def eval(self) -> None:
        """Move the parameters to the rule's answer, such as the average of `schedule_free`."""
        self._turn(answering=True)

    def train(self) -> None:
        """Move the parameters back to where the gradient is taken."""
        self._turn(answering=False)

    @torch.no_grad()
    def _turn(self, *, answering: bool) -> None:
        if self.rule.at is None or answering == self.answering:
            return
        self.answering = answering
        for number, group in enumerate(self.param_groups):
            tensors = {str(i): tensor for i, tensor in enumerate(group["params"]) if self.state.get(tensor)}
            if tensors:
                answer, slots = self._held(number, tensors)
                place = answer if answering else self.rule.at(answer, slots, self._settings(group))
                torch._foreach_copy_(list(tensors.values()), [place[name] for name in tensors])

    def _move(self, number: int, group: dict) -> None:
        tensors = {str(i): tensor for i, tensor in enumerate(group["params"]) if tensor.grad is not None}
        if not tensors:
            return
        params, slots = self._held(number, tensors)
        settings = self._settings(group)
        params, slots = self.rule.update({name: t.grad for name, t in tensors.items()}, slots, params, settings)
        place = params if self.rule.at is None else self.rule.at(params, slots, settings)
        torch._foreach_copy_(list(tensors.values()), [place[name] for name in tensors])
        each = [slot for slot, entries in slots.items() if entries.keys() == tensors.keys()]
        for name, tensor in tensors.items():
            answer = {} if self.rule.at is None else {ANSWER: params[name]}
            self.state[tensor] = {**{slot: slots[slot][name] for slot in each}, **answer}
        self.state[f"group {number}"] = {slot: entries for slot, entries in slots.items() if slot not in each}

    def _held(self, number: int, tensors: Params) -> tuple[Params, State]:
        """The rule's own parameters and its state; a parameter met for the first time starts its entries here."""
        fresh = {name: tensor.detach() for name, tensor in tensors.items() if not self.state[tensor]}
        shared = self.state[f"group {number}"]
        for slot, entries in tree_map(torch.clone, self.rule.init(fresh) if fresh else {}).items():
            if entries.keys() == fresh.keys():
                for name, value in entries.items():
                    self.state[tensors[name]][slot] = value
            else:
                shared.setdefault(slot, entries)
        own = {name: self.state[tensor] for name, tensor in tensors.items()}
        slots = {slot: {name: own[name][slot] for name in own} for slot in next(iter(own.values())) if slot != ANSWER}
        return {name: own[name].get(ANSWER, tensor.detach()) for name, tensor in tensors.items()}, {**slots, **shared}

    def _settings(self, group: dict) -> dict[str, float]:
        return {name: group[name] for name in self.rule.defaults}
