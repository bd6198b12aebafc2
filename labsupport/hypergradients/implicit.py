"""The hypergradient at the end of training alone, as if training had arrived.

Where ∇L(w, λ) = 0 for every λ, w moves with λ by −H⁻¹ ∂λ∇_w L, whatever the start, the rate and the momentum were. So
these have no such gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.hypergradients.backward import check_end, check_growth, clock, descend, judged
from labsupport.hypergradients.problem import Hypergradient, Named, length, nbytes
from labsupport.hypergradients.runs import Run
from labsupport.optimizers.rule import zeros
from labsupport.values import check_count, check_number

__all__ = ["ConjugateGradient", "Neumann"]


@dataclass(frozen=True)
class Neumann:
    """−(∂λ∇_w L) H⁻¹ ∇val at the end of training, H⁻¹ replaced by η Σ_{j ≤ count} (I − Hη)ʲ.

    True where training has converged and η is below 2/λ₁. Each product takes a batch: the last step's, then the one
    before. Keeps nothing of the way; `adjoint_norms` are the lengths of the terms.

    Attributes:
        count: terms after the first, >= 0.
        lr: η > 0; None for the problem's own.
    Source: Lorraine, Vicol & Duvenaud 2020, arXiv:1911.02590, algorithms 2 and 3.
    """

    count: int
    lr: float | None = None

    def __post_init__(self) -> None:
        check_count("Neumann", "count", self.count, at_least=0)
        if self.lr is not None and check_number("Neumann", "lr", self.lr, low=0.0) == 0:
            raise ValueError(f"Neumann: lr must be > 0, got {self.lr!r}")

    def solve(self, run: Run) -> Hypergradient:
        """The hypergradient; see `hypergradient`."""
        return _implicit("Neumann", run, self._inverse)

    def _inverse(self, run: Run, weights: Named, term: Named) -> tuple[Named, int, list[tuple[int, Tensor]]]:
        num_steps, total, start, norms = run.problem.num_steps, term, length(term), []
        rates = run.rates(0)[0] if self.lr is None else dict.fromkeys(term, self.lr)
        steps = [(num_steps - 1 - j) % num_steps for j in range(self.count + 1)]  # whose batches
        for step in steps[:-1]:  # rates stand inside: with one for each weight, η and H do not commute
            scaled = {name: rates[name] * each for name, each in term.items()}
            curved, _ = run.products(weights, step, scaled)
            term = {name: each - curved[name] for name, each in term.items()}
            total = {name: each + term[name] for name, each in total.items()}
            norms.append((step, length(term)))
        check_growth(norms, start, run.limit)
        return {name: rates[name] * each for name, each in total.items()}, steps[-1], norms


@dataclass(frozen=True)
class ConjugateGradient:
    """−(∂λ∇_w L) x at the end of training, H x = ∇val solved by conjugate gradient.

    True where training has converged. All products take the last step's batch: H must be one matrix. Ends early where
    the residual is down to rounding; a direction without positive curvature stops it with a FloatingPointError, since
    what it then solves for is no minimum. `adjoint_norms` are the lengths of the residuals.

    Attributes:
        count: products with H at most, >= 1.
    Source: Hestenes & Stiefel 1952; for hypergradients Grazzi, Franceschi, Pontil & Salzo 2020, arXiv:2006.16218.
    """

    count: int

    def __post_init__(self) -> None:
        check_count("ConjugateGradient", "count", self.count)

    def solve(self, run: Run) -> Hypergradient:
        """The hypergradient; see `hypergradient`."""
        return _implicit("ConjugateGradient", run, self._inverse)

    def _inverse(self, run: Run, weights: Named, left: Named) -> tuple[Named, int, list[tuple[int, Tensor]]]:
        step, x, way, norms = run.problem.num_steps - 1, zeros(left), left, [length(left)]
        for number in range(self.count):
            if norms[-1] <= torch.finfo(norms[0].dtype).eps * norms[0]:
                break
            curved, _ = run.products(weights, step, way)
            curvature = sum((each * curved[name]).sum() for name, each in way.items())
            if not curvature > 0:
                raise FloatingPointError(
                    f"ConjugateGradient: the curvature must be positive, got {float(curvature):.2g} in direction "
                    f"{number}: train longer, penalize more, or go back over the last steps (Truncated)"
                )
            rate = norms[-1].square() / curvature
            x = {name: each + rate * way[name] for name, each in x.items()}
            left = {name: each - rate * curved[name] for name, each in left.items()}
            norms.append(length(left))
            way = {name: each + (norms[-1] / norms[-2]).square() * way[name] for name, each in left.items()}
        return x, step, [(step, norm) for norm in norms[1:]]


def _implicit(where: str, run: Run, inverse: Callable[..., tuple]) -> Hypergradient:
    """Train, and end with −(∂λ∇_w L) H⁻¹ ∇val; `inverse` gives H⁻¹ of it, whose batch comes last, and lengths."""
    problem = run.problem
    if problem.learns_rates:
        raise ValueError(f"{where}: lr and momentum must be numbers, got a function: no rate has an implicit gradient")
    started = clock(problem)
    weights = descend(run)
    turned = clock(problem)
    value, slope = judged(problem, weights)
    check_end(run, weights, value)
    u, step, norms = inverse(run, weights, slope)
    _, grad = run.products(weights, step, {name: -each for name, each in u.items()})
    seconds = turned - started, clock(problem) - turned
    lengths = torch.stack([norm for _, norm in norms]).cpu() if norms else torch.empty(0)
    return Hypergradient(grad, value, weights, nbytes(weights), *seconds, len(norms) + 1, lengths)
