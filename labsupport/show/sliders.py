"""A slider over pictures: drawn anew by a kernel, or moved among stored frames without one."""

import json
from collections.abc import Callable, Sequence
from html import escape

import ipywidgets
from matplotlib.figure import Figure

from labsupport.show.bundles import NO_SHORTCUTS, Bundle, asset, content_id, data_uri, is_live, picture, show_now
from labsupport.show.figures import CARD, require_text
from labsupport.values import check_count

__all__ = ["slider"]

MAX_FRAMES = 24
STORED_PIXELS_PER_INCH = 120


def slider(
    draw: Callable[..., Figure],
    values: Sequence,
    *,
    label: str,
    alt: str | Callable[..., str],
    caption: str = "",
    start: int = 0,
) -> Bundle | None:
    """A picture that moves with a slider. Live, the kernel draws each frame; stored, the frames are in the page.

    Args:
        draw: from one of `values` to a finished matplotlib figure, the same size for all.
        values: 2 to 24 values in the slider's order; numbers or texts.
        label: what the slider sets, such as "learning rate η".
        alt: what the picture shows: a text, or a function from a value to a text.
        caption: a sentence below the picture: what to look for.
        start: index of the value shown first, and the only one where scripts are stripped.
    Raises:
        ValueError: an empty text, too few or too many values or two that read alike, `start` outside them, or `draw`
            returns no figure.
    """
    require_text("slider", label=label, **({} if callable(alt) else {"alt": alt}))
    values, texts = _check_values(values)
    if check_count("slider", "start", start, at_least=0) >= len(values):
        raise ValueError(f"slider: start must be an index of values, got {start}")
    alts = [
        alt(value) if callable(alt) else f"{alt} ({label}: {text})" for value, text in zip(values, texts, strict=True)
    ]
    for said in alts:
        require_text("slider", alt=said)
    frames, widths = zip(*(_frame(draw, value) for value in values), strict=True)
    width = widths[start]
    face = _stored_face(frames, texts, alts, start, label=label, caption=caption, width=width)
    if not is_live():
        return Bundle({"text/html": face, "text/plain": f"[slider: {alts[start]}]"})
    show_now(Bundle({"text/html": f'<div class="slider-behind">{face}</div><style>{asset("slider-live.css")}</style>'}))
    show_now(_widget(draw, values, texts, start, label=label, caption=caption, width=width))
    return None


def _check_values(values: Sequence) -> tuple[list, list[str]]:
    """The values as a list, and each one's text."""
    try:
        values = list(values)
        texts = [value if isinstance(value, str) else f"{value:g}" for value in values]
    except TypeError:
        raise ValueError(f"slider: values must be numbers or texts, got {values!r}") from None
    if not 2 <= len(values) <= MAX_FRAMES:
        raise ValueError(f"slider: values must hold 2 to {MAX_FRAMES} values, got {len(values)}")
    if len(set(texts)) < len(texts):
        raise ValueError(f"slider: values must read differently with :g, got {texts}")
    return values, texts


def _frame(draw: Callable[..., Figure], value: object) -> tuple[bytes, int]:
    """The picture of one value and its width on the page, taken at once: `draw` may use one figure for all."""
    fig = draw(value)
    if not isinstance(fig, Figure):
        raise ValueError(f"slider: draw must return a matplotlib figure, got {type(fig).__name__}")
    return picture(fig, dpi=STORED_PIXELS_PER_INCH), round(fig.get_figwidth() * 96)


def _stored_face(
    frames: Sequence[bytes], texts: list[str], alts: list[str], start: int, *, label: str, caption: str, width: int
) -> str:
    stored = [{"src": data_uri(f), "text": t, "alt": a} for f, t, a in zip(frames, texts, alts, strict=True)]
    data = json.dumps(stored).replace("</", r"<\/")  # no text may close the script
    name = content_id("slider", label, *(frame["src"] for frame in stored))
    below = f'<figcaption style="max-width:{width}px">{escape(caption)}</figcaption>' if caption else ""
    return (
        f'<figure class="slider" id="{name}" style="margin:1em 0">'
        f'<div class="slider-row" style="display:none;gap:.8em;align-items:center;flex-wrap:wrap">'
        f'<label for="{name}-input">{escape(label)}</label><input id="{name}-input" type="range" {NO_SHORTCUTS} '
        f'min="0" max="{len(stored) - 1}" step="1" value="{start}" aria-valuetext="{escape(texts[start])}" '
        f'style="flex:1;min-width:10em;max-width:24em"><output for="{name}-input">{escape(texts[start])}</output></div>'
        f'<p class="slider-hint"><em>Run this cell to move the slider.</em></p>'
        f'<img src="{stored[start]["src"]}" width="{width}" alt="{escape(alts[start])}" style="{CARD}">{below}'
        f'<script type="application/json">{data}</script>'
        f"<script>{asset('slider.js').replace('ID', name)}</script></figure>"
    )


def _widget(
    draw: Callable[..., Figure], values: list, texts: list[str], start: int, *, label: str, caption: str, width: int
) -> object:
    control = ipywidgets.SelectionSlider(
        options=list(zip(texts, range(len(values)), strict=True)), value=start, description=label,
        style={"description_width": "initial"}, layout={"width": "44em", "max_width": "100%"},
    )  # fmt: skip
    image = ipywidgets.Image(value=picture(draw(values[start])), format="png", width=width)
    control.observe(lambda change: setattr(image, "value", picture(draw(values[change["new"]]))), names="value")
    parts = [control, image, *([ipywidgets.HTML(f"<em>{escape(caption)}</em>")] if caption else [])]
    box = ipywidgets.VBox(parts)
    box.add_class("slider-live")
    return box
