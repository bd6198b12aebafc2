"""One comparison: every point with every seed, trained side by side, with results laid out as (points, seeds, …)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
import torch
from torch import Tensor, nn

from labsupport import population
from labsupport.data import Partitions, Split
from labsupport.data.splits import PARTS
from labsupport.experiments.grids import Column, Point, Points, as_points
from labsupport.experiments.labels import check_seeds, labelled, saved_as, settings_of
from labsupport.experiments.samples import Samples
from labsupport.optimizers import Optimizer
from labsupport.population import Plan, Scores, State
from labsupport.population.feeds import Feed, feeds
from labsupport.values import check_choice, check_count, check_number, holds

__all__ = ["Runs", "begin", "carry_on", "run"]

Build = Callable[[torch.Generator], nn.Module]
Settings = Points | Mapping[str, Column]
MEASURES = ("error", "loss")


@dataclass(frozen=True, eq=False, repr=False)
class Runs:
    """Points × seeds, as they stand; curves on the CPU.

    Attributes:
        points, seeds: what was compared, and on what.
        state: the population, point by point: all seeds at the first point, then all at the second, …
        data: what they were trained on.
        loss: what they were trained for.
        diverged: what a member that diverged counts, in losses and errors alike, in `scores`, `samples` and `best`;
            None leaves what its last finite state gives, and lets no point with such a member be the best. Curves
            stay as they were measured.
        train_loss: (points, seeds, steps), of each step's batch, before its update.
        valid_epochs: (validations,); valid_loss, valid_error: (points, seeds, validations).
        backend, finished: see `population.Result`.
    """

    points: Points
    seeds: tuple[int, ...]
    state: State
    data: Split | Partitions
    loss: Callable[..., Tensor]
    diverged: float | None
    train_loss: Tensor
    valid_epochs: Tensor
    valid_loss: Tensor
    valid_error: Tensor
    backend: str = ""
    finished: bool = True

    def fold(self, values: Tensor) -> Tensor:
        """What belongs to the members of `state`, (points × seeds, …), as (points, seeds, …)."""
        return self.points.fold(values)

    def at(self, point: Point | int) -> State:
        """The members at a point, one for each seed."""
        known = self.points[point.place if isinstance(point, Point) else point]
        if isinstance(point, Point) and str(point) != str(known):
            raise ValueError(f"Runs: point must be one of these runs, got {point} for {known}")
        place = known.place
        return self.state[place * len(self.seeds) : (place + 1) * len(self.seeds)]

    @property
    def has_diverged(self) -> Tensor:
        """Which members stopped being finite, (points, seeds)."""
        return self.fold(self.state.diverged.cpu() >= 0)

    def scores(self, part: str | tuple[Tensor, Tensor] = "test") -> Scores:
        """Losses and errors of all members as they stand, each (points, seeds), float64 on the CPU.

        Args:
            part: "train", "valid" or "test" of the data, or a pair (x, y) of other examples for all.
        Raises:
            ValueError: it is none of these.
        """
        if isinstance(part, str):
            check_choice("scores", "part", part, PARTS)
        feed = feeds(self.data)[part] if isinstance(part, str) else Feed(*part)
        found = population.evaluate(self.state, feed.x, feed.y, loss=self.loss, rows=feed.rows)
        loss, error = (self.fold(values.double().cpu()) for values in found)
        return Scores(self._counted(loss, "loss"), self._counted(error, "error"))

    def best(self, by: str | Callable[[Runs], Tensor] = "error") -> Point:
        """The point whose mean over the seeds is lowest on *validation* examples; the first of equals.

        Args:
            by: "error" or "loss" at the end, or a function of these runs that gives something else to minimize,
                (points, seeds).
        Raises:
            ValueError: there is nothing finite to compare.
        """
        means = self._judged(by).mean(1)
        means = means.where(means.isfinite(), torch.inf)
        if not means.isfinite().any():
            rule = "the mean of at least one point must be finite"
            hint = "say what members that diverged count: diverged=…" if self.has_diverged.any() else f"by {by!r}"
            raise ValueError(f"best: {rule}, got none ({hint})")
        return self.points[int(means.argmin())]

    def samples(self, by: str = "error", part: str = "test") -> Samples:
        """Losses or errors at the end, a number for each seed; the points are the conditions, a single one has no name.

        Raises:
            ValueError: `by` is neither "error" nor "loss", `part` none of the data's, or something is not finite.
        """
        check_choice("samples", "by", by, MEASURES)
        values = getattr(self.scores(part), by)
        if not holds(values.isfinite()):
            raise ValueError(f"samples: the {by} must be finite, got {values[~values.isfinite()][:3].tolist()}")
        names = [str(point) for point in self.points] if len(self.points) > 1 else [""]
        if len(set(names)) < len(names):
            names = [f"{place}: {name}" for place, name in enumerate(names)]
        return Samples(dict(zip(names, values, strict=True)), self.seeds)

    def _judged(self, by: str | Callable[[Runs], Tensor]) -> Tensor:
        if callable(by):
            found = by(self)
            if not isinstance(found, Tensor) or found.shape != (len(self.points), len(self.seeds)):
                got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
                raise ValueError(f"best: by must give ({len(self.points)}, {len(self.seeds)}), got {got}")
            return found.double().cpu().masked_fill(self.has_diverged, torch.inf)
        check_choice("best", "by", by, MEASURES)
        curve = getattr(self, f"valid_{by}")
        ended = curve.shape[-1] and self.finished
        values = curve[..., -1].double() if ended else getattr(self.scores("valid"), by)
        return values.masked_fill(self.has_diverged, torch.inf) if self.diverged is None else self._counted(values, by)

    def _counted(self, values: Tensor, by: str) -> Tensor:
        """With what members count that diverged. An error of living members is NaN only where there are no classes."""
        lost = self.has_diverged | ~values.isfinite() if by == "loss" else self.has_diverged
        return values if self.diverged is None or values.isnan().all() else values.masked_fill(lost, self.diverged)

    def __repr__(self) -> str:
        trained = f"{self.train_loss.shape[-1]} steps"
        return f"Runs({self.points!r} × {len(self.seeds)} seeds, {trained}, {self.backend or 'not trained'})"


def run(
    build: Build | Mapping[str, Build], data: Split | Partitions, optimizer: Optimizer | Mapping[str, Optimizer],
    settings: Settings | Mapping[str, Settings], plan: Plan | Mapping[str, Plan], *, seeds: Iterable[int],
    diverged: float | None = None, num_steps: int | None = None,
) -> Runs | dict[str, Runs]:  # fmt: skip
    """Train every point with every seed. Device and dtype are those of the data's x.

    Several networks, optimizers, settings or plans are given as dicts by label; then a dict of `Runs` comes back.

    Args:
        build, optimizer, data: see `population.train`.
        settings: a `grid`, `points`, or a dict of settings as `points` takes them.
        plan: a schedule may give one factor for all, for each point (points,), or for each member (points × seeds,).
            With several labels, `save` gets the label added to the file's name.
        seeds: integers, no two the same; equal seeds give equal starts and batches at all points.
        diverged: see `Runs`.
        num_steps: updates to make instead of the plan's epochs; there is no curve of validations then, and no `save`.
    Raises:
        ValueError: something does not fit together.
        KeyboardInterrupt: in the middle of several; a single one returns what is done.
    """
    settings, seeds = settings_of("run", settings), check_seeds("run", "seeds", seeds)
    of, labels = labelled("run", build=build, optimizer=optimizer, settings=settings, plan=plan)
    plans, begun, found = {label: saved_as(of("plan", label), label) for label in labels}, {}, {}
    for label in labels:  # all of them in front of the work
        parts = of("build", label), data, of("optimizer", label), of("settings", label)
        begun[label] = begin(*parts, seeds=seeds, diverged=diverged)
    for label in labels:
        found[label] = carry_on(begun.pop(label), plans[label], num_steps=num_steps)
        if not found[label].finished and len(labels) > 1:
            raise KeyboardInterrupt
    return found if labels != [""] else found[""]


def begin(
    build: Build, data: Split | Partitions, optimizer: Optimizer, settings: Settings, *, seeds: Iterable[int],
    diverged: float | None = None,
) -> Runs:  # fmt: skip
    """`run` before the first step: members at their starts.

    Raises:
        ValueError: something does not fit together.
    """
    if not isinstance(data, (Split, Partitions)):
        raise ValueError(f"run: data must be a data.Split or Partitions, got {type(data).__name__}")
    if diverged is not None:
        check_number("run", "diverged", diverged)
    at, seeds = as_points("run", settings), check_seeds("run", "seeds", seeds)
    x = feeds(data)["train"].x
    each, every = at.members(seeds)
    state = population.init(build, optimizer, each, seeds=every).to(x.device)
    state = state.to(x.dtype) if x.is_floating_point() else state
    none = torch.zeros(len(at), len(seeds), 0)
    return Runs(at, seeds, state, data, torch.nn.functional.cross_entropy, diverged, none, torch.zeros(0), none, none)


def carry_on(runs: Runs, plan: Plan, *, num_steps: int | None = None) -> Runs:
    """The same runs trained by `plan.num_epochs` more epochs or `num_steps` more steps; curves are those of these.

    Raises:
        ValueError: see `run`.
    """
    if not isinstance(runs, Runs) or not isinstance(plan, Plan):
        got = f"{type(runs).__name__} and {type(plan).__name__}"
        raise ValueError(f"run: runs must be Runs, and plan a population.Plan, got {got}")
    whole = replace(plan, schedule={k: _PerPoint(f, runs.points, runs.seeds) for k, f in plan.schedule.items()})
    if num_steps is None:
        result = population.carry_on(runs.state, runs.data, whole)
        curves = {name: runs.fold(getattr(result, name)) for name in ("train_loss", "valid_loss", "valid_error")}
        about = {name: getattr(result, name) for name in ("state", "valid_epochs", "backend", "finished")}
        return replace(runs, loss=plan.loss, **about, **curves)
    check_count("run", "num_steps", num_steps)
    if plan.save is not None:
        raise ValueError(f"run: plan.save must be None beside num_steps, got {plan.save!r}")
    feed = feeds(runs.data)["train"]
    state, losses = population.step(runs.state, feed.x, feed.y, whole, num_steps=num_steps, rows=feed.rows)
    none = torch.zeros(len(runs.points), len(runs.seeds), 0)
    about = {"train_loss": runs.fold(losses), "valid_epochs": torch.zeros(0), "backend": f"{num_steps} steps"}
    return replace(runs, state=state, loss=plan.loss, valid_loss=none, valid_error=none, **about)


@dataclass(frozen=True)
class _PerPoint:
    """A schedule that may give a factor for each point, as one that gives each member its own."""

    rule: Callable[[int], float | Tensor]
    points: Points
    seeds: tuple[int, ...]

    def __call__(self, step: int) -> float | Tensor:
        found = as_factors(self.rule(step))
        if isinstance(found, Tensor) and found.shape == (len(self.points),):
            return found.repeat_interleave(len(self.seeds))
        return found


def as_factors(value: object) -> object:
    """What a schedule gives: one number or what is refused later as it is, several as a tensor."""
    if isinstance(value, Real) or not isinstance(value, (Tensor, Sequence, np.ndarray)) or isinstance(value, str):
        return value
    found = torch.as_tensor(value)
    return found if found.ndim else value
