"""Rules on a page's code: what a cell may not do."""

import ast
import re
from collections import defaultdict

from .model import Book, Cell

NETWORK = re.compile(
    r"\b(?:requests|urllib|urlopen|httpx|aiohttp|http\.client|socket|ftplib|wget|curl|torch\.hub|fetch_openml)\b"
    r"|https?://|ftp://|\bdownload\s*=\s*True"
)
CLOCK = re.compile(
    r"\btime\.(?:time|perf_counter|monotonic|process_time)\b|\bperf_counter\(|\bdatetime\b|\bgetcwd\(|\b__version__\b"
    r"|\b__file__\b|%time|\bplatform\.|\bPath\.(?:cwd|home)\("
)


def _code(book: Book) -> list[Cell]:
    return [cell for page in book.pages for cell in page.code]


def no_shell(book: Book) -> list[str]:
    """No `!pip`, no other shell command, no cell magic: the page needs what the course installs."""
    pattern = re.compile(r"^\s*(?:!|%%|%(?:pip|conda|sx|system|run|load)\b)", flags=re.M)
    return [f"{cell.where}: a shell command or magic" for cell in _code(book) if pattern.search(cell.source)]


def code_is_python(book: Book) -> list[str]:
    """Each code cell is plain Python."""
    return [f"{cell.where}: not plain Python" for cell in _code(book) if cell.source.strip() and not cell.tree.body]


def nothing_from_the_network(book: Book) -> list[str]:
    """No cell names a library or an address of the network; the socket guard watches the running pages."""
    found = [(cell, NETWORK.search(cell.source)) for cell in _code(book)]
    return [f"{cell.where}: {match[0]!r} reaches for the network" for cell, match in found if match]


def nothing_of_this_machine_in_code(book: Book) -> list[str]:
    """No cell reads the clock, a version or a path of this machine."""
    found = [(cell, CLOCK.search(cell.source)) for cell in _code(book)]
    return [f"{cell.where}: {match[0]!r} differs from machine to machine" for cell, match in found if match]


def bodies_are_written_once(book: Book) -> list[str]:
    """No two pages or recipes hold a top-level function with the same body: what two need belongs to labsupport.

    Names do not matter, neither the function's nor its arguments'; methods are free.
    """
    homes: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for place, where, tree in _top_levels(book):
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                homes[_body(node)].setdefault(place, (where, node.name))
    found = []
    for place, *others in (list(where.items()) for where in homes.values()):
        home, (_, first) = place
        found += [f"{where}: {name} has the body of {first} in {home}" for _, (where, name) in others]
    return found


def _top_levels(book: Book) -> list[tuple[str, str, ast.Module]]:
    """(page or recipe, where it is said, syntax tree) of every cell and every recipe."""
    cells = [(page.name, cell.where, cell.tree) for page in book.pages for cell in page.code]
    recipes = sorted(book.root.glob("chapters/*/tables/*.py"))
    names = [path.relative_to(book.root).as_posix() for path in recipes]
    texts = [ast.parse(path.read_text(encoding="utf-8")) for path in recipes]
    return cells + list(zip(names, names, texts, strict=True))


def _body(function: ast.FunctionDef) -> str:
    """What a function does, whatever it and its arguments are called and its docstring says."""
    copy = ast.parse(ast.unparse(function)).body[0]
    taken = [arg for arg in ast.walk(copy.args) if isinstance(arg, ast.arg)]
    names = {arg.arg: f"_{place}" for place, arg in enumerate(taken)}
    for node in ast.walk(copy):
        if isinstance(node, ast.arg):
            node.arg, node.annotation = names.get(node.arg, node.arg), None
        elif isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
    body = copy.body[1:] if ast.get_docstring(copy) is not None else copy.body
    return ast.dump(ast.Module([ast.Expr(ast.Lambda(copy.args, ast.Constant(0))), *body], []))


def shows_end_their_cells(book: Book) -> list[str]:
    """A `show.…` stands on the last line of its cell: anywhere else its output is lost."""
    found = []
    for cell in _code(book):
        last = cell.tree.body[-1] if cell.tree.body else None
        for node in ast.walk(cell.tree):
            if isinstance(node, ast.Expr) and node is not last and isinstance(node.value, ast.Call):
                name = ast.unparse(node.value.func)
                found += [f"{cell.where}: {name}(…) is not the last line, so nobody sees it"] * name.startswith("show.")
    return found


def no_global_seed_in_pages(book: Book) -> list[str]:
    """Pages draw from generators; torch's, numpy's and Python's global seeds stay untouched, and so does the device."""
    pattern = re.compile(r"\b(?:torch|np\.random|numpy\.random|random)\.(?:manual_seed|seed)\(|\.cuda\(")
    found = [(cell, pattern.search(cell.source)) for cell in _code(book)]
    return [f"{cell.where}: {match[0]!r}" for cell, match in found if match]
