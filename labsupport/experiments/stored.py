"""Tables on disk: rows with checksums, and what an interrupted run left of them."""

import hashlib
import json
import os
from pathlib import Path
from typing import TextIO

from labsupport.experiments import claims
from labsupport.experiments.recipes import Recipe, key, name_of, rooms

__all__ = []  # tables alone uses them

HEAD = ("recipe", "recipe_sha256", "rows_sha256", "rooms")


def read(path: Path) -> tuple[dict, list[dict]]:
    """The head (checksums, and hashes of claims) and the rows of a table.

    Raises:
        ValueError: it is no table, or its rows are not those that were written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows, head = content["rows"], {name: content[name] for name in HEAD}
        head["claims"] = content.get("claims", {})
        found = _digest(rows)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"load: table must be JSON with rows and checksums, got {path} ({error})") from error
    if found != head["rows_sha256"]:
        raise ValueError(f"load: table must match its checksum, got {path} with changed rows; make it again")
    return head, rows


def take_up(partial: Path, held: Recipe) -> tuple[dict, dict[str, dict]]:
    """The head and the results, by case, that an interrupted run left.

    A changed recipe's are dropped, and all from a torn line on. Where only labsupport was changed they stay, under the
    old functions' checksums, so that `load` will warn.
    """
    rows = []
    text = partial.read_text(encoding="utf-8", errors="replace") if partial.exists() else ""
    for line in text.split("\n"):  # not splitlines: a row may hold U+2028
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
        if len(rows) > 1 and not (isinstance(rows[-1], dict) and {"case", "result"} <= rows[-1].keys()):
            rows.pop()
            break
    head = head_of(held)
    known = rows[0] if rows and isinstance(rows[0], dict) else {}
    if known.keys() != head.keys() or known["recipe_sha256"] != held.sha256:
        rows = [head]
    _replace(partial, "".join(_dump(row) + "\n" for row in rows))
    return rows[0], {key(row["case"]): row["result"] for row in rows[1:]}


def head_of(held: Recipe) -> dict:
    """What a table notes of its recipe and of the claims that are tested with it, as they are now."""
    noted = {"recipe": held.path.name, "recipe_sha256": held.sha256, "rooms": rooms(held.text)}
    return noted | {"claims": claims.hashes(name_of(held.path))}


def append(rows: TextIO, row: dict) -> None:
    """Adds a row that is on disk when this returns."""
    rows.write(_dump(row) + "\n")
    rows.flush()
    os.fsync(rows.fileno())


def write(table: Path, head: dict, rows: list[dict]) -> None:
    """Writes a table, whole or not at all."""
    stamps = {**head, "rows_sha256": _digest(rows)}
    body = ",\n  ".join(map(_dump, rows))
    _replace(table, json.dumps(stamps, indent=1)[:-2] + f',\n "rows": [\n  {body}\n ]\n}}\n')


def _replace(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _digest(rows: list[dict]) -> str:
    return hashlib.sha256(_dump(rows).encode("utf-8")).hexdigest()


def begins_with(row: dict, case: dict) -> bool:
    """Whether a row is this case's: its first entries are the case's names and values."""
    return _dump(dict(list(row.items())[: len(case)])) == _dump(case)
