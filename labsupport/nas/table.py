"""The 750 cells after training: accuracies that any strategy is played on in milliseconds.

    table = load()
    table.valid[1, 0, cells.row(code)]            # what a search is told: middle rate, first seed
    truth(table, seed=0)[1, cells.row(code)]      # what it should have been told: test, mean over the other seeds

`chapters/nas/tables/cells.py` says how they were made. Accuracies are fractions of 1,000 images, in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from labsupport.experiments import tables
from labsupport.values import check_count

__all__ = ["Table", "load", "truth"]

_SEEDS, _EPOCHS, _IMAGES = 5, 8, 1000
_MIDDLE = 1


class Table(NamedTuple):
    """Accuracies of every cell; cells in the order of `cells.codes()`.

    Attributes:
        rates: the three learning rates.
        valid, test: (rates, seeds, cells) after eight epochs.
        course: (seeds, cells, epochs) on validation images after each epoch, at the middle rate, as all that follow.
        fewer: (seeds, cells) on validation images after eight epochs on a quarter of the training images.
        narrow: (seeds, cells) on validation images with a quarter of the width.
    """

    rates: tuple[float, ...]
    valid: Tensor
    test: Tensor
    course: Tensor
    fewer: Tensor
    narrow: Tensor


def load() -> Table:
    """The table `nas/cells`."""
    rows = tables.load("nas/cells")
    rates = tuple(dict.fromkeys(row["lr"] for row in rows))
    at = [[row for row in rows if row["lr"] == rate] for rate in rates]
    valid, test = (torch.stack([_column(blocks, name) for blocks in at]) for name in ("valid", "test"))
    middle = {name: _column(at[_MIDDLE], name) for name in ("fewer", "narrow")}
    return Table(rates, valid, test, _column(at[_MIDDLE], "course", _EPOCHS), **middle)


def truth(table: Table, *, seed: int) -> Tensor:
    """What a search that sees one seed's validation should have been told: mean test accuracy over the other seeds.

    Returns:
        (rates, cells).
    Raises:
        ValueError: `seed` is none of the table's, 0 …
    """
    count = table.test.shape[1]
    if check_count("truth", "seed", seed, at_least=0) >= count:
        raise ValueError(f"truth: seed must be below {count}, got {seed}")
    return (table.test.sum(1) - table.test[:, seed]) / (count - 1)


def _column(blocks: list[dict[str, Any]], name: str, *last: int) -> Tensor:
    parts = [torch.tensor(block[name], dtype=torch.float64).view(_SEEDS, -1, *last) for block in blocks]
    return torch.cat(parts, 1) / _IMAGES
