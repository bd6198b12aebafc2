"""Recipes of stored tables: where they lie, what they must hold, and checksums of what they do, not of how they look.

A recipe's checksum is of `ast.unparse` of its tree without docstrings, so that comments, layout and words may change.
Its rooms are the functions and classes of labsupport that it names (`data.digits`, `population.train`), each with the
first twelve digits of such a checksum; what these call in turn is not followed.
"""

import ast
import difflib
import hashlib
import inspect
import json
import math
import pkgutil
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import labsupport

__all__ = ["checksum", "names", "rooms"]

SCALARS = (str, int, float, bool, type(None))


class Recipe(NamedTuple):
    """A recipe as it was read: its file, the text, its module, and the checksum of what it does."""

    path: Path
    text: str
    module: ModuleType
    sha256: str


_READ: dict[Path, Recipe] = {}


def chapters() -> Path:
    """The folder of the course's chapters: inside an installed package, else beside it; wherever Python was started."""
    package = Path(labsupport.__file__).resolve().parent
    inside = package / "chapters"
    return inside if inside.is_dir() else package.parent / "chapters"


def names(suffix: str = ".py") -> list[str]:
    """The names `<topic>/<name>` of all recipes (`.py`) or tables (`.json`) of the course, sorted."""
    return sorted(map(name_of, chapters().glob(f"*/tables/*{suffix}")))


def name_of(path: Path) -> str:
    """`<topic>/<name>` of a recipe's or table's file."""
    return f"{path.parent.parent.name}/{path.stem}"


def find(where: str, name: str | Path, suffix: str) -> Path:
    """The file of a recipe or table of the course by its name, or by a path.

    Args:
        where: the function that asks, for the refusal.
        name: `<topic>/<name>`, or the path of a file; text is a path where it ends in `.py` or `.json`.
        suffix: `.py` or `.json`.
    Raises:
        ValueError: it is not there; names that are close are listed.
    """
    kind, role = {".py": ("recipe", "a Python file"), ".json": ("table", "a file made by tables.make")}[suffix]
    if isinstance(name, Path) or name.endswith((".py", ".json")):
        path = Path(name).absolute()
        if not path.is_file() or path.suffix != suffix:
            raise ValueError(f"{where}: {kind} must be {role}, got {name}")
        return path
    known = names(suffix)
    if name not in known:
        close = ", ".join(difflib.get_close_matches(name, known, n=4, cutoff=0.5) or known)
        raise ValueError(
            f"{where}: name must be a {kind} of the course, such as {close or '(there is none)'}; got {name!r}"
        )
    topic, _, stem = name.partition("/")
    return chapters() / topic / "tables" / (stem + suffix)


def read(path: Path, sha256: str = "") -> Recipe:
    """A recipe as an imported module; the same one for as long as its text is the same.

    Args:
        path: its file, absolute.
        sha256: a checksum; where the module at hand has it, the file is not looked at.
    Raises:
        ValueError: it is no Python, or lacks `CASES` or `run`.
    """
    if path in _READ and _READ[path].sha256 == sha256:
        return _READ[path]
    text = path.read_text(encoding="utf-8")
    if path not in _READ or _READ[path].text != text:
        try:
            _READ[path] = Recipe(path, text, _execute(path, text), checksum(text))
        except SyntaxError as error:
            raise ValueError(f"make: recipe must be Python, got {path}: line {error.lineno}: {error.msg}") from error
    return _READ[path]


def _execute(path: Path, text: str) -> ModuleType:
    """Run the very text that the checksum is of: an import could take a stale compiled file for it."""
    module = ModuleType(f"recipe_{path.parent.parent.name}_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # torch.compile and pickle look it up by name
    exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
    for name, kind in (("CASES", Iterable), ("run", Callable)):
        if not isinstance(getattr(module, name, None), kind):
            raise ValueError(f"make: recipe must define CASES and run, got {path} without {name}")
    return module


def cases(recipe: Recipe) -> list[dict]:
    """Its cases, refused where one is no flat dict of JSON scalars or comes twice."""
    found = list(recipe.module.CASES)
    for case in found:
        if not isinstance(case, dict) or not all(isinstance(k, str) and _is_scalar(v) for k, v in case.items()):
            raise ValueError(f"make: CASES must be flat dicts of JSON scalars, got {case!r}")
    if not found or len(set(map(key, found))) < len(found):
        raise ValueError(f"make: CASES must hold at least one case and none twice, got {len(found)}")
    return found


def checked(recipe: Recipe, among: list[dict]) -> list[dict]:
    """The cases that a check runs again: the recipe's `CHECKED`, or the first and the last.

    Args:
        recipe: a recipe.
        among: its cases.
    Raises:
        ValueError: `CHECKED` is no list of its cases, empty, or holds a case twice.
    """
    named = getattr(recipe.module, "CHECKED", None)
    if named is None:
        return [among[0], among[-1]][: len(among)]
    known = {key(case) for case in among}
    found = [key(case) for case in named if isinstance(case, dict)] if isinstance(named, list) else []
    if not found or len(found) < len(named) or not known.issuperset(found) or len(set(found)) < len(found):
        raise ValueError(f"check: CHECKED must be a list of one or more of CASES, none twice, got {named!r}")
    return named


def key(case: dict) -> str:
    """A case as text, whatever the order of its names."""
    return json.dumps(case, sort_keys=True)


def checksum(text: str) -> str:
    """SHA-256 of Python source without docstrings, comments and layout, the same under each Python."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node, clean=False) is not None
            node.body = node.body[documented:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode("utf-8")).hexdigest()


def rooms(text: str) -> dict[str, str]:
    """The functions and classes of labsupport that a recipe's text names, each with its short checksum, sorted."""
    found = {_owner(name) for name in _names_used(ast.parse(text))} - {""}
    return {name.removeprefix("labsupport."): _fingerprint(name) for name in sorted(found)}


def changed_rooms(noted: dict[str, str]) -> list[str]:
    """Which of the functions and classes that `rooms` noted are gone or others by now."""
    return [name for name, short in noted.items() if _fingerprint(f"labsupport.{name}") != short]


def _names_used(tree: ast.Module) -> Iterator[str]:
    """Dotted names of labsupport, as the imports have bound them."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            bound |= {
                a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names
            }
        elif isinstance(node, ast.ImportFrom) and not node.level:
            bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    bound = {name: target for name, target in bound.items() if target.split(".")[0] == "labsupport"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and re.fullmatch(r"[\w.]+", dotted := ast.unparse(node)):
            first, dot, rest = dotted.partition(".")
            if first in bound:
                yield bound[first] + dot + rest


def _owner(name: str) -> str:
    """A dotted name up to the first function or class of labsupport that it passes; "" where it passes none."""
    parts = name.split(".")
    for end in range(2, len(parts) + 1):
        thing = _resolve(".".join(parts[:end]))
        if inspect.isfunction(thing) or inspect.isclass(thing):
            return ".".join(parts[:end]) if thing.__module__.startswith("labsupport") else ""
    return ""


def _resolve(name: str) -> object:
    """What a dotted name stands for, without decorators that keep what they wrap; None where it is gone."""
    try:
        return inspect.unwrap(pkgutil.resolve_name(name))
    except (ImportError, AttributeError, ValueError):
        return None


def _fingerprint(name: str) -> str:
    """The short checksum of a function or class; "" where there is none or its source is not at hand."""
    try:
        return checksum(textwrap.dedent(inspect.getsource(_resolve(name))))[:12]
    except (TypeError, OSError):
        return ""


def _is_scalar(value: object) -> bool:
    return type(value) in SCALARS and not (isinstance(value, float) and not math.isfinite(value))


def is_plain(value: object) -> bool:
    """Whether a table can hold it: a JSON scalar, finite where it is a number, or lists of them."""
    return all(map(is_plain, value)) if isinstance(value, list) else _is_scalar(value)
