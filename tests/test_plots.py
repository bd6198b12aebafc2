"""Plots draw what they are given: values, bands, and styles that do not depend on colour alone."""

import numpy as np
import pytest
import torch

from labsupport import data, plots


def test_mean_and_band():
    _, ax = plots.figure()
    values = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    plots.mean_and_error(ax, [0, 1], {"a": values, "b": values + 1}, xlabel="x", ylabel="y")
    assert ax.lines[0].get_ydata().tolist() == [2.0, 4.0]
    low = ax.collections[0].get_paths()[0].vertices[:, 1].min()
    assert np.isclose(low, 2 - np.std([1, 3], ddof=1) / np.sqrt(2))
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 2
    assert len({line.get_linestyle() for line in ax.lines}) == 2


def test_series_paths_and_contours():
    _, axes = plots.figure(2)
    plots.series(axes[0], [0, 1], {"one": [1, 2]}, xlabel="x", ylabel="y")
    assert axes[0].get_legend() is None and axes[0].get_xlabel() == "x"
    plots.contours(axes[1], data.strict_saddle)
    plots.paths(axes[1], {"a": torch.zeros(3, 2), "b": torch.ones(3, 2)})
    assert axes[1].get_legend() is not None


def test_refusals():
    with pytest.raises(ValueError, match="figure: columns must be >= 1, got 0"):
        plots.figure(0)
    _, ax = plots.figure()
    with pytest.raises(ValueError, match=r"mean_and_error: curve 'a' must be \(seeds >= 2, 2\)"):
        plots.mean_and_error(ax, [0, 1], {"a": torch.zeros(1, 2)}, xlabel="x", ylabel="y")
