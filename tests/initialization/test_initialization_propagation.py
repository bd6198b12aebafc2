"""Measured moments against hand-made backward passes, and against mean field on wide nets in standard errors."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from labsupport import models
from labsupport.initialization import meanfield, propagation, rules, starts

DTYPE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def started(sizes, activation, gain, bias_std, seed):
    net = models.mlp(sizes, activation=activation, generator=seeded()).to(DTYPE)
    rule, bias = partial(rules.he_normal_, gain=gain), partial(rules.normal_, std=bias_std)
    return starts.apply_(net, rule, bias=bias, generator=seeded(seed))


def inputs(n, features, seed=0):
    """Rows with a mean square of exactly 1."""
    x = torch.randn(n, features, generator=seeded(seed), dtype=DTYPE)
    return x / x.square().mean(dim=1, keepdim=True).sqrt()


def test_moments_equal_a_backward_pass_by_hand():
    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace=True), nn.Linear(4, 3)).to(DTYPE)
    x = inputs(7, 5)
    found = propagation.measure(net, x, loss=lambda out: out.square().sum())
    first = x @ net[0].weight.mT + net[0].bias
    second = first.relu() @ net[2].weight.mT + net[2].bias
    below = (2 * second @ net[2].weight) * (first > 0)
    weights = [below.mT @ x, (2 * second).mT @ first.relu()]
    assert found.names == ("0", "2")
    expected = {
        "mean": [first.mean(), second.mean()],
        "second_moment": [first.square().mean(), second.square().mean()],
        "variance": [first.var(unbiased=False), second.var(unbiased=False)],
        "gradient": [below.square().mean(), (2 * second).square().mean()],
        "weight_gradient": [weight.square().mean() for weight in weights],
    }
    for name, values in expected.items():
        assert torch.allclose(getattr(found, name), torch.stack(values).detach(), rtol=1e-12), name


def test_measuring_leaves_the_module_as_it_is():
    net = models.convnet((1, 8, 8), 3, channels=(2, 3), norm="batch", generator=seeded())
    net[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for training in (True, False):
        net.train(training)
        with torch.no_grad():
            found = propagation.measure(net, torch.randn(6, 1, 8, 8, generator=seeded(1)), loss=torch.sum)
        assert found.names == ("0", "4", "9") and all(layer.training is training for layer in net)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters()) and not net[0].weight.requires_grad
    assert all(not layer._forward_hooks for layer in net)


def test_hooks_go_even_when_the_loss_fails():
    net = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="measure: loss must return one number"):
        propagation.measure(net, torch.ones(1, 2), loss=lambda out: out)
    assert not net._forward_hooks
    assert propagation.measure(net, torch.ones(1, 2), loss=torch.sum).names == ("",)


@pytest.mark.parametrize(
    ("activation", "gain", "bias_std"), [("tanh", 1.5, 0.2), ("relu", math.sqrt(2), 0.0), ("gelu", 1.3, 0.3)]
)
def test_mean_field_predicts_wide_nets(activation, gain, bias_std):
    """24 starts of width 256, six layers. Corrections of order 1 ÷ width remain: 2 % beside the standard errors."""
    widths, measured = [256] * 6, []
    x, signs = inputs(4, 64), torch.randn(4, 256, generator=seeded(1), dtype=DTYPE)
    for seed in range(24):
        net = started([64, *widths], activation, gain, bias_std, seed)
        found = propagation.measure(net, x, loss=lambda out: (out * signs).sum())
        measured.append(torch.stack([found.second_moment, found.gradient / found.gradient[-1]]))
    measured = torch.stack(measured)
    lengths = meanfield.lengths(activation, 1.0, num_layers=6, gain=gain, bias_std=bias_std)
    predicted = torch.stack([lengths, meanfield.gradients(activation, lengths, gain=gain, widths=widths)])
    error = measured.std(0) / math.sqrt(len(measured))
    assert ((measured.mean(0) - predicted).abs() < 4 * error + 0.02 * predicted).all()
    assert (error < 0.05 * predicted).all()


def test_mean_field_predicts_correlations():
    gain, bias_std, depth = 2.0, 0.2, 5
    x = inputs(2, 64)
    x[1] = inputs(1, 64, seed=5)[0] * 0.6 + x[0] * 0.8
    x /= x.square().mean(dim=1, keepdim=True).sqrt()
    cosines = []
    for seed in range(24):
        net = started([64] + [256] * depth, "tanh", gain, bias_std, seed)
        out = net(x).detach()
        cosines.append(out[0] @ out[1] / out[0].norm() / out[1].norm())
    cosines = torch.stack(cosines)
    lengths = meanfield.lengths("tanh", 1.0, num_layers=depth, gain=gain, bias_std=bias_std)
    c = float(gain**2 * (x[0] @ x[1]) / 64 + bias_std**2) / float(lengths[0])
    for length in lengths[:-1]:
        c = meanfield.correlation_map("tanh", c, length=float(length), gain=gain, bias_std=bias_std)
    assert abs(cosines.mean() - c) < 4 * cosines.std() / math.sqrt(24) + 0.01


def test_jacobians_of_linear_nets():
    deep = models.mlp([8] * 6, activation="identity", generator=seeded()).to(DTYPE)
    starts.apply_(deep, rules.orthogonal_, generator=seeded(1))
    values = propagation.jacobian_singular_values(deep, inputs(3, 8))
    assert values.shape == (3, 8) and torch.allclose(values, torch.ones_like(values), atol=1e-12)  # dynamical isometry
    starts.apply_(deep, rules.lecun_normal_, generator=seeded(1))
    product = torch.linalg.multi_dot([layer.weight for layer in reversed(deep) if isinstance(layer, nn.Linear)])
    values = propagation.jacobian_singular_values(deep, inputs(3, 8))
    assert torch.allclose(values, torch.linalg.svdvals(product).detach().expand(3, 8), rtol=1e-9)
    assert values[0, 0] / values[0, -1] > 100  # normal weights spread them


def test_jacobians_of_convolutions_and_single_examples():
    net = models.convnet((1, 6, 6), 3, channels=(2,), generator=seeded()).to(DTYPE).eval()
    x = torch.randn(2, 1, 6, 6, generator=seeded(1), dtype=DTYPE)
    values = propagation.jacobian_singular_values(net, x)
    jacobian = torch.autograd.functional.jacobian(lambda image: net(image[None])[0], x[1]).reshape(3, 36)
    assert torch.allclose(values[1], torch.linalg.svdvals(jacobian), rtol=1e-10)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_mean_squared_singular_value_is_chi_to_the_depth():
    """For equal widths: the mean over units of JᵀJ's diagonal is gain² · χ₁ for each layer passed."""
    measured = []
    for seed in range(16):
        net = started([64] + [128] * 4, "tanh", 1.5, 0.0, seed)
        measured.append(propagation.jacobian_singular_values(net[1:], net[0](inputs(1, 64)).detach()).square().mean())
    measured = torch.stack(measured)
    lengths = meanfield.lengths("tanh", 1.0, num_layers=4, gain=1.5)
    predicted = math.prod(meanfield.chi("tanh", float(length), gain=1.5) for length in lengths[:-1])
    assert abs(measured.mean() - predicted) < 4 * measured.std() / 4 + 0.02 * predicted


DROPOUT = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
X = torch.ones(3, 2)
REFUSALS = {
    "measure: module must hold a linear layer": lambda: propagation.measure(nn.ReLU(), X, loss=torch.sum),
    "measure: module must have dropout in eval mode, got '1' in training": lambda: propagation.measure(
        DROPOUT, X, loss=torch.sum
    ),
    "measure: loss must return one number, got float": lambda: propagation.measure(
        nn.Linear(2, 2), X, loss=lambda out: 1.0
    ),
    "measure: loss must depend on every layer, got one that depends on none": lambda: propagation.measure(
        nn.Linear(2, 2), X, loss=lambda out: out.detach().sum()
    ),
    "measure: loss must depend on every layer, got one that does not depend on 'unused'": lambda: propagation.measure(
        TwoHeads(), X, loss=torch.sum
    ),
    "jacobian_singular_values: x must be": lambda: propagation.jacobian_singular_values(nn.Linear(2, 2), X[0]),
    "jacobian_singular_values: module must have": lambda: propagation.jacobian_singular_values(DROPOUT, X),
    "jacobian_singular_values: module must have dropout and batch norm in eval": lambda: (
        propagation.jacobian_singular_values(nn.BatchNorm1d(2), X)
    ),
}


class TwoHeads(nn.Module):
    """Calls a layer whose output the result does not use."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        self.unused(x)
        return self.used(x)


def test_dropout_that_does_nothing_is_accepted():
    assert propagation.measure(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)), X, loss=torch.sum).names == ("0",)


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message):
    with pytest.raises(ValueError, match=message):
        REFUSALS[message]()
