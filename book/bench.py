"""Derive `chapters/benchmarks.md`, the course beside its peers, from `benchmarks/results/<machine>/<topic>.json`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from book import pages

__all__ = ["bench_text", "derived", "results"]

TIED = "\N{NO-BREAK SPACE}"  # between a number and its unit, which a narrow cell would part
INTRO = """\
Each row sets the course's code beside the strongest peer that a user would pick. Both run in one process, warm and in
turn, unless a row speaks of a first call. Times, ratios and sizes are medians over several rounds. A ratio of 2 means
twice as fast as the peer. A bar was fixed before the run; ✓ meets it with the median, ✗ misses it. A row without a bar
is there for comparison. Missed rows stay.

`make bench TOPIC=all` runs all of them on your machine, and `make derive` adds its rows here.
"""
MARKS = {True: f"{TIED}✓", False: f"{TIED}✗", None: ""}


def results(root: Path = pages.ROOT) -> dict[str, list[dict]]:
    """The stored results of each topic, one for each machine."""
    found: dict[str, list[dict]] = {}
    for path in sorted(root.glob("benchmarks/results/*/*.json"), key=lambda path: (path.stem, path.parent.name)):
        found.setdefault(path.stem, []).append({"key": path.parent.name, **json.loads(path.read_text("utf-8"))})
    return found


def bench_text(found: dict[str, list[dict]]) -> str:
    """The page: the machines, then a table for each topic, its rows side by side for all machines."""
    keys = dict.fromkeys(sorted(result["key"] for each in found.values() for result in each))
    letters = {key: chr(ord("A") + place) for place, key in enumerate(keys)}
    rows = [row for each in found.values() for result in each for row in result["rows"]]
    judged = [row["met"] for row in rows if row["bar"] is not None]
    parts = [
        "<!-- Derived by `python -m book derive` from benchmarks/results, which `make bench` writes. -->\n",
        "# Benchmarks\n",
        INTRO,
        f"Bars: {len(judged)}. Met: {judged.count(True)}. Missed: {judged.count(False)}.\n",
        "| Machine | Processor | Cores | Accelerator | System | Python | torch |",
        "| --- | --- | ---: | --- | --- | --- | --- |",
        *_machines(found, letters),
    ]
    for topic, each in found.items():
        parts += [f"\n## {topic.capitalize()}\n", "| What | Ours | Peer | Ratio | Bar | Machine |"]
        parts += ["| --- | ---: | --- | ---: | ---: | --- |"]
        parts += [_row(row, letter) for row, letter in _side_by_side(each, letters)]
    return "\n".join([*parts, ""])


def derived(root: Path = pages.ROOT) -> dict[Path, str]:
    """benchmarks.md, with its content; nothing where no results are stored."""
    found = results(root)
    return {root / "chapters/benchmarks.md": bench_text(found)} if found else {}


def _machines(found: dict[str, list[dict]], letters: dict[str, str]) -> list[str]:
    known = {result["key"]: result["machine"] for each in found.values() for result in each}
    fields = ("cpu", "cores", "accelerator", "system", "python", "torch")
    return [
        " | ".join([f"| {letter}", *(_cell(known[key].get(name) or "–") for name in fields)]) + " |"
        for key, letter in letters.items()
    ]


def _side_by_side(each: list[dict], letters: dict[str, str]) -> list[tuple[dict, str]]:
    """Rows in their order, those of the same name one below the other."""
    order = dict.fromkeys(row["what"] for result in each for row in result["rows"])
    place = {what: at for at, what in enumerate(order)}
    rows = [(row, letters[result["key"]]) for result in each for row in result["rows"]]
    return sorted(rows, key=lambda pair: (place[pair[0]["what"]], pair[1]))


def _row(row: dict, letter: str) -> str:
    unit = row["unit"]
    peer = f"{_number(row['peer'], unit)} ({row['peer_name']})" if row["peer"] else row["peer_name"] or "–"
    threads = "" if row["threads"] == 1 else f", {row['threads']} threads"
    cells = [row["what"], _number(row["ours"], unit), peer, _number(row["ratio"], "×"), _bar(row), letter + threads]
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _number(quartiles: list[float] | None, unit: str) -> str:
    return "–" if quartiles is None else _said(quartiles[1], unit)


def _said(value: float, unit: str) -> str:
    short = f"{value:.3g}" if value < 1000 or value >= 1e6 else f"{value:,.0f}"
    return f"{short}{unit}" if unit == "×" else f"{short}{TIED}{unit}".rstrip()


def _bar(row: dict) -> str:
    if row["bar"] is None:
        return "–"
    sign = "≥" if row["better"] == "higher" else "≤"
    return f"{sign}{TIED}{_said(row['bar'], '×' if row['ratio'] else row['unit'])}{MARKS[row['met']]}"


def _cell(text: object) -> str:
    """Text as itself in a cell of a table."""
    return re.sub(r"([\\`*_\[\]<>|$])", r"\\\1", re.sub(r"[ \n\t]+", " ", str(text)).strip(" "))
