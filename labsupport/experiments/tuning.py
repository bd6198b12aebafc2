"""The whole of a fair comparison: each at its best on validation with some seeds, reported on test with fresh ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from labsupport.data import Partitions, Split
from labsupport.experiments.grids import Point
from labsupport.experiments.labels import check_seeds, labelled, saved_as, settings_of
from labsupport.experiments.runs import MEASURES, Build, Runs, Settings, as_factors, run
from labsupport.experiments.samples import Samples
from labsupport.optimizers import Optimizer
from labsupport.population import Plan
from labsupport.values import check_choice

__all__ = ["Tuned", "tuned"]


@dataclass(frozen=True, eq=False, repr=False)
class Tuned:
    """A tuned setting and what it came to.

    Attributes:
        best: the point with the lowest mean on validation; `best.edge` names the axes at whose end it lies, where
            something better may lie beyond.
        tuning: runs of all points on the tuning seeds.
        fresh: runs of the best point on the fresh seeds.
    """

    best: Point
    tuning: Runs
    fresh: Runs

    @property
    def errors(self) -> Samples:
        """Test error of each fresh seed, a fraction."""
        return self._samples("error")

    @property
    def losses(self) -> Samples:
        """Test loss of each fresh seed."""
        return self._samples("loss")

    def _samples(self, by: str) -> Samples:
        return replace(self.fresh.samples(by, "test"), edge=self.best.edge)

    def __repr__(self) -> str:
        at = f", at the edge of {', '.join(self.best.edge)}" if self.best.edge else ""
        return f"Tuned({self.best}{at}; {len(self.tuning.seeds)} + {len(self.fresh.seeds)} seeds)"


def tuned(
    build: Build | Mapping[str, Build], data: Split | Partitions, optimizer: Optimizer | Mapping[str, Optimizer],
    settings: Settings | Mapping[str, Settings], plan: Plan | Mapping[str, Plan], *, tuning: Iterable[int],
    fresh: Iterable[int], by: str | Callable[[Runs], Tensor] = "error", diverged: float | None = None,
    num_steps: int | None = None,
) -> Tuned | dict[str, Tuned]:  # fmt: skip
    """Choose among the points on validation examples with the tuning seeds, and report fresh seeds on test examples.

    Several networks, optimizers, settings or plans are given as dicts by label; then a dict of `Tuned` comes back, and
    `Samples({label: each.errors for label, each in found.items()}, fresh)` compares them seed by seed.

    Args:
        build, data, optimizer, settings, plan, diverged, num_steps: see `run`. `Partitions` hold a sample for each
            seed, tuning and fresh; a schedule gives one factor for all or one for each point.
        tuning, fresh, by: seeds, none of them in both; see `Runs.best`.
    Raises:
        ValueError: something does not fit together.
        KeyboardInterrupt: it was stopped; nothing may be chosen from half a run. `plan.save` keeps what is done.
    """
    if isinstance(by, str):
        check_choice("tuned", "by", by, MEASURES)
    settings = settings_of("tuned", settings)
    of, labels = labelled("tuned", build=build, optimizer=optimizer, settings=settings, plan=plan)
    tuning, fresh = check_seeds("tuned", "tuning", tuning), check_seeds("tuned", "fresh", fresh)
    if set(tuning) & set(fresh):
        raise ValueError(f"tuned: fresh must share no seed with tuning, got {sorted(set(tuning) & set(fresh))[:5]}")
    if isinstance(data, Partitions) and not set(tuning + fresh) <= set(data.seeds):
        missing = sorted(set(tuning + fresh) - set(data.seeds))[:5]
        raise ValueError(f"tuned: data must hold a sample for each tuning and fresh seed, got none for {missing}")
    more, found = {"diverged": diverged, "num_steps": num_steps}, {}
    for label in labels:
        what, at = (of("build", label), data, of("optimizer", label)), of("settings", label)
        plan_of = saved_as(of("plan", label), label)
        first = saved_as(_planned(plan_of, None, len(at)), "tuning")
        tried = _whole(run(*what, at, first, seeds=tuning, **more))
        best = tried.best(by)
        again = saved_as(_planned(plan_of, best.place, len(at)), "fresh")
        last = run(*what, at.only(best.place), again, seeds=fresh, **more)
        found[label] = Tuned(best, tried, _whole(last))
    return found if labels != [""] else found[""]


@dataclass(frozen=True)
class _At:
    """A schedule with a factor for each of `count` points, or that of one place; members' own are refused."""

    rule: Callable[[int], float | Tensor]
    place: int | None
    count: int

    def __call__(self, step: int) -> float | Tensor:
        found = as_factors(self.rule(step))
        if not isinstance(found, Tensor):
            return found
        if found.shape != (self.count,):
            rule = f"a schedule must give one factor, or one for each of {self.count} points"
            raise ValueError(f"tuned: {rule}, got {tuple(found.shape)}")
        return found if self.place is None else found[self.place]


def _planned(plan: Plan, place: int | None, count: int) -> Plan:
    if not isinstance(plan, Plan):
        raise ValueError(f"tuned: plan must be a population.Plan, got {type(plan).__name__}")
    return replace(plan, schedule={name: _At(rule, place, count) for name, rule in plan.schedule.items()})


def _whole(runs: Runs) -> Runs:
    if not runs.finished:
        raise KeyboardInterrupt("tuned: stopped in the middle")
    return runs
