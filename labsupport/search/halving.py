"""Successive halving: train all a little, keep the better half, train those more, until one is left.

Source: Jamieson & Talwalkar 2016, arXiv:1502.07943, "Successive Halving Algorithm".
"""

from __future__ import annotations

from itertools import accumulate

from labsupport.search import _rungs, contract
from labsupport.search.contract import State, Trial, tell
from labsupport.search.space import Space
from labsupport.values import check_count

__all__ = ["ask", "finished", "init", "plan", "tell"]

_NAME = "halving"


def plan(num: int, budget: int) -> list[tuple[int, int]]:
    """How many configurations are trained in each round, and for how many *additional* units each.

    There are ⌈log₂ num⌉ rounds. Each trains the n configurations that are left for ⌊budget / (n ⌈log₂ num⌉)⌋ units
    more and keeps ⌈n / 2⌉; the last round trains two and keeps one. A single configuration gets it all.

    Args:
        num: configurations at the start, >= 1.
        budget: units of resource for all rounds together, >= num ⌈log₂ num⌉ and >= 1.
    Returns:
        [(configurations, units for each), …], which together spend at most `budget`.
    Raises:
        ValueError: a bound above is broken; a smaller budget would give the first round nothing.
    """
    rounds = (check_count("plan", "num", num) - 1).bit_length()  # ⌈log₂ num⌉
    least = max(num * rounds, 1)
    if check_count("plan", "budget", budget) < least:
        raise ValueError(f"plan: budget must be >= num * ceil(log2(num)) = {least}, got {budget}")
    if rounds == 0:
        return [(1, int(budget))]
    sizes = accumulate(range(rounds - 1), lambda size, _: (size + 1) // 2, initial=int(num))
    return [(size, int(budget) // (size * rounds)) for size in sizes]


def init(space: Space, *, num: int, budget: int, seed: int) -> State:
    """A study of `num` settings that spends at most `budget` units; see `plan`. A trial's resource is cumulative.

    A trial that failed does not continue, and what it would have used is not spent.

    Raises:
        ValueError: what `plan` and `contract.start` refuse.
    """
    plan(num, budget)
    return contract.start(_NAME, space, {"num": int(num), "budget": int(budget)}, seed=seed)


def ask(state: State) -> tuple[Trial | None, State]:
    """The next trial of this round; None while the round waits for a tell, and at the end."""
    return _rungs.ask(state, _brackets(state))


def finished(state: State) -> bool:
    """Whether the last round was told, or no trial is left that could go on."""
    return _rungs.finished(state, _brackets(state))


def _brackets(state: State) -> list[_rungs.Bracket]:
    contract.check_state(_NAME, state)
    rounds = plan(state.options["num"], state.options["budget"])
    return [[(size, total) for (size, _), total in zip(rounds, accumulate(units for _, units in rounds), strict=True)]]
