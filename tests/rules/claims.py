"""Rules on claims and on the files derived from claims and front matter."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from book import ledger, plan
from labsupport.show.claims import combine, verdict

from .model import Book


def _claims(book: Book) -> list[tuple[object, dict]]:
    found = []
    for page in book.pages:
        for index, claim in ledger.claims_of(page.stored) if page.stored else []:
            found.append((page.cells[index] if index < len(page.cells) else page, claim))
    return found


def _number(text: object) -> float:
    return float(str(text).replace("−", "-"))


def verdicts_are_computed(book: Book) -> list[str]:
    """Each stored verdict is what the rule says of the stored effects and errors."""
    found = []
    for cell, claim in _claims(book):
        said = []
        for part in claim["conditions"]:
            effect, error = _number(part["effect"]), _number(part["error"])
            said.append(verdict(effect, error, smallest=float(claim["smallest"]), rule=claim["rule"]))
            if said[-1] != part["verdict"]:
                where = f"{cell.where}: claim {claim['name']!r}, {part['label'] or 'its effect'}"
                found.append(f"{where}: stored {part['verdict']!r}, the rule says {said[-1]!r}")
        if combine(said) != claim["verdict"]:
            stored = f"stored {claim['verdict']!r}, its conditions say {combine(said)!r}"
            found.append(f"{cell.where}: claim {claim['name']!r}: {stored}")
    return found


def claims_are_sourced(book: Book) -> list[str]:
    """Each claim has a name of its own, a source in references.bib, and its cell is checked."""
    found, homes = [], defaultdict(list)
    for cell, claim in _claims(book):
        homes[claim["name"]].append(cell.where)
        if claim["source"] not in book.sources:
            found.append(f"{cell.where}: claim {claim['name']!r}: {claim['source']!r} is not in references.bib")
        if not getattr(cell, "is_checked", False):
            found.append(f"{cell.where}: claim {claim['name']!r} stands in a cell without # NBVAL_CHECK_OUTPUT")
    return found + [f"{w[1]}: claim {name!r} is made in {w[0]} already" for name, w in homes.items() if len(w) > 1]


def _stale(book: Book, derived: Callable[[Path], dict[Path, str]]) -> list[str]:
    return [
        f"{path.relative_to(book.root).as_posix()}: not current (python -m book derive)"
        for path, text in derived(book.root).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def ledger_is_derived(book: Book) -> list[str]:
    """chapters/claims.md is what the stored claims say."""
    return _stale(book, ledger.derived)


def plan_is_derived(book: Book) -> list[str]:
    """The teacher's plan and the map are what the pages' front matter says."""
    return _stale(book, plan.derived)
