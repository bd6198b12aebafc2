"""benchmarks/search_samplers.py: intervals after Holm, beside Holm's test by hand."""

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks import search_samplers


@pytest.mark.parametrize("seed", range(20))
def test_the_intervals_below_0_are_those_that_holm_rejects(seed):
    draws = torch.Generator().manual_seed(seed)
    excess = {name: torch.randn(40, generator=draws, dtype=torch.float64) - 0.12 * name for name in range(8)}
    found = search_samplers.holm(excess)
    chances = np.array([stats.ttest_1samp(values.numpy(), 0, alternative="less").pvalue for values in excess.values()])
    rejected, order = set(), np.argsort(chances)
    for place, name in enumerate(order):
        if chances[name] >= 0.025 / (8 - place):  # of two-sided intervals one side is looked at
            break
        rejected.add(int(name))
    assert list(found) == list(range(8))
    assert {name for name, end in found.items() if end < 0} == rejected
    one = excess[int(order[0])]
    wanted = stats.ttest_1samp(one.numpy(), 0).confidence_interval(1 - 0.05 / 8).high
    assert found[int(order[0])] == pytest.approx(wanted)


def test_one_comparison_has_the_plain_interval():
    values = torch.arange(10, dtype=torch.float64)
    wanted = stats.ttest_1samp(values.numpy(), 0).confidence_interval(0.95).high
    assert search_samplers.holm({"one": values}) == {"one": pytest.approx(wanted)}
