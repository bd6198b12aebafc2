"""Scores, masks and surgery on single weights, against enumeration, least squares, autograd and linear programming."""

import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from labsupport import models
from labsupport.pruning import edges

F64 = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def layer(out=6, inputs=9, n=40, seed=0, damping=0.01):
    g = seeded(seed)
    x = torch.randn(n, inputs, generator=g, dtype=F64)
    return torch.randn(out, inputs + 1, generator=g, dtype=F64), edges.layer_hessian(x, damping=damping), x


def positive(size, seed=0):
    root = torch.randn(size, size, generator=seeded(seed), dtype=F64)
    return root @ root.mT + 0.1 * torch.eye(size, dtype=F64)


def quadratic(delta, hessian):
    return 0.5 * torch.einsum("...i,ij,...j->", delta, hessian, delta)


class TestRanking:
    @given(st.integers(1, 40), st.floats(0, 0.999), st.integers(0, 3))
    @settings(max_examples=60, deadline=None)
    def test_drops_the_exact_count(self, n, sparsity, kinds):
        scores = torch.randint(0, kinds + 1, (n,), generator=seeded(n)).float()
        dropped = math.floor(sparsity * n + 0.5)
        if dropped == n:
            with pytest.raises(ValueError, match="must keep an entry"):
                edges.keep_largest(scores, sparsity=sparsity)
            return
        mask = edges.keep_largest(scores, sparsity=sparsity)
        assert int((~mask).sum()) == dropped
        order = sorted(range(n), key=lambda i: (-scores[i], i))
        assert set(torch.nonzero(mask)[:, 0].tolist()) == set(order[: n - dropped])

    def test_of_equals_the_lower_index_stays(self):
        assert edges.keep_largest(torch.ones(4), sparsity=0.5).tolist() == [True, True, False, False]

    def test_a_dict_is_ranked_together(self):
        masks = edges.keep_largest({"a": torch.tensor([1.0, 5.0]), "b": torch.tensor([[2.0], [9.0]])}, sparsity=0.5)
        assert masks["a"].tolist() == [False, True]
        assert masks["b"].tolist() == [[False], [True]]

    def test_members_are_ranked_each_by_itself(self):
        scores = torch.rand(3, 4, 5, generator=seeded())
        masks = edges.keep_largest(scores, sparsity=0.7, batch_dims=1)
        assert all(torch.equal(masks[i], edges.keep_largest(scores[i], sparsity=0.7)) for i in range(3))

    def test_magnitude_is_the_size(self):
        found = edges.magnitude_scores({"w": torch.tensor([-2.0, 1.0], requires_grad=True)})
        assert found["w"].tolist() == [2.0, 1.0] and not found["w"].requires_grad
        assert edges.magnitude_scores(torch.tensor([-3.0])).tolist() == [3.0]

    def test_rounds_drop_equal_shares_of_what_is_left(self):
        found = edges.gradual(0.9, num_rounds=4)
        left = [1.0, *(1 - s for s in found)]
        assert found[-1] == 0.9
        assert np.allclose([b / a for a, b in itertools.pairwise(left)], 0.1**0.25)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: edges.keep_largest(torch.ones(4), sparsity=1.0), r"keep_largest: sparsity must lie in \[0, 1\)"),
            (lambda: edges.keep_largest(torch.ones(4), sparsity=-0.1), "sparsity must be a finite number >= 0"),
            (lambda: edges.keep_largest(torch.ones(4), sparsity=0.9), "each tensor must keep an entry"),
            (lambda: edges.keep_largest(torch.tensor([1.0, math.nan]), sparsity=0.5), "must not hold NaN, got 1"),
            (lambda: edges.keep_largest({"a": torch.ones(9), "b": torch.zeros(2)}, sparsity=0.5), "'b' without one"),
            (lambda: edges.keep_largest({}, sparsity=0.5), "must hold a tensor"),
            (lambda: edges.keep_largest(torch.ones(0), sparsity=0.5), "real tensor with entries"),
            (lambda: edges.keep_largest({"a": torch.ones(2, 3), "b": torch.ones(3, 3)}, sparsity=0.5, batch_dims=1),
             "share their 1 leading axes"),
            (lambda: edges.magnitude_scores(torch.ones(2, dtype=torch.int64)), "floating-point tensor"),
            (lambda: edges.gradual(1.0, num_rounds=2), r"sparsity must lie in \[0, 1\)"),
            (lambda: edges.gradual(0.5, num_rounds=0), "num_rounds must be an integer >= 1, got 0"),
        ],
    )  # fmt: skip
    def test_refusals(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


class TestDamage:
    def net(self, activation="tanh"):
        return models.mlp([5, 6, 4, 3], activation=activation, generator=seeded()).double()

    def data(self):
        g = seeded(1)
        return torch.randn(11, 5, generator=g, dtype=F64), torch.randint(3, (11,), generator=g)

    @pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
    def test_diagonal_is_that_of_the_gauss_newton_matrix(self, activation):
        net, (x, y) = self.net(activation), self.data()
        scores = edges.obd_scores(net, x, y)
        diagonal = edges.gauss_newton(net, x, y).diagonal()
        flat = torch.cat([value.flatten() for value in net.state_dict().values()])
        found = torch.cat([value.flatten() for value in scores.values()])
        torch.testing.assert_close(found, diagonal * flat.square() / 2, rtol=1e-10, atol=1e-14)

    def test_gauss_newton_is_the_hessian_of_a_linear_model(self):
        net, (x, y) = nn.Sequential(nn.Linear(5, 3)).double(), self.data()

        def total(flat):
            return cross_entropy(x @ flat[:15].view(3, 5).mT + flat[15:], y)

        exact = torch.autograd.functional.hessian(total, torch.cat([p.detach().flatten() for p in net.parameters()]))
        torch.testing.assert_close(edges.gauss_newton(net, x, y), exact)

    def test_gauss_newton_of_squared_errors_is_the_outer_product_of_jacobians(self):
        net, (x, _) = models.mlp([5, 3, 1], activation="sigmoid", generator=seeded()).double(), self.data()
        y = torch.zeros(11, 1, dtype=F64)
        rows = []
        for row in x:
            net.zero_grad()
            net(row[None]).sum().backward()
            rows.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
        exact = 2 * torch.stack(rows).mT @ torch.stack(rows) / 11
        found = edges.gauss_newton(net, x, y, loss=mse_loss)
        torch.testing.assert_close(found, exact)
        damped = edges.gauss_newton(net, x, y, loss=mse_loss, damping=0.5)
        torch.testing.assert_close(damped - found, 0.5 * exact.diagonal().mean() * torch.eye(len(exact), dtype=F64))

    def test_the_recursion_is_exact_in_the_last_layer_alone(self):
        net, (x, y) = self.net(), self.data()
        exact, quick = (edges.obd_scores(net, x, y, curvature=kind) for kind in ("gauss_newton", "recursion"))
        for name in ("4.weight", "4.bias"):
            torch.testing.assert_close(exact[name], quick[name])
        assert not torch.allclose(exact["0.weight"], quick["0.weight"], rtol=0.05)

    def test_the_recursion_is_what_le_cun_wrote(self):
        net, (x, y) = self.net(), self.data()
        a1 = net[0](x)
        a2 = net[2](a1.tanh())
        p = net(x).softmax(1)
        h = p * (1 - p)
        h = (1 - a2.tanh().square()).square() * (h @ net[4].weight.square())
        expected = h.mT @ a1.tanh().square() / 11 * net[2].weight.square() / 2
        torch.testing.assert_close(edges.obd_scores(net, x, y, curvature="recursion")["2.weight"], expected.detach())

    def test_predicts_a_small_deletion(self):
        net, (x, y) = models.mlp([5, 3], generator=seeded()).double(), self.data()
        with torch.no_grad():
            net[0].weight[0, 0] = 1e-3
        before, slope = cross_entropy(net(x), y), torch.autograd.grad(cross_entropy(net(x), y), net[0].weight)[0]
        score = edges.obd_scores(net, x, y)["0.weight"][0, 0]
        with torch.no_grad():
            net[0].weight[0, 0] = 0
        gain = cross_entropy(net(x), y) - before + 1e-3 * slope[0, 0]
        assert float(gain.detach()) == pytest.approx(float(score), rel=1e-3)

    def test_keeps_names_shapes_and_dtype_and_takes_a_flatten(self):
        net = nn.Sequential(nn.Flatten(), *models.mlp([4, 3, 2], generator=seeded()))
        found = edges.obd_scores(net, torch.rand(6, 2, 2), torch.zeros(6, dtype=torch.int64))
        assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in net.named_parameters()}
        assert all(v.dtype == torch.float32 and bool((v >= 0).all()) for v in found.values())

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"module": nn.Linear(5, 3)}, "Sequential, got Linear"),
            ({"module": nn.Sequential(nn.Linear(5, 3), nn.Softmax(1))}, "got Softmax at '1'"),
            ({"module": nn.Sequential(nn.Linear(4, 3))}, r"x must be \(n, 4\) at '0', got \(11, 5\)"),
            ({"y": torch.zeros(4, dtype=torch.int64)}, "y have n rows"),
            ({"curvature": "exact"}, "curvature must be one of"),
            ({"loss": lambda o, t: -o.square().mean()}, "loss must be convex"),
        ],
    )
    def test_refusals(self, change, message):
        x, y = self.data()
        options = {"module": self.net(), "x": x, "y": y} | change
        with pytest.raises(ValueError, match=message):
            edges.obd_scores(options.pop("module"), options.pop("x"), options.pop("y"), **options)


class TestOneVector:
    def test_a_step_is_the_best_of_all_single_deletions(self):
        hessian, w = positive(7), torch.randn(7, generator=seeded(1), dtype=F64)
        inverse = torch.linalg.inv(hessian)
        costs = edges.obs_saliencies(w, inverse)
        for q in range(7):
            rest = [i for i in range(7) if i != q]
            best = torch.linalg.solve(hessian[rest][:, rest], hessian[rest] @ w)  # least squares on the rest
            moved, left = edges.obs_step(w, inverse, index=q)
            torch.testing.assert_close(moved[rest], best)
            assert moved[q] == 0
            torch.testing.assert_close(quadratic(moved - w, hessian), costs[q])
            torch.testing.assert_close(left[rest][:, rest], torch.linalg.inv(hessian[rest][:, rest]))
            assert not left[q].any() and not left[:, q].any()

    def test_steps_stay_exact_and_zero(self):
        hessian, w = positive(8), torch.randn(8, generator=seeded(1), dtype=F64)
        moved, inverse = w, torch.linalg.inv(hessian)
        for q in (3, 0, 6):
            moved, inverse = edges.obs_step(moved, inverse, index=q)
        rest = [1, 2, 4, 5, 7]
        torch.testing.assert_close(moved[rest], torch.linalg.solve(hessian[rest][:, rest], hessian[rest] @ w))
        assert moved[[3, 0, 6]].eq(0).all()
        assert edges.obs_saliencies(moved, inverse)[[3, 0, 6]].isinf().all()

    def test_does_not_change_what_it_is_given_and_keeps_dtype(self):
        w, inverse = torch.ones(3), torch.eye(3)
        moved, left = edges.obs_step(w, inverse, index=1)
        assert w.tolist() == [1, 1, 1] and inverse.equal(torch.eye(3))
        assert moved.dtype == left.dtype == torch.float32

    def test_one_update_an_example_gives_the_inverse(self):
        rows = torch.randn(30, 6, generator=seeded(), dtype=F64)
        exact = torch.linalg.inv(0.01 * torch.eye(6, dtype=F64) + rows.mT @ rows / 30)
        torch.testing.assert_close(edges.inverse_by_examples(rows, damping=0.01), exact)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: edges.obs_step(torch.ones(3), torch.eye(3), index=3), "index must lie in 0 … 2, got 3"),
            (lambda: edges.obs_step(torch.ones(3), torch.eye(3), index=-1), "index must be an integer >= 0"),
            (lambda: edges.obs_step(torch.ones(3), torch.diag(torch.tensor([1.0, 0, 1])), index=1), "not deleted yet"),
            (lambda: edges.obs_step(torch.ones(3), torch.eye(4), index=0), r"\(3, 3\), got \(4, 4\)"),
            (lambda: edges.obs_step(torch.ones(1, 3), torch.eye(3), index=0), r"\(n,\), got \(1, 3\)"),
            (lambda: edges.obs_step(torch.ones(2), torch.tensor([[1.0, 2], [0, 1]]), index=0), "must be symmetric"),
            (lambda: edges.obs_step(torch.tensor([1, math.nan]), torch.eye(2), index=0), "must be finite"),
            (lambda: edges.inverse_by_examples(torch.ones(2, 2), damping=0), "damping must be > 0"),
            (lambda: edges.inverse_by_examples(torch.ones(2), damping=1), r"rows must be a finite tensor \(n, dim\)"),
        ],
    )  # fmt: skip
    def test_refusals(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


class TestLayer:
    def test_hessian_is_that_of_the_layers_squared_error(self):
        _, _, x = layer()
        found = edges.layer_hessian(x, damping=0.0)
        rows = torch.cat([x, torch.ones(len(x), 1, dtype=F64)], 1)
        torch.testing.assert_close(found, rows.mT @ rows / len(x))
        assert edges.layer_hessian(x, damping=0.0, bias=False).shape == (9, 9)
        damped = edges.layer_hessian(x, damping=0.1)
        torch.testing.assert_close(damped - found, 0.1 * found.diagonal().mean() * torch.eye(10, dtype=F64))

    @pytest.mark.parametrize("fixed", [(), (9,), (0, 9)])
    def test_greedy_is_that_of_steps_one_by_one(self, fixed):
        weight, hessian, _ = layer()
        weight[2, :4] = 0  # ties: they cost nothing
        moved, inverses = weight.clone(), [torch.linalg.inv(hessian)] * len(weight)
        trace = edges.obc(weight, hessian, fixed=fixed)
        for step in range(len(trace.order)):
            costs = torch.stack([edges.obs_saliencies(w, inv) for w, inv in zip(moved, inverses, strict=True)])
            costs[:, list(fixed)] = torch.inf
            row, column = divmod(int(costs.argmin()), weight.shape[1])
            assert int(trace.order[step]) == row * weight.shape[1] + column
            moved[row], inverses[row] = edges.obs_step(moved[row], inverses[row], index=column)
            if step + 1 < len(trace.order):
                torch.testing.assert_close(trace.at((step + 1) / len(trace.order)), moved, rtol=1e-6, atol=1e-8)

    def test_first_deletion_is_the_best_of_all(self):
        weight, hessian, _ = layer()
        best = min(
            (float(quadratic(edges.refit(weight, mask, hessian) - weight, hessian)), place)
            for place in range(weight.numel())
            for mask in [torch.arange(weight.numel()).ne(place).view(weight.shape)]
        )
        assert int(edges.obc(weight, hessian).order[0]) == best[1]

    @pytest.mark.parametrize("sparsity", [0.3, 0.7, 0.9])
    def test_what_is_left_is_least_squares_on_its_own_mask(self, sparsity):
        weight, hessian, _ = layer(out=8, inputs=70, n=300)
        sparse = edges.obc(weight, hessian, fixed=[70]).at(sparsity)
        root = torch.linalg.cholesky(hessian).mT
        for before, after in zip(weight, sparse, strict=True):
            keep = after != 0
            exact = torch.linalg.lstsq(root[:, keep], (root @ before)[:, None]).solution[:, 0]
            torch.testing.assert_close(after[keep], exact, rtol=0, atol=1e-8)
        assert int((sparse[:, :70] == 0).sum()) == math.floor(sparsity * 560 + 0.5)
        assert sparse[:, 70].all()

    def test_greedy_survives_a_narrow_batch_and_fresh_inverses(self, monkeypatch):
        weight, hessian, _ = layer(out=5, inputs=80, n=200)
        whole = edges.obc(weight, hessian).order
        monkeypatch.setattr(edges.layers, "AT_ONCE", 1)
        assert whole.equal(edges.obc(weight, hessian).order)
        monkeypatch.setattr(edges.layers, "AFRESH", 7)
        assert whole.equal(edges.obc(weight, hessian).order)

    def test_lobs_is_what_its_authors_ran(self):
        weight, hessian, _ = layer()
        inverse = torch.linalg.inv(hessian)
        costs = weight.square() / (2 * inverse.diagonal())
        costs[:, 9] = torch.inf
        moved, gone = weight.clone(), torch.zeros_like(weight, dtype=torch.bool)
        for place in costs.flatten().argsort(stable=True)[:27].tolist():
            row, q = divmod(place, 10)
            moved[row] -= moved[row, q] / inverse[q, q] * inverse[:, q]
            gone[row, q] = True
        moved[gone] = 0
        torch.testing.assert_close(edges.lobs(weight, hessian, sparsity=0.5, fixed=[9]), moved)

    def test_one_deletion_a_row_is_the_same_for_all(self):
        weight, hessian, _ = layer(out=1)
        torch.testing.assert_close(
            edges.lobs(weight, hessian, sparsity=0.1), edges.obc(weight, hessian).at(0.1), rtol=1e-9, atol=1e-12
        )

    def test_greedy_beats_ranking_once(self):
        g = seeded()
        x = torch.randn(200, 8, generator=g, dtype=F64) @ torch.randn(8, 40, generator=g, dtype=F64)
        hessian = edges.layer_hessian(x + 0.3 * torch.randn(200, 40, generator=g, dtype=F64), damping=0.01, bias=False)
        weight = torch.randn(20, 40, generator=g, dtype=F64)
        errors = [
            float(quadratic(found - weight, hessian))
            for found in (edges.obc(weight, hessian).at(0.7), edges.lobs(weight, hessian, sparsity=0.7))
        ]
        assert errors[0] < errors[1] / 5

    def test_dtype_of_the_caller_outside(self):
        weight, hessian, x = layer()
        trace = edges.obc(weight.float(), hessian.float())
        assert trace.at(0.5).dtype == torch.float32
        assert edges.layer_hessian(x.float(), damping=0.1).dtype == torch.float32
        assert trace.order.equal(pickle.loads(pickle.dumps(trace)).order)
        assert "60 deletions of a layer (6, 10)" in repr(trace)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda w, h, x: edges.obc(w, torch.zeros_like(h)), "obc: hessian must be positive definite"),
            (lambda w, h, x: edges.obc(w, edges.layer_hessian(x * 0 + 1, damping=0)), "add damping"),
            (lambda w, h, x: edges.lobs(w, torch.zeros_like(h), sparsity=0.5), "lobs: hessian must be positive"),
            (lambda w, h, x: edges.refit(w, torch.ones_like(w) > 0, torch.zeros_like(h)), "refit: hessian must"),
            (lambda w, h, x: edges.obc(w, h[:9, :9]), r"hessian must be .* \(10, 10\), got \(9, 9\)"),
            (lambda w, h, x: edges.obc(w, h, fixed=[10]), "fixed must name columns 0 … 9, got 10"),
            (lambda w, h, x: edges.obc(w, h, fixed=range(10)), "fixed must leave a column"),
            (lambda w, h, x: edges.obc(w * math.nan, h), "must be finite"),
            (lambda w, h, x: edges.obc(w, h).at(1.0), r"Trace: sparsity must lie in \[0, 1\)"),
            (lambda w, h, x: edges.refit(w, torch.ones(2, 2) > 0, h), r"mask must be boolean of shape \(6, 10\)"),
            (lambda w, h, x: edges.refit(w, torch.ones_like(w), h), "mask must be boolean"),
            (lambda w, h, x: edges.layer_hessian(x, damping=-1), "damping must be a finite number >= 0"),
            (lambda w, h, x: edges.layer_hessian(x[0], damping=0), r"x must be .* \(n, inputs\), got \(9,\)"),
            (lambda w, h, x: edges.layer_hessian(x * math.inf, damping=0), "x must be finite"),
        ],
    )  # fmt: skip
    def test_refusals(self, call, message):
        with pytest.raises(ValueError, match=message):
            call(*layer())


class TestNetworks:
    def test_matrices_go_out_and_in(self):
        net = models.mlp([4, 3, 2], generator=seeded())
        found = edges.matrices(net)
        assert {k: tuple(v.shape) for k, v in found.items()} == {"0": (3, 5), "2": (2, 4)}
        twin = edges.with_matrices(net, {"2": found["2"] * 2})
        x = torch.rand(5, 4)
        torch.testing.assert_close(twin(x), 2 * net(x))

    def test_hessians_are_of_what_a_layer_gets(self):
        net, x = models.mlp([4, 3, 2], generator=seeded()), torch.rand(7, 4)
        found = edges.layer_hessians(net, x, damping=0.1)
        exact = edges.layer_hessian(net[:2](x).detach().double(), damping=0.1)
        torch.testing.assert_close(found["2"], exact, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(edges.layer_inputs(net, x)["2"].float(), net[:2](x).detach())

    def test_refusals(self):
        net = models.mlp([4, 3, 2], generator=seeded())
        with pytest.raises(ValueError, match="must have linear layers, got ReLU without one"):
            edges.matrices(nn.ReLU())
        with pytest.raises(ValueError, match="found must name linear layers, 0, 2, got '1'"):
            edges.with_matrices(net, {"1": torch.ones(1)})
        with pytest.raises(ValueError, match=r"0 must be a tensor \(3, 5\), got \(3, 4\)"):
            edges.with_matrices(net, {"0": torch.ones(3, 4)})


class TestNetTrim:
    def problem(self):
        g = seeded(3)
        x = torch.cat([torch.randn(60, 6, generator=g, dtype=F64), torch.ones(60, 1, dtype=F64)], 1)
        weight = torch.randn(3, 7, generator=g, dtype=F64) * (torch.rand(3, 7, generator=g) < 0.6)
        return weight + 0.05 * torch.randn(3, 7, generator=g, dtype=F64), x

    def test_without_slack_it_is_a_linear_program(self):
        weight, x = self.problem()
        x = x[:5]  # fewer rows than columns, so that there is a choice
        y = (x @ weight.mT).clamp(min=0)
        least = 0.0
        for row in range(3):
            on = (y[:, row] > 0).numpy()
            both = np.hstack([x.numpy(), -x.numpy()])
            zeros = np.zeros(int((~on).sum()))
            found = linprog(np.ones(14), A_ub=both[~on], b_ub=zeros, A_eq=both[on], b_eq=y[on, row].numpy())
            least += found.fun
        trimmed = edges.net_trim(weight, x, epsilon=0.0, num_steps=20000, tolerance=1e-9)
        assert float(trimmed.weight.abs().sum()) == pytest.approx(least, rel=1e-5)
        assert trimmed.misfit < 1e-6 and trimmed.overshoot < 1e-6

    def test_meets_its_constraints_and_gets_sparser_with_slack(self):
        weight, x = self.problem()
        options = {"num_steps": 20000, "tolerance": 1e-7, "fixed": [6]}
        tight, loose = (edges.net_trim(weight, x, epsilon=epsilon, **options) for epsilon in (0.02, 0.3))
        assert tight.misfit == pytest.approx(0.02, rel=1e-3) and loose.misfit == pytest.approx(0.3, rel=1e-3)
        assert max(tight.overshoot, loose.overshoot) < 1e-4
        assert int((loose.weight == 0).sum()) > int((tight.weight == 0).sum()) > 0
        assert loose.weight[:, :6].abs().sum() < weight[:, :6].abs().sum()
        assert loose.weight[:, 6].all()

    def test_any_rho_ends_at_the_same_optimum(self):
        weight, x = self.problem()
        sums = [
            float(edges.net_trim(weight, x, epsilon=0.1, rho=rho, num_steps=50000, tolerance=1e-8).weight.abs().sum())
            for rho in (3.0, 30.0)
        ]
        assert sums[0] == pytest.approx(sums[1], rel=1e-5)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"epsilon": -1}, "epsilon must be a finite number >= 0"),
            ({"epsilon": 1.0}, r"epsilon must lie in \[0, 1\)"),
            ({"rho": 0}, "rho must be > 0"),
            ({"tolerance": 0}, "tolerance must be > 0"),
            ({"num_steps": 0}, "num_steps must be an integer >= 1"),
            ({"fixed": [7]}, "fixed must name columns 0 … 6, got 7"),
            ({"x": torch.ones(4, 3)}, "x must have the 7 columns of weight, got 3"),
            ({"x": torch.full((4, 7), math.nan)}, "x must be finite"),
            ({"weight": torch.ones(3)}, r"weight must be a floating-point matrix, got \(3,\)"),
            ({"x": torch.zeros(4, 7, dtype=F64)}, "must answer with something positive"),
        ],
    )
    def test_refusals(self, change, message):
        weight, x = self.problem()
        options = {"weight": weight, "x": x, "epsilon": 0.1} | change
        with pytest.raises(ValueError, match=message):
            edges.net_trim(options.pop("weight"), options.pop("x"), **options)
