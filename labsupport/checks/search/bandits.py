"""Checks of the exercises that belong to page `bandits`."""

import math
from collections.abc import Callable
from itertools import accumulate

import torch

from labsupport.checks.draws import uniform, whole
from labsupport.checks.frame import check

__all__ = ["halving_plan", "promotable", "rungs", "survivors"]

Plan = list[tuple[int, int]]


def _log2_up(num: int) -> int:
    return (num - 1).bit_length()


def _halved(num: int, budget: int, rounds: int, *, until: int = 1, odd: int = 1) -> Plan:
    """A plan of `rounds`, while more than `until` settings are left; with `odd` 1 the larger half goes on."""
    plan = []
    while num > until:
        plan.append((num, budget // (num * rounds)))
        num = (num + odd) // 2
    return plan


def _one_short(num: int, budget: int) -> Plan:
    return _halved(num, budget, _log2_up(num) - 1, until=2)


def _in_all(num: int, budget: int) -> Plan:
    plan = _halved(num, budget, _log2_up(num))
    return list(zip([size for size, _ in plan], accumulate(more for _, more in plan), strict=True))


@check(
    truth=lambda num, budget: _halved(num, budget, _log2_up(num)),
    given=lambda generator: [
        (8, 48), (2, 10), (64, 504), (27, 405), (whole(generator, 33, 63), whole(generator, 500, 700)),
    ],
    wrong={
        "one round short": (_one_short,
            "You make one round too few: two settings are left, and two settings alone are not trained at all. "
            "⌈log₂ N⌉ rounds leave one."),
        "the last round left out": (lambda num, budget: _halved(num, budget, _log2_up(num), until=2),
            "You share the budget among all rounds, and then leave out the last one, of two settings."),
        "logarithm rounded down": (lambda num, budget: _halved(num, budget, num.bit_length() - 1),
            "Your logarithm is rounded down. 27 settings need 5 rounds: 27, 14, 7, 4, 2."),
        "the smaller half": (lambda num, budget: _halved(num, budget, _log2_up(num), odd=0),
            "Of an odd number you keep the smaller half. Keep ⌈n / 2⌉."),
        "units in all": (_in_all,
            "You give the epochs in all. Asked are those that a round adds."),
        "the whole budget in each round": (lambda num, budget: _halved(num, budget, 1),
            "Each of your rounds spends the whole budget. Divide by the number of rounds too."),
        "the last one alone": (lambda num, budget: [
                *_halved(num, budget, _log2_up(num)), (1, budget // _log2_up(num))],
            "Your last round trains the only setting that is left. There is nothing to choose any more."),
    },
)  # fmt: skip
def halving_plan(answer: Callable, generator: torch.Generator) -> str | None:
    """`halving_plan(num, budget)`: the settings in each round, and the epochs that it adds for each of them."""


def _rungs(max_resource: int, eta: int) -> list[int]:
    found = [max_resource]
    while max_resource // eta ** len(found) >= 1:
        found.append(max_resource // eta ** len(found))
    return found[::-1]


def _by_logarithm(max_resource: int, eta: int, to_whole: Callable[[float], int] = int) -> list[int]:
    steps = to_whole(math.log(max_resource) / math.log(eta))
    return [max_resource // eta**k for k in range(steps, -1, -1)]


@check(
    truth=_rungs,
    given=lambda generator: [
        (81, 3), (100, 3), (243, 3), (1000, 10), (80, 3), (1, 2), (whole(generator, 230, 242), 3),
    ],
    wrong={
        "a float logarithm": (_by_logarithm,
            "A rung is lost: log(243) / log(3) is 4.999999999999999 in floats, and rounded down it is 4. "
            "Divide whole numbers, as long as at least 1 is left."),
        "the nearest logarithm": (lambda max_resource, eta: _by_logarithm(max_resource, eta, round),
            "Rounded to the nearest, the logarithm gives a rung of 0 epochs. "
            "Divide whole numbers, as long as at least 1 is left."),
        "powers from the bottom": (lambda max_resource, eta: [eta**k for k in range(len(_rungs(max_resource, eta)))],
            "Your rungs are powers of eta, so the last one is not `max_resource`. Count from the top."),
        "from the top down": (lambda max_resource, eta: _rungs(max_resource, eta)[::-1],
            "These are the right rungs from the top down. The first rung comes first."),
        "no last rung": (lambda max_resource, eta: _rungs(max_resource, eta)[:-1],
            "The last rung, a full training, is missing."),
        "fractions": (lambda max_resource, eta: [
                max_resource / eta**k for k in range(len(_rungs(max_resource, eta)) - 1, -1, -1)],
            "Epochs come whole: divide with `//`."),
    },
)  # fmt: skip
def rungs(answer: Callable, generator: torch.Generator) -> str | None:
    """`rungs(max_resource, eta)`: max_resource // eta**k down to the last that is at least 1, the smallest first."""


def _valued(values: list[float | None]) -> list[int]:
    return [i for i, value in enumerate(values) if value is not None and math.isfinite(value)]


def _best(values: list[float | None], keep: int, instead: float | None = None) -> list[int]:
    """The `keep` smallest; a trial that failed counts as `instead`, or not at all."""
    valued = set(_valued(values))
    told = [value if i in valued else instead for i, value in enumerate(values)]
    return sorted((i for i, value in enumerate(told) if value is not None), key=told.__getitem__)[:keep]


def _only_none(values: list[float | None], keep: int) -> list[int]:
    return sorted((i for i, value in enumerate(values) if value is not None), key=values.__getitem__)[:keep]


def _with_failures(generator: torch.Generator) -> list[tuple]:
    """Values of a round, none twice; a failure is None, NaN or infinite, and an error may be 0."""
    a, b, c, d = (k / 10 + uniform(generator, 0.01, 0.09) for k in (1, 2, 3, 4))
    return [
        ([c, None, a, b], 2), ([math.nan, d, a, None, c, b], 3), ([None, b, math.nan, a], 3), ([d, b, c, a], 2),
        ([math.inf, c, b], 1), ([b, 0.0, None, a], 2),
    ]  # fmt: skip


@check(
    truth=_best,
    given=_with_failures,
    wrong={
        "failed told as 0": (lambda values, keep: _best(values, keep, 0.0),
            "A trial that failed wins: told as 0 it looks better than every error. Leave it out."),
        "value or 0": (lambda values, keep: sorted(range(len(values)), key=lambda i: values[i] or 0.0)[:keep],
            "`None or 0.0` is 0.0, better than every error, and NaN stays NaN. Leave out what failed."),
        "0 taken for a failure": (lambda values, keep: _best([value or None for value in values], keep),
            "An error of 0 is the best there is, but it counts as false. Ask whether the value `is not None`."),
        "failed told as the worst": (lambda values, keep: _best(values, keep, math.inf),
            "A trial that failed goes on where too few are left to fill the places. Keep fewer."),
        "only None counts": (_only_none,
            "NaN and infinity are failures too. No comparison with NaN is true, so a sort leaves it anywhere."),
        "the largest": (lambda values, keep: sorted(_valued(values), key=values.__getitem__, reverse=True)[:keep],
            "You keep the largest. These are errors: smaller is better."),
        "values for places": (lambda values, keep: [values[i] for i in _best(values, keep)],
            "You return the values. Asked is where they stand in the list."),
        "by place": (lambda values, keep: sorted(_best(values, keep)),
            "The right ones, but by their place in the list. The best comes first."),
    },
)  # fmt: skip
def survivors(answer: Callable, generator: torch.Generator) -> str | None:
    """`survivors(values, keep)`: the places of the `keep` smallest values, the best first; failures never go on."""


def _order(values: list[float]) -> list[int]:
    return sorted(range(len(values)), key=values.__getitem__)


def _remaining(values: list[float], promoted: list[int]) -> list[int]:
    return [i for i in _order(values) if i not in promoted]


def _promotable(values: list[float], promoted: list[int], eta: int) -> list[int]:
    return [i for i in _order(values)[: len(values) // eta] if i not in promoted]


def _rung(generator: torch.Generator) -> list[tuple]:
    ten = [(k + uniform(generator, 0.1, 0.9)) / 10 for k in range(10)]
    mixed = [ten[i] for i in torch.randperm(10, generator=generator)]
    first, second, *_, last = _order(mixed)
    return [
        ([0.5, 0.2, 0.4], [], 3), ([0.5, 0.2, 0.4, 0.1, 0.3, 0.6], [], 3), ([0.5, 0.2, 0.4, 0.1], [1], 2),
        ([0.3, 0.4, 0.5, 0.1, 0.2, 0.6], [0], 3), ([0.5, 0.2], [], 3),
        (mixed, [], 4), (mixed, [second], 3), (mixed, [first, last], 2),
    ]  # fmt: skip


@check(
    truth=_promotable,
    given=_rung,
    wrong={
        "again": (lambda values, promoted, eta: _order(values)[: len(values) // eta],
            "A trial that has gone on would go on again."),
        "the best of the rest": (lambda values, promoted, eta: _remaining(values, promoted)[: len(values) // eta],
            "You take the best ⌊n / eta⌋ of those that are left, so at last all go on. "
            "Rank all n first, then leave out who has gone."),
        "places that are free": (lambda values, promoted, eta: _remaining(values, promoted)[
                : max(len(values) // eta - len(promoted), 0)],
            "You count the places that are taken. Who has gone on wrongly takes none: "
            "who is among the best ⌊n / eta⌋ now may go."),
        "rounded up": (lambda values, promoted, eta: [
                i for i in _order(values)[: -(-len(values) // eta)] if i not in promoted],
            "You round n / eta up, and so the first of a rung goes on at once. Round down."),
        "the largest": (lambda values, promoted, eta: [
                i for i in _order(values)[::-1][: len(values) // eta] if i not in promoted],
            "You let the largest go on. These are errors: smaller is better."),
        "as they came": (lambda values, promoted, eta: sorted(_promotable(values, promoted, eta)),
            "The right ones, but in the order in which they were told. The best comes first."),
    },
)  # fmt: skip
def promotable(answer: Callable, generator: torch.Generator) -> str | None:
    """`promotable(values, promoted, eta)`: who of a rung may go on now, the best first; ASHA's rule."""
