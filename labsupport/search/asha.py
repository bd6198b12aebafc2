"""Asynchronous successive halving: a trial goes on as soon as it is among the best of its rung so far.

No worker ever waits for a rung to fill. The price: a trial may go on that later ones push out of the best.
Source: Li, Jamieson, Rostamizadeh, Gonina, Ben-Tzur, Hardt, Recht & Talwalkar 2020, arXiv:1810.05934, algorithm 2.
"""

from __future__ import annotations

from labsupport.search import brackets, contract
from labsupport.search.contract import Record, State, Trial, tell
from labsupport.search.space import Space, sample
from labsupport.values import check_count

__all__ = ["ask", "finished", "init", "rungs", "tell"]

_NAME = "asha"


def rungs(min_resource: int, max_resource: int, *, eta: int) -> list[int]:
    """To what resource each rung trains, in all, the first one first.

    Counted from the top, so that the last is always `max_resource`: R // η^s, …, R // η, R, with the largest s for
    which the first is at least `min_resource`.

    Args:
        min_resource: >= 1.
        max_resource: R >= min_resource.
        eta: η, one in how many goes on, >= 2.
    Raises:
        ValueError: a bound above is broken.
    """
    low = check_count("rungs", "min_resource", min_resource)
    found = [check_count("rungs", "max_resource", max_resource, at_least=low)]
    check_count("rungs", "eta", eta, at_least=2)
    while max_resource // eta ** len(found) >= low:
        found.append(int(max_resource) // int(eta) ** len(found))
    return found[::-1]


def init(
    space: Space, *, max_resource: int, min_resource: int = 1, eta: int = 3, num: int | None = None, seed: int
) -> State:
    """A study on the `rungs`; a trial's resource is cumulative.

    Args:
        num: new settings in all, >= 1, after which only promotions are asked; without end where None. The top rung
            is reached only with at least η^(rungs − 1) of them.
    Raises:
        ValueError: num < 1, or what `rungs` and `contract.start` refuse.
    """
    rungs(min_resource, max_resource, eta=eta)
    if num is not None:
        num = check_count(f"{_NAME}.init", "num", num)
    options = {"max_resource": int(max_resource), "min_resource": int(min_resource), "eta": int(eta), "num": num}
    return contract.start(_NAME, space, options, seed=seed)


def ask(state: State) -> tuple[Trial | None, State]:
    """A promotion if there is one, on the highest rung that has; else a new setting; None if those are used up.

    Of the n trials told on a rung the best ⌊n / η⌋ may go on, each once. A failed trial counts in n and stays.
    """
    resources, filled = _filled(state)
    taken = {record.trial.resumes for record in state.records}
    for rung in range(len(resources) - 2, -1, -1):
        told = [record for record in filled[rung] if record.done]
        for trial in brackets.ranked(told)[: len(told) // state.options["eta"]]:
            if trial.number not in taken:
                return contract.add(state, trial.params, resource=resources[rung + 1], resumes=trial.number)
    if len(filled[0]) == state.options["num"]:
        return None, state
    params = sample(state.space, generator=contract.generator(state, len(state.records)))
    return contract.add(state, params, resource=resources[0])


def finished(state: State) -> bool:
    """Whether all was told, no new setting is to come and none can go on."""
    return ask(state)[0] is None and not contract.waiting(state)


def _filled(state: State) -> tuple[list[int], list[list[Record]]]:
    """The rungs' resources, and the records on each."""
    contract.check_state(_NAME, state)
    options = state.options
    resources = rungs(options["min_resource"], options["max_resource"], eta=options["eta"])
    filled: dict[int, list[Record]] = {resource: [] for resource in resources}
    for record in state.records:
        filled[record.trial.resource].append(record)
    return resources, list(filled.values())
