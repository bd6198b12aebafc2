"""Linear systems with the Hessian, a network at a time: tensors have the networks along their first dimension.

`ConjugateGradient` and `Neumann` solve for all weights together and stop where curvature is negative. These give each
network its own rate and never stop, to ask how far they come.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from labsupport.hypergradients.problem import Named
from labsupport.optimizers.rule import zeros
from labsupport.values import check_count

__all__ = ["conjugate", "dots", "highest", "scaled", "series"]

Product = Callable[[Named], Named]
"""v -> H v, both shaped like the weights."""


def dots(one: Named, other: Named) -> Tensor:
    """Inner product of each network's tensors with the other's: (networks,).

    Raises:
        ValueError: the two have other names.
    """
    if one.keys() != other.keys():
        raise ValueError(f"dots: other must name {', '.join(one)}, got {', '.join(other)}")
    return sum((one[name] * other[name]).flatten(1).sum(1) for name in one)


def scaled(factors: Tensor, values: Named) -> Named:
    """Each network's tensors times its factor.

    Args:
        factors: (networks,).
        values: (networks, …) each.
    """
    return {name: factors.view(-1, *[1] * (value.ndim - 1)) * value for name, value in values.items()}


def conjugate(product: Product, right: Named, *, num_steps: int) -> Named:
    """x with H x = `right` after so many steps of conjugate gradient from 0; exact after as many as H has curvatures.

    Args:
        product: v -> H v.
        right: b.
        num_steps: products with H, >= 1.
    Raises:
        ValueError: a bound above is broken.
    Source: Hestenes & Stiefel 1952, Journal of Research of the National Bureau of Standards 49.
    """
    check_count("conjugate", "num_steps", num_steps)
    x, left, way, square = zeros(right), right, right, dots(right, right)
    for _ in range(num_steps):
        curved = product(way)
        rate = square / dots(way, curved)
        x = {name: x[name] + value for name, value in scaled(rate, way).items()}
        left = {name: left[name] - value for name, value in scaled(rate, curved).items()}
        before, square = square, dots(left, left)
        way = {name: left[name] + value for name, value in scaled(square / before, way).items()}
    return x


def highest(product: Product, start: Named, *, num_steps: int = 40) -> Tensor:
    """The curvature of largest size of each network, without its sign, by power iterations from `start`: (networks,).

    Raises:
        ValueError: num_steps < 1.
    """
    check_count("highest", "num_steps", num_steps)
    way = start
    for _ in range(num_steps):
        way = product(scaled(dots(way, way).rsqrt(), way))
    return dots(way, way).sqrt()


def series(product: Product, right: Named, rates: Tensor, *, num_terms: int) -> Named:
    """The Neumann series for x with H x = `right`: η Σ_{j ≤ num_terms} (I − ηH)ʲ b.

    Args:
        product: v -> H v.
        right: b.
        rates: η, (networks,); the series comes nearer where 0 < η < 2 / the largest curvature.
        num_terms: after the first, >= 0.
    Raises:
        ValueError: a bound above is broken.
    Source: Lorraine, Vicol & Duvenaud 2020, arXiv:1911.02590, eq. 7.
    """
    check_count("series", "num_terms", num_terms, at_least=0)
    term = total = right
    for _ in range(num_terms):
        curved = scaled(rates, product(term))
        term = {name: value - curved[name] for name, value in term.items()}
        total = {name: value + term[name] for name, value in total.items()}
    return scaled(rates, total)
