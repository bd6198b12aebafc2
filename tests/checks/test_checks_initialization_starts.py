"""What the checks of page `starting_points` call right is what networks do."""

import math

import pytest
import torch
from torch import nn

from labsupport import checks
from labsupport.checks.initialization import starting_points
from labsupport.initialization import starts


def memory_bias(lag, kept):
    gate = kept ** (1 / lag)
    return math.log(gate / (1 - gate))


def set_forget_bias(bias_ih, bias_hh, value):
    cell = nn.LSTMCell(2, len(bias_ih) // 4).double()
    with torch.no_grad():
        cell.bias_ih.copy_(bias_ih)
        cell.bias_hh.copy_(bias_hh)
    starts.forget_gate_(cell, value=value)
    return cell.bias_ih.detach(), cell.bias_hh.detach()


def maximal_update(layer, width, base):
    return {"input": width / base, "hidden": 1.0, "output": base / width}[layer] ** 0.5


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("answer", [memory_bias, set_forget_bias, maximal_update])
def test_the_truth_is_accepted(answer, seed):
    assert getattr(checks.initialization, answer.__name__)(answer, seed).status == "correct"


def test_a_cell_with_that_bias_keeps_that_share():
    cell = nn.LSTMCell(1, 3).double()
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    starts.forget_gate_(cell, value=memory_bias(25, 0.3))
    state = torch.zeros(1, 3).double(), torch.ones(1, 3).double()
    for _ in range(25):
        state = cell(torch.zeros(1, 1).double(), state)
    torch.testing.assert_close(state[1], torch.full((1, 3), 0.3).double())


def moves_of_first_step(width, base, factors, seed):
    """By how much plain descent moves the sums of each layer, all other layers held at their start."""
    draw = torch.Generator().manual_seed(seed)
    shapes, stds = [(width, 8), (width, width), (1, width)], [0.5, (2 / width) ** 0.5, base**0.5 / width]
    given = [s * torch.randn(shape, generator=draw).double() for s, shape in zip(stds, shapes, strict=True)]
    w = [(start / f).requires_grad_() for start, f in zip(given, factors, strict=True)]
    units = [torch.ones(8).double()]
    for f, part in zip(factors, w, strict=True):
        units.append((f * part @ units[-1]).relu() if len(units) < 3 else f * part @ units[-1])
    grads = torch.autograd.grad(units[-1].sum(), w)
    pairs = zip(factors, grads, units[:-1], strict=True)
    return torch.stack([(f * g @ x.detach()).square().mean().sqrt() for f, g, x in pairs])


@pytest.mark.parametrize("growth", [4, 16])
def test_one_step_of_descent_moves_every_layer_equally_far_at_any_width(growth):
    layers = ("input", "hidden", "output")
    wide = [maximal_update(layer, 64 * growth, 64) for layer in layers]
    moves = [
        torch.stack([moves_of_first_step(width, 64, factors, seed) for seed in range(64)]).mean(0)
        for width, factors in ((64, (1.0, 1.0, 1.0)), (64 * growth, wide), (64 * growth, (1.0, 1.0, 1.0)))
    ]
    assert torch.allclose(moves[1] / moves[0], torch.ones(3).double(), rtol=0.25)
    standard = growth ** torch.tensor([-1.0, 0, 1]).double()
    assert torch.allclose(moves[2] / moves[0], standard, rtol=0.25)


def test_no_answer_that_is_stored_as_wrong_is_the_truth():
    names = starting_points.__all__
    assert sorted(names) == ["maximal_update", "memory_bias", "set_forget_bias"]
    for name in names:
        assert globals()[name] not in getattr(checks.initialization, name).wrong.values()
