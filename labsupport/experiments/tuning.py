"""The whole of a fair comparison: each at its best on validation with some seeds, reported on test with fresh ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from labsupport.data import Partitions, Split
from labsupport.experiments.grids import Point, as_points
from labsupport.experiments.labels import check_seeds, labelled, saved_as
from labsupport.experiments.runs import Build, Runs, Settings, run
from labsupport.experiments.samples import Samples
from labsupport.optimizers import Optimizer
from labsupport.population import Plan

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
        build, data, optimizer, settings, plan, diverged, num_steps: see `run`. `Partitions` must hold a sample for
            each seed, tuning and fresh.
        tuning, fresh: seeds; none is in both.
        by: see `Runs.best`.
    Raises:
        ValueError: something does not fit together.
        KeyboardInterrupt: it was stopped; nothing may be chosen from half a run. `plan.save` keeps what is done.
    """
    of, labels = labelled("tuned", build=build, optimizer=optimizer, settings=settings, plan=plan)
    tuning, fresh = check_seeds("tuned", "tuning", tuning), check_seeds("tuned", "fresh", fresh)
    if set(tuning) & set(fresh):
        raise ValueError(f"tuned: fresh must share no seed with tuning, got {sorted(set(tuning) & set(fresh))[:5]}")
    if isinstance(data, Partitions) and not set(tuning + fresh) <= set(data.seeds):
        missing = sorted(set(tuning + fresh) - set(data.seeds))[:5]
        raise ValueError(f"tuned: data must hold a sample for each tuning and fresh seed, got none for {missing}")
    more = {"diverged": diverged, "num_steps": num_steps}
    found = {}
    for label in labels:
        what = of("build", label), data, of("optimizer", label)
        plan_of, at = saved_as(of("plan", label), label), as_points("tuned", of("settings", label))
        tried = _whole(run(*what, at, saved_as(plan_of, "tuning"), seeds=tuning, **more))
        best = tried.best(by)
        again = saved_as(_only(plan_of, best, len(at)), "fresh")
        last = run(*what, dict(best.settings), again, seeds=fresh, **more)
        found[label] = Tuned(best, tried, _whole(last))
    return found if labels != [""] else found[""]


@dataclass(frozen=True)
class _At:
    """A schedule of one among several points."""

    rule: Callable[[int], float | Tensor]
    place: int
    count: int

    def __call__(self, step: int) -> float | Tensor:
        found = self.rule(step)
        return found[self.place] if isinstance(found, Tensor) and found.shape == (self.count,) else found


def _only(plan: Plan, best: Point, count: int) -> Plan:
    return replace(plan, schedule={name: _At(rule, best.place, count) for name, rule in plan.schedule.items()})


def _whole(runs: Runs) -> Runs:
    if not runs.finished:
        raise KeyboardInterrupt("tuned: stopped in the middle")
    return runs
