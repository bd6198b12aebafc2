"""Many copies of one network, trained side by side: an ordinary module, its parameters stacked over replicas.

Replicas differ in their starting weights and in the order of their batches, and if wanted in their learning rates;
nothing that happens in one is felt in another. Device and dtype are those of the stacked parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from labsupport.values import check_count, check_generator, check_number, holds

__all__ = ["Stacked", "evaluate", "gradients", "member", "start", "train"]

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Stacked:
    """Replicas of a module.

    Attributes:
        module: gives the computation and the shapes; its own values are not used.
        params: name to (replicas, …), one slice for each replica.
    """

    module: nn.Module
    params: dict[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.params.values())))

    def __getitem__(self, which: slice | Tensor) -> Stacked:
        """Some of the replicas: a slice, or a tensor of indices or booleans."""
        if not isinstance(which, (slice, Tensor)):
            raise ValueError(f"Stacked: which must be a slice or a tensor (member(i) is one module), got {which!r}")
        return replace(self, params={name: value[which] for name, value in self.params.items()})

    def to(self, target: torch.device | torch.dtype | str) -> Stacked:
        """The same replicas on another device or in another floating dtype."""
        return replace(self, params={name: value.to(target) for name, value in self.params.items()})

    def __repr__(self) -> str:
        first = next(iter(self.params.values()))
        return f"Stacked({len(self)} replicas of {type(self.module).__name__}, {first.dtype}, {first.device})"


def start(build: Callable[[torch.Generator], nn.Module], *, seeds: Iterable[int]) -> Stacked:
    """One replica for each seed, as `build(generator)` makes it from a CPU generator with that seed.

    Raises:
        ValueError: no seed, modules that differ in shape, or one with buffers (batch norm) or without parameters.
    """
    modules = [build(torch.Generator().manual_seed(seed)) for seed in seeds]
    if not modules:
        raise ValueError("start: seeds must hold at least one seed, got none")
    if next(modules[0].buffers(), None) is not None or next(modules[0].parameters(), None) is None:
        raise ValueError("start: build must make modules with parameters and without buffers")
    every = [dict(module.named_parameters()) for module in modules]
    shapes = [{name: value.shape for name, value in one.items()} for one in every]
    if any(one != shapes[0] for one in shapes):
        raise ValueError("start: build must make modules of one shape for every seed")
    params = {name: torch.stack([one[name].detach() for one in every]) for name in every[0]}
    return Stacked(modules[0], params)


def member(stacked: Stacked, i: int) -> nn.Module:
    """Replica i as an ordinary module of its own.

    Raises:
        ValueError: there is no such replica.
    """
    if not 0 <= i < len(stacked):
        raise ValueError(f"member: i must lie in 0 … {len(stacked) - 1}, got {i}")
    module = copy.deepcopy(stacked.module)
    for name, value in stacked.params.items():
        owner, _, last = name.rpartition(".")
        setattr(module.get_submodule(owner), last, nn.Parameter(value[i].detach().clone()))
    return module


def gradients(
    stacked: Stacked, x: Tensor, y: Tensor, *, loss: Loss, rows: Tensor | None = None, create_graph: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """Each replica's loss on a batch, and its gradient.

    Args:
        x, y: n examples, shared by all replicas.
        loss: (output, target) -> mean loss of one batch, a scalar; run under `torch.func.vmap`.
        rows: which examples each replica sees, (replicas, batch_size) integers; None is all of them.
        create_graph: keep the graph, so that the gradients can be differentiated; the parameters in `stacked` must
            then require gradients.
    Returns:
        losses (replicas,) and gradients shaped like `stacked.params`; detached unless `create_graph`.
    """
    params = stacked.params
    if not create_graph:
        params = {name: value.detach().requires_grad_() for name, value in params.items()}
    batch, each = ((x, y), None) if rows is None else ((x[rows], y[rows]), 0)

    def one(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return loss(torch.func.functional_call(stacked.module, params, (x,)), y)

    with torch.enable_grad():
        losses = torch.func.vmap(one, in_dims=(0, each, each))(params, *batch)
        if losses.ndim != 1:
            raise ValueError(f"gradients: loss must return a scalar, the mean over the batch, got {losses.shape[1:]}")
        parts = torch.autograd.grad(losses.sum(), list(params.values()), create_graph=create_graph)
    return (losses if create_graph else losses.detach()), dict(zip(params, parts, strict=True))


def train(
    stacked: Stacked, x: Tensor, y: Tensor, *, lr: float | Tensor, batch_size: int, num_steps: int,
    momentum: float = 0.0, radius: float | Tensor = 0.0, loss: Loss, generator: torch.Generator,
) -> tuple[Stacked, Tensor]:  # fmt: skip
    """Trains every replica by gradient descent on batches of the n examples (x, y), each with an order of its own.

    An epoch is a shuffle cut into ⌊n / batch_size⌋ batches. A replica whose loss stops being finite goes on as NaN,
    visible in its losses, and the others do not notice.

    Args:
        lr: learning rate, > 0; a tensor (replicas,) gives each its own.
        batch_size: 1 … n; n is the full batch, unshuffled.
        momentum: torch's ρ in [0, 1), velocity 0 at the start of the call.
        radius: >= 0, or a tensor (replicas,). Above 0 the gradient is taken at θ + radius · g / ‖g‖:
            sharpness-aware minimization (Foret et al. 2021, arXiv:2010.01412, eqs. 2–3), two gradients a step.
        loss: (output, target) -> mean loss of one batch, a scalar.
        generator: draws the orders; not used with the full batch.
    Returns:
        the trained replicas and losses (replicas, num_steps), each before its update.
    Raises:
        ValueError: a bound above is broken.
    """
    _check_train(x, y, batch_size, num_steps, momentum)
    check_generator("train", generator)
    rate, radius = _each(stacked, "lr", lr, positive=True), _each(stacked, "radius", radius, positive=False)
    params = {name: value.detach().clone() for name, value in stacked.params.items()}
    velocity = {name: torch.zeros_like(value) for name, value in params.items()}
    now, curve = replace(stacked, params=params), []
    batches = _batches(len(stacked), len(x), batch_size, generator)
    for _ in range(num_steps):
        rows = next(batches)
        losses, slope = _slope(now, x, y, rows if rows is None else rows.to(x.device), loss, radius)
        curve.append(losses)
        for name, value in params.items():
            velocity[name].mul_(momentum).add_(slope[name])
            value.sub_(_shaped(rate, value) * velocity[name])
    return now, torch.stack(curve, 1)


@torch.no_grad()
def evaluate(stacked: Stacked, x: Tensor, y: Tensor, *, loss: Loss) -> tuple[Tensor, Tensor]:
    """Mean loss and error of every replica on (x, y).

    Returns:
        losses and errors, both (replicas,). The error is the fraction of rows whose largest output is not at y; where y
        holds no class numbers of shape (n,), it is compared with y's largest entry (one-hot targets).
    """
    outputs = torch.func.vmap(lambda p: torch.func.functional_call(stacked.module, p, (x,)))(stacked.params)
    losses = torch.func.vmap(loss, in_dims=(0, None))(outputs, y)
    classes = y.argmax(-1) if y.ndim > 1 else y
    return losses, (outputs.argmax(-1) != classes).to(losses.dtype).mean(1)


def _slope(
    stacked: Stacked, x: Tensor, y: Tensor, rows: Tensor | None, loss: Loss, radius: float | Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses on a batch and the direction to descend: the gradient here, or that at the top of a step uphill."""
    losses, slope = gradients(stacked, x, y, loss=loss, rows=rows)
    if isinstance(radius, Tensor) or radius > 0:
        higher = replace(stacked, params=_climbed(stacked.params, slope, radius))
        _, slope = gradients(higher, x, y, loss=loss, rows=rows)
    return losses, slope


def _check_train(x: Tensor, y: Tensor, batch_size: int, num_steps: int, momentum: float) -> None:
    check_count("train", "num_steps", num_steps)
    if check_count("train", "batch_size", batch_size) > len(x) or len(y) != len(x):
        rule = "<= n, the rows of x and of y"
        raise ValueError(f"train: batch_size must be {rule}, got {batch_size}, {len(x)} and {len(y)}")
    if check_number("train", "momentum", momentum, low=0) >= 1:
        raise ValueError(f"train: momentum must lie in [0, 1), got {momentum}")


def _climbed(params: dict[str, Tensor], slope: dict[str, Tensor], radius: float | Tensor) -> dict[str, Tensor]:
    length = sum(part.flatten(1).square().sum(1) for part in slope.values()).sqrt()
    scale = radius / length.clamp(min=torch.finfo(length.dtype).tiny)
    return {name: value + _shaped(scale, value) * slope[name] for name, value in params.items()}


def _each(stacked: Stacked, name: str, value: float | Tensor, *, positive: bool) -> float | Tensor:
    rule = "> 0" if positive else ">= 0"
    if isinstance(value, Tensor):
        good = (value > 0) if positive else (value >= 0)
        if value.shape != (len(stacked),) or not holds(good & value.isfinite()):
            raise ValueError(f"train: {name} must be {rule} and finite, one number or ({len(stacked)},), got {value}")
        return value.to(next(iter(stacked.params.values())))
    if check_number("train", name, value, low=0) == 0 and positive:
        raise ValueError(f"train: {name} must be {rule}, got 0")
    return float(value)


def _shaped(number: float | Tensor, like: Tensor) -> float | Tensor:
    return number if isinstance(number, float) else number.view(-1, *[1] * (like.ndim - 1))


def _batches(replicas: int, n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor | None]:
    """Row numbers (replicas, batch_size) for ever; None for the full batch."""
    while batch_size == n:
        yield None
    while True:
        order = torch.rand(replicas, n, generator=generator, device=generator.device).argsort(1)
        yield from order[:, : n - n % batch_size].split(batch_size, dim=1)
