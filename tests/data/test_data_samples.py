"""Samples of a pool: each seed's own, without overlap, and the same in any company."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labsupport import data

SIZES = {"num_train": 30, "num_valid": 12, "num_test": 8}


@pytest.fixture(scope="module")
def pool():
    return torch.arange(120.0).view(60, 2), torch.arange(60) % 3


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=6, unique=True), st.data())
def test_no_row_stands_twice_and_a_seed_draws_the_same_in_any_company(seeds, draw):
    x = torch.arange(60.0)
    whole = data.partitions((x, x), **SIZES, seeds=seeds)
    for at, seed in enumerate(seeds):
        rows = torch.cat([part.index[at] for part in (whole.train, whole.valid, whole.test)])
        assert len(rows.unique()) == 50 and int(rows.min()) >= 0 and int(rows.max()) < 60
        alone = data.partitions((x, x), **SIZES, seeds=[seed])
        assert torch.equal(alone.train.index[0], whole.train.index[at])


def test_every_row_is_drawn_equally_often(pool):
    counts = torch.zeros(60)
    parts = data.partitions(pool, **SIZES, seeds=range(4000))
    counts.scatter_add_(0, parts.train.index.flatten(), torch.ones(4000 * 30))
    assert (counts / 4000 - 0.5).abs().max() < 4.5 * (0.25 / 4000) ** 0.5


def test_a_sample_is_neither_start_nor_order_of_its_seed(pool):
    order = torch.randperm(60, generator=torch.Generator().manual_seed(5))
    assert not torch.equal(data.partitions(pool, **SIZES, seeds=[5]).train.index[0], order[:30])


def test_a_split_is_what_a_seed_has(pool):
    parts = data.partitions(pool, **SIZES, seeds=[4, 9])
    split = parts.split(9)
    assert torch.equal(split.valid[0], pool[0][parts.valid.index[1]]) and len(split.test[0]) == 8
    own = torch.stack([torch.zeros(60), torch.arange(60.0)])
    taught = parts.with_targets(own)
    assert torch.equal(taught.split(9).train[1], parts.train.index[1].double().float())
    there = taught.to(torch.float64)
    assert there.train.targets.dtype == torch.float64 and there.train.targets is there.test.targets
    assert there.train.index.dtype == torch.int64 and there.pool[0].dtype == torch.float64


def test_a_pool_made_of_a_split_keeps_its_classes():
    digits = data.digits(flat=False, generator=torch.Generator().manual_seed(0))
    parts = data.partitions(digits, num_train=1000, num_valid=400, num_test=397, seeds=[0])
    assert parts.class_names == digits.class_names and parts.num_classes == 10 == parts.split(0).num_classes
    assert torch.equal(parts.pool[0], torch.cat([digits.train[0], digits.valid[0], digits.test[0]]))
    assert parts.flat().pool[0].shape == (1797, 64) and repr(parts).startswith("Partitions(1 seeds, train 1000")
