"""The book as the rules see it: pages with cells and stored outputs, plain pages, sources, the package's modules."""

import ast
import html
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import nbformat

from book import pages, plan
from book.flatten import FENCE, Directive, fence_body, read_directive

CHECK_MARK = re.compile(r"#\s*NBVAL_CHECK_OUTPUT\b")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
INVISIBLE = re.compile(r"<(style|script)\b.*?</\1>|<!--.*?-->|data:[\w/+-]+;base64,[\w+/=]+", flags=re.S)
BLOCK_TAG = re.compile(r"</?(?:p|div|li|ul|ol|td|th|tr|table|br|h\d|figcaption|label|legend|option)\b[^>]*>")


def visible(text: str) -> str:
    """What a reader sees of some HTML."""
    spaced = BLOCK_TAG.sub(" ", INVISIBLE.sub(" ", text))
    return html.unescape(re.sub(r"<[^<>]*>", "", spaced))


def _joined(value: object) -> str:
    return "".join(value) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Cell:
    """A cell of a page: source from the text, outputs from the notebook (none where the source was changed)."""

    page: str
    index: int
    kind: str
    source: str
    tags: tuple[str, ...] = ()
    outputs: list = field(default_factory=list)

    @property
    def where(self) -> str:
        return f"chapters/{self.page}.md, cell {self.index + 1}"

    @property
    def is_code(self) -> bool:
        return self.kind == "code"

    @property
    def is_checked(self) -> bool:
        return self.is_code and bool(CHECK_MARK.search(self.source))

    @cached_property
    def tree(self) -> ast.Module:
        """The code's syntax tree; empty where it is no Python, such as a line that starts with `!`."""
        try:
            return ast.parse(self.source)
        except SyntaxError:
            return ast.Module(body=[], type_ignores=[])

    def calls(self, name: str) -> list[ast.Call]:
        """The calls of `name`, such as `show.predict`."""
        nodes = (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))
        return [node for node in nodes if ast.unparse(node.func) == name]

    @property
    def data(self) -> list[tuple[str, str]]:
        """(MIME type, text) of every stored output; streams are text/plain."""
        found = []
        for output in self.outputs:
            if output.output_type == "stream":
                found.append(("text/plain", _joined(output.text)))
            elif output.output_type != "error":
                found += [(kind, _joined(value)) for kind, value in output.data.items()]
        return found

    @property
    def seen(self) -> str:
        """All text that the outputs show."""
        texts = [visible(value) if kind == "text/html" else value for kind, value in self.data if "image/" not in kind]
        return "\n".join(texts)


def split_blocks(text: str) -> tuple[str, list[Directive]]:
    """A text without its fenced blocks (code included), and its directives, the outermost ones."""
    lines, prose, found, index = text.split("\n"), [], [], 0
    while index < len(lines):
        if not (fence := FENCE.match(lines[index])):
            prose.append(lines[index])
            index += 1
            continue
        body, index = fence_body(lines, index, fence)
        prose.append("")
        if fence[3].startswith("{"):
            found.append(read_directive(fence[3], "\n".join(body)))
    return "\n".join(prose), found


def blocks(text: str) -> list[Directive]:
    """The directives of a text, outermost only."""
    return split_blocks(text)[1]


def all_blocks(text: str) -> list[Directive]:
    """The directives of a text, inner ones too."""
    return [block for outer in blocks(text) for block in [outer, *all_blocks(outer.body)]]


@dataclass(frozen=True)
class Page:
    """A paired page: its text, its cells, its front matter."""

    md: Path

    @property
    def name(self) -> str:
        return pages.page_name(self.md)

    @property
    def topic(self) -> str:
        return self.md.parent.name

    @property
    def where(self) -> str:
        return f"chapters/{self.name}.md"

    @property
    def is_solutions(self) -> bool:
        return self.md.stem == "solutions"

    @cached_property
    def text(self) -> str:
        return self.md.read_text(encoding="utf-8")

    @cached_property
    def notebook(self) -> nbformat.NotebookNode:
        return pages.read(self.md)

    @cached_property
    def stored(self) -> nbformat.NotebookNode | None:
        ipynb = self.md.with_suffix(".ipynb")
        return nbformat.read(ipynb, as_version=4) if ipynb.exists() else None

    @cached_property
    def facts(self) -> dict:
        return pages.front_matter(self.notebook)

    @cached_property
    def cells(self) -> list[Cell]:
        kept = {cell.source: cell.outputs for cell in (self.stored.cells if self.stored else []) if "outputs" in cell}
        return [
            Cell(
                self.name, index, cell.cell_type, cell.source, tuple(cell.metadata.get("tags", ())),
                kept.get(cell.source, []) if cell.cell_type == "code" else [],
            )
            for index, cell in enumerate(self.notebook.cells)
        ]  # fmt: skip

    @property
    def code(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.is_code]

    @property
    def markdown(self) -> list[Cell]:
        return [cell for cell in self.cells if not cell.is_code]

    def before_first_result(self) -> list[Cell]:
        """The cells above the first checked output."""
        first = next((cell.index for cell in self.cells if cell.is_checked), len(self.cells))
        return self.cells[:first]


@dataclass(frozen=True)
class Book:
    """Everything the rules look at.

    Attributes:
        root: the repository's folder.
        checks: labsupport's checks by "topic.name".
        wheel: a folder that holds the package as its wheel installs it.
    """

    root: Path
    checks: Mapping[str, Callable]
    wheel: Path

    @cached_property
    def pages(self) -> list[Page]:
        return [Page(md) for md in pages.pages(self.root)]

    @cached_property
    def lessons(self) -> list[Page]:
        return [page for page in self.pages if not page.is_solutions]

    @cached_property
    def solutions(self) -> list[Page]:
        return [page for page in self.pages if page.is_solutions]

    @cached_property
    def plain(self) -> dict[str, str]:
        """The plain pages one level up: where they stand, and their text."""
        found = sorted(self.root.glob("chapters/*.md"))
        return {path.relative_to(self.root).as_posix(): path.read_text(encoding="utf-8") for path in found}

    @property
    def texts(self) -> list[tuple[str, str]]:
        """(where, Markdown) of every Markdown cell and every plain page."""
        return [(cell.where, cell.source) for page in self.pages for cell in page.markdown] + list(self.plain.items())

    @cached_property
    def toc(self) -> list[str]:
        return plan.entries(self.root)

    @cached_property
    def glossary(self) -> set[str]:
        """The terms, in lower case, that a row of the glossary's table explains with a Chinese equivalent."""
        rows = [line for line in self.plain.get("chapters/glossary.md", "").split("\n") if CHINESE.search(line)]
        return {re.sub(r"[*_`]", "", re.split(r"(?<!\\)\|", row.strip().strip("|"))[0]).strip().lower() for row in rows}

    @cached_property
    def sources(self) -> set[str]:
        """The keys of references.bib."""
        bib = self.root / "references.bib"
        return (
            set(re.findall(r"^@\w+\{([^,\s]+),", bib.read_text(encoding="utf-8"), flags=re.M))
            if bib.exists()
            else set()
        )

    @cached_property
    def modules(self) -> dict[str, tuple[str, ast.Module]]:
        """Dotted name to text and syntax tree of every module of labsupport."""
        found = {}
        for path in sorted(self.root.glob("labsupport/**/*.py")):
            parts = path.relative_to(self.root).with_suffix("").parts
            text = path.read_text(encoding="utf-8")
            found[".".join(parts).removesuffix(".__init__")] = (text, ast.parse(text))
        return found

    def module_path(self, name: str) -> str:
        package = self.root.joinpath(*name.split("."), "__init__.py")
        path = package if package.exists() else self.root.joinpath(*name.split(".")).with_suffix(".py")
        return path.relative_to(self.root).as_posix()


def build_wheel(root: Path, folder: Path) -> Path:
    """Build labsupport's wheel and unpack it; returns the folder that holds the package as a user gets it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "unpacked")
    return folder / "unpacked"


def stale(book: Book, derived: dict[Path, str]) -> list[str]:
    """Derived files that are missing or hold something else."""
    return [
        f"{path.relative_to(book.root).as_posix()}: not current (python -m book derive)"
        for path, text in derived.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
