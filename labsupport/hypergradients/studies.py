"""Studies of learnt coefficients: networks of several seeds trained side by side, each with an L2 for every unit.

    study = Study([128, 20, 10], *own(splits), lambda at: [1000 * s + at for s in seeds], num_steps=120, lr=0.1)
    learnt = meta_optimize(study.problem, study.coefficients(-4.0), DrMAD(), MetaPlan(25, 0.3))
    study.scores(learnt.hyper, range(900, 904))["test"].error  # (networks,), from starts that nothing learnt from

Every tensor has the networks along its first dimension. The losses are sums over them, so that what is learnt for one
depends on that one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from labsupport import data, models
from labsupport.counters import seeded
from labsupport.data.splits import PARTS, Pair
from labsupport.experiments.rounding import rounded
from labsupport.hypergradients.films import flat
from labsupport.hypergradients.gradients import Method, trained
from labsupport.hypergradients.learning import Learnt, MetaPlan, meta_optimize
from labsupport.hypergradients.penalties import log_l2
from labsupport.hypergradients.problem import Named, Problem
from labsupport.hypergradients.steps import BACKENDS, backend_for
from labsupport.population import Scores
from labsupport.values import check_choice, check_count

__all__ = [
    "Study", "before_and_after", "best_single", "compared", "errors", "losses", "outputs", "own", "penalized",
    "stacked", "with_own_data",
]  # fmt: skip


def stacked(nets: Iterable[nn.Module]) -> Named:
    """Parameters of networks of one kind: name -> (networks, …), cut from their graphs.

    Raises:
        ValueError: there is none, or their parameters differ in name or shape.
    """
    parts = [dict(net.named_parameters()) for net in nets]
    if not parts or any([*map(_kind, part.items())] != [*map(_kind, parts[0].items())] for part in parts):
        raise ValueError(f"stacked: nets must be one or more with the same parameters, got {len(parts)}")
    return {name: torch.stack([part[name].detach() for part in parts]) for name in parts[0]}


def outputs(weights: Named, x: Tensor) -> Tensor:
    """What stacked tanh networks say: (networks, n, outputs).

    Args:
        weights: weight and bias of each layer in turn, as `stacked` gives those of `models.mlp`.
        x: (n, inputs), shared; or each network's own, (networks, n, inputs).
    """
    values = list(weights.values())
    h = x if x.ndim == 3 else x.expand(len(values[0]), *x.shape)
    for place in range(0, len(values), 2):
        h = torch.baddbmm(values[place + 1][:, None], h.tanh() if place else h, values[place].mT)
    return h


def losses(weights: Named, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of each network, (networks,); x and y shared or each network's own, as in `outputs`."""
    found = outputs(weights, x).transpose(1, 2)
    return cross_entropy(found, y if y.ndim == 2 else y.expand(len(found), -1), reduction="none").mean(1)


def errors(weights: Named, x: Tensor, y: Tensor) -> Tensor:
    """Share of the examples that each network classifies wrongly, (networks,); x and y as in `losses`."""
    found = outputs(weights, x)
    return (found.argmax(2) != y).to(found.dtype).mean(1)


def penalized(weights: Named, logs: Named, batch: Pair) -> Tensor:
    """The networks' training losses, each with ½ Σ exp(c) w², summed: the `train_loss` of a `Problem`.

    Args:
        weights, batch: as in `losses`.
        logs: name of a weight -> (networks, inputs), natural logarithms of the coefficients of its input units.
    """
    return losses(weights, *batch).sum() + log_l2(weights, {name: value[:, None] for name, value in logs.items()})


def own(splits: Iterable[data.Split]) -> tuple[Pair, Pair, Pair]:
    """Training, validation and test examples of networks with a data set each: x (networks, n, …), y (networks, n).

    Raises:
        ValueError: there is no split, or their sizes differ.
    """
    splits = list(splits)
    if not splits or len({tuple(getattr(split, part)[0].shape for part in PARTS) for split in splits}) > 1:
        raise ValueError(f"own: splits must be one or more of the same sizes, got {splits}")
    return tuple(tuple(map(torch.stack, zip(*(getattr(s, part) for s in splits), strict=True))) for part in PARTS)


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """Tanh networks of several seeds trained side by side, each with a log-L2 for every input unit of every layer.

    Attributes:
        sizes: of the layers, as `models.mlp` takes them.
        train, valid, test: pairs (x, y), shared by the networks or, as `own` gives them, of each network.
        starts: attempt -> a seed for each network, from which `models.mlp` draws its start. An attempt is whatever
            tells one training from another: the number of a meta-step, an offset of the seeds.
        num_steps, lr, momentum: of a training.
        batches: attempt -> (step -> batch); None for the whole training part at each step.
        backend: "eager", "compiled", or "auto", which compiles where this machine can; after that one of the first two.
    Raises:
        ValueError: another backend, or what `Problem` refuses.
    """

    sizes: Sequence[int]
    train: Pair
    valid: Pair
    test: Pair
    starts: Callable[[Any], Iterable[int]]
    num_steps: int
    lr: float
    momentum: float = 0.9
    batches: Callable[[Any], Callable[[int], Pair]] | None = None
    backend: str = "auto"

    def __post_init__(self) -> None:
        check_choice("Study", "backend", self.backend, BACKENDS)
        object.__setattr__(self, "backend", backend_for(self.backend))

    def problem(self, attempt: Any) -> Problem:
        """One attempt: its starts and batches; what `meta_optimize` takes where attempts are numbers of meta-steps."""
        like = self.train[0]
        nets = (models.mlp(self.sizes, activation="tanh", generator=seeded(seed)) for seed in self.starts(attempt))
        start = {name: value.to(like) for name, value in stacked(nets).items()}
        batches = (lambda _: self.train) if self.batches is None else self.batches(attempt)
        judge = lambda weights: losses(weights, *self.valid).sum()  # noqa: E731
        return Problem(penalized, judge, start, batches, self.num_steps, self.lr, self.momentum)

    def coefficients(self, start: float | Sequence[float], attempt: Any = 0) -> Named:
        """Weight's name -> (networks, inputs), all at `start`, a logarithm for all networks or one for each.

        Args:
            start: natural logarithms.
            attempt: any, which tells the number of networks.
        """
        matrices = {name: w for name, w in self.problem(attempt).weights.items() if w.ndim == 3}
        level = torch.as_tensor(start, dtype=self.train[0].dtype, device=self.train[0].device).reshape(-1, 1)
        return {name: level.expand(len(w), w.shape[2]).contiguous() for name, w in matrices.items()}

    def scores(self, logs: Named, attempts: Iterable[Any]) -> dict[str, Scores]:
        """Part -> loss and error of each network, (networks,): means over trainings with these coefficients.

        Raises:
            ValueError: there is no attempt.
            FloatingPointError: a training diverges.
        """
        ends = [trained(self.problem(attempt), logs, backend=self.backend)[0] for attempt in attempts]
        check_count("Study.scores", "number of attempts", len(ends))
        return {part: Scores(*(torch.stack([measure(weights, *getattr(self, part)) for weights in ends]).mean(0)
                               for measure in (losses, errors))) for part in PARTS}  # fmt: skip


def with_own_data(
    draw: Callable[[int], data.Split], sizes: Sequence[int], *, seeds: Iterable[int], num_steps: int, lr: float,
    backend: str = "auto",
) -> Study:  # fmt: skip
    """A study whose networks have a data set each and train on all of it at once, with momentum 0.9.

    Args:
        draw: seed -> split, flat, of the same sizes for all seeds.
        seeds: one for each network; seed s starts attempt k (a number below 1000) from seed 1000 s + k.
        sizes, num_steps, lr, backend: see `Study`.
    """
    seeds = tuple(seeds)
    parts = own(map(draw, seeds))
    return Study(sizes, *parts, lambda k: [1000 * s + k for s in seeds], num_steps, lr, backend=backend)


def best_single(study: Study, levels: Sequence[float], *, by: str, attempts: Iterable[Any] = range(4)) -> list[float]:
    """For each network the one log-L2 for all its units that is best on the validation part, the first of equals.

    Args:
        study: the grid's trainings are made once; another `by` of the same study asks them again.
        levels: the grid, natural logarithms.
        by: "loss" or "error", of which the mean over the attempts decides.
        attempts: each level is trained with all of them.
    Raises:
        ValueError: another `by`, an empty grid, no attempts.
    """
    check_choice("best_single", "by", by, Scores._fields)
    check_count("best_single", "number of levels", len(levels))
    tried = torch.stack([getattr(each, by) for each in _tried(study, tuple(levels), tuple(attempts))])
    return [levels[place] for place in tried.argmin(0).tolist()]


@lru_cache(maxsize=1)
def _tried(study: Study, levels: tuple[float, ...], attempts: tuple) -> list[Scores]:
    return [study.scores(study.coefficients(level, attempts[0]), attempts)["valid"] for level in levels]


def compared(
    study: Study, method: Method | str, *, levels: Sequence[float], start: float, plan: MetaPlan,
    areas: Mapping[str, Any], attempt_at: Callable[[int], Any] = int,
) -> tuple[dict[str, list], Learnt | None]:  # fmt: skip
    """A row of a table that compares learnt coefficients with the best single one, and what was learnt.

    Args:
        method: of the hypergradient; or "loss" or "error", by which the best single one is chosen, see `best_single`.
        levels: the grid of single ones.
        start: logarithm at which learning begins.
        plan: of the learning; the backend is the study's.
        areas: name -> places among a network's coefficients laid end to end, whose learnt mean is in the row.
        attempt_at: meta-step -> attempt; left out, each meta-step is an attempt of its own.
    Returns:
        "single" or the areas, then "valid", "valid_error", "test" and "error", means of attempts 900 … 903: lists of a
        number for each network. And what was learnt; None for the grid.
    """
    if isinstance(method, str):
        learnt, found = None, {"single": best_single(study, levels, by=method)}
        logs = study.coefficients(found["single"])
    else:
        plan = replace(plan, backend=study.backend)
        learnt = meta_optimize(lambda at: study.problem(attempt_at(at)), study.coefficients(start), method, plan)
        logs, everything = learnt.hyper, flat(learnt.hyper, members=True)
        found = {name: rounded(everything[:, places].mean(1), decimals=4) for name, places in areas.items()}
    valid, test = map(study.scores(logs, range(900, 904)).get, ("valid", "test"))
    numbers = {"valid": valid.loss, "valid_error": valid.error, "test": test.loss, "error": test.error}
    return found | {name: rounded(value, decimals=5) for name, value in numbers.items()}, learnt


def before_and_after(
    study: Study, first: Named, last: Named, attempts: Mapping[str, Sequence[Any]], *, decimals: int = 5
) -> dict[str, list[float]]:
    """Columns of a table: how networks do with the first coefficients and with the last ones, at several attempts.

    Args:
        first, last: coefficients.
        attempts: where -> attempts, over which is averaged.
        decimals: of the numbers.
    Returns:
        `<where>_<what>_<when>` -> a number for each network: validation loss ("valid"), test loss and error ("test",
        "error"), "before" and "after".
    """
    found = {}
    for when, logs in (("before", first), ("after", last)):
        for where, some in attempts.items():
            parts = study.scores(logs, some)
            numbers = {"valid": parts["valid"].loss, "test": parts["test"].loss, "error": parts["test"].error}
            found |= {f"{where}_{name}_{when}": rounded(v, decimals=decimals) for name, v in numbers.items()}
    return found


def _kind(parameter: tuple[str, Tensor]) -> tuple:
    name, value = parameter
    return name, value.shape, value.dtype, value.device
