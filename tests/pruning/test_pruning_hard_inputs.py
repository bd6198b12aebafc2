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
