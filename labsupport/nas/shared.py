"""One set of weights for all 750 cells, and the controller that learns on it: efficient neural architecture search.

Steps on the shared weights, each for a cell that the controller draws, and steps of the controller, rewarded by the
drawn cell's accuracy on a batch of validation, take turns. Many runs go side by side: every tensor has an axis of runs
in front, and `cells.buffers` make each run's cell its own.

    plan = Plan()
    run = enas(build, parts, plan, seeds=range(4))
    accuracies(run.weights, x, y)                       # of all 750 cells, with the shared weights

Source: Pham, Guan, Zoph, Le & Dean 2018, arXiv:1802.03268, section 2.2. That c is 1.1 for cells, 1.5 for chains, and
2.5 times smaller for operations stands in the authors' launch scripts, as do Adam at 0.0035 and a weight of 0.0001 for
the entropy; there is no temperature in those for images (the one for text has 5, with c = 2.5). Their code clips the
gradients of the shared weights at norm 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from labsupport import counters, population
from labsupport.data import Partitions
from labsupport.nas import cells, policy
from labsupport.nas.policy import Learner, Policy
from labsupport.optimizers import momentum
from labsupport.values import check_count, check_number, holds

__all__ = [
    "Plan", "Run", "accuracies", "batches", "bounded", "check_whole", "draw", "drawn_buffers", "enas", "outputs",
    "pick", "weight_step",
]  # fmt: skip

Values = dict[str, Tensor]
_BUFFERS = ("reads", "applies", "ends")


def bounded(*, tanh_constant: float = 1.1, reduce: float = 2.5, temperature: float = 1.0, **learning: float) -> Policy:
    """The controller of `cells.SPACE` whose logits are c · tanh(logit / temperature), c / reduce for operations."""
    bounds = tuple(tanh_constant / (reduce if name.startswith("op") else 1.0) for name in cells.SPACE.dims)
    sizes = tuple(len(dim.choices) for dim in cells.SPACE.dims.values())
    return Policy(sizes, bounds=bounds, temperature=temperature, **learning)


@dataclass(frozen=True)
class Plan:
    """How long and how the two take turns.

    Attributes:
        num_epochs: passes of the shared weights over the training part, >= 1; each is followed by steps of the
            controller.
        batch_size: examples in a step, of training or of validation.
        lr, momentum: of the shared weights.
        clip: the largest norm of a gradient of the shared weights; a longer one is shortened to it. Without that, the
            steps for one cell after another diverge.
        controller_steps: after each epoch, >= 0.
        controller: how it decides and learns.
    Raises:
        ValueError: a bound above is broken.
    """

    num_epochs: int = 60
    batch_size: int = 64
    lr: float = 0.1
    momentum: float = 0.9
    clip: float = 5.0
    controller_steps: int = 15
    controller: Policy = bounded(lr=0.0035, entropy_weight=0.0001, baseline_decay=0.99)  # noqa: RUF009

    def __post_init__(self) -> None:
        check_count("Plan", "num_epochs", self.num_epochs)
        check_count("Plan", "batch_size", self.batch_size)
        check_count("Plan", "controller_steps", self.controller_steps, at_least=0)
        for name in ("lr", "clip"):
            check_number("Plan", name, getattr(self, name), low=0.0)
        check_number("Plan", "momentum", self.momentum, low=0.0, high=1.0)


class Run(NamedTuple):
    """Runs side by side: shared `weights` and their `velocity` (runs, …) by the names of a CellNet, the controllers."""

    weights: Values
    velocity: Values
    learner: Learner


def enas(
    build: Callable[[torch.Generator], nn.Module], parts: Partitions, plan: Plan, *, seeds: Sequence[int]
) -> Run:  # fmt: skip
    """Runs of the search, one for each seed, on its own rows of `parts`; the weights lie on their device.

    Args:
        build: generator -> CellNet.
        parts: the samples of `data.partitions`, with a row for each of the seeds.
    Raises:
        ValueError: no seed, a seed without rows, or parts smaller than a batch.
    """
    begun = population.init(build, momentum(), {"lr": plan.lr}, seeds=seeds).to(parts.pool[0].device)
    run = Run(begun.params, begun.slots["velocity"], policy.start(plan.controller, seeds=seeds))
    if min(len(parts.train), len(parts.valid)) < plan.batch_size:
        raise ValueError(f"enas: parts must hold a batch of {plan.batch_size} of training and validation")
    steps = len(parts.train) // plan.batch_size
    for epoch in range(plan.num_epochs):
        for at, (x, y) in enumerate(batches(parts, "train", seeds, epoch, plan.batch_size)):
            chosen = draw(plan.controller, run.learner, seeds, epoch * steps + at, stream=0)
            moved = weight_step(run.weights, run.velocity, drawn_buffers(chosen, x), x, y, plan)
            run = run._replace(weights=moved[0], velocity=moved[1])
        check_whole("enas", run.weights, seeds, epoch)
        run = run._replace(learner=_controller_epoch(run, parts, plan, seeds, epoch))
    return run


def check_whole(where: str, weights: Values, seeds: Sequence[int], epoch: int) -> None:
    """Raise ValueError where a run's weights are no longer finite after this epoch."""
    whole = torch.stack([value.flatten(1).isfinite().all(1) for value in weights.values()]).all(0)
    if not holds(whole):
        lost = [seed for seed, fine in zip(seeds, whole.tolist(), strict=True) if not fine]
        raise ValueError(f"{where}: plan must keep weights finite, got others in epoch {epoch} from seeds {lost}")


def batches(parts: Partitions, part: str, seeds: Sequence[int], epoch: int, size: int) -> list[tuple[Tensor, Tensor]]:
    """The full batches of an epoch of each seed's rows, in its own order: x and y (seeds, size, …); one or more."""
    rows = getattr(parts, part)
    if len(rows) < size:
        raise ValueError(f"batches: parts.{part} must hold a batch of {size}, got {len(rows)} rows")
    index = rows.index[rows.places("enas", seeds)]
    order = counters.orders(seeds, epoch if part == "train" else -1 - epoch, len(rows)).to(index.device)
    whole = index.gather(1, order).split(size, 1)[: len(rows) // size]
    return [(parts.pool[0][each], parts.pool[1][each]) for each in whole]


def draw(how: Policy, learner: Learner, seeds: Sequence[int], step: int, *, stream: int, count: int = 1) -> Tensor:
    """Codes (runs, count, decisions) from the controllers, a function of the seed, the step and the stream, 0 … 2."""
    key = counters.keys(seeds, [step], 3)[0, :, stream]
    with torch.no_grad():
        uniforms = counters.uniforms(key, (count, len(how.sizes))).double()
        return policy.decide(how, learner.params, uniforms).choices


def drawn_buffers(choices: Tensor, like: Tensor) -> Values:
    """What makes each run's network the cell of its code: buffers (runs, …) from choices (runs, 1, decisions)."""
    each = [_buffers(tuple(row)) for row in choices[:, 0].tolist()]
    return {name: torch.stack([one[name] for one in each]).to(like) for name in _BUFFERS}


def outputs(weights: Values, buffers: Values, x: Tensor) -> Tensor:
    """What each run's `CellNet` says of its x (runs, n, inputs): (runs, n, classes); buffers may be soft.

    The same as `CellNet.forward`, with the runs in front.
    """
    states = [_linear(weights, "stem", x.mT)]
    for node in range(3):
        reads, applies = buffers["reads"][:, node, :, None, None], buffers["applies"][:, node, :, None, None]
        source = sum(reads[:, at] * state for at, state in enumerate(states))
        inside = _linear(weights, f"nodes.{node}", source)
        every = (source, inside.tanh(), inside.relu(), inside.sigmoid())
        states.append(sum(applies[:, at] * value for at, value in enumerate(every)))
    shares = buffers["ends"][:, :, None, None]
    return _linear(weights, "classifier", sum(shares[:, at] * state for at, state in enumerate(states[1:]))).mT


def weight_step(
    weights: Values, velocity: Values, buffers: Values, x: Tensor, y: Tensor, plan: Plan
) -> tuple[Values, Values]:  # fmt: skip
    """A step of descent with momentum on each run's batch, its gradient clipped.

    Weights that its cell does not use have no gradient, but keep gliding.
    """
    leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
    with torch.enable_grad():
        losses = cross_entropy(outputs(leaves, buffers, x).mT, y, reduction="none").mean(1)
        slopes = torch.autograd.grad(losses.sum(), list(leaves.values()))
    length = sum(slope.flatten(1).square().sum(1) for slope in slopes).sqrt()
    shorter = (plan.clip / length).clamp(max=1.0)
    pairs = zip(leaves, slopes, strict=True)
    velocity = {
        name: plan.momentum * velocity[name] + shorter.view(-1, *[1] * (slope.ndim - 1)) * slope
        for name, slope in pairs
    }
    return {name: value - plan.lr * velocity[name] for name, value in weights.items()}, velocity


def accuracies(weights: Values, x: Tensor, y: Tensor) -> Tensor:
    """Share of examples that each of the 750 cells gets right with each run's shared weights: (runs, 750).

    The cells have only 5 + 30 different states at the first two nodes, and the classifier is linear in the average of
    the loose ends, so that each state is classified once and the votes are averaged.

    Args:
        x, y: (runs, n, inputs) and (runs, n).
    """
    stem = _linear(weights, "stem", x.mT)
    head = {"classifier.weight": weights["classifier.weight"], "classifier.bias": 0 * weights["classifier.bias"]}

    def value(key: tuple) -> Tensor:
        node, op, source = key
        below = state(source) if source else stem
        if op == "identity":
            return below
        inside = _linear(weights, f"nodes.{node}", below)
        return torch.zeros_like(inside) if op == "zero" else getattr(inside, op)()

    state = cache(value)
    votes = cache(lambda key: _linear(head, "classifier", value(key) if key[0] == 2 else state(key)))
    found = []
    for op1, from2, op2, from3, op3 in product(*(dim.choices for dim in cells.SPACE.dims.values())):
        keys = [(), (0, op1, ())]
        keys.append((1, op2, keys[from2]))
        keys.append((2, op3, keys[from3]))
        loose = [keys[node] for node in (1, 2, 3) if node not in (from2, from3)]
        said = sum(map(votes, loose)) / len(loose) + weights["classifier.bias"][:, :, None]
        found.append((said.argmax(1) == y).double().mean(1))
    return torch.stack(found, 1)


def pick(how: Policy, learner: Learner, scores: Tensor, *, seeds: Sequence[int], num_candidates: int = 10) -> Tensor:
    """The row of each run's cell: the best by `scores` (runs, 750) of some that its controller draws."""
    choices = draw(how, learner, seeds, 0, stream=2, count=num_candidates)
    place = torch.tensor([*how.sizes[1:], 1]).flip(0).cumprod(0).flip(0)
    rows = (choices * place).sum(2)
    return rows.gather(1, scores.gather(1, rows).argmax(1, keepdim=True))[:, 0]


def _controller_epoch(run: Run, parts: Partitions, plan: Plan, seeds: Sequence[int], epoch: int) -> Learner:
    """Steps of the controller, the weights as they are; each on one batch of validation, taken again where they end."""
    learner, valid = run.learner, batches(parts, "valid", seeds, epoch, plan.batch_size)
    for at in range(plan.controller_steps):
        x, y = valid[at % len(valid)]
        chosen = draw(plan.controller, learner, seeds, epoch * plan.controller_steps + at, stream=1)
        with torch.no_grad():
            right = outputs(run.weights, drawn_buffers(chosen, x), x).argmax(2) == y
        learner = policy.learn(plan.controller, learner, chosen[:, 0], right.double().mean(1).cpu())
    return learner


@cache
def _buffers(choices: tuple[int, ...]) -> Values:
    return cells.buffers({k: dim.choices[i] for (k, dim), i in zip(cells.SPACE.dims.items(), choices, strict=True)})


def _linear(weights: Values, name: str, x: Tensor) -> Tensor:
    """(runs, inputs, n) -> (runs, outputs, n)."""
    return torch.baddbmm(weights[f"{name}.bias"][:, :, None], weights[f"{name}.weight"], x)
