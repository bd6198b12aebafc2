"""Code, tables and numbers with their errors, as a page shows them."""

import inspect
import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from html import escape
from numbers import Integral, Real

from labsupport.experiments.samples import Estimate, Samples
from labsupport.show.bundles import Bundle

__all__ = ["measured", "rounded", "source", "table"]


def source(obj: Callable) -> Bundle:
    """The package's own code of a function or class, as it runs, with where it stands.

    Raises:
        ValueError: `obj` has no Python source.
    """
    try:
        text = inspect.getsource(obj).rstrip()
        where = f"{obj.__module__}.{obj.__qualname__}"
    except (TypeError, OSError, AttributeError) as error:
        raise ValueError(f"source: obj must be a Python function or class, got {obj!r}") from error
    return Bundle({"text/markdown": f"`{where}`\n\n```python\n{text}\n```", "text/plain": text})


def rounded(effect: float, error: float) -> tuple[str, str]:
    """Effect and error as text, with as many digits as the error allows.

    The error keeps two significant digits where they are below 36, else one (the rule of the Particle Data Group).
    An error of 0 (nothing random), or one within float64's own rounding of the effect, leaves three significant
    digits of the effect.
    """
    if not math.isfinite(effect) or not math.isfinite(error):
        return str(effect), str(error)
    if error < 0:
        raise ValueError(f"rounded: error must be >= 0, got {error}")
    error = 0.0 if error <= 1e-14 * abs(effect) else error
    size = error if error > 0 else abs(effect) / 10
    power = math.floor(math.log10(size)) if size > 0 else 0
    few = error > 0 and size / 10**power >= 3.55
    decimals = max(0, (0 if few else 1) - power)
    return f"{effect:z.{decimals}f}".replace("-", "−"), f"{error:.{decimals}f}"


def measured(values: Sequence[float] | Samples | Estimate) -> str:
    """`mean ± standard error` of repeated measurements, as text.

    Args:
        values: at least two numbers (or a 1-d tensor), one per seed; samples of one condition; or an estimate.
    Raises:
        ValueError: fewer than two values, or one that is no number.
    """
    if isinstance(values, Samples | Estimate):
        value = values.mean if isinstance(values, Samples) else values.value
        return "\u00a0±\u00a0".join(rounded(value, values.error))
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, Sequence) or not all(isinstance(v, Real) and not isinstance(v, bool) for v in values):
        raise ValueError(f"measured: values must be a list or 1-d tensor of numbers, got {reprlib.repr(values)}")
    values = [float(value) for value in values]
    if len(values) < 2:
        raise ValueError(f"measured: values must hold >= 2 numbers, got {len(values)}")
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return "\u00a0±\u00a0".join(rounded(mean, math.sqrt(variance / len(values))))


def table(rows: Mapping[str, Sequence], *, columns: Sequence[str], corner: str = "") -> Bundle:
    """A table with a name before each row.

    Args:
        rows: name of a row to its cells; integers in full, other numbers with `:g`, text as it is.
        columns: a heading for each cell of a row.
        corner: a heading for the rows' names.
    Raises:
        ValueError: a row's length differs from the number of columns, a name or heading is no text, a cell is neither
            number nor text, or there is no row.
    """
    if not isinstance(rows, Mapping) or not rows:
        raise ValueError(f"table: rows must hold at least one row by its name, got {rows!r}")
    if isinstance(columns, str):
        raise ValueError(f"table: columns must be a list of texts, got {columns!r}")
    for text in (*rows, *columns):
        if not isinstance(text, str):
            raise ValueError(f"table: rows' names and columns must be texts, got {text!r}")
    lines = {name: [_cell(name, value) for value in cells] for name, cells in rows.items()}
    for name, cells in lines.items():
        if len(cells) != len(columns):
            raise ValueError(f"table: row {name!r} must have {len(columns)} cells, got {len(cells)}")
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in ((corner, *columns) if corner else columns))
    head = head if corner else f"<td></td>{head}"
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for name, cells in lines.items()
    )
    html = f'<table class="measured"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return Bundle({"text/html": html, "text/plain": _plain([[corner, *columns], *([n, *c] for n, c in lines.items())])})


def _cell(name: str, value: object) -> str:
    try:
        text = value if isinstance(value, str) else str(value) if isinstance(value, Integral) else f"{value:g}"
    except TypeError:
        raise ValueError(f"table: row {name!r} must hold numbers and texts, got {value!r}") from None
    return text if isinstance(value, str) else text.replace("-", "−")


def _plain(lines: list[list[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
