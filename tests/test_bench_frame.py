"""benchmarks/frame.py: what is timed, when a bar is met, what is written and with which exit status."""

import json
import sys
import time
import types

import pytest

from benchmarks import frame


@pytest.fixture(autouse=True)
def _full_runs(monkeypatch):
    monkeypatch.delenv("QUICK", raising=False)


def test_compare_runs_both_warm_and_in_turn():
    calls = []
    row = frame.compare("turns", lambda: calls.append("ours"), lambda: calls.append("peer"), rounds=4)
    assert calls[:2] == ["ours", "peer"]
    assert calls[2:] == ["ours", "peer", "peer", "ours"] * 2
    assert row.met is None


def test_the_ratio_is_peer_over_ours():
    row = frame.compare("sleep", lambda: time.sleep(0.002), lambda: time.sleep(0.02), bar=3, rounds=3)
    assert row.ratio[1] > 3
    assert row.met


@pytest.mark.parametrize(("ours", "better", "bar", "met"), [
    ([1.0, 2.0, 3.0], "higher", 2.5, True),    # the better quartile is 2.5
    ([1.0, 2.0, 3.0], "higher", 2.6, False),
    ([1.0, 2.0, 3.0], "lower", 1.5, True),     # the better quartile is 1.5
    ([1.0, 2.0, 3.0], "lower", 1.4, False),
    (0.97, "higher", 0.97, True),
])
def test_a_bar_is_missed_only_by_the_better_quartile(ours, better, bar, met):
    assert frame.measured("any", ours, better=better, bar=bar).met is met


def test_timed_counts_seconds_against_the_bar():
    assert frame.timed("sleep", lambda: time.sleep(0.001), bar=1, rounds=3).met
    assert not frame.timed("sleep", lambda: time.sleep(0.02), bar=0.01, rounds=3).met


def test_quick_runs_three_rounds(monkeypatch):
    monkeypatch.setenv("QUICK", "1")
    calls = []
    frame.timed("count", lambda: calls.append(1), rounds=9)
    assert len(calls) == 1 + 3


@pytest.mark.parametrize(("call", "message"), [
    (lambda: frame.timed("x", int, rounds=2), r"timed: rounds must be >= 3, got 2"),
    (lambda: frame.measured("x", float("nan")), r"measured: ours must be finite"),
    (lambda: frame.measured("x", []), r"measured: ours must be finite numbers, at least one"),
    (lambda: frame.measured("x", 1, better="big"), r"measured: better must be"),
])
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_table_names_every_column():
    rows = [frame.measured("accuracy", 0.975, bar=0.9, unit="share"),
            frame.compare("steps", int, int, peer_name="torch", rounds=3)]
    head, rule, first, second = frame.report(rows).splitlines()
    assert head.split() == ["what", "ours", "peer", "ratio", "bar", "met"]
    assert set(rule) == {"-", " "}
    assert first.split() == ["accuracy", "0.975", "share", "–", "–", "≥", "0.9", "share", "yes"]
    assert "(torch)" in second
    assert "×" in second


def _topic(monkeypatch, tmp_path, *rows):
    module = types.ModuleType("benchmarks.spoons")
    module.rows = lambda: iter(rows)
    monkeypatch.setitem(sys.modules, "benchmarks.spoons", module)
    (tmp_path / "spoons.py").touch()
    monkeypatch.setattr(frame, "HERE", tmp_path)
    monkeypatch.setattr(frame.store, "__kwdefaults__", {"folder": tmp_path / "results"})


@pytest.mark.parametrize(("bar", "status"), [(0.5, 0), (2.0, 1)])
def test_main_stores_the_rows_and_ends_with_the_bar(monkeypatch, tmp_path, capsys, bar, status):
    _topic(monkeypatch, tmp_path, frame.measured("spoons", 1.0, bar=bar))
    assert frame.main(["spoons"]) == status
    assert ("every bar met" if status == 0 else "missed: spoons") in capsys.readouterr().out
    stored = json.loads((tmp_path / "results" / "spoons.json").read_text(encoding="utf-8"))
    assert stored["rows"][0]["met"] is (status == 0)
    assert {"cpu", "cores", "torch", "threads"} <= set(stored["machine"])


def test_a_quick_run_overwrites_nothing(monkeypatch, tmp_path):
    _topic(monkeypatch, tmp_path, frame.measured("spoons", 1.0))
    monkeypatch.setenv("QUICK", "1")
    assert frame.main(["spoons"]) == 0
    assert not (tmp_path / "results").exists()


def test_an_unknown_topic_is_named(capsys):
    assert frame.main(["forks"]) == 2
    assert "TOPIC must be one of" in capsys.readouterr().err


def test_the_machine_tells_no_host_name():
    import platform

    assert platform.node() not in json.dumps(frame.machine()) or not platform.node()
