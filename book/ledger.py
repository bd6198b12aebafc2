"""Derive `chapters/claims.md`, the ledger of all tested claims, from the claims stored in the notebooks' outputs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

from book import pages, plan
from labsupport.experiments import claims
from labsupport.experiments.claims import VERDICTS
from labsupport.experiments.judging import TRUTH
from labsupport.show.claims import CLAIM, MARKS, measurement, origin, rule_text, runs_text

__all__ = ["CLAIM", "Entry", "claims_of", "derived", "entries", "ledger_text", "refuse_changed"]

INTRO = """\
The field runs on sentences that everyone repeats. A page that tests one registers beforehand what it says, for which
models, data and range, by which rule it is judged and what a replicate draws. The verdict is computed from unrounded
numbers. It speaks of *here*, not of every network. A claim whose entry is younger than its data, or was changed after
a look, says so.

Not every condition lies within the scope of the sentence itself. Those that do decide; the others are shown, “beyond
its scope”, and count for nothing.
A condition *holds* (✓) where the interval of its effect lies wholly on the claim's side of δ, the smallest effect of
interest, and *fails* (✗) where it lies wholly on the other. Else the run cannot tell (?). With m deciding conditions
the interval covers 1 − 0.05 / m instead of 95 %, so that the chance of a false word stays 5 % for the whole claim. A
claim that says “always” needs this correction only to fail.
"""
SIDE_BY_SIDE = "| among its conditions | the claim | a claim that says “always” |\n| --- | --- | --- |"


@dataclass(frozen=True)
class Entry:
    """A claim and the page that tests it."""

    claim: dict
    page: str
    title: str

    @property
    def topic(self) -> str:
        return self.page.split("/")[0]


def claims_of(nb: nbformat.NotebookNode) -> list[tuple[int, dict]]:
    """The claims stored in a notebook's outputs, each with its cell's index."""
    return [
        (index, output.data[CLAIM])
        for index, cell in enumerate(nb.cells)
        if cell.cell_type == "code"
        for output in cell.outputs
        if CLAIM in output.get("data", {})
    ]


def refuse_changed(md: Path) -> None:
    """Refuse to run a page again where that would hide a verdict that it shows now.

    Raises:
        ValueError: see `labsupport.experiments.claims.refuse_changed`.
    """
    ipynb = md.with_suffix(".ipynb")
    shown = claims_of(nbformat.read(ipynb, as_version=4)) if ipynb.exists() else []
    claims.refuse_changed({claim["name"]: claim for _, claim in shown}, claims.registry(md.parent.parent))


def entries(root: Path = pages.ROOT) -> list[Entry]:
    """All claims of the book in reading order."""
    found = []
    for md in plan.in_order(root):
        if md.with_suffix(".ipynb").exists():
            nb = nbformat.read(md.with_suffix(".ipynb"), as_version=4)
            name = pages.page_name(md)
            found += [Entry(claim, name, pages.title(nb) or name) for _, claim in claims_of(nb)]
    return found


def _plain(text: object) -> str:
    """Text as itself: whatever Markdown, MyST or HTML would read into it is escaped."""
    return re.sub(r"([\\`*_{}\[\]()<>#!|$~^&])", r"\\\1", " ".join(str(text).split()))


def _card(entry: Entry) -> str:
    claim = entry.claim
    marks = ("“", "”") if claim["words"] == "source" else ("", "")
    said = claim["verdict"]
    place = f", {_plain(claim['place'])}" if claim["place"] else ""
    whose = "In the words of" if claim["words"] == "source" else "After"
    lines = [
        f":::{{dropdown}} {MARKS[said]} {said} · {_plain(marks[0] + claim['statement'] + marks[1])}",
        f":class-container: claim-card verdict-{said.replace(' ', '-')} chapter-{entry.topic}\n",
        f"{whose} {{cite:t}}`{claim['source']}`{place}. Tested in [{_plain(entry.title)}]({entry.page}.ipynb).\n",
        *(_condition(part, claim["unit"]) for part in claim["conditions"]),
        f"\nMeasured: {_plain(claim['effect'])}. {_plain(rule_text(claim))}\n",
        f"Here: {_plain(claim['scope'])}. {_plain(runs_text(claim))} Tuned: {_plain(claim['tuned'])}.\n",
        f"{_plain(' '.join(origin(claim)))}\n:::\n",
    ]
    return "\n".join(lines)


def _condition(part: dict, unit: str) -> str:
    label = f"{_plain(part['label'])}: " if part["label"] else ""
    beyond = "" if part["decides"] else ", beyond its scope"
    return f"- {MARKS[part['verdict']]} {label}{_plain(measurement(part, unit))}{beyond}"


def _truth() -> str:
    rows = [
        f"| {' '.join(sorted((MARKS[kind] for kind in kinds), key='✓✗?'.index)) or 'none was run'} | {one} | {always} |"
        for kinds, (one, always) in TRUTH.items()
    ]
    return "\n".join([SIDE_BY_SIDE, *rows])


def ledger_text(found: list[Entry]) -> str:
    """The ledger as MyST: one card a claim, chapter by chapter."""
    counts = [(word, sum(entry.claim["verdict"] == word for entry in found)) for word in VERDICTS]
    said = ", ".join(f"{number} {word}" for word, number in counts if number) or "none yet"
    fixed = sum(entry.claim["fixed"] for entry in found)
    parts = [
        plan.DERIVED.format("the claims stored in the pages' outputs"),
        "# The ledger of claims\n",
        INTRO,
        f"Claims tested: {len(found)}. Verdicts: {said}. Registered before their data: {fixed}.\n",
        f":::{{dropdown}} What the conditions make of a claim\n\n{_truth()}\n\n:::\n",
        *([":::{div} ledger-filters\n:::\n"] if found else []),
    ]
    for topic in dict.fromkeys(entry.topic for entry in found):
        parts += [f"## {topic.replace('_', ' ').capitalize()}\n"]
        parts += [_card(entry) for entry in found if entry.topic == topic]
    return "\n".join(parts)


def derived(root: Path = pages.ROOT) -> dict[Path, str]:
    """claims.md, with its content."""
    return {root / "chapters/claims.md": ledger_text(entries(root))}
