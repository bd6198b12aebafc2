"""Rules on stored outputs: checked, the same on every machine, and readable without a kernel."""

import re

import nbformat

from .model import INVISIBLE, Book, Cell, Page

WIDGET = "application/vnd.jupyter.widget"
PATH = re.compile(
    r"(?<![\w.:/<~)])/(?:home|root|usr|tmp|var|opt|work|etc|mnt|srv|private|Users|Applications)/[\w.+-]+"
    r"|\b[A-Za-z]:\\[\w\\.]+|site-packages|<ipython-input|ipykernel_\d+|(?<!\w)~/\w+| at 0x[0-9a-f]{6,}"
)
VERSION = re.compile(r"(?<![\w.:])v?\d+\.\d+\.\d+(?:[.+]\w+)?(?![\w.])|\bversion\s+\d", flags=re.I)
TIME = re.compile(
    r"\b\d+(?:\.\d+)?\s?(?:ns|µs|us|ms|s|sec|secs|seconds?|min|minutes?)\b|\bit/s\b|\b\d{1,2}:\d{2}:\d{2}\b"
    r"|\b20\d\d-\d\d-\d\d\b|\bwall time\b|\bCPU times\b",
    flags=re.I,
)


def _stored(book: Book) -> list[tuple[Page, Cell]]:
    return [(page, cell) for page in book.pages for cell in page.code]


def _exercises(book: Book) -> list[tuple[str, nbformat.NotebookNode]]:
    """The derived notebooks, which have no text of their own."""
    found = [page.md.with_name("exercises.ipynb") for page in book.solutions]
    return [
        (path.relative_to(book.root).as_posix(), nbformat.read(path, as_version=4)) for path in found if path.exists()
    ]


def no_errors(book: Book) -> list[str]:
    """No stored traceback, and nothing on stderr: a page runs without warnings."""
    found = []
    for _, cell in _stored(book):
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"{cell.where}: a stored error, {output.ename}")
            elif output.output_type == "stream" and output.name == "stderr":
                found.append(f"{cell.where}: something on stderr, {output.text.strip()[:60]!r}")
    return found


def nothing_of_this_machine_in_outputs(book: Book) -> list[str]:
    """No version, no time, no absolute path and no address of an object in a stored output."""
    found = []
    for _, cell in _stored(book):
        raw = "\n".join(INVISIBLE.sub("", value) for kind, value in cell.data if not kind.startswith("image/"))
        for what, pattern, text in (("path", PATH, raw), ("version", VERSION, cell.seen), ("time", TIME, cell.seen)):
            if match := pattern.search(text):
                found.append(f"{cell.where}: the output holds a {what}, {match[0].strip()!r}")
    return found


def three_checked_outputs(book: Book) -> list[str]:
    """At least three cells of a page are checked against their stored output, and each has text to check."""
    found = []
    for page in book.pages:
        checked = [cell for cell in page.code if cell.is_checked]
        if len(checked) < 3:
            found.append(f"{page.where}: {len(checked)} cells carry # NBVAL_CHECK_OUTPUT, fewer than 3")
        found += [f"{cell.where}: is to be checked and has no text output" for cell in checked if not cell.seen.strip()]
    return found


def no_widgets(book: Book) -> list[str]:
    """No stored widget view and no widget state: they are dead without a kernel."""
    found = [
        f"{cell.where}: a stored widget view"
        for _, cell in _stored(book)
        if any(kind.startswith(WIDGET) for kind, _ in cell.data)
    ]
    stored = [(page.where, page.stored) for page in book.pages if page.stored] + _exercises(book)
    return found + [f"{where}: stored widget state" for where, nb in stored if "widgets" in nb.metadata]


def pictures_in_outputs_are_described(book: Book) -> list[str]:
    """Each picture comes as HTML with alt text, through show.figure or show.slider; there is no bare image."""
    found = []
    for _, cell in _stored(book):
        for kind, value in cell.data:
            if kind.startswith("image/"):
                found.append(f"{cell.where}: a bare {kind}; show it through show.figure")
            if kind == "text/html":
                tags = re.findall(r"<img\b[^>]*>", value, flags=re.S)
                blank = [tag for tag in tags if not re.search(r"\balt=(\"\s*[^\"\s]|'\s*[^'\s])", tag)]
                found += [f"{cell.where}: a picture without alt text"] * len(blank)
    return found
