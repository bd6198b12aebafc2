"""Derive `chapters/claims.md`, the ledger of all tested claims, from the claims stored in the notebooks' outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nbformat

from book import pages, plan

__all__ = ["CLAIM", "Entry", "claims_of", "derived", "entries", "ledger_text"]

CLAIM = "application/vnd.adaptive-training.claim+json"
MARKS = {"holds": "✓", "fails": "✗", "conditional": "◐", "undecided": "?"}
INTRO = """\
The field runs on sentences that everyone repeats. A page that tests one fixes beforehand the rule, the smallest
effect of interest and the seeds, and the verdict is computed from the run. It speaks of the model, the data and the
range on that page, not of every network.

*Holds*: two standard errors around the effect lie beyond the smallest effect of interest, on the side of the claim (or,
where the claim says that there is no effect, wholly within it). *Fails*: they lie on the other side of that bound.
*Conditional*: it holds under one condition and fails under another. *Undecided*: the run cannot tell.
"""


@dataclass(frozen=True)
class Entry:
    """A claim and the page that tests it."""

    claim: dict
    page: str
    title: str


def claims_of(nb: nbformat.NotebookNode) -> list[tuple[int, dict]]:
    """The claims stored in a notebook's outputs, each with its cell's index."""
    return [
        (index, output.data[CLAIM])
        for index, cell in enumerate(nb.cells)
        if cell.cell_type == "code"
        for output in cell.outputs
        if CLAIM in output.get("data", {})
    ]


def entries(root: Path = pages.ROOT) -> list[Entry]:
    """All claims of the book in reading order."""
    found = []
    for md in plan.in_order(root):
        if md.with_suffix(".ipynb").exists():
            nb = nbformat.read(md.with_suffix(".ipynb"), as_version=4)
            name = pages.page_name(md)
            found += [Entry(claim, name, pages.title(nb) or name) for _, claim in claims_of(nb)]
    return found


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", r"\|")


def _effect(condition: dict) -> str:
    random = float(str(condition["error"]).replace("−", "-")) > 0
    return f"{condition['effect']} ± {condition['error']}" if random else condition["effect"]


def _measured(claim: dict) -> str:
    unit = _cell(claim["unit"])
    if len(claim["conditions"]) == 1:
        return f"{_effect(claim['conditions'][0])} {unit}".strip()
    parts = [f"{MARKS[part['verdict']]} {_cell(part['label'])}: {_effect(part)}" for part in claim["conditions"]]
    return "; ".join(parts) + (f" ({unit})" if unit else "")


def _smallest(claim: dict) -> str:
    sign = {"above": "> ", "below": "< −", "within": "within ±"}[claim["rule"]]
    return f"{sign}{claim['smallest']:g}"


def _row(entry: Entry) -> str:
    claim = entry.claim
    cells = [
        f"“{_cell(claim['statement'])}”",
        f"{{cite:t}}`{claim['source']}`",
        f"{MARKS[claim['verdict']]} {claim['verdict']}",
        _measured(claim),
        _smallest(claim),
        str(claim["seeds"]),
        f"[{_cell(entry.title)}]({entry.page}.ipynb)",
    ]
    return f"| {' | '.join(cells)} |"


def ledger_text(found: list[Entry]) -> str:
    """The ledger as MyST: one row a claim."""
    counts = [(word, sum(entry.claim["verdict"] == word for entry in found)) for word in MARKS]
    said = ", ".join(f"{number} {word}" for word, number in counts if number) or "none yet"
    lines = [
        plan.DERIVED.format("the claims stored in the pages' outputs"),
        "# The ledger of claims\n",
        INTRO,
        f"Claims tested: {len(found)}. Verdicts: {said}.\n",
    ]
    if found:
        lines += [
            "| Claim | Source | Here | Measured | Of interest | Runs | Page |",
            "| --- | --- | --- | --- | --- | ---: | --- |",
            *map(_row, found),
            "",
        ]
    return "\n".join(lines)


def derived(root: Path = pages.ROOT) -> dict[Path, str]:
    """claims.md, with its content."""
    return {root / "chapters/claims.md": ledger_text(entries(root))}
