"""The loader of the 750 cells, on rows whose numbers are known."""

import pytest
import torch

from labsupport.experiments import tables
from labsupport.nas import table

SHAPES = {"valid": (5, 75), "test": (5, 75), "course": (5, 75, 8), "fewer": (5, 75), "narrow": (5, 75)}


def _number(rate, place, seed, cell, epoch=0):
    return (rate * 311 + place * 7 + seed * 131 + cell * 3 + epoch * 17) % 1001


@pytest.fixture
def made(monkeypatch):
    rows = []
    for rate, lr in enumerate((0.03, 0.1, 0.3)):
        for first in range(0, 750, 75):
            row = {"lr": lr, "first": first}
            for place, (name, shape) in enumerate(SHAPES.items()):
                if rate == 1 or name in ("valid", "test"):
                    row[name] = [
                        _number(rate, place, seed, first + cell, epoch)
                        for seed in range(5)
                        for cell in range(75)
                        for epoch in range(shape[2] if len(shape) > 2 else 1)
                    ]
            rows.append(row)
    monkeypatch.setattr(tables, "load", lambda name: {"nas/cells": rows}[name])
    return table.load()


def test_every_number_stands_in_its_place(made):
    assert made.rates == (0.03, 0.1, 0.3)
    assert made.valid.shape == made.test.shape == (3, 5, 750) and made.course.shape == (5, 750, 8)
    for rate, seed, cell in [(0, 0, 0), (2, 4, 749), (1, 3, 75), (0, 2, 300)]:
        assert made.valid[rate, seed, cell] == _number(rate, 0, seed, cell) / 1000
        assert made.test[rate, seed, cell] == _number(rate, 1, seed, cell) / 1000
        assert made.course[seed, cell, 5] == _number(1, 2, seed, cell, 5) / 1000
        assert made.fewer[seed, cell] == _number(1, 3, seed, cell) / 1000
        assert made.narrow[seed, cell] == _number(1, 4, seed, cell) / 1000


def test_the_truth_leaves_the_seed_out(made):
    others = [seed for seed in range(5) if seed != 3]
    torch.testing.assert_close(table.truth(made, seed=3), made.test[:, others].mean(1))
    with pytest.raises(ValueError, match="truth: seed must be below 5, got 5"):
        table.truth(made, seed=5)
