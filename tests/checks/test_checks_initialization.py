"""The checks of chapter `initialization` against truth: what they call right is what networks do."""

import math

import pytest
import torch
from torch import nn

from labsupport import checks, models
from labsupport.checks.initialization import symmetry_and_scale as symmetry


def moves(net, optimizer):
    """Whether each weight matrix changes in one step on random data."""
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    before = [weight.detach().clone() for weight in net.parameters()]
    optimizer.zero_grad()
    (net(x) - x.square()).square().mean().backward()
    optimizer.step()
    return [not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)]


@pytest.mark.parametrize(("activation", "slope"), [("tanh", 1.0), ("relu", 0.0)])
@pytest.mark.parametrize("zeros", [(), (1,), (2,), (3,), (4,), (1, 2), (2, 4), (1, 2, 3, 4)])
def test_the_step_in_which_all_matrices_move(zeros, activation, slope):
    net = models.mlp([8] * 5, activation=activation, bias=False, generator=torch.Generator().manual_seed(0)).double()
    for place in zeros:
        nn.init.zeros_(net[2 * place - 2].weight)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    first = next((step for step in range(1, 6) if all(moves(net, optimizer))), math.inf)
    assert symmetry._first_step(zeros, 4, slope) == first


def jittered_start(rows, columns, value, size, generator):
    return value + size * torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def merge_twins(w1, b1, w2):
    return symmetry._merged(w1, b1, w2, lambda part: part.sum(1))


@pytest.mark.parametrize("seed", range(5))
def test_right_answers_are_right(seed):
    for answer in (jittered_start, merge_twins, symmetry._first_step):
        name = "steps_until_all_move" if answer is symmetry._first_step else answer.__name__
        assert checks.ALL[f"initialization.{name}"](answer, seed).status == "correct"
