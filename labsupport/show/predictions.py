"""Predict first: a question whose answer stays folded until the reader has chosen, and what the run says to it.

The choice is kept in the browser (`localStorage`) and sent nowhere. On paper and where scripts are stripped, nothing
folds.
"""

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from numbers import Real
from typing import Any

from labsupport.show.bundles import NO_SHORTCUTS, Bundle, asset, content_id
from labsupport.show.figures import require_text
from labsupport.values import check_choice

__all__ = ["OUTCOME", "PREDICTION", "outcome", "predict"]

PREDICTION = "application/vnd.adaptive-training.prediction+json"
OUTCOME = "application/vnd.adaptive-training.outcome+json"
Interval = tuple[float, float]
_ASKED: dict[str, dict[str, Interval | None]] = {}  # by name, the choices of the predictions that this kernel has shown


def predict(
    name: str, question: str, choices: Sequence[str] | Mapping[str, Interval], *, reveals: Sequence[str] = ()
) -> Bundle:
    """A question before an experiment. What follows, up to its `outcome`, stays folded until answered or skipped.

    Args:
        name: unique in the book; the reader's answer is kept under it, in this browser only.
        question: what will happen, with the numbers needed to reason about it.
        choices: 2 to 6 answers, one of them a misconception worth meeting; where the run gives a number, each with the
            interval (low, high) of numbers that it stands for, low included and high not.
        reveals: regular expressions for what would give the answer away; tests look for them on the unanswered page.
    Raises:
        ValueError: an empty text, too few or too many choices, the same choice twice, intervals that are empty or
            overlap, an expression that is none.
    """
    require_text("predict", name=name, question=question)
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"predict: name must be of letters, digits and hyphens, got {name!r}")
    intervals = _choices(choices)
    _check_patterns(reveals)
    _ASKED[name] = intervals
    root = content_id("predict", name, question, *intervals)
    options = "".join(
        f'<label><input type="radio" name="{root}" value="{escape(choice)}" {NO_SHORTCUTS}>{escape(choice)}</label>'
        for choice in intervals
    )
    html = (
        f'<div class="predict" id="{root}" data-name="{escape(name)}"><style>{asset("predict.css")}</style>'
        f"<fieldset><legend>Predict first. {escape(question)}</legend>{options}</fieldset>"
        f'<button type="button" {NO_SHORTCUTS} hidden>Show the result without predicting</button>'
        f'<p class="predict-note" aria-live="polite"></p>'
        f"<script>{asset('predict.js').replace('ID', root)}</script></div>"
    )
    plain = "\n".join([f"Predict first. {question}", *(f"  ( ) {choice}" for choice in intervals)])
    kept = {"name": name, "choices": list(intervals), "reveals": list(reveals)}
    return Bundle({"text/html": html, "text/plain": plain, PREDICTION: kept})


def outcome(name: str, found: str | float, why: str) -> Bundle:
    """What the run says to a prediction: the choice that was right, why, and beside it the reader's own.

    Args:
        name: of the prediction, whose cell must have run.
        found: what the run found: a choice (its text, or what stands before its first colon), or a number where the
            choices are intervals.
        why: the reason, in one line.
    Raises:
        ValueError: no such prediction, a choice that it lacks, or a number between two choices.
    """
    require_text("outcome", why=why)
    if "\n" in why.strip():
        raise ValueError(f"outcome: why must be one line, got {why!r}")
    if name not in _ASKED:
        raise ValueError(f"outcome: name must be that of a prediction whose cell has run, got {name!r}")
    right = _right(_ASKED[name], found)
    choices = list(_ASKED[name])
    root = content_id("outcome", name, right, why)
    html = (
        f'<div class="outcome" id="{root}" data-name="{escape(name)}" data-right="{escape(right)}" '
        f'data-choices="{escape(json.dumps(choices))}"><p><strong>The run: {escape(right)}.</strong></p>'
        f'<p class="outcome-choice" aria-live="polite" hidden></p><p>{escape(why)}</p>'
        f"<script>{asset('outcome.js').replace('ID', root)}</script></div>"
    )
    kept = {"name": name, "right": right, "why": why}
    return Bundle({"text/html": html, "text/plain": f"The run: {right}. {why}", OUTCOME: kept})


def _check_patterns(reveals: Any) -> None:
    if isinstance(reveals, str):
        raise ValueError(f"predict: reveals must be a list of regular expressions, got {reveals!r}")
    for pattern in reveals:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(f"predict: reveals must be regular expressions, got {pattern!r}: {error}") from error


def _choices(choices: Any) -> dict[str, Interval | None]:
    rule = "choices must be 2 to 6 different answers"
    if not isinstance(choices, tuple | list | Mapping) or not 2 <= len(choices) <= 6:
        raise ValueError(f"predict: {rule}, got {choices!r}")
    for choice in choices:
        require_text("predict", choices=choice)
    if len({choice.strip() for choice in choices}) < len(choices):
        raise ValueError(f"predict: {rule}, got {choices!r}")
    if not isinstance(choices, Mapping):
        names = [_short(choice) for choice in choices]
        if len(set(names)) < len(names):
            raise ValueError(f"predict: choices must differ before their first colon, got {names}")
        return dict.fromkeys(choices)
    for text, ends in choices.items():
        if not isinstance(ends, tuple | list) or len(ends) != 2 or not all(map(_is_real, ends)) or ends[0] >= ends[1]:
            raise ValueError(f"predict: interval must be (low, high) with low < high, got {ends!r} for {text!r}")
    ordered = sorted(choices.items(), key=lambda pair: tuple(pair[1]))
    for (one, (_, high)), (other, (low, _)) in itertools.pairwise(ordered):
        if low < high:
            raise ValueError(f"predict: intervals must not overlap, got those of {one!r} and {other!r}")
    return {text: (float(low), float(high)) for text, (low, high) in choices.items()}


def _short(choice: str) -> str:
    """A choice's name: what stands before its first colon."""
    return choice.partition(":")[0].strip()


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)


def _right(choices: Mapping[str, Interval | None], found: Any) -> str:
    """The choice that the run's finding is."""
    found = found.item() if getattr(found, "ndim", None) == 0 else found
    if None in choices.values():
        named = {_short(text): text for text in choices} | {text: text for text in choices}
        check_choice("outcome", "found", found, named)
        return named[found]
    if not _is_real(found):
        raise ValueError(f"outcome: found must be a number, for the choices are intervals, got {found!r}")
    right = [text for text, (low, high) in choices.items() if low <= found < high or found == high == math.inf]
    if not right:
        raise ValueError(f"outcome: found must lie within a choice, got {found:g}, which falls between two")
    return right[0]
