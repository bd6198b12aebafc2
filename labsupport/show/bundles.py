"""Small pieces that the other files of this room share: a rich output, stable ids, a picture as text."""

import base64
import hashlib
import io
import os
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

__all__ = ["NO_SHORTCUTS", "Bundle", "asset", "content_id", "data_uri", "is_live", "picture", "show_now"]

PIXELS_PER_INCH = 144  # twice the size at which a page shows it: sharp on dense screens
# JupyterLab takes the arrow keys for itself unless the very element that has the focus says no.
NO_SHORTCUTS = 'data-lm-suppress-shortcuts="true"'
COLORS = 96  # of the palette; plots need few, and a palette makes the file a quarter as large
PALETTE = Image.Quantize.MAXCOVERAGE  # median cut drops rare colours, such as the end of a colour bar


@dataclass(frozen=True)
class Bundle:
    """An output with several faces: MIME type to content. Jupyter takes the richest one it knows."""

    data: dict[str, Any] = field(repr=False)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        return self.data

    def __repr__(self) -> str:
        return str(self.data.get("text/plain", ""))


def show_now(bundle: object) -> None:
    """Display a bundle or a widget at once, wherever in a cell the call stands."""
    if get_ipython() is None:
        print(bundle)
    else:
        display(bundle)


def content_id(prefix: str, *parts: str) -> str:
    """An HTML id that depends on the content alone, so that stored pages are byte-stable."""
    return f"{prefix}-{hashlib.sha1(chr(0).join(parts).encode()).hexdigest()[:10]}"


def asset(name: str) -> str:
    """The style or script of that name, which an output carries within itself."""
    return files("labsupport.show").joinpath("assets", name).read_text(encoding="utf-8")


def picture(fig: Figure, *, dpi: float = PIXELS_PER_INCH) -> bytes:
    """PNG bytes of a figure with a small palette; the same figure gives the same bytes."""
    raw = io.BytesIO()
    fig.savefig(raw, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    image = Image.open(raw).convert("RGB").quantize(COLORS, PALETTE, dither=Image.Dither.NONE)
    small = io.BytesIO()
    image.save(small, format="png", optimize=True)
    return small.getvalue()


def data_uri(png: bytes) -> str:
    """The picture as an address that an `img` element can carry."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def is_live() -> bool:
    """Whether a person sits before this kernel: then a slider becomes a widget.

    JupyterLab allows a cell to ask for input; nbclient, nbconvert and nbval do not. The environment
    variable LABSUPPORT_LIVE (0 or 1) overrides.
    """
    override = os.environ.get("LABSUPPORT_LIVE")
    if override is not None:
        return override == "1"
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    return bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin", False))
