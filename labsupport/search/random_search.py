"""Settings drawn from the space, each on its own.

Source: Bergstra & Bengio 2012, JMLR 13:281-305.
"""

from __future__ import annotations

from labsupport.search import contract
from labsupport.search.contract import State, Trial, tell
from labsupport.search.space import Space, sample
from labsupport.values import check_count

__all__ = ["ask", "finished", "init", "tell"]

_NAME = "random_search"


def init(space: Space, *, num_trials: int | None = None, seed: int) -> State:
    """A study of `num_trials` settings; without end where that is None.

    Raises:
        ValueError: num_trials < 1, or what `contract.start` refuses.
    """
    if num_trials is not None:
        num_trials = check_count(f"{_NAME}.init", "num_trials", num_trials)
    return contract.start(_NAME, space, {"num_trials": num_trials}, seed=seed)


def ask(state: State) -> tuple[Trial | None, State]:
    """The next setting, a function of the seed and its number; None once all were asked."""
    contract.check_state(_NAME, state)
    number = len(state.records)
    if number == state.options["num_trials"]:
        return None, state
    return contract.add(state, sample(state.space, generator=contract.generator(state, number)))


def finished(state: State) -> bool:
    """Whether every trial was told."""
    contract.check_state(_NAME, state)
    return contract.ended(state)
