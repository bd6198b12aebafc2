"""Studies that several pages and tables ask: a deep net on few digits, and one on digits between pieces of others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from labsupport import data
from labsupport.hypergradients import inputs
from labsupport.hypergradients.gradients import Method
from labsupport.hypergradients.learning import MetaPlan
from labsupport.hypergradients.problem import Named, Problem, minibatches
from labsupport.hypergradients.studies import Study, compared, with_own_data
from labsupport.values import check_count

__all__ = ["clutter_row", "digits_task", "on_clutter", "on_digits"]


def on_digits(
    starts: Iterable[int] | Callable[[Any], Iterable[int]],
    *,
    num_steps: int,
    order: int | Callable[[Any], int] = 3,
    split: data.Split | None = None,
    backend: str = "auto",
) -> Study:
    """Networks 64-50-50-50-10 that share 300 digits, in batches of 100, with rate .03 and momentum .9.

    Args:
        starts: seeds of the starts, the same at every attempt; or attempt -> seeds.
        num_steps, backend: see `Study`.
        order: seed of the order of the batches, or attempt -> seed.
        split: the digits in another dtype or on another device; None for `inputs.few_digits()`.
    Raises:
        ValueError: what `Study` and `minibatches` refuse.
    """
    split = inputs.few_digits() if split is None else split
    seeds = starts if callable(starts) else partial(_same, tuple(starts))
    turn = order if callable(order) else partial(_same, order)
    return Study(
        [64, 50, 50, 50, 10], split.train, split.valid, split.test, seeds, num_steps, lr=0.03, momentum=0.9,
        batches=lambda attempt: minibatches(*split.train, 100, seed=turn(attempt)), backend=backend,
    )  # fmt: skip


def digits_task(seeds: Iterable[int], *, num_steps: int, split: data.Split | None = None) -> tuple[Problem, Named]:
    """One attempt of `on_digits` and its 214 log-L2, all at −6: what `hypergradient` takes.

    Args:
        seeds, num_steps, split: as in `on_digits`.
    """
    study = on_digits(seeds, num_steps=num_steps, split=split)
    return study.problem(0), study.coefficients(-6.0)


def on_clutter(sizes: Sequence[int], *, seeds: Iterable[int], num_steps: int, backend: str = "auto") -> Study:
    """Networks 784-50-50-50-10 with pictures of their own, `inputs.cluttered`; whole batches, rate .1, momentum .9.

    Args:
        sizes: examples to train on, to validate, and of the third split.
        seeds, num_steps, backend: see `with_own_data`.
    Raises:
        ValueError: what `inputs.cluttered` and `Study` refuse.
    """
    draw = partial(inputs.cluttered, sizes)
    return with_own_data(draw, [784, 50, 50, 50, 10], seeds=seeds, num_steps=num_steps, lr=0.1, backend=backend)


def clutter_row(
    study: Study, method: Method | str, *, levels: Sequence[float], plan: MetaPlan, every: int
) -> dict[str, list]:
    """A row of a table: `compared` from logarithms of −5 on, by `inputs.CLUTTER`, with the way of the pixels' map.

    Args:
        study: of `on_clutter`.
        method, levels, plan: see `compared`.
        every: meta-steps from one map to the next, the first before any; >= 1.
    Returns:
        What `compared` returns; for a learner also "maps": 784 means over the networks, in hundredths, map after map.
    Raises:
        ValueError: a bound above is broken, or what `compared` refuses.
    """
    check_count("clutter_row", "every", every)
    found, learnt = compared(study, method, levels=levels, start=-5.0, plan=plan, areas=inputs.CLUTTER)
    if learnt is not None:
        found["maps"] = (100 * learnt.history["0.weight"][::every].mean(1)).round().int().flatten().tolist()
    return found


def _same(value: Any, attempt: Any) -> Any:
    return value
