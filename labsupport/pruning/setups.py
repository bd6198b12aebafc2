"""The trained networks that the chapter's pages prune: one for each seed, on digits of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from labsupport import data, experiments, models, optimizers
from labsupport.experiments import Runs
from labsupport.population import Plan
from labsupport.values import check_choice, check_count

__all__ = ["network", "trained"]


def network(generator: torch.Generator) -> nn.Sequential:
    """The network 64-128-64-10 of ReLUs that most pages prune: 17,024 weights and 202 biases."""
    return models.mlp([64, 128, 64, 10], generator=generator)


def trained(
    build: Callable[[torch.Generator], nn.Module], *, seeds: Iterable[int], num_epochs: int = 30,
    num_train: int = 1000, flat: bool = True,
) -> Runs:  # fmt: skip
    """Networks trained to the end by Adam at 0.002 in batches of 32, each on its own draw of the digits, in float64.

    Args:
        build: generator -> module, from (n, 64), or from (n, 1, 8, 8) where `flat` is False, to (n, 10).
        seeds: one for each network: of its start, order and examples.
        num_epochs: >= 1.
        num_train: training examples, 1 … 1,000; 400 others validate and 397 test.
    Raises:
        ValueError: a bound above is broken, or as `experiments.run`.
    """
    if check_count("trained", "num_train", num_train) > 1000:
        raise ValueError(f"trained: num_train must be <= 1000, got {num_train}")
    check_choice("trained", "flat", flat, (True, False))
    pool = data.digits(flat=flat, generator=experiments.seeded(0)).to(torch.float64)
    parts = data.partitions(pool, num_train=num_train, num_valid=400, num_test=397, seeds=seeds)
    plan = Plan(num_epochs, 32, valid_every=num_epochs, progress=False)
    return experiments.run(build, parts, optimizers.adam(), {"lr": 0.002}, plan, seeds=parts.seeds)
