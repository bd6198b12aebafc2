"""One step of training and one step back, eager or compiled.

With u = a_v − η a_w, the derivative of the end by the new velocity, a step back is

    a_w ← a_w + H u,   a_λ ← a_λ + (∂λ∇_w L) u,   a_v ← ρ u,

H and ∂λ∇_w L at the weights before the step. Both products come from one differentiation of the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad, jvp

from labsupport.hypergradients.problem import Named, length
from labsupport.optimizers.rule import zeros
from labsupport.population.compiling import compiler, in_one_graph
from labsupport.values import check_choice

__all__ = ["BACKENDS", "Adjoints", "Steps", "backend_for", "steps_of"]

BACKENDS = ("auto", "eager", "compiled")
Loss = Callable[[Named, Named, Any], Tensor]


class Adjoints(NamedTuple):
    """Derivatives of the validation loss by what a step starts from.

    Attributes:
        weights, velocity, hyper: name -> tensor.
    """

    weights: Named
    velocity: Named
    hyper: Named


class Steps(NamedTuple):
    """What a method is made of.

    Attributes:
        slope: (weights, hyper, batch) -> gradient by the weights.
        products: (weights, hyper, batch, u) -> (H u, (∂λ∇_w L) u).
        forward: (weights, hyper, batch, velocity, rates, momentum) -> (weights, velocity).
        back: (weights, hyper, batch, adjoints, rates, momentum) -> (adjoints, u, ‖a_w‖).
    """

    slope: Callable[..., Named]
    products: Callable[..., tuple[Named, Named]]
    forward: Callable[..., tuple[Named, Named]]
    back: Callable[..., tuple[Adjoints, Named, Tensor]]


def backend_for(backend: str) -> str:
    """ "eager" or "compiled"; of "auto", which compiles where this machine can.

    Raises:
        ValueError: another backend.
    """
    check_choice("hypergradient", "backend", backend, BACKENDS)
    return ("eager" if compiler() else "compiled") if backend == "auto" else backend


def steps_of(train_loss: Loss, backend: str, sizes: tuple = ()) -> Steps:
    """The steps of a training loss.

    Args:
        train_loss: (weights, hyper, batch) -> a number.
        backend: "eager"; or "compiled", which takes some seconds at the first call of a shape.
        sizes: each has a program of its own, because torch recompiles one program a few times only.
    Raises:
        ValueError: the backend is unknown, or this machine cannot compile.
    """
    check_choice("hypergradient", "backend", backend, ("eager", "compiled"))
    if backend == "eager":
        return _steps(partial(_slope, train_loss), partial(_products, train_loss), lambda step: step)
    if compiler():
        raise ValueError(f"hypergradient: backend must be 'eager' on this machine ({compiler()}), got 'compiled'")
    return _compiled(train_loss, sizes)


@lru_cache(maxsize=32)
def _compiled(train_loss: Loss, sizes: tuple) -> Steps:
    def products(weights: Named, hyper: Named, batch: Any, u: Named) -> tuple[Named, Named]:
        both = grad(lambda weights, hyper: train_loss(weights, hyper, batch), argnums=(0, 1))
        return jvp(both, (weights, hyper), (u, zeros(hyper)))[1]

    return _steps(grad(train_loss), products, in_one_graph)


def _steps(slope: Callable, products: Callable, made: Callable[[Callable], Callable]) -> Steps:
    def forward(
        weights: Named, hyper: Named, batch: Any, velocity: Named, rates: Named, momentum: Tensor
    ) -> tuple[Named, Named]:
        grads = slope(weights, hyper, batch)
        velocity = {name: momentum * value + grads[name] for name, value in velocity.items()}
        return {name: value - rates[name] * velocity[name] for name, value in weights.items()}, velocity

    def back(
        weights: Named, hyper: Named, batch: Any, after: Adjoints, rates: Named, momentum: Tensor
    ) -> tuple[Adjoints, Named, Tensor]:
        u = {name: after.velocity[name] - rates[name] * value for name, value in after.weights.items()}
        curved, mixed = products(weights, hyper, batch, u)
        by_weights = {name: value + curved[name] for name, value in after.weights.items()}
        by_hyper = {name: value + mixed[name] for name, value in after.hyper.items()}
        by_velocity = {name: momentum * value for name, value in u.items()}
        return Adjoints(by_weights, by_velocity, by_hyper), u, length(by_weights)

    return Steps(made(slope), made(products), made(forward), made(back))


def _slope(train_loss: Loss, weights: Named, hyper: Named, batch: Any) -> Named:
    at = {name: value.detach().requires_grad_() for name, value in weights.items()}
    with torch.enable_grad():
        value = train_loss(at, hyper, batch)
    return dict(zip(at, torch.autograd.grad(value, list(at.values()), materialize_grads=True), strict=True))


def _products(train_loss: Loss, weights: Named, hyper: Named, batch: Any, u: Named) -> tuple[Named, Named]:
    at = {name: value.detach().requires_grad_() for name, value in weights.items()}
    by = {name: value.detach().requires_grad_() for name, value in hyper.items()}
    with torch.enable_grad():
        value = train_loss(at, by, batch)
        slope = torch.autograd.grad(value, list(at.values()), create_graph=True, materialize_grads=True)
    pairs = [(one, u[name]) for name, one in zip(at, slope, strict=True) if one.requires_grad]
    both = torch.autograd.grad(
        [one for one, _ in pairs], [*at.values(), *by.values()], [other for _, other in pairs], materialize_grads=True
    )
    return dict(zip(at, both[: len(at)], strict=True)), dict(zip(by, both[len(at) :], strict=True))
