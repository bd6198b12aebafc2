"""A figure with a caption for everyone and a text for those who cannot see it."""

from html import escape

from matplotlib.figure import Figure

from labsupport.show.bundles import Bundle, data_uri, picture

__all__ = ["figure", "require_text"]

CARD = "background:#fff;padding:.5em;border-radius:6px;max-width:100%;height:auto;box-sizing:border-box"


def figure(fig: Figure, *, caption: str, alt: str) -> Bundle:
    """The figure as an output: a picture, its caption, and a text that says what is to be seen.

    Args:
        fig: a finished matplotlib figure; it is drawn once, not changed.
        caption: one or two sentences below the picture.
        alt: what the picture shows, for readers who cannot see it.
    Raises:
        ValueError: `fig` is no figure, or `caption` or `alt` is empty.
    """
    require_text("figure", caption=caption, alt=alt)
    if not isinstance(fig, Figure):
        raise ValueError(f"figure: fig must be a matplotlib figure, got {type(fig).__name__}")
    width = round(fig.get_figwidth() * 96)
    html = (
        f'<figure class="plot" style="margin:1em 0"><img src="{data_uri(picture(fig))}" width="{width}" '
        f'alt="{escape(alt)}" style="{CARD}">'
        f'<figcaption style="max-width:{width}px">{escape(caption)}</figcaption></figure>'
    )
    return Bundle({"text/html": html, "text/plain": f"[figure: {alt}]"})


def require_text(function: str, **texts: str) -> None:
    """Refuse an empty text by the name of its argument."""
    for name, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{function}: {name} must be a non-empty text, got {text!r}")
