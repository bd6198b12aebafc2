"""Estimates of a network's worth: τ against SciPy, scores against loops and closed forms, forecasts, heirs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from scipy import stats
from torch.nn.functional import cross_entropy

from labsupport import optimizers, population
from labsupport.experiments import seeded
from labsupport.nas import cells, estimation
from labsupport.search.space import Categorical, Float, Space

CODES = cells.codes()[::61]
PROXIES = (estimation.gradient_norm, estimation.snip, estimation.synflow, estimation.jacobian_covariance)


def _batch(n=12, inputs=7, classes=4):
    x = torch.randn(n, inputs, dtype=torch.float64, generator=seeded(1))
    return x, torch.randint(classes, (n,), generator=seeded(2))


def _crew(codes, *, start=0):
    build = lambda generator: cells.CellNet(7, 5, 4, generator=generator).double()  # noqa: E731
    seeds = range(start, start + len(codes))
    return cells.with_cells(population.init(build, optimizers.momentum(), {"lr": 0.1}, seeds=seeds), codes)


@given(some.integers(2, 40), some.integers(1, 8), some.integers(0, 2**31))
def test_kendall_is_scipys(count, levels, seed):
    a, b = torch.randint(0, levels, (2, count), generator=seeded(seed))
    expected = stats.kendalltau(a.numpy(), b.numpy()).statistic
    assert estimation.kendall(a, b) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert isinstance(estimation.kendall(a, b), float)


def test_kendall_orders_infinities_and_lists():
    a, b = [math.inf, -math.inf, 0.0, math.inf], [3, 1, 1, 2]
    assert estimation.kendall(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-12)
    near = [1.0, 1.0 + 1e-9, 2.0]  # one number in float32
    assert estimation.kendall(near, [1, 2, 3]) == estimation.kendall(np.array(near), range(3)) == 1
    assert estimation.kendall(torch.arange(9), torch.arange(9.0) ** 3) == pytest.approx(1)
    assert estimation.kendall(np.arange(9), -np.arange(9)) == pytest.approx(-1)


@pytest.mark.parametrize(("a", "b"), [([1.0, 1.0], [1.0, 2.0]), ([1.0], [2.0]), ([], []), ([1.0, math.nan], [1, 2])])
def test_an_order_that_is_none_has_no_kendall(a, b):
    assert math.isnan(estimation.kendall(a, b))


@pytest.mark.parametrize(("a", "b"), [
    (torch.ones(3), torch.ones(4)), (torch.ones(2, 2), torch.ones(2, 2)), (1.0, 2.0), (torch.ones(2) * 1j, [1.0, 2.0]),
])  # fmt: skip
def test_kendall_refuses_shapes(a, b):
    with pytest.raises(ValueError, match=r"kendall: a and b must be real of one shape \(n,\)"):
        estimation.kendall(a, b)


def test_kendall_refuses_what_is_no_number():
    with pytest.raises(ValueError, match=r"kendall: b must hold real numbers, got \['x', 'y'\]"):
        estimation.kendall([1, 2], ["x", "y"])


@pytest.mark.parametrize("name", ["gradient_norm", "snip", "synflow", "jacobian_covariance"])
def test_members_are_scored_as_one_by_one(name):
    state, (x, y) = _crew(CODES), _batch()
    found = estimation.scores(getattr(estimation, name), state, x, y)
    alone = [_LOOP[name](population.member(state, i), x, y) for i in range(len(CODES))]
    torch.testing.assert_close(found, torch.stack(alone).to(found), rtol=1e-7, atol=1e-7)
    assert not found.requires_grad


def _weights(net):
    return [param for param in net.parameters() if param.ndim > 1]


def _loss_slopes(net, x, y):
    return torch.autograd.grad(cross_entropy(net(x), y), _weights(net), allow_unused=True, materialize_grads=True)


def _norm(net, x, y):
    return torch.stack([slope.square().sum().sqrt() for slope in _loss_slopes(net, x, y)]).sum()


def _snip(net, x, y):
    pairs = zip(_weights(net), _loss_slopes(net, x, y), strict=True)
    return sum((weight * slope).abs().sum() for weight, slope in pairs)


def _synflow(net, x, y):
    with torch.no_grad():
        for param in net.parameters():
            param.abs_()
    out = net(torch.ones(1, x.shape[1], dtype=x.dtype)).sum()
    slopes = torch.autograd.grad(out, _weights(net), allow_unused=True, materialize_grads=True)
    return sum((weight * slope).sum() for weight, slope in zip(_weights(net), slopes, strict=True))


def _jacobian(net, x, y):
    at = x.clone().requires_grad_()
    net(at).sum().backward()
    slopes = at.grad.numpy()
    if np.allclose(slopes.std(1), 0):
        values = np.linalg.eigvalsh(np.ones((len(x), len(x))))
    else:
        values = np.linalg.eigvalsh(np.corrcoef(slopes))
    values = values.clip(0) + 1e-5
    return torch.tensor(-(np.log(values) + 1 / values).sum())


_LOOP = {"gradient_norm": _norm, "snip": _snip, "synflow": _synflow, "jacobian_covariance": _jacobian}


def test_synflow_needs_a_shape_and_no_data():
    (x, y), crew = _batch(), _crew(CODES[:2])
    assert torch.equal(*(estimation.scores(estimation.synflow, crew, x[:n], y[:n]) for n in (0, 12)))


def test_scores_of_a_linear_network():
    """Two layers without a nonlinearity, outputs V U x."""
    u = torch.randn(5, 7, dtype=torch.float64, generator=seeded(3))
    v = torch.randn(4, 5, dtype=torch.float64, generator=seeded(4))
    (x, y), params = _batch(), {"u": u, "v": v}
    call = lambda given, at: at @ given["u"].mT @ given["v"].mT  # noqa: E731
    wrong = (x @ u.mT @ v.mT).softmax(1) - torch.nn.functional.one_hot(y, 4)
    to_v, to_u = wrong.mT @ (x @ u.mT) / len(x), v.mT @ wrong.mT @ x / len(x)
    close = lambda found, expected: torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)  # noqa: E731
    close(estimation.gradient_norm(call, params, x, y), to_u.norm() + to_v.norm())
    close(estimation.snip(call, params, x, y), (u * to_u).abs().sum() + (v * to_v).abs().sum())
    close(estimation.synflow(call, params, x), 2 * (v.abs() @ u.abs()).sum())
    eigenvalues = torch.tensor([12.0] + [0.0] * 11, dtype=torch.float64) + 1e-5  # every example has the same gradient
    torch.testing.assert_close(
        estimation.jacobian_covariance(call, params, x), -(eigenvalues.log() + 1 / eigenvalues).sum(), rtol=1e-6, atol=0
    )


def test_a_network_that_ignores_its_input_scores_like_a_linear_one():
    x, _ = _batch()
    flat = estimation.jacobian_covariance(lambda params, at: 0 * at, {}, x)
    line = estimation.jacobian_covariance(lambda params, at: at * torch.arange(7.0).double(), {}, x)
    assert flat == pytest.approx(float(line), rel=1e-6)


@pytest.mark.parametrize("proxy", PROXIES[:2])
def test_labels_must_fit(proxy):
    x, y = _batch()
    for wrong in (y[:-1], y.double(), y[:, None]):
        with pytest.raises(ValueError, match=f"{proxy.__name__}: y must hold an int64 class for each of the rows"):
            estimation.scores(proxy, _crew(CODES[:2]), x, wrong)


def test_one_example_has_no_correlation():
    x, y = _batch(1)
    with pytest.raises(ValueError, match="jacobian_covariance: x must hold at least two examples, got 1"):
        estimation.scores(estimation.jacobian_covariance, _crew(CODES[:2]), x, y)


def test_codes_as_columns():
    columns = estimation.one_hot(cells.SPACE, cells.codes())
    assert columns.shape == (750, 20)
    assert columns.unique(dim=0).shape == columns.shape
    assert columns.sum(1).unique().tolist() == [5.0]
    assert columns[0].nonzero().flatten().tolist() == [0, 5, 7, 12, 15]
    first = {"op1": "zero", "from2": 1, "op2": "tanh", "from3": 2, "op3": "identity"}
    assert estimation.one_hot(cells.SPACE, [first])[0].nonzero().flatten().tolist() == [4, 6, 8, 14, 15]


def test_codes_that_are_no_columns_are_refused():
    with pytest.raises(ValueError, match="one_hot: space must hold nothing but unconditional categories"):
        estimation.one_hot(Space({"a": Float(0, 1)}), [{"a": 0.5}])
    conditional = Space({"a": Categorical((0, 1)), "b": Categorical((0, 1))}, when={"b": ("a", (1,))})
    with pytest.raises(ValueError, match="one_hot: space must hold nothing but unconditional categories"):
        estimation.one_hot(conditional, [{"a": 0}])
    with pytest.raises(ValueError, match="one_hot: codes must hold at least one"):
        estimation.one_hot(cells.SPACE, [])
    with pytest.raises(ValueError, match="to_unit"):
        estimation.one_hot(cells.SPACE, [{"op1": "tanh"}])


def test_a_forecast_orders_what_it_never_saw():
    """Accuracies that are a sum over the choices are learnt from 80 of 750 codes."""
    columns = estimation.one_hot(cells.SPACE, cells.codes())
    truth = columns @ torch.randn(20, dtype=torch.float64, generator=seeded(0)) * 5 + 80
    some_rows = torch.randperm(750, generator=seeded(1))[:80]
    mean, deviation = estimation.forecast(columns[some_rows], truth[some_rows], columns)
    assert estimation.kendall(mean, truth) > 0.9
    assert (mean - truth).abs().mean() < 0.2 * truth.std()
    seen = torch.isin(torch.arange(750), some_rows)
    assert deviation[seen].mean() < deviation[~seen].mean()
    torch.testing.assert_close(estimation.forecast(columns[some_rows], 3 * truth[some_rows] - 7, columns)[0],
                               3 * mean - 7, rtol=1e-6, atol=1e-6)  # fmt: skip


def test_equal_values_are_expected_everywhere():
    columns = estimation.one_hot(cells.SPACE, CODES)
    mean, deviation = estimation.forecast(columns[:5], torch.full((5,), 81.0, dtype=torch.float64), columns)
    torch.testing.assert_close(mean, torch.full_like(mean, 81.0))
    assert deviation.isfinite().all()


def test_a_child_takes_what_computes_the_same():
    parent = {"op1": "tanh", "from2": 0, "op2": "relu", "from3": 1, "op3": "tanh"}
    children = [parent, {**parent, "op2": "tanh"}, {**parent, "from3": 2}, {**parent, "op1": "zero", "from2": 1}]
    parents, own = _crew([parent] * 4, start=10), _crew(children)
    found = estimation.inherit(own, parents, codes=children, parent_codes=[parent] * 4)
    kept = [[True, True, True], [True, False, True], [True, True, False], [False, False, True]]
    for child, nodes in enumerate(kept):
        for name, value in found.params.items():
            from_parent = not name.startswith("nodes.") or nodes[int(name.split(".")[1])]
            assert torch.equal(value[child], (parents if from_parent else own).params[name][child])
    for name, value in cells.with_cells(own, children).buffers.items():
        assert torch.equal(found.buffers[name], value)
    assert found.step == 0


def test_a_child_that_changes_nothing_answers_like_its_parent():
    x, _ = _batch()
    parents, own = _crew(CODES, start=10), _crew(CODES)
    found = estimation.inherit(own, parents, codes=CODES, parent_codes=CODES)
    torch.testing.assert_close(population.predict(found, x), population.predict(parents, x), rtol=0, atol=0)
    assert not torch.equal(population.predict(own, x), population.predict(parents, x))


def test_each_child_has_a_parent():
    with pytest.raises(ValueError, match=r"inherit: children, parents and both lists of codes must be as many"):
        estimation.inherit(_crew(CODES[:2]), _crew(CODES[:3]), codes=CODES[:2], parent_codes=CODES[:3])
