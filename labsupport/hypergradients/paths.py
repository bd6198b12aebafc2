"""Methods that differ in which weights they keep: all, some, or the ends of a line."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from labsupport.hypergradients.backward import along
from labsupport.hypergradients.problem import Hypergradient, Named, Problem, nbytes
from labsupport.hypergradients.runs import Run
from labsupport.values import check_choice, check_count

__all__ = ["DrMAD", "Knots", "SqrtCheckpoint", "Stored", "Truncated"]


@dataclass(frozen=True)
class Stored:
    """Exact: keeps every weight on the way, T copies.

    Attributes:
        dtype: in which they are kept: None as they are; torch.bfloat16, of 16 bits and three digits, float16 or
            float32; None where rates or momenta are learnt, because velocities are told from differences.
    Source: Maclaurin, Duvenaud & Adams 2015, arXiv:1502.03492, algorithm 2, with the weights kept.
    """

    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        check_choice("Stored", "dtype", str(self.dtype), ("None", "torch.bfloat16", "torch.float16", "torch.float32"))

    def solve(self, run: Run) -> Hypergradient:
        """The hypergradient; see `hypergradient`."""
        if self.dtype is not None and run.problem.learns_rates:
            raise ValueError(f"Stored: dtype must be None where rates are learnt, from differences, got {self.dtype}")
        return along(_Last(run, run.problem.num_steps, self.dtype), run)


@dataclass(frozen=True)
class Truncated:
    """The last `num_steps` steps only, exactly: what came before is taken as given.

    Attributes:
        num_steps: >= 1; more than the problem has are all.
    Source: Shaban, Cheng, Hatch & Boots 2019, arXiv:1810.10667.
    """

    num_steps: int

    def __post_init__(self) -> None:
        check_count("Truncated", "num_steps", self.num_steps)

    def solve(self, run: Run) -> Hypergradient:
        """The hypergradient; see `hypergradient`."""
        return along(_Last(run, self.num_steps), run)


@dataclass(frozen=True)
class SqrtCheckpoint:
    """Exact: keeps weights and velocity at every √(2T)-th step and trains again from one to the next on the way back.

    At most 3.1√T copies of the weights, and nearly the training twice.
    Source: Griewank 1992; Chen, Xu, Zhang & Guestrin 2016, arXiv:1604.06174.
    """

    def solve(self, run: Run) -> Hypergradient:
        """The hypergradient; see `hypergradient`."""
        return along(_Checkpoints(run), run)


@dataclass(frozen=True)
class Knots:
    """Keeps weights at the ends of `count` equal pieces of training and goes back along the straight pieces.

    Attributes:
        count: pieces, >= 1; count + 1 copies are kept.
        num_steps: steps back, None for as many as training had.
    """

    count: int
    num_steps: int | None = None

    def __post_init__(self) -> None:
        check_count("Knots", "count", self.count)
        if self.num_steps is not None:
            check_count("Knots", "num_steps", self.num_steps)

    def solve(self, run: Run) -> Hypergradient:
        """The hypergradient; see `hypergradient`."""
        total = run.problem.num_steps
        if self.count > total:
            raise ValueError(f"Knots: count must be at most the problem's num_steps, {total}, got {self.count}")
        return along(_Line(run.problem, self.count, self.num_steps or total), run)


@dataclass(frozen=True)
class DrMAD:
    """Keeps the two ends and goes back along the straight line between them, in a tenth of the steps.

    Steps back are not rescaled: each counts as one step of training, with the batches of the last ones.

    Attributes:
        num_steps: steps back, None for a tenth of those of training, as published.
    Source: Fu, Luo, Feng, Low & Chua 2016, arXiv:1601.00917; the adjoint of the velocity and the rate are missing in
    the printed algorithm and are here, as in their code.
    """

    num_steps: int | None = None

    def __post_init__(self) -> None:
        if self.num_steps is not None:
            check_count("DrMAD", "num_steps", self.num_steps)

    def solve(self, run: Run) -> Hypergradient:
        """The hypergradient; see `hypergradient`."""
        return along(_Line(run.problem, 1, self.num_steps or max(1, run.problem.num_steps // 10)), run)


class _Last:
    """The weights before each of the last `count` steps, in a dtype."""

    stride, velocity_before = 1.0, None

    def __init__(self, run: Run, count: int, dtype: torch.dtype | None = None) -> None:
        self.dtype = dtype
        self.first = run.problem.num_steps - count if run.problem.learns_rates else 0
        self.kept: deque[tuple[int, Named]] = deque(maxlen=count + 1)  # the end itself is among them for a moment

    def keep(self, step: int, weights: Named, velocity: Named) -> None:
        self.like = weights
        small = weights if self.dtype is None else {name: value.to(self.dtype) for name, value in weights.items()}
        self.kept.append((step, small))
        if step == self.first > 0:
            self.velocity_before = velocity

    @property
    def num_bytes(self) -> int:
        """What is held before the way back, the end itself not counted."""
        return (len(self.kept) - 1) * nbytes(self.kept[-1][1]) + nbytes(self.velocity_before or {})

    def back(self) -> Iterator[tuple[int, Named]]:
        self.kept.pop()
        while self.kept:
            step, small = self.kept.pop()
            if self.dtype is not None:
                small = {name: value.to(self.like[name].dtype) for name, value in small.items()}
            yield step, small


class _Checkpoints:
    """Weights and velocity at every √(2T)-th step: 2 copies each, and those of one piece more."""

    stride, velocity_before = 1.0, None

    def __init__(self, run: Run) -> None:
        self.run, self.end = run, run.problem.num_steps
        self.length = max(1, round((2 * self.end) ** 0.5))
        pieces = -(-self.end // self.length)
        # while the last piece is trained again: all checkpoints but its own, its places, one velocity
        self.num_bytes = (2 * (pieces - 1) + min(self.length, self.end) + 1) * nbytes(run.problem.weights)
        self.kept: list[tuple[int, Named, Named]] = []

    def keep(self, step: int, weights: Named, velocity: Named) -> None:
        if step % self.length == 0 and step < self.end:
            self.kept.append((step, weights, velocity))

    def back(self) -> Iterator[tuple[int, Named]]:
        end = self.end
        while self.kept:
            first, weights, velocity = self.kept.pop()
            places = [weights]
            for step in range(first, end - 1):
                weights, velocity = self.run.forward(weights, velocity, step)
                places.append(weights)
            while places:
                end -= 1
                yield end, places.pop()


class _Line:
    """Weights at the ends of `count` pieces, and `num_steps` places on the straight lines between them."""

    velocity_before = None

    def __init__(self, problem: Problem, count: int, num_steps: int) -> None:
        self.end, self.num_steps, self.stride = problem.num_steps, num_steps, problem.num_steps / num_steps
        self.when = [round(piece * problem.num_steps / count) for piece in range(count + 1)]
        self.num_bytes = (count + 1) * nbytes(problem.weights)
        self.kept: list[Named] = []

    def keep(self, step: int, weights: Named, velocity: Named) -> None:
        if step == self.when[len(self.kept)]:
            self.kept.append(weights)

    def back(self) -> Iterator[tuple[int, Named]]:
        for number in reversed(range(self.num_steps)):
            yield max(0, self.end - self.num_steps + number), self._place(number * self.stride)

    def _place(self, time: float) -> Named:
        piece = min(bisect_right(self.when, time), len(self.when) - 1) - 1
        first, then = self.when[piece : piece + 2]
        share = (time - first) / (then - first)
        ends = self.kept[piece : piece + 2]
        return dict(zip(ends[0], torch._foreach_lerp(*(list(end.values()) for end in ends), share), strict=True))
