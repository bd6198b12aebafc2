"""Toys against their formulas and rules."""

import itertools
import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd.functional import hessian

from labsupport import data


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rule(problem, a):
    """The three rules, written down again, attribute by attribute."""
    if problem == 1:
        return a[0] == a[1] or a[4] == 1
    if problem == 2:
        return sum(value == 1 for value in a) == 2
    return (a[4] == 3 and a[3] == 1) or (a[4] != 4 and a[1] != 3)


def one_hot(a):
    return [float(value == k) for value, count in zip(a, (3, 3, 2, 3, 4, 2)) for k in range(1, count + 1)]


@pytest.mark.parametrize(("problem", "num_train", "num_wrong"), [(1, 124, 0), (2, 169, 0), (3, 122, 6)])
def test_monks_follow_their_rules(problem, num_train, num_wrong, untouched_global_state):
    robots = list(itertools.product(*(range(1, count + 1) for count in (3, 3, 2, 3, 4, 2))))
    truth = {tuple(one_hot(a)): int(rule(problem, a)) for a in robots}
    split = data.monks(problem, generator=seeded())
    assert [tuple(row) for row in split.test[0].tolist()] == list(truth)
    assert split.test[1].tolist() == list(truth.values())
    drawn, rest = ([tuple(row) for row in x.tolist()] for x in (split.train[0], split.valid[0]))
    assert (len(drawn), len(set(drawn)), set(drawn) | set(rest)) == (num_train, num_train, set(truth))
    assert not set(drawn) & set(rest)
    assert split.valid[1].tolist() == [truth[row] for row in rest]
    assert sum(label != truth[row] for row, label in zip(drawn, split.train[1].tolist())) == num_wrong


def test_monks_class_sizes_are_the_published_ones():
    assert [int(data.monks(p, generator=seeded()).test[1].sum()) for p in (1, 2, 3)] == [216, 142, 228]


def test_monks_draw_anew_for_another_seed():
    one, same, other = (data.monks(3, generator=seeded(seed)).train for seed in (0, 0, 1))
    assert torch.equal(one[0], same[0])
    assert torch.equal(one[1], same[1])
    assert not torch.equal(one[0], other[0])


@pytest.mark.parametrize("problem", [0, 4, "1", None, True, 1.0, [1]])
def test_monks_refuse(problem):
    with pytest.raises(ValueError, match=re.escape(f"monks: problem must be one of 1, 2, 3, got {problem!r}")):
        data.monks(problem, generator=seeded())


@given(n=st.integers(2, 200), turns=st.floats(0.1, 4))
def test_spirals_without_noise_lie_on_their_arms(n, turns):
    x, y = data.two_spirals(n, noise=0, turns=turns, generator=seeded())
    assert x.shape == (n, 2)
    assert x.dtype == torch.float32
    assert int(y.sum()) == n // 2
    radius = x.double().norm(dim=1)
    assert 0.1 - 1e-6 <= radius.min() <= radius.max() <= 1 + 1e-6
    angle = 2 * math.pi * turns * radius + math.pi * y
    assert torch.allclose(x.double(), radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1), atol=1e-5)


def test_spirals_noise_has_its_standard_deviation(untouched_global_state):
    clean, noisy = (data.two_spirals(20_000, noise=s, generator=seeded())[0] for s in (0.0, 0.1))
    gap = (noisy - clean).flatten()
    assert abs(gap.std() - 0.1) < 5 * 0.1 / math.sqrt(2 * len(gap))
    assert abs(gap.mean()) < 5 * 0.1 / math.sqrt(len(gap))


def test_spirals_refuse():
    with pytest.raises(ValueError, match="two_spirals: num_examples must be an integer >= 2, got 1"):
        data.two_spirals(1, generator=seeded())
    with pytest.raises(ValueError, match=r"two_spirals: noise must be a finite number >= 0, got -0\.1"):
        data.two_spirals(10, noise=-0.1, generator=seeded())
    with pytest.raises(ValueError, match="two_spirals: turns must be > 0, got 0"):
        data.two_spirals(10, turns=0, generator=seeded())


def test_quadratic_is_half_the_weighted_squares():
    point = torch.randn(4, 5, 3, generator=seeded(), dtype=torch.float64)
    curvatures = torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)
    assert torch.allclose(data.quadratic(point, curvatures), point[..., 0] ** 2 - point[..., 1] ** 2 / 2)
    curve = hessian(lambda p: data.quadratic(p, curvatures), point[0, 0])
    assert torch.equal(curve, curvatures.diag())


@pytest.mark.parametrize(("y", "value", "curvature"), [(0.0, 0.0, -1.0), (1.0, -0.25, 2.0), (-1.0, -0.25, 2.0)])
def test_strict_saddle_between_two_minima(y, value, curvature):
    point = torch.tensor([0.0, y], dtype=torch.float64)
    assert data.strict_saddle(point) == value
    assert torch.equal(torch.func.grad(data.strict_saddle)(point), torch.zeros(2, dtype=torch.float64))
    expected = torch.tensor([1.0, curvature], dtype=torch.float64).diag()
    assert torch.equal(hessian(data.strict_saddle, point), expected)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_linear_chain_gradient_and_hessian(depth):
    w = torch.linspace(0.3, 1.2, depth, dtype=torch.float64)
    product = w.prod()
    assert torch.allclose(data.linear_chain(w), (1 - product) ** 2 / 2)
    assert torch.allclose(torch.func.grad(data.linear_chain)(w), -(1 - product) * product / w)
    origin = torch.zeros(depth, dtype=torch.float64)
    curve = hessian(data.linear_chain, origin)
    expected = {1: torch.ones(1, 1), 2: torch.tensor([[0.0, -1.0], [-1.0, 0.0]])}.get(depth, torch.zeros(depth, depth))
    assert torch.equal(curve, expected.double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_surfaces_keep_dtype_and_batch(dtype):
    point = torch.zeros(7, 3, 2, dtype=dtype)
    for value in (data.strict_saddle(point), data.linear_chain(point), data.quadratic(point, point[0, 0])):
        assert value.shape == (7, 3)
        assert value.dtype == dtype


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.strict_saddle(torch.zeros(3)), r"strict_saddle: point must have shape \(…, 2\), got \(3,\)"),
        (lambda: data.strict_saddle(torch.zeros(2).long()), "point must be a floating-point tensor, got torch.int64"),
        (lambda: data.linear_chain(torch.tensor(1.0)), r"linear_chain: weights must have shape \(…, d\)"),
        (lambda: data.linear_chain([1.0]), r"linear_chain: weights must be a floating-point tensor, got \[1\.0\]"),
        (lambda: data.quadratic(torch.zeros(2), torch.zeros(3)), r"curvatures must have shape \(…, 2\), got \(3,\)"),
    ],
)
def test_surfaces_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()
