"""Rules on the package: sizes of modules and functions, private names, and the names that pages use."""

import ast
import json
import os
import re
import subprocess
import sys

from .model import Book

MAX_MODULE, MAX_FUNCTION = 400, 40


def modules_are_short(book: Book) -> list[str]:
    """A module has at most 400 lines."""
    sizes = [(name, len(text.splitlines())) for name, (text, _) in book.modules.items()]
    return [
        f"{book.module_path(name)}: {size} lines, more than {MAX_MODULE}" for name, size in sizes if size > MAX_MODULE
    ]


def functions_are_short(book: Book) -> list[str]:
    """A function has at most 40 lines, its docstring counted."""
    found = []
    for name, (_, tree) in book.modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = node.end_lineno - node.lineno + 1
                if size > MAX_FUNCTION:
                    found.append(f"{book.module_path(name)}: {node.name} has {size} lines, more than {MAX_FUNCTION}")
    return found


def modules_say_what_they_offer(book: Book) -> list[str]:
    """`__all__` stands in every module and names what the module holds."""
    found = []
    for name, (_, tree) in book.modules.items():
        lists = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name) and target.id == "__all__"
        ]
        if not lists:
            found.append(f"{book.module_path(name)}: no __all__")
            continue
        inner = {module.rpartition(".")[2] for module in book.modules if module.rpartition(".")[0] == name}
        held = _top_names(tree) | inner
        offered = [item.value for item in getattr(lists[0], "elts", []) if isinstance(item, ast.Constant)]
        found += [
            f"{book.module_path(name)}: __all__ names {word!r}, which is not there"
            for word in offered
            if word not in held
        ]
    return found


def _top_names(tree: ast.Module) -> set[str]:
    held = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            held.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            held |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        else:
            held |= {
                part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            }
    return held


def private_names_stay_at_home(book: Book) -> list[str]:
    """No module uses a name of another that begins with an underscore. (What may import what: import-linter.)"""
    found = []
    for name, (_, tree) in book.modules.items():
        ours = {}  # what an imported module of the package is called here
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("labsupport"):
                ours |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
                taken = [alias.name for alias in node.names if alias.name.startswith("_")]
                found += [f"{book.module_path(name)}, line {node.lineno}: {node.module}.{word}" for word in taken]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                home = ours.get(node.value.id) if isinstance(node.value, ast.Name) else None
                if home in book.modules:
                    found.append(f"{book.module_path(name)}, line {node.lineno}: {home}.{node.attr}")
    return found


def no_utils_no_stars(book: Book) -> list[str]:
    """No utils.py, and no `from … import *`."""
    names = ("util", "utils", "helpers", "misc", "common")
    found = [
        f"{book.module_path(name)}: a room for everything" for name in book.modules if name.split(".")[-1] in names
    ]
    for name, (_, tree) in book.modules.items():
        stars = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and any(a.name == "*" for a in n.names)]
        found += [f"{book.module_path(name)}, line {node.lineno}: a star import" for node in stars]
    return found


def no_global_seed_no_cuda(book: Book) -> list[str]:
    """The package neither seeds a global generator nor moves anything to a device of its own choice."""
    pattern = re.compile(
        r"(?:torch|torch\.random|torch\.cuda|np\.random|numpy\.random|random)\.(?:manual_seed(?:_all)?|seed)"
    )
    found = []
    for name, (_, tree) in book.modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                if node.func.attr == "cuda" or pattern.fullmatch(called):
                    found.append(f"{book.module_path(name)}, line {node.lineno}: {called}(…)")
    return found


def _names_used(tree: ast.Module, known: dict[str, str]) -> set[str]:
    """Dotted names of labsupport in some code; `known` maps what its imports have bound, and is added to."""
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "labsupport":
                    known[alias.asname or "labsupport"] = alias.name if alias.asname else "labsupport"
                    used.add(alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "labsupport":
            known.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
            used |= {f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.fullmatch(r"\w+(?:\.\w+)+", dotted := ast.unparse(node)):
            first, _, rest = dotted.partition(".")
            if first in known:
                used.add(f"{known[first]}.{rest}")
    return used


RESOLVE = """
import json, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import labsupport
lost = {}
if not labsupport.__file__.startswith(sys.argv[1]):
    lost["labsupport"] = f"imported from {labsupport.__file__}"
for name in json.load(sys.stdin):
    try:
        pkgutil.resolve_name(name)
    except Exception as error:
        lost[name] = f"{type(error).__name__}: {error}"
print(json.dumps(lost))
"""


def names_are_in_the_wheel(book: Book) -> list[str]:
    """Each name of labsupport that a page uses exists in the built wheel."""
    homes: dict[str, str] = {}
    for page in book.pages:
        known: dict[str, str] = {}
        for cell in page.code:
            for name in _names_used(cell.tree, known):
                homes.setdefault(name, cell.where)
    command = [sys.executable, "-W", "ignore", "-c", RESOLVE, str(book.wheel)]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, input=json.dumps(sorted(homes)), cwd=book.wheel, env=env, capture_output=True, text=True, check=True
    )
    return [
        f"{homes.get(name, 'wheel')}: {name} is not in the wheel ({why})"
        for name, why in json.loads(done.stdout).items()
    ]
