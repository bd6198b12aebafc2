"""Exact methods that are short and dear: everything in one graph, and derivatives carried forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.func import grad, jvp, vmap

from labsupport.hypergradients.backward import check_end, clock, judged
from labsupport.hypergradients.problem import Hypergradient, Named, Problem, momentum_at, nbytes, rates_at
from labsupport.hypergradients.runs import Run
from labsupport.optimizers.rule import zeros
from labsupport.values import check_count

__all__ = ["ForwardMode", "Unrolled"]


@dataclass(frozen=True)
class Unrolled:
    """Exact: torch's autograd through the whole of training in one graph. The others are judged by it.

    `stored_bytes` counts the weights along the way; the graph keeps several times that.
    """

    def solve(self, run: Run) -> Hypergradient:
        """The hypergradient; see `hypergradient`."""
        problem, started = run.problem, clock(run.problem)
        by = {name: value.detach().clone().requires_grad_() for name, value in run.hyper.items()}
        weights = {name: value.detach().clone().requires_grad_() for name, value in problem.weights.items()}
        velocity = zeros(weights)
        with torch.enable_grad():
            for step in range(problem.num_steps):
                value = problem.train_loss(weights, by, problem.batches(step))
                slope = torch.autograd.grad(value, list(weights.values()), create_graph=True, materialize_grads=True)
                rates, rho = run.rates(step)
                if problem.learns_rates:
                    rates, rho = rates_at(problem, by, step), momentum_at(problem, by, step)
                pairs = zip(velocity.items(), slope, strict=True)
                velocity = {name: rho * before + one for (name, before), one in pairs}
                weights = {name: before - rates[name] * velocity[name] for name, before in weights.items()}
            value = problem.valid_loss(weights)
        check_end(run, weights, float(value.detach()))
        turned = clock(problem)
        parts = torch.autograd.grad(value, list(by.values()), materialize_grads=True)
        grad, ended = dict(zip(by, parts, strict=True)), {name: each.detach() for name, each in weights.items()}
        seconds, kept = (turned - started, clock(problem) - turned), nbytes(ended) * problem.num_steps
        return Hypergradient(grad, float(value.detach()), ended, kept, *seconds, 0, torch.empty(0))


@dataclass(frozen=True)
class ForwardMode:
    """Exact: carries the derivative of weights and velocity by every hyperparameter along with training.

    For few hyperparameters: memory 2 D for each, and a product with second derivatives at every step. Nothing of the
    way is kept, so training may be as long as wanted.

    Attributes:
        chunk_size: hyperparameters carried at once, >= 1; each chunk trains anew.
    Source: Franceschi, Donini, Frasconi & Pontil 2017, arXiv:1703.01785, algorithm 2.
    """

    chunk_size: int = 64

    def __post_init__(self) -> None:
        check_count("ForwardMode", "chunk_size", self.chunk_size)

    def solve(self, run: Run) -> Hypergradient:
        """The hypergradient; see `hypergradient`."""
        problem, hyper, started = run.problem, run.hyper, clock(run.problem)
        parts, total = [], sum(value.numel() for value in hyper.values())
        for first in range(0, total, self.chunk_size):
            directions = _axes(hyper, range(first, min(first + self.chunk_size, total)))
            weights, tangents = _carried(problem, hyper, directions)
            value, slope = judged(problem, weights)
            check_end(run, weights, value)
            parts.append(sum((slope[name] * each).flatten(1).sum(1) for name, each in tangents.items()))
        flat = torch.cat(parts).split([each.numel() for each in hyper.values()])
        grad = {name: part.view_as(like).to(like) for (name, like), part in zip(hyper.items(), flat, strict=True)}
        kept, seconds = 2 * nbytes(weights) * min(self.chunk_size, total), clock(problem) - started
        return Hypergradient(grad, value, weights, kept, seconds, 0.0, problem.num_steps * total, torch.empty(0))


@torch.no_grad()  # nothing that the losses hold on to is to be differentiated
def _carried(problem: Problem, hyper: Named, directions: Named) -> tuple[Named, Named]:
    """Train; with the weights at the end, their derivative in each direction of the hyperparameters."""
    weights = {name: value.detach().clone() for name, value in problem.weights.items()}
    velocity = zeros(weights)
    count = len(next(iter(directions.values())))
    moving = {name: value.new_zeros(count, *value.shape) for name, value in weights.items()}
    moving_velocity = zeros(moving)
    for step in range(problem.num_steps):
        batch = problem.batches(step)

        def move(weights: Named, velocity: Named, hyper: Named, batch: Any = batch, step: int = step) -> tuple:
            slope = grad(problem.train_loss)(weights, hyper, batch)
            rates, rho = rates_at(problem, hyper, step), momentum_at(problem, hyper, step)
            velocity = {name: rho * value + slope[name] for name, value in velocity.items()}
            return {name: value - rates[name] * velocity[name] for name, value in weights.items()}, velocity

        here = weights, velocity, hyper

        def along(*tangents: Named, move=move, here=here) -> tuple:
            return jvp(move, here, tangents)[1]

        moving, moving_velocity = vmap(along)(moving, moving_velocity, directions)
        weights, velocity = move(*here)
    return weights, moving


def _axes(hyper: Named, places: range) -> Named:
    """Unit directions of the hyperparameters, flattened and laid end to end."""
    sizes = [value.numel() for value in hyper.values()]
    first = next(iter(hyper.values()))
    rows = torch.zeros(len(places), sum(sizes), dtype=first.dtype, device=first.device)
    rows[torch.arange(len(places)), torch.arange(places.start, places.stop)] = 1.0
    parts = zip(hyper.items(), rows.split(sizes, 1), strict=True)
    return {name: part.reshape(len(places), *like.shape).to(like) for (name, like), part in parts}
