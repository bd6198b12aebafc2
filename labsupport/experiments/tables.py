"""Evidence too long for a page: tables made once, kept with their recipe and checksums.

A recipe is a Python file `chapters/<topic>/tables/<name>.py` that defines

    CASES = [{"depth": 2, "seed": 0}, …]     # a flat dict of JSON scalars each, no two the same
    def run(case: dict) -> dict: …           # JSON scalars, or lists of them
    TOLERANCE = {"error": 0.2}               # if another machine's rounding may move a column, or one number for all
    CHECKED = [CASES[3]]                     # if other cases than the first and the last should be run again by a check

`make table NAME=<topic>/<name>` runs the cases that are still missing, with JOBS=2 two at a time, or with
CLUSTER=tcp://… on the workers of a Dask scheduler, which read the recipe by the same path. Each finished row is
on disk before the next is waited for, so the work can be interrupted, killed and taken up again; a case that fails is
named at the end, and the others are kept. The result, `<name>.json` beside the recipe, notes checksums of its rows, of
the recipe and of the functions of labsupport that the recipe names, and the hashes under which the claims that it tests
were registered (see `experiments.claims`). `load` refuses a table that was changed by hand or
whose recipe does something else by now, and warns where one of these functions does. CHECK=1 then runs two cases, or
those of `CHECKED`, again, compares them and notes the new checksums. To make a table from nothing, delete it first.

A page takes the recipe's own code to run a case before the reader: `recipe("<topic>/<name>").run(case)`.
"""

import argparse
import sys
import traceback
import warnings
from concurrent.futures import Executor
from pathlib import Path
from types import ModuleType

from tqdm.auto import tqdm

from labsupport.experiments import agreement, claims, recipes, stored, workers
from labsupport.experiments.rounding import rounded

__all__ = ["check", "load", "main", "make", "recipe", "rounded"]


def recipe(name: str | Path) -> ModuleType:
    """The recipe of a table as an imported module, the same one at each call.

    Args:
        name: `<topic>/<name>`, or the path of a recipe.
    Raises:
        ValueError: there is no such recipe, or it is no Python, or lacks `CASES` or `run`.
    """
    return recipes.read(recipes.find("recipe", name, ".py")).module


def load(name: str | Path) -> list[dict]:
    """Reads a table: one dict per case, the case's own entries and what it came to.

    Where a function of labsupport that the recipe names was changed since, a RuntimeWarning says which.

    Args:
        name: `<topic>/<name>`, of the course or of the installed package; or the path of a table.
    Raises:
        ValueError: there is no such table, it was changed since it was made, or its recipe was.
    """
    path = recipes.find("load", name, ".json")
    head, rows = stored.read(path)
    _check_recipe(path, head)
    if changed := recipes.changed_rooms(head["rooms"]):
        warnings.warn(
            f"tables: {recipes.name_of(path)} was made with another {', '.join(changed)}; "
            f"`make table NAME={recipes.name_of(path)} CHECK=1` re-runs two cases",
            RuntimeWarning,
            stacklevel=2,
        )
    return rows


def make(name: str | Path, *, executor: Executor | None = None, progress: bool = True) -> Path:
    """Runs the cases of a recipe that are not done yet and writes its table.

    Args:
        name: `<topic>/<name>`, or the path of a recipe.
        executor: runs the cases, which read the recipe by its path; None: one after the other, here.
        progress: shows a progress bar.
    Returns:
        The table's path, `<name>.json` beside the recipe.
    Raises:
        ValueError: the recipe is not there, lacks a part or repeats a case, or a claim that the old table was made for
            was changed silently, before the work; a case failed or a worker was killed, after it: rows are kept.
    """
    path = recipes.find("make", name, ".py")
    table, partial = path.with_suffix(".json"), path.with_suffix(".partial.jsonl")
    if _is_current(table):
        return table
    held = recipes.read(path)
    cases = recipes.cases(held)
    if table.exists():
        _refuse_laundered(table)
    head, done = stored.take_up(partial, held)
    with partial.open("a", encoding="utf-8", newline="\n") as rows:

        def keep(case: dict, result: dict) -> None:
            stored.append(rows, {"case": case, "result": result})
            done[recipes.key(case)] = result

        missing = [case for case in cases if recipes.key(case) not in done]
        with tqdm(total=len(cases), initial=len(done), desc=path.stem, unit="case", disable=not progress) as bar:
            failed = workers.run(held, missing, executor, keep, bar)
    workers.refuse_failed(
        "make", failed, f"{len(done)} of {len(cases)} cases are kept, and the same call tries the others"
    )
    stored.write(table, head, [{**case, **done[recipes.key(case)]} for case in cases])
    partial.unlink(missing_ok=True)
    return table


def check(name: str | Path, *, executor: Executor | None = None, progress: bool = True) -> Path:
    """Runs some cases of a table again; where they agree, notes the checksums of today's code.

    They are those that the recipe names by `CHECKED`, a list of cases; where it names none, the first and the last.
    A column agrees within the recipe's `TOLERANCE`, an absolute one: a number for all columns or a dict by column, 0
    (equal) where it says nothing. Of a column of lists, the shape and the mean over all numbers must agree.

    Args:
        name, executor, progress: as in `make`.
    Returns:
        The table's path. Its rows are as they were.
    Raises:
        ValueError: there is no table, its rows were changed, its cases are no longer the recipe's, `CHECKED` is
            no list of them, a case failed, or a column lies outside its tolerance: case, column, both values and the
            tolerance are named.
    """
    path = recipes.find("check", name, ".py")
    table = recipes.find("check", path.with_suffix(".json"), ".json")
    held, (head, rows) = recipes.read(path), stored.read(table)
    cases = recipes.cases(held)
    if len(rows) != len(cases) or not all(map(stored.begins_with, rows, cases)):
        raise ValueError(
            f"check: CASES must be those of the table, got others in {path}; delete {table.name} and make it"
        )
    tolerance = getattr(held.module, "TOLERANCE", 0.0)
    agreement.check_tolerance(tolerance, {column for row, case in zip(rows, cases) for column in row.keys() - case})
    found: dict[str, dict] = {}
    again, stood = recipes.checked(held, cases), dict(zip(map(recipes.key, cases), rows, strict=True))
    with tqdm(total=len(again), desc=f"check {path.stem}", unit="case", disable=not progress) as bar:
        failed = workers.run(held, again, executor, lambda case, result: found.update({recipes.key(case): result}), bar)
    workers.refuse_failed("check", failed, "the table is as it was")
    for case in again:
        old = {column: value for column, value in stood[recipes.key(case)].items() if column not in case}
        agreement.compare(case, old, found[recipes.key(case)], tolerance)
    stored.write(table, stored.head_of(held) | {"claims": head["claims"]}, rows)
    return table


def main(arguments: list[str]) -> int:
    """The command `python -m labsupport.experiments.tables <topic>/<name> [--jobs N | --cluster tcp://…] [--check]`.

    Returns:
        the exit status.
    """
    parser = argparse.ArgumentParser(prog="table", description="Make a stored table, or compare two cases of it.")
    parser.add_argument("name", help="<topic>/<name>, or the path of a recipe")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time, each in a process of its own")
    parser.add_argument("--cluster", help="the address of a Dask scheduler, whose workers run the cases")
    parser.add_argument(
        "--check", action="store_true", help="run two cases or CHECKED again and note the checksums of today's code"
    )
    wanted = parser.parse_args(arguments)
    try:
        with workers.placed(wanted.jobs, wanted.cluster) as executor:
            table = (check if wanted.check else make)(wanted.name, executor=executor)
    except (ValueError, PermissionError, ModuleNotFoundError) as error:
        if isinstance(error, workers.CaseError):
            traceback.print_exception(error.__cause__)
        print(f"table: {error}" if isinstance(error, PermissionError) else error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("table: stopped; the finished cases are kept, and the same command goes on from there", file=sys.stderr)
        return 1
    print(f"{table}: {len(load(table))} rows" + (", some run again and found the same" if wanted.check else ""))
    return 0


def _check_recipe(table: Path, head: dict) -> None:
    path = table.with_suffix(".py")
    try:
        same = not path.is_file() or recipes.checksum(path.read_text(encoding="utf-8")) == head["recipe_sha256"]
    except SyntaxError:
        same = False
    if not same:
        raise ValueError(
            f"load: table must come from the recipe beside it, got {table}, but {path.name} was changed since; make it "
            f"again, or show that it comes to the same: `make table NAME={recipes.name_of(path)} CHECK=1`"
        )


def _refuse_laundered(table: Path) -> None:
    """A table is not made anew while the claims it was made for are others, unless their history says so."""
    try:
        noted = stored.read(table)[0]["claims"]
    except (ValueError, OSError):
        return
    known = claims.registry(recipes.chapters())
    tested = noted | {
        name: noted.get(name, claims.UNREGISTERED) for name in claims.hashes(recipes.name_of(table), known)
    }
    claims.refuse_changed({name: {"hash": short} for name, short in tested.items()}, known)


def _is_current(table: Path) -> bool:
    try:
        _check_recipe(table, stored.read(table)[0])
    except (ValueError, OSError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
