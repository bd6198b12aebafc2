"""A training run's steps at some hyperparameters, eager or compiled and compared with the eager ones."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_leaves

from labsupport.hypergradients.problem import Named, Problem, momentum_at, rates_at
from labsupport.hypergradients.steps import Adjoints, backend_for, steps_of
from labsupport.optimizers.rule import zeros
from labsupport.population.compiling import refusals, unguarded

__all__ = ["Run"]

CHANGED = (
    "hypergradient: train_loss must depend on its arguments alone while a run lasts, got one that uses something that "
    "changed; hand it over in the batch, or take backend 'eager'"
)


class Run:
    """A problem at some hyperparameters, and its steps.

    Compiled, a first step with a batch (or learnt rates) of a new kind is compared with the eager one; the next ones of
    this run are called without asking torch again whether they fit, and the last step of training is compared again.

    Attributes:
        problem, hyper: what is trained.
        limit: the adjoint may become this many times as long as it was.
    """

    def __init__(self, problem: Problem, hyper: dict[str, torch.Tensor], backend: str, limit: float = math.inf) -> None:
        self.problem, self.hyper, self.limit = problem, hyper, limit
        backend = backend_for(backend)
        sizes = tuple(_kind(value) for value in (*problem.weights.values(), *hyper.values()))
        self._steps = steps_of(problem.train_loss, backend, sizes if backend == "compiled" else ())
        self._truth = None if backend == "eager" else steps_of(problem.train_loss, "eager")
        self._trusted: set[tuple] = set()
        self._constant = None if problem.learns_rates else self._rates(0)

    def slope(self, weights: Named, step: int) -> Named:
        """The training loss's gradient by the weights, with a step's batch."""
        return self._call("slope", self.problem.batches(step), weights)

    def products(self, weights: Named, step: int, u: Named) -> tuple[Named, Named]:
        """H u and (∂λ∇_w L) u, with a step's batch."""
        return self._call("products", self.problem.batches(step), weights, u)

    def forward(self, weights: Named, velocity: Named, step: int) -> tuple[Named, Named]:
        """Weights and velocity after a step."""
        given = self.problem.batches(step), weights, velocity, *self.rates(step)
        found = self._call("forward", *given)
        if self._truth is not None and step + 1 == self.problem.num_steps and self._off("forward", found, *given):
            raise ValueError(CHANGED)
        return found

    def back(self, weights: Named, after: Adjoints, step: int) -> tuple[Adjoints, Named, Tensor]:
        """A step back at the weights before it: adjoints, the derivative by its new velocity, ‖a_w‖."""
        return self._call("back", self.problem.batches(step), weights, after, *self.rates(step))

    def rates(self, step: int) -> tuple[Named, Tensor]:
        """η and ρ of a step; constant ones are made once."""
        return self._constant or self._rates(step)

    @torch.no_grad()
    def _rates(self, step: int) -> tuple[Named, Tensor]:
        return rates_at(self.problem, self.hyper, step), momentum_at(self.problem, self.hyper, step)

    @torch.no_grad()
    def _call(self, name: str, batch: Any, weights: Named, *rest: Any) -> Any:
        step = getattr(self._steps, name)
        if self._truth is None:
            return step(weights, self.hyper, batch, *rest)
        kind = name, *map(_kind, tree_leaves((batch, rest) if self.problem.learns_rates else batch))
        if kind in self._trusted:
            try:
                with unguarded():
                    return step(weights, self.hyper, batch, *rest)
            except RuntimeError as problem:
                if "Recompilation triggered" not in str(problem):
                    raise
                raise ValueError(CHANGED) from problem
        self._check(name, batch, weights, *rest)
        self._trusted.add(kind)
        return step(weights, self.hyper, batch, *rest)

    def _check(self, name: str, batch: Any, weights: Named, *rest: Any) -> None:
        """Raise ValueError unless the compiled step does what the eager one does."""
        if name == "back":  # with a_w = 0 and a_λ = 0 what comes out are the two products alone
            after, *others = rest
            rest = Adjoints(zeros(after.weights), after.weights, zeros(after.hyper)), *others
        try:
            found = getattr(self._steps, name)(weights, self.hyper, batch, *rest)
        except refusals() as problem:
            _leave_forward_mode()
            why = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0]}"
            raise ValueError(f"hypergradient: backend must be 'eager' for this train_loss, got {why}") from problem
        if wrong := self._off(name, found, batch, weights, *rest):
            raise ValueError(
                f"hypergradient: backend must be 'eager' for this train_loss: torch {torch.__version__} compiles it "
                f"wrongly, got {wrong} in {name!r}; broadcast instead of indexing, or write the loss another way"
            )

    @torch.no_grad()
    def _off(self, name: str, found: Any, batch: Any, weights: Named, *rest: Any) -> str:
        """How a step's result differs from the eager one; "" where it does not."""
        return _difference(found, getattr(self._truth, name)(weights, self.hyper, batch, *rest))


def _leave_forward_mode() -> None:
    """What fails to compile within `jvp` leaves torch's forward mode entered, and nothing could enter it again."""
    try:
        with torch.autograd.forward_ad.dual_level():
            pass
    except RuntimeError:
        torch._C._exit_dual_level(level=0)


def _kind(leaf: Any) -> Any:
    """What a compiled step may depend on, of a part of a batch."""
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.stride(), leaf.dtype, leaf.device
    if not isinstance(leaf, Hashable):
        raise ValueError(f"hypergradient: compiled, batches must hold tensors and numbers, got {type(leaf).__name__}")
    return leaf


def _difference(found: Any, truth: Any) -> str:
    """Where two nests of tensors differ by more than rounding, relative to their size; "" where they do not."""
    pairs = list(zip(tree_flatten_with_path(found)[0], tree_leaves(truth), strict=True))
    whole = max(float(want.abs().max()) for _, want in pairs if want.numel())
    for (path, got), want in pairs:
        size = float(want.abs().max()) if want.numel() else 0.0
        bound = 10 * torch.finfo(want.dtype).eps ** 0.5 * (size + 1e-3 * whole)
        off = float((got - want).abs().max()) if want.numel() else 0.0
        if math.isfinite(bound) and not off <= bound:
            return f"an error of {off / (size or 1):.1g} of its size at {keystr(path)}"
    return ""
