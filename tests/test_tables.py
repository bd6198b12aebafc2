"""labsupport/tables.py: made once, taken up after an interruption, refused when changed."""

import json
import sys

import pytest

from labsupport import tables

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
    recipe.write_text(RECIPE, encoding="utf-8")
    table = recipe.with_suffix(".json")
    with pytest.raises(ValueError, match=r"load: .*steps\.py was changed since; make it again"):
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
    with pytest.raises(ValueError, match=r"load: table must be a file .*nothing\.json"):
        tables.load(tmp_path / "nothing.json")
    (tmp_path / "other.json").write_text(json.dumps([1]), encoding="utf-8")
    with pytest.raises(ValueError, match="must be JSON with rows and checksums"):
        tables.load(tmp_path / "other.json")


def test_the_command_makes_a_table_by_name(recipe, monkeypatch, capsys):
    monkeypatch.chdir(recipe.parents[3])
    assert tables.main(["landscape/other"]) == 1
    assert "NAME must be one of landscape/steps; got landscape/other" in capsys.readouterr().err
    recipe.with_suffix(".stop").touch()
    assert tables.main(["landscape/steps"]) == 1
    assert "stopped; the finished cases are kept" in capsys.readouterr().err
    recipe.with_suffix(".stop").unlink()
    assert tables.main(["landscape/steps"]) == 0
    assert "steps.json: 4 rows" in capsys.readouterr().out


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
