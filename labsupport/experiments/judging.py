"""A claim's conditions, judged from unrounded samples by its registered rule."""

from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

from labsupport.experiments.claims import Entry
from labsupport.experiments.samples import Estimate, Samples
from labsupport.experiments.verdicts import combine, confidences, judged
from labsupport.values import check_number

__all__ = ["Condition", "Judgement", "judge"]

Measured = Samples | Estimate


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
    if not parts:
        raise ValueError(f"claim: samples of {entry.name!r} must be of at least one condition, got none")
    if list(parts) == [""] != list(wanted) or set(parts) != set(wanted):
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
    said = judged(interval, delta=entry.delta, side=entry.side, deciding=deciding, always=entry.always)
    confidence = confidences(deciding, always=entry.always)[said == "fails"]
    return Condition(label, effect, error, *interval(confidence), confidence, said, decides)


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
