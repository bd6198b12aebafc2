"""Determinantal point processes against enumeration and DPPy."""

import itertools
import math
import re

import numpy as np
import pytest
import torch
from dppy.exact_sampling import elementary_symmetric_polynomials
from scipy.stats import chisquare

from labsupport.pruning import diversity

DTYPE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def six():
    """A kernel of six units, two of them nearly alike."""
    units = torch.randn(6, 3, generator=seeded(3), dtype=DTYPE)
    units[1] = units[0] + 0.2 * units[1]
    return units @ units.T + 0.3 * torch.eye(6, dtype=DTYPE)


def conditioned(size, condition, seed=0):
    """A kernel with eigenvalues evenly spread in logarithm."""
    turn = torch.linalg.qr(torch.randn(size, size, generator=seeded(seed), dtype=DTYPE))[0]
    half = turn * torch.logspace(0, -math.log10(condition), size, dtype=DTYPE).sqrt()
    return half @ half.T


def enumerated(kernel, k):
    """Every subset of size k and its probability."""
    subsets = list(itertools.combinations(range(len(kernel)), k))
    weights = torch.stack([torch.linalg.det(kernel[list(s)][:, list(s)]) for s in subsets])
    return subsets, weights / weights.sum()


def test_the_kernel_is_its_formula_for_a_stack_in_the_callers_dtype():
    activations = torch.randn(2, 7, 4, generator=seeded())
    found = diversity.kernel(activations, beta=0.2, epsilon=0.05)
    assert found.shape == (2, 4, 4) and found.dtype == torch.float32
    for i, j in itertools.product(range(4), repeat=2):
        gap = (activations[1, :, i] - activations[1, :, j]).square().sum()
        assert found[1, i, j] == pytest.approx(math.exp(-0.2 * gap) + 0.05 * (i == j), abs=1e-6)


def test_symmetric_polynomials_are_dppys_and_do_not_overflow():
    values = torch.rand(40, generator=seeded(), dtype=DTYPE) * 3
    theirs = elementary_symmetric_polynomials(values.numpy(), 9)
    assert torch.allclose(diversity.log_symmetric(values, k=9).exp(), torch.from_numpy(theirs), rtol=1e-12)
    large = diversity.log_symmetric(torch.full((2000,), 1e3, dtype=DTYPE), k=900)[-1, -1]
    truth = math.lgamma(2001) - math.lgamma(901) - math.lgamma(1101) + 900 * math.log(1e3)
    assert float(large) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_log_probabilities_are_those_of_enumeration(k):
    subsets, truth = enumerated(six(), k)
    found = [diversity.log_probability(six(), subset) for subset in subsets]
    assert torch.allclose(torch.tensor(found, dtype=DTYPE).exp(), truth, atol=1e-13)


def test_log_probability_with_dppys_polynomials():
    kernel = diversity.kernel(torch.randn(50, 60, generator=seeded(), dtype=DTYPE), beta=0.01, epsilon=0.01)
    subset = [3, 50, 7, 20, 41, 9]
    total = elementary_symmetric_polynomials(np.linalg.eigvalsh(kernel.numpy()), 6)[-1, -1]
    truth = np.linalg.slogdet(kernel.numpy()[np.ix_(subset, subset)])[1] - math.log(total)
    assert diversity.log_probability(kernel, torch.tensor(subset)) == pytest.approx(truth, abs=1e-10)


def test_log_probabilities_of_free_size_sum_to_one():
    everything = [s for k in range(7) for s in itertools.combinations(range(6), k)]
    found = [diversity.log_probability_any(six(), list(subset)) for subset in everything]
    assert math.fsum(map(math.exp, found)) == pytest.approx(1, abs=1e-12)
    size = math.fsum(len(s) * math.exp(f) for s, f in zip(everything, found, strict=True))
    assert float(diversity.expected_size(six())) == pytest.approx(size, abs=1e-12)


@pytest.mark.parametrize("alike", [1.0, 1 + 4.5e-16])
def test_dependent_units_have_no_probability(alike):
    """Also where rounding has made their determinant negative."""
    kernel = torch.eye(3, dtype=DTYPE)
    kernel[0, 1] = kernel[1, 0] = alike
    assert diversity.log_probability(kernel, [0, 1]) == -math.inf
    assert diversity.log_probability(kernel, [2, 1]) == pytest.approx(math.log(0.5))


def counted(draws, subsets):
    places = {subset: i for i, subset in enumerate(subsets)}
    return np.bincount([places[tuple(sorted(draw))] for draw in draws.tolist()], minlength=len(subsets))


@pytest.mark.parametrize("k", [1, 3, 5, 6])
def test_draws_follow_the_probabilities(k):
    """The bar is of the issue: a perfect sampler exceeds .015 once in nine, and .02 hardly ever."""
    subsets, truth = enumerated(six(), k)
    counts = counted(diversity.sample(six(), k=k, num_draws=20_000, generator=seeded()), subsets)
    assert np.abs(counts / 20_000 - truth.numpy()).sum() / 2 <= 0.02
    assert k == 6 or chisquare(counts, truth.numpy() * 20_000).pvalue > 0.001


def test_draws_from_a_kernel_of_lower_rank():
    half = torch.randn(6, 3, generator=seeded(5), dtype=DTYPE)
    subsets, truth = enumerated(half @ half.T, 3)
    counts = counted(diversity.sample(half @ half.T, k=3, num_draws=20_000, generator=seeded()), subsets)
    assert np.abs(counts / 20_000 - truth.numpy()).sum() / 2 <= 0.02


def test_the_first_unit_of_a_draw_is_as_likely_as_any_of_its_units():
    """Units come in exchangeable order."""
    draws = diversity.sample(six(), k=3, num_draws=20_000, generator=seeded(1))
    shares = torch.stack([torch.bincount(draws[:, t], minlength=6) for t in range(3)]) / 20_000
    assert float((shares - shares.mean(0)).abs().max()) < 5 * 0.5 / math.sqrt(20_000)


def test_draws_of_free_size_follow_the_probabilities():
    kernel, number = six() / 4, 20_000
    draws = diversity.sample_any(kernel, num_draws=number, generator=seeded())
    assert draws.dtype == torch.bool and draws.shape == (number, 6)
    every = [s for k in range(7) for s in itertools.combinations(range(6), k)]
    codes = torch.bincount((draws.long() * 2 ** torch.arange(6)).sum(1), minlength=64)
    counts = np.array([int(codes[sum(2**i for i in subset)]) for subset in every])
    truth = np.array([math.exp(diversity.log_probability_any(kernel, subset)) for subset in every])
    often = truth * number >= 5
    assert chisquare([*counts[often], counts[~often].sum()],
                     number * np.array([*truth[often], truth[~often].sum()])).pvalue > 0.001  # fmt: skip


def test_large_and_badly_conditioned():
    kernel = conditioned(2000, 1e6)
    found = diversity.spectrum(kernel)
    draws = diversity.sample(found, k=100, num_draws=3, generator=seeded())
    assert all(len(set(draw)) == 100 and max(draw) < 2000 for draw in draws.tolist())
    ours = diversity.log_probability(kernel, draws[0])
    among = torch.logdet(kernel[draws[0][:, None], draws[0]])
    truth = float(among - diversity.log_symmetric(found.values, k=100)[-1, -1])
    assert math.isfinite(ours) and ours == pytest.approx(truth, abs=1e-6)


def test_a_spectrum_is_as_good_as_its_kernel():
    once = diversity.spectrum(six())
    for k in (2, 4):
        both = [diversity.sample(given, k=k, num_draws=9, generator=seeded(k)) for given in (six(), once)]
        assert torch.equal(*both) and both[0].dtype == torch.int64


def test_a_float32_kernel_of_doubled_units_has_half_the_rank():
    activations = torch.randn(40, 5, generator=seeded()).repeat(1, 2)
    found = diversity.kernel(activations, beta=0.01, epsilon=0.0)
    assert int((diversity.spectrum(found).values > 0).sum()) == 5
    draws = diversity.sample(found, k=5, num_draws=200, generator=seeded())
    assert all(len({unit % 5 for unit in draw}) == 5 for draw in draws.tolist())


EYE = torch.eye(3, dtype=DTYPE)
LOPSIDED = torch.tensor([[1.0, 0.5], [0.2, 1.0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: diversity.sample(LOPSIDED, k=1, generator=g), "sample: kernel must be symmetric"),
        (lambda g: diversity.sample(EYE * math.nan, k=1, generator=g), "sample: kernel must be finite"),
        (lambda g: diversity.sample(-EYE, k=1, generator=g), "sample: kernel must have no eigenvalue below 0, got -1"),
        (lambda g: diversity.sample(torch.ones(3, 3), k=2, generator=g), "<= the rank of the kernel, 1, got 2"),
        (lambda g: diversity.sample(EYE, k=4, generator=g), "sample: k must be <= N = 3, got 4"),
        (lambda g: diversity.sample(EYE, k=0, generator=g), "sample: k must be an integer >= 1, got 0"),
        (lambda g: diversity.sample(EYE[:2], k=1, generator=g), "sample: kernel must be square, got shape (2, 3)"),
        (lambda g: diversity.sample(EYE[None], k=1, generator=g), "kernel must be a matrix (N, N), got shape (1"),
        (lambda g: diversity.sample(EYE.long(), k=1, generator=g), "kernel must be a floating tensor, got torch.int64"),
        (lambda g: diversity.sample(EYE, k=1, num_draws=0, generator=g), "num_draws must be an integer >= 1, got 0"),
        (lambda g: diversity.sample(EYE, k=1, generator=0), "sample: generator must be a torch.Generator, got 0"),
        (lambda g: diversity.sample_any(-EYE, generator=g), "sample_any: kernel must have no eigenvalue below 0"),
        (lambda g: diversity.log_probability(EYE, []), "subset must name 1 or more units"),
        (lambda g: diversity.log_probability(EYE, [0, 0]), "subset must hold each unit once, got [0, 0]"),
        (lambda g: diversity.log_probability(EYE, [3]), "subset must lie in 0 … 2, got [3]"),
        (lambda g: diversity.log_probability(EYE, [-1]), "subset must lie in 0 … 2, got [-1]"),
        (lambda g: diversity.log_probability(EYE, [0.5]), "subset must name 1 or more units"),
        (lambda g: diversity.log_probability(torch.ones(2, 2), [0, 1]), "<= the rank of the kernel, 1, got 2"),
        (lambda g: diversity.log_symmetric(-torch.ones(3), k=1), "values must be finite numbers >= 0"),
        (lambda g: diversity.log_symmetric(torch.ones(3), k=4), "log_symmetric: k must be <= N = 3, got 4"),
        (lambda g: diversity.kernel(torch.ones(3), beta=1, epsilon=0), "activations must be a tensor (…, n, units)"),
        (lambda g: diversity.kernel(math.nan * EYE, beta=1, epsilon=0), "kernel: activations must be finite"),
        (lambda g: diversity.kernel(EYE, beta=-1, epsilon=0), "kernel: beta must be a finite number >= 0, got -1"),
        (lambda g: diversity.kernel(EYE, beta=1, epsilon=-1), "kernel: epsilon must be a finite number >= 0, got -1"),
        (lambda g: diversity.expected_size(LOPSIDED), "expected_size: kernel must be symmetric"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(seeded())
