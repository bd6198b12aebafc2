"""Rules on claims and on the files derived from claims and front matter."""

import warnings
from collections import Counter

from book import bench, ledger, plan
from labsupport.experiments import claims, tables
from labsupport.experiments.judging import combine, confidences, verdict
from labsupport.show.claims import FIELDS

from .model import Book, stale


def _claims(book: Book) -> list[tuple[object, dict]]:
    found = []
    for page in book.pages:
        for index, claim in ledger.claims_of(page.stored) if page.stored else []:
            found.append((page.cells[index] if index < len(page.cells) else page, claim))
    return found


def _number(text: object) -> float:
    return float(str(text).replace("−", "-"))


def verdicts_are_computed(book: Book) -> list[str]:
    """Each stored verdict is what the rule says of the stored interval, at the confidence that the rule asks for."""
    found = []
    for cell, claim in _claims(book):
        always, side = "always" in claim["rule"].split(), claim["rule"].split()[-1]
        deciding = [part for part in claim["conditions"] if part["decides"]]
        for part in claim["conditions"]:
            said = verdict(_number(part["low"]), _number(part["high"]), delta=claim["delta"], side=side)
            where = f"{cell.where}: claim {claim['name']!r}, {part['label'] or 'its effect'}"
            if said != part["verdict"]:
                found.append(f"{where}: stored {part['verdict']!r}, the rule says {said!r}")
            to_hold, to_fail = confidences(len(deciding) if part["decides"] else 1, always=always)
            asked = {"holds": [to_hold], "fails": [to_fail]}.get(said, [to_hold, to_fail])
            if part["confidence"] not in (levels := [f"{100 * level:.4g}" for level in asked]):
                found.append(f"{where}: judged by an interval of {part['confidence']} %, not of {levels[0]} %")
        said = combine([part["verdict"] for part in deciding], always=always)
        if said != claim["verdict"]:
            found.append(
                f"{cell.where}: claim {claim['name']!r}: stored {claim['verdict']!r}, its conditions say {said!r}"
            )
    return found


def claims_are_registered(book: Book) -> list[str]:
    """Each claim stands in its chapter's claims.yml as it is shown, and each entry there on one page of the chapter."""
    try:
        known = {path.parent.name: claims.read(path) for path in sorted((book.root / "chapters").glob("*/claims.yml"))}
        claims.registry(book.root / "chapters")
    except ValueError as error:
        return [f"chapters/*/claims.yml: {error}"]
    found, shown = [], Counter()
    for cell, claim in _claims(book):
        topic = cell.where.removeprefix("chapters/").split("/")[0]
        entry = known.get(topic, {}).get(claim["name"])
        shown[topic, claim["name"]] += 1
        if entry is None:
            found.append(f"{cell.where}: claim {claim['name']!r} is not in chapters/{topic}/claims.yml")
            continue
        told = {field: getattr(entry, field) for field in FIELDS}
        labels = [part["label"] for part in claim["conditions"]]
        if told != {field: claim.get(field) for field in FIELDS} or labels != [*entry.decide, *entry.beyond]:
            found.append(f"{cell.where}: claim {claim['name']!r} was shown under another entry: run the page again")
        try:
            claims.refuse_changed({claim["name"]: claim}, known[topic])
        except ValueError as error:
            found.append(f"{cell.where}: {error}")
    for topic, entries in known.items():
        for name, entry in entries.items():
            for table in entry.tables:
                if not (book.root / "chapters" / table.replace("/", "/tables/")).with_suffix(".py").exists():
                    found.append(f"chapters/{topic}/claims.yml: {name!r}: there is no recipe {table!r}")
            if shown[topic, name] != 1:
                found.append(f"chapters/{topic}/claims.yml: {name!r} is shown {shown[topic, name]} times, not once")
    return found


def tables_are_whole(book: Book) -> list[str]:
    """Each stored table loads: its numbers are those that its recipe gave, and the recipe's code is the same."""
    found = []
    for path in sorted(book.root.glob("chapters/*/tables/*.json")):
        try:
            with warnings.catch_warnings(action="error", category=RuntimeWarning):
                tables.load(path)
        except (ValueError, RuntimeWarning) as error:
            found.append(f"{path.relative_to(book.root).as_posix()}: {error}")
    return found


def claims_are_sourced(book: Book) -> list[str]:
    """Each claim has a source in references.bib, and its cell is checked."""
    found = []
    for cell, claim in _claims(book):
        if claim["source"] not in book.sources:
            found.append(f"{cell.where}: claim {claim['name']!r}: {claim['source']!r} is not in references.bib")
        if not getattr(cell, "is_checked", False):
            found.append(f"{cell.where}: claim {claim['name']!r} stands in a cell without # NBVAL_CHECK_OUTPUT")
    return found


def ledger_is_derived(book: Book) -> list[str]:
    """chapters/claims.md is what the stored claims say."""
    return stale(book, ledger.derived(book.root))


def plan_is_derived(book: Book) -> list[str]:
    """The teacher's plan and the map are what the pages' front matter says."""
    return stale(book, plan.derived(book.root))


def benchmarks_are_derived(book: Book) -> list[str]:
    """The page of benchmarks is what the stored results say."""
    return stale(book, bench.derived(book.root))
