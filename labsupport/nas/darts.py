"""Choosing a cell by gradients: every decision becomes a softmax-weighted mixture, and its logits are trained too.

`soft_buffers` of logits are the buffers of a `CellNet` that is all cells at once; where each softmax puts all on one
choice, they are `cells.buffers` of that code. First order: steps on the logits by validation batches, and on the
weights by training batches, take turns, and neither looks at what its step does to the other.

Source: Liu, Simonyan & Yang 2019, arXiv:1806.09055, sections 2.2–2.4. A softmax over predecessors is ours: their nodes
read all earlier ones, and keep the strongest two in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from labsupport import population
from labsupport.counters import seeded
from labsupport.data import Partitions
from labsupport.nas import cells, shared
from labsupport.optimizers import adam, momentum
from labsupport.population.updates import update

__all__ = ["Plan", "Run", "darts", "discretize", "soft_buffers"]

Values = dict[str, Tensor]
_ADAM = adam()


@dataclass(frozen=True)
class Plan:
    """How long and how.

    Attributes:
        weights: how the weights are trained; its controller is not used.
        logits_lr: Adam's rate for the logits.
    """

    weights: shared.Plan = field(default_factory=shared.Plan)
    logits_lr: float = 0.03


class Run(NamedTuple):
    """Runs side by side: `weights` by the names of a CellNet, and `logits` of each decision, all (runs, …)."""

    weights: Values
    logits: Values


def darts(
    build: Callable[[torch.Generator], nn.Module], parts: Partitions, plan: Plan, *, seeds: Sequence[int]
) -> Run:  # fmt: skip
    """Runs of the search, one for each seed, on its own rows of `parts`; see `shared.enas` for the arguments.

    Logits begin as normal numbers of deviation 0.001.
    """
    how = plan.weights
    device = parts.pool[0].device
    begun = population.init(build, momentum(), {"lr": how.lr}, seeds=seeds).to(device)
    weights, velocity = begun.params, begun.slots["velocity"]
    starts = [seeded(seed) for seed in seeds]
    logits = {
        name: torch.stack([1e-3 * torch.randn(len(dim.choices), generator=draws) for draws in starts]).to(device)
        for name, dim in cells.SPACE.dims.items()
    }
    slots = torch.func.vmap(_ADAM.init)(logits)
    for epoch in range(how.num_epochs):
        pairs = zip(*(shared.batches(parts, part, seeds, epoch, how.batch_size) for part in ("train", "valid")),
                    strict=False)  # fmt: skip
        for (x, y), held_out in pairs:
            slopes = _slopes(weights, logits, *held_out)
            logits, slots = update(_ADAM, slopes, slots, logits, {**_ADAM.defaults, "lr": plan.logits_lr})
            weights, velocity = shared.weight_step(weights, velocity, soft_buffers(logits), x, y, how)
        shared.check_whole("darts", weights, seeds, epoch)
    return Run(weights, logits)


def soft_buffers(logits: Values) -> Values:
    """The buffers of a mixture of cells, (runs, …), from each decision's logits (runs, choices) by name.

    A node's share of the average is the probability that no later node reads it, over the sum of these.
    """
    p = {name: value.softmax(-1) for name, value in logits.items()}
    none = torch.zeros_like(p["from2"][:, :1])
    reads = torch.stack([
        torch.cat([1 + none, none, none], 1), torch.cat([p["from2"], none], 1), p["from3"]
    ], 1)  # fmt: skip
    applies = torch.stack([p[f"op{node}"][:, :-1] for node in (1, 2, 3)], 1)  # the last is zero
    unread = torch.stack([
        (1 - p["from2"][:, 1]) * (1 - p["from3"][:, 1]), 1 - p["from3"][:, 2], 1 + none[:, 0]
    ], 1)  # fmt: skip
    return {"reads": reads, "applies": applies, "ends": unread / unread.sum(1, keepdim=True)}


def discretize(logits: Values) -> list[cells.Params]:
    """The code of each run: every decision at its largest logit, no operation "zero", as in the paper."""
    best = {name: (each[:, :-1] if name.startswith("op") else each).argmax(1).tolist() for name, each in logits.items()}
    choices = {name: [cells.SPACE.dims[name].choices[at] for at in places] for name, places in best.items()}
    return [dict(zip(choices, code, strict=True)) for code in zip(*choices.values(), strict=True)]


def _slopes(weights: Values, logits: Values, x: Tensor, y: Tensor) -> Values:
    """The gradient of each run's loss on a batch in its logits, the weights as they are."""
    leaves = {name: value.detach().requires_grad_() for name, value in logits.items()}
    with torch.enable_grad():
        losses = cross_entropy(shared.outputs(weights, soft_buffers(leaves), x).mT, y, reduction="none").mean(1)
        return dict(zip(leaves, torch.autograd.grad(losses.sum(), list(leaves.values())), strict=True))
