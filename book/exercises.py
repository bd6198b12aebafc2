"""Derive `exercises.ipynb` from `solutions.md`: stubs for solutions, no outputs, no check marks."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from book import pages

__all__ = ["BEGIN", "CHECK_MARK", "END", "derived", "stub", "stubs"]

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
CHECK_MARK = re.compile(r"^[ \t]*#[ \t]*NBVAL_CHECK_OUTPUT[ \t]*\n|[ \t]*#[ \t]*NBVAL_CHECK_OUTPUT\b", flags=re.M)
_SOLUTION = re.compile(rf"^([ \t]*){BEGIN}\n.*?^[ \t]*{END}[ \t]*$", flags=re.M | re.S)
_TARGET = re.compile(r"^\([\w:-]+\)=[ \t]*$|\$\$[ \t]*\([\w:-]+\)|^[ \t]*:(?:name|label):", flags=re.M)


def stub(source: str) -> str:
    """The code with `...` in place of what stands between the marks.

    Raises:
        ValueError: a mark is left over: a begin without an end, or the other way round.
    """
    short = _SOLUTION.sub(r"\1...", source)
    for mark in (BEGIN, END):
        if mark in short:
            raise ValueError(f"{mark!r} has no partner")
    return short


def stubs(nb: NotebookNode, name: str) -> NotebookNode:
    """The exercises notebook of a solutions notebook; `name` is the new page's, such as `landscape/exercises`.

    Cells tagged `hide` are left out. The word "solutions" in the title becomes "exercises".

    Raises:
        ValueError: a mark is left over, or a label stands in a cell that both notebooks show.
    """
    cells = []
    for index, cell in enumerate(nb.cells):
        if "hide" in cell.metadata.get("tags", []):
            continue
        where = f"{name.split('/')[0]}/solutions, cell {index + 1}"
        if cell.cell_type == "markdown":
            if _TARGET.search(cell.source):
                raise ValueError(f"{where}: a label here would be defined twice; tag the cell `hide` or drop the label")
            cells.append(nbformat.v4.new_markdown_cell(_renamed(cell.source), metadata=cell.metadata))
        else:
            try:
                source = stub(CHECK_MARK.sub("", cell.source))
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            cells.append(nbformat.v4.new_code_cell(source, metadata=cell.metadata))
    metadata = {key: nb.metadata[key] for key in ("kernelspec", "language_info") if key in nb.metadata}
    return pages.assign_ids(nbformat.v4.new_notebook(cells=cells, metadata=metadata), name)


def _renamed(source: str) -> str:
    heading = re.search(r"^# .*$", source, flags=re.M)
    if not heading:
        return source
    new = heading[0].replace("Solutions", "Exercises").replace("solutions", "exercises")
    return source.replace(heading[0], new, 1)


def derived(root: Path = pages.ROOT) -> dict[Path, str]:
    """Each `exercises.ipynb` that the book should hold, with its content."""
    files = {}
    for md in pages.pages(root):
        if md.stem == "solutions":
            nb = stubs(pages.read(md), f"{md.parent.name}/exercises")
            files[md.with_name("exercises.ipynb")] = pages.notebook_text(nb)
    return files
