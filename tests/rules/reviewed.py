"""Rules on what no run proves: someone has read it, and it is what they read."""

from .model import Book
from .prose import fingerprints

REVIEWED = "tests/rules/reviewed.txt"


def what_no_run_proves_was_reviewed(book: Book) -> list[str]:
    """Glossary, errata, notation, and each page's numbered equations, quotations and tables are as reviewed.

    Their hashes stand in tests/rules/reviewed.txt. Who changes one reads it again, against its source, and only then
    puts the new hash there.
    """
    path = book.root / REVIEWED
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    known = {where: digest for digest, _, where in (line.partition("  ") for line in lines)}
    now = fingerprints(book)
    found = [
        f"{where}: not as it was reviewed; read it again, then put `{digest}  {where}` into {REVIEWED}"
        for where, digest in now.items()
        if known.get(where) != digest
    ]
    return found + [f"{where}: is gone; take it out of {REVIEWED}" for where in known if where not in now]
