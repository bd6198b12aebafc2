"""Curvature from products against the dense Hessian of small networks."""

import math

import pytest
import torch

from labsupport import models
from labsupport.landscape import curvature

DTYPE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(kind="mlp", dtype=DTYPE):
    if kind == "mlp":
        model = models.mlp([6, 5, 4, 3], activation="tanh", generator=seeded(1)).to(dtype)
        x = torch.randn(40, 6, generator=seeded(2), dtype=DTYPE).to(dtype)
    else:
        model = models.convnet((1, 8, 8), 3, channels=(2, 3), norm="batch", generator=seeded(1)).to(dtype)
        x = torch.randn(20, 1, 8, 8, generator=seeded(2), dtype=DTYPE).to(dtype)
    y = torch.randint(3, (len(x),), generator=seeded(3))
    params = list(model.parameters())
    return model, params, sum(p.numel() for p in params), lambda: torch.nn.functional.cross_entropy(model(x), y)


def dense(params, loss):
    gradient = curvature.flatten(torch.autograd.grad(loss(), params, create_graph=True))
    rows = [
        curvature.flatten(torch.autograd.grad(g, params, retain_graph=True, materialize_grads=True)) for g in gradient
    ]
    return torch.stack(rows)


def matrix_product(eigenvalues, seed=0):
    dim = len(eigenvalues)
    basis, _ = torch.linalg.qr(torch.randn(dim, dim, generator=seeded(seed), dtype=DTYPE))
    matrix = basis @ torch.diag(torch.tensor(eigenvalues, dtype=DTYPE)) @ basis.mT
    return matrix, lambda v: matrix @ v


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_hvp_equals_the_dense_hessian_and_leaves_nothing_behind(kind):
    model, params, dim, loss = problem(kind)
    for train in (True, False):
        model.train(train)
        product = curvature.hvp(loss, params)
        expected = dense(params, loss)
        vector = torch.randn(dim, generator=seeded(4), dtype=DTYPE)
        assert torch.allclose(product(vector), expected @ vector, rtol=1e-9, atol=1e-10)
        assert model.training is train
    assert all(p.grad is None for p in params)


def test_a_float32_model_is_probed_from_float64():
    _, params, dim, loss = problem(dtype=torch.float32)
    _, params64, _, loss64 = problem()
    with torch.no_grad():
        for p, q in zip(params64, params, strict=True):
            p.copy_(q)
    values, _ = curvature.eigs(curvature.hvp(loss, params), dim, 3, num_steps=40, generator=seeded())
    exact, _ = curvature.eigs(curvature.hvp(loss64, params64), dim, 3, num_steps=40, generator=seeded())
    assert values.dtype == torch.float64
    assert torch.allclose(values, exact, rtol=1e-3)


def test_params_that_the_loss_does_not_curve_give_zeros():
    a, b, c = (torch.ones(2, dtype=DTYPE, requires_grad=True) for _ in range(3))
    product = curvature.hvp(lambda: (a**2).sum() + b.sum(), [a, b, c])
    assert product(torch.ones(6, dtype=DTYPE)).tolist() == [2, 2, 0, 0, 0, 0]
    assert curvature.hvp(lambda: b.sum(), [b])(torch.ones(2, dtype=DTYPE)).tolist() == [0, 0]


def test_eigs_of_a_network():
    _, params, dim, loss = problem()
    exact = torch.linalg.eigvalsh(dense(params, loss))
    exact = exact[exact.abs().argsort(descending=True)[:6]]
    values, vectors = curvature.eigs(curvature.hvp(loss, params), dim, 6, num_steps=60, generator=seeded())
    assert (values - exact).abs().max() < 1e-10 * exact[0].abs()
    assert torch.allclose(vectors.mT @ vectors, torch.eye(6, dtype=DTYPE), atol=1e-10)


def test_eigs_takes_negative_ones_and_stops_where_the_space_ends():
    _, product = matrix_product([-9.0, 5.0, 1.0, 0.1, 0.0, 0.0])
    values, _ = curvature.eigs(product, 6, 3, num_steps=60, generator=seeded())
    assert torch.allclose(values, torch.tensor([-9.0, 5.0, 1.0], dtype=DTYPE))
    values, vectors = curvature.eigs(lambda v: 2 * v, 5, 1, num_steps=5, generator=seeded())
    assert torch.allclose(values, torch.full((1,), 2.0, dtype=DTYPE)) and vectors.shape == (5, 1)


def test_repeated_eigenvalues_are_all_found():
    values, vectors = curvature.eigs(lambda v: 2 * v, 5, 3, num_steps=5, generator=seeded())
    assert torch.allclose(values, torch.full((3,), 2.0, dtype=DTYPE))
    assert torch.allclose(vectors.mT @ vectors, torch.eye(3, dtype=DTYPE), atol=1e-10)


@pytest.mark.parametrize("method", ["hutchinson", "hutch++"])
def test_trace_covers_the_truth(method):
    eigenvalues = [10.0, 5.0, 2.0] + [0.1 * math.cos(i) for i in range(57)]
    matrix, product = matrix_product(eigenvalues)
    inside = 0
    for seed in range(100):
        estimate, error = curvature.trace(product, 60, num_products=30, method=method, generator=seeded(seed))
        inside += abs(estimate - matrix.trace().item()) <= 2 * error
    assert inside >= 90


def test_hutchpp_is_exact_where_the_sketch_holds_everything():
    matrix, product = matrix_product([3.0, -1.0, 2.0])
    estimate, error = curvature.trace(product, 3, num_products=9, generator=seeded())
    assert abs(estimate - matrix.trace().item()) < 1e-12 and error == 0


def test_density_integrates_to_the_trace_and_to_one():
    _, params, dim, loss = problem()
    hessian = dense(params, loss)
    product = curvature.hvp(loss, params)
    nodes, weights = curvature.density(product, dim, probes=60, num_steps=30, generator=seeded())
    assert nodes.shape == weights.shape == (60, 30) and abs(weights.sum().item() - 1) < 1e-12
    per_probe = 60 * dim * (weights * nodes).sum(1)
    assert abs(per_probe.mean() - hessian.trace()) < 4 * per_probe.std() / math.sqrt(60)
    square = 60 * dim * (weights * nodes**2).sum(1)
    assert abs(square.mean() - hessian.square().sum()) < 4 * square.std() / math.sqrt(60)


P = torch.ones(2, dtype=DTYPE, requires_grad=True)
REFUSALS = {
    "hvp: params must hold at least one element": lambda: curvature.hvp(lambda: P.sum(), []),
    "hvp: params must all be tensors that require gradients": lambda: curvature.hvp(lambda: P.sum(), [P.detach()]),
    "hvp: loss must return one number": lambda: curvature.hvp(lambda: P, [P]),
    "hvp: loss must depend on params": lambda: curvature.hvp(lambda: torch.ones(()), [P]),
    "hvp: loss must depend on params, ": lambda: curvature.hvp(lambda: (2 * Q).sum(), [P]),
    "hvp: loss must be finite": lambda: curvature.hvp(lambda: P.sum() / 0, [P]),
    "hvp: vector must have shape": lambda: curvature.hvp(lambda: (P**2).sum(), [P])(torch.ones(3)),
    "eigs: k must lie in 1 … dim = 2, got 3": lambda: curvature.eigs(
        lambda v: v, 2, 3, num_steps=3, generator=seeded()
    ),
    "eigs: num_steps must be >= k = 2": lambda: curvature.eigs(lambda v: v, 2, 2, num_steps=1, generator=seeded()),
    "eigs: hvp must return finite": lambda: curvature.eigs(lambda v: v / 0, 2, 1, num_steps=1, generator=seeded()),
    "trace: method": lambda: curvature.trace(lambda v: v, 2, num_products=9, method="x", generator=seeded()),
    "trace: num_products must be >= 6": lambda: curvature.trace(lambda v: v, 2, num_products=5, generator=seeded()),
    "density: probes": lambda: curvature.density(lambda v: v, 2, probes=0, num_steps=1, generator=seeded()),
}
Q = torch.ones(2, dtype=DTYPE, requires_grad=True)


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message):
    with pytest.raises(ValueError, match=message.strip().rstrip(",")):
        REFUSALS[message]()
