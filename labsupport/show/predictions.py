"""Predict first: a question whose answer stays folded until the reader has chosen.

The choice is kept in the browser (`localStorage`) and sent nowhere. Where scripts are stripped, nothing folds.
"""

from collections.abc import Sequence
from html import escape

from labsupport.show.bundles import NO_SHORTCUTS, Bundle, asset, content_id
from labsupport.show.figures import require_text

__all__ = ["predict"]


def predict(name: str, question: str, choices: Sequence[str]) -> Bundle:
    """A question before an experiment. The next cell's output and the text after it stay folded until answered.

    Args:
        name: unique in the book; the reader's answer is kept under it, in this browser only.
        question: what will happen, with the numbers needed to reason about it.
        choices: 2 to 6 answers, one of them a misconception worth meeting.
    Raises:
        ValueError: an empty text, too few or too many choices, or the same choice twice.
    """
    require_text("predict", name=name, question=question)
    rule = "choices must be 2 to 6 different answers"
    if not isinstance(choices, (tuple, list)) or not 2 <= len(choices) <= 6:
        raise ValueError(f"predict: {rule}, got {choices!r}")
    for choice in choices:
        require_text("predict", choices=choice)
    if len({choice.strip() for choice in choices}) < len(choices):
        raise ValueError(f"predict: {rule}, got {choices!r}")
    root = content_id("predict", name, question, *choices)
    options = "".join(
        f'<label><input type="radio" name="{root}" value="{index}" {NO_SHORTCUTS}>{escape(choice)}</label>'
        for index, choice in enumerate(choices)
    )
    html = (
        f'<div class="predict" id="{root}" data-name="{escape(name)}">'
        f"<style>{asset('predict.css')}</style>"
        f'<style class="predict-rule"></style><fieldset><legend>Predict first. {escape(question)}</legend>'
        f"{options}</fieldset>"
        f'<button type="button" {NO_SHORTCUTS} hidden>Show the result without predicting</button>'
        f'<p class="predict-note" aria-live="polite"></p>'
        f"<script>{asset('predict.js').replace('ID', root)}</script></div>"
    )
    plain = "\n".join([f"Predict first. {question}", *(f"  ( ) {choice}" for choice in choices)])
    return Bundle({"text/html": html, "text/plain": plain})
