"""What is asked: a training run that depends on hyperparameters, and a loss that judges its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from labsupport.counters import orders
from labsupport.values import check_count, check_number, holds, is_finite

__all__ = [
    "Hypergradient", "Problem", "check_tensors", "fits", "length", "minibatches", "momentum_at", "nbytes", "rates_at",
]  # fmt: skip

Named = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Problem:
    """Weights trained for `num_steps` steps v ← ρv + ∇L(w, λ), w ← w − ηv from v = 0, judged by a validation loss.

    Attributes:
        train_loss: (weights, hyper, batch) -> a number L, twice differentiable in the first two.
        valid_loss: weights -> a number.
        weights: name -> tensor, where training starts.
        batches: step (0 … num_steps − 1) -> batch, the same whenever it is asked.
        num_steps: >= 1.
        lr: η, a number; or name -> a number or a tensor like that weight; or a function (hyper, step) -> one of these,
            where rates are learnt: it must be differentiable, its rates positive.
        momentum: ρ in [0, 1), a number, or a function (hyper, step) -> a tensor without dimensions.
    Raises:
        ValueError: a bound above is broken.
    """

    train_loss: Callable[[Named, Named, Any], Tensor]
    valid_loss: Callable[[Named], Tensor]
    weights: Named
    batches: Callable[[int], Any]
    num_steps: int
    lr: float | Mapping[str, Tensor | float] | Callable[[Named, int], Any]
    momentum: float | Callable[[Named, int], Tensor] = 0.0

    def __post_init__(self) -> None:
        check_count("Problem", "num_steps", self.num_steps)
        for name in ("train_loss", "valid_loss", "batches"):
            if not callable(getattr(self, name)):
                raise ValueError(f"Problem: {name} must be a function, got {getattr(self, name)!r}")
        check_tensors("Problem", "weights", self.weights)
        kinds = {(value.dtype, value.device) for value in self.weights.values()}
        if len(kinds) > 1:
            raise ValueError(f"Problem: weights must share dtype and device, got {sorted(map(str, kinds))}")
        if not callable(self.momentum) and check_number("Problem", "momentum", self.momentum, low=0.0) >= 1:
            raise ValueError(f"Problem: momentum must lie in [0, 1), got {self.momentum!r}")
        if isinstance(self.lr, Mapping):
            self._check_rates(self.lr)
        elif not callable(self.lr):
            check_number("Problem", "lr", self.lr, low=0.0)

    def _check_rates(self, lr: Mapping[str, Tensor | float]) -> None:
        if lr.keys() != self.weights.keys():
            raise ValueError(f"Problem: lr must name the weights {', '.join(self.weights)}, got {', '.join(lr)}")
        for name, value in lr.items():
            rate = torch.as_tensor(value if isinstance(value, (Tensor, Real)) else math.nan)
            if not is_finite(rate) or not holds(rate >= 0) or rate.shape not in ((), self.weights[name].shape):
                raise ValueError(f"Problem: lr[{name!r}] must be >= 0, a number or like the weight, got {value!r}")

    @property
    def learns_rates(self) -> bool:
        """Whether η or ρ depend on the hyperparameters."""
        return callable(self.lr) or callable(self.momentum)


@dataclass(frozen=True, eq=False, repr=False)
class Hypergradient:
    """What a method gave.

    Attributes:
        grad: name -> derivative of the validation loss, shaped like the hyperparameters.
        valid_loss: after training.
        weights: after training.
        stored_bytes: what the method keeps for its way back, the largest at any time.
        forward_seconds, reverse_seconds: by the clock.
        num_products: products with second derivatives, each with that by the weights and that by the hyperparameters.
        adjoint_norms: (steps back,), the length of the derivative by the weights after each, on the CPU; empty where a
            method has none.
    """

    grad: Named
    valid_loss: float
    weights: Named
    stored_bytes: int
    forward_seconds: float
    reverse_seconds: float
    num_products: int
    adjoint_norms: Tensor

    @property
    def finite(self) -> bool:
        """Whether the gradient holds neither NaN nor infinity."""
        return all(is_finite(value) for value in self.grad.values())

    def __repr__(self) -> str:
        size = sum(value.numel() for value in self.grad.values())
        return (
            f"Hypergradient({size} numbers, validation loss {self.valid_loss:.4f}, {self.stored_bytes:,} bytes, "
            f"{self.forward_seconds:.2f} + {self.reverse_seconds:.2f} s)"
        )


def rates_at(problem: Problem, hyper: Named, step: int) -> Named:
    """η at a step, a tensor for each weight.

    Raises:
        ValueError: the problem's function gives something else.
    """
    lr, weights = problem.lr(hyper, step) if callable(problem.lr) else problem.lr, problem.weights
    each = lr if isinstance(lr, Mapping) else dict.fromkeys(weights, lr)
    for name, w in weights.items():
        rate = each.get(name)
        if not isinstance(rate, (Tensor, Real)) or (isinstance(rate, Tensor) and not fits(rate, w)):
            raise ValueError(f"hypergradient: lr must give {name!r} a number or a tensor like it, got {_told(rate)}")
    return {name: torch.as_tensor(each[name], dtype=w.dtype, device=w.device) for name, w in weights.items()}


def momentum_at(problem: Problem, hyper: Named, step: int) -> Tensor:
    """ρ at a step, a tensor without dimensions.

    Raises:
        ValueError: the problem's function gives something else.
    """
    first = next(iter(problem.weights.values()))
    rho = problem.momentum(hyper, step) if callable(problem.momentum) else problem.momentum
    if not isinstance(rho, (Tensor, Real)) or (isinstance(rho, Tensor) and rho.ndim):
        raise ValueError(f"hypergradient: momentum must give a tensor without dimensions, got {_told(rho)}")
    return torch.as_tensor(rho, dtype=first.dtype, device=first.device)


def minibatches(x: Tensor, y: Tensor, batch_size: int, *, seed: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """step -> (batch of x, batch of y): whole batches of a new order in each epoch, any step at once.

    What is left of an epoch when no whole batch fits is not used.

    Raises:
        ValueError: batch_size does not lie in 1 … n, or x and y differ in length.
    """
    check_count("minibatches", "seed", seed, at_least=0)
    if not all(isinstance(each, Tensor) and each.ndim for each in (x, y)):
        raise ValueError(f"minibatches: x and y must be tensors with rows, got {_told(x)}, {_told(y)}")
    if len(x) != len(y) or check_count("minibatches", "batch_size", batch_size) > len(x):
        raise ValueError(f"minibatches: batch_size must be at most {len(x)}, y as long, got {batch_size}, {len(y)}")
    per_epoch = len(x) // batch_size

    @lru_cache(maxsize=2)
    def order(epoch: int) -> Tensor:
        return orders([seed], epoch, len(x))[0].to(x.device)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        epoch, place = divmod(check_count("minibatches", "step", step, at_least=0), per_epoch)
        rows = order(epoch)[place * batch_size : (place + 1) * batch_size]
        return x[rows], y[rows]

    return batch


def check_tensors(where: str, name: str, values: Any) -> None:
    """Raise ValueError unless `values` maps names to finite floating tensors, not all of them empty."""
    if not isinstance(values, Mapping) or not values or not all(isinstance(v, Tensor) for v in values.values()):
        raise ValueError(f"{where}: {name} must map names to tensors, got {values!r}")
    for key, value in values.items():
        if not value.is_floating_point() or value.layout != torch.strided or not is_finite(value):
            raise ValueError(f"{where}: {name}[{key!r}] must hold finite floating numbers, got {_told(value)}")
    if not any(value.numel() for value in values.values()):
        raise ValueError(f"{where}: {name} must hold a number, got empty tensors")


def fits(value: Tensor, weight: Tensor) -> bool:
    """Whether the first spreads over the second without making it larger."""
    sizes = zip(reversed(value.shape), reversed(weight.shape), strict=False)
    return value.ndim <= weight.ndim and all(one in (1, other) for one, other in sizes)


def _told(value: Any) -> str:
    """A tensor's kind, for a message; other things as they are."""
    if not isinstance(value, Tensor):
        return repr(value)
    layout = "" if value.layout == torch.strided else f" {value.layout}"
    return f"{value.dtype}{layout} of shape {tuple(value.shape)}"


def length(values: Named) -> Tensor:
    """Of all entries together, the root of the sum of squares."""
    return sum(value.square().sum() for value in values.values()).sqrt()


def nbytes(values: Named) -> int:
    """Of a dict of tensors."""
    return sum(value.nbytes for value in values.values())
