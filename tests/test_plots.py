"""Plots draw what they are given: values, bands, and styles that do not depend on colour alone."""

import numpy as np
import pytest
import torch

from labsupport import data, plots


def test_mean_and_band():
    _, ax = plots.subplots()
    values = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    plots.mean_and_error(ax, [0, 1], {"a": values, "b": values + 1}, xlabel="x", ylabel="y")
    assert ax.lines[0].get_ydata().tolist() == [2.0, 4.0]
    low = ax.collections[0].get_paths()[0].vertices[:, 1].min()
    assert np.isclose(low, 2 - np.std([1, 3], ddof=1) / np.sqrt(2))
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 2
    assert len({line.get_linestyle() for line in ax.lines}) == 2


def test_series_paths_and_contours():
    assert plots.subplots(rows=3)[1].shape == (3,) and plots.subplots(2, rows=3)[1].shape == (3, 2)
    _, axes = plots.subplots(2)
    plots.series(axes[0], [0, 1], {"one": [1, 2]}, xlabel="x", ylabel="y")
    assert axes[0].get_legend() is None and axes[0].get_xlabel() == "x"
    plots.contours(axes[1], data.strict_saddle)
    plots.paths(axes[1], {"a": torch.zeros(3, 2), "b": torch.ones(3, 2)})
    assert axes[1].get_legend() is not None


def test_refusals():
    with pytest.raises(ValueError, match="subplots: columns must be an integer >= 1, got 0"):
        plots.subplots(0)
    _, ax = plots.subplots()
    with pytest.raises(ValueError, match=r"mean_and_error: curve 'a' must be \(seeds >= 2, 2\)"):
        plots.mean_and_error(ax, [0, 1], {"a": torch.zeros(1, 2)}, xlabel="x", ylabel="y")


LABELS = {"xlabel": "x", "ylabel": "y"}
COMPLEX = torch.zeros(2, dtype=torch.complex64)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda ax: plots.subplots(True), r"subplots: columns must be an integer >= 1, got True"),
        (lambda ax: plots.subplots(rows=0), r"subplots: rows must be an integer >= 1, got 0"),
        (lambda ax: plots.subplots(size=3), r"subplots: size must be \(width, height\) in inches, got 3"),
        (lambda ax: plots.subplots(size=(0, 1)), r"subplots: each of size must be > 0, got 0"),
        (lambda ax: plots.series([ax], [0], {"a": [1]}, **LABELS), "series: ax must be one matplotlib Axes, got list"),
        (lambda ax: plots.series(ax, [0, 1], {"a": torch.zeros(2, 3)}, **LABELS), r"'a' must be \(2,\), got \(2, 3"),
        (lambda ax: plots.series(ax, [0, 1], {"a": COMPLEX}, **LABELS), "'a' must be real numbers, got torch.complex"),
        (lambda ax: plots.series(ax, [0, 1], {"a": ["x", 1]}, **LABELS), "curve 'a' must be real numbers, got list"),
        (lambda ax: plots.series(ax, [0, 1], [[1, 2]], **LABELS), "must be a dict from name to values, got list"),
        (lambda ax: plots.mean_and_error(ax, 3, {}, **LABELS), r"mean_and_error: x must be \(n,\) positions"),
        (lambda ax: plots.paths(ax, {"a": torch.zeros(5, 3, 2)}), r"'a' must be \(steps >= 1, 2\), got \(5, 3, 2\)"),
        (lambda ax: plots.paths(ax, {"a": torch.zeros(2, 5)}), r"curve 'a' must be \(steps >= 1, 2\), got \(2, 5\)"),
        (lambda ax: plots.paths(ax, {"a": torch.zeros(1, 2), "b": torch.zeros(0, 2)}), "curve 'b' must be"),
        (lambda ax: plots.contours(ax, data.strict_saddle, half_width=0), "contours: half_width must be > 0, got 0"),
        (lambda ax: plots.contours(ax, data.strict_saddle, points=1), "contours: points must be an integer >= 2"),
        (lambda ax: plots.contours(ax, torch.sum), r"contours: f must map points .*\(121, 121\), got \(\)"),
    ],
)
def test_plots_refuse_before_they_draw(draw, message):
    _, ax = plots.subplots()
    with pytest.raises(ValueError, match=message):
        draw(ax)
    assert not ax.has_data()


def test_many_curves_look_different_and_low_precision_is_drawn_in_full():
    _, ax = plots.subplots()
    plots.series(ax, [0, 1], {str(k): torch.ones(2).bfloat16() for k in range(30)}, **LABELS)
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in ax.lines}) == 30
    _, ax = plots.subplots()
    plots.mean_and_error(ax, [0], {"a": torch.full((3, 1), 6e4).half()}, **LABELS)
    assert np.isfinite(ax.lines[0].get_ydata()).all()
