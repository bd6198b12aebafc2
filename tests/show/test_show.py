"""What a page shows: byte-stable HTML, verdicts by the rule, numbers with their errors."""

import base64
import io
import json
import re

import pytest
import torch
from PIL import Image

from labsupport import plots, show
from labsupport.show import bundles
from labsupport.show.text import rounded


def draw(value):
    fig, ax = plots.subplots(size=(3, 2))
    plots.series(ax, range(3), {"a": [0, value, 1]}, xlabel="x", ylabel="y")
    return fig


def html(bundle):
    return bundle.data["text/html"]


def test_figure_carries_its_texts_and_is_byte_stable():
    first, second = (html(show.figure(draw(1), caption="c < d", alt='an "a"')) for _ in range(2))
    assert first == second
    assert 'alt="an &quot;a&quot;"' in first and "<figcaption" in first and "c &lt; d" in first
    picture = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", first)[1])))
    assert picture.size == (432, 288)


def test_slider_stores_every_frame_with_its_own_text():
    out = html(show.slider(draw, [0.5, 1.0, 2.0], label="height", alt=lambda v: f"peak {v}", start=1))
    frames = json.loads(re.search(r'application/json">(.*?)</script>', out, re.S)[1])
    assert [f["text"] for f in frames] == ["0.5", "1", "2"] and [f["alt"] for f in frames][2] == "peak 2.0"
    assert len({f["src"] for f in frames}) == 3
    assert 'type="range"' in out and 'alt="peak 1.0"' in out and '<label for="slider-' in out and 'value="1"' in out
    assert out == html(show.slider(draw, [0.5, 1.0, 2.0], label="height", alt=lambda v: f"peak {v}", start=1))


def test_slider_is_live_only_when_a_person_asks(monkeypatch, capsys):
    assert not bundles.is_live()
    monkeypatch.setenv("LABSUPPORT_LIVE", "1")
    assert bundles.is_live()
    assert show.slider(draw, [1, 2], label="height", alt="a peak") is None
    shown = capsys.readouterr().out
    assert "VBox" in shown and "SelectionSlider" in shown


def test_predict_keeps_order_escapes_and_has_a_stable_id():
    out = html(show.predict("p", "a < b?", ["yes & no", "maybe"]))
    assert out.index("yes &amp; no") < out.index("maybe") and "a &lt; b?" in out
    assert re.findall(r'class="predict" id="(predict-[0-9a-f]{10})" data-name="p"', out)
    assert "localStorage" in out and "http" not in out


def test_source_is_the_code_that_runs():
    out = show.source(rounded)
    assert out.data["text/markdown"].startswith("`labsupport.show.text.rounded`\n\n```python\ndef rounded(")


def test_table_in_both_faces():
    out = show.table({"one": [1.5, "x"], "two": [-2, "y"]}, columns=["number", "text"], corner="row")
    assert '<th scope="col">number</th>' in html(out) and '<th scope="row">one</th><td>1.5</td><td>x</td>' in html(out)
    assert repr(out).splitlines() == ["row  number  text", "one     1.5     x", "two      −2     y"]


@pytest.mark.parametrize(
    ("effect", "error", "expected"),
    [
        (3.14159, 0.25, ("3.14", "0.25")), (3.14159, 0.05, ("3.14", "0.05")), (621.125, 5.8, ("621", "6")),
        (540.4, 13.2, ("540", "13")), (12345.6, 999.0, ("12346", "999")),
        (-0.05, 0.0, ("−0.0500", "0.0000")), (0.0, 0.0, ("0.0", "0.0")),
    ],
)  # fmt: skip
def test_rounding_follows_the_error(effect, error, expected):
    assert rounded(effect, error) == expected


def test_measured_is_mean_and_standard_error():
    assert show.measured([1.0, 2.0, 3.0]) == "2.0\u00a0±\u00a00.6"


BANDS = {"low": (0, 1), "high": (2, float("inf"))}


def asked(found, choices=("a: at once", "b"), why="It is so."):
    show.predict("asked", "Which?", choices)
    return show.outcome("asked", found, why)


def test_an_outcome_is_the_choice_that_the_run_found():
    for found in ("a", "a: at once"):
        out = asked(found, why="<b>")
        assert repr(out) == "The run: a: at once. <b>" and "<b>" not in html(out)
        assert 'data-right="a: at once"' in html(out)
    assert "The run: high." in repr(asked(torch.tensor(2.0), BANDS)) and "The run: low." in repr(asked(0, BANDS))
    assert "diverges" in repr(asked(float("inf"), {"low": [0, 1], "diverges": (1, float("inf"))}))
    record = asked("b").data["application/vnd.adaptive-training.outcome+json"]
    assert record == {"name": "asked", "right": "b", "why": "It is so."}


def test_what_reveals_an_answer_is_kept_and_not_shown():
    out = show.predict("p", "q", ["a", "b"], reveals=["cut at 16"])
    assert out.data["application/vnd.adaptive-training.prediction+json"]["reveals"] == ["cut at 16"]
    assert "cut at 16" not in html(out) + repr(out)


REFUSALS = {
    "figure: alt must": lambda: show.figure(draw(1), caption="c", alt=" "),
    "slider: values must hold 2 to 24": lambda: show.slider(draw, [1], label="l", alt="a"),
    "slider: start": lambda: show.slider(draw, [1, 2], label="l", alt="a", start=2),
    "slider: alt": lambda: show.slider(draw, [1, 2], label="l", alt=lambda v: ""),
    "predict: choices must be 2 to 6 different": lambda: show.predict("p", "q", ["a", "a"]),
    "predict: reveals must be a list of regular expressions, got 'abc'": lambda: show.predict(
        "p", "q", ["a", "b"], reveals="abc"
    ),
    "predict: reveals must be regular expressions, got '('": lambda: show.predict("p", "q", ["a", "b"], reveals=["("]),
    "predict: interval must be (low, high) with low < high, got (0, 1, 2) for 'a'": lambda: show.predict(
        "p", "q", {"a": (0, 1, 2), "b": (3, 4)}
    ),
    "predict: interval must be (low, high) with low < high, got (1, 1) for 'a'": lambda: show.predict(
        "p", "q", {"a": (1, 1), "b": (2, 3)}
    ),
    "predict: intervals must not overlap, got those of 'a' and 'b'": lambda: show.predict(
        "p", "q", {"b": (1, 3), "a": (0, 2)}
    ),
    "outcome: name must be that of a prediction whose cell has run, got 'unasked'": lambda: show.outcome(
        "unasked", "a", "so"
    ),
    "outcome: found must be one of": lambda: asked("c"),
    "outcome: found must lie within a choice, got 1.5, which falls between two": lambda: asked(1.5, BANDS),
    "outcome: found must be a number, for the choices are intervals, got 'low'": lambda: asked("low", BANDS),
    "predict: choices must differ before their first colon": lambda: asked("a", ("a: b", "a: c")),
    "predict: name must be of letters": lambda: show.predict('a"b', "q", ["a", "b"]),
    "outcome: why must be one line": lambda: asked("a", why="a\nb"),
    "outcome: why must be a": lambda: asked("a", why=" "),
    "predict: question": lambda: show.predict("p", "", ["a", "b"]),
    "table: row 'a' must have 2 cells": lambda: show.table({"a": [1]}, columns=["x", "y"]),
    "table: rows must hold": lambda: show.table({}, columns=["x"]),
    "measured: values must hold >= 2": lambda: show.measured([1.0]),
    "source: obj": lambda: show.source(len),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        REFUSALS[message]()


LOOK_ALIKES = {
    "measured: values must be a list or 1-d tensor of numbers": lambda: show.measured({0: 1.5, 1: 2.5}),
    "measured: values must be a list or 1-d tensor of numbers, got '12'": lambda: show.measured("12"),
    "measured: values must be a list or 1-d tensor of numbers, got [[": lambda: show.measured(torch.ones(2, 2)),
    "table: row 'a' must hold numbers and texts, got None": lambda: show.table({"a": [None]}, columns=["x"]),
    "table: rows' names and columns must be texts, got 2": lambda: show.table({"a": [1]}, columns=[2]),
    "table: columns must be a list of texts, got 'xy'": lambda: show.table({"a": [1, 2]}, columns="xy"),
    "source: obj": lambda: show.source(plots),
    "figure: fig must be a matplotlib figure, got Axes": lambda: show.figure(draw(1).axes[0], caption="c", alt="a"),
    "slider: draw must return a matplotlib figure, got NoneType": lambda: show.slider(
        lambda v: None, [1, 2], label="l", alt="a"
    ),
    "slider: start must be an integer >= 0": lambda: show.slider(draw, [1, 2], label="l", alt="a", start=True),
    "slider: values must read differently": lambda: show.slider(draw, [1, 1 + 1e-9], label="l", alt="a"),
    "slider: values must be numbers or texts": lambda: show.slider(draw, [None, 1], label="l", alt="a"),
    "slider: alt must be a non-empty text, got ' '": lambda: show.slider(draw, [1, 2], label="l", alt=" "),
    "predict: choices must be 2 to 6 different answers, got 'ab'": lambda: show.predict("p", "q", "ab"),
    "predict: choices must be 2 to 6 different answers, got {": lambda: show.predict("p", "q", {"a", "b"}),
}


@pytest.mark.parametrize("message", LOOK_ALIKES)
def test_look_alikes_are_refused(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        LOOK_ALIKES[message]()


def test_numbers_are_shown_as_they_are():
    assert show.measured([0.1] * 3) == "0.100\u00a0±\u00a00.000"
    assert rounded(-0.001, 0.1)[0] == "0.00"
    assert "<td>1234567</td><td>1.5</td>" in html(show.table({"a": [1234567, 1.5]}, columns=["", "x"]))
    assert html(show.table({"a": [1, 2]}, columns=["", "x"])).count('<th scope="col">') == 2


def test_a_slider_s_texts_cannot_close_its_script_and_its_frames_are_taken_at_once():
    fig, ax = plots.subplots(size=(3, 2))

    def redraw(value):
        ax.clear()
        ax.plot([0, value, 1])
        return fig

    out = html(show.slider(redraw, [0.5, 2.0], label="height", alt="</script><b>"))
    frames = json.loads(re.search(r'application/json">(.*?)</script>', out, re.S)[1])
    assert len({frame["src"] for frame in frames}) == 2 and frames[0]["alt"].startswith("</script>")


def test_a_map_of_many_colours_keeps_the_rare_ones():
    fig, ax = plots.subplots(size=(5, 4))
    values = torch.randn(28, 28, generator=torch.Generator().manual_seed(0)).numpy()
    fig.colorbar(ax.imshow(values, cmap="viridis", vmin=-8, vmax=8), ax=ax)  # the ends occur in the bar alone
    shown = {color for _, color in Image.open(io.BytesIO(bundles.picture(fig))).convert("RGB").getcolors()}
    for wanted in ((253, 231, 36), (68, 1, 84), (33, 145, 140)):
        assert min(max(abs(a - b) for a, b in zip(wanted, color, strict=True)) for color in shown) < 20, wanted
