"""The strategies that stop early as Optuna's pruners, which judge each trial when it comes to a rung.

`step` of a report counts what the training has used in all, from 1, and `should_prune` is called after each. A trial is
judged at its first report whose step is at least the rung's resource, once. NaN stops.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from itertools import accumulate

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from labsupport.search import asha, halving, hyperband

__all__ = ["AshaPruner", "HalvingPruner", "HyperbandPruner"]


class AshaPruner(BasePruner):
    """Stops a trial at a rung of `asha.rungs` unless it is among the best ⌊n / η⌋ of the n that came so far.

    A trial of Optuna cannot pause: it is judged at once, against those that came before it, and never again. The best
    so far goes on even where ⌊n / η⌋ is 0, or the first trials would all stop.

    Args:
        max_resource, min_resource, eta: as in `asha.rungs`.
    Raises:
        ValueError: what `asha.rungs` refuses.
    Source: Li et al. 2020, arXiv:1810.05934, algorithm 2, without its promotions from a pause.
    """

    def __init__(self, max_resource: int, *, min_resource: int = 1, eta: int = 3) -> None:
        self.eta, self.resources = int(eta), asha.rungs(min_resource, max_resource, eta=eta)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to stop here."""
        return _stops(study, trial, self.resources[:-1], keep=lambda n: n // self.eta)


class HalvingPruner(BasePruner):
    """Stops a trial at the end of a round of `halving.plan` unless it is in the better half of those that came so far.

    Halving proper waits until all of a round are in. Here each trial is judged when it comes, so the earlier ones have
    fewer rivals, and neither the number of survivors nor the budget is exact.

    Args:
        num, budget: as in `halving.plan`. The objective trains for `resources[-1]` units.
    Raises:
        ValueError: what `halving.plan` refuses.
    Source: Jamieson & Talwalkar 2016, arXiv:1502.07943.
    """

    def __init__(self, num: int, budget: int) -> None:
        self.resources = list(accumulate(units for _, units in halving.plan(num, budget)))

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to stop here."""
        return _stops(study, trial, self.resources[:-1], keep=lambda n: (n + 1) // 2)


class HyperbandPruner(BasePruner):
    """Stops a trial at a rung of its bracket of `hyperband.plan` unless it is among the bracket's best ⌊n / η⌋ so far.

    Hyperband proper fills a rung, then cuts. Here each trial is judged when it comes, as by `AshaPruner`. A trial's
    bracket follows from a hash of the study's name and the trial's number (name the study, or it differs from run to
    run); the brackets' shares of the trials are those of the plan, on average.

    Args:
        max_resource, eta: as in `hyperband.plan`; its integers are exact: 6 brackets at 243 and 3.
    Raises:
        ValueError: what `hyperband.plan` refuses.
    Source: Li et al. 2018, arXiv:1603.06560, algorithm 1.
    """

    def __init__(self, max_resource: int, *, eta: int = 3) -> None:
        self.eta, self.brackets = int(eta), hyperband.plan(max_resource, eta=eta)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to stop here."""
        own = self.bracket(study.study_name, trial.number)
        resources = [resource for _, resource in self.brackets[own][:-1]]
        return _stops(study, trial, resources, keep=lambda n: n // self.eta,
                      rival=lambda number: self.bracket(study.study_name, number) == own)  # fmt: skip

    def bracket(self, study_name: str, number: int) -> int:
        """The place in `brackets` of the trial with this number."""
        ends = list(accumulate(plan[0][0] for plan in self.brackets))
        place = zlib.crc32(f"{study_name}/{number}".encode()) % ends[-1]
        return next(index for index, end in enumerate(ends) if place < end)


def _stops(
    study: Study,
    trial: FrozenTrial,
    resources: list[int],
    *,
    keep: Callable[[int], int],
    rival: Callable[[int], bool] = lambda number: True,
) -> bool:
    """Whether the last report is the trial's first at one of these rungs, and it is not among the best `keep(n)` there.

    Args:
        keep: of so many that came to the rung how many may go on; one may, always.
        rival: whether the trial of this number counts among them.
    """
    here = [resource for resource in resources if trial.last_step in _entry(trial, resource)]
    if not here:
        return False
    sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
    own = (sign * trial.intermediate_values[trial.last_step], trial.number)
    others = [each for each in study.get_trials(deepcopy=False) if each.number != trial.number and rival(each.number)]
    for resource in here:
        came = [(sign * value, each.number) for each in others for value in _entry(each, resource).values()]
        if math.isnan(own[0]) or sum(each < own for each in came) >= max(keep(len(came) + 1), 1):
            return True
    return False


def _entry(trial: FrozenTrial, resource: int) -> dict[int, float]:
    """The trial's first report at the resource or beyond, step to value; empty where it has not come so far."""
    steps = [step for step in trial.intermediate_values if step >= resource]
    return {min(steps): trial.intermediate_values[min(steps)]} if steps else {}
