"""Whole units: scores against loops, finite differences and closed forms; merging against a solver."""

import itertools
import math
import re
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labsupport import models, optimizers, population
from labsupport.pruning import nodes

DTYPE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(n=20):
    return torch.randn(n, 4, generator=seeded(1), dtype=DTYPE), torch.arange(n) % 3


def stack(count=3, activation="sigmoid", sizes=(4, 6, 5, 3)):
    build = lambda g: models.mlp(sizes, activation=activation, generator=g)  # noqa: E731
    return population.init(build, optimizers.sgd(), {"lr": 0.1}, seeds=range(count)).to(DTYPE)


def without(module, x, at, units):
    """What a module says when some units of a hidden layer put out 0."""
    h = module[: 2 * at + 2](x).clone()
    h[:, list(units)] = 0.0
    return module[2 * at + 2 :](h)


def dimension(*shape):
    return torch.randn(*shape, generator=seeded(sum(shape)), dtype=DTYPE)


def test_a_stacked_network_says_what_its_members_say():
    state, (x, y) = stack(), problem()
    net = nodes.network(state)
    assert net.widths == [6, 5]
    assert torch.allclose(nodes.outputs(net, x), population.predict(state, x), atol=1e-14)
    alone = nodes.network(population.member(state, 1))
    assert torch.allclose(nodes.outputs(alone, x), population.predict(state, x)[1], atol=1e-14)
    assert torch.allclose(nodes.losses(nodes.outputs(net, x), y).mean(-1)[2],
                          cross_entropy(population.predict(state, x)[2], y))  # fmt: skip


def test_units_that_are_not_kept_put_out_zero():
    state, (x, _) = stack(), problem()
    kept = torch.ones(4, 3, 11, dtype=torch.bool)
    kept[2, 1, [1, 3]] = False
    found = nodes.outputs(nodes.network(state), x, kept)
    assert found.shape == (4, 3, 20, 3)
    assert torch.allclose(found[2, 1], without(population.member(state, 1), x, 0, [1, 3]), atol=1e-14)
    assert torch.allclose(found[2, 0], population.predict(state, x)[0], atol=1e-14)


@pytest.mark.parametrize(("at", "activation"), [(0, "sigmoid"), (1, "relu")])
def test_ablations_are_those_of_a_loop_whatever_is_held_at_once(at, activation):
    state, (x, y) = stack(activation=activation), problem()
    layer = nodes.layer(nodes.network(state), x, y, at=at)
    truth = torch.stack([
        torch.stack([cross_entropy(without(population.member(state, m), x, at, [k]), y) for k in range(6 - at)])
        for m in range(3)
    ])  # fmt: skip
    for at_once in (1, 400, 10**7):
        assert torch.allclose(nodes.ablation_losses(layer, at_once=at_once), truth, atol=1e-13)
    pairs = nodes.pair_losses(layer)
    for j, k in itertools.product(range(6 - at), repeat=2):
        assert torch.allclose(pairs[1, j, k], cross_entropy(without(population.member(state, 1), x, at, {j, k}), y))


def test_ablations_start_from_what_is_left():
    state, (x, y) = stack(1), problem()
    kept = torch.ones(1, 11, dtype=torch.bool)
    kept[0, [2, 8]] = False
    found = nodes.ablation_losses(nodes.layer(nodes.network(state), x, y, kept, at=0))
    for k in range(6):
        less = kept.clone()
        less[0, k] = False
        loss = nodes.losses(nodes.outputs(nodes.network(state), x, less), y).mean(-1)
        assert torch.allclose(found[:, k], loss, atol=1e-14)


def test_examples_of_their_own():
    state, (x, y) = stack(2), problem()
    own, classes = torch.stack([x, 2 * x]), torch.stack([y, y.flip(0)])
    found = nodes.ablation_losses(nodes.layer(nodes.network(state), own, classes, at=1))
    alone = nodes.layer(nodes.network(population.member(state, 1)), 2 * x, y.flip(0), at=1)
    assert torch.allclose(found[1], nodes.ablation_losses(alone), atol=1e-14)


@pytest.mark.parametrize("at", [0, 1])
def test_taylor_is_the_series_of_each_example_by_finite_differences(at):
    state, (x, y) = stack(2, activation="tanh"), problem(5)
    layer, step = nodes.layer(nodes.network(state), x, y, at=at), 1e-4
    o = layer.activations
    first, second = torch.zeros_like(o), torch.zeros_like(o)
    for k in range(o.shape[-1]):
        moved = [
            layer.tail(replace(layer, activations=o + s * step * torch.eye(o.shape[-1], dtype=DTYPE)[k]).sums)
            for s in (-1, 0, 1)
        ]
        first[..., k] = (moved[2] - moved[0]) / (2 * step)
        second[..., k] = (moved[2] - 2 * moved[1] + moved[0]) / step**2
    assert torch.allclose(nodes.taylor(layer, order=1), (-o * first).mean(-2), atol=1e-8)
    assert torch.allclose(nodes.taylor(layer), (-o * first + o.square() * second / 2).mean(-2), atol=1e-6)


def test_taylor_of_second_order_is_exact_for_a_squared_error_of_sums():
    state, (x, _) = stack(2, sizes=(4, 6, 3)), problem()
    goal = dimension(20, 3)
    layer = nodes.layer(nodes.network(state), x, goal, at=0, loss=lambda out, y: (out - y).square().sum(-1))
    here = layer.tail(layer.sums).mean(-1, keepdim=True)
    assert torch.allclose(nodes.taylor(layer), nodes.ablation_losses(layer) - here, atol=1e-12)


def test_norms():
    weight, activations = torch.tensor([[1.0, -2.0], [3.0, 4.0]]), torch.tensor([[0.0, -1.0], [2.0, 1.0]])
    assert nodes.onorm(weight).tolist() == [2, 3] and nodes.activation_norm(activations).tolist() == [1, 1]
    assert nodes.onorm(torch.stack([weight, 2 * weight])).tolist() == [[2, 3], [4, 6]]


def test_greedy_takes_the_best_single_removal_each_time_over_all_layers():
    state, (x, y) = stack(2), problem()
    net = nodes.network(state)
    start = torch.ones(2, 11, dtype=torch.bool)
    order = nodes.greedy(nodes.of_all_layers(nodes.ablation_losses, net, x, y), start, num_steps=8)
    kept = start.clone()
    for step in range(8):
        tried = []
        for unit in range(11):
            less = kept.clone()
            less[:, unit] = False
            loss = nodes.losses(nodes.outputs(net, x, less), y).mean(-1)
            lonely = torch.stack([part.sum(-1) for part in less.split([6, 5], -1)]).min(0).values == 0
            tried.append(torch.where(kept[:, unit] & ~lonely, loss, math.inf))
        assert torch.equal(order[:, step], torch.stack(tried, 1).argmin(1))
        kept = nodes.kept_after(order, units=11, num_removed=step + 1)
    assert bool((kept.sum(1) == 3).all())


def test_one_ranking_sorts_and_rounds_rank_anew():
    asked = []

    def scores(kept):
        asked.append(int(kept.sum()))
        return torch.tensor([3.0, 1.0, 2.0, 1.0, 5.0]) * (1 if len(asked) == 1 else -1)

    everyone = torch.ones(5, dtype=torch.bool)
    assert nodes.greedy(scores, everyone, num_steps=4, every=4).tolist() == [1, 3, 2, 0] and asked == [5]
    asked.clear()
    assert nodes.greedy(scores, everyone, num_steps=4, every=2).tolist() == [1, 3, 4, 0] and asked == [5, 3]


def test_merging_is_least_squares():
    activations, weight = dimension(30, 6), dimension(4, 6)
    kept = [4, 0, 3]
    found = nodes.merge(weight, activations, kept)
    truth = torch.linalg.lstsq(activations[:, kept], activations @ weight.T).solution.T
    assert found.shape == (4, 3) and torch.allclose(found, truth, atol=1e-12)
    assert torch.allclose(nodes.merge(weight, activations, range(6)), weight, atol=1e-12)


def test_merging_of_a_stack_in_float32():
    activations, weight = dimension(2, 30, 6).float(), dimension(2, 4, 6).float()
    kept = torch.tensor([[1, 2], [5, 0]])
    found = nodes.merge(weight, activations, kept)
    assert found.dtype == torch.float32
    for m in range(2):
        assert torch.equal(found[m], nodes.merge(weight[m], activations[m], kept[m]))


def test_merging_twins_loses_nothing_and_shares_between_twins():
    """Rank deficient: of two equal units both kept, each takes half; fewer examples than units is no harm either."""
    activations, weight = dimension(30, 3), dimension(2, 3)
    twins, both = torch.cat([activations, activations], 1), torch.cat([weight, 2 * weight], 1)
    assert torch.allclose(nodes.merge(both, twins, [0, 1, 2]), 3 * weight, atol=1e-12)
    assert torch.allclose(nodes.merge(both, twins, [3, 1, 2, 0])[:, [0, 3]], 1.5 * weight[:, [0, 0]], atol=1e-12)
    few = dimension(2, 5)
    found = nodes.merge(dimension(3, 5), few, [0, 1, 2, 3])
    assert torch.allclose(few[:, :4] @ found.T, few @ dimension(3, 5).T, atol=1e-12)
    assert torch.allclose(found, dimension(3, 5) @ few.T @ torch.linalg.pinv(few[:, :4]).T, atol=1e-12)


def test_a_column_of_ones_lets_the_bias_help():
    activations, weight, bias = dimension(30, 4) + 2, dimension(3, 4), dimension(3)
    ones, both = torch.cat([activations, torch.ones(30, 1, dtype=DTYPE)], 1), torch.cat([weight, bias[:, None]], 1)
    sums = activations @ weight.T + bias
    plain = activations[:, :2] @ nodes.merge(weight, activations, [0, 1]).T + bias
    helped = ones[:, [0, 1, 4]] @ nodes.merge(both, ones, [0, 1, 4]).T
    assert (helped - sums).square().sum() < (plain - sums).square().sum()


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity"])
def test_absorbing_a_scaled_twin_changes_nothing(activation):
    """Unit 2 is unit 0 with incoming weights and bias three times as long."""
    x, into, bias, out = dimension(20, 4), dimension(3, 4), dimension(3), dimension(5, 3)
    into[2], bias[2] = 3 * into[0], 3 * bias[0]
    f = models.ACTIVATIONS[activation]()
    said = f(x @ into.T + bias) @ out.T
    costs = nodes.saliency(into, bias, out, activation=activation)
    assert float(costs[0, 2]) < 1e-25 and float(costs[0, 1]) > 1e-3
    merged = nodes.absorb(out, keep=0, drop=2, ratio=3.0, activation=activation)
    assert torch.allclose(f(x @ into.T + bias) @ merged.T, said, atol=1e-12) and not merged[:, 2].any()
    found = nodes.merge_alike(into, bias, out, num_steps=1, activation=activation)
    assert torch.allclose(f(x @ into.T + bias) @ found.weight.T, said, atol=1e-12)
    assert sorted(found.pairs[0].tolist()) == [0, 2]


def test_saliency_is_its_formula_where_nothing_is_rescaled():
    into, bias, out = dimension(4, 3), dimension(4), dimension(5, 4)
    found = nodes.saliency(into, bias, out, activation="sigmoid")
    truth = out[:, 2].square().mean() * ((into[1] - into[2]).square().sum() + (bias[1] - bias[2]).square())
    assert found[1, 2] == pytest.approx(float(truth)) and bool(found.diag().isinf().all())


def test_saliency_of_a_relu_does_not_see_how_a_unit_is_scaled():
    into, bias, out, c = dimension(4, 3), dimension(4), dimension(5, 4), torch.tensor([1.0, 5, 0.2, 1], dtype=DTYPE)
    scaled = nodes.saliency(c[:, None] * into, c * bias, out / c, activation="relu")
    assert torch.allclose(scaled, nodes.saliency(into, bias, out, activation="relu"))


def test_alike_units_go_one_after_another_and_none_twice():
    into, bias, out = dimension(6, 3), dimension(6), dimension(4, 6)
    found = nodes.merge_alike(into, bias, out, num_steps=5, activation="relu")
    gone = found.pairs[:, 1].tolist()
    assert len(set(gone)) == 5 and found.weight.any(0).sum() == 1
    for step, (keep, drop) in enumerate(found.pairs.tolist()):
        assert keep not in gone[: step + 1] and keep != drop


NET = nodes.network(stack(2))
X, Y = problem()
A, W = dimension(30, 6), dimension(4, 6)
LAYER = nodes.Layer(A, W, W[:, 0], lambda s: s.sum(-1))
EVERYONE = torch.ones(5, dtype=torch.bool)
NAN = lambda value: torch.full_like(value, math.nan)  # noqa: E731


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nodes.greedy(lambda k: NAN(k.double()), EVERYONE, num_steps=1), "scores must be numbers, got NaN"),
        (lambda: nodes.greedy(lambda k: k[:3].double(), EVERYONE, num_steps=1), "greedy: scores must give (5,)"),
        (lambda: nodes.greedy(torch.Tensor.double, EVERYONE, num_steps=5), "below the number of units kept, 5, got 5"),
        (lambda: nodes.greedy(torch.Tensor.double, EVERYONE.double(), num_steps=1), "greedy: kept must be booleans"),
        (lambda: nodes.greedy(lambda k: k / 0.0, EVERYONE, num_steps=1), "let a unit go at step 0, got ∞"),
        (lambda: nodes.greedy(torch.Tensor.double, EVERYONE, num_steps=1, every=0), "every must be an integer >= 1"),
        (lambda: nodes.kept_after(torch.zeros(2, 3).long(), units=5, num_removed=4), "must be <= the steps, 3, got 4"),
        (lambda: nodes.greedy(nodes.of_all_layers(nodes.ablation_losses, NET, X, Y),
                              torch.ones(2, 11, dtype=torch.bool), num_steps=10), "at step 9, got ∞ for all"),
        (lambda: nodes.network(nn.Linear(2, 2)), "network: source must be Linear layers with activations in between"),
        (lambda: nodes.network(nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 2))), "source must be"),
        (lambda: nodes.outputs(NET, X[:, :3]), "outputs: x must be (…, n, 4), got (20, 3)"),
        (lambda: nodes.outputs(NET, X, torch.ones(2, 4, dtype=torch.bool)), "outputs: kept must be booleans (…, 11)"),
        (lambda: nodes.layer(NET, X, Y, at=2), "layer: at must be below the number of hidden layers, 2, got 2"),
        (lambda: nodes.Layer(A, W[:, :5], LAYER.bias, LAYER.tail), "Layer: it must have activations (…, n, units)"),
        (lambda: nodes.ablation_losses(LAYER, at_once=0), "ablation_losses: at_once must be an integer >= 1, got 0"),
        (lambda: nodes.ablation_losses(nodes.Layer(A, W, LAYER.bias, torch.sum)), "for each example, (6, 30), got ()"),
        (lambda: nodes.taylor(LAYER, order=3), "taylor: order must be one of 1, 2, got 3"),
        (lambda: nodes.onorm(NAN(W)), "onorm: weight must be finite, got NaN"),
        (lambda: nodes.onorm(W[0]), "onorm: weight must be a tensor (…, rows, units), got (6,)"),
        (lambda: nodes.activation_norm(NAN(A)), "activation_norm: activations must be finite"),
        (lambda: nodes.merge(W, A[:, :5], [0]), "merge: weight_out must be (…, out, units) and activations"),
        (lambda: nodes.merge(W, NAN(A), [0]), "merge: weight_out and activations must be finite"),
        (lambda: nodes.merge(W, A, []), "a layer cannot be pruned to nothing"),
        (lambda: nodes.merge(W, A, [6]), "merge: kept must name units in 0 … 5, each once, got [6]"),
        (lambda: nodes.merge(W, A, [1, 1]), "merge: kept must name units in 0 … 5, each once, got [1, 1]"),
        (lambda: nodes.absorb(W, keep=0, drop=1, ratio=2.0, activation="sigmoid"), "ratio must be 1 for sigmoid"),
        (lambda: nodes.absorb(W, keep=0, drop=0, ratio=1.0, activation="relu"), "drop must be another unit than keep"),
        (lambda: nodes.absorb(W, keep=0, drop=6, ratio=1.0, activation="relu"), "drop must lie in 0 … 5, got 6"),
        (lambda: nodes.saliency(A[:4], A[:4, 0], W, activation="relu"), "the layer must be given by weight_in"),
        (lambda: nodes.saliency(NAN(A[:6]), A[:6, 0], W, activation="relu"), "saliency: weights must be finite"),
        (lambda: nodes.merge_alike(A[:6], A[:6, 0], W, num_steps=6, activation="relu"), "must be below the units"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
