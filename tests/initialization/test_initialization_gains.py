"""Gains against SciPy's integration and closed forms; mean field against closed forms and published figures."""

import math
from itertools import pairwise

import pytest
import torch
from scipy import integrate
from torch import nn

from labsupport.initialization import gains, meanfield
from labsupport.models import ACTIVATIONS

hardtanh = nn.functional.hardtanh


def numerically(integrand, variance=1.0, kinks=(0.0,)):
    """E[f(z)] by SciPy's adaptive quadrature, split at the kinks."""
    scale = math.sqrt(variance)

    def density(z):
        value = float(integrand(torch.tensor([scale * z], dtype=torch.float64)))
        return value * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    edges = sorted({-12.0, 12.0, *(kink / scale for kink in kinks)})
    return sum(integrate.quad(density, a, b, epsabs=1e-13, epsrel=1e-12)[0] for a, b in pairwise(edges))


@pytest.mark.parametrize("variance", [0.2, 1.0, 6.0])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gains_against_numerical_integration(name, variance):
    phi, slope = gains.function(name), gains.derivative(name)
    forward = math.sqrt(variance / numerically(lambda z: phi(z) ** 2, variance))
    backward = 1 / math.sqrt(numerically(lambda z: slope(z) ** 2, variance))
    assert abs(gains.forward_gain(name, variance=variance) - forward) < 1e-8
    assert abs(gains.backward_gain(name, variance=variance) - backward) < 1e-8


CALLABLES = {
    "hardtanh": (hardtanh, (-1.0, 1.0)),
    "relu6": (nn.functional.relu6, (0.0, 6.0)),
    "hardswish": (nn.functional.hardswish, (-3.0, 3.0)),
    "elu": (nn.functional.elu, (0.0,)),
    "shifted relu": (lambda z: torch.relu(z - 0.3), (0.3,)),
    "sine": (lambda z: torch.sin(3 * z), ()),
}


@pytest.mark.parametrize("name", CALLABLES)
def test_kinks_of_a_callable_are_found(name):
    phi, kinks = CALLABLES[name]
    slope = gains.derivative(phi)
    forward = math.sqrt(4 / numerically(lambda z: phi(z) ** 2, 4.0, kinks))
    backward = 1 / math.sqrt(numerically(lambda z: slope(z) ** 2, 4.0, kinks))
    assert abs(gains.forward_gain(phi, variance=4.0) - forward) < 1e-8
    assert abs(gains.backward_gain(phi, variance=4.0) - backward) < 1e-8


def test_closed_forms():
    assert abs(gains.expectation(lambda z: torch.relu(z) ** 2, variance=3.0) - 1.5) < 1e-13  # He's step
    assert abs(gains.forward_gain("relu") - math.sqrt(2)) < 1e-14
    assert abs(gains.backward_gain("leaky_relu") - math.sqrt(2 / 1.0001)) < 1e-14
    assert abs(gains.expectation(lambda z: (z > 0.3).double()) - 0.5 * math.erfc(0.3 / math.sqrt(2))) < 1e-13
    assert abs(gains.expectation(lambda z: z**8, variance=2.0) / (105 * 16) - 1) < 1e-13
    assert abs(gains.expectation(torch.exp, variance=4.0) / math.exp(2) - 1) < 1e-13
    for variance in (1e-8, 1.0, 1e8):  # features far narrower than the normal law
        exact = 2 / math.pi * math.asin(2 * variance / (1 + 2 * variance))
        assert abs(gains.expectation(lambda z: torch.erf(z) ** 2, variance=variance) / exact - 1) < 1e-12


def test_the_recommended_gain_of_tanh_is_no_fixed_point_at_variance_one():
    recommended = nn.init.calculate_gain("tanh")
    assert abs(recommended - 5 / 3) < 1e-15
    assert abs(gains.forward_gain("tanh") - 1.5925374197) < 1e-9
    assert abs(gains.forward_gain("tanh", variance=meanfield.fixed_length("tanh", gain=recommended)) - 5 / 3) < 1e-9


def test_length_map_of_relu_and_erf():
    for length in (0.0, 0.3, 5.0):
        assert abs(meanfield.length_map("relu", length, gain=1.2, bias_std=0.5) - (0.72 * length + 0.25)) < 1e-12
        exact = 1.44 * 2 / math.pi * math.asin(2 * length / (1 + 2 * length))
        assert abs(meanfield.length_map(torch.erf, length, gain=1.2) - exact) < 1e-12
    found = meanfield.lengths("relu", 2.0, num_layers=3, gain=1.2, bias_std=0.5)
    first = 1.44 * 2 + 0.25
    assert torch.allclose(found, torch.tensor([first, 0.72 * first + 0.25, 0.72**2 * first + 0.43], dtype=found.dtype))


@pytest.mark.parametrize("c", [-1.0, -0.7, 0.0, 0.3, 0.9, 1 - 1e-8, 1.0])
def test_correlation_map_and_chi_of_relu_and_erf(c):
    angle = math.acos(c)
    cosine = (math.sin(angle) + (math.pi - angle) * c) / math.pi  # Cho & Saul 2009
    assert abs(meanfield.correlation_map("relu", c, length=3.0, gain=1.4) - cosine) < 1e-12
    assert abs(meanfield.chi("relu", 3.0, gain=math.sqrt(2), correlation=c) - (1 - angle / math.pi)) < 1e-12
    for length in (0.5, 1e4):
        exact = math.asin(2 * c * length / (1 + 2 * length)) / math.asin(2 * length / (1 + 2 * length))
        assert abs(meanfield.correlation_map(torch.erf, c, length=length, gain=1.0) - exact) < 1e-11


@pytest.mark.parametrize("c", [-0.8, 0.1, 0.95])
def test_correlation_map_of_an_uneven_activation_with_biases(c):
    """E[exp(h)exp(h̃)] = exp(length · (1 + c))."""
    exact = (1.44 * math.exp(0.5 * (1 + c)) + 0.49) / (1.44 * math.exp(0.5 * 2) + 0.49)
    found = meanfield.correlation_map(torch.exp, c, length=0.5, gain=1.2, bias_std=0.7)
    assert abs(found - exact) < 1e-12


def test_chi_is_the_slope_of_the_correlation_map_at_a_fixed_length():
    length = meanfield.fixed_length("tanh", gain=2.0, bias_std=0.3)
    for c in (0.2, 0.7):
        ends = [meanfield.correlation_map("tanh", c + h, length=length, gain=2.0, bias_std=0.3) for h in (-1e-4, 1e-4)]
        slope = meanfield.chi("tanh", length, gain=2.0, correlation=c)
        assert abs((ends[1] - ends[0]) / 2e-4 - slope) < 1e-6


def test_fixed_lengths():
    for gain, bias_std in ((1.5, 0.0), (0.9, 0.3), (3.0, 0.1)):
        length = 1.0
        for _ in range(400):
            length = meanfield.length_map("tanh", length, gain=gain, bias_std=bias_std)
        assert abs(meanfield.fixed_length("tanh", gain=gain, bias_std=bias_std) - length) < 1e-10
    assert abs(meanfield.fixed_length("relu", gain=1.3, bias_std=0.1) - 0.01 / (1 - 1.69 / 2)) < 1e-10
    assert meanfield.fixed_length("tanh", gain=1.0) == meanfield.fixed_length("relu", gain=1.4) == 0
    assert meanfield.fixed_length("relu", gain=1.5) == math.inf
    assert meanfield.fixed_length("relu", gain=math.sqrt(2)) == 1


def test_fixed_correlations():
    c = 0.5
    length = meanfield.fixed_length("tanh", gain=2.0, bias_std=0.3)
    for _ in range(200):
        c = meanfield.correlation_map("tanh", c, length=length, gain=2.0, bias_std=0.3)
    assert abs(meanfield.fixed_correlation("tanh", gain=2.0, bias_std=0.3) - c) < 1e-10
    assert abs(meanfield.fixed_correlation("tanh", gain=2.0)) < 1e-10  # odd and without biases: orthogonal
    assert meanfield.fixed_correlation("tanh", gain=1.2, bias_std=0.5) == 1


def test_depth_scales_are_the_rates_of_the_maps():
    gain, bias_std = 1.8, 0.3
    scales = meanfield.depth_scales("tanh", gain=gain, bias_std=bias_std)
    length = meanfield.fixed_length("tanh", gain=gain, bias_std=bias_std)
    moved = meanfield.length_map("tanh", length + 1e-4, gain=gain, bias_std=bias_std) - length
    assert abs(math.exp(-1 / scales.length) - moved / 1e-4) < 1e-3
    c = meanfield.fixed_correlation("tanh", gain=gain, bias_std=bias_std)
    moved = meanfield.correlation_map("tanh", c + 1e-4, length=length, gain=gain, bias_std=bias_std) - c
    assert abs(math.exp(-1 / scales.correlation) - moved / 1e-4) < 1e-3
    assert abs(math.exp(-1 / scales.gradient) - meanfield.chi("tanh", length, gain=gain)) < 1e-12
    assert scales.gradient < 0 < scales.correlation  # chaotic: gradients explode
    assert meanfield.depth_scales("relu", gain=math.sqrt(2)) == (math.inf, math.inf, math.inf)


def test_critical_gains():
    assert abs(meanfield.critical_gain("relu") - math.sqrt(2)) < 1e-12
    assert abs(meanfield.critical_gain("tanh") - 1) < 1e-9 and abs(meanfield.critical_gain("identity") - 1) < 1e-12
    # Schoenholz et al. 2017 and Xiao et al. 2018: variances 1.76 and 0.05
    assert round(meanfield.critical_gain("tanh", bias_std=math.sqrt(0.05)) ** 2, 2) == 1.76
    for name, bias_std in (("tanh", 0.2), ("sigmoid", 0.0), ("silu", 0.9)):
        gain = meanfield.critical_gain(name, bias_std=bias_std)
        length = meanfield.fixed_length(name, gain=gain, bias_std=bias_std)
        assert abs(meanfield.chi(name, length, gain=gain) - 1) < 1e-9
    assert meanfield.length_map("silu", 0.01, gain=2.0) > 0.01  # why SiLU has none without biases


def test_gradients_are_products_of_chi():
    found = meanfield.gradients("tanh", [2.0, 1.0, 0.5], gain=1.5, widths=[40, 20, 10])
    first, second = (meanfield.chi("tanh", length, gain=1.5) for length in (2.0, 1.0))
    expected = [first * second * 20 / 40 * 10 / 20, second * 10 / 20, 1.0]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64))
    assert meanfield.gradients("relu", torch.ones(4), gain=math.sqrt(2)).tolist() == pytest.approx([1] * 4)


REFUSALS = {
    "function: activation must be one of 'relu', 'tanh'": lambda: gains.forward_gain("rely"),
    "function: activation must be": lambda: gains.backward_gain(nn.ReLU),
    "expectation: variance must be > 0": lambda: gains.forward_gain("relu", variance=0.0),
    "expectation: variance must be a finite": lambda: gains.forward_gain("relu", variance=-1.0),
    "expectation: integrand must return": lambda: gains.expectation(lambda z: z.sum()),
    "expectation: integrand must be finite": lambda: gains.expectation(torch.log),
    "expectation: integrand must be piecewise smooth": lambda: gains.expectation(
        lambda z: torch.rand(z.shape, dtype=z.dtype, generator=torch.Generator())
    ),
    "forward_gain: activation must not be zero": lambda: gains.forward_gain(torch.zeros_like),
    "backward_gain: activation must not be constant": lambda: gains.backward_gain(torch.sign),
    "length_map: gain": lambda: meanfield.length_map("relu", 1.0, gain=-1.0),
    "length_map: length": lambda: meanfield.length_map("relu", -1.0, gain=1.0),
    "lengths: num_layers": lambda: meanfield.lengths("relu", 1.0, num_layers=0, gain=1.0),
    "chi: correlation must be a number in": lambda: meanfield.chi("relu", 1.0, gain=1.0, correlation=2.0),
    "correlation_map: correlation": lambda: meanfield.correlation_map("relu", -2.0, length=1.0, gain=1.0),
    "correlation_map: length must be > 0": lambda: meanfield.correlation_map("relu", 0.5, length=0.0, gain=1.0),
    "correlation_map: length must be > 0 before and after": lambda: meanfield.correlation_map(
        "relu", 0.5, length=1.0, gain=0.0
    ),
    "correlation_map: activation must be finite": lambda: meanfield._pair(torch.log, 1.0, 0.5),
    "fixed_length: bias_std": lambda: meanfield.fixed_length("relu", gain=1.0, bias_std=-1.0),
    "fixed_correlation: gain must give": lambda: meanfield.fixed_correlation("relu", gain=1.5),
    "depth_scales: gain must give a fixed length that is neither 0 nor infinite, got 0.0": lambda: (
        meanfield.depth_scales("tanh", gain=0.9)
    ),
    "gradients: lengths must hold": lambda: meanfield.gradients("relu", [], gain=1.0),
    "gradients: widths must have one entry": lambda: meanfield.gradients("relu", [1.0, 1.0], gain=1.0, widths=[3]),
    "critical_gain: activation must have an edge of chaos at bias_std 0.1, got 'relu'": lambda: meanfield.critical_gain(
        "relu", bias_std=0.1
    ),
    "critical_gain: activation must have an edge of chaos at bias_std 0.0, got 'gelu'": lambda: meanfield.critical_gain(
        "gelu"
    ),
    "critical_gain: activation must have an edge of chaos at bias_std 0.2, got 'silu'": lambda: meanfield.critical_gain(
        "silu", bias_std=0.2
    ),  # the length there is a fixed point, but an unstable one
    "backward_gain: activation must not be constant, got": lambda: meanfield.critical_gain(torch.sign),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message):
    with pytest.raises(ValueError, match=message):
        REFUSALS[message]()
