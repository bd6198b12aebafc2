"""Plots of finished numbers: each function draws on the axes it is given and trains nothing.

Colours are those of Okabe and Ito (2008), told apart with the common kinds of colour vision; lines differ in
dash as well.
"""

from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labsupport.values import check_count, check_number

__all__ = ["PALETTE", "contours", "mean_and_error", "paths", "series", "subplots"]

PALETTE = {
    "blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "red": "#D55E00",
    "purple": "#CC79A7", "sky": "#56B4E9", "black": "#000000",
}  # fmt: skip
DASHES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3))]
STYLE = {
    "font.size": 10.5, "axes.titlesize": 11, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#e4e4e4", "axes.axisbelow": True, "legend.frameon": False,
    "xtick.color": "#333333", "ytick.color": "#333333",
    "axes.prop_cycle": matplotlib.cycler(color=list(PALETTE.values())),
}  # fmt: skip


def subplots(
    columns: int = 1, *, rows: int = 1, size: tuple[float, float] | None = None
) -> tuple[Figure, Axes | np.ndarray]:
    """A figure in the course's style with its axes: one, or an array of `columns`, of `rows`, or (rows, columns).

    Args:
        columns: number of axes side by side, >= 1.
        rows: number of axes one above the other, >= 1.
        size: width and height in inches; by default 7 × 3.6.
    Raises:
        ValueError: a bound above is broken.
    """
    check_count("subplots", "columns", columns)
    check_count("subplots", "rows", rows)
    if size is not None and (not isinstance(size, (tuple, list)) or len(size) != 2):
        raise ValueError(f"subplots: size must be (width, height) in inches, got {size!r}")
    for side in size or ():
        if check_number("subplots", "each of size", side, low=0) == 0:
            raise ValueError(f"subplots: each of size must be > 0, got {side}")
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=size or (7.0, 3.6), layout="constrained")
        return fig, fig.subplots(rows, columns)


def series(ax: Axes, x: Sequence[float], curves: Mapping[str, Sequence[float]], *, xlabel: str, ylabel: str) -> None:
    """One labelled line per curve, in the palette's order, with a legend.

    Args:
        ax: where to draw.
        x: (n,) positions shared by the curves.
        curves: name to (n,) values; NaN leaves a gap.
    Raises:
        ValueError: a curve that is not (n,).
    """
    x = _check_canvas("series", ax, x)
    arrays = _arrays("series", curves, lambda shape: shape == x.shape, f"({len(x)},)")
    for (name, values), color, dash in _styled(arrays):
        ax.plot(x, values, color=color, linestyle=dash, label=name, linewidth=2)
    _finish(ax, xlabel, ylabel, len(curves))


def mean_and_error(
    ax: Axes, x: Sequence[float], curves: Mapping[str, torch.Tensor], *, xlabel: str, ylabel: str, marker: str = ""
) -> None:
    """Mean over seeds as a line, with a band of one standard error on either side.

    Args:
        ax: where to draw.
        x: (n,) positions shared by the curves.
        curves: name to a tensor (seeds, n) with at least two seeds.
        marker: matplotlib's marker at each position; none by default.
    Raises:
        ValueError: a curve that is not (seeds >= 2, n).
    """
    x = _check_canvas("mean_and_error", ax, x)
    arrays = _arrays(
        "mean_and_error", curves, lambda s: len(s) == 2 and s[0] >= 2 and s[1] == len(x), f"(seeds >= 2, {len(x)})"
    )
    for (name, values), color, dash in _styled(arrays):
        mean, error = values.mean(0), values.std(0, ddof=1) / np.sqrt(values.shape[0])
        ax.plot(x, mean, color=color, linestyle=dash, label=name, linewidth=2, marker=marker)
        ax.fill_between(x, mean - error, mean + error, color=color, alpha=0.25, linewidth=0)
    _finish(ax, xlabel, ylabel, len(curves))


def contours(
    ax: Axes, f: Callable[[torch.Tensor], torch.Tensor], *, half_width: float = 1.5, levels: int = 24, points: int = 121
) -> None:
    """Level lines of a function of two variables around the origin.

    Args:
        ax: where to draw.
        f: maps points (…, 2) to values (…).
        half_width: the square drawn is [−half_width, half_width]²; > 0.
        levels: about how many lines, >= 1.
        points: of the grid, along each side, >= 2.
    Raises:
        ValueError: a bound above is broken, or `f` returns another shape.
    """
    _check_axes("contours", ax)
    if check_number("contours", "half_width", half_width, low=0) == 0:
        raise ValueError("contours: half_width must be > 0, got 0")
    for name, value, least in (("levels", levels, 1), ("points", points, 2)):
        check_count("contours", name, value, at_least=least)
    line = torch.linspace(-half_width, half_width, points, dtype=torch.float64)
    x, y = torch.meshgrid(line, line, indexing="xy")
    z = f(torch.stack((x, y), dim=-1))
    if not isinstance(z, torch.Tensor) or z.shape != x.shape:
        got = tuple(z.shape) if isinstance(z, torch.Tensor) else type(z).__name__
        raise ValueError(f"contours: f must map points (…, 2) to a tensor (…), here {tuple(x.shape)}, got {got}")
    ax.contour(line.numpy(), line.numpy(), z.detach().numpy(), levels=levels, cmap="viridis", linewidths=0.8, alpha=0.8)
    ax.set(aspect="equal", xlabel="x", ylabel="y")
    ax.grid(False)


def paths(ax: Axes, walks: Mapping[str, torch.Tensor]) -> None:
    """Walks in the plane as lines, a ring at the start and a dot at the end.

    Args:
        ax: where to draw.
        walks: name to a tensor (steps >= 1, 2).
    Raises:
        ValueError: a walk that is not (steps >= 1, 2), such as one of several replicas.
    """
    _check_axes("paths", ax)
    arrays = _arrays("paths", walks, lambda s: len(s) == 2 and s[0] >= 1 and s[1] == 2, "(steps >= 1, 2)")
    for (name, walk), color, dash in _styled(arrays):
        ax.plot(walk[:, 0], walk[:, 1], color=color, linestyle=dash, linewidth=1.8, label=name)
        ax.plot(*walk[0], marker="o", color=color, markerfacecolor="white", markersize=7)
        ax.plot(*walk[-1], marker="o", color=color, markersize=7)
    if len(walks) > 1:
        ax.legend(loc="best")


def _styled(curves: Mapping[str, np.ndarray]) -> list:
    """Each curve with a colour and a dash; from the eighth on the dashes shift, so that no two look the same."""
    colors, count = list(PALETTE.values()), len(PALETTE)
    return [(item, colors[i % count], DASHES[(i + i // count) % len(DASHES)]) for i, item in enumerate(curves.items())]


def _array(where: str, name: str, values: Sequence[float] | torch.Tensor) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        if values.is_complex():
            raise ValueError(f"{where}: {name} must be real numbers, got {values.dtype}")
        return values.detach().cpu().double().numpy()  # NumPy has no bfloat16, and means of float16 overflow
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{where}: {name} must be real numbers, got {type(values).__name__} ({error})") from None


def _arrays(where: str, curves: Mapping[str, Sequence[float]], fits: Callable[[tuple], bool], shape: str) -> dict:
    """All curves as arrays, refused before anything is drawn."""
    if not isinstance(curves, Mapping):
        raise ValueError(f"{where}: what is drawn must be a dict from name to values, got {type(curves).__name__}")
    arrays = {name: _array(where, f"curve {name!r}", values) for name, values in curves.items()}
    for name, values in arrays.items():
        if not fits(values.shape):
            raise ValueError(f"{where}: curve {name!r} must be {shape}, got {values.shape}")
    return arrays


def _check_axes(where: str, ax: Axes) -> None:
    if not isinstance(ax, Axes):
        raise ValueError(f"{where}: ax must be one matplotlib Axes, got {type(ax).__name__}")


def _check_canvas(where: str, ax: Axes, x: Sequence[float]) -> np.ndarray:
    _check_axes(where, ax)
    positions = _array(where, "x", x)
    if positions.ndim != 1:
        raise ValueError(f"{where}: x must be (n,) positions, got shape {positions.shape}")
    return positions


def _finish(ax: Axes, xlabel: str, ylabel: str, count: int) -> None:
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if count > 1:
        ax.legend(loc="best")
