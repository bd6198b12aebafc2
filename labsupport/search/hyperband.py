"""Hyperband: successive halving from several starts, from many settings trained little to few trained fully.

Source: Li, Jamieson, DeSalvo, Rostamizadeh & Talwalkar 2018, JMLR 18(185), arXiv:1603.06560, algorithm 1.
"""

from __future__ import annotations

from labsupport.search import _rungs, contract
from labsupport.search.contract import State, Trial, tell
from labsupport.search.space import Space
from labsupport.values import check_count

__all__ = ["ask", "finished", "init", "plan", "tell"]

_NAME = "hyperband"


def plan(max_resource: int, *, eta: int) -> list[list[tuple[int, int]]]:
    """The brackets, the most eager to stop first, in exact integers (a float logarithm loses one at 243 and 3).

    With s_max = ⌊log_η R⌋, bracket s = s_max … 0 starts n = ⌈(s_max + 1) η^s / (s + 1)⌉ configurations, and its rung i
    holds ⌊n / ηⁱ⌋ of them, trained to ⌊R / η^(s−i)⌋ units.

    Args:
        max_resource: R, what a full training uses, in whole units, >= 1.
        eta: η, one in how many goes on, >= 2.
    Returns:
        for each bracket [(configurations, resource in all), …]; the last resource is R.
    Raises:
        ValueError: a bound above is broken.
    """
    check_count("plan", "max_resource", max_resource)
    check_count("plan", "eta", eta, at_least=2)
    highest = 0
    while eta ** (highest + 1) <= max_resource:
        highest += 1
    return [_bracket(int(max_resource), int(eta), s, highest) for s in range(highest, -1, -1)]


def init(space: Space, *, max_resource: int, eta: int = 3, seed: int) -> State:
    """A study of all brackets, once each; see `plan`. A trial's resource is cumulative.

    Brackets start in order. While a rung waits for a tell, the next bracket is asked from, so that workers do not idle.
    A trial that failed does not continue.

    Raises:
        ValueError: what `plan` and `contract.start` refuse.
    """
    plan(max_resource, eta=eta)
    return contract.start(_NAME, space, {"max_resource": int(max_resource), "eta": int(eta)}, seed=seed)


def ask(state: State) -> tuple[Trial | None, State]:
    """The next trial of the first bracket that has one; None while all wait for a tell, and at the end."""
    return _rungs.ask(state, _brackets(state))


def finished(state: State) -> bool:
    """Whether the last rung of every bracket was told, or no trial is left that could go on."""
    return _rungs.finished(state, _brackets(state))


def _bracket(max_resource: int, eta: int, s: int, highest: int) -> list[tuple[int, int]]:
    num = -(-(highest + 1) * eta**s // (s + 1))  # rounded up
    return [(num // eta**i, max_resource // eta ** (s - i)) for i in range(s + 1)]


def _brackets(state: State) -> list[_rungs.Bracket]:
    contract.check_state(_NAME, state)
    return plan(state.options["max_resource"], eta=state.options["eta"])
