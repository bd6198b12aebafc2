"""Inputs at the edges: shared and in-place layers, masks where plain weights are wanted, nearly singular matrices."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from labsupport import files, models
from labsupport.pruning import allocation, diversity, edges, masks, nodes, surgery

F64 = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=F64)


def mlp(*widths, activation="relu"):
    return models.mlp(list(widths), activation=activation, generator=seeded()).double()


def chain(first, second):
    net = mlp(4, 5, 6, 3)
    return nn.Sequential(net[0], first, net[2], second, net[4])


def examples(n=9):
    return normal(n, 4, seed=1), torch.randint(3, (n,), generator=seeded(2))


# ---------------------------------------------------------------------------------------------------------------- edges


def test_one_activation_that_stands_twice_in_a_chain_is_run_twice():
    shared, (x, y) = nn.ReLU(), examples()
    twice, apart = chain(shared, shared), chain(nn.ReLU(), nn.ReLU())
    for name, value in edges.layer_inputs(apart, x).items():
        assert torch.equal(edges.layer_inputs(twice, x)[name], value)
    for name, value in edges.obd_scores(apart, x, y).items():
        assert torch.equal(edges.obd_scores(twice, x, y)[name], value)


def test_one_weight_in_two_layers_of_a_chain_is_refused():
    linear, (x, y) = nn.Linear(4, 4).double(), examples()
    other = nn.Linear(4, 4).double()
    other.weight = linear.weight
    for last in (linear, other):
        with pytest.raises(ValueError, match=r"obd_scores: module must have a weight of its own in each linear layer"):
            edges.obd_scores(nn.Sequential(linear, nn.ReLU(), last), x, y)


def test_activations_in_place_change_neither_scores_nor_examples():
    x, y = examples()
    for first, second in ((nn.ReLU(), nn.ReLU(inplace=True)), (nn.SiLU(), nn.SiLU(inplace=True))):
        wanted, found = (edges.obd_scores(chain(each, each), x, y) for each in (first, second))
        for name, value in wanted.items():
            assert torch.equal(found[name], value)
    kept = x.clone()
    edges.layer_inputs(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2).double()), x)
    assert torch.equal(x, kept)


def test_matrices_of_a_masked_layer_hold_its_zeros_and_are_not_written_in_vain():
    net = mlp(4, 5, 3)
    mask = normal(5, 4) > 0
    masks.apply_(net, {"0.weight": mask})
    assert list(edges.matrices(net)) == ["0", "2"]
    assert torch.equal(edges.matrices(net)["0"][:, :4] != 0, mask)
    with pytest.raises(ValueError, match=r"with_matrices: found must name layers whose weights are parameters.*'0'"):
        edges.with_matrices(net, {"0": torch.zeros(5, 5, dtype=F64)})
    assert not edges.with_matrices(net, {"2": torch.zeros(3, 6, dtype=F64)})[2].weight.any()
    prune.identity(net[2], "weight")
    with pytest.raises(ValueError, match=r"see masks.remove_ and masks.from_torch_prune_"):
        edges.with_matrices(net, {"2": torch.zeros(3, 6, dtype=F64)})


def test_curvature_refuses_no_examples_and_norms_that_mix_them():
    net, (x, y) = mlp(4, 5, 3), examples()
    with pytest.raises(ValueError, match=r"obd_scores: outputs must be finite, \(n, outputs\), and y have n rows"):
        edges.obd_scores(net, x[:0], y[:0])
    with pytest.raises(ValueError, match=r"obd_scores: outputs must be finite"):
        edges.obd_scores(net, x, y[0])
    with pytest.raises(ValueError, match=r"obd_scores: x must be a real tensor, got list"):
        edges.obd_scores(net, x.tolist(), y)
    with pytest.raises(ValueError, match=r"gauss_newton: x must be examples"):
        edges.gauss_newton(net, x[:0], y[:0])
    normed = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
    with pytest.raises(ValueError, match=r"gauss_newton: module must be in eval mode"):
        edges.gauss_newton(normed, x, y)
    assert normed[1].num_batches_tracked == 0



@pytest.mark.parametrize("seed", range(8))
def test_singular_to_rounding_is_singular(seed):
    x = torch.cat([normal(50, 6, seed=seed), normal(50, 6, seed=seed) @ normal(6, 3, seed=seed + 100)], 1)
    weight = normal(4, 10, seed=seed)
    for dtype in (torch.float64, torch.float32):
        hessian = edges.layer_hessian(x.to(dtype), damping=0.0)
        for solve in (edges.obc, lambda w, h: edges.refit(w, w > -1, h), lambda w, h: edges.lobs(w, h, sparsity=0.5)):
            with pytest.raises(ValueError, match=r"hessian must be positive definite"):
                solve(weight.to(dtype), hessian)


def test_refit_refuses_what_is_singular_where_a_row_keeps_it_alone():
    hessian = edges.layer_hessian(normal(50, 4)[:, [0, 0, 1, 2]] * 1e-8, damping=0.0, bias=False)
    mask = torch.ones(1, 4, dtype=torch.bool)
    for dropped, fine in ((0, True), (2, False)):
        keep = mask.clone()
        keep[0, dropped] = False
        if fine:
            assert edges.refit(torch.ones(1, 4, dtype=F64), keep, hessian).abs().max() < 3
        else:
            with pytest.raises(ValueError, match=r"refit: hessian must be positive definite"):
                edges.refit(torch.ones(1, 4, dtype=F64), keep, hessian)


def test_surgery_leaves_a_weight_in_each_layer():
    hessian, weight = edges.layer_hessian(normal(50, 3), damping=0.01), normal(3, 4)
    for fixed in ((), [3]):
        with pytest.raises(ValueError, match=r"Trace: sparsity must leave a weight of the layer, got 0.99"):
            edges.obc(weight, hessian, fixed=fixed).at(0.99)
        with pytest.raises(ValueError, match=r"lobs: sparsity must leave a weight of the layer, got 0.99"):
            edges.lobs(weight, hessian, sparsity=0.99, fixed=fixed)


def test_solvers_record_no_gradients():
    hessian = edges.layer_hessian(normal(50, 3), damping=0.01)
    weight, inverse = nn.Parameter(normal(3, 4)), torch.linalg.inv(hessian).requires_grad_()
    hessian.requires_grad_()
    found = [
        edges.obc(weight, hessian).at(0.5), edges.lobs(weight, hessian, sparsity=0.5),
        edges.refit(weight, weight > 0, hessian), *edges.obs_step(weight[0], inverse, index=0),
        edges.obs_saliencies(weight[0], inverse), edges.inverse_by_examples(weight, damping=1.0),
    ]  # fmt: skip
    assert not any(value.requires_grad for value in found)


def test_squares_that_overflow_and_complex_rows_are_refused():
    with pytest.raises(ValueError, match=r"layer_hessian: x must be small enough for its squares to fit into torch.fl"):
        edges.layer_hessian(torch.full((3, 2), 300.0, dtype=torch.float16), damping=0.1)
    with pytest.raises(ValueError, match=r"inverse_by_examples: rows must be a finite tensor .n, dim. of floating"):
        edges.inverse_by_examples(torch.ones(3, 2, dtype=torch.complex64), damping=0.1)
