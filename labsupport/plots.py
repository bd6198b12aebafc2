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

__all__ = ["PALETTE", "contours", "figure", "mean_and_error", "paths", "series"]

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


def figure(columns: int = 1, *, size: tuple[float, float] | None = None) -> tuple[Figure, Axes | np.ndarray]:
    """A figure in the course's style with its axes: one, or an array of `columns`.

    Args:
        columns: number of axes side by side, >= 1.
        size: width and height in inches; by default 7 × 3.6.
    Raises:
        ValueError: columns < 1.
    """
    if columns < 1:
        raise ValueError(f"figure: columns must be >= 1, got {columns}")
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=size or (7.0, 3.6), layout="constrained")
        return fig, fig.subplots(1, columns)


def series(ax: Axes, x: Sequence[float], curves: Mapping[str, Sequence[float]], *, xlabel: str, ylabel: str) -> None:
    """One labelled line per curve, in the palette's order, with a legend.

    Args:
        ax: where to draw.
        x: (n,) positions shared by the curves.
        curves: name to (n,) values; NaN leaves a gap.
    """
    for (name, values), color, dash in _styled(curves):
        ax.plot(_array(x), _array(values), color=color, linestyle=dash, label=name, linewidth=2)
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
    x = _array(x)
    for (name, values), color, dash in _styled(curves):
        values = _array(values)
        if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] != len(x):
            raise ValueError(f"mean_and_error: curve {name!r} must be (seeds >= 2, {len(x)}), got {values.shape}")
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
        half_width: the square drawn is [−half_width, half_width]².
    """
    line = torch.linspace(-half_width, half_width, points, dtype=torch.float64)
    x, y = torch.meshgrid(line, line, indexing="xy")
    z = f(torch.stack((x, y), dim=-1))
    ax.contour(line.numpy(), line.numpy(), z.numpy(), levels=levels, cmap="viridis", linewidths=0.8, alpha=0.8)
    ax.set(aspect="equal", xlabel="x", ylabel="y")
    ax.grid(False)


def paths(ax: Axes, walks: Mapping[str, torch.Tensor]) -> None:
    """Walks in the plane as lines, a ring at the start and a dot at the end.

    Args:
        ax: where to draw.
        walks: name to a tensor (steps, 2).
    """
    for (name, walk), color, dash in _styled(walks):
        walk = _array(walk)
        ax.plot(walk[:, 0], walk[:, 1], color=color, linestyle=dash, linewidth=1.8, label=name)
        ax.plot(*walk[0], marker="o", color=color, markerfacecolor="white", markersize=7)
        ax.plot(*walk[-1], marker="o", color=color, markersize=7)
    if len(walks) > 1:
        ax.legend(loc="best")


def _styled(curves: Mapping[str, Sequence[float]]) -> list:
    colors = list(PALETTE.values())
    return [(item, colors[i % len(colors)], DASHES[i % len(DASHES)]) for i, item in enumerate(curves.items())]


def _array(values: Sequence[float] | torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values, dtype=float)


def _finish(ax: Axes, xlabel: str, ylabel: str, count: int) -> None:
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if count > 1:
        ax.legend(loc="best")
