"""A claim's conditions, judged from unrounded samples by its registered rule: from an interval to a verdict, and from
the conditions' verdicts to the claim's.
"""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

from labsupport.experiments.claims import SIDES, Entry
from labsupport.experiments.samples import Estimate, Samples
from labsupport.values import check_choice, check_count, check_number

__all__ = ["CONFIDENCE", "TRUTH", "Condition", "Judgement", "combine", "confidences", "judge", "verdict"]

Measured = Samples | Estimate
CONFIDENCE = 0.95  # of the interval that one deciding condition is judged by

# What is found among the deciding conditions (✓ holds, ✗ fails, ? undecided), and what that makes of a claim: of one
# that may hold in some conditions only, and of one that says "always".
TRUTH = {
    frozenset(): ("not tested here", "not tested here"),
    frozenset({"holds"}): ("holds", "holds"),
    frozenset({"fails"}): ("fails", "fails"),
    frozenset({"undecided"}): ("undecided", "undecided"),
    frozenset({"holds", "undecided"}): ("undecided", "undecided"),
    frozenset({"holds", "fails"}): ("conditional", "fails"),
    frozenset({"fails", "undecided"}): ("fails", "fails"),
    frozenset({"holds", "fails", "undecided"}): ("conditional", "fails"),
}


class Condition(NamedTuple):
    """What is found of one condition: the effect, its standard error and interval, the verdict, whether it decides."""

    label: str
    effect: float
    error: float
    low: float
    high: float
    confidence: float
    verdict: str
    decides: bool


class Judgement(NamedTuple):
    """The conditions, deciding ones first, the claim's verdict, and the least and greatest number of replicates."""

    conditions: tuple[Condition, ...]
    verdict: str
    counts: tuple[int, int]


def judge(entry: Entry, samples: Measured | Real | Mapping[str, Any]) -> Judgement:
    """The verdict on an entry.

    Args:
        samples: `Samples` or an `Estimate`; or by condition such, of one condition each. A number, or one by condition,
            where the rule is exact.
    Raises:
        ValueError: other conditions or fewer replicates than registered, settings tuned to the edge of their grid,
            numbers where samples are due or the other way round.
    """
    parts = _parts(entry, samples)
    wanted = entry.decide + entry.beyond
    if set(parts) != set(wanted):
        raise ValueError(f"claim: conditions of {entry.name!r} must be {list(wanted)}, got {list(parts)}")
    counts = [1 if entry.exact else part.count for part in parts.values()]
    if min(counts) != entry.count:
        rule = f"{entry.count} replicates, as registered,"
        raise ValueError(f"claim: samples of {entry.name!r} must have {rule} got {min(counts)}")
    found = tuple(_condition(entry, label, parts[label]) for label in wanted)
    said = combine([condition.verdict for condition in found if condition.decides], always=entry.always)
    return Judgement(found, said, (min(counts), max(counts)))


def _condition(entry: Entry, label: str, part: Any) -> Condition:
    decides = label in entry.decide
    deciding = len(entry.decide) if decides else 1
    if entry.exact:
        effect, error, interval = part, 0.0, lambda confidence: (part, part)
    else:
        effect = part.mean if isinstance(part, Samples) else part.value
        error, interval = part.error, part.interval
    rule = {"delta": entry.delta, "side": entry.side}
    to_hold, to_fail = confidences(deciding, always=entry.always)
    first = verdict(*interval(to_hold), **rule)
    said = first if first == "holds" else verdict(*interval(to_fail), **rule)
    confidence = to_hold if said == first != "fails" else to_fail  # of the interval that shows what is said
    return Condition(label, effect, error, *interval(confidence), confidence, said, decides)


def verdict(low: float, high: float, *, delta: float, side: str) -> str:
    """ "holds", "fails" or "undecided": where the interval from `low` to `high` lies with respect to ± `delta`.

    Args:
        low, high: ends of the effect's interval, in the unit of `delta`; equal where nothing is random, and then
            what does not hold fails.
        delta: δ, the smallest effect that would interest anyone, >= 0.
        side: where the claim says that the effect lies: "above" δ, "below" −δ, or "within" ±δ.
    Raises:
        ValueError: an unknown side, a number that is not finite, ends in the wrong order.
    """
    check_choice("verdict", "side", side, SIDES)
    check_number("verdict", "delta", delta, low=0)
    check_number("verdict", "low", low)
    check_number("verdict", "high", high, low=low)
    if side == "below":
        low, high = -high, -low
    if side == "within":
        holds, fails = -delta <= low and high <= delta, low > delta or high < -delta
    else:
        holds, fails = low > delta, high < delta
    return "holds" if holds else "fails" if fails or low == high else "undecided"


def combine(verdicts: Sequence[str], *, always: bool = False) -> str:
    """The claim's verdict from those of its deciding conditions, by `TRUTH`.

    Args:
        verdicts: of each deciding condition; none: "not tested here".
        always: the claim says that it holds in every condition, so that the first failure ends it.
    Raises:
        ValueError: one that is not "holds", "fails" or "undecided".
    """
    if isinstance(verdicts, str):
        raise ValueError(f"combine: verdicts must be a list, got {verdicts!r}")
    for said in verdicts:
        check_choice("combine", "each of verdicts", said, ("holds", "fails", "undecided"))
    return TRUTH[frozenset(verdicts)][always]


def confidences(deciding: int, *, always: bool = False) -> tuple[float, float]:
    """Confidence of the interval by which a condition holds, and of the one by which it fails.

    With m deciding conditions, 1 − 0.05 / m (Bonferroni), so that the chance of any false word stays 5 %. A claim that
    says "always" holds only if all conditions hold, which needs no correction; it fails with the first, which does.
    Source: Berger 1982, Technometrics 24(4), for the intersection-union test.
    """
    corrected = 1 - (1 - CONFIDENCE) / check_count("confidences", "deciding", deciding)
    return (CONFIDENCE if always else corrected), corrected


def _parts(entry: Entry, samples: Any) -> dict[str, Any]:
    """What was measured, by condition."""
    if isinstance(samples, Samples):
        samples = {label: samples[label] for label in samples.conditions}
    parts = dict(samples) if isinstance(samples, Mapping) else {"": samples}
    if len(parts) == 1 and entry.decide + entry.beyond == ("",):
        parts = {"": next(iter(parts.values()))}
    for label, part in parts.items():
        where = f"samples of {entry.name!r}" + (f", {label!r}," if label else "")
        if entry.exact:
            parts[label] = check_number("claim", where, part.item() if getattr(part, "ndim", None) == 0 else part)
        elif not isinstance(part, Measured) or (isinstance(part, Samples) and len(part.conditions) > 1):
            raise ValueError(f"claim: {where} must be Samples of one condition or an Estimate, got {part!r}")
        elif part.edge:
            rule = "tuned inside their grid, for something better may lie beyond its edge"
            raise ValueError(f"claim: {where} must be {rule}, got the edge of {', '.join(part.edge)}")
    return parts
