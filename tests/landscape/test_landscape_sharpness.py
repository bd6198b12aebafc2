"""Sharpness against dense Hessians and closed forms."""

import math
import re

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labsupport import models, optimizers, population
from labsupport.landscape import sharpness

DTYPE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(n=24):
    return torch.randn(n, 4, generator=seeded(1), dtype=DTYPE), torch.arange(n) % 3


def stack(count=3, activation="relu", sizes=(4, 5, 5, 3)):
    build = lambda g: models.mlp(sizes, activation=activation, generator=g)  # noqa: E731
    return population.init(build, optimizers.sgd(), {"lr": 0.1}, seeds=range(count)).to(DTYPE)


def hessian_of(state, i, x, y):
    """The dense Hessian of member i, parameters in the order of `state.params`."""
    sizes = {name: value[i].numel() for name, value in state.params.items()}

    def loss(vector):
        parts = dict(zip(sizes, vector.split(list(sizes.values())), strict=True))
        params = {name: parts[name].view_as(value[i]) for name, value in state.params.items()}
        return cross_entropy(torch.func.functional_call(state.module, params, (x,)), y)

    flat = torch.cat([value[i].flatten() for value in state.params.values()])
    return torch.autograd.functional.hessian(loss, flat), loss, flat


def bowl(diagonal):
    """One member, x ↦ x * w (a diagonal net), whose loss ½ Σ h (w − 1)² is a bowl with curvatures `diagonal`."""

    class Diagonal(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(len(diagonal), dtype=DTYPE))

        def forward(self, x):
            return x * self.w

    x = torch.tensor(diagonal, dtype=DTYPE).sqrt()[None]
    return (
        population.init(lambda g: Diagonal(), optimizers.sgd(), {"lr": 0.1}, seeds=[0]),
        x,
        lambda output, target: (output - target).square().sum() / 2,
    )


def test_largest_and_trace_against_the_dense_hessian():
    x, y = problem()
    tops, vectors = sharpness.largest(stack(), x, y, loss=cross_entropy, num_steps=60, generator=seeded())
    times = sharpness.hvp(stack(), x, y, loss=cross_entropy)
    estimate, error = sharpness.trace(stack(), x, y, loss=cross_entropy, num_products=200, generator=seeded())
    for i in range(3):
        dense, _, flat = hessian_of(stack(), i, x, y)
        values = torch.linalg.eigvalsh(dense)
        assert abs(tops[i] - values[-1]) < 1e-10 and abs(vectors[i].norm() - 1) < 1e-12
        assert (dense @ vectors[i] - tops[i] * vectors[i]).norm() < 1e-4
        probe = torch.randn(3, len(flat), generator=seeded(3), dtype=DTYPE)
        assert (times(probe)[i] - dense @ probe[i]).abs().max() < 1e-12
        assert abs(estimate[i] - dense.trace()) < 4 * error[i]


def test_a_warm_start_needs_few_products():
    x, y = problem()
    tops, vectors = sharpness.largest(stack(), x, y, loss=cross_entropy, num_steps=60, generator=seeded())
    again, _ = sharpness.largest(stack(), x, y, loss=cross_entropy, num_steps=2, begin=vectors, generator=seeded())
    assert (tops - again).abs().max() < 1e-9


def test_the_largest_is_not_the_largest_in_magnitude():
    bent, x, loss = bowl([1.0, 2.0])
    upside_down = lambda output, target: -loss(output, target)  # noqa: E731
    top, _ = sharpness.largest(bent, x, x, loss=upside_down, generator=seeded())
    assert abs(top.item() + 1.0) < 1e-12


def test_worst_case_in_a_bowl():
    bent, x, loss = bowl([0.5, 3.0, 8.0])
    rise = sharpness.worst_case(bent, x, x, radius=0.2, loss=loss, num_steps=60, generator=seeded())
    assert rise.item() == pytest.approx(0.5 * 8.0 * 0.2**2, rel=1e-3) and rise.item() <= 0.5 * 8.0 * 0.2**2 + 1e-12


def test_worst_case_on_a_hilltop_is_no_rise():
    bent, x, loss = bowl([1.0, 2.0])
    rise = sharpness.worst_case(bent, x, x, radius=0.2, loss=lambda o, t: -loss(o, t), generator=seeded())
    assert rise.item() == 0


def test_rescaled_layers_compute_the_same_and_curve_otherwise():
    x, y = problem()
    factors = torch.tensor([[2.0, 0.25, 2.0], [1.0, 1.0, 1.0], [8.0, 1.0, 0.125]], dtype=DTYPE)
    moved = sharpness.rescale_layers(stack(), factors)
    for i in range(3):
        assert (population.member(moved, i)(x) - population.member(stack(), i)(x)).abs().max() < 1e-12
    before, after = (
        sharpness.largest(s, x, y, loss=cross_entropy, num_steps=60, generator=seeded())[0] for s in (stack(), moved)
    )
    assert abs(after[1] - before[1]) < 1e-9 and after[2] > 4 * before[2]
    name = "4.weight"  # of the last layer, curvatures grow with the square of what its weights were divided by
    blocks = [hessian_of(s, 2, x, y)[0][-18:-3, -18:-3] for s in (stack(), moved)]
    assert (blocks[1] - 64 * blocks[0]).abs().max() < 1e-9 and moved.params[name][2].numel() == 15


X, Y = problem()
REFUSALS = {
    "hvp: loss must bend": lambda: sharpness.hvp(stack(sizes=(4, 3)), X, Y, loss=lambda o, t: o.mean()),
    "largest: num_steps": lambda: sharpness.largest(stack(), X, Y, loss=cross_entropy, num_steps=1, generator=seeded()),
    "largest: the Hessian must be finite": lambda: sharpness.largest(
        stack(), X * math.inf, Y, loss=cross_entropy, generator=seeded()
    ),
    "trace: num_products": lambda: sharpness.trace(
        stack(), X, Y, loss=cross_entropy, num_products=1, generator=seeded()
    ),
    "worst_case: radius must be > 0": lambda: sharpness.worst_case(
        stack(), X, Y, radius=0, loss=cross_entropy, generator=seeded()
    ),
    "rescale_layers: state must hold": lambda: sharpness.rescale_layers(stack(activation="tanh"), torch.ones(3)),
    "rescale_layers: factors must be (3,) or (3, 3)": lambda: sharpness.rescale_layers(stack(), torch.ones(2)),
    "rescale_layers: factors must be > 0 with product 1": lambda: sharpness.rescale_layers(
        stack(), torch.tensor([2.0, 1.0, 1.0])
    ),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        REFUSALS[message]()
