"""Claims: registered before their data, judged from unrounded samples, and never re-run silently."""

import json
import math
import re

import nbformat
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from book import ledger
from labsupport import show
from labsupport.experiments import Samples, claims, recipes, tables
from labsupport.experiments.judging import TRUTH, combine, confidences, judge, verdict
from labsupport.show.claims import CLAIM, record

BASE = {
    "statement": "S & T.", "words": "ours", "source": "key2000word", "scope": "one net", "effect": "a less b",
    "unit": "pt", "rule": "above", "delta": 0.5, "replicate": "start and order", "count": 4, "tuned": "nothing",
}  # fmt: skip
FOUR = range(4)


def entry(**changed):
    return claims.parsed({"c": BASE | changed})["c"]


def around(mean, spread=0.1):
    return Samples([mean - spread, mean + spread] * 2, FOUR)


@pytest.mark.parametrize(
    ("side", "low", "high", "expected"),
    [
        ("above", 0.6, 1.4, "holds"), ("above", 0.5, 1.3, "undecided"), ("above", -0.4, 0.45, "fails"),
        ("below", -1.4, -0.6, "holds"), ("below", 0.6, 1.4, "fails"), ("below", -0.6, -0.4, "undecided"),
        ("above", 0.5, 0.5, "fails"),
        ("within", -0.5, 0.5, "holds"), ("within", 0.1, 0.7, "undecided"), ("within", -2.4, -0.6, "fails"),
    ],
)  # fmt: skip
def test_verdicts_by_hand(side, low, high, expected):
    assert verdict(low, high, delta=0.5, side=side) == expected


@given(st.floats(-5, 5), st.floats(0, 2), st.floats(0, 2))
def test_verdicts_are_symmetric(low, width, delta):
    high = low + width
    assert verdict(low, high, delta=delta, side="above") == verdict(-high, -low, delta=delta, side="below")
    assert verdict(low, high, delta=delta, side="within") == verdict(-high, -low, delta=delta, side="within")


def test_a_question_mark_never_hides_a_failure():
    for kinds, (one, always) in TRUTH.items():
        assert combine(list(kinds)) == one and combine(list(kinds), always=True) == always
        if "fails" in kinds:
            assert one in ("fails", "conditional") and always == "fails"
    assert combine([]) == "not tested here" and len(TRUTH) == 8


def test_the_correction_counts_deciding_conditions_only():
    assert confidences(1) == (0.95, 0.95)
    assert confidences(5) == pytest.approx((0.99, 0.99)) and confidences(5, always=True) == pytest.approx((0.95, 0.99))
    # an interval that clears δ at 95 % and not at 97.5 %
    s = Samples([0.0, 1.0, 2.0, 3.0], FOUR)
    ends = {level: s.interval(level)[0] for level in (0.95, 0.975)}
    shifted = s + (1 - ends[0.975])
    delta = 1 + (ends[0.95] - ends[0.975]) / 2

    def first(samples, m, always):
        rule = "always above" if always else "above"
        several = entry(decide=list("abc")[:m], rule=rule, delta=delta)
        found = judge(several, dict.fromkeys(several.decide, samples)).conditions[0]
        assert verdict(found.low, found.high, delta=delta, side="above") == found.verdict  # the interval shows it
        return found.verdict

    said = {(m, always): first(shifted, m, always) for m in (1, 2) for always in (False, True)}
    assert said == {(1, False): "holds", (1, True): "holds", (2, False): "undecided", (2, True): "holds"}
    assert [first(2 * delta - shifted, 2, always) for always in (False, True)] == ["undecided", "undecided"]


def test_beyond_the_scope_is_shown_and_never_decides():
    parts = {"inside": around(1.0), "outside": around(-1.0)}
    found = judge(entry(decide=["inside"], beyond=["outside"]), parts)
    assert found.verdict == "holds" and [c.verdict for c in found.conditions] == ["holds", "fails"]
    assert judge(entry(decide=["inside", "outside"]), parts).verdict == "conditional"
    assert judge(entry(decide=["inside", "outside"], rule="always above"), parts).verdict == "fails"
    assert judge(entry(decide=[], beyond=["inside", "outside"]), parts).verdict == "not tested here"


def test_verdicts_come_from_unrounded_numbers_and_are_seen_in_the_printed_ones():
    lows = around(1.0, 0.1)
    low = lows.interval()[0]
    near = lows - (low - 0.5) + 1e-4  # clears δ = 0.5 by 1e-4: at two digits the printed end would equal δ
    found = judge(entry(), near)
    printed = record(entry(), found)["conditions"][0]
    assert found.verdict == "holds" and float(printed["low"]) > 0.5
    assert judge(entry(), near - 2e-4).verdict == "undecided"


def test_exact_claims_take_numbers_and_others_do_not():
    exact = entry(rule="exact above", count=1, decide=["a", "b"])
    assert judge(exact, {"a": 0.6, "b": torch.tensor(0.4)}).verdict == "conditional"
    assert "±" not in str(record(exact, judge(exact, {"a": 0.6, "b": 0.4}))["conditions"][0])
    with pytest.raises(ValueError, match="samples of 'c' must be Samples of one condition or an Estimate, got"):
        judge(entry(), 0.6)
    with pytest.raises(ValueError, match="samples of 'c', 'a', must be a finite number"):
        judge(exact, {"a": around(1.0), "b": 0.4})


def test_an_exact_number_is_printed_as_far_as_its_verdict_needs():
    exact = entry(rule="exact above", count=1)
    found = record(exact, judge(exact, 0.50004))["conditions"][0]
    assert found["verdict"] == "holds" and float(found["effect"]) > 0.5


def test_estimates_are_judged_at_the_corrected_confidence():
    few = Samples([1.0, 2.0, 4.0, 8.0], FOUR)
    for ratio in (
        few.jackknife(lambda x: x[0].square().mean() / x[0].mean()),
        few.bootstrap(lambda x: x[0].square().mean() / x[0].mean(), generator=torch.Generator().manual_seed(0)),
    ):
        assert ratio.interval(0.95) == pytest.approx((ratio.low, ratio.high))
        wide = ratio.interval(0.99)
        assert wide[0] <= ratio.low and wide[1] >= ratio.high and wide != (ratio.low, ratio.high)
        one = judge(entry(decide=["a"]), {"a": ratio}).conditions[0]
        two = judge(entry(decide=["a", "b"]), {"a": ratio, "b": few}).conditions[0]
        assert (one.low, one.high) == ratio.interval(0.95) and (two.low, two.high) == ratio.interval(0.975)


REFUSED_SAMPLES = {
    "conditions of 'c' must be ['']": lambda: judge(entry(), {"a": around(1.0), "b": around(1.0)}),
    "conditions of 'c' must be ['a', 'b'], got ['a']": lambda: judge(
        entry(decide=["a"], beyond=["b"]), {"a": around(1.0)}
    ),
    "must have 4 replicates, as registered, got 3": lambda: judge(entry(), Samples([1.0, 2.0, 3.0], range(3))),
    "tuned inside their grid, for something better may lie beyond its edge, got the edge of lr": lambda: judge(
        entry(), Samples([1.0] * 4, FOUR, edge=("lr",))
    ),
    "got the edge of lr": lambda: judge(entry(), Samples([1.0, 2.0] * 2, FOUR, edge=("lr",)).jackknife(torch.mean)),
    "must be Samples of one condition or an Estimate, got [1.0, 2.0]": lambda: judge(entry(), [1.0, 2.0]),
    "claim: name must be registered in chapters/<topic>/claims.yml, got 'nowhere'": lambda: show.claim(
        "nowhere", samples=around(1.0)
    ),
    "verdict: side must be one of": lambda: verdict(0, 1, delta=1, side="up"),
    "verdict: high must be a finite number >= 1": lambda: verdict(1, 0, delta=1, side="above"),
    "verdict: low must be a finite number": lambda: verdict(math.nan, 0, delta=1, side="above"),
    "combine: each of verdicts must be one of": lambda: combine(["hold"]),
    "combine: verdicts must be a list": lambda: combine("holds"),
    "confidences: deciding must be an integer >= 1": lambda: confidences(0),
}
REFUSED_ENTRIES = {
    "c: fields must be those of an entry, got too few ['scope']": {k: v for k, v in BASE.items() if k != "scope"},
    "too many ['smallest']": BASE | {"smallest": 1},
    "c: statement must be a text, got ' '": BASE | {"statement": " "},
    "c: place must be a text, got ''": BASE | {"words": "source"},
    "c: words must be one of": BASE | {"words": "theirs"},
    "c: delta must be a finite number >= 0": BASE | {"delta": -1},
    "c: count must be an integer >= 1": BASE | {"count": 0},
    "c: rule must be": BASE | {"rule": "above always"},
    "got 'always'": BASE | {"rule": "always"},
    "c: decide must be a list of texts": BASE | {"decide": "a"},
    "c: decide and beyond must name each condition once": BASE | {"decide": ["a"], "beyond": ["a"]},
    "c: history must hold hash, verdict and reason": BASE | {"history": [{"hash": "1"}]},
    "c: a verdict of history must be one of": BASE | {"history": [{"hash": "1", "verdict": "good", "reason": "r"}]},
    "c: entry must be a mapping": 3,
    "c: place must be a text, got None": BASE | {"place": None},
    "c: unit must be a text, got False": BASE | {"unit": False},
    "c: history must be a list, got None": BASE | {"history": None},
    "c: history must hold texts": BASE | {"history": [{"hash": "", "verdict": "holds", "reason": "."}]},
}


@pytest.mark.parametrize("message", REFUSED_SAMPLES)
def test_samples_that_cannot_be_judged_are_refused(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        REFUSED_SAMPLES[message]()


@pytest.mark.parametrize("message", REFUSED_ENTRIES)
def test_entries_are_read_strictly(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        claims.parsed({"c": REFUSED_ENTRIES[message]})


def test_names_stand_once(tmp_path):
    for topic, name in (("a", "one"), ("b", "one")):
        (tmp_path / topic).mkdir()
        (tmp_path / topic / "claims.yml").write_text(json.dumps({name: BASE}))
    with pytest.raises(ValueError, match="registered once, got one twice"):
        claims.registry(tmp_path)
    (tmp_path / "a/claims.yml").write_text("one: {}\none: {}\n")
    with pytest.raises(ValueError, match="names must stand once, got one twice"):
        claims.read(tmp_path / "a/claims.yml")
    with pytest.raises(ValueError, match="letters, digits and hyphens, got '<b>'"):
        claims.parsed({"<b>": BASE})


@pytest.mark.parametrize("field", ["statement", "scope", "rule", "delta", "decide", "tuned"])
def test_the_hash_covers_what_decides(field):
    other = {"rule": "below", "delta": 0.6, "decide": ["a"]}.get(field, "other")
    assert entry(**{field: other}).hash != entry().hash == entry(effect="in other words", count=9).hash


def test_a_re_run_cannot_launder_a_verdict():
    old, new = entry(), entry(delta=0.1)
    shown = {"c": record(old, judge(old, around(0.4, 0.02)))}
    assert shown["c"]["verdict"] == "fails" and shown["c"]["fixed"]
    claims.refuse_changed(shown, {"c": old})
    with pytest.raises(ValueError, match=r"history must first hold .*verdict: fails"):
        claims.refuse_changed(shown, {"c": new})
    with pytest.raises(ValueError, match="history must first hold"):
        claims.refuse_changed(shown, {"c": entry(delta=0.1, history=[past(old.hash, "holds")])})
    with pytest.raises(ValueError, match="must keep its entry"):
        claims.refuse_changed(shown, {})
    honest = entry(delta=0.1, history=[past(old.hash, "fails")])
    claims.refuse_changed(shown, {"c": honest})
    later = {"c": record(honest, judge(honest, around(0.4, 0.02)))}
    assert later["c"]["verdict"] == "holds" and not later["c"]["fixed"]
    with pytest.raises(ValueError, match="may only be added to"):
        claims.refuse_changed(later, {"c": new})


OTHERWISE = [{"effect": "b less a"}, {"unit": "km"}, {"count": 64}, {"replicate": "start"}]


@pytest.mark.parametrize("changed", OTHERWISE, ids=lambda changed: next(iter(changed)))
def test_what_is_measured_changes_only_with_a_word_in_the_history(changed):
    shown = {"c": record(entry(), judge(entry(), around(0.5)))}
    with pytest.raises(ValueError, match=rf"the {next(iter(changed))} of 'c' was changed; .*verdict: undecided"):
        claims.refuse_changed(shown, {"c": entry(**changed)})
    claims.refuse_changed(shown, {"c": entry(**changed, history=[past(entry().hash, "undecided")])})


def past(hash_, verdict_):
    return {"hash": hash_, "verdict": verdict_, "reason": "δ was too large."}


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one chapter with a claim and its table, made by its recipe."""
    (tmp_path / "t/tables").mkdir(parents=True)
    (tmp_path / "t/tables/made.py").write_text("CASES = [{'seed': 0}]\ndef run(case):\n    return {'x': 1}\n")
    monkeypatch.setattr(recipes, "chapters", lambda: tmp_path)

    def register(**changed):
        (tmp_path / "t/claims.yml").write_text(json.dumps({"c": BASE | {"tables": ["t/made"]} | changed}))

    register()
    return register


def box(**samples):
    return show.claim("c", samples=around(1.0))


def test_a_table_keeps_the_hash_it_was_made_under(course, tmp_path):
    tables.make("t/made", progress=False)
    assert "Fixed before the run." in box().data["text/html"]
    course(delta=0.4)
    assert "Registered after its data were made." in box().data["text/html"]
    tables.check("t/made", progress=False)  # a check re-runs cases and changes no data
    assert "Registered after its data were made." in box().data["text/html"]
    (tmp_path / "t/tables/made.py").write_text("CASES = [{'seed': 0}]\ndef run(case):\n    return {'x': 2}\n")
    with pytest.raises(ValueError, match="history must first hold"):
        tables.make("t/made", progress=False)
    course(delta=0.4, history=[past(entry().hash, "holds")])
    tables.make("t/made", progress=False)
    html = box().data["text/html"]
    assert "Changed after a run that read “holds”: δ was too large." in html and "Fixed before" not in html


def test_a_table_from_before_the_registry_is_not_older_than_its_claim(course, tmp_path):
    made = tables.make("t/made", progress=False)
    content = json.loads(made.read_text())
    del content["claims"]
    made.write_text(json.dumps(content))
    assert "Registered after its data were made." in box().data["text/html"]
    course(history=[past("", "conditional")])
    assert "Δ was too large. It read “conditional” before." in box().data["text/html"]


def test_running_a_page_again_is_refused_while_the_history_is_silent(course, tmp_path):
    tables.make("t/made", progress=False)
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("show.claim('c')")])
    page.cells[0].outputs = [nbformat.v4.new_output("display_data", {CLAIM: box().data[CLAIM], "text/plain": ""})]
    nbformat.write(page, tmp_path / "t/page.ipynb")
    ledger.refuse_changed(tmp_path / "t/page.md")
    course(delta=0.4)
    with pytest.raises(ValueError, match="history must first hold"):
        ledger.refuse_changed(tmp_path / "t/page.md")


def test_the_box_escapes_what_it_prints(course):
    tables.make("t/made", progress=False)
    wild = "<script>alert('x')</script>"
    course(unit=wild, statement=wild, scope=wild, effect=wild, tuned=wild, replicate=wild)
    out = box()
    assert "<script" not in out.data["text/html"] and "&lt;script&gt;" in out.data["text/html"]
    text = ledger.ledger_text([ledger.Entry(out.data[CLAIM], "t/page", wild)])
    assert not re.search(r"(?<!\\)<script", text) and r"\<script\>" in text
    json.dumps(out.data)
    assert 'id="claim-c"' in out.data["text/html"] and "1.00 ± 0.06" in repr(out)
