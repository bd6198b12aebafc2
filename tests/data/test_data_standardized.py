"""Standardized splits: what training says of means and sizes serves all parts."""

import pytest
import torch

from labsupport import data
from labsupport.counters import seeded
from labsupport.data import Split


def part(n, seed):
    x = torch.randn(n, 4, generator=seeded(seed), dtype=torch.float64) + torch.arange(4)
    return x * torch.tensor([1.0, 0.1, 3.0, 1.0]), torch.arange(n) % 3


@pytest.fixture
def split():
    return Split(part(120, 0), part(60, 1), part(60, 2), class_names=("a", "b", "c"))


def test_standardized_by_what_training_says(split):
    moved = data.standardized(split)
    assert torch.allclose(moved.train[0].mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-12)
    assert moved.train[0].square().mean().item() == pytest.approx(1.0)
    by = (split.train[0] - split.train[0].mean(0)).square().mean().sqrt()
    assert torch.allclose(moved.test[0], (split.test[0] - split.train[0].mean(0)) / by)
    each = data.standardized(split, scale="feature")
    assert torch.allclose(each.train[0].std(0, correction=0), torch.ones(4, dtype=torch.float64))
    centred = data.standardized(split, scale=1.0)
    assert torch.equal(centred.valid[0], split.valid[0] - split.train[0].mean(0))
    assert moved.class_names == split.class_names and torch.equal(moved.train[1], split.train[1])
    blank = data.standardized(data.digits(generator=seeded(0)), scale="feature")  # pixels that are always white
    assert blank.train[0].isfinite().all()


def test_a_feature_that_does_not_vary_is_left(split):
    x = torch.randn(1000, 2, generator=seeded(0))
    x[:, 1] = 0.1
    y = torch.zeros(1000)
    moved = data.standardized(Split((x, y), (x, y), (x + torch.tensor([0.0, 1e-3]), y)), scale="feature")
    assert moved.test[0][:, 1].abs().max() < 2e-3
    wild = Split((x * 1e25, y), (x, y), (x, y))
    with pytest.raises(ValueError, match="standardized: split must have features that vary, by amounts that"):
        data.standardized(wild)
    with pytest.raises(ValueError, match="standardized: split must have x that stay finite"):
        data.standardized(Split((x, y), (x, y), (x, y)), scale=1e-44)


@pytest.mark.parametrize(
    ("give", "rule"),
    [
        (lambda s: data.standardized(3), "standardized: split must be a Split with floating-point x"),
        (lambda s: data.standardized(s, scale="pixel"), "scale must be one of 'all', 'feature'"),
        (lambda s: data.standardized(s, scale=0), "a number > 0, got 0"),
        (lambda s: data.standardized(s, scale=-1.0), "scale must be a finite number >= 0"),
        (lambda s: data.standardized(Split(*((torch.ones_like(x), y) for x, y in (s.train, s.valid, s.test)))),
         "must have features that vary"),
    ],
)  # fmt: skip
def test_standardized_refuses(split, give, rule):
    with pytest.raises(ValueError, match=rule):
        give(split)
