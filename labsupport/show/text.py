"""Code, tables and numbers with their errors, as a page shows them."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from labsupport.show.bundles import Bundle

__all__ = ["measured", "rounded", "source", "table"]


def source(obj: Callable) -> Bundle:
    """The package's own code of a function or class, as it runs, with where it stands.

    Raises:
        ValueError: `obj` has no Python source.
    """
    try:
        text = inspect.getsource(obj).rstrip()
    except (TypeError, OSError) as error:
        raise ValueError(f"source: obj must be a Python function or class, got {obj!r}") from error
    where = f"{obj.__module__}.{obj.__qualname__}"
    return Bundle({"text/markdown": f"`{where}`\n\n```python\n{text}\n```", "text/plain": text})


def rounded(effect: float, error: float) -> tuple[str, str]:
    """Effect and error as text, with as many digits as the error allows.

    The error keeps two significant digits where they are below 36, else one (the rule of the Particle Data Group).
    An error of 0 (nothing random) leaves three significant digits of the effect.
    """
    if not math.isfinite(effect) or not math.isfinite(error):
        return str(effect), str(error)
    if error < 0:
        raise ValueError(f"rounded: error must be >= 0, got {error}")
    size = error if error > 0 else abs(effect) / 10
    power = math.floor(math.log10(size)) if size > 0 else 0
    few = error > 0 and size / 10**power >= 3.55
    decimals = max(0, (0 if few else 1) - power)
    return f"{effect:.{decimals}f}".replace("-", "−"), f"{error:.{decimals}f}"


def measured(values: Sequence[float]) -> str:
    """`mean ± standard error` of repeated measurements, as text.

    Args:
        values: at least two numbers (or a 1-d tensor), one per seed.
    Raises:
        ValueError: fewer than two values.
    """
    values = [float(value) for value in values]
    if len(values) < 2:
        raise ValueError(f"measured: values must hold >= 2 numbers, got {len(values)}")
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return "\u00a0±\u00a0".join(rounded(mean, math.sqrt(variance / len(values))))


def table(rows: Mapping[str, Sequence], *, columns: Sequence[str], corner: str = "") -> Bundle:
    """A table with a name before each row.

    Args:
        rows: name of a row to its cells; numbers are printed with `:g`, text as it is.
        columns: a heading for each cell of a row.
        corner: a heading for the rows' names.
    Raises:
        ValueError: a row's length differs from the number of columns, or there is no row.
    """
    if not rows:
        raise ValueError("table: rows must hold at least one row, got none")
    lines = {name: [_cell(value) for value in cells] for name, cells in rows.items()}
    for name, cells in lines.items():
        if len(cells) != len(columns):
            raise ValueError(f"table: row {name!r} must have {len(columns)} cells, got {len(cells)}")
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in (corner, *columns) if text or corner is not text)
    head = f"<td></td>{head}" if not corner else head
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for name, cells in lines.items()
    )
    html = f'<table class="measured"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return Bundle({"text/html": html, "text/plain": _plain([[corner, *columns], *([n, *c] for n, c in lines.items())])})


def _cell(value: object) -> str:
    return value if isinstance(value, str) else f"{value:g}".replace("-", "−")


def _plain(lines: list[list[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
