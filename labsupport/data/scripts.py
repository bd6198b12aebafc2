"""The alphabets that `glyphs` can draw, and the font faces inside matplotlib that hold each of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from labsupport.values import check_choice

__all__ = ["ALPHABETS", "faces", "font_file"]

_SANS = ("DejaVuSans", "DejaVuSans-Bold")
_SANS_SLANTED = ("DejaVuSans-Oblique", "DejaVuSans-BoldOblique")
_MONO = ("DejaVuSansMono", "DejaVuSansMono-Bold")
_MONO_SLANTED = ("DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique")
_SERIF = ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic")
_STIX = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta")
_TWELVE = _SANS + _SANS_SLANTED + _MONO + _MONO_SLANTED + _SERIF
_SIXTEEN = _TWELVE + _STIX


def _run(first: int, last: int, *, leave_out: str = "") -> str:
    return "".join(char for char in map(chr, range(first, last + 1)) if char not in leave_out)


# No final sigma, no combining marks; Arabic has the 28 letters in their isolated forms.
_TABLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "digits": ("0123456789", _SIXTEEN),
    "latin_upper": (_run(0x41, 0x5A), _SIXTEEN),
    "latin_lower": (_run(0x61, 0x7A), _SIXTEEN),
    "greek_upper": (_run(0x391, 0x3A9, leave_out="\u03a2"), _SIXTEEN),
    "greek_lower": (_run(0x3B1, 0x3C9, leave_out="ς"), _SIXTEEN),
    "cyrillic_upper": (_run(0x410, 0x42F), _SIXTEEN),
    "cyrillic_lower": (_run(0x430, 0x44F), _SIXTEEN),
    "armenian_upper": (_run(0x531, 0x556), _TWELVE),
    "armenian_lower": (_run(0x561, 0x586), _TWELVE),
    "georgian": (_run(0x10D0, 0x10F0), _TWELVE),
    "hebrew": (_run(0x5D0, 0x5EA), _SANS + _SANS_SLANTED),
    "arabic": (_run(0x627, 0x64A, leave_out="ة" + _run(0x63B, 0x640) + "ى"), _SANS + _MONO),
    "lisu": (_run(0xA4D0, 0xA4F7), _SANS + _SANS_SLANTED),
    "old_italic": (_run(0x10300, 0x1031E), _SANS + _SANS_SLANTED),
    "tifinagh": (_run(0x2D30, 0x2D65), _SANS),
    "nko": (_run(0x7CA, 0x7E7), _SANS),
    "ogham": (_run(0x1681, 0x169A), _SANS),
}

ALPHABETS: Mapping[str, str] = MappingProxyType({name: characters for name, (characters, _) in _TABLE.items()})
"""Name of each alphabet and its characters, in the order of their class numbers."""


def faces(alphabet: str) -> tuple[str, ...]:
    """Names of the font faces that hold every character of an alphabet.

    Sixteen for digits, Latin, Greek and Cyrillic (DejaVu Sans, Mono and Serif, STIX); twelve (DejaVu) for
    Armenian and Georgian; four for Hebrew, Arabic, Lisu and Old Italic; two for Tifinagh, N'Ko and Ogham.

    Raises:
        ValueError: no such alphabet.
    """
    check_choice("faces", "alphabet", alphabet, ALPHABETS)
    return _TABLE[alphabet][1]


@cache
def _font_folder() -> Path:
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("glyphs: matplotlib is not installed, and its fonts are needed: pip install matplotlib")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


def font_file(face: str) -> Path:
    """The file of a font face inside the installed matplotlib, which is not imported.

    Raises:
        ValueError: the course uses no such face.
        FileNotFoundError: matplotlib or this face of it is not there.
    """
    check_choice("font_file", "face", face, _SIXTEEN)
    path = _font_folder() / f"{face}.ttf"
    if not path.is_file():
        mend = "pip install --force-reinstall matplotlib"
        raise FileNotFoundError(f"glyphs: {path} is missing; install matplotlib again: {mend}")
    return path
