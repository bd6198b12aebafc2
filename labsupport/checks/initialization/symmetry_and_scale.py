"""Checks of the exercises that belong to page `symmetry_and_scale`."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from labsupport.checks.compare import as_tensor, close, exactly
from labsupport.checks.draws import normal, whole
from labsupport.checks.frame import check

__all__ = ["jittered_start", "merge_twins", "steps_until_all_move"]


def _first_step(zeros: tuple[int, ...], num_layers: int, slope: float) -> float:
    """At a zero layer all products but its own vanish; every pre-activation behind it is 0, where the slope counts."""
    if not zeros:
        return 1.0
    return 2.0 if len(zeros) == 1 and (zeros[0] == num_layers or slope > 0) else math.inf


def _zeros(generator: torch.Generator) -> list[tuple]:
    layers = whole(generator, 4, 6)
    cases = [((), 3), ((3,), 3), ((1,), 3), ((2,), 3), ((1, 3), 3), ((1, 2, 3), 3)]
    cases += [((layers,), layers), ((2, layers), layers), ((layers - 1,), layers), ((), layers)]
    return [(*case, slope) for slope in (1.0, 0.0) for case in cases]


@check(
    truth=_first_step,
    given=_zeros,
    wrong={
        "zero is fatal": (lambda zeros, num_layers, slope: math.inf if zeros else 1,
            "The zero layer itself has a gradient: its factors are all others."),
        "one step each": (lambda zeros, num_layers, slope: 1 + len(zeros),
            "Each zero layer waits for another one to let the error through."),
        "zero is harmless": (lambda zeros, num_layers, slope: 1 if len(zeros) < 2 else math.inf,
            "In step 1 only the zero layer moves: it is a factor of the others' gradients."),
        "slope forgotten": (lambda zeros, num_layers, slope: math.inf if len(zeros) > 1 else 1 + len(zeros),
            "Behind the zero layer all units stand at 0, where the slope is 0."),
        "last layer forgotten": (
            lambda zeros, num_layers, slope: math.inf if len(zeros) > 1 or (zeros and slope == 0) else 1 + len(zeros),
            "No activation comes after the last layer, so the slope does not matter."),
    },
)  # fmt: skip
def steps_until_all_move(answer: Callable, generator: torch.Generator) -> str | None:
    """`steps_until_all_move(zeros, num_layers, slope)`: the first step in which every weight matrix moves, or inf."""


def _unseeded() -> torch.Generator:
    """As unpredictable as torch's global generator, and leaves that one alone."""
    generator = torch.Generator()
    generator.seed()
    return generator


@check(
    wrong={
        "one noise for all units": (lambda rows, columns, value, size, generator: (
                value + size * normal(generator, columns).expand(rows, columns)
            ),
            "All rows are equal: every unit got the same noise, and the units are still twins."),
        "one noise for all inputs": (lambda rows, columns, value, size, generator: (
                value + size * normal(generator, rows, 1).expand(rows, columns)
            ),
            "Each unit got one number for all its inputs: the units differ in size only, and look the same way."),
        "a fraction of the value": (
            lambda rows, columns, value, size, generator: value * (1 + size * normal(generator, rows, columns)),
            "The noise has standard deviation 1e-4: you took a fraction of the value, but `size` is absolute."),
        "only upwards": (
            lambda rows, columns, value, size, generator: value + size * normal(generator, rows, columns).abs(),
            "The noise has a mean that is not 0: it pushes to one side and shifts the value."),
        "variance for standard deviation": (
            lambda rows, columns, value, size, generator: value + math.sqrt(size) * normal(generator, rows, columns),
            "The standard deviation of the noise must be `size` itself; yours has another size."),
        "a generator of its own": (lambda rows, columns, value, size, generator: (
                value + size * normal(torch.Generator().manual_seed(0), rows, columns)
            ),
            "Generators of different seeds gave the same noise: draw from the generator that is handed in."),
        "no generator": (
            lambda rows, columns, value, size, generator: value + size * normal(_unseeded(), rows, columns),
            "Generators of equal seed gave different noise: hand `generator=generator` to torch.randn."),
        "single precision": (lambda rows, columns, value, size, generator: (
                value + size * torch.randn(rows, columns, generator=generator, dtype=torch.float32)
            ),
            "The weights must have dtype torch.float64: torch.randn takes a `dtype`."),
    }
)  # fmt: skip
def jittered_start(answer: Callable, generator: torch.Generator) -> str | None:
    """`jittered_start(rows, columns, value, size, generator)`: value + N(0, size²), every entry its own, float64."""
    rows, columns = 40, 50
    weight = as_tensor(answer(rows, columns, 0.1, 1e-3, generator))
    if weight is None or tuple(weight.shape) != (rows, columns):
        return f"The weight of {rows} units with {columns} inputs must have the shape ({rows}, {columns})."
    if weight.dtype != torch.float64:
        return "single precision"
    noise = weight - 0.1
    for dim, name in enumerate(("one noise for all units", "one noise for all inputs")):
        if float(noise.std(dim).max()) < 1e-6:
            return name
    seed = whole(generator, 0, 2**31 - 1)
    first, again, other = (
        answer(rows, columns, 0.1, 1e-3, torch.Generator().manual_seed(s)) for s in (seed, seed, seed + 1)
    )
    if close(first, other, rtol=0, atol=0):
        return "a generator of its own"
    if not close(first, again, rtol=0, atol=0):
        return "no generator"
    mean, std = float(noise.mean()), float(noise.std())
    if abs(mean) > 5e-3 * std + 5 * std / math.sqrt(noise.numel()):
        return "only upwards"
    if abs(std / 1e-3 - 1) > 0.1:
        return "a fraction of the value" if abs(std / 1e-4 - 1) < 0.1 else "variance for standard deviation"
    return None


Network = tuple[Tensor, Tensor, Tensor]


def _merged(w1: Tensor, b1: Tensor, w2: Tensor, join: Callable = lambda part: part.sum(1)) -> Network:
    """One unit for each group of equal ones, its outgoing weights joined."""
    _, group = torch.unique(torch.cat([w1, b1[:, None]], 1), dim=0, return_inverse=True)
    firsts = [int((group == i).int().argmax()) for i in range(int(group.max()) + 1)]
    return w1[firsts], b1[firsts], torch.stack([join(w2[:, group == i]) for i in range(len(firsts))], 1)


def _no_bias(w1: Tensor, b1: Tensor, w2: Tensor) -> Network:
    w1, b1, w2 = _merged(w1, b1, w2)
    return w1, torch.zeros_like(b1), w2


def _all_summed(w1: Tensor, b1: Tensor, w2: Tensor) -> Network:
    small, bias, out = _merged(w1, b1, w2)
    return small * (w1[None] == small[:, None]).all(2).sum(1)[:, None], bias, out


def _twins(generator: torch.Generator) -> list[tuple]:
    group = torch.tensor([0, 1, 0, 2, 1, 0, 3])
    w1, b1 = normal(generator, 4, 5), normal(generator, 4)
    w1[3] = w1[2]  # same weights, other bias: no twins
    return [(w1[group], b1[group], normal(generator, 3, 7))]


def _same_units(got: Any, right: Network) -> bool:
    """Whether two networks are the same up to the order of their units."""
    rows = []
    for w1, b1, w2 in (map(as_tensor, got), right):
        columns = torch.cat([w1, b1[:, None], w2.mT], 1)
        rows.append(columns[sorted(range(len(columns)), key=lambda i: columns[i].tolist())])
    return exactly(rows[0], rows[1]) and all(as_tensor(a).dtype == b.dtype for a, b in zip(got, right, strict=True))


@check(
    truth=_merged,
    given=_twins,
    same=_same_units,
    returns="three tensors, w1, b1 and w2, of shapes (4, 5), (4,), (3, 4): seven units in four groups",
    wrong={
        "averages the outgoing weights": (lambda w1, b1, w2: _merged(w1, b1, w2, lambda part: part.mean(1)),
            "The function has changed: three twins with outgoing weights a, b, c put out (a + b + c) times one unit."),
        "keeps one twin's": (lambda w1, b1, w2: _merged(w1, b1, w2, lambda part: part[:, 0]),
            "The function has changed: the merged unit speaks for all its twins, and you kept the voice of one."),
        "one unit for all": (lambda w1, b1, w2: (w1[:1], b1[:1], w2.sum(1, keepdim=True)),
            "Not all units are equal: merge only those that are."),
        "merges nothing": (lambda w1, b1, w2: (w1, b1, w2), "Nothing was merged."),
        "bias forgotten": (_no_bias,
            "The function has changed, and so have the biases: a merged unit has its twins' bias, as it is."),
        "sums the incoming weights too": (_all_summed,
            "The function has changed, and so have the incoming weights: the merged unit sees what each twin saw."),
        "single precision": (lambda w1, b1, w2: _merged(w1, b1, w2, lambda part: part.float().sum(1)),
            "Right up to rounding: keep the dtype of w2 (w2.new_zeros)."),
    },
)  # fmt: skip
def merge_twins(answer: Callable, generator: torch.Generator) -> str | None:
    """`merge_twins(w1, b1, w2)`: the smallest network of the same function, one unit for each group of equal ones."""
