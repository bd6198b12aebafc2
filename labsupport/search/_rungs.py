"""The engine of synchronous halving: brackets of rungs, each filled with the best of the one below.

A bracket is a list of (configurations, resource in all). Its first rung is filled with settings drawn from the space;
once all of a rung is told, the best of it continue on the next. Which trial lies on which rung follows from the
history: the first trials that resume nothing are the first bracket's, and so on.
"""

from __future__ import annotations

from labsupport.search import contract
from labsupport.search.contract import Record, State, Trial
from labsupport.search.space import sample

__all__: list[str] = []  # for halving, Hyperband and ASHA alone

Bracket = list[tuple[int, int]]


def ask(state: State, brackets: list[Bracket]) -> tuple[Trial | None, State]:
    """A trial of the first bracket that has one; those that wait for a tell are passed by."""
    for plan, rungs in zip(brackets, _filled(state, brackets), strict=True):
        if len(rungs[0]) < plan[0][0]:
            params = sample(state.space, generator=contract.generator(state, len(state.records)))
            return contract.add(state, params, resource=plan[0][1])
        if parent := _next_up(plan, rungs):
            rung, trial = parent
            return contract.add(state, trial.params, resource=plan[rung][1], resumes=trial.number)
    return None, state


def finished(state: State, brackets: list[Bracket]) -> bool:
    """Whether all was told and nothing is left to ask."""
    return not contract.waiting(state) and ask(state, brackets)[0] is None


def ranked(records: list[Record]) -> list[Trial]:
    """The trials that have a value, the smallest first, the earlier of equal ones first."""
    valued = [record for record in records if record.value is not None]
    return [record.trial for record in sorted(valued, key=lambda record: record.value)]  # the sort is stable


def _next_up(plan: Bracket, rungs: list[list[Record]]) -> tuple[int, Trial] | None:
    """The rung that is to be filled now, and the trial that continues there."""
    for rung in range(1, len(plan)):
        if not all(record.done for record in rungs[rung - 1]):
            return None
        survivors = ranked(rungs[rung - 1])[: plan[rung][0]]
        if len(rungs[rung]) < len(survivors):
            return rung, survivors[len(rungs[rung])]
    return None


def _filled(state: State, brackets: list[Bracket]) -> list[list[list[Record]]]:
    """The records by bracket and rung, by number in each."""
    rungs: list[list[list[Record]]] = [[[] for _ in plan] for plan in brackets]
    starts = [bracket for bracket, plan in enumerate(brackets) for _ in range(plan[0][0])]
    places: list[tuple[int, int]] = []
    fresh = iter(starts)
    for record in state.records:
        parent = record.trial.resumes
        places.append((next(fresh), 0) if parent is None else (places[parent][0], places[parent][1] + 1))
        bracket, rung = places[-1]
        rungs[bracket][rung].append(record)
    return rungs
