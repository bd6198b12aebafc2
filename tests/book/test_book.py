"""The tools of the book: pages run and stored byte for byte alike, exercises derived, MyST flattened, pages copied."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.sign import NotebookNotary
from rules import example

from book import __main__ as command
from book import bench, exercises, learner, pages
from book.flatten import Citation, Surroundings, citations, flatten, labels, references

PAGE = """\
# Is it stable?

```{{code-cell}} ipython3
import os
print("hash seed", os.environ["PYTHONHASHSEED"])
print("{word}")
```

+++ {{"tags": ["hide"]}}

$a_1$ *said* $b_1$.
"""


@pytest.fixture
def page(tmp_path):
    md = tmp_path / "chapters/t/stable.md"
    md.parent.mkdir(parents=True)
    md.write_text(PAGE.format(word="ran"), encoding="utf-8")
    return md


@pytest.fixture
def book(tmp_path):
    return example.write(tmp_path / "book")


@pytest.fixture(autouse=True)
def own_jupyter(tmp_path, monkeypatch):
    """Signatures of tests do not end up among the user's."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))


def both(md: Path) -> tuple[bytes, bytes]:
    return md.read_bytes(), md.with_suffix(".ipynb").read_bytes()


def test_running_twice_stores_identical_files_and_a_failure_leaves_them_alone(page):
    assert "no notebook" in pages.is_current(page)
    pages.run(page, progress=False)
    first = both(page)
    assert pages.is_current(page) is None
    assert page.stat().st_mtime_ns >= page.with_suffix(".ipynb").stat().st_mtime_ns
    pages.run(page, progress=False)
    assert both(page) == first

    nb = nbformat.read(page.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(nb)
    assert nb.cells[1].outputs[0].text == "hash seed 0\nran\n"
    assert nb.metadata.language_info.keys() == {"file_extension", "mimetype", "name", "pygments_lexer"}

    broken = page.read_text(encoding="utf-8").replace('print("ran")', "print(gone)")
    page.write_text(broken, encoding="utf-8")
    with pytest.raises(pages.PageError, match=r"^t/stable, cell 2 \(«import os»\): NameError: name 'gone'"):
        pages.run(page, progress=False)
    assert both(page) == (broken.encode(), first[1])
    assert pages.is_current(page).startswith("t/stable, cell 2")


def test_cleaning_drops_progress_bars_and_joins_streams():
    def stream(name, text):
        return nbformat.v4.new_output("stream", name=name, text=text)

    bars = stream("stderr", "\r 10%|█   | 1/10 [00:00<00:01, 9.1it/s]\r100%|████| 10/10 [00:01<00:00]\n")
    cell = nbformat.v4.new_code_cell("", outputs=[stream("stdout", "a\n"), bars, stream("stdout", "b\n")])
    cell.metadata["execution"] = {"iopub.status.busy": "now"}
    nb = pages.clean(nbformat.v4.new_notebook(cells=[cell]))
    assert nb.cells[0].outputs == [stream("stdout", "a\nb\n")]
    assert nb.cells[0].metadata == {}
    warning = nbformat.v4.new_code_cell("", outputs=[stream("stderr", "UserWarning: look\n")])
    assert pages.clean(nbformat.v4.new_notebook(cells=[warning])).cells[0].outputs[0].text == "UserWarning: look"


def test_words_name_pages(book):
    names = [pages.page_name(md) for md in pages.find([], book.root)]
    assert names == ["t/first", "t/second", "t/solutions"]
    assert pages.find(["chapters/t/second.md", "t/second"], book.root) == [book.root / "chapters/t/second.md"]
    assert len(pages.find(["t"], book.root)) == 3
    with pytest.raises(pages.PageError, match=r"no page 'u/first'; the pages are: t/first"):
        pages.find(["u/first"], book.root)


def test_stubs_stand_for_solutions_and_hidden_cells_go():
    source = "def f(x):\n    y = x\n    ### BEGIN SOLUTION\n    return y\n    ### END SOLUTION\n"
    assert exercises.stub(source) == "def f(x):\n    y = x\n    ...\n"
    for mark in (exercises.BEGIN, exercises.END):
        with pytest.raises(ValueError, match="has no partner"):
            exercises.stub(source.replace(mark, ""))
    cells = [
        nbformat.v4.new_markdown_cell("# Solutions of t"),
        nbformat.v4.new_markdown_cell("$$a$$ (eq-a)", metadata={"tags": ["hide"]}),
        nbformat.v4.new_code_cell("# NBVAL_CHECK_OUTPUT\nf(1)"),
    ]
    nb = nbformat.v4.new_notebook(cells=cells)
    assert [cell.source for cell in exercises.stubs(nb, "t/exercises").cells] == ["# Exercises of t", "f(1)"]
    nb.cells[1].metadata.clear()
    with pytest.raises(ValueError, match=r"t/solutions, cell 2: a label here would be defined twice"):
        exercises.stubs(nb, "t/exercises")


def test_derive_writes_only_what_differs(book):
    assert command.derive(book.root) == []
    plan = book.root / "chapters/plan.md"
    plan.write_text("old", encoding="utf-8")
    assert command.derive(book.root, check=True) == [plan]
    assert plan.read_text(encoding="utf-8") == "old"
    assert command.derive(book.root) == [plan]
    assert command.derive(book.root, check=True) == []


MYST = r"""(top)=
# Hello

See {eq}`eq-a`, {numref}`fig-x` and {cite:p}`dauphin2014,ge2015`; {cite:t}`ge2015` in {doc}`t/first`. `{eq}` stays.
% a comment
$$
a = b
$$ (eq-a)

and $y_1$ [there](b.ipynb), [gone](api.md).

::::{dropdown} Recall
What is {eq}`eq-b`?

:::{dropdown} Answers
$$ c $$ (eq-b)
:::
::::

:::{admonition} Mind $x$
:class: tip
| a | b |
| - | - |
| 1 | `{eq}` |

```python
x = "{eq}`eq-a`"
```
:::

:::{figure} a.svg
:alt: A saddle.
:name: fig-x
Caption of {cite:t}`ge2015`.
:::

- item

  :::{tip}
  inside
  :::
"""
PLAIN = r"""# Hello

See (1), Figure 1 and (Dauphin et al. 2014; Ge et al. 2015); Ge et al. (2015) in Is it?. `{eq}` stays.
$$
a = b
\tag{1}
$$

and $y_1$ [there](b.ipynb), gone.

<details>
<summary>Recall</summary>

What is (2)?

<details>
<summary>Answers</summary>

$$
c
\tag{2}
$$

</details>

</details>

> **Mind $x$**
>
> | a | b |
> | - | - |
> | 1 | `{eq}` |
>
> ```python
> x = "{eq}`eq-a`"
> ```

![A saddle.](a.svg)

*Figure 1. Caption of Ge et al. (2015).*

- item

  > **Tip**
  >
  > inside"""


def test_myst_becomes_plain_markdown():
    cites = {"dauphin2014": Citation("Dauphin et al.", "2014"), "ge2015": Citation("Ge et al.", "2015")}
    around = Surroundings(
        cites, labels(MYST) | {"t/first": "Is it?"}, lambda target: None if "api" in target else target
    )
    assert flatten(MYST, around) == PLAIN
    folded = ":::{admonition} More\n:collapsible: closed\nText.\n:::"
    assert flatten(folded, around) == "<details>\n<summary>More</summary>\n\nText.\n\n</details>"
    assert flatten("```{math}\n:label: eq-a\nz\n```", around) == "$$\nz\n\\tag{1}\n$$"
    assert flatten("```{bibliography}\n```", Surroundings(references="- One.")) == "- One."


def test_sources_are_called_by_author_and_year(tmp_path):
    bib = tmp_path / "references.bib"
    people = {"one": r"Erd{\H o}s, Paul", "two": "A, B and C, D", "three": "A, B and C, D and E, F"}
    entry = "@article{{{},\n author = {{{}}}, title = {{On {{It}}}}, journal = {{J}}, year = {{1999}}\n}}\n"
    bib.write_text("".join(entry.format(*item) for item in people.items()), encoding="utf-8")
    known = {key: (cited.authors, cited.year) for key, cited in citations(bib).items()}
    assert known == {"one": ("Erdős", "1999"), "two": ("A and C", "1999"), "three": ("A et al.", "1999")}
    assert references(bib).splitlines()[0] == "- Paul Erdős. On It. J, 1999."


def test_a_learner_gets_plain_signed_copies_and_keeps_what_is_theirs(book, tmp_path):
    (book.root / "chapters/t/tables").mkdir()
    (book.root / "chapters/t/tables/runs.json").write_text("{}", encoding="utf-8")
    my = tmp_path / "my"
    assert learner.copy(my, root=book.root) == f"{my}: 10 files copied, 0 kept as they were"
    tree = {path.relative_to(my).as_posix() for path in my.rglob("*") if path.is_file()}
    notebooks = {"t/first.ipynb", "t/second.ipynb", "t/exercises.ipynb", "solutions/t.ipynb"}
    texts = {"welcome.md", "glossary.md", "claims.md", "plan.md"}
    assert tree == notebooks | texts | {"map.svg", "t/pass.svg"}
    first = nbformat.read(my / "t/first.ipynb", as_version=4)
    assert NotebookNotary().check_signature(first)
    assert first.cells[1].cell_type == "code"
    assert first.cells[3].outputs
    text = "\n".join(cell.source for cell in first.cells if cell.cell_type == "markdown")
    assert "leads down (Rolle 1691)" in text
    assert "\\tag{1}" in text
    assert not [mark for mark in ("{cite", "{eq}", ":::", "(eq-first") if mark in text]
    assert "Rolle (1691)" in (my / "claims.md").read_text(encoding="utf-8")
    assert "![A pass between two hills.](../t/pass.svg)" not in text

    (my / "t/first.ipynb").write_text("mine", encoding="utf-8")
    assert learner.copy(my, root=book.root) == f"{my}: 0 files copied, 10 kept as they were"
    fresh = ["t/exercises-2.ipynb", "t/first-2.ipynb", "t/second-2.ipynb"]
    said = learner.copy(my, fresh="t", root=book.root)
    assert [name for name in fresh if name in said] == fresh
    assert (my / "t/first.ipynb").read_text(encoding="utf-8") == "mine"
    assert nbformat.read(my / "t/first-2.ipynb", as_version=4).cells == first.cells
    assert "t/first-3.ipynb" in learner.copy(my, fresh="t", root=book.root)
    with pytest.raises(ValueError, match=r"copy: fresh must be one of t, got 'u'"):
        learner.copy(my, fresh="u", root=book.root)


def test_links_still_lead_somewhere_from_the_place_of_the_copy(book, tmp_path):
    solutions = book.root / "chapters/t/solutions.md"
    text = solutions.read_text(encoding="utf-8").replace(
        "Multiply.", "![Two hills.](pass.svg) [first](first.md) [api](../a.md)"
    )
    solutions.write_text(text, encoding="utf-8")
    example.store(solutions)
    learner.copy(tmp_path / "my", root=book.root)
    nb = nbformat.read(tmp_path / "my/solutions/t.ipynb", as_version=4)
    assert "![Two hills.](../t/pass.svg) [first](../t/first.ipynb) api" in nb.cells[2].source


GUARDED = """
import socket
listening = socket.create_server(("127.0.0.1", 0))
socket.create_connection(listening.getsockname()).close()
socket.getaddrinfo("localhost", 80)
for call in (lambda: socket.getaddrinfo("example.org", 80), lambda: socket.socket().connect(("192.0.2.1", 80))):
    try:
        call()
    except PermissionError as error:
        print("refused")
"""


@pytest.mark.skipif(not hasattr(socket, "AF_INET"), reason="no sockets here")
def test_the_socket_guard_refuses_and_logs_what_leaves_this_machine(tmp_path):
    guard, log = Path(__file__).parents[1] / "guard", tmp_path / "log"
    env = os.environ | {"PYTHONPATH": str(guard), "SOCKET_GUARD_LOG": str(log)}
    done = subprocess.run([sys.executable, "-c", GUARDED], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused", "refused"]
    asked = [line.split(": ")[1] for line in log.read_text(encoding="utf-8").splitlines()]
    assert asked == ["socket.getaddrinfo example.org", "socket.connect 192.0.2.1"]


def test_the_command_says_what_is_wrong_in_one_line(capsys):
    assert command.main(["run", "nowhere"]) == 1
    assert capsys.readouterr().err.startswith("there is no page 'nowhere'; the pages are:")


def test_benchmarks_of_several_machines_stand_side_by_side(tmp_path):
    def row(what, **changes):
        return {"what": what, "unit": "s", "ours": [1, 2, 3], "peer": [3, 4, 5], "peer_name": "a_peer", "threads": 1,
                "ratio": [1, 2, 3], "bar": 1.5, "better": "higher", "met": True, **changes}  # fmt: skip

    lost = {"ours": None, "peer": None, "ratio": None, "peer_name": "no peer | here", "unit": "MB", "met": False}
    stored = {
        "desk": [row("bend", threads=2), row("lost", **lost)],
        "lab": [row("new", bar=None, met=None), row("bend", bar=2.5, met=False)],
    }
    assert bench.derived(tmp_path) == {}
    for machine, rows in stored.items():
        path = tmp_path / f"benchmarks/results/{machine}/spoons.json"
        path.parent.mkdir(parents=True)
        about = {"cpu": machine.upper(), "cores": 2, "accelerator": None}
        path.write_text(json.dumps({"topic": "spoons", "machine": about, "rows": rows}), encoding="utf-8")
    ((path, text),) = bench.derived(tmp_path).items()
    assert path == tmp_path / "chapters/benchmarks.md"
    assert "Bars: 3. Met: 1. Missed: 2." in text
    assert "| B | LAB | 2 | – |" in text
    assert text.replace(bench.TIED, " ").splitlines()[-4:] == [
        "| bend | 2 s | 4 s (a\\_peer) | 2× | ≥ 1.5× ✓ | A, 2 threads |",
        "| bend | 2 s | 4 s (a\\_peer) | 2× | ≥ 2.5× ✗ | B |",
        "| lost | – | no peer \\| here | – | ≥ 1.5 MB ✗ | A |",
        "| new | 2 s | 4 s (a\\_peer) | 2× | – | B |",
    ]
