"""Members' weights and slots taken out, edited and put back: what pruning and growing do between two steps."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from labsupport.population.members import State, check_fits
from labsupport.population.settings import check_names

__all__ = ["exchange"]

Values = Mapping[str, Tensor]


def exchange(
    state: State, *, params: Values | None = None, buffers: Values | None = None,
    slots: Mapping[str, Values] | None = None, module: nn.Module | None = None,
) -> State:  # fmt: skip
    """The same members with some of their tensors, or their whole network, exchanged; the step and settings stay.

    Args:
        params, buffers: name -> (members, …); names left out keep what they have.
        slots: slot -> name -> (members, …), of the optimizer's state; slots and names left out keep what they have.
        module: a network of another size; then every tensor whose shape changes must be given, its slots too.
    Returns:
        A new state, on copies of what was given.
    Raises:
        ValueError: a name is unknown, or a shape, dtype or device is not what module and optimizer want.
    """
    if not isinstance(state, State):
        raise ValueError(f"exchange: state must be a State, got {state!r}")
    if module is not None and not isinstance(module, nn.Module):
        raise ValueError(f"exchange: module must be a torch.nn.Module, got {type(module).__name__}")
    net = state.module if module is None else copy.deepcopy(module)
    trained = {k: v for k, v in net.named_parameters() if k in state.params or v.requires_grad}
    still = {k: v for k, v in net.named_parameters() if k not in trained} | dict(net.named_buffers())
    found = _merged("params", state.params, params, trained, like=state)
    rest = _merged("buffers", state.buffers, buffers, still, like=state)
    given = {} if slots is None else slots
    unknown = [slot for slot in given if slot not in state.slots]
    if unknown:
        known = ", ".join(state.slots) or "none"
        raise ValueError(f"exchange: slots must be the optimizer's ({known}), got {', '.join(unknown)}")
    wanted = state.optimizer.init({k: v[0] for k, v in found.items()})
    each = {slot: _merged(slot, state.slots[slot], given.get(slot), wanted[slot], like=state) for slot in wanted}
    check_names("exchange", net, state.optimizer, state.settings)
    return replace(state, module=net, params=found, buffers=rest, slots=each)


def _merged(what: str, old: Values, new: Values | None, wanted: Values, *, like: State) -> dict[str, Tensor]:
    """Old values with new ones in place of some, in the order of what is wanted."""
    new = {} if new is None else new
    if not isinstance(new, Mapping):
        raise ValueError(f"exchange: {what} must map names to tensors (members, …), got {type(new).__name__}")
    unknown = [name for name in new if name not in wanted]
    if unknown:
        raise ValueError(f"exchange: {what} must be among {', '.join(wanted) or 'none'}, got {', '.join(unknown)}")
    first, merged = next(iter(like.params.values())), {}
    for name, value in wanted.items():
        if name not in new and name not in old:
            raise ValueError(f"exchange: {what} must hold {name}, which the network has and the state had not")
        chosen = new.get(name, old.get(name))
        dtype = old[name].dtype if name in old else value.dtype
        kind = torch.empty(value.shape, dtype=dtype, device=first.device if isinstance(chosen, Tensor) else None)
        check_fits("exchange", f"{what} {name}", chosen, kind, len(like))
        merged[name] = chosen.detach().clone()
    return merged
