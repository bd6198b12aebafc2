"""Every rule of the book is broken at least once on a tiny sound book, and seen to fail."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import nbformat
import pytest
from rules import RULES, Book, example
from rules.prose import said, sentences, shown, words

FIRST, SOLUTIONS = "chapters/t/first.md", "chapters/t/solutions.md"
REGISTRY = "chapters/t/claims.yml"
SET_UP = "from labsupport import data, show\n"
RESULT = "# NBVAL_CHECK_OUTPUT\nslope = 2 * data.start()  # eq. (1)\nslope\n"
AFTER = ":::{figure}"
SECOND_QUESTION, CLAIM = "Another cell.", '"first-leads-down"'


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return example.write(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def book(sound, tmp_path):
    shutil.copytree(sound.root, tmp_path / "book")
    return replace(sound, root=tmp_path / "book", wheel=tmp_path / "book")


ROOT = Path(__file__).resolve().parents[2]
Break = Callable[[Book], Book | None]


def edit(file: str, old: str, new: str, count: int = 1) -> Break:
    """Change a file, and nothing else."""

    def apply(book):
        path = book.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, count), encoding="utf-8")

    return apply


def results() -> Break:
    """New results of a machine, and no page of them."""

    def apply(book):
        path = book.root / "benchmarks/results/desk/spoons.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"topic": "spoons", "machine": {}, "rows": []}), encoding="utf-8")

    return apply


def retype(file: str, old: str, new: str, count: int = 1) -> Break:
    """Change a page and run it again, so that only what is written breaks a rule."""

    def apply(book):
        edit(file, old, new, count)(book)
        example.store(book.root / file)
        example.derive(book.root)

    return apply


def add(file: str, text: str) -> Break:
    """Put a new file there."""
    return lambda book: (book.root / file).write_text(text, encoding="utf-8") and None


def remove(file: str) -> Break:
    return lambda book: (book.root / file).unlink()


def stored(file: str, change: Callable[[nbformat.NotebookNode], object]) -> Break:
    """Change a stored notebook."""

    def apply(book):
        path = (book.root / file).with_suffix(".ipynb")
        nb = nbformat.read(path, as_version=4)
        change(nb)
        nbformat.write(nb, path)

    return apply


def output(mark: str, bundle: dict | None = None, **stream: str) -> Break:
    """Replace the stored output of the first page's cell that holds `mark`."""

    def change(nb):
        cell = next(cell for cell in nb.cells if cell.cell_type == "code" and mark in cell.source)
        kind = "stream" if stream else "display_data"
        cell.outputs = [nbformat.v4.new_output(kind, **stream) if stream else nbformat.v4.new_output(kind, bundle)]

    return stored(FIRST, change)


def claim(**values: object) -> Break:
    """Change the stored claim of the first page."""

    def change(nb):
        cell = next(cell for cell in nb.cells if CLAIM in cell.source)
        data = next(iter(cell.outputs[0].data[kind] for kind in cell.outputs[0].data if kind.endswith("+json")))
        data.update(values)

    return stored(FIRST, change)


def wrong(change: Callable[[dict], dict]) -> Break:
    """Change the wrong answers stored with one check."""

    def apply(book):
        keep = book.checks["t.keep"]
        return replace(book, checks=dict(book.checks) | {"t.keep": replace(keep, wrong=change(keep.wrong))})

    return apply


def table(old: str, new: str) -> Break:
    """Put a real table and its recipe there, and change the table."""

    def apply(book):
        folder = book.root / "chapters/t/tables"
        folder.mkdir()
        for path in (ROOT / "chapters/landscape/tables").glob("flat_edge.*"):
            shutil.copy(path, folder)
        assert RULES["tables_are_whole"](book) == []
        edit("chapters/t/tables/flat_edge.json", old, new)(book)

    return apply


def both(*breaks: Break) -> Break:
    def apply(book):
        for one in breaks:
            one(book)

    return apply


def code(line: str) -> Break:
    """A line more in the first page's first result."""
    return retype(FIRST, RESULT, f"{RESULT}{line}\n")


def module(line: str, file: str = "labsupport/t.py") -> Break:
    return lambda book: edit(file, "__all__", f"{line}\n__all__")(book)


ONE = "    ### BEGIN SOLUTION\n    return 1 * x\n    ### END SOLUTION"
CONDITION = {"label": "", "effect": "1.50", "error": "0.40", "low": "0.65", "high": "2.35", "confidence": "95",
             "verdict": "holds", "decides": True}  # fmt: skip
PREDICT = 'show.predict("first-pass"'
ASKED = '```{code-cell} ipython3\n# {0}\nshow.{0}("x", "y", "z")\n```\n\n'
TWICE = ASKED.replace("{0}", "predict") + ASKED.replace("{0}", "outcome")
FOLDED = ":tags: [hide-output]\n\n# NBVAL_CHECK_OUTPUT\ndata.walk"
SLOPE = "There the slope is"
FIGURE = "There it is.\n\n:::{{figure}} pass.svg\n:alt: {}\n:width: 33.3%\n{}\n:::\n\nThe slope is"
ALT, CAPTION = FIGURE.format("A steep fall.", "A pass."), FIGURE.format("A pass.", "A steep fall.")
NEW_TERMS = "| **a** | 甲 |\n| **b** | 乙 |\n| **c** | 丙 |\n| **d** | 丁 |\n| **saddle point**"
LONG = " ".join(["word"] * 30)

BREAKS: list[tuple[str, str, Break]] = [
    ("paired_and_canonical", "cell 2", edit(FIRST, "import data, show", "import show, data")),
    ("paired_and_canonical", "cell 9", edit(FIRST, "7.5 %", "7.6 %")),
    ("paired_and_canonical", "no notebook", remove("chapters/t/first.ipynb")),
    ("paired_and_canonical", "canonical", edit(FIRST, "\n+++\n", "\n\n+++\n")),
    ("paired_and_canonical", "fresh kernel", stored(FIRST, lambda nb: nb.cells[1].update(execution_count=None))),
    ("paired_and_canonical", "id", stored(FIRST, lambda nb: nb.cells[1].update(id="other"))),
    ("front_matter_is_there", "minutes", retype(FIRST, "minutes: 10\n", "")),
    ("front_matter_is_there", "requires", retype(FIRST, "requires: [slopes]", "requires: slopes")),
    ("front_matter_is_there", "teaches", retype(FIRST, "teaches: [saddle point]", "teaches: []")),
    ("begins_with_a_question", "its question", retype(FIRST, "a valley?", "a valley.")),
    ("begins_with_a_question", "a second heading", retype(FIRST, SECOND_QUESTION, "# Really?")),
    ("recall_questions", "two recall", retype(FIRST, "**2.** Why is it zero?", "")),
    ("recall_questions", "three recall", retype(FIRST, "*Answers.* **1.** It. **2.** So. **3.** Far.\n", "")),
    ("one_set_up_cell", "cell 4: imports", code("import math")),
    ("one_set_up_cell", "cell 2: the first", retype(FIRST, SET_UP, "start = 1\n")),
    ("equations_are_built", "no numbered", retype(FIRST, "$$ (eq-first-slope)", "$$")),
    ("equations_are_built", "no line of code", retype(FIRST, "  # eq. (1)", "")),
    ("equations_are_built", "equation (2)", retype(FIRST, "# eq. (1)", "# eq. (2)")),
    ("equations_are_evaluated", "(1)", retype(FIRST, "  # eq. (1)", "")),
    ("equations_are_evaluated", "eq. (2)", retype(FIRST, "A **saddle", "$$\na\n$$ (eq-more)\n\nA **saddle")),
    ("has_slider", "no show.slider", retype(FIRST, "show.slider(", "print(")),
    ("closes_as_a_page_does", "Where this stops", retype(FIRST, "## Where this stops", "## The end")),
    ("closes_as_a_page_does", "ends with", retype(FIRST, "## Exercises", "## Exercises\n\n## Where this stops")),
    ("citations_resolve", "'rolle1961'", retype(FIRST, "rolle1691", "rolle1961")),
    ("citations_resolve", "chapters/welcome.md", edit("chapters/welcome.md", "Read.", "{cite:t}`nobody1900`")),
    ("sources_are_used", "'idle2000'", edit("references.bib", "@book", "@book{idle2000,\n title = {Idle}\n}\n@book")),
    ("pictures_in_texts_are_described", "pass.svg", retype(FIRST, ":alt: A pass between two hills.", ":name: x")),
    ("pictures_in_texts_are_described", "welcome.md", edit("chapters/welcome.md", "Read.", "![](t/pass.svg)")),
    ("pictures_in_texts_are_described", "raw <img>", retype(FIRST, SECOND_QUESTION, '<img src="a.png" alt="a">')),
    ("contents_are_complete", "does not exist", edit("_toc.yml", "chapters/claims", "chapters/claim")),
    ("contents_are_complete", "t/exercises is missing", edit("_toc.yml", "- file: chapters/t/exercises\n", "")),
    ("contents_are_complete", "twice", edit("_toc.yml", "chapters/plan", "chapters/claims")),
    ("prerequisites_come_before", "no such page", retype(FIRST, "[slopes]", "[t/zeroth]")),
    ("prerequisites_come_before", "does not come before", retype(FIRST, "[slopes]", "[t/second]")),
    ("terms_are_in_the_glossary", "'pass'", retype(FIRST, "teaches: [saddle point]", "teaches: [pass]")),
    ("terms_are_in_the_glossary", "'saddle point'", edit("chapters/glossary.md", "鞍点", "")),
    ("few_words", "words", retype(FIRST, SECOND_QUESTION, f"{LONG}.\n\n" * 60)),
    ("few_minutes", "31 minutes", retype(FIRST, "minutes: 10", "minutes: 31")),
    (
        "few_equations_before_the_first_result", "4 numbered",
        retype(FIRST, "A **saddle", "".join(f"$$\na\n$$ (eq-{n})\n\n" for n in range(3)) + "A **saddle"),
    ),
    (
        "few_terms_before_the_first_result", "5 new terms",
        both(
            edit("chapters/glossary.md", "| **saddle point**", NEW_TERMS),
            retype(FIRST, "A **saddle", "**a** **b** **c** **d** **saddle"),
        ),
    ),
    ("short_sentences", "median", retype(FIRST, SECOND_QUESTION, f"{LONG}.\n\n" * 30)),
    ("short_cells", "16 lines", code("\n".join(["slope"] * 13))),
    ("no_shell", "cell 4", code("!pip install torch")),
    ("no_shell", "cell 4", code("%pip install torch")),
    ("code_is_python", "cell 4", code("slope =")),
    ("nothing_from_the_network", "urllib", code("urllib.request.urlopen(slope)")),
    ("nothing_from_the_network", "https://", code("data.start('https://example.org')")),
    ("nothing_of_this_machine_in_code", "time.time", code("time.time()")),
    ("nothing_of_this_machine_in_code", "__version__", code("torch.__version__")),
    ("shows_end_their_cells", "show.table(…) is not the last line", code("show.table({}, columns=[])\nlast = 1")),
    ("bodies_are_written_once", "double has the body of twice", code("def twice(y): return 2 * y")),
    ("no_global_seed_in_pages", "torch.manual_seed", code("torch.manual_seed(0)")),
    ("predictions_have_outcomes", "no show.predict", retype(FIRST, PREDICT, f"print({PREDICT[13:]}")),
    ("predictions_have_outcomes", "which nothing asks", retype(FIRST, PREDICT, f"print({PREDICT[13:]}")),
    ("predictions_have_outcomes", "asked in", retype(FIRST, '"first-pass"', '"second-pass"', 2)),
    ("predictions_have_outcomes", "one show.outcome", retype(FIRST, "It goes by", "### Between\n\nIt goes by")),
    ("predictions_have_outcomes", "after 10 cells", retype(FIRST, "It goes by", "a\n\n+++\n\n" * 7 + "It goes by")),
    ("predictions_have_outcomes", "within the fold", retype(FIRST, "It goes by", f"{TWICE}It goes by")),
    ("predictions_have_outcomes", "hide-output", retype(FIRST, "# NBVAL_CHECK_OUTPUT\ndata.walk", FOLDED)),
    ("nothing_gives_a_prediction_away", "what would reveal it", output("show.predict", {"text/html": "<p></p>"})),
    ("nothing_gives_a_prediction_away", "cell 1: 'steep fall'", retype(FIRST, "pass a valley?", "pass a steep fall?")),
    ("nothing_gives_a_prediction_away", "'steep fall'", retype(FIRST, "## Another look", "## A steep fall")),
    ("nothing_gives_a_prediction_away", "cell 3: 'steep fall'", retype(FIRST, "There the", "A steep fall: the")),
    ("nothing_gives_a_prediction_away", "'steep fall'", retype(FIRST, SLOPE, ALT)),
    ("nothing_gives_a_prediction_away", "'steep fall'", retype(FIRST, SLOPE, CAPTION)),
    ("nothing_gives_a_prediction_away", "'1234.5'", output("data.start", {"text/html": "<td>1234.5</td>"})),
    ("nothing_gives_a_prediction_away", "'1234.5'", output("show.slider", {"text/html": '<img alt="1234.5 m">'})),
    ("nothing_gives_a_prediction_away", "'1234.5'", retype(FIRST, "One pass is measured.", "It fell by 1234.5.")),
    ("nothing_gives_a_prediction_away", "'1234.5'", retype(FIRST, "data.walk(slope)", "data.walk(slope)  # 1234.5")),
    (
        "no_errors", "ValueError",
        stored(FIRST, lambda nb: nb.cells[3].update(outputs=[nbformat.v4.new_output("error", ename="ValueError")])),
    ),
    ("no_errors", "stderr", output("data.start", name="stderr", text="UserWarning: no")),
    ("nothing_of_this_machine_in_outputs", "path", output("data.start", name="stdout", text="/home/me/data")),
    ("nothing_of_this_machine_in_outputs", "path", output("data.start", {"text/html": '<a href="C:\\data\\x">x</a>'})),
    ("nothing_of_this_machine_in_outputs", "path", output("data.start", {"text/plain": "<A object at 0x7f0011aa22>"})),
    ("nothing_of_this_machine_in_outputs", "version", output("data.start", {"text/plain": "torch 2.13.0+cpu"})),
    ("nothing_of_this_machine_in_outputs", "time", output("data.start", {"text/plain": "took 3.5 s"})),
    ("three_checked_outputs", "2 cells", retype(FIRST, "# NBVAL_CHECK_OUTPUT\nslope", "slope")),
    ("three_checked_outputs", "no text output", output("data.start", {"image/png": "AAAA"})),
    ("numbers_in_prose_are_measured", "0.51", retype(FIRST, "0.50", "0.51")),
    ("numbers_in_prose_are_measured", "1234.6", retype(FIRST, "1,234.5", "1,234.6")),
    ("numbers_in_prose_are_measured", "shows 1234.5", retype(FIRST, "$-1,234.5$", "1,234.5")),
    ("numbers_in_prose_are_measured", "shows -1234.5", output("data.walk", {"text/html": "<p>1234.5, 7.5</p>"})),
    ("numbers_in_prose_are_measured", "shows 47", retype(FIRST, "One pass is measured", "47 passes are measured")),
    ("numbers_in_prose_are_measured", "section 'Another look'", retype(FIRST, SECOND_QUESTION, "It was 0.50.")),
    ("numbers_in_prose_are_measured", "shows 0.77", retype(FIRST, 'alt="A line"', 'alt=f"A line to 0.77 of {1:.2f}"')),
    ("numbers_in_prose_are_measured", "shows 88", retype(FIRST, "between two hills", "88 m high")),
    ("numbers_in_prose_are_measured", "shows 0.3", retype(FIRST, '"The slope leads down."', '"It leads down by 0.3."')),
    ("numbers_in_prose_are_measured", "1.50 ± 1.28", retype(FIRST, AFTER, f"So 1.50 ± 1.28.\n\n{AFTER}")),
    ("numbers_in_prose_are_measured", "7.5", output("data.walk", {"text/html": "<p>−1234.5</p>"})),
    ("what_no_run_proves_was_reviewed", "glossary.md", edit("chapters/glossary.md", "鞍点", "鞍部")),
    ("what_no_run_proves_was_reviewed", "first.md#equations", retype(FIRST, "s = 2 a.", "s = 3 a.")),
    ("what_no_run_proves_was_reviewed", "first.md#quotations", retype(FIRST, SECOND_QUESTION, 'It is "a pass".')),
    ("what_no_run_proves_was_reviewed", "first.md#tables", retype(FIRST, SECOND_QUESTION, "| a |\n|---|\n| b |")),
    ("what_no_run_proves_was_reviewed", "is gone", remove("chapters/glossary.md")),
    ("no_widgets", "view", output("show.slider", {"application/vnd.jupyter.widget-view+json": {}})),
    ("no_widgets", "state", stored(FIRST, lambda nb: nb.metadata.update(widgets={}))),
    ("pictures_in_outputs_are_described", "image/png", output("show.slider", {"image/png": "AAAA"})),
    ("pictures_in_outputs_are_described", "alt", output("show.slider", {"text/html": '<img alt="" src="a.png">'})),
    ("verdicts_are_computed", "the rule says", claim(delta=2)),
    ("verdicts_are_computed", "the rule says 'undecided'", claim(conditions=[CONDITION])),
    ("verdicts_are_computed", "not of 95 %", claim(conditions=[CONDITION | {"low": "1.2", "confidence": "90"}])),
    ("verdicts_are_computed", "its conditions say", claim(verdict="fails")),
    ("verdicts_in_prose_are_stored", "'fails' is no stored", retype(FIRST, AFTER, f"Here that fails.\n\n{AFTER}")),
    (
        "verdicts_in_prose_are_stored", "'is undecided' is not the",
        both(
            retype(FIRST, AFTER, f"The claim is undecided.\n\n{AFTER}"),
            claim(conditions=[CONDITION, CONDITION | {"verdict": "undecided"}]),
        ),
    ),
    ("claims_are_registered", "is not in chapters/t/claims.yml", claim(name="other")),
    ("claims_are_registered", "under another entry", claim(scope="all passes")),
    ("claims_are_registered", "under another entry", edit(REGISTRY, "place: chapter 1", "place: chapter 2")),
    ("claims_are_registered", "the unit of 'first-leads-down' was changed", edit(REGISTRY, "unit: m", "unit: km")),
    ("claims_are_registered", "history must first hold", edit(REGISTRY, "delta: 1", "delta: 0.5")),
    ("claims_are_registered", "may only be added to", claim(history=[{"hash": "", "verdict": "fails", "reason": "r"}])),
    ("claims_are_registered", "shown 2 times", claim(name="second-leads-down")),
    ("claims_are_registered", "'lying-down' is shown 0 times", edit(REGISTRY, "second-leads-down", "lying-down")),
    ("claims_are_registered", "no recipe 't/lost'", edit(REGISTRY, "count: 16", "count: 16\n  tables: [t/lost]")),
    ("claims_are_registered", "rule must be", edit(REGISTRY, "rule: above", "rule: beyond")),
    ("tables_are_whole", "chapters/t/tables/flat_edge.json", table("0.", "1.")),
    ("tables_are_whole", "chapters/t/tables/flat_edge.json", table("{", "")),
    ("claims_are_sourced", "'nobody1900'", claim(source="nobody1900")),
    ("claims_are_sourced", "without", retype(FIRST, "# NBVAL_CHECK_OUTPUT\nshow.claim", "show.claim")),
    ("ledger_is_derived", "claims.md", claim(statement="A pass leads up.")),
    ("ledger_is_derived", "claims.md", edit("chapters/claims.md", "✓ holds", "✗ fails")),
    ("plan_is_derived", "plan.md", edit("chapters/plan.md", "| 10 |", "| 11 |")),
    ("plan_is_derived", "map.svg", remove("chapters/map.svg")),
    ("benchmarks_are_derived", "benchmarks.md", results()),
    ("exercises_are_derived", "exercises.ipynb", edit("chapters/t/exercises.ipynb", "times 2", "times 3")),
    ("exercises_are_derived", "no partner", edit(SOLUTIONS, "    ### END SOLUTION\n", "")),
    ("exercises_are_derived", "no solutions.md", remove(SOLUTIONS)),
    ("every_chapter_has_exercises", "2 exercises", retype(SOLUTIONS, "## Exercise t-3 ·", "## Extra ·")),
    ("exercises_are_whole", "t-2", retype(SOLUTIONS, "## Exercise t-2 ·", "## Exercise t-4 ·")),
    ("exercises_are_whole", "Hint", retype(SOLUTIONS, ":::{dropdown} Hint", ":::{dropdown} Aid")),
    ("exercises_are_whole", "one function", retype(SOLUTIONS, "def keep(x):", "def more(x):\n    ...\ndef keep(x):")),
    ("exercises_are_whole", "marks", retype(SOLUTIONS, ONE, "    ...")),
    ("exercises_are_whole", "checked cell", retype(SOLUTIONS, "checks.t.keep(keep)", "checks.t.double(keep)")),
    ("as_many_checks_as_exercises", "t.kept", retype(SOLUTIONS, "checks.t.keep(keep)", "checks.t.kept(keep)")),
    ("as_many_checks_as_exercises", "two exercises", retype(SOLUTIONS, "checks.t.keep(keep)", "checks.t.double(keep)")),
    (
        "as_many_checks_as_exercises", "no exercise uses",
        lambda book: replace(book, checks=dict(book.checks) | {"t.more": book.checks["t.keep"]}),
    ),
    ("checks_refuse_wrong_answers", "'right' reads", wrong(lambda known: known | {"right": lambda x: 3})),
    ("checks_refuse_wrong_answers", "of its own", wrong(lambda known: known | {"again": lambda x: 0})),
    ("checks_refuse_wrong_answers", "2 stored", wrong(lambda known: dict(list(known.items())[:2]))),
    ("checks_accept_the_solution", "t-1", retype(SOLUTIONS, "return 1 * x", "return 1 + x")),
    ("stubs_read_not_attempted", "t-1", retype(SOLUTIONS, "### END SOLUTION", "### END SOLUTION\n    return 7")),
    ("stubs_read_not_attempted", "raised", retype(SOLUTIONS, "### END SOLUTION", "### END SOLUTION\n    return no")),
    ("modules_are_short", "t.py", module("\n" * 400)),
    ("functions_are_short", "long", module("def long():\n" + "    pass\n" * 41)),
    ("modules_say_what_they_offer", "no __all__", edit("labsupport/t.py", "__all__ = []", "")),
    ("modules_say_what_they_offer", "'gone'", edit("labsupport/t.py", "__all__ = []", '__all__ = ["gone"]')),
    ("private_names_stay_at_home", "labsupport.data._start", module("from labsupport.data import _start")),
    ("private_names_stay_at_home", "labsupport.data._x", module("from labsupport import data\nprint(data._x)")),
    ("no_utils_no_stars", "utils.py", add("labsupport/utils.py", "__all__ = []\n")),
    ("no_utils_no_stars", "star import", module("from labsupport.data import *")),
    ("no_global_seed_no_cuda", "manual_seed", module("torch.manual_seed(0)")),
    ("no_global_seed_no_cuda", "cuda", module("data.start().cuda()")),
    ("names_are_in_the_wheel", "labsupport.data.gone", code("data.gone()")),
    ("names_are_in_the_wheel", "labsupport.gone", retype(FIRST, SET_UP, "from labsupport import data, gone, show\n")),
]  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_the_sound_book_keeps_every_rule(sound, name):
    assert RULES[name](sound) == []


@pytest.mark.parametrize(("name", "says", "apply"), BREAKS, ids=[f"{name}-{says}" for name, says, _ in BREAKS])
def test_a_broken_rule_is_seen(book, name, says, apply):
    broken = apply(book) or book
    found = RULES[name](broken)
    assert any(says in message for message in found), found
    assert all(message.startswith(("chapters/", "labsupport", "_toc.yml", "references.bib")) for message in found), (
        found
    )


def test_a_test_in_any_folder_may_name_an_equation(book):
    retype(FIRST, "  # eq. (1)", "")(book)
    assert RULES["equations_are_evaluated"](book)
    folder = book.root / "tests/t"
    folder.mkdir(parents=True)
    (folder / "test_slopes.py").write_text("# eq-first-slope, against a closed form\n", encoding="utf-8")
    assert RULES["equations_are_evaluated"](book) == []


def test_every_rule_is_broken_and_documented():
    assert {name for name, _, _ in BREAKS} == set(RULES)
    assert all(rule.__doc__ for rule in RULES.values())


def test_prose_is_counted_without_code_links_and_options():
    text = (
        "# Title\n\nIt is $0.5$, see [two](a0.7.md).\n\n"
        "It was 0.9 {cite:p}`x0.9`.\n\n:::{figure} a1.5.png\n:width: 0.3\nBy 2.5.\n:::"
    )
    assert [written for written, _ in said(text)] == ["0.5", "2.5"]
    assert [written for written, _ in said("−1,234.5 and +.25 %, but not 1.2.3 or 9")] == ["−1234.5", ".25"]
    assert [written for written, _ in said("A 64-32-10 net, 8 × 8, $10^{-12}$, −3; 44 {cite:p}`a`.")] == ["−3"]
    assert shown("−1,234.5 at x-3, 64-50, 1.2e-05") >= {Decimal("-1234.5"), Decimal("1.2e-05"), Decimal(3), Decimal(64)}
    assert shown("64-50") == {Decimal(64)}
    assert words("one `two three` $a b$\n\n```python\nfour\n```\n$$\nx\n$$ (l)\n") == ["one", "x", "x"]
    assert [len(sentence) for sentence in sentences("One two. Is it, e.g. three?\n\n- four five")] == [2, 4, 2]


def test_the_derived_files_read_as_meant(sound):
    ledger = (sound.root / "chapters/claims.md").read_text(encoding="utf-8")
    assert ledger.startswith("<!--")
    assert (
        ":::{dropdown} ✓ holds · “A pass leads down.”\n:class-container: claim-card verdict-holds chapter-t\n" in ledger
    )
    assert (
        "In the words of {cite:t}`rolle1691`, chapter 1. Tested in [Is a first pass a valley?](t/first.ipynb)."
        in ledger
    )
    assert r"- ✓ 1.50 ± 0.13 m \(95 %: 1.22 to 1.78\)" in ledger
    assert "| ✗ ? | fails | fails |" in ledger and "| ✓ ✗ ? | conditional | fails |" in ledger
    plan = (sound.root / "chapters/plan.md").read_text(encoding="utf-8")
    assert plan.startswith("<!--")
    assert (
        "| [Is a second pass a valley?](t/second.ipynb) | 10 | [Is a first pass a valley?](t/first.ipynb); slopes |"
        in plan
    )
    assert "| **2 pages** | **20** |" in plan
    stubs = json.loads((sound.root / "chapters/t/exercises.ipynb").read_text(encoding="utf-8"))
    sources = ["".join(cell["source"]) for cell in stubs["cells"]]
    assert sources[0] == "# Passes: exercises"
    assert "def keep(x):\n    ..." in sources
    assert "checks.t.keep(keep)" in sources
    assert not any(cell.get("outputs") for cell in stubs["cells"])
    assert Path(sound.root / "chapters/map.svg").read_text(encoding="utf-8").count("<path") == 1
