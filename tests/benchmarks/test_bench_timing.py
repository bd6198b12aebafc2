"""benchmarks/timing.py: what is timed, when a bar is met, what is written and with which exit status."""

import json
import sys
import types
from functools import partial

import pytest
import torch

from benchmarks import timing


@pytest.fixture(autouse=True)
def _full_runs(monkeypatch):
    monkeypatch.delenv("QUICK", raising=False)


@pytest.fixture
def passing(monkeypatch):
    """A clock of the timing's that nothing moves but `passing(seconds)`."""
    now = [0.0]
    monkeypatch.setattr(timing, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))

    def passing(seconds):
        now[0] += seconds

    return passing


def test_compare_runs_both_warm_and_in_turn():
    calls = []
    row = timing.compare("turns", lambda: calls.append("ours"), lambda: calls.append("peer"), rounds=4)
    assert calls[:2] == ["ours", "peer"]
    assert calls[2:] == ["ours", "peer", "peer", "ours"] * 2
    assert row.met is None


def test_the_ratio_is_peer_over_ours(passing):
    row = timing.compare("wait", partial(passing, 0.25), partial(passing, 2.0), bar=8, rounds=3)
    assert (row.ours, row.peer, row.ratio) == ((0.25,) * 3, (2.0,) * 3, (8.0,) * 3)
    assert row.met


def test_clocked_believes_the_seconds_it_is_told_and_runs_nothing_before(passing):
    calls = []

    def told(name, seconds):
        calls.append(name)
        passing(100)
        return seconds

    row = timing.clocked("told", partial(told, "ours", 2.0), partial(told, "peer", 1.0), bar=0.5, rounds=4)
    assert calls == ["ours", "peer", "peer", "ours"] * 2
    assert (row.ours[1], row.peer[1], row.ratio[1], row.met) == (2.0, 1.0, 0.5, True)


@pytest.mark.parametrize(
    ("ours", "better", "bar", "met"),
    [
        ([1.0, 2.0, 4.0], "higher", 2.0, True),
        ([1.0, 2.0, 4.0], "higher", 2.1, False),  # the better quartile, 3, does not help
        ([1.0, 2.0, 4.0], "lower", 2.0, True),
        ([1.0, 2.0, 4.0], "lower", 1.9, False),  # nor does 1.5
        (0.97, "higher", 0.97, True),
    ],
)
def test_a_bar_is_met_by_the_median(ours, better, bar, met):
    assert timing.measured("any", ours, better=better, bar=bar).met is met


@pytest.mark.parametrize(("bar", "met"), [(2.0, True), (2.1, False)])
def test_the_median_of_the_ratios_meets_the_bar(bar, met):
    peer = iter([1.0, 2.0, 8.0])
    assert timing.clocked("any", lambda: 1.0, lambda: next(peer), bar=bar, rounds=3).met is met


def test_timed_counts_seconds_against_the_bar(passing):
    assert timing.timed("wait", partial(passing, 0.25), bar=0.25, rounds=3).met
    assert not timing.timed("wait", partial(passing, 0.5), bar=0.25, rounds=3).met


def test_what_could_not_be_measured_misses_its_bar():
    row = timing.unmeasured("warm", "no JAX here", bar=1 / 1.15)
    assert row.met is False
    cells = [cell.strip() for cell in timing.report([row]).splitlines()[-1].split("  ") if cell]
    assert cells == ["warm", "not measured", "no JAX here", "–", "≥ 0.8696×", "NO"]
    assert timing.unmeasured("warm", "no JAX here").met is None


def test_quick_runs_three_rounds(monkeypatch):
    monkeypatch.setenv("QUICK", "1")
    calls = []
    timing.timed("count", lambda: calls.append(1), rounds=9)
    assert len(calls) == 1 + 3
    assert timing.clocked("once", lambda: 1.0, lambda: 2.0, rounds=1).ratio == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: timing.timed("x", int, rounds=2), r"timed: rounds must be >= 3, got 2"),
        (lambda: timing.clocked("x", int, int, rounds=1), r"clocked: rounds must be >= 3, got 1"),
        (lambda: timing.measured("x", float("nan")), r"measured: ours must be finite"),
        (lambda: timing.measured("x", []), r"measured: ours must be finite numbers, at least one"),
        (lambda: timing.measured("x", 1, better="big"), r"measured: better must be"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_table_names_every_column():
    rows = [
        timing.measured("accuracy", 0.975, bar=0.9, unit="share"),
        timing.clocked("steps", lambda: 1.0, lambda: 2.0, peer_name="torch", rounds=3),
    ]
    head, rule, first, second = timing.report(rows).splitlines()
    assert head.split() == ["what", "ours", "peer", "ratio", "bar", "met"]
    assert set(rule) == {"-", " "}
    assert first.split() == ["accuracy", "0.975", "share", "–", "–", "≥", "0.9", "share", "yes"]
    assert "(torch)" in second
    assert "×" in second


BARS = {"first": timing.at_least(2), "second": timing.at_most(3, "MB"), "third": timing.at_most(1, "share")}


@timing.barred(BARS)
def part(*, fails=False):
    yield timing.measured("first", 5.0, unit="×")
    yield timing.measured("free", 5.0)
    if fails:
        raise RuntimeError("no spoon\nat all")
    yield timing.measured("second", 5.0, unit="MB")


def test_a_part_gives_its_rows_their_bars_and_prints_those_that_it_lost(capsys):
    rows = list(part())
    assert [(row.what, row.bar, row.met) for row in rows] == [
        ("first", 2, True), ("free", None, None), ("second", 3, False), ("third", 1, False),
    ]  # fmt: skip
    assert timing.report(rows).splitlines()[-1].split("  ")[-2:] == ["≤ 1 share", "NO"]
    rows = list(part(fails=True))
    assert [(row.what, row.peer_name) for row in rows[2:]] == [
        ("second", "RuntimeError: no spoon"), ("third", "RuntimeError: no spoon"),
    ]  # fmt: skip
    assert [row.met for row in rows] == [True, None, False, False]
    assert "no spoon" in capsys.readouterr().err


def test_a_quick_run_judges_what_the_full_one_judges_or_says_that_it_does_not(monkeypatch, capsys):
    monkeypatch.setenv("QUICK", "1")
    rows = list(part())
    assert [(row.what, row.met) for row in rows] == [
        ("first", True), ("free", None), ("second", False), ("third", None),
    ]  # fmt: skip
    assert timing.report(rows).splitlines()[-1].endswith("not judged")
    assert [row.met for row in part(fails=True)] == [True, None, False, False]  # an error is one, quick or not
    capsys.readouterr()


def test_threads_are_those_of_the_measurement():
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        row = timing.measured("any", 1.0)
    finally:
        torch.set_num_threads(before)
    assert row.threads == before + 1


def test_a_first_call_runs_in_a_process_of_its_own(monkeypatch, tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").touch()
    (tmp_path / "benchmarks" / "timing.py").write_text("seconds = lambda call: call()\n", encoding="utf-8")
    (tmp_path / "benchmarks" / "spoons.py").write_text("at = lambda x: lambda: x\n", encoding="utf-8")
    monkeypatch.setattr(timing, "HERE", tmp_path / "benchmarks")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert timing._first_call("spoons", "at(2.5)") == 2.5


def _topic(monkeypatch, tmp_path, *rows):
    module = types.ModuleType("benchmarks.spoons")
    module.rows = lambda: iter(rows)
    monkeypatch.setitem(sys.modules, "benchmarks.spoons", module)
    (tmp_path / "spoons.py").touch()
    monkeypatch.setattr(timing, "HERE", tmp_path)
    monkeypatch.setattr(timing.store, "__kwdefaults__", {"folder": tmp_path / "results"})


@pytest.mark.parametrize(("bar", "status"), [(0.5, 0), (2.0, 1)])
def test_main_stores_the_rows_and_ends_with_the_bar(monkeypatch, tmp_path, capsys, bar, status):
    _topic(monkeypatch, tmp_path, timing.measured("spoons", 1.0, bar=bar))
    assert timing.main(["spoons"]) == status
    assert ("every bar met" if status == 0 else "missed: spoons") in capsys.readouterr().out
    (path,) = (tmp_path / "results").glob("*/spoons.json")
    assert path.parent.name == timing.machine_key(timing.machine())
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored["rows"][0]["met"] is (status == 0)
    assert {"cpu", "cores", "torch"} <= set(stored["machine"])
    assert stored["rows"][0]["threads"] == torch.get_num_threads()


def test_a_quick_run_overwrites_nothing(monkeypatch, tmp_path):
    _topic(monkeypatch, tmp_path, timing.measured("spoons", 1.0))
    monkeypatch.setenv("QUICK", "1")
    assert timing.main(["spoons"]) == 0
    assert not (tmp_path / "results").exists()


def test_main_stores_what_could_not_be_measured_as_missed(monkeypatch, tmp_path, capsys):
    _topic(monkeypatch, tmp_path, timing.unmeasured("forks", "no forks here", bar=1))
    assert timing.main(["spoons"]) == 1
    assert "missed: forks" in capsys.readouterr().out
    (path,) = (tmp_path / "results").glob("*/spoons.json")
    (row,) = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert (row["ours"], row["peer_name"], row["met"]) == (None, "no forks here", False)


@pytest.mark.parametrize("topic", ["forks", "peers"])
def test_an_unknown_topic_is_named(topic, capsys):
    assert timing.main([topic]) == 2
    assert "TOPIC must be one of" in capsys.readouterr().err


def test_all_runs_every_topic_and_names_those_that_missed(monkeypatch, tmp_path, capsys):
    for name in ("forks", "spoons"):
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setattr(timing, "HERE", tmp_path)
    asked = []

    def run(command, **options):
        asked.append(command[-1])
        return types.SimpleNamespace(returncode=command[-1] == "forks")

    monkeypatch.setattr(timing.subprocess, "run", run)
    assert timing.main(["all"]) == 1
    assert asked == ["forks", "spoons"]
    assert "bars missed in: forks" in capsys.readouterr().out


def test_machines_are_told_apart():
    about = {"cpu": "AMD EPYC (7B13)", "cores": 2, "accelerator": None}
    assert timing.machine_key(about) == "amd-epyc-7b13-2-cores"
    assert timing.machine_key(about | {"accelerator": "NVIDIA H200"}) == "amd-epyc-7b13-2-cores-nvidia-h200"


def test_every_module_is_a_topic_or_known_as_none():
    sources = {path.stem: path.read_text(encoding="utf-8") for path in timing.HERE.glob("*.py")}
    assert {name for name, text in sources.items() if "\ndef rows()" not in text} == set(timing.NO_TOPICS)


def test_the_machine_tells_no_host_name():
    import platform

    assert platform.node() not in json.dumps(timing.machine()) or not platform.node()
