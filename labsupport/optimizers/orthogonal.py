"""Optimizers that see a layer's weights as a matrix, not as a list of numbers."""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType

from torch import Tensor

from labsupport.optimizers.rule import Optimizer, Params, Settings, State, zeros
from labsupport.remaking import recorded

__all__ = ["muon"]


@recorded
@lru_cache(maxsize=None, typed=True)
def muon() -> Optimizer:
    """Muon for every tensor: v ← ρv + g, θ ← θ − η √max(m, n) O(g + ρv), of a weight seen as an m × n matrix.

    O keeps the singular vectors and brings the singular values to about 1, those that were not far below the others:
    five steps of an iteration of Newton and Schulz's kind take the place of a decomposition. The root makes the mean
    square of a step's entries about η². What has more than two dimensions is m outputs by the rest; of a bias, seen as
    a diagonal matrix, the signs are taken. The original leaves biases, the first and the last layer to AdamW. Weight
    decay stands beside the gradient, θ ← (1 − ηλ)θ first, as in `adamw`; its λ is 0 here.
    Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon; its factor is √max(1, m/n).
    """

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        rho, lr = settings["momentum"], settings["lr"]
        keep = 1 - lr * settings["weight_decay"]
        velocity = {name: rho * v + grads[name] for name, v in state["velocity"].items()}
        steps = {name: _direction(grads[name] + rho * v) for name, v in velocity.items()}
        return {name: value * keep - lr * steps[name] for name, value in params.items()}, {"velocity": velocity}

    defaults = MappingProxyType({"lr": None, "momentum": 0.95, "weight_decay": 0.0})
    return Optimizer("muon", lambda params: {"velocity": zeros(params)}, update, defaults, reach="tensor")


def _direction(velocity: Tensor) -> Tensor:
    """The orthogonal factor with entries of mean square 1; the signs of what is no matrix."""
    if velocity.ndim < 2:
        return velocity.sign()
    matrix = velocity.flatten(1)
    rows, columns = matrix.shape
    factor = _orthogonal(matrix.mT).mT if rows > columns else _orthogonal(matrix)
    return (max(rows, columns) ** 0.5 * factor).reshape(velocity.shape)


def _orthogonal(matrix: Tensor) -> Tensor:
    """Singular values s to p(p(p(p(p(s))))), p(s) = 3.4445 s − 4.775 s³ + 2.0315 s⁵, after a division by their norm."""
    part = matrix / (matrix.norm() + 1e-7)
    for _ in range(5):
        square = part @ part.mT
        part = 3.4445 * part + (-4.775 * square + 2.0315 * square @ square) @ part
    return part
