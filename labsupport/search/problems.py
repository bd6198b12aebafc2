"""Functions to search whose minimum is known: two of the literature, and a space with conditions.

    problem = moved(hartmann6(), by=0.1, generator=generator)
    problem.value(params) - problem.minimum
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch

from labsupport.search.space import Categorical, Dimension, Float, Integer, Params, Space
from labsupport.values import check_generator, check_number

__all__ = ["Problem", "branin", "conditional", "hartmann6", "moved"]

_PEAKS = (1.0, 1.2, 3.0, 3.2)
_RATES = (
    (10, 3, 17, 3.5, 1.7, 8), (0.05, 10, 17, 0.1, 8, 14), (3, 3.5, 1.7, 10, 17, 8), (17, 8, 0.05, 10, 0.1, 14),
)  # fmt: skip
_CENTRES = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886), (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650), (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)  # fmt: skip


class Problem(NamedTuple):
    """A space, a function of its settings, the function's smallest value there, and a setting that has it."""

    space: Space
    value: Callable[[Params], float]
    minimum: float
    best: Params


def branin() -> Problem:
    """Branin's function of two floats, with three minima of equal depth, 0.397887.

    Source: Dixon & Szegő 1978, The Global Optimization Problem: An Introduction.
    """
    space = Space({"x1": Float(-5, 10), "x2": Float(0, 15)})
    return Problem(space, _branin, 10 / (8 * math.pi), {"x1": math.pi, "x2": 2.275})


def hartmann6() -> Problem:
    """Hartmann's function of six floats: four wells, the deepest −3.32237.

    Source: Dixon & Szegő 1978, The Global Optimization Problem: An Introduction.
    """
    best = (0.20168951, 0.15001069, 0.47687397, 0.27533243, 0.31165162, 0.65730053)
    names = [f"x{i}" for i in range(1, 7)]
    return Problem(Space({name: Float(0, 1) for name in names}), _hartmann6, -3.3223680114, dict(zip(names, best)))


def conditional() -> Problem:
    """A training's error in play: five to six settings of floats, integers and categories, two or three of which exist
    only beside others; the minimum is 0.

    The better optimizer, "sgd", has a valley: the more momentum, the smaller its learning rate. "adam", which is easier
    to set, ends at 0.1. Ours.
    """
    space = Space(
        {
            "optimizer": Categorical(("sgd", "adam")),
            "lr": Float(1e-5, 1, log=True),
            "momentum": Float(0, 1),
            "warmup": Integer(0, 10),
            "depth": Integer(1, 5),
            "dropped": Categorical((False, True)),
            "dropout": Float(0, 0.8),
        },
        {"momentum": ("optimizer", ("sgd",)), "warmup": ("optimizer", ("adam",)), "dropout": ("dropped", (True,))},
    )
    best = {"optimizer": "sgd", "lr": 10**-1.7, "momentum": 0.8, "depth": 3, "dropped": True, "dropout": 0.25}
    return Problem(space, _conditional, 0.0, best)


def moved(problem: Problem, *, by: float, generator: torch.Generator) -> Problem:
    """The same function where each Float's range is moved by up to this share of it, either way, on its own scale.

    So that repeats differ in where the minimum lies.

    Args:
        by: in [0, 0.1]; the minimum of each problem here stays inside.
    Raises:
        ValueError: `by` is outside, or `generator` is none.
    """
    by = check_number("moved", "by", by, low=0, high=0.1)
    check_generator("moved", generator)
    drawn = torch.rand(len(problem.space.dims), generator=generator, dtype=torch.float64, device=generator.device)
    shares = (by * (2 * drawn - 1)).tolist()
    dims = {name: _moved(dim, share) for (name, dim), share in zip(problem.space.dims.items(), shares, strict=True)}
    return problem._replace(space=Space(dims, problem.space.when))


def _moved(dim: Dimension, share: float) -> Dimension:
    if not isinstance(dim, Float):
        return dim
    if dim.log:
        factor = (dim.high / dim.low) ** share
        return replace(dim, low=dim.low * factor, high=dim.high * factor)
    offset = share * (dim.high - dim.low)
    return replace(dim, low=dim.low + offset, high=dim.high + offset)


def _branin(params: Params) -> float:
    x, y = params["x1"], params["x2"]
    valley = y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6
    return valley**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def _hartmann6(params: Params) -> float:
    x = [params[f"x{i}"] for i in range(1, 7)]
    return -sum(
        peak * math.exp(-sum(rate * (at - centre) ** 2 for rate, at, centre in zip(rates, x, centres)))
        for peak, rates, centres in zip(_PEAKS, _RATES, _CENTRES)
    )


def _conditional(params: Params) -> float:
    lr = math.log10(params["lr"])
    if params["optimizer"] == "sgd":
        momentum = params["momentum"]
        error = 0.3 * (lr + 0.5 + 1.5 * momentum) ** 2 + (momentum - 0.8) ** 2
    else:
        error = 0.1 + 0.3 * (lr + 3) ** 2 + 0.01 * (params["warmup"] - 4) ** 2
    error += 0.05 * (params["depth"] - 3) ** 2
    return error + (2 * (params["dropout"] - 0.25) ** 2 if params["dropped"] else 0.2)
