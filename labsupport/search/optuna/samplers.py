"""A strategy as Optuna's sampler."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from inspect import signature
from types import ModuleType
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from labsupport.counters import mix
from labsupport.search.contract import Record, State, Trial
from labsupport.search.space import Categorical, Dimension, Float, Integer, Params, Space, to_unit

__all__ = ["Sampler", "distribution"]

_ENDLESS = 2**30
_ANY = Space({"any": Float(0, 1)})


class Sampler(optuna.samplers.BaseSampler):
    """Lets a strategy choose a study's settings: `random_search`, `low_discrepancy`, `gaussian_process`, `tpe`, `grid`.

    What the strategy is told of an earlier trial: the value of one that is complete; a failure for one that failed or
    was pruned (its values compare only with others after equal training) or whose value is not finite; that it waits
    for one that runs. A running trial whose setting is not stored yet is taken to have what the strategy asks for it,
    which is what it gets in its own process. All draws depend on the seed, the trial's number and the name alone.

    Parameters that the space does not know are drawn evenly and alone; so is the whole trial where the strategy has no
    more to ask.

    Args:
        strategy: a module of the contract whose trials are whole trainings.
        space: what is searched; its categories must be the objective's, in order. None: the parameters that all
            complete trials have in common, with equal ranges and without `step`. Conditional ones then are drawn alone.
        options: of the strategy's `init`, such as {"points": 3} for `grid`, which needs its space too.
        seed: integer in 0 … 2⁶⁴ − 1.
    Raises:
        ValueError: the strategy resumes trials (take the pruners), or what its `init` refuses; during a study, more
            than one objective.
    """

    def __init__(
        self,
        strategy: ModuleType,
        *,
        space: Space | None = None,
        options: Mapping[str, Any] | None = None,
        seed: int,
    ) -> None:
        if not isinstance(strategy, ModuleType) or not hasattr(strategy, "init"):
            raise ValueError(f"Sampler: strategy must be a module such as search.tpe, got {strategy!r}")
        wanted = signature(strategy.init)
        endless = {"num_trials": _ENDLESS} if "num_trials" in wanted.parameters else {}
        self._name, self._space = strategy.__name__, space
        self._options, self._seed = {**endless, **(options or {})}, seed
        try:
            wanted.bind(_ANY, **self._options, seed=seed)
        except TypeError as problem:
            raise ValueError(f"Sampler: options must suit {self._name}.init{wanted}: {problem}") from None
        first, _ = strategy.ask(self._begun(_ANY if space is None else space))
        if first is not None and first.resource is not None:
            raise ValueError(f"Sampler: strategy must ask for whole trainings (others are pruners), got {self._name}")

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The space as Optuna's distributions."""
        if len(study.directions) > 1:
            raise ValueError(f"Sampler: study must have one objective, got {len(study.directions)}")
        if self._space is not None:
            return {name: distribution(dim) for name, dim in self._space.dims.items()}
        common = optuna.search_space.intersection_search_space(study.get_trials(deepcopy=False))
        return {name: found for name, found in common.items() if _dimension(found) is not None}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What the strategy asks for a trial of this number after all trials with a smaller one."""
        if not search_space:
            return {}
        space = self._space or Space({name: _dimension(found) for name, found in search_space.items()})
        asked, _ = import_module(self._name).ask(self._told(study, trial.number, space))
        return asked.params if asked is not None else {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """An even draw."""
        seed = mix(mix(mix(self._seed) + trial.number + 1) + zlib.crc32(param_name.encode()))
        alone = optuna.samplers.RandomSampler(seed=seed % 2**32)
        return alone.sample_independent(study, trial, param_name, param_distribution)

    def _begun(self, space: Space) -> State:
        return import_module(self._name).init(space, **self._options, seed=self._seed)

    def _told(self, study: Study, count: int, space: Space) -> State:
        """The strategy's state after the study's first `count` trials."""
        earlier = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
        state, records = self._begun(space), []
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        for number in range(count):
            record = _record(earlier.get(number), number, space, sign)
            if record is None:
                asked, _ = import_module(self._name).ask(replace(state, records=tuple(records)))
                record = Record(asked or Trial(number, {}))
            records.append(record)
        return replace(state, records=tuple(records))


def _record(trial: FrozenTrial | None, number: int, space: Space, sign: float) -> Record | None:
    """What the study knows of a trial; None where it runs with a setting that is not stored yet."""
    if trial is None or trial.state == TrialState.WAITING:
        return Record(Trial(number, {}))
    params = {name: trial.params[name] for name in space.dims if name in trial.params}
    known = Trial(number, params if _lies_in(space, params) else {})
    if trial.state == TrialState.RUNNING:
        return Record(known) if known.params else None
    if trial.state == TrialState.COMPLETE and known.params and math.isfinite(trial.value):
        return Record(known, sign * trial.value, done=True)
    return Record(known, failed=f"{trial.state.name.lower()}, not told", done=True)


def _lies_in(space: Space, params: Params) -> bool:
    try:
        to_unit(space, params)
    except ValueError:
        return False
    return True


def distribution(dim: Dimension) -> BaseDistribution:
    """A dimension as Optuna stores it."""
    if isinstance(dim, Categorical):
        return CategoricalDistribution(dim.choices)
    return (FloatDistribution if isinstance(dim, Float) else IntDistribution)(dim.low, dim.high, log=dim.log)


def _dimension(distribution: BaseDistribution) -> Dimension | None:
    """The same thing as a dimension; None where there is none, as for steps."""
    try:
        if isinstance(distribution, CategoricalDistribution):
            return Categorical(tuple(distribution.choices))
        if isinstance(distribution, FloatDistribution) and distribution.step is None:
            return Float(distribution.low, distribution.high, distribution.log)
        if isinstance(distribution, IntDistribution) and distribution.step == 1:
            return Integer(distribution.low, distribution.high, distribution.log)
    except ValueError:
        return None
    return None
