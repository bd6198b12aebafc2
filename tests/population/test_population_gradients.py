"""Gradients of a population against autograd on each member alone."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labsupport import optimizers, population


def normed(generator):
    hidden = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5)
    return nn.Sequential(*hidden, nn.Linear(5, 3)).double()


@pytest.fixture
def members():
    return population.init(normed, optimizers.sgd(), {"lr": 0.1}, seeds=range(18))  # more than are measured at once


X = torch.randn(12, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.arange(12) % 3


@pytest.mark.parametrize("which", [slice(None), slice(3, 4)])
def test_losses_and_gradients_are_those_of_each_member_in_evaluation_mode(members, which):
    some = members[which]
    losses, slopes = population.gradients(some, X, Y, loss=cross_entropy)
    assert list(slopes) == list(some.params) and not losses.requires_grad
    for i in range(len(some)):
        net = population.member(some, i).eval()
        loss = cross_entropy(net(X), Y)
        assert abs(loss.item() - losses[i].item()) < 1e-12
        for slope, theirs in zip(slopes.values(), torch.autograd.grad(loss, list(net.parameters())), strict=True):
            assert (slope[i] - theirs).abs().max() < 1e-12


def test_nothing_is_changed_and_the_scores_are_those_of_evaluate(members):
    before = {name: value.clone() for name, value in {**members.params, **members.buffers}.items()}
    losses, _ = population.gradients(members, X, Y, loss=cross_entropy)
    assert torch.allclose(losses, population.evaluate(members, X, Y, loss=cross_entropy).loss, atol=1e-12)
    assert all(torch.equal(before[name], value) for name, value in {**members.params, **members.buffers}.items())


def test_a_loss_for_each_example_is_refused(members):
    with pytest.raises(ValueError, match=r"^gradients: loss must return a scalar, the mean over the batch, got \[12\]"):
        population.gradients(members, X, Y, loss=lambda output, y: cross_entropy(output, y, reduction="none"))
