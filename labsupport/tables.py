"""Evidence too long for a page: tables made once, kept with their recipe and a checksum.

A recipe is a Python file `chapters/<topic>/tables/<name>.py` that defines

    CASES = [{"depth": 2, "seed": 0}, …]     # a flat dict of JSON scalars each, no two the same
    def run(case: dict) -> dict: …           # JSON scalars, or lists of them

`python -m labsupport.tables <topic>/<name>` runs the cases that are still missing, one after the other. Each
finished row is on disk before the next case starts, so the work can be interrupted and taken up again. The
result, `<name>.json` beside the recipe, names the recipe's checksum and its own; `load` refuses a table that
was changed by hand or whose recipe has moved on. To make one from nothing, delete it first.
"""

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import TextIO

from tqdm.auto import tqdm

__all__ = ["load", "main", "make"]

SCALARS = (str, int, float, bool, type(None))


def make(recipe: str | Path, *, progress: bool = True) -> Path:
    """Runs the cases of a recipe that are not done yet and writes its table.

    Args:
        recipe: the Python file with `CASES` and `run`.
        progress: shows a progress bar.
    Returns:
        The table's path, `<name>.json` beside the recipe.
    Raises:
        ValueError: the recipe is not there, lacks a part, repeats a case or returns what JSON cannot hold.
    """
    recipe = Path(recipe)
    if not recipe.is_file() or recipe.suffix != ".py":
        raise ValueError(f"make: recipe must be a Python file, got {recipe}")
    table, partial = recipe.with_suffix(".json"), recipe.with_suffix(".partial.jsonl")
    if _is_current(table):
        return table
    text = _text(recipe)
    module, source = _load_recipe(recipe, text), _digest(text)
    cases = _check_cases(module)
    done = _take_up(partial, source)
    with partial.open("a", encoding="utf-8", newline="\n") as rows:
        for case in tqdm(cases, desc=recipe.stem, unit="case", disable=not progress):
            if _key(case) not in done:
                done[_key(case)] = _check_result(case, module.run(dict(case)))
                _append(rows, {"case": case, "result": done[_key(case)]})
    _write(table, [{**case, **done[_key(case)]} for case in cases], source)
    partial.unlink(missing_ok=True)
    return table


def load(table: str | Path) -> list[dict]:
    """Reads a table: one dict per case, the case's own entries and what it came to.

    Raises:
        ValueError: there is no such table, it was changed since it was made, or its recipe was.
    """
    table = Path(table)
    if not table.is_file():
        raise ValueError(f"load: table must be a file made by labsupport.tables, got {table}")
    try:
        content = json.loads(_text(table))
        rows, checksum, source = content["rows"], content["rows_sha256"], content["recipe_sha256"]
        found = _digest(_canonical(rows))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"load: table must be JSON with rows and checksums, got {table} ({error})") from error
    if found != checksum:
        raise ValueError(f"load: table must match its checksum, got {table} with changed rows; make it again")
    recipe = table.with_suffix(".py")
    if recipe.is_file() and _digest(_text(recipe)) != source:
        raise ValueError(
            f"load: table must come from the recipe beside it, got {table}, but {recipe.name} was "
            "changed since; make it again"
        )
    return rows


def main(arguments: list[str]) -> int:
    """The command `python -m labsupport.tables <topic>/<name>`, run in the course's folder."""
    recipes = {f"{p.parent.parent.name}/{p.stem}": p for p in sorted(Path("chapters").glob("*/tables/*.py"))}
    if len(arguments) != 1 or arguments[0] not in recipes:
        print(
            f"table: NAME must be one of {', '.join(recipes) or '(no recipe under chapters/*/tables yet)'}; "
            f"got {' '.join(arguments) or 'none'}",
            file=sys.stderr,
        )
        return 1
    try:
        table = make(recipes[arguments[0]])
    except (ValueError, PermissionError) as error:
        print(error if isinstance(error, ValueError) else f"table: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("table: stopped; the finished cases are kept, and the same command goes on from there", file=sys.stderr)
        return 1
    print(f"{table}: {len(load(table))} rows")
    return 0


def _is_current(table: Path) -> bool:
    try:
        load(table)
    except ValueError:
        return False
    return True


def _load_recipe(recipe: Path, text: str) -> ModuleType:
    """Run the very text that the checksum is of: an import could take a stale compiled file for it."""
    module = ModuleType(f"recipe_{recipe.stem}")
    module.__file__ = str(recipe)
    sys.modules[module.__name__] = module  # torch.compile and pickle look it up by name
    try:
        exec(compile(text, str(recipe), "exec", dont_inherit=True), module.__dict__)
    except SyntaxError as error:
        raise ValueError(f"make: recipe must be Python, got {recipe}: line {error.lineno}: {error.msg}") from error
    for name, kind in (("CASES", Iterable), ("run", Callable)):
        if not isinstance(getattr(module, name, None), kind):
            raise ValueError(f"make: recipe must define CASES and run, got {recipe} without {name}")
    return module


def _check_cases(module: ModuleType) -> list[dict]:
    cases = list(module.CASES)
    for case in cases:
        if not isinstance(case, dict) or not all(isinstance(k, str) and _is_scalar(v) for k, v in case.items()):
            raise ValueError(f"make: CASES must be flat dicts of JSON scalars, got {case!r}")
    if not cases or len({_key(case) for case in cases}) < len(cases):
        raise ValueError(f"make: CASES must hold at least one case and none twice, got {len(cases)}")
    return cases


def _check_result(case: dict, result: dict) -> dict:
    if not isinstance(result, dict) or not all(isinstance(k, str) and _is_plain(v) for k, v in result.items()):
        raise ValueError(
            f"make: run must return a dict of finite JSON scalars or lists of them, got {result!r} for {case}"
        )
    if set(case) & set(result):
        raise ValueError(f"make: run must not return the case's own names, got {sorted(set(case) & set(result))}")
    return result


def _is_scalar(value: object) -> bool:
    return type(value) in SCALARS and not (isinstance(value, float) and not math.isfinite(value))


def _is_plain(value: object) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, list) else _is_scalar(value)


def _take_up(partial: Path, source: str) -> dict[str, dict]:
    """The results an interrupted run left, by case; a changed recipe's rows and all from a torn line on are dropped."""
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
    head = {"recipe_sha256": source}
    if rows[:1] != [head]:
        rows = [head]
    _replace(partial, "".join(_canonical(row) + "\n" for row in rows))
    return {_key(row["case"]): row["result"] for row in rows[1:]}


def _append(rows: TextIO, row: dict) -> None:
    rows.write(_canonical(row) + "\n")
    rows.flush()
    os.fsync(rows.fileno())


def _write(table: Path, rows: list[dict], source: str) -> None:
    head = {"recipe": table.with_suffix(".py").name, "recipe_sha256": source, "rows_sha256": _digest(_canonical(rows))}
    body = ",\n  ".join(_canonical(row) for row in rows)
    text = json.dumps(head, indent=1)[:-2] + f',\n "rows": [\n  {body}\n ]\n}}\n'
    _replace(table, text)


def _replace(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _text(path: Path) -> str:
    """The text with plain line ends, so that a checksum holds on a checkout with Windows' ones too."""
    return path.read_text(encoding="utf-8")


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _key(case: dict) -> str:
    return json.dumps(case, sort_keys=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
