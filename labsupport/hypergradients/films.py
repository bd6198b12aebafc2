"""The whole film of a training: its weights at every step, ways back over any places, and how near an answer came.

What the course's studies of shortcuts ask beyond a hypergradient. Where networks are trained side by side, every tensor
has them along its first dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torch.utils._pytree import tree_map_only

from labsupport.counters import seeded
from labsupport.hypergradients.backward import along, descend
from labsupport.hypergradients.problem import Hypergradient, Named, Problem, check_tensors, nbytes
from labsupport.hypergradients.runs import Run
from labsupport.landscape import curvature
from labsupport.values import check_count

__all__ = ["Along", "Nearness", "apart", "between", "extremes", "film", "flat", "nearness", "products", "saved_bytes"]


def flat(values: Named, *, members: bool = False) -> Tensor:
    """All numbers of a dict of tensors in order, (n,); with `members`, a row for each of their first dimension.

    Raises:
        ValueError: nothing is given, or the first dimensions differ.
    """
    if not values:
        raise ValueError("flat: values must hold a tensor, got none")
    if not members:
        return torch.cat([value.flatten() for value in values.values()])
    if not all(value.ndim for value in values.values()) or len({len(value) for value in values.values()}) > 1:
        shapes = {name: tuple(value.shape) for name, value in values.items()}
        raise ValueError(f"flat: values must share their first dimension, got {shapes}")
    return torch.cat([value.flatten(1) if value.ndim > 1 else value[:, None] for value in values.values()], 1)


class Nearness(NamedTuple):
    """How a hypergradient compares with another, (members,) each.

    Attributes:
        cosine: of the angle between the two.
        log10_norm: log₁₀ of its length, divided by the other's.
        signs: share of the entries with the same sign, of those where the other is not 0.
    """

    cosine: Tensor
    log10_norm: Tensor
    signs: Tensor


def nearness(found: Named, truth: Named) -> Nearness:
    """Direction, length and signs of each member's hypergradient beside the true one, in float64.

    Raises:
        ValueError: the two have other names or sizes.
    """
    shapes, wanted = ({name: tuple(value.shape) for name, value in each.items()} for each in (found, truth))
    if list(shapes.items()) != list(wanted.items()):
        raise ValueError(f"nearness: found must be shaped like truth, got {shapes} and {wanted}")
    ours, other = (flat(each, members=True).double() for each in (found, truth))
    live = other != 0
    same = ((ours.sign() == other.sign()) & live).sum(1) / live.sum(1)
    return Nearness(cosine_similarity(ours, other), (ours.norm(dim=1) / other.norm(dim=1)).log10(), same)


def apart(one: Named, other: Named) -> Tensor:
    """How far each member's tensors lie from the other's, (members,) float64.

    Raises:
        ValueError: the two have other names or sizes.
    """
    if {name: value.shape for name, value in one.items()} != {name: value.shape for name, value in other.items()}:
        raise ValueError(f"apart: other must be shaped like one ({', '.join(one)}), got {', '.join(other)}")
    return (flat(one, members=True).double() - flat(other, members=True).double()).norm(dim=1)


def between(one: Named, other: Named, share: float | Tensor) -> Named:
    """The place on the line from one to the other.

    Args:
        share: 0 at `one`, 1 at `other`; a number, or one for each member, (members,).
    Raises:
        ValueError: share has other sizes.
    """
    if isinstance(share, Tensor) and share.shape not in ((), (len(next(iter(one.values()))),)):
        raise ValueError(f"between: share must be a number or one for each member, got shape {tuple(share.shape)}")
    spread = lambda v: share.to(v).view(-1, *[1] * (v.ndim - 1)) if isinstance(share, Tensor) else share  # noqa: E731
    return {name: value.lerp(other[name], spread(value)) for name, value in one.items()}


def film(problem: Problem, hyper: Named) -> list[Named]:
    """The weights before each step of training and, last, those after it: num_steps + 1 dicts.

    Raises:
        FloatingPointError: weights stop being finite; the message names the step.
    """
    check_tensors("film", "hyper", hyper)
    kept = _Film(lambda places: ())
    descend(Run(problem, hyper, "eager"), kept)
    return kept.places


def products(problem: Problem, hyper: Named, weights: Named, vector: Named, *, step: int = 0) -> tuple[Named, Named]:
    """H v and (∂λ∇_w L) v of the training loss at any weights, with the batch of a step; v is shaped like the weights.

    Raises:
        ValueError: v has other names than the weights.
    """
    if vector.keys() != weights.keys():
        raise ValueError(f"products: vector must name {', '.join(weights)}, got {', '.join(vector)}")
    return Run(problem, hyper, "eager").products(weights, step, vector)


@dataclass(frozen=True)
class Along:
    """Trains, keeps the whole film, and goes back over the places that a function lays in it.

    For questions about shortcuts, not to save anything: any line, clock or set of snapshots can be tried.

    Attributes:
        lay: weights at every step, 0 … T -> from last to first, a step, whose batch is taken, and the weights there.
    """

    lay: Callable[[list[Named]], Iterable[tuple[int, Named]]]

    def __post_init__(self) -> None:
        if not callable(self.lay):
            raise ValueError(f"Along: lay must be a function of a film, got {self.lay!r}")

    def solve(self, run: Run) -> Hypergradient:
        """The hypergradient; see `hypergradient`."""
        if run.problem.learns_rates:
            raise ValueError("Along: lr and momentum must be numbers, got a function: places have no velocity")
        return along(_Film(self.lay), run)


class _Film:
    """All weights, and the places laid in them."""

    stride, velocity_before = 1.0, None

    def __init__(self, lay: Callable[[list[Named]], Iterable[tuple[int, Named]]]) -> None:
        self.lay, self.places = lay, []

    @property
    def num_bytes(self) -> int:
        return len(self.places) * nbytes(self.places[0])

    def keep(self, step: int, weights: Named, velocity: Named) -> None:
        self.places.append(weights)

    def back(self) -> Iterator[tuple[int, Named]]:
        return iter(self.lay(self.places))


def saved_bytes(compute: Callable[[], Any]) -> int:
    """What autograd saves for the way back while `compute` runs, each storage counted once."""
    kept = {}

    def note(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        kept[memory.data_ptr()] = memory  # held, so that no address comes twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        compute()
    return sum(memory.nbytes() for memory in kept.values())


def extremes(
    train_loss: Callable[[Named, Named, Any], Tensor], weights: Named, hyper: Named, batch: Any,
    *, num_steps: tuple[int, int] = (20, 40), seed: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The smallest curvature of each member's training loss, and the one of largest size: (members,) float64, CPU.

    By Lanczos; the smallest is found as that of H − |h| 1, with h the largest.

    Args:
        train_loss: the sum of the members' losses, as in `Problem`; it must take any number of them.
        weights, hyper: stacked; each member is asked alone, in float64.
        batch: what the loss takes; its floating numbers become float64.
        num_steps: products for the largest and for the smallest curvature, each >= 1.
        seed: >= 0; it and the next one draw the starts, the same for all members.
    Raises:
        ValueError: a bound above is broken, or what `curvature.hvp` refuses.
    Source: Golub & Van Loan, Matrix Computations, 4th ed., section 10.1.
    """
    check_count("extremes", "seed", seed, at_least=0)
    for name, count in zip(("largest", "smallest"), num_steps, strict=True):
        check_count("extremes", f"num_steps, {name},", count)
    batch = tree_map_only(Tensor, lambda x: x.double() if x.is_floating_point() else x, batch)
    ends = []
    for n in range(len(next(iter(weights.values())))):
        at = {name: value[n : n + 1].detach().double().requires_grad_() for name, value in weights.items()}
        by = {name: value[n : n + 1].detach().double() for name, value in hyper.items()}
        product = curvature.hvp(partial(train_loss, at, by, batch), list(at.values()))
        ends.append(_ends(product, sum(value.numel() for value in at.values()), num_steps, seed))
    low, high = zip(*ends, strict=True)
    return torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64)


def _ends(product: curvature.Product, dim: int, num_steps: tuple[int, int], seed: int) -> tuple[float, float]:
    top, _ = curvature.eigs(product, dim, 1, num_steps=num_steps[0], generator=seeded(seed))
    shift = float(top.abs())
    low, _ = curvature.eigs(
        lambda v: product(v) - shift * v, dim, 1, num_steps=num_steps[1], generator=seeded(seed + 1)
    )
    return float(low) + shift, float(top)
