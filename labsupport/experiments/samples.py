"""Samples: one number per replicate and condition, with its seed; means, errors and intervals are derived from them.

Samples are paired by seed: `adam - sgd` takes each replicate's own difference, whatever the order of the two.
"""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial, partialmethod
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from labsupport.experiments.intervals import Estimate, Resampled, Statistic, around, evaluated, exact, tail_of
from labsupport.experiments.reading import elementwise, read_axes, read_column, read_labels, read_seeds
from labsupport.values import check_choice, check_count, check_generator, check_number

__all__ = ["Estimate", "Samples"]


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """One number per replicate and condition, float64 on the CPU; bools stay bools, and their mean is a share.

    `+ - * /` and `< <= > >=` take a number or other samples, of the same conditions or of one, and pair by seed;
    a comparison gives shares. One condition with one gives a condition named "".

    Args:
        values: condition to its numbers, 1-d (replicates,); or these numbers alone, as a condition named ""; or
            condition to samples of one condition, which are joined by seed in the order of the first.
        seeds: a different integer per replicate, >= 2 of them; a join may leave them out.
        clusters: a label per replicate, the same where replicates share something, such as a data set; else None.
        edge: names of the grid's axes at whose end a tuned setting lies; whatever is made of the samples keeps them.
    Raises:
        ValueError: a bound above is broken, a number is NaN or infinite, seeds or clusters of a pair differ.
    """

    values: Mapping[str, Tensor]
    seeds: tuple[int, ...] | None = None
    clusters: tuple[Hashable, ...] | None = field(default=None, kw_only=True)
    edge: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        values = self.values if isinstance(self.values, Mapping) else {"": self.values}
        if not values or not all(isinstance(name, str) for name in values):
            raise ValueError(f"Samples: values must be named by texts, at least one, got {list(values)}")
        seeds, clusters, edge = self.seeds, self.clusters, read_axes(self.edge)
        if any(isinstance(part, Samples) for part in values.values()):
            values, seeds, clusters, edges = _joined(values, seeds, clusters)
            edge = read_axes(edge + edges)
        seeds = read_seeds(seeds)
        clusters = None if clusters is None else read_labels(clusters, len(seeds))
        columns = MappingProxyType({name: read_column(name, column, seeds) for name, column in values.items()})
        for name, value in (("values", columns), ("seeds", seeds), ("clusters", clusters), ("edge", edge)):
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple:
        return partial(Samples, clusters=self.clusters, edge=self.edge), (dict(self.values), self.seeds)

    def __len__(self) -> int:
        """Number of replicates."""
        return len(self.seeds)

    def __bool__(self) -> bool:
        raise ValueError(f"Samples: truth must be asked of a number, such as a mean, got {self!r}")

    def __getitem__(self, condition: str) -> Samples:
        """Samples of one condition, under its name."""
        check_choice("Samples", "condition", condition, self.values)
        return self._like({condition: self.values[condition]})

    def __repr__(self) -> str:
        parts, means = [], self.means
        for name, column in list(self.values.items())[:8]:
            error = "" if column.dtype == torch.bool and self.clusters else f" ± {self._error(column):.3g}"
            parts.append(f"{name} {means[name]:.3g}{error}".strip())
        parts += ["…"] if len(self.values) > 8 else []
        grouped = f" in {self.count} clusters" if self.clusters else ""
        edge = f"; at the edge of {', '.join(self.edge)}" if self.edge else ""
        return f"Samples({len(self)} replicates{grouped}: {', '.join(parts)}{edge})"

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions' names, in order."""
        return tuple(self.values)

    @property
    def tensor(self) -> Tensor:
        """A new float64 tensor of all numbers, (conditions, replicates)."""
        return torch.stack([column.double() for column in self.values.values()])

    @property
    def count(self) -> int:
        """Number of independent units, clusters where they are given, else replicates."""
        return len(set(self.clusters or self.seeds))

    @property
    def means(self) -> dict[str, float]:
        """Mean over the replicates by condition, summed exactly; of bools, the share that is true."""
        return {name: math.fsum(column.tolist()) / len(self) for name, column in self.values.items()}

    @property
    def errors(self) -> dict[str, float]:
        """Standard error of the mean by condition, std (n − 1) / √n, or from the clusters' sums of deviations.

        Of shares it is a quarter of the exact 95 % interval's width, so that 0 of 32 is not 0 ± 0. Shares in clusters
        raise ValueError: the exact interval needs independent replicates. `1.0 * shares` treats them as numbers.

        Source: Cameron & Miller 2015, J. Human Resources 50(2), eq. 11, for clusters.
        """
        return {name: self._error(column) for name, column in self.values.items()}

    def intervals(self, confidence: float = 0.95) -> dict[str, tuple[float, float]]:
        """(low, high) of the mean by condition: Student's t with count − 1 degrees of freedom; exact for shares.

        Raises:
            ValueError: confidence outside (0, 1); shares in clusters, see `errors`.
        Source: Clopper & Pearson 1934, Biometrika 26, for shares.
        """
        tail = tail_of("intervals", confidence)
        return {name: self._interval(column, tail) for name, column in self.values.items()}

    @property
    def mean(self) -> float:
        """The mean of the only condition; ValueError where there are more."""
        return self.means[self._only("mean")]

    @property
    def error(self) -> float:
        """The standard error of the only condition; ValueError where there are more."""
        return self.errors[self._only("error")]

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """(low, high) of the only condition, as in `intervals`; ValueError where there are more."""
        return self.intervals(confidence)[self._only("interval")]

    def map(self, function: Callable[[Tensor], Tensor]) -> Samples:
        """Samples of `function` of each number: an elementwise torch function of float64, such as torch.log.

        Raises:
            ValueError: it returns another shape, a number that also depends on other replicates, NaN or infinity.
        """
        return self._like({name: elementwise(function, column.double()) for name, column in self.values.items()})

    def jackknife(self, statistic: Statistic, *, confidence: float = 0.95) -> Estimate:
        """A statistic with its error by leaving out one replicate (or cluster) at a time, in all conditions.

        Args:
            statistic: (conditions, replicates) float64 to one number, smooth in the data: a ratio, a correlation.
            confidence: of the interval value ± t · error, with count − 1 degrees of freedom.
        Raises:
            ValueError: a statistic that is no finite number, confidence outside (0, 1).
        Source: Efron & Stein 1981, Annals of Statistics 9(3).
        """
        tail = tail_of("jackknife", confidence)
        value, left_out = self._left_out("jackknife", statistic)
        error = math.sqrt((self.count - 1) * float(left_out.var(correction=0)))
        return Estimate(value, error, *around(value, error, self.count, tail), self.count, self.edge)

    def bootstrap(
        self, statistic: Statistic, *, num_draws: int = 2000, confidence: float = 0.95, generator: torch.Generator
    ) -> Estimate:
        """A statistic with its error and BCa interval, from replicates (or whole clusters) drawn with replacement.

        Args:
            statistic: (conditions, replicates) float64 to one number; a draw takes a replicate in all conditions.
            num_draws: >= 100; the error is the standard deviation of the draws.
            confidence: of the bias-corrected accelerated interval.
        Raises:
            ValueError: a bound above is broken; a statistic that is no finite number, also in one draw, or that every
                draw puts on the same side of its value.
        Source: Efron 1987, J. American Statistical Association 82(397).
        """
        tail = tail_of("bootstrap", confidence)
        check_count("bootstrap", "num_draws", num_draws, at_least=100)
        check_generator("bootstrap", generator)
        value, left_out = self._left_out("bootstrap", statistic)
        data, units, draws = self.tensor, self._units(), []
        members = [torch.nonzero(units == unit).flatten() for unit in range(self.count)]
        for _ in range(num_draws):
            drawn = torch.randint(self.count, (self.count,), generator=generator, device=generator.device).tolist()
            draws.append(evaluated("bootstrap", statistic, data[:, torch.cat([members[unit] for unit in drawn])]))
        ends = Resampled(value, tuple(draws), tuple(left_out.tolist()))
        error = float(torch.tensor(draws, dtype=torch.float64).std())
        return Estimate(value, error, *ends(tail), self.count, self.edge, ends)

    def _only(self, asked: str) -> str:
        if len(self.values) > 1:
            names = list(self.values)
            raise ValueError(f"Samples: {asked} must be of one condition, picked as samples[{names[0]!r}], got {names}")
        return next(iter(self.values))

    def _like(self, values: Mapping[str, Tensor], edge: tuple[str, ...] = ()) -> Samples:
        return Samples(values, self.seeds, clusters=self.clusters, edge=self.edge + edge)

    def _matched(self, first: Samples) -> Samples:
        """These samples in the order of `first`, whose seeds and clusters must be the same."""
        if (self.seeds, self.clusters) == (first.seeds, first.clusters):
            return self
        here, there = set(self.seeds), set(first.seeds)
        if here != there:
            apart = " and ".join(reprlib.repr(sorted(only)) for only in (there - here, here - there))
            raise ValueError(f"Samples: paired samples need the same seeds, got {apart} on one side only")
        place = {seed: i for i, seed in enumerate(self.seeds)}
        order = [place[seed] for seed in first.seeds]
        clusters = self.clusters and tuple(self.clusters[i] for i in order)
        if clusters != first.clusters:
            both = f"{reprlib.repr(first.clusters)} and {reprlib.repr(clusters)}"
            raise ValueError(f"Samples: paired samples need the same clusters, got {both}")
        columns = {name: column[order] for name, column in self.values.items()}
        return Samples(columns, first.seeds, clusters=clusters, edge=self.edge)

    def _paired(self, operation: Callable[[Any, Any], Tensor], other: Samples | float) -> Samples:
        mine = {name: column.double() for name, column in self.values.items()}
        if not isinstance(other, Samples):
            other = other.item() if getattr(other, "ndim", None) == 0 else other
            other = check_number("Samples", "the other side of an operation, if not Samples,", other)
            return self._like({name: operation(column, other) for name, column in mine.items()})
        theirs = {name: column.double() for name, column in other._matched(self).values.items()}
        if len(mine) == len(theirs) == 1:
            mine, theirs = {"": mine.popitem()[1]}, {"": theirs.popitem()[1]}
        elif len(theirs) == 1:
            theirs = dict.fromkeys(mine, theirs.popitem()[1])
        elif len(mine) == 1:
            mine = dict.fromkeys(theirs, mine.popitem()[1])
        if set(mine) != set(theirs):
            both = f"{list(mine)} and {list(theirs)}"
            raise ValueError(f"Samples: conditions must be the same on both sides, or one on a side, got {both}")
        return self._like({name: operation(column, theirs[name]) for name, column in mine.items()}, other.edge)

    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to us
    __add__ = __radd__ = partialmethod(_paired, operator.add)
    __mul__ = __rmul__ = partialmethod(_paired, operator.mul)
    __sub__, __rsub__ = partialmethod(_paired, operator.sub), partialmethod(_paired, lambda a, b: b - a)
    __truediv__, __rtruediv__ = partialmethod(_paired, operator.truediv), partialmethod(_paired, lambda a, b: b / a)
    __neg__ = partialmethod(_paired, operator.mul, -1)
    __lt__, __le__ = partialmethod(_paired, operator.lt), partialmethod(_paired, operator.le)
    __gt__, __ge__ = partialmethod(_paired, operator.gt), partialmethod(_paired, operator.ge)

    def _units(self) -> Tensor:
        """Which independent unit each replicate belongs to, (replicates,), int64 from 0 to count − 1."""
        labels = self.clusters or self.seeds
        number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
        return torch.tensor([number[label] for label in labels])

    def _error(self, column: Tensor) -> float:
        if column.dtype == torch.bool:
            low, high = self._interval(column, 0.025)
            return (high - low) / 4
        sums = torch.zeros(self.count, dtype=torch.float64).index_add_(0, self._units(), column - column.mean())
        return math.sqrt(self.count / (self.count - 1) * float(sums.square().sum())) / len(self)

    def _interval(self, column: Tensor, tail: float) -> tuple[float, float]:
        if column.dtype != torch.bool:
            return around(float(column.mean()), self._error(column), self.count, tail)
        if self.clusters is not None:
            raise ValueError("Samples: shares must be of independent replicates, got clusters; try 1.0 * shares")
        return exact(int(column.sum()), len(self), tail)

    def _left_out(self, where: str, statistic: Statistic) -> tuple[float, Tensor]:
        """The statistic of all, and with each unit left out: (count,)."""
        data, units = self.tensor, self._units()
        parts = [evaluated(where, statistic, data[:, units != unit]) for unit in range(self.count)]
        return evaluated(where, statistic, data), torch.tensor(parts, dtype=torch.float64)


def _joined(parts: Mapping[str, Any], seeds: Any, clusters: Any) -> tuple:
    """Columns, seeds, clusters and edge of samples of one condition each."""
    if not all(isinstance(part, Samples) and len(part.values) == 1 for part in parts.values()):
        raise ValueError(f"Samples: values to join must each be Samples of one condition, got {dict(parts)}")
    if clusters is not None:
        raise ValueError(f"Samples: clusters must come with the samples that are joined, got {reprlib.repr(clusters)}")
    first = next(iter(parts.values()))
    if seeds is not None and set(read_seeds(seeds)) != set(first.seeds):
        raise ValueError(f"Samples: seeds must be those of the samples that are joined, got {reprlib.repr(seeds)}")
    columns = {name: next(iter(part._matched(first).values.values())) for name, part in parts.items()}
    return columns, first.seeds, first.clusters, tuple(axis for part in parts.values() for axis in part.edge)
