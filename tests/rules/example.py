"""A tiny sound book in a folder: two pages, their exercises, a package. Nothing is executed: outputs are made up."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import nbformat
import yaml

from book import exercises, ledger, pages, plan
from labsupport.experiments import Samples, claims
from labsupport.experiments.judging import judge
from labsupport.show.claims import record
from labsupport.show.predictions import PREDICTION

from .model import Book
from .prose import fingerprints
from .reviewed import REVIEWED

PAGE = """\
---
minutes: 10
requires: [{requires}]
teaches: [saddle point]
---

# Is a {name} pass a valley?

:::{{dropdown}} Recall
**1.** What is a slope? **2.** Why is it zero?

*Answers.* **1.** A number. **2.** It is level.
:::

```{{code-cell}} ipython3
from labsupport import data, show
```

A **saddle point** is level, and yet it leads down {{cite:p}}`rolle1691`. There the slope is

$$
s = 2 a.
$$ (eq-{name}-slope)

```{{code-cell}} ipython3
# NBVAL_CHECK_OUTPUT
slope = 2 * data.start()  # eq. (1)
slope
```

Twice 0.25 is 0.50. See {{eq}}`eq-{name}-slope` and [the exercises](exercises.ipynb).

```{{code-cell}} ipython3
show.slider(lambda x: x, [1, 2], label="a", alt="A line")
```

```{{code-cell}} ipython3
show.predict("{name}-pass", "Where does it lead?", ["up", "down"], reveals=["steep fall", "1234.5"])
```

```{{code-cell}} ipython3
# NBVAL_CHECK_OUTPUT
data.walk(slope)
```

It goes by $-1,234.5$ units, or 7.5 %.

```{{code-cell}} ipython3
:tags: [remove-input]

show.outcome("{name}-pass", "down", "The slope leads down.")
```

One pass is measured.

## Another look

+++

Another cell.

```{{code-cell}} ipython3
# NBVAL_CHECK_OUTPUT
show.claim("{name}-leads-down", samples=walks)
```

:::{{figure}} pass.svg
:alt: A pass between two hills.
:width: 33.3%
A pass.
:::

## Where this stops

One pass is not all of them.

:::{{dropdown}} Recall
**1.** What? **2.** Why? **3.** How far?

*Answers.* **1.** It. **2.** So. **3.** Far.
:::

## Exercises

Three wait [here](exercises.ipynb).
"""

SET_UP = """\
# Passes: solutions

```{code-cell} ipython3
from labsupport import checks
```
"""
EXERCISE = """
## Exercise t-{number} · {name} it ★

Return `x` times {number}.

:::{{dropdown}} Hint
Multiply.
:::

```{{code-cell}} ipython3
def {name}(x):
    ### BEGIN SOLUTION
    return {number} * x
    ### END SOLUTION
```

```{{code-cell}} ipython3
# NBVAL_CHECK_OUTPUT
checks.t.{name}({name})
```
"""
NAMES = ("keep", "double", "triple")
CLAIM = """\
{name}-leads-down:
  statement: A pass leads down.
  words: source
  source: rolle1691
  place: chapter 1
  scope: passes between two hills
  effect: metres down less metres up
  unit: m
  rule: above
  delta: 1
  replicate: the pass
  count: 16
  tuned: nothing
"""
FILES = {
    "chapters/t/claims.yml": CLAIM.format(name="first") + CLAIM.format(name="second"),
    "_toc.yml": "format: jb-book\nroot: chapters/welcome\nchapters:\n"
    + "".join(
        f"- file: chapters/{name}\n"
        for name in ("t/first", "t/second", "t/exercises", "claims", "glossary", "plan", "t/solutions")
    ),
    "references.bib": "@book{rolle1691,\n author = {Rolle, M.}, title = {Roots}, publisher = {P}, year = {1691}\n}\n",
    "chapters/welcome.md": "# Welcome\n\nRead.\n",
    "chapters/glossary.md": "# Glossary\n\n| Term | 中文 |\n| --- | --- |\n| **saddle point** | 鞍点 |\n",
    "chapters/t/pass.svg": "<svg/>",
    "labsupport/__init__.py": '"""A package."""\n\n__all__ = []\n',
    "labsupport/data.py": '__all__ = ["start"]\n\n\ndef start():\n    return 0.25\n\n\ndef walk(a):\n    return a\n',
    "labsupport/t.py": "from labsupport.data import start\n\n__all__ = []\n",
    "labsupport/show.py": '__all__ = ["claim"]\n\n\ndef claim():\n    pass\n\n\nslider = outcome = predict = claim\n',
    "labsupport/checks/__init__.py": 'from labsupport.checks import t\n\n__all__ = ["t"]\n',
    "labsupport/checks/t.py": "from labsupport import t\n\n__all__ = []\nkeep = double = triple = t\n",
}


@dataclass(frozen=True)
class Check:
    """A check that wants `answer(3) == expected`."""

    expected: int
    wrong: dict

    def __call__(self, answer, seed=0):
        got = answer(3)
        if got is None or got is ...:
            return SimpleNamespace(status="not attempted", message="")
        if got == self.expected:
            return SimpleNamespace(status="correct", message="")
        return SimpleNamespace(status="wrong", message=f"3 became {got}")


def checks() -> dict[str, Check]:
    """The checks of the three exercises."""
    wrong = {"adds": lambda x: x + 100, "halves": lambda x: x / 2, "forgets": lambda x: 0}
    return {f"t.{name}": Check(3 * number, dict(wrong)) for number, name in enumerate(NAMES, start=1)}


def outputs(source: str) -> list[nbformat.NotebookNode]:
    """What a cell of the example would have left."""
    if "show.claim" in source:
        name = source.split('"')[1]
        entry = claims.parsed(yaml.safe_load(CLAIM.format(name=name.split("-")[0])))[name]
        shown = record(entry, judge(entry, Samples([1.0, 2.0] * 8, range(16))))
        return [nbformat.v4.new_output("display_data", {ledger.CLAIM: shown, "text/plain": "holds, 1.50 ± 0.13"})]
    name = source.split('"')[1] if '"' in source else ""
    shown = {
        "show.slider": {"text/html": '<figure><img alt="A line" src="data:image/png;base64,AAAA"></figure>'},
        "show.predict": {
            "text/html": "<style>p { margin: 0.123em; }</style><p>Where does it lead?</p>",
            PREDICTION: {"name": name, "choices": ["up", "down"], "reveals": ["steep fall", "1234.5"]},
        },
        "show.outcome": {"text/html": "<p>The run: down. The slope leads down.</p>"},
        "data.walk": {"text/html": "<table><tr><td>−1234.5</td><td>7.5</td></tr></table>"},
        "data.start": {"text/plain": "[0.25, 0.5]"},
        "checks.t": {"text/plain": "correct"},
    }
    found = [data for mark, data in shown.items() if mark in source]
    return [nbformat.v4.new_output("execute_result", found[0], execution_count=1)] if found else []


def store(md: Path) -> None:
    """Write a page's pair as if it had been run."""
    nb = pages.read(md)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        cell.execution_count, cell.outputs = count, outputs(cell.source)
    pages.write(md, nb)


def derive(root: Path) -> None:
    """Write all derived files."""
    for path, text in (exercises.derived(root) | ledger.derived(root) | plan.derived(root)).items():
        path.write_text(text, encoding="utf-8")


def review(book: Book) -> None:
    """Note that all of it was read."""
    path = book.root / REVIEWED
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{digest}  {where}\n" for where, digest in fingerprints(book).items()), encoding="utf-8")


def write(root: Path) -> Book:
    """The sound book in a folder."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    topic = root / "chapters/t"
    (topic / "first.md").write_text(PAGE.format(name="first", requires="slopes"), encoding="utf-8")
    (topic / "second.md").write_text(PAGE.format(name="second", requires="t/first, slopes"), encoding="utf-8")
    solutions = [EXERCISE.format(number=number, name=name) for number, name in enumerate(NAMES, start=1)]
    (topic / "solutions.md").write_text(SET_UP + "".join(solutions), encoding="utf-8")
    for md in pages.pages(root):
        store(md)
    derive(root)
    book = Book(root, checks(), root)
    review(book)
    return book
