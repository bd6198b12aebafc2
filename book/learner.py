"""Copy the book for a learner: plain Markdown, outputs kept, notebooks trusted, nothing of theirs overwritten."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import nbformat
from nbformat import NotebookNode

from book import pages
from book.flatten import Surroundings, citations, flatten, labels, references

__all__ = ["copy", "destinations", "plain_notebook", "plain_page"]

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp")
BESIDE = re.compile(r"^---\n.*?\n---\n", flags=re.S)


def destinations(root: Path = pages.ROOT) -> dict[Path, PurePosixPath]:
    """Every file that a learner gets, with its place in the copy. Solutions go to `solutions/<topic>.ipynb`."""
    chapters, found = root / "chapters", {}
    for path in sorted(chapters.rglob("*")):
        place = PurePosixPath(path.relative_to(chapters).as_posix())
        if any(part.startswith(".") for part in place.parts):
            continue
        if path.suffix == ".ipynb" and path.stem == "solutions":
            place = PurePosixPath("solutions", f"{path.parent.name}.ipynb")
        plain = path.suffix == ".md" and len(place.parts) == 1
        if path.is_file() and (plain or path.suffix in (".ipynb", *PICTURES)):
            found[path] = place
    return found


@dataclass(frozen=True)
class _Book:
    """What all copies share: where every file goes, what labels and citations are called."""

    root: Path
    places: dict[Path, PurePosixPath]
    names: dict[Path, dict[str, str]]
    titles: dict[str, str]
    bib: Path

    def around(self, source: Path, refs: str, cites: dict) -> Surroundings:
        elsewhere = {label: said for names in self.names.values() for label, said in names.items()}
        known = self.titles | elsewhere | self.names.get(source, {})
        return Surroundings(cites, known, self.linker(source), refs)

    def linker(self, source: Path) -> Callable[[str], str | None]:
        here = self.places[source].parent

        def link(target: str) -> str | None:
            path, mark, anchor = target.partition("#")
            if re.match(r"[a-z][a-z0-9+.-]*:", path):
                return target
            if not path:
                return target if source.suffix == ".ipynb" and anchor not in self.names.get(source, {}) else None
            wanted = Path(os.path.normpath(source.parent / path))
            place = self.places.get(wanted) or self.places.get(wanted.with_suffix(".ipynb"))
            place = place or self.places.get(wanted.with_suffix(".md"))
            return place and os.path.relpath(place, here).replace(os.sep, "/") + mark + anchor

        return link


def _read_book(root: Path) -> _Book:
    places = destinations(root)
    names, titles = {}, {}
    for source in places:
        if source.suffix == ".ipynb":
            nb = nbformat.read(source, as_version=4)
            text = "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
        elif source.suffix == ".md":
            text = source.read_text(encoding="utf-8")
        else:
            continue
        names[source] = labels(text)
        heading = re.search(r"^# (.+)$", text, flags=re.M)
        document = source.relative_to(root).with_suffix("").as_posix()
        title = heading[1].strip() if heading else source.stem
        titles |= {document: title, document.removeprefix("chapters/"): title, source.stem: title}
    return _Book(root, places, names, titles, root / "references.bib")


def plain_notebook(nb: NotebookNode, around: Surroundings) -> NotebookNode:
    """The notebook with plain Markdown cells, its outputs, and no metadata but kernel and language.

    Code that the site folds or leaves out (drawing, the questions' source) is folded here too, one click away; the
    marks that nbval reads are gone.
    """
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = flatten(cell.source, around).strip("\n")
        else:
            cell.source = cell.source.removeprefix("# NBVAL_CHECK_OUTPUT\n")
            if {"hide-input", "remove-input"} & set(cell.metadata.get("tags", [])):
                cell.metadata["jupyter"] = {"source_hidden": True}
    nb.metadata = nbformat.from_dict(
        {key: nb.metadata[key] for key in ("kernelspec", "language_info") if key in nb.metadata}
    )
    return nb


def plain_page(text: str, around: Surroundings) -> str:
    """A page of text alone, as plain Markdown without front matter."""
    return flatten(BESIDE.sub("", text, count=1), around).strip("\n") + "\n"


def copy(folder: Path, *, fresh: str | None = None, root: Path = pages.ROOT) -> str:
    """Copy what is not there yet; with `fresh` also new copies of one topic's notebooks beside the old ones.

    Returns a line that says what was done.

    Raises:
        ValueError: `fresh` names no topic.
    """
    book = _read_book(root)
    topics = sorted({source.parent.name for source in book.places if source.suffix == ".ipynb"})
    if fresh and fresh not in topics:
        raise ValueError(f"copy: fresh must be one of {', '.join(topics) or 'no topic yet'}, got {fresh!r}")
    cites, refs = (citations(book.bib), references(book.bib)) if book.bib.exists() else ({}, "")
    copied, kept, beside = 0, 0, []
    for source, place in book.places.items():
        target = folder / place
        again = fresh == source.parent.name and source.suffix == ".ipynb" and target.exists()
        if again:
            target = _next_free(target)
            beside.append(target.relative_to(folder).as_posix())
        elif target.exists():
            kept += 1
            continue
        else:
            copied += 1
        _copy_one(source, target, book.around(source, refs, cites))
    said = f"{folder}: {copied} files copied, {kept} kept as they were"
    return said + (f", fresh: {', '.join(beside)}" if beside else "")


def _next_free(target: Path) -> Path:
    number = 2
    while (beside := target.with_stem(f"{target.stem}-{number}")).exists():
        number += 1
    return beside


def _copy_one(source: Path, target: Path, around: Surroundings) -> None:
    """Write one file: complete or not at all, so that an interruption leaves nothing half copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{target.name}.tmp")
    if source.suffix == ".ipynb":
        nb = plain_notebook(nbformat.read(source, as_version=4), around)
        half.write_text(pages.notebook_text(nb), encoding="utf-8", newline="\n")
        os.replace(half, target)
        _sign(target)
    elif source.suffix == ".md":
        half.write_text(plain_page(source.read_text(encoding="utf-8"), around), encoding="utf-8", newline="\n")
        os.replace(half, target)
    else:
        shutil.copyfile(source, half)
        os.replace(half, target)


def _sign(path: Path) -> None:
    """Trust a copied notebook, so that JupyterLab shows its stored HTML outputs."""
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary()
    try:
        notary.sign(nbformat.read(path, as_version=4))
    finally:
        notary.store.close()
