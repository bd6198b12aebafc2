"""Training that can be run backwards to the bit: weights as integers, and a buffer for the digits that momentum drops.

Weights and velocity are multiples of 2⁻⁴⁴ in 64-bit integers. Multiplying a velocity by ρ = n/d loses what is left in a
division by d. That remainder is pushed into the weight's buffer, an integer in base d, and a digit in base n is taken
back from it: a step loses log₂(1/ρ) bits, and just these are kept. A buffer that is nearly full is put on a stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from labsupport.hypergradients.backward import CHECK_EVERY, along
from labsupport.hypergradients.problem import Hypergradient, Named
from labsupport.hypergradients.runs import Run

__all__ = ["Reversible"]

SCALE = 2.0**44
ROOM = 2**63
LARGEST = 2.0**18  # of weights, velocities and gradients, which 64 bits hold


@dataclass(frozen=True)
class Reversible:
    """Exact up to the rounding of weights to multiples of 2⁻⁴⁴: trains backwards instead of keeping the way.

    Needs log₂(1/ρ) bits a step and weight, and 24 bytes a weight; three gradients' work a step back. Momentum must be a
    fraction in (0, 1) with a denominator of at most 1000: at 0 every step forgets its velocity whole. Gradients,
    weights and velocity must stay below 2¹⁸.

    Source: Maclaurin, Duvenaud & Adams 2015, arXiv:1502.03492, algorithm 3; theirs keeps one big integer a weight.
    """

    def solve(self, run: Run) -> Hypergradient:
        """The hypergradient; see `hypergradient`."""
        rho = run.problem.momentum
        if callable(rho) or rho == 0:
            raise ValueError(f"Reversible: momentum must be a number in (0, 1), got {rho!r}")
        if float(Fraction(float(rho)).limit_denominator(1000)) != float(rho):
            raise ValueError(f"Reversible: momentum must be a fraction with a denominator <= 1000, got {rho!r}")
        tape = _Rewinding(run)
        return along(tape, run, train=tape.train)


class _Rewinding:
    """A training run in integers, forwards and back."""

    stride, velocity_before = 1.0, None

    def __init__(self, run: Run) -> None:
        self.run, self.like = run, run.problem.weights
        self.sizes = [value.numel() for value in self.like.values()]
        share = Fraction(float(run.problem.momentum)).limit_denominator(1000)
        self.top, self.bottom = share.numerator, share.denominator
        self.start = (_joined(self.like) * SCALE).round().long()
        self.weights, self.velocity = self.start.clone(), torch.zeros_like(self.start)
        self.buffer, self.bound = torch.zeros_like(self.velocity), 0
        self.stack: list[tuple[int, Tensor]] = []

    @property
    def num_bytes(self) -> int:
        """What is held now; the stack only shrinks on the way back."""
        return 3 * self.weights.nbytes + sum(buffer.nbytes for _, buffer in self.stack)

    def train(self) -> Named:
        """Forwards; the weights at the end."""
        num_steps, largest = self.run.problem.num_steps, []
        for step in range(num_steps):
            self._damp(step)
            slope = self._slope(step)
            largest.append(slope.abs().max())
            self.velocity += slope.round().long()
            self.weights -= self._move(step)
            if (step + 1) % CHECK_EVERY == 0 or step + 1 == num_steps:
                self._check(torch.stack(largest), step)
                largest = []
        return self._named()

    def back(self) -> Iterator[tuple[int, Named]]:
        """Backwards, from what training left."""
        for step in reversed(range(self.run.problem.num_steps)):
            self.weights += self._move(step)
            self.velocity -= self._slope(step).round().long()
            self._undamp(step)
            yield step, self._named()
        if not torch.equal(self.weights, self.start):
            raise ValueError("Reversible: train_loss and batches must give the same each time, got other weights")

    def _damp(self, step: int) -> None:
        """velocity ← ρ velocity; what that drops goes into the buffer."""
        if self.bound * self.bottom + self.bottom >= ROOM:
            self.stack.append((step, self.buffer))
            self.buffer, self.bound = torch.zeros_like(self.buffer), 0
        self.velocity, self.buffer = _moved(self.velocity, self.buffer, self.bottom, self.top)
        self.bound = (self.bound * self.bottom + self.bottom - 1) // self.top

    def _undamp(self, step: int) -> None:
        self.velocity, self.buffer = _moved(self.velocity, self.buffer, self.top, self.bottom)
        if self.stack and self.stack[-1][0] == step:
            _, self.buffer = self.stack.pop()

    def _slope(self, step: int) -> Tensor:
        """The gradient, in units not yet rounded."""
        return _joined(self.run.slope(self._named(), step)) * SCALE

    def _move(self, step: int) -> Tensor:
        """η velocity, in whole units."""
        rates, _ = self.run.rates(step)
        parts = zip(rates.values(), self.velocity.double().split(self.sizes), strict=True)
        return torch.cat([part * rate.flatten().double() for rate, part in parts]).round().long()

    def _named(self) -> Named:
        """The weights, in the problem's shapes and dtype; copies: a compiled step takes no parts of a tensor."""
        pairs = zip(self.like.items(), (self.weights.double() / SCALE).split(self.sizes), strict=True)
        return {name: part.view_as(like).to(like.dtype, copy=True) for (name, like), part in pairs}

    def _check(self, largest: Tensor, step: int) -> None:
        """Raise FloatingPointError unless the gradients until this step, weights and velocity are in range."""
        over = (~(largest < LARGEST * SCALE)).nonzero()
        if len(over):
            step += 1 + int(over[0]) - len(largest)
        elif max(self.weights.abs().max(), self.velocity.abs().max()) < LARGEST * SCALE:
            return
        raise FloatingPointError(
            f"hypergradient: gradients, weights and velocity must be finite and below {LARGEST:g}, got others at step "
            f"{step}: lower the learning rate"
        )


def _moved(velocity: Tensor, buffer: Tensor, out: int, into: int) -> tuple[Tensor, Tensor]:
    """Take the velocity's last digit in base `out` into the buffer, and give it one in base `into` from there."""
    buffer = buffer * out + velocity.remainder(out)
    velocity = velocity.div(out, rounding_mode="floor") * into + buffer.remainder(into)
    return velocity, buffer.div(into, rounding_mode="floor")


def _joined(values: Named) -> Tensor:
    return torch.cat([value.detach().flatten().double() for value in values.values()])
