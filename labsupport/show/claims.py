"""The ledger of claims: a box whose verdict follows from unrounded samples by a rule that was registered before."""

from collections.abc import Mapping
from html import escape
from typing import Any

from labsupport.experiments import claims, recipes, stored
from labsupport.experiments.claims import Entry
from labsupport.experiments.judging import Condition, Judgement, judge, verdict
from labsupport.show.bundles import Bundle
from labsupport.show.text import rounded

__all__ = ["CLAIM", "FIELDS", "MARKS", "claim", "measurement", "origin", "record", "rule_text", "runs_text"]

CLAIM = "application/vnd.adaptive-training.claim+json"
MARKS = {"holds": "✓", "fails": "✗", "conditional": "◐", "undecided": "?", "not tested here": "–"}
COLORS = {
    "holds": "#00694e", "fails": "#a3330b", "conditional": "#7a5c00", "undecided": "#555555",
    "not tested here": "#555555",
}  # fmt: skip
SIDES = {"above": "above δ = {}", "below": "below −δ = −{}", "within": "within ±δ = ±{}"}
FIELDS = (
    "name", "statement", "words", "source", "place", "scope", "effect", "unit", "rule", "delta", "replicate", "count",
    "tuned", "hash",
)  # fmt: skip
MOST_DECIMALS = 12


def claim(name: str, *, samples: Any) -> Bundle:
    """A tested claim, as a box on the page and a card of the ledger. The verdict speaks of *here*: model, data, range.

    Args:
        name: of its entry in `chapters/<topic>/claims.yml`, which says all the rest; the anchor is `claim-<name>`.
        samples: what was measured, `Samples` or an `Estimate`; or by condition such, of one condition each. A number,
            or one by condition, where the entry's rule is exact.
    Raises:
        ValueError: no entry of that name; other conditions or fewer replicates than it says; samples tuned to an edge.
    """
    entry = claims.find(name)
    kept = record(entry, judge(entry, samples))
    return Bundle({"text/html": _box(kept), "text/plain": _line(kept), CLAIM: kept})


def record(entry: Entry, found: Judgement) -> dict[str, Any]:
    """What a page stores; numbers as they are printed, for unrounded ones differ from machine to machine."""
    return {
        **{field: getattr(entry, field) for field in FIELDS}, "fixed": _fixed(entry), "counts": list(found.counts),
        "history": [{"hash": p.hash, "verdict": p.verdict, "reason": p.reason} for p in entry.history],
        "conditions": [_printed(entry, condition) for condition in found.conditions], "verdict": found.verdict,
    }  # fmt: skip


def _fixed(entry: Entry) -> bool:
    """Whether the entry is the only one there was, and older than its tables."""
    heads = [stored.read(recipes.find("claim", table, ".json"))[0] for table in entry.tables]
    return not entry.history and all(head["claims"].get(entry.name) == entry.hash for head in heads)


def _printed(entry: Entry, found: Condition) -> dict[str, Any]:
    """A condition's numbers as texts, with as many digits as the verdict needs to be seen in them."""
    effect, error = rounded(found.effect, found.error)
    fewest = len(effect.partition(".")[2])
    rule = {"delta": entry.delta, "side": entry.side}
    for decimals in range(fewest, MOST_DECIMALS + 1):
        low, high = (float(f"{end:.{decimals}f}") for end in (found.low, found.high))
        if verdict(low, high, **rule) == verdict(found.low, found.high, **rule):
            break
    ends = [f"{end:z.{decimals}f}".replace("-", "−") for end in (low, high)]
    effect = ends[0] if low == high else effect  # nothing random: the number itself must show the verdict
    return {
        "label": found.label, "effect": effect, "error": error if found.error > 0 else "", "low": ends[0],
        "high": ends[1], "confidence": f"{100 * found.confidence:.4g}", "verdict": found.verdict,
        "decides": found.decides,
    }  # fmt: skip


def measurement(condition: Mapping[str, Any], unit: str) -> str:
    """`1.05 ± 0.27 points (95 %: 0.5 to 1.6)`, or a number alone where nothing is random."""
    unit = f" {unit}" if unit else ""
    if not condition["error"]:
        return f"{condition['effect']}{unit}"
    ends = f"{condition['low']} to {condition['high']}"
    return f"{condition['effect']} ± {condition['error']}{unit} ({condition['confidence']} %: {ends})"


def rule_text(record: Mapping[str, Any]) -> str:
    """The registered rule in a sentence."""
    *words, side = record["rule"].split()
    delta = SIDES[side].format(f"{record['delta']:g}{' ' + record['unit'] if record['unit'] else ''}")
    lies = "the number" if "exact" in words else "the effect's interval"
    deciding = sum(part["decides"] for part in record["conditions"])
    random = "exact" not in words and deciding > 1
    shared = f" Its {deciding} deciding conditions share 5 % of error." if random else ""
    if "always" in words:
        return f"It holds if {lies} lies {delta} in each deciding condition, and fails with the first failure.{shared}"
    return f"It holds if {lies} lies {delta}.{shared}"


def origin(record: Mapping[str, Any]) -> list[str]:
    """Sentences on when the entry was registered, and what was said before."""
    if record["fixed"]:
        return ["Fixed before the run."]
    told = []
    for past in record["history"]:
        reason = past["reason"].rstrip(".")
        if past["hash"]:
            told.append(f"Changed after a run that read “{past['verdict']}”: {reason}.")
        else:  # shown before there was an entry
            told.append(f"{reason[0].upper()}{reason[1:]}. It read “{past['verdict']}” before.")
    return told or ["Registered after its data were made."]


def runs_text(record: Mapping[str, Any]) -> str:
    """How many replicates there are, and what each draws."""
    least, most = record["counts"]
    if "exact" in record["rule"].split():
        return f"Nothing is random here: {record['replicate']}."
    number = f"{least}" if least == most else f"{least} to {most}"
    return f"{number} replicates; each draws {record['replicate']}."


def _line(record: dict) -> str:
    parts = [_condition(c, record["unit"]) for c in record["conditions"]]
    return f"claim {record['name']}: {record['verdict']}\n" + "\n".join(parts)


def _condition(condition: dict, unit: str) -> str:
    label = f"{condition['label']}: " if condition["label"] else ""
    said = condition["verdict"] if condition["decides"] else f"beyond its scope ({condition['verdict']})"
    return f"{label}{measurement(condition, unit)} — {said}"


def _box(record: dict) -> str:
    said, marks = record["verdict"], ("“", "”") if record["words"] == "source" else ("", "")
    items = "".join(f"<li>{escape(_condition(c, record['unit']))}</li>" for c in record["conditions"])
    how = f"Measured: {record['effect']}. {rule_text(record)}"
    here = f"{record['scope']}. {runs_text(record)} Tuned: {record['tuned']}."
    small = 'style="margin:.3em 0;font-size:.9em"'
    return (
        f'<div class="claim claim-{said.replace(" ", "-")}" id="claim-{escape(record["name"])}" style="border-left:5px '
        f'solid {COLORS[said]};padding:.4em 1em;margin:1em 0"><p style="margin:.3em 0"><strong>Claim, tested: '
        f'<span aria-hidden="true">{MARKS[said]}</span> {said}</strong></p>'
        f'<p style="margin:.3em 0"><em>{escape(marks[0] + record["statement"] + marks[1])}</em></p>'
        f'<p {small}>{escape(how)}</p><ul style="margin:.3em 0">{items}</ul>'
        f"<p {small}>{escape(' '.join(origin(record)))}</p>"
        f"<details {small}><summary>Model, data and runs</summary>{escape(here)}</details></div>"
    )
