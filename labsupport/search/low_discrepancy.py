"""Settings that fill the space more evenly than chance: a Sobol sequence, scrambled by the seed.

Source: Sobol 1967; torch scrambles by a random lower-triangular matrix and a shift (Matoušek 1998) and not by Owen's
nested permutations; Bergstra & Bengio 2012 compare such sequences with random search.
"""

from __future__ import annotations

from torch.quasirandom import SobolEngine

from labsupport.search import contract
from labsupport.search.contract import State, Trial, tell
from labsupport.search.cube import sobol
from labsupport.search.space import Space, from_unit
from labsupport.values import check_count

__all__ = ["ask", "finished", "init", "tell"]

_NAME = "low_discrepancy"
_LONGEST = 2**SobolEngine.MAXBIT


def init(space: Space, *, num_trials: int | None = None, seed: int) -> State:
    """A study of the sequence's first `num_trials` points (powers of two are the most even), or of as many as wanted.

    Raises:
        ValueError: num_trials outside 1 … 2³⁰, more dimensions than torch's sequence has (21,201), or what
            `contract.start` refuses.
    """
    if num_trials is not None:
        num_trials = check_count(f"{_NAME}.init", "num_trials", num_trials)
        if num_trials > _LONGEST:
            raise ValueError(f"{_NAME}.init: num_trials must be <= {_LONGEST}, got {num_trials}")
    state = contract.start(_NAME, space, {"num_trials": num_trials}, seed=seed)
    if len(space.dims) > SobolEngine.MAXDIM:
        raise ValueError(f"{_NAME}.init: space must have <= {SobolEngine.MAXDIM} dimensions, got {len(space.dims)}")
    return state


def ask(state: State) -> tuple[Trial | None, State]:
    """The setting at the sequence's next point; None once all were asked."""
    contract.check_state(_NAME, state)
    number = len(state.records)
    if number == min(state.options["num_trials"] or _LONGEST, _LONGEST):
        return None, state
    point = sobol(len(state.space.dims), seed=state.seed, start=number, count=1)[0]
    return contract.add(state, from_unit(state.space, point))


def finished(state: State) -> bool:
    """Whether every trial was told."""
    contract.check_state(_NAME, state)
    return contract.ended(state)
