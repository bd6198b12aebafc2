"""How much of the book's prose the rules prove: 41 random changes, and how many of them a rule sees.

    python tests/mutate_prose.py [SEED]

A change is made in the text and in the notebook beside it, as if the page had been run again with the same outputs, so
that the pair still agrees. Only rules are asked, not nbval; a change is caught where a rule says more than before.
"""

import random
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from rules import RULES, Book, Page

from book import pages
from labsupport import checks

KINDS = {
    "digit of a decimal": 5, "whole number": 5, "minus sign": 4, "verdict word": 4, "symbol of an equation": 4,
    "cell of a stored table": 2, "cell of a table in prose": 2,
    "glossary": 3, "errata": 3, "number in an alt text": 3, "word of a quotation": 3, "unit": 3,
}  # fmt: skip
ASKED = (
    "paired_and_canonical", "numbers_in_prose_are_measured", "verdicts_in_prose_are_stored", "tables_are_whole",
    "what_no_run_proves_was_reviewed", "equations_are_built", "equations_are_evaluated", "claims_are_registered",
    "citations_resolve", "terms_are_in_the_glossary", "nothing_gives_a_prediction_away", "recall_questions",
)  # fmt: skip
NOT_PROSE = re.compile(r"\A---\n.*?\n---\n|^```\{code-cell\}.*?^```$|^\$\$.*?\$\$.*?$|\{cite\S*?`", flags=re.M | re.S)
CODE = re.compile(r"^```\{code-cell\}.*?^```$", flags=re.M | re.S)
VERDICTS = {"holds": "fails", "fails": "holds", "undecided": "holds"}
UNITS = {"%": "points", "points": "%", "steps": "epochs", "epochs": "steps", "seeds": "runs", "starts": "steps"}
SYMBOLS = {"+": "-", "-": "+", r"\eta": r"\rho", r"\rho": r"\eta", "2": "3", "1": "2", r"\sum": r"\prod"}


@dataclass(frozen=True)
class Change:
    """A stretch of a file and what stands there instead."""

    path: Path
    start: int
    end: int
    new: str

    def apply(self) -> str:
        """Makes the change; returns the line before and after it."""
        text = self.path.read_text(encoding="utf-8")
        self.path.write_text(text[: self.start] + self.new + text[self.end :], encoding="utf-8")
        if (pair := self.path.with_suffix(".ipynb")).exists():
            again, stored = pages.read(self.path), nbformat.read(pair, as_version=4)
            for cell, kept in zip(again.cells, stored.cells, strict=True):
                if cell.cell_type == "code":
                    cell.execution_count, cell.outputs = kept.execution_count, kept.outputs
            pages.write(self.path, again)
        around = slice(max(0, self.start - 50), self.end + 30)
        return f"{text[around]!r} has {self.new!r} for {text[self.start : self.end]!r}"


def _digit(found: re.Match, draw: random.Random) -> str:
    """A number with one of its digits changed."""
    place = draw.choice([k for k, sign in enumerate(found[0]) if sign.isdigit()])
    other = draw.choice([d for d in "123456789" if d != found[0][place]])
    return found[0][:place] + other + found[0][place + 1 :]


def _other(found: re.Match, draw: random.Random) -> str:
    """Another word."""
    return draw.choice(["never", "always", "half"])


def _blank(text: str, pattern: re.Pattern) -> str:
    """The text with what matches made blank, every place kept."""
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def _only(text: str, pattern: re.Pattern, group: int = 0) -> str:
    """The text with what does not match made blank, every place kept."""
    kept = [" " if sign != "\n" else sign for sign in text]
    for found in pattern.finditer(text):
        kept[found.start(group) : found.end(group)] = found[group]
    return "".join(kept)


def candidates(kind: str, root: Path, draw: random.Random) -> Iterator[Change]:
    """All places where a change of a kind can be made."""
    lessons = [md for md in pages.pages(root) if md.stem != "solutions"]
    for path in _files(kind, root, lessons):
        text = path.read_text(encoding="utf-8")
        where, pattern, new = _place(kind, path, text)
        for found in re.finditer(pattern, where):
            yield Change(path, found.start(), found.end(), new(found, draw))


def _files(kind: str, root: Path, lessons: list[Path]) -> list[Path]:
    if kind in ("glossary", "errata"):
        return [root / f"chapters/{kind}.md"]
    return sorted(root.glob("chapters/*/tables/*.json")) if kind == "cell of a stored table" else lessons


def _place(kind: str, path: Path, text: str) -> tuple:
    """Where to look, for what, and what to put there."""
    prose = _blank(text, NOT_PROSE)
    rows = re.compile(r"^\|(?!-).*\|$", flags=re.M)
    claimed = re.compile(r"^show\.claim\((?:(?!```).)*?^```\s+((?:(?!^```|^#).)*)", flags=re.M | re.S)
    alts = re.compile(r"\balt=(?:lambda[^:]*: *)?(?:f?\"[^\"\n]*\"\s*)+")
    return {
        "digit of a decimal": (prose, r"(?<![\w.])\d*\.\d+(?![\w.]*\d)", _digit),
        "whole number": (prose, r"(?<![\w.,-])\d{2,}(?![\w.,-]*\d)", _digit),
        "minus sign": (prose, r"−(?=\d)|(?<=\$)-(?=\d)", lambda *_: ""),
        "verdict word": (
            _only(text, claimed, 1), r"\b(?:holds|fails|undecided)\b", lambda found, _: VERDICTS[found[0]],
        ),
        "symbol of an equation": (
            _only(text, re.compile(r"\$\$(.+?)\$\$ \(", flags=re.S), 1),
            r"(?<![\w{])(?:[+-]|\d)(?![\w}])|\\eta|\\rho|\\sum",
            lambda found, draw: SYMBOLS.get(found[0]) or _digit(found, draw),
        ),
        "cell of a stored table": (text, r"(?<=\.)\d{3,}", _digit),
        "cell of a table in prose": (_only(prose, rows), r"\b[a-z]{4,}\b", _other),
        "glossary": (_only(text, rows), r"\b[a-z]{4,}\b", _other),
        "errata": (_only(text, rows), r"\b[a-z]{4,}\b", _other),
        "number in an alt text": (
            _blank(_only(_only(text, CODE), alts), re.compile(r"\{[^{}]*\}")), r"(?<![\w.])\d+(?:\.\d+)?(?!\w)", _digit,
        ),
        "word of a quotation": (_only(prose, re.compile(r"(?<=[\s(])\"[^\"\n]{12,}\"")), r"\b[a-z]{4,}\b", _other),
        "unit": (
            prose, rf"(?<=\d ){'(?:' + '|'.join(UNITS) + ')'}(?!\w)", lambda found, _: UNITS[found[0]],
        ),
    }[kind]  # fmt: skip


def _findings(root: Path, change: Change) -> list[str]:
    """What the rules say of the changed page, or of the plain pages and tables."""
    book = Book(root, checks.ALL, root)
    lesson = change.path.with_suffix(".md") in pages.pages(root)
    vars(book)["pages"] = [Page(change.path)] if lesson else []
    asked = ASKED if change.path.suffix == ".json" else [name for name in ASKED if name != "tables_are_whole"]
    return [finding for name in asked for finding in RULES[name](book)]


def main(seed: int) -> None:
    draw, caught = random.Random(seed), dict.fromkeys(KINDS, 0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "book"
        shutil.copytree(pages.ROOT, root, ignore=shutil.ignore_patterns(".git", "_site", ".venv", "__pycache__"))
        for kind, count in KINDS.items():
            for change in draw.sample(list(candidates(kind, root, draw)), count):
                pair = [path for path in (change.path, change.path.with_suffix(".ipynb")) if path.exists()]
                kept = {path: path.read_bytes() for path in pair}
                before = _findings(root, change)
                told = change.apply()
                said = [finding for finding in _findings(root, change) if finding not in before]
                caught[kind] += bool(said)
                name = change.path.relative_to(root / "chapters").as_posix()
                print("caught  " if said else "SURVIVES", kind, name, said[0][:150] if said else told, sep=" | ")
                for path, raw in kept.items():
                    path.write_bytes(raw)
    for kind, count in KINDS.items():
        print(f"{kind}: {caught[kind]} of {count}")
    print(f"seed {seed}: {sum(caught.values())} of {sum(KINDS.values())} caught")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
