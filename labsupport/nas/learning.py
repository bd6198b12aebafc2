"""What a controller has learnt of a study: a function of its records, remembered so that a trial costs one step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.nas.policy import Learner
from labsupport.search import contract
from labsupport.search.contract import Record, State

__all__ = ["learnt", "reward", "seed_of_weights"]

_KEPT = 64
_known: OrderedDict[tuple, tuple[tuple[Record, ...], Learner]] = OrderedDict()


def learnt(state: State, *, begin: Callable[[], Learner], teach: Callable[[Learner, Record], Learner]) -> Learner:
    """What `begin` made, taught every told record in the order of their numbers.

    What it was after the records up to the first one not told is remembered, for the latest studies, and taken up
    from there. So n trials cost n steps, not n², and the result is the same.

    Args:
        begin, teach: pure functions of the study's space, options and seed, and of what they are given.
    """
    study = (repr(state.space), repr(state.options), state.seed)
    settled = next((at for at, record in enumerate(state.records) if not record.done), len(state.records))
    before, learner = _known.pop(study, ((), None))
    if learner is None or len(before) > settled or state.records[: len(before)] != before:
        before, learner = (), begin()
    for record in state.records[len(before) : settled]:
        learner = teach(learner, record)
    _known[study] = state.records[:settled], learner
    if len(_known) > _KEPT:
        _known.popitem(last=False)
    for record in state.records[settled:]:
        learner = teach(learner, record) if record.done else learner
    return learner


def reward(record: Record) -> Tensor:
    """(1,): the value with its sign changed, NaN where the trial failed."""
    return torch.tensor([float("nan") if record.value is None else -record.value], dtype=torch.float64)


def seed_of_weights(state: State) -> int:
    """For the controller's weights: what trial −1 would be drawn from, so that no trial is."""
    return contract.generator(state, -1).initial_seed()
