"""Rules on a page's code: what a cell may not do, and what stands around a prediction."""

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


def functions_are_defined_once(book: Book) -> list[str]:
    """No function is defined in two pages: what two pages need belongs to labsupport."""
    homes: dict[str, dict[str, str]] = defaultdict(dict)
    for page in book.pages:
        for cell in page.code:
            for node in ast.walk(cell.tree):
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    homes[node.name].setdefault(page.name, cell.where)
    return [
        f"{list(where.values())[1]}: {name} is defined in {next(iter(where.values()))} already"
        for name, where in homes.items()
        if len(where) > 1
    ]


def no_global_seed_in_pages(book: Book) -> list[str]:
    """Pages draw from generators; torch's, numpy's and Python's global seeds stay untouched, and so does the device."""
    pattern = re.compile(r"\b(?:torch|np\.random|numpy\.random|random)\.(?:manual_seed|seed)\(|\.cuda\(")
    found = [(cell, pattern.search(cell.source)) for cell in _code(book)]
    return [f"{cell.where}: {match[0]!r}" for cell, match in found if match]


def predictions_come_first(book: Book) -> list[str]:
    """Each prediction stands directly before its experiment, whose output is folded; the answer is one text cell."""
    found, names = [], defaultdict(list)
    for page in book.lessons:
        asking = {cell.index: cell for cell in page.code if cell.calls("show.predict")}
        if not asking:
            found.append(f"{page.where}: no show.predict")
        for index, cell in asking.items():
            follow = page.cells[index + 1 : index + 3]
            if len(follow) < 2 or not follow[0].is_code or "hide-output" not in follow[0].tags or follow[1].is_code:
                found.append(
                    f"{cell.where}: after show.predict come a code cell tagged hide-output, then the answer's text"
                )
            elif not follow[0].outputs:
                found.append(f"{follow[0].where}: the experiment of a prediction has no output to fold")
            for call in cell.calls("show.predict"):
                names[ast.unparse(call.args[0]) if call.args else "?"].append(cell.where)
        folded = [cell for cell in page.code if "hide-output" in cell.tags and cell.index - 1 not in asking]
        found += [f"{cell.where}: its output is folded, and no prediction stands before it" for cell in folded]
    return found + [
        f"{w[1]}: the prediction {name} is asked in {w[0]} already" for name, w in names.items() if len(w) > 1
    ]
