"""How much each layer loses: one batched pass against one network after another; counts by hand."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labsupport import models, optimizers, population
from labsupport.pruning import allocation, edges, masks


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def members(n=3):
    return population.init(
        lambda g: models.mlp([5, 8, 4], generator=g), optimizers.sgd(), {"lr": 0.1}, seeds=range(n)
    )  # fmt: skip


def examples():
    g = seeded()
    return torch.randn(20, 5, generator=g), torch.randint(4, (20,), generator=g)


def test_one_pass_is_what_single_networks_say():
    state, (x, y) = members(), examples()
    found = allocation.sensitivity(state, x, y, sparsities=[0.0, 0.5, 0.8])
    assert found.loss.shape == found.error.shape == (3, 2, 3)
    for i in range(3):
        for layer, name in enumerate(("0.weight", "2.weight")):
            for place, sparsity in enumerate((0.0, 0.5, 0.8)):
                net = population.member(state, i)
                weight = net.get_parameter(name)
                weight.data *= edges.keep_largest(weight.abs(), sparsity=sparsity)
                said = net(x)
                torch.testing.assert_close(found.loss[i, layer, place], cross_entropy(said, y).detach())
                assert found.error[i, layer, place] == pytest.approx(float((said.argmax(1) != y).float().mean()))


def test_equal_losses_share_the_sparsity():
    at = [0.0, 0.25, 0.5, 0.75]
    straight = torch.tensor([[0.0, 1.0, 2.0, 3.0], [0.0, 2.0, 4.0, 6.0]])
    found = allocation.by_sensitivity(straight, [100, 100], sparsities=at, sparsity=0.45)
    assert found == pytest.approx([0.6, 0.3], abs=1e-9)
    found = allocation.by_sensitivity(straight, [100, 300], sparsities=at, sparsity=0.3)
    assert (found[0] * 100 + found[1] * 300) / 400 == pytest.approx(0.3)
    assert found[0] == pytest.approx(2 * found[1])


def test_flat_losses_still_reach_the_wanted_fraction():
    level = torch.zeros(2, 3)
    found = allocation.by_sensitivity(level, [10, 30], sparsities=[0.0, 0.4, 0.8], sparsity=0.5)
    assert (found[0] * 10 + found[1] * 30) / 40 == pytest.approx(0.5)
    falling = torch.tensor([[1.0, 0.5, 3.0], [0.0, 1.0, 2.0]])
    found = allocation.by_sensitivity(falling, [1, 1], sparsities=[0.0, 0.4, 0.8], sparsity=0.35)
    assert sum(found) / 2 == pytest.approx(0.35)
    assert found[0] >= 0.4 - 1e-9 or found[1] >= 0.35


def test_masks_of_layers():
    scores = {"a": torch.arange(4.0), "b": torch.arange(10.0)}
    masks = allocation.layer_masks(scores, {"a": 0.5, "b": 0.9})
    assert int(masks["a"].sum()) == 2 and int(masks["b"].sum()) == 1
    assert int(allocation.layer_masks(scores, 0.5)["b"].sum()) == 5
    with pytest.raises(ValueError, match="sparsities must name a, b, got a"):
        allocation.layer_masks(scores, {"a": 0.5})


def test_weights_are_what_has_two_axes():
    state = members()
    assert list(allocation.weights_of(state.params, batch_dims=1)) == ["0.weight", "2.weight"]
    assert list(allocation.weights_of(dict(state.module.named_parameters()))) == ["0.weight", "2.weight"]


def test_costs_by_hand():
    net = models.convnet((1, 8, 8), 10, channels=(4, 6), generator=seeded())
    with torch.no_grad():
        net[0].weight[0] = 0
    found = allocation.costs(net, torch.rand(2, 1, 8, 8))
    parameters = 4 * 9 + 4 + 6 * 4 * 9 + 6 + 6 * 4 * 10 + 10
    assert found == (parameters, parameters - 9, 2 * (64 * 4 * 9 + 16 * 6 * 4 * 9 + 24 * 10))
    assert not any(layer._forward_hooks for layer in net.modules())


def test_latency_is_positive():
    assert allocation.latency(nn.Linear(2, 2), torch.ones(1, 2), num_rounds=3) > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, x, y: allocation.sensitivity(s, x, y, sparsities=[1.0]), r"sparsity must lie in \[0, 1\)"),
        (lambda s, x, y: allocation.sensitivity(s, x, y, sparsities=[]), "one number or more"),
        (lambda s, x, y: allocation.sensitivity(s.module, x, y, sparsities=[0.5]), "population.State, got Seq"),
        (lambda s, x, y: allocation.by_sensitivity(torch.zeros(2, 2), [1, 1], sparsities=[0.1, 0.5], sparsity=0.2),
         "must rise from 0"),
        (lambda s, x, y: allocation.by_sensitivity(torch.zeros(2, 3), [1, 1], sparsities=[0.0, 0.5], sparsity=0.2),
         r"losses must be finite, \(2, 2\), got \(2, 3\)"),
        (lambda s, x, y: allocation.by_sensitivity(torch.zeros(2, 2), [1, 1], sparsities=[0.0, 0.5], sparsity=0.6),
         "at most the largest measured, 0.5, got 0.6"),
        (lambda s, x, y: allocation.costs("net", x), "must be a torch.nn.Module, got str"),
        (lambda s, x, y: allocation.latency(nn.Linear(2, 2), x, num_rounds=0), "num_rounds must be an integer >= 1"),
        (lambda s, x, y: allocation.latency(3, x), "must be a torch.nn.Module, got int"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(members(), *examples())


def test_weights_behind_masks_are_refused():
    net = models.mlp([5, 8, 4], generator=seeded())
    masks.apply_(net, {"0.weight": torch.ones(8, 5, dtype=torch.bool)})
    with pytest.raises(ValueError, match="weights_of: params must not lie behind masks"):
        allocation.weights_of(dict(net.named_parameters()))
