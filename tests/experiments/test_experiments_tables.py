"""labsupport/experiments/tables.py: made once, taken up after an interruption, refused when changed, checked again."""

import functools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from rules.model import build_wheel

from labsupport import population
from labsupport.experiments import agreement, recipes, tables, workers

ROOT = Path(__file__).resolve().parents[2]

RECIPE = """
from pathlib import Path

CASES = [{"depth": depth, "seed": seed} for depth in (2, 3) for seed in (0, 1)]


def run(case):
    with Path(__file__).with_suffix(".calls").open("a") as calls:
        calls.write("x")
    if Path(__file__).with_suffix(".stop").exists() and case == CASES[2]:
        raise KeyboardInterrupt
    return {"steps": 10 * case["depth"] + case["seed"], "curve": [0.1, 1 / 3], "note": None}
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "chapters" / "landscape" / "tables" / "steps.py"
    path.parent.mkdir(parents=True)
    path.write_text(RECIPE, encoding="utf-8")
    return path


def _calls(recipe):
    return len(recipe.with_suffix(".calls").read_text())


def test_rows_come_in_the_order_of_the_cases(recipe):
    rows = tables.load(tables.make(recipe, progress=False))
    assert [(row["depth"], row["seed"]) for row in rows] == [(2, 0), (2, 1), (3, 0), (3, 1)]
    assert [row["steps"] for row in rows] == [20, 21, 30, 31]
    assert rows[0]["curve"] == [0.1, 1 / 3]
    assert sorted(p.suffix for p in recipe.parent.iterdir() if p.is_file()) == [".calls", ".json", ".py"]


def test_a_finished_table_is_not_made_again(recipe):
    first = tables.make(recipe, progress=False).read_bytes()
    assert tables.make(recipe, progress=False).read_bytes() == first
    assert _calls(recipe) == 4


def test_an_interrupted_run_is_taken_up(recipe):
    recipe.with_suffix(".stop").touch()
    with pytest.raises(KeyboardInterrupt):
        tables.make(recipe, progress=False)
    assert not recipe.with_suffix(".json").exists()
    partial = recipe.with_suffix(".partial.jsonl")
    partial.write_text(partial.read_text(encoding="utf-8") + '{"case": {"dep', encoding="utf-8")  # torn by a crash
    recipe.with_suffix(".stop").unlink()
    interrupted = tables.make(recipe, progress=False).read_bytes()
    assert _calls(recipe) == 3 + 2
    recipe.with_suffix(".json").unlink()
    assert tables.make(recipe, progress=False).read_bytes() == interrupted


def test_a_changed_recipe_starts_afresh(recipe):
    recipe.with_suffix(".stop").touch()
    with pytest.raises(KeyboardInterrupt):
        tables.make(recipe, progress=False)
    recipe.with_suffix(".stop").unlink()
    recipe.write_text(RECIPE.replace("10 *", "100 *"), encoding="utf-8")
    assert [row["steps"] for row in tables.load(tables.make(recipe, progress=False))] == [200, 201, 300, 301]
    recipe.write_text("CASES = [", encoding="utf-8")
    table = recipe.with_suffix(".json")
    with pytest.raises(ValueError, match=r"load: .*steps\.py was changed since"):
        tables.load(table)
    recipe.write_text(RECIPE, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"(?s)load: .*steps\.py was changed since; make it .* NAME=landscape/steps CHECK=1"
    ):
        tables.load(table)
    assert tables.load(tables.make(recipe, progress=False))[0]["steps"] == 20


def test_a_table_travels_without_its_recipe(recipe, tmp_path):
    table = tables.make(recipe, progress=False)
    alone = tmp_path / "steps.json"
    alone.write_bytes(table.read_bytes())
    assert tables.load(alone) == tables.load(table)


def test_windows_line_ends_do_not_break_a_checksum(recipe):
    table = tables.make(recipe, progress=False)
    for path in (table, recipe):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(tables.load(table)) == 4


def test_a_row_changed_by_hand_is_refused(recipe):
    table = tables.make(recipe, progress=False)
    table.write_text(table.read_text(encoding="utf-8").replace('"steps": 20', '"steps": 19'), encoding="utf-8")
    with pytest.raises(ValueError, match="load: table must match its checksum"):
        tables.load(table)
    assert tables.load(tables.make(recipe, progress=False))[0]["steps"] == 20


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("CASES = [", "OTHERS = [", "must define CASES and run"),
        ('"seed": seed}', '"seed": [seed]}', "CASES must be flat dicts of JSON scalars"),
        ('"seed": seed}', '"seed": 0}', "none twice, got 4"),
        ('"note": None', '"note": float("nan")', "run must return a dict of finite JSON scalars"),
        ('"note": None', '"note": case', "run must return a dict of finite JSON scalars"),
        ('"note": None', '"seed": 7', r"run must not return the case's own names, got \['seed'\]"),
    ],
)
def test_bad_recipes_are_refused(recipe, old, new, message):
    assert old in RECIPE
    recipe.write_text(RECIPE.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        tables.make(recipe, progress=False)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"make: recipe must be a Python file, got .*nothing\.py"):
        tables.make(tmp_path / "nothing.py")
    with pytest.raises(ValueError, match=r"load: table must be a file made by tables\.make, got .*nothing\.json"):
        tables.load(tmp_path / "nothing.json")
    (tmp_path / "other.json").write_text(json.dumps([1]), encoding="utf-8")
    with pytest.raises(ValueError, match="must be JSON with rows and checksums"):
        tables.load(tmp_path / "other.json")


@pytest.fixture
def course(recipe, monkeypatch):
    """A course with one recipe, from whose folder nobody starts."""
    monkeypatch.setattr(recipes, "chapters", lambda: recipe.parents[2])
    return recipe


def test_the_command_makes_a_table_by_name(course, capsys):
    assert tables.main(["landscape/stops"]) == 1
    message = "make: name must be a recipe of the course, such as landscape/steps; got 'landscape/stops'"
    assert message in capsys.readouterr().err
    course.with_suffix(".stop").touch()
    assert tables.main(["landscape/steps"]) == 1
    assert "stopped; the finished cases are kept" in capsys.readouterr().err
    course.with_suffix(".stop").unlink()
    assert tables.main(["landscape/steps"]) == 0
    assert "steps.json: 4 rows\n" in capsys.readouterr().out
    assert tables.main(["landscape/steps", "--check"]) == 0
    assert "steps.json: 4 rows, some run again and found the same" in capsys.readouterr().out
    assert _calls(course) == 3 + 2 + 2
    assert tables.main(["landscape/steps", "--jobs", "0"]) == 1
    assert "table: JOBS must be >= 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.py", "CASES = [", r"make: recipe must be Python, got .*r\.py: line 1"),
        ("r.py", "CASES = None\ndef run(case): return {}", "make: recipe must define CASES and run, .* without CASES"),
        ("r.py", "CASES = [{'a': 1}]\nrun = 3", "make: recipe must define CASES and run, .* without run"),
        ("r.json", RECIPE, r"make: recipe must be a Python file, got .*r\.json"),
    ],
)
def test_other_recipes_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        tables.make(tmp_path / name, progress=False)
    assert (tmp_path / name).read_text(encoding="utf-8") == text


def test_no_compiled_file_stands_in_for_a_changed_recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    recipe = tmp_path / "r.py"
    for value in (1, 2):  # of one length, within a second
        recipe.write_text(f"CASES = [{{'a': 1}}]\ndef run(case): return {{'b': {value}}}\n", encoding="utf-8")
        assert tables.load(tables.make(recipe, progress=False)) == [{"a": 1, "b": value}]


@pytest.mark.parametrize(
    "torn",
    [
        b"\xff\xfe",
        '{"case": {"a": "ä'.encode()[:-1],
        b"1",
        b'{"case": {"depth": 3}}\n',
        b"\0" * 9,
    ],
)
def test_whatever_a_crash_left_at_the_end_is_dropped(recipe, torn):
    recipe.write_text(RECIPE.replace("None", '"line\\u2028break\\x85"'), encoding="utf-8")
    recipe.with_suffix(".stop").touch()
    with pytest.raises(KeyboardInterrupt):
        tables.make(recipe, progress=False)
    recipe.with_suffix(".stop").unlink()
    partial = recipe.with_suffix(".partial.jsonl")
    partial.write_bytes(partial.read_bytes() + torn)
    assert tables.load(tables.make(recipe, progress=False))[3]["note"] == "line\u2028break\x85"
    assert _calls(recipe) == 3 + 2


def test_what_looks_its_module_up_by_name_finds_the_recipe(recipe):
    recipe.write_text(RECIPE.replace("return {", "return {'found': __import__('sys').modules[__name__].run is run, "))
    assert all(row["found"] for row in tables.load(tables.make(recipe, progress=False)))


# -- names


def test_a_name_is_found_wherever_python_was_started(course, monkeypatch, tmp_path):
    tables.make("landscape/steps", progress=False)
    elsewhere = tmp_path / "elsewhere" / "chapters" / "landscape" / "tables"
    elsewhere.mkdir(parents=True)
    (elsewhere / "steps.json").write_text("[]", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [row["steps"] for row in tables.load("landscape/steps")] == [20, 21, 30, 31]
    assert recipes.names() == recipes.names(".json") == ["landscape/steps"]
    for name in ("landscape/../landscape/steps", "steps", "a/b", ""):
        with pytest.raises(
            ValueError, match=r"load: name must be a table of the course, such as landscape/steps; got '"
        ):
            tables.load(name)


def test_close_names_are_listed():
    with pytest.raises(
        ValueError, match=r"load: name must be .*such as schedules/first_rate, .*; got 'schedules/frist_rat'"
    ):
        tables.load("schedules/frist_rat")


def test_a_recipe_is_imported_once(course, monkeypatch):
    module = tables.recipe("landscape/steps")
    assert tables.recipe(course) is tables.recipe(str(course)) is module
    monkeypatch.chdir(course.parent)
    assert tables.recipe("steps.py") is module
    assert module.run(module.CASES[0])["steps"] == 20
    course.write_text(RECIPE.replace("10 *", "100 *"), encoding="utf-8")
    assert tables.recipe("landscape/steps").run(module.CASES[0])["steps"] == 200


def test_recipes_of_one_name_in_two_topics_are_two(course):
    other = course.parents[2] / "pruning" / "tables" / "steps.py"
    other.parent.mkdir(parents=True)
    other.write_text(RECIPE.replace("10 *", "100 *"), encoding="utf-8")
    first, second = tables.recipe("landscape/steps"), tables.recipe("pruning/steps")
    assert sys.modules[first.__name__] is first
    assert sys.modules[second.__name__] is second


def test_every_table_of_the_course_is_current():
    found = recipes.names(".json")
    assert found == recipes.names()
    assert len(found) >= 28
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(tables.load(name) for name in found)


INSTALLED = """
import sys
sys.path.insert(0, sys.argv[1])
import labsupport
from labsupport.experiments import recipes, tables
print(labsupport.__file__, len(recipes.names()), len(recipes.names(".json")))
print(len(tables.load("schedules/first_rate")), tables.recipe("schedules/first_rate").__file__)
"""


def test_an_installed_package_brings_its_tables(tmp_path):
    home = build_wheel(ROOT, tmp_path / "wheel")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", INSTALLED, str(home)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    package, tables_and_recipes = str(home / "labsupport"), str(len(recipes.names()))
    words = done.stdout.split()
    assert words[0].startswith(package)
    assert words[1:4] == [tables_and_recipes, tables_and_recipes, "2"]
    assert words[4] == f"{package}/chapters/schedules/tables/first_rate.py"


# -- checksums


DRESSED = '''
"""Words."""
from   pathlib import Path


class Kept(dict):
    """More words."""

def run(case):
    """And more."""  # a comment
    return {"a": (1),
            "b": f"{case['x']!r:>{9}} 'q'"}
'''


def test_a_checksum_is_of_what_is_done_not_of_how_it_looks():
    plain = "from pathlib import Path\nclass Kept(dict): pass\n"
    plain += "def run(case): return {'a': 1, 'b': f\"{case['x']!r:>{9}} 'q'\"}"
    assert recipes.checksum(DRESSED) == recipes.checksum(plain)
    assert recipes.checksum(DRESSED) != recipes.checksum(DRESSED.replace("(1)", "(2)"))
    assert recipes.checksum(DRESSED) != recipes.checksum(DRESSED.replace("'q'", "'r'"))
    assert recipes.checksum("def run(case):\n    x = 'no docstring'") != recipes.checksum("def run(case):\n    pass")


def test_comments_and_docstrings_may_change(recipe):
    table = tables.make(recipe, progress=False)
    text = RECIPE.replace("def run(case):\n", 'def run(case):\n    """Words."""  # more\n\n')
    recipe.write_text(f'"""What it is."""\n{text}', encoding="utf-8")
    assert len(tables.load(table)) == 4
    assert tables.make(recipe, progress=False) == table
    assert _calls(recipe) == 4


ROOMY = """
import labsupport.schedules as timing
from labsupport import data, models, population as crowd
from labsupport.data import Split
from labsupport.initialization import rules

CASES = [{"a": 1}, {"a": 2}, {"a": 3}]
TOLERANCE = {"error": 0.25}


def run(case):
    from labsupport.landscape.sharpness import largest as top
    crowd.train(top, models.mlp, Split, data.digits, rules.he_normal_).valid_loss[:, -1]
    return timing.cosine(0.1, decay_steps=data.nothing), crowd.Plan(1, 2).num_epochs, rules.RULES
"""


def test_the_rooms_are_the_functions_and_classes_that_are_named():
    found = recipes.rooms(ROOMY)
    assert list(found) == [
        "data.Split", "data.digits", "initialization.rules.he_normal_", "landscape.sharpness.largest", "models.mlp",
        "population.Plan", "population.train", "schedules.cosine",
    ]  # fmt: skip
    assert {len(short) for short in found.values()} == {12}
    assert recipes.changed_rooms(found) == []
    assert recipes.changed_rooms({**found, "population.train": "0" * 12, "models.gone": "1" * 12}) == [
        "population.train",
        "models.gone",
    ]


TRAINS = """
from labsupport import population

CASES = [{"a": 1}, {"a": 2}, {"a": 3}]
TOLERANCE = {"error": 0.25}


def run(case):
    return {"error": population.train(case["a"]), "word": "ä", "curve": [[1, 2.0, None], [3, 4.0, None]]}
"""


def trains(a):
    """Another docstring."""
    return 10.0 * a


def trains_nearly(a):
    return 10.0 * a + 0.2


def trains_otherwise(a):
    return 10.0 * a + (a == 3)


for stand_in in (trains, trains_nearly, trains_otherwise):
    stand_in.__module__ = "labsupport.population"  # what is not labsupport's is no room


@pytest.fixture
def trained(recipe, monkeypatch):
    monkeypatch.setattr(population, "train", trains)
    recipe.write_text(TRAINS, encoding="utf-8")
    return recipe, tables.make(recipe, progress=False)


def test_a_changed_room_is_named_until_two_cases_were_run_again(trained, monkeypatch):
    recipe, table = trained
    rows = tables.load(table)
    monkeypatch.setattr(population, "train", trains_nearly)
    message = (
        r"landscape/steps was made with another population\.train; `make table NAME=landscape/steps CHECK=1` re-runs"
    )
    with pytest.warns(RuntimeWarning, match=message):
        assert tables.load(table) == rows
    assert tables.check(recipe, progress=False) == table
    assert tables.load(table) == rows
    monkeypatch.setattr(population, "train", trains_otherwise)
    before = table.read_bytes()
    with pytest.raises(ValueError, match=r"check: error must agree within 0\.25 .* \{'a': 3\}, 30\.0, got 31\.0"):
        tables.check(recipe, progress=False)
    assert table.read_bytes() == before
    monkeypatch.delattr(population, "train")
    with pytest.warns(RuntimeWarning, match=r"another population\.train;"):
        tables.load(table)


def test_a_recipe_that_was_written_anew_is_checked_and_stamped(trained):
    recipe, table = trained
    before = table.read_text(encoding="utf-8")
    recipe.write_text(TRAINS.replace("[3, 4.0, None]", "[6 / 2, 4.0, None]"), encoding="utf-8")
    with pytest.raises(ValueError, match="was changed since"):
        tables.load(table)
    tables.check(recipe, progress=False)
    after = table.read_text(encoding="utf-8")
    assert len(tables.load(table)) == 3
    changed = [old for old, new in zip(before.split("\n"), after.split("\n")) if old != new]
    assert [line.split(":")[0] for line in changed] == [' "recipe_sha256"']


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[3, 4.0, None]", "[3, 4.5, None]", r"curve must agree within 0 .*4 numbers of mean 2\.5, got .* 2\.625"),
        ("[3, 4.0, None]", "[4, 3.0, None]", r"curve must agree within 0 "),
        ("[3, 4.0, None]", "[3, 4.0, 5.0]", "curve must agree within 0 "),
        ('"ä"', '"b"', r"word must agree within 0 .*'ä', got 'b'"),
        ('"word": "ä", ', "", r"run must return the stored columns \['curve', 'error', 'word'\]"),
        ('{"error": 0.25}', '{"errors": 0.25}', "TOLERANCE must name columns, curve, error, word, got 'errors'"),
        ('{"error": 0.25}', '{"error": -1}', r"TOLERANCE\['error'\] must be a finite number >= 0, got -1"),
        ('{"error": 0.25}', "True", "TOLERANCE must be a finite number >= 0, got True"),
        ('{"a": 2}', '{"a": 5}', r"CASES must be those of the table.*delete steps\.json"),
        (', {"a": 3}]', "]", "CASES must be those of the table"),
        ('{"a": 1}', '{"a": True}', "CASES must be those of the table"),
        (
            "return {",
            "1 / 0; return {",
            r"(?s)check: 2 cases failed; the table is as it was.*\{'a': 1\}: ZeroDivisionError",
        ),
    ],
)
def test_another_result_is_refused_by_name(trained, old, new, message):
    recipe, table = trained
    before = table.read_bytes()
    assert old in TRAINS
    recipe.write_text(TRAINS.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        tables.check(recipe, progress=False)
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    ("curve", "agrees"),
    [
        ("[[1, 2.0, None], [3, 4.2, None]]", True),
        ("[[4, 3.0, None], [2, 1.0, None]]", True),
        ("[[1, 2.0, None], [3, 6.0, None]]", False),
        ("[[1, 2.0, None, 3, 4.0, None]]", False),
        ("[[1, 2.0, 2.5], [3, 4.0, None]]", False),
        ("[[1, 2.0, True], [3, 4.0, None]]", False),
    ],
)
def test_lists_agree_in_shape_and_mean(trained, curve, agrees):
    recipe, _ = trained
    text = TRAINS.replace("[[1, 2.0, None], [3, 4.0, None]]", curve).replace('{"error": 0.25}', "0.125")
    recipe.write_text(text, encoding="utf-8")
    if agrees:
        tables.check(recipe, progress=False)
    else:
        with pytest.raises(ValueError, match=r"check: curve must agree within 0\.125"):
            tables.check(recipe, progress=False)


def test_a_recipe_names_the_cases_of_its_check(trained, monkeypatch):
    recipe, table = trained
    recipe.write_text(TRAINS + '\nCHECKED = [{"a": 2}]\n', encoding="utf-8")
    monkeypatch.setattr(population, "train", trains_otherwise)  # another number for the last case alone
    assert tables.check(recipe, progress=False) == table
    before = table.read_bytes()
    recipe.write_text(TRAINS + '\nCHECKED = [{"a": 2}, CASES[2]]\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"check: error must agree within 0\.25 .* \{'a': 3\}, 30\.0, got 31\.0"):
        tables.check(recipe, progress=False)
    assert table.read_bytes() == before


@pytest.mark.parametrize("named", ["[]", "CASES[0]", "[{'a': 5}]", "[CASES[1], CASES[1]]", "[2]", "0"])
def test_a_check_takes_only_cases_of_the_recipe(trained, named):
    recipe, table = trained
    before = table.read_bytes()
    recipe.write_text(f"{TRAINS}\nCHECKED = {named}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="check: CHECKED must be a list of one or more of CASES, none twice, got "):
        tables.check(recipe, progress=False)
    assert table.read_bytes() == before


def test_true_is_no_number():
    agreement.compare({}, {"b": 1.0}, {"b": 1.25}, 0.5)
    with pytest.raises(ValueError, match=r"check: b must agree within 0\.5 with what is stored for \{\}, True, got 1"):
        agreement.compare({}, {"b": True}, {"b": 1}, 0.5)
    with pytest.raises(ValueError, match="check: b must agree"):
        agreement.compare({}, {"b": True}, {"b": 1}, 0)


def test_a_room_that_keeps_its_answers_is_seen_through(trained, monkeypatch):
    noted = recipes.rooms(TRAINS)
    monkeypatch.setattr(population, "train", functools.cache(trains))
    assert recipes.rooms(TRAINS) == noted


def test_one_case_is_enough_for_a_check(recipe):
    recipe.write_text("CASES = [{'a': 1}]\ndef run(case): return {'b': []}\nTOLERANCE = 1", encoding="utf-8")
    tables.make(recipe, progress=False)
    tables.check(recipe, progress=False)


def test_only_a_made_table_can_be_checked(recipe):
    with pytest.raises(ValueError, match=r"check: table must be a file made by tables\.make, got .*steps\.json"):
        tables.check(recipe)


def test_rows_of_older_functions_are_kept_and_told(trained, monkeypatch):
    """Labsupport changed between two halves of the work: nothing is thrown away, and nothing is hidden."""
    recipe, table = trained
    rows = tables.load(table)
    table.unlink()
    text = TRAINS.replace("CASES = [", "CASES = CASES = [")
    text = text.replace("def run(case):", "def run(case):\n    if case['a'] == STOP[0]: raise KeyboardInterrupt")
    recipe.write_text(text + "\nSTOP = [3]\n", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        tables.make(recipe, progress=False)
    tables.recipe(recipe).STOP[0] = None
    monkeypatch.setattr(population, "train", trains_nearly)
    tables.make(recipe, progress=False)
    with pytest.warns(RuntimeWarning, match=r"another population\.train;"):
        assert [row["error"] for row in tables.load(table)] == [rows[0]["error"], rows[1]["error"], 30.2]


# -- workers


FAILS = RECIPE.replace(
    "    return", "    if Path(__file__).with_suffix('.bad').exists(): 1 / (case['depth'] - 3)\n    return"
)


def spawned(jobs=2):
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=spawn, initializer=workers.start_worker)


@pytest.mark.parametrize("pool", [None, lambda: ThreadPoolExecutor(2), spawned], ids=["here", "threads", "processes"])
def test_a_failed_case_is_named_and_the_others_go_on(recipe, pool):
    alone = tables.make(recipe, progress=False).read_text(encoding="utf-8")
    recipe.with_suffix(".json").unlink()
    recipe.with_suffix(".calls").unlink()
    recipe.write_text(FAILS, encoding="utf-8")
    recipe.with_suffix(".bad").touch()
    executor = pool and pool()
    try:
        with pytest.raises(workers.CaseError) as refused:
            tables.make(recipe, executor=executor, progress=False)
        lines = str(refused.value).splitlines()
        assert lines[0] == "make: 2 cases failed; 2 of 4 cases are kept, and the same call tries the others"
        names = [f"  {{'depth': 3, 'seed': {seed}}}: ZeroDivisionError: division by zero" for seed in (0, 1)]
        assert sorted(lines[1:]) == names
        assert isinstance(refused.value.__cause__, ZeroDivisionError)
        assert not recipe.with_suffix(".json").exists()
        recipe.with_suffix(".bad").unlink()
        table = tables.make(recipe, executor=executor, progress=False)
        assert tables.check(recipe, executor=executor, progress=False) == table
    finally:
        executor and executor.shutdown()
    assert _calls(recipe) == 4 + 2 + 2
    assert table.read_text(encoding="utf-8").split('"rows"')[1] == alone.split('"rows"')[1]


def test_the_command_shows_where_a_case_failed(course, capsys):
    course.write_text(FAILS, encoding="utf-8")
    course.with_suffix(".bad").touch()
    assert tables.main(["landscape/steps"]) == 1
    complaints = capsys.readouterr().err
    assert f'File "{course}", line ' in complaints
    assert "make: 2 cases failed; 2 of 4 cases are kept" in complaints
    course.with_suffix(".bad").unlink()
    assert tables.main(["landscape/steps"]) == 0
    assert _calls(course) == 4 + 2


def test_a_killed_worker_is_told_and_what_was_done_is_kept(recipe):
    recipe.write_text(
        FAILS.replace("1 / (case['depth'] - 3)", "case['depth'] == 3 and __import__('os')._exit(1)"), encoding="utf-8"
    )
    recipe.with_suffix(".bad").touch()
    with (
        spawned(1) as executor,
        pytest.raises(workers.CaseError, match=r"(?s)2 of 4 .*a worker was killed .*'depth': 3"),
    ):
        tables.make(recipe, executor=executor, progress=False)
    recipe.with_suffix(".bad").unlink()
    assert len(tables.load(tables.make(recipe, progress=False))) == 4


class Broken(ThreadPoolExecutor):
    """It breaks when it is handed the third case."""

    def submit(self, function, *arguments):
        if arguments[-1] == {"depth": 3, "seed": 0}:
            raise BrokenProcessPool("gone")
        return super().submit(function, *arguments)


def test_an_executor_that_breaks_early_is_told(recipe):
    with Broken(1) as executor, pytest.raises(workers.CaseError, match=r"1 cases failed; 3 of 4 .*\n.*killed"):
        tables.make(recipe, executor=executor, progress=False)


class Finished(ThreadPoolExecutor):
    """Everything is finished when it is handed over, and then somebody presses Ctrl-C."""

    def submit(self, function, *arguments):
        future = Future()
        if arguments[-1] == {"depth": 3, "seed": 1}:
            raise KeyboardInterrupt
        future.set_result(function(*arguments))
        return future


def test_what_was_finished_when_it_was_stopped_is_kept(recipe):
    with Finished(1) as executor, pytest.raises(KeyboardInterrupt):
        tables.make(recipe, executor=executor, progress=False)
    assert len(recipe.with_suffix(".partial.jsonl").read_text(encoding="utf-8").splitlines()) == 1 + 3
    tables.make(recipe, progress=False)
    assert _calls(recipe) == 4


def test_a_recipe_that_was_changed_meanwhile_is_refused(recipe):
    held = recipes.read(recipe)
    with pytest.raises(ValueError, match=r"recipe must stay as it is while it runs, got a changed .*steps"):
        workers.run_case(recipe, "0" * 64, held.module.CASES[0])
    recipe.write_text(RECIPE.replace("10 *", "100 *"), encoding="utf-8")
    assert workers.run_case(recipe, held.sha256, held.module.CASES[0])["steps"] == 20  # as it was when it began


SLOW = RECIPE.replace("    return", "    __import__('time').sleep(0.4 if case['depth'] == 2 else 600)\n    return")
RUN = """
import sys
from labsupport.experiments import tables
if __name__ == "__main__":
    sys.exit(tables.main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("how", "jobs"), [(signal.SIGKILL, "1"), (signal.SIGKILL, "2"), (signal.SIGINT, "2")])
def test_a_kill_loses_nothing_and_leaves_no_worker(recipe, tmp_path, jobs, how):
    recipe.write_text(SLOW, encoding="utf-8")
    (tmp_path / "run.py").write_text(RUN, encoding="utf-8")
    partial, command = recipe.with_suffix(".partial.jsonl"), [sys.executable, "run.py", str(recipe), "--jobs", jobs]
    child = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not partial.exists() or partial.read_bytes().count(b"\n") < 3 or _calls(recipe) < 2 + int(jobs):
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(child.pid, how)
        said = child.communicate(timeout=60)[1]
        assert child.returncode == (-how if how == signal.SIGKILL else 1)
        assert how == signal.SIGKILL or said.splitlines()[-1].startswith("table: stopped; the finished cases are kept")
        while _alive(child.pid):
            assert time.monotonic() < deadline, "a worker outlived its parent"
            time.sleep(0.05)
    finally:
        if _alive(child.pid):
            os.killpg(child.pid, signal.SIGKILL)
    recipe.write_text(SLOW.replace("600", "0"), encoding="utf-8")
    kept = partial.read_text(encoding="utf-8").replace(recipes.checksum(SLOW), recipes.read(recipe).sha256)
    partial.write_text(kept, encoding="utf-8")
    calls = _calls(recipe)
    assert [row["steps"] for row in tables.load(tables.make(recipe, progress=False))] == [20, 21, 30, 31]
    assert _calls(recipe) == calls + 2


def _alive(group):
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
