"""Regularized evolution: the best of a few is changed in one place, and the oldest dies.

Source: Real, Aggarwal, Huang & Le 2019, arXiv:1802.01548, algorithm 1.
"""

from __future__ import annotations

import torch

from labsupport.search import contract
from labsupport.search import space as spaces
from labsupport.search.contract import State, Trial, tell
from labsupport.search.space import Categorical, Dimension, Params, Space
from labsupport.values import check_count, check_generator

__all__ = ["ask", "finished", "init", "mutate", "tell"]

_NAME = "evolution"


def init(space: Space, *, num_trials: int | None = None, population: int = 20, tournament: int = 5, seed: int) -> State:
    """A study of `num_trials` codes; without end where that is None.

    Args:
        population: how many of the latest told codes are alive, >= 2; as many are drawn evenly at the start.
        tournament: how many of them are drawn for each child, without replacement, 1 … population; the best is its
            parent.
    Raises:
        ValueError: a bound above is broken, or what `contract.start` refuses.
    """
    if num_trials is not None:
        num_trials = check_count(f"{_NAME}.init", "num_trials", num_trials)
    size = check_count(f"{_NAME}.init", "population", population, at_least=2)
    if check_count(f"{_NAME}.init", "tournament", tournament) > size:
        raise ValueError(f"{_NAME}.init: tournament must be at most population = {size}, got {tournament}")
    options = {"num_trials": num_trials, "population": size, "tournament": int(tournament)}
    return contract.start(_NAME, space, options, seed=seed)


def ask(state: State) -> tuple[Trial | None, State]:
    """A drawn code for the first `population`, then a mutant of the best of a tournament; None after the last.

    Alive are the latest `population` trials, by number, that were told a value; while they are too few for a
    tournament, a code is drawn. A failed trial never is alive.
    """
    contract.check_state(_NAME, state)
    number, options = len(state.records), state.options
    if options["num_trials"] is not None and number >= options["num_trials"]:
        return None, state
    draws = contract.generator(state, number)
    alive = [record for record in state.records if record.value is not None][-options["population"] :]
    if number < options["population"] or len(alive) < options["tournament"]:
        return contract.add(state, spaces.sample(state.space, generator=draws))
    drawn = torch.randperm(len(alive), generator=draws)[: options["tournament"]].tolist()
    parent = min((alive[place] for place in sorted(drawn)), key=contract.loss)
    return contract.add(state, mutate(state.space, parent.trial.params, generator=draws))


def finished(state: State) -> bool:
    """Whether all trials were asked and told."""
    contract.check_state(_NAME, state)
    return contract.ended(state)


def mutate(space: Space, params: Params, *, generator: torch.Generator) -> Params:
    """The setting with one of its dimensions drawn again, evenly among the values that it does not have.

    A dimension that exists only through the new value is drawn too; of a space with one setting, that setting.

    Raises:
        ValueError: `params` is no setting of the space, or `generator` is none.
    """
    check_generator("mutate", generator)
    point = spaces.to_unit(space, params)
    free = [name for name in spaces.active(space, params) if _can_change(space.dims[name])]
    if not free:
        return dict(params)
    chosen = free[int(torch.randint(len(free), (), generator=generator))]
    drawn = torch.rand(len(point), generator=generator, dtype=torch.float64)
    absent = torch.tensor([name not in params for name in space.dims])
    place = list(space.dims).index(chosen)
    point = torch.where(absent, drawn, point)
    point[place] = drawn[place]
    child = spaces.from_unit(space, point)
    while child[chosen] == params[chosen]:
        point[place] = torch.rand((), generator=generator, dtype=torch.float64)
        child = spaces.from_unit(space, point)
    return {name: params[name] if name in params and name != chosen else value for name, value in child.items()}


def _can_change(dim: Dimension) -> bool:
    return len(dim.choices) > 1 if isinstance(dim, Categorical) else dim.low < dim.high
