"""Read, execute and store a page: `<page>.md` (the source) and `<page>.ipynb` (executed, outputs kept) say the same.

Everything written here is byte-stable: two runs of an unchanged page give identical files.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

__all__ = [
    "ENVIRONMENT",
    "ROOT",
    "PageError",
    "assign_ids",
    "cell_name",
    "clean",
    "execute",
    "find",
    "front_matter",
    "is_current",
    "notebook_text",
    "page_name",
    "pages",
    "read",
    "run",
    "text",
    "title",
    "write",
]

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {"SOURCE_DATE_EPOCH": "0", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "TQDM_DISABLE": "1"}
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python", "pygments_lexer": "ipython3"}
JUPYTEXT = {
    "notebook_metadata_filter": "minutes,requires,teaches,-jupytext.text_representation.jupytext_version",
    "text_representation": {"extension": ".md", "format_name": "myst", "format_version": 0.13},
}
FRONT_MATTER = ("minutes", "requires", "teaches")
PROGRESS_BAR = re.compile(r"\d+%\|.*\||\d+it \[|\?it/s")
SECONDS_PER_CELL = 600


class PageError(Exception):
    """A page cannot be read, or one of its cells failed; the message names both."""


def pages(root: Path = ROOT) -> list[Path]:
    """The texts of all paired pages, `chapters/<topic>/<page>.md`, solutions included, in the order of their names."""
    return sorted(Path(root).glob("chapters/*/*.md"))


def page_name(md: Path) -> str:
    """`landscape/saddle_points` for `…/chapters/landscape/saddle_points.md`."""
    return f"{md.parent.name}/{md.stem}"


def find(words: list[str], root: Path = ROOT) -> list[Path]:
    """The pages that the words name: `landscape/saddle_points`, a topic, a path; all pages where there are no words."""
    known = pages(root)
    if not words:
        return known
    found: list[Path] = []
    for word in words:
        name = word.removeprefix("./").removeprefix("chapters/").removesuffix(".md").removesuffix(".ipynb").strip("/")
        hits = [md for md in known if name in (page_name(md), md.parent.name)]
        if not hits:
            names = ", ".join(map(page_name, known)) or "none"
            raise PageError(f"there is no page {word!r}; the pages are: {names}")
        found += [md for md in hits if md not in found]
    return found


def cell_name(md: Path, index: int, source: str = "") -> str:
    """`landscape/saddle_points, cell 7 («show.predict(»)`: counted from 1 over all cells, with its first line."""
    lines = [line for line in source.strip().splitlines() if line and not line.startswith("# NBVAL")]
    return f"{page_name(md)}, cell {index + 1}" + (f" («{lines[0][:60]}»)" if lines else "")


def assign_ids(nb: NotebookNode, page: str) -> NotebookNode:
    """Give every cell the id sha1(page, position, source)[:12], so that an unchanged cell keeps its id."""
    nb.nbformat, nb.nbformat_minor = 4, 5
    for index, cell in enumerate(nb.cells):
        cell["id"] = hashlib.sha1(f"{page}\0{index}\0{cell.source}".encode()).hexdigest()[:12]
    return nb


def read(md: Path) -> NotebookNode:
    """The notebook that a page's text describes: canonical metadata, stable ids, no outputs."""
    try:
        nb = jupytext.reads(md.read_text(encoding="utf-8"), "md:myst")
    except Exception as error:
        raise PageError(f"{page_name(md)}: the text cannot be read as a MyST notebook: {error}") from error
    nb.metadata = nbformat.from_dict(
        {
            **{key: nb.metadata[key] for key in FRONT_MATTER if key in nb.metadata},
            "jupytext": JUPYTEXT,
            "kernelspec": KERNEL,
            "language_info": LANGUAGE,
        }
    )
    return assign_ids(nb, page_name(md))


def front_matter(nb: NotebookNode) -> dict:
    """minutes, requires and teaches, as far as the page states them."""
    return {key: nb.metadata[key] for key in FRONT_MATTER if key in nb.metadata}


def title(nb: NotebookNode) -> str:
    """The page's first-level heading, or "" where it has none."""
    for cell in nb.cells:
        if cell.cell_type == "markdown" and (heading := re.search(r"^# (.+)$", cell.source, flags=re.M)):
            return heading[1].strip()
    return ""


def execute(nb: NotebookNode, md: Path, *, progress: bool = True) -> NotebookNode:
    """Run all cells in a fresh kernel inside the page's folder and return the notebook with its outputs.

    Raises:
        PageError: a cell failed, took too long or killed the kernel; page and cell are named.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from tqdm import tqdm

    now = {"index": 0}
    bar = tqdm(total=len(nb.cells), desc=page_name(md), unit="cell", disable=not progress, leave=True)

    def started(cell: NotebookNode, cell_index: int) -> None:
        bar.update(cell_index - now["index"])
        bar.set_postfix_str((cell.source.strip().splitlines() or [""])[0][:40])
        now["index"] = cell_index

    client = NotebookClient(
        nb,
        timeout=SECONDS_PER_CELL,
        kernel_name=KERNEL["name"],
        coalesce_streams=True,
        store_widget_state=False,
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=40"],
        resources={"metadata": {"path": str(md.parent)}},
        on_cell_start=started,
    )
    env = {key: value for key, value in os.environ.items() if key != "LABSUPPORT_LIVE"} | ENVIRONMENT
    try:
        client.execute(env=env)
        bar.update(len(nb.cells) - now["index"])
    except Exception as error:
        where = cell_name(md, now["index"], nb.cells[now["index"]].source)
        what = f"{error.ename}: {error.evalue}" if isinstance(error, CellExecutionError) else f"{error}".strip()
        raise PageError(f"{where}: {what or type(error).__name__}") from error
    finally:
        bar.close()
    return nb


def clean(nb: NotebookNode) -> NotebookNode:
    """Drop what differs from run to run: timings, progress bars, the way a stream was cut into pieces."""
    for cell in nb.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _joined_streams(cell.outputs)
    nb.metadata.pop("widgets", None)
    nb.metadata["language_info"] = nbformat.from_dict(LANGUAGE)
    return nb


def _joined_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    kept: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            lines = re.split(r"[\r\n]+", output.text)
            output.text = "\n".join(line for line in lines if not PROGRESS_BAR.search(line)).strip()
            if not output.text:
                continue
        last = kept[-1] if kept else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            kept.append(output)
    return kept


def text(nb: NotebookNode) -> str:
    """The page's text in canonical form."""
    return jupytext.writes(nb, "md:myst")


def notebook_text(nb: NotebookNode) -> str:
    """The notebook's file, as it is stored."""
    return nbformat.writes(nb).rstrip("\n") + "\n"


def write(md: Path, nb: NotebookNode) -> None:
    """Store the pair: notebook first, then the canonical text, which must be the newer of the two."""
    for path, content in ((md.with_suffix(".ipynb"), notebook_text(nb)), (md, text(nb))):
        beside = path.with_name(f".{path.name}.tmp")
        beside.write_text(content, encoding="utf-8", newline="\n")
        os.replace(beside, path)
    os.utime(md)


def run(md: Path, *, progress: bool = True) -> None:
    """Execute a page and store it. When a cell fails, the stored notebook stays as it was.

    Raises:
        PageError: a cell failed.
    """
    write(md, clean(execute(read(md), md, progress=progress)))


def is_current(md: Path) -> str | None:
    """None where the notebook is the execution of this very text in canonical form; otherwise what differs."""
    ipynb = md.with_suffix(".ipynb")
    if not ipynb.exists():
        return f"{page_name(md)}: no notebook beside the text"
    new, old = read(md), nbformat.read(ipynb, as_version=4)
    for index, (ours, stored) in enumerate(zip(new.cells, old.cells, strict=False)):
        where = cell_name(md, index, ours.source)
        if (ours.cell_type, ours.source) != (stored.cell_type, stored.source):
            return f"{where}: the text was changed and not run"
        if ours.metadata != stored.metadata or ours["id"] != stored.get("id"):
            return f"{where}: the notebook's tags or id are not the text's"
    if len(new.cells) != len(old.cells):
        return f"{page_name(md)}: the text has {len(new.cells)} cells, the notebook {len(old.cells)}"
    if new.metadata != old.metadata:
        return f"{page_name(md)}: front matter and notebook metadata differ"
    counts = [cell.execution_count for cell in old.cells if cell.cell_type == "code"]
    if counts != list(range(1, len(counts) + 1)):
        return f"{page_name(md)}: the notebook was not run from top to bottom in a fresh kernel"
    if text(old) != md.read_text(encoding="utf-8"):
        return f"{page_name(md)}: the text is not in canonical form"
    return None
