"""The ledger of claims: a box whose verdict is computed by a rule that was fixed before the run."""

import re
from collections.abc import Mapping
from html import escape

from labsupport.experiments.samples import Estimate, Samples
from labsupport.show.bundles import Bundle
from labsupport.show.figures import require_text
from labsupport.show.text import rounded
from labsupport.values import check_choice, check_count, check_number

__all__ = ["claim", "combine", "verdict"]

Measured = Samples | Estimate

RULES = {
    "above": "holds if the effect, less two standard errors, lies above δ = {}",
    "below": "holds if the effect, plus two standard errors, lies below −δ = −{}",
    "within": "holds if the effect ± two standard errors lies within ±δ = ±{}",
}
MARKS = {"holds": "✓", "fails": "✗", "conditional": "◐", "undecided": "?"}
COLORS = {"holds": "#00694e", "fails": "#a3330b", "conditional": "#7a5c00", "undecided": "#555555"}


def verdict(effect: float, error: float, *, smallest: float, rule: str) -> str:
    """ "holds", "fails" or "undecided": where effect ± 2 error lies with respect to ± smallest.

    Args:
        effect: the measured effect, in the unit of `smallest`.
        error: its standard error, >= 0.
        smallest: δ, the smallest effect that would interest anyone; >= 0 and fixed before the run.
        rule: the side on which the claim lies: "above" δ, "below" −δ, or "within" ±δ.
    Raises:
        ValueError: an unknown rule, a negative or non-finite number.
    """
    check_choice("verdict", "rule", rule, RULES)
    check_number("verdict", "effect", effect)
    for name, value in (("error", error), ("smallest", smallest)):
        check_number("verdict", name, value, low=0)
    low, high = effect - 2 * error, effect + 2 * error
    if rule == "below":
        low, high = -high, -low
    if rule == "within":
        holds, fails = -smallest <= low and high <= smallest, low > smallest or high < -smallest
    else:
        holds, fails = low > smallest, high < smallest
    return "holds" if holds else "fails" if fails else "undecided"


def combine(verdicts: list[str]) -> str:
    """One verdict for several conditions: "conditional" where the claim holds in some and fails in others.

    Raises:
        ValueError: there is none, or one that is not "holds", "fails" or "undecided".
    """
    if isinstance(verdicts, str) or not verdicts:
        raise ValueError(f"combine: verdicts must be a list of one or more, got {verdicts!r}")
    for said in verdicts:
        check_choice("combine", "each of verdicts", said, ("holds", "fails", "undecided"))
    kinds = set(verdicts)
    if kinds in ({"holds"}, {"fails"}):
        return kinds.pop()
    return "conditional" if {"holds", "fails"} <= kinds else "undecided"


def claim(
    name: str, statement: str, *, source: str, samples: Measured | Mapping[str, Measured] | None = None,
    effect: float | Mapping[str, float] | None = None, error: float | Mapping[str, float] | None = None,
    smallest: float, rule: str, unit: str = "", seeds: int | None = None,
) -> Bundle:  # fmt: skip
    """A tested claim, as a box on the page and a row of the ledger. The verdict speaks of *here*: model, data, range.

    Args:
        name: short and unique in the book, of letters, digits and hyphens; the box's anchor is `claim-<name>`.
        statement: the claim as its source makes it, in a sentence.
        source: its key in references.bib.
        samples: what was measured, or an estimate made of it; or by condition samples of one condition each.
        effect, error, seeds: in place of samples: the effect and its standard error (0 where nothing is random), each
            also by condition, and the number of independent runs behind it.
        smallest, rule: see `verdict`.
        unit: of effect, error and smallest, such as "steps".
    Raises:
        ValueError: an empty text, conditions that differ, a number `verdict` refuses, samples tuned to an edge.
    """
    require_text("claim", name=name, statement=statement, source=source)
    _check_name(name)
    most = seeds
    if samples is not None:
        if not effect is error is seeds is None:
            raise ValueError("claim: effect, error and seeds must be left out beside samples")
        effect, error, counts = _measured(samples)
        seeds, most = min(counts), max(counts)
    smallest = _plain(smallest)
    conditions = _conditions(effect, error, smallest, rule)
    record = {
        "name": name, "statement": statement, "source": source, "rule": rule, "smallest": smallest, "unit": unit,
        "seeds": check_count("claim", "seeds", seeds), "conditions": conditions,
        "verdict": combine([c["verdict"] for c in conditions]),
    }  # fmt: skip
    record |= {"most": most} if most != seeds else {}
    kind = "application/vnd.adaptive-training.claim+json"
    return Bundle({"text/html": _box(record), "text/plain": _line(record), kind: record})


def _conditions(effect: object, error: object, smallest: float, rule: str) -> list[dict]:
    """What is said of each condition."""
    effects = dict(effect) if isinstance(effect, Mapping) else {"": effect}
    errors = dict(error) if isinstance(error, Mapping) else {"": error}
    if list(effects) != list(errors) or not effects:
        raise ValueError(f"claim: error must name the conditions of effect, {list(effects)}, got {list(errors)}")
    return [_judged(label, _plain(effects[label]), _plain(errors[label]), smallest, rule) for label in effects]


def _measured(samples: Measured | Mapping[str, Measured]) -> tuple[dict[str, float], dict[str, float], list[int]]:
    """Values and standard errors by condition, and the number of independent replicates behind each."""
    parts = samples if isinstance(samples, Mapping) else {"": samples}
    named = parts is not samples or all(isinstance(label, str) and label for label in parts)
    if not parts or not named or not all(isinstance(part, Measured) for part in parts.values()):
        raise ValueError(f"claim: samples must be Samples or an Estimate, or such by condition, got {samples!r}")
    if parts is samples and any(isinstance(part, Samples) and len(part.means) > 1 for part in parts.values()):
        raise ValueError(f"claim: samples must be of one condition each, got {samples!r}")
    edge = dict.fromkeys(axis for part in parts.values() for axis in part.edge)
    if edge:
        rule = "tuned inside their grid, for something better may lie beyond its edge"
        raise ValueError(f"claim: samples must be {rule}, got the edge of {', '.join(edge)}")
    effects, errors = {}, {}
    for label, part in parts.items():
        named = (part.means, part.errors) if isinstance(part, Samples) else ({"": part.value}, {"": part.error})
        for known, found in zip((effects, errors), named, strict=True):
            known.update({label or name: value for name, value in found.items()})
    return effects, errors, [part.count for part in parts.values()]


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"claim: name must be of letters, digits and hyphens, got {name!r}")


def _plain(value: object) -> object:
    """The Python number in a tensor or NumPy scalar, which JSON could not hold; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _judged(label: str, effect: float, error: float, smallest: float, rule: str) -> dict:
    """What is printed is what is judged, so that a reader can check the verdict."""
    verdict(effect, error, smallest=smallest, rule=rule)  # refuses what is no number
    text, plus_minus = rounded(effect, error)
    said = verdict(float(text.replace("−", "-")), float(plus_minus), smallest=smallest, rule=rule)
    return {"label": label, "effect": text, "error": plus_minus, "verdict": said}


def _line(record: dict) -> str:
    parts = [_measurement(c, record["unit"]) for c in record["conditions"]]
    return f"claim {record['name']}: {record['verdict']}\n" + "\n".join(parts)


def _measurement(condition: dict, unit: str) -> str:
    label = f"{condition['label']}: " if condition["label"] else ""
    random = float(condition["error"]) > 0
    spread = f" ± {condition['error']}" if random else ""
    return f"{label}{condition['effect']}{spread}{' ' + unit if unit else ''} — {condition['verdict']}"


def _box(record: dict) -> str:
    said, unit = record["verdict"], record["unit"]
    smallest = f"{record['smallest']:g}{' ' + unit if unit else ''}"
    items = "".join(f"<li>{escape(_measurement(c, unit))}</li>" for c in record["conditions"])
    count = f"{record['seeds']} to {record['most']}" if "most" in record else f"{record['seeds']}"
    seeds = f" {count} independent runs behind each figure." if record["seeds"] > 1 else ""
    return (
        f'<div class="claim claim-{said}" id="claim-{record["name"]}" style="border-left:5px solid {COLORS[said]};'
        f'padding:.4em 1em;margin:1em 0"><p style="margin:.3em 0"><strong>Claim, tested: '
        f'<span aria-hidden="true">{MARKS[said]}</span> {said}</strong></p>'
        f'<p style="margin:.3em 0"><em>“{escape(record["statement"])}”</em></p>'
        f'<ul style="margin:.3em 0">{items}</ul><p style="margin:.3em 0;font-size:.9em">'
        f"Rule, fixed before the run: the claim {RULES[record['rule']].format(smallest)}.{seeds}</p></div>"
    )
