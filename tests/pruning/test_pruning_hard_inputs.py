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


def test_a_weight_that_is_gone_does_not_come_back():
    inverse = torch.linalg.inv(edges.layer_hessian(normal(50, 3), damping=0.01))
    weight = normal(4, seed=1)
    _, rest = edges.obs_step(weight, inverse, index=2)
    with pytest.raises(ValueError, match=r"obs_step: weight must be 0 where inverse says that it was deleted"):
        edges.obs_step(weight, rest, index=0)


def test_squares_that_overflow_and_complex_rows_are_refused():
    with pytest.raises(ValueError, match=r"layer_hessian: x must be small enough for its squares to fit into torch.fl"):
        edges.layer_hessian(torch.full((3, 2), 300.0, dtype=torch.float16), damping=0.1)
    with pytest.raises(ValueError, match=r"inverse_by_examples: rows must be a finite tensor .n, dim. of floating"):
        edges.inverse_by_examples(torch.ones(3, 2, dtype=torch.complex64), damping=0.1)


# ----------------------------------------------------------------------------------------------------------- allocation


def test_costs_and_latency_leave_norms_modes_and_random_numbers_alone():
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 3)).double()
    net[2].eval()
    before, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    for x in (normal(6, 4), normal(1, 4)):
        allocation.costs(net, x)
        allocation.latency(net, x, num_rounds=1)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert [layer.training for layer in net.modules()] == [True, True, True, False, True]


def test_costs_count_what_a_mask_hides_as_zero():
    net = mlp(4, 5, 3)
    for value in net.parameters():
        nn.init.ones_(value)
    mask = normal(5, 4) > 0
    masks.apply_(net, {"0.weight": mask})
    found = allocation.costs(net, normal(2, 4))
    assert found.parameters == 43
    assert found.nonzero == 23 + int(mask.sum())


def test_no_layers_have_no_sparsities():
    with pytest.raises(ValueError, match=r"by_sensitivity: sizes must name a layer or more, got none"):
        allocation.by_sensitivity(torch.zeros(0, 2), [], sparsities=[0, 0.5], sparsity=0.1)


# ---------------------------------------------------------------------------------------------------------------- nodes


@pytest.mark.parametrize(
    ("dtype", "rows", "bound"),
    [(F64, 60_000, 1e-9), (torch.float32, 60_000, 1e-4), (torch.float16, 800, 0.02), (torch.bfloat16, 800, 0.1)],
)
def test_merging_with_all_kept_gives_the_weights_back(dtype, rows, bound):
    spread = 0.02 if dtype in (F64, torch.float32) else 0.5
    activations = (1 + spread * normal(rows, 8)).to(dtype)
    weight = normal(3, 8, seed=1).to(dtype)
    assert (nodes.merge(weight, activations, range(8)) - weight).abs().max() < bound


def test_merging_divides_by_no_rounding_error():
    activations = normal(500, 6).float()
    activations[:, 5] = activations[:, 0] + activations[:, 1]
    found = nodes.merge(normal(3, 6, seed=1).float(), activations, [0, 1, 2, 5])
    assert found.abs().max() < 10


def test_merging_wants_floating_point_numbers():
    weight, activations = normal(3, 6), normal(9, 6)
    for wrong in ((weight.long(), activations), (weight, activations > 0), (weight + 0j, activations)):
        with pytest.raises(ValueError, match=r"merge: both must be of floating-point numbers"):
            nodes.merge(*wrong, [0])
    with pytest.raises(ValueError, match=r"merge: weight_out and activations must be tensors, got list and Tensor"):
        nodes.merge(weight.tolist(), activations, [0])
    with pytest.raises(ValueError, match=r"saliency: weights must be floating-point numbers"):
        nodes.saliency(torch.ones(3, 2).long(), torch.ones(3).long(), torch.ones(2, 3).long(), activation="relu")
    with pytest.raises(ValueError, match=r"onorm: weight must be of floating-point numbers, got torch.int64"):
        nodes.onorm(weight.long())


def test_merging_says_which_indices_it_wants():
    weight, activations = normal(2, 3, 6), normal(2, 9, 6)
    with pytest.raises(ValueError, match=r"merge: kept must be int64 indices \(2, 'k'\), with the members"):
        nodes.merge(weight, activations, [0, 1])
    with pytest.raises(ValueError, match=r"merge: kept must be indices, as many for each member, got"):
        nodes.merge(weight, activations, [[0], [1, 2]])


def test_a_dead_unit_takes_over_from_one_that_nothing_reads():
    weight_in, bias, weight = 10 * normal(4, 3), normal(4), normal(2, 4)
    weight_in[0], bias[0], weight[:, 1] = 0, 0, 0
    found = nodes.merge_alike(weight_in, bias, weight, num_steps=2, activation="relu")
    assert torch.equal(found.weight[:, 2:], weight[:, 2:])
    assert not found.weight[:, :2].any()


def test_networks_go_by_the_names_of_their_layers():
    net = mlp(4, 5, 3)
    named = nn.Sequential()
    for name, part in zip("abc", net, strict=True):
        named.add_module(name, part)
    assert torch.equal(nodes.network(named).weights[1], net[2].weight)
    linear = nn.Linear(4, 4)
    with pytest.raises(ValueError, match=r"network: source must have a weight of its own in each linear layer"):
        nodes.network(nn.Sequential(linear, nn.ReLU(), linear))


def test_activations_in_place_leave_the_sums_and_scores_alone():
    x, y = examples()
    plain, inside = (nodes.network(chain(each, each)) for each in (nn.SiLU(), nn.SiLU(inplace=True)))
    for order in (1, 2):
        wanted, found = (nodes.taylor(nodes.layer(each, x, y, at=0), order=order) for each in (plain, inside))
        assert torch.equal(wanted, found)
    layer = nodes.layer(inside, x, y, at=0)
    sums = layer.sums
    kept = sums.clone()
    layer.tail(sums)
    assert torch.equal(sums, kept)


def test_one_label_is_not_taken_for_all_examples():
    x, y = examples()
    with pytest.raises(ValueError, match=r"losses: y must be the classes \(…, n\) of 9 examples, got \(1,\)"):
        nodes.ablation_losses(nodes.layer(nodes.network(mlp(4, 5, 3)), x, y[:1], at=0))


def test_greedy_shows_scores_a_mask_of_each_step():
    seen = []

    def scores(kept):
        seen.append(kept)
        return torch.tensor([-math.inf, math.inf, 0.0, 1.0])

    order = nodes.greedy(scores, torch.ones(4, dtype=torch.bool), num_steps=3)
    assert order.tolist() == [0, 2, 3]
    assert [int(kept.sum()) for kept in seen] == [4, 3, 2]
    with pytest.raises(ValueError, match=r"greedy: scores must give \(4,\), one float for each unit, got \(4,\)"):
        nodes.greedy(lambda kept: torch.arange(4), torch.ones(4, dtype=torch.bool), num_steps=1)
    with pytest.raises(ValueError, match=r"kept_after: order must name units in 0 … 3"):
        nodes.kept_after(torch.tensor([0, -1]), units=4, num_removed=2)


# ------------------------------------------------------------------------------------------------------------ diversity


@pytest.mark.parametrize(("dtype", "epsilon", "bound"), [(torch.float32, 1e-3, 0.05), (torch.float16, 0.25, 0.5)])
def test_kernels_in_few_digits_keep_their_rank(dtype, epsilon, bound):
    activations = 0.3 * torch.rand(20, 200, generator=seeded(), dtype=F64)
    exact = diversity.kernel(activations, beta=0.02, epsilon=epsilon)
    rounded = exact.to(dtype)
    assert int((diversity.spectrum(rounded).values > 0).sum()) == 200
    subset = list(range(0, 200, 8))
    assert abs(diversity.log_probability(rounded, subset) - diversity.log_probability(exact, subset)) < bound


def test_ranks_below_the_size_are_seen_in_every_dtype():
    exact = normal(40, 7) @ normal(40, 7).mT
    for dtype in (F64, torch.float32, torch.bfloat16):
        rounded = exact.to(dtype)
        assert int((diversity.spectrum((rounded + rounded.mT) / 2).values > 0).sum()) <= 7


def test_dependent_units_have_no_probability():
    units = normal(6, 3)
    kernel = units @ units.mT
    for subset in ([0, 1, 2, 3], [5, 1, 0, 3, 2]):
        assert diversity.log_probability_any(kernel, subset) == -math.inf
    units = normal(6, 4)
    units[1] = units[0] + 0.3 * units[2]
    kernel = units @ units.mT
    assert diversity.log_probability(kernel, [0, 1, 2]) == diversity.log_probability_any(kernel, [0, 1, 2]) == -math.inf


def test_probabilities_of_kernels_with_gradients_and_refusals_of_what_is_no_kernel():
    kernel = normal(5, 5) @ normal(5, 5).mT + torch.eye(5)
    grad = kernel.clone().requires_grad_()
    assert diversity.log_probability(grad, [0, 2]) == diversity.log_probability(kernel, [0, 2])
    assert not diversity.spectrum(grad).values.requires_grad
    with pytest.raises(ValueError, match=r"log_probability: kernel must be a floating tensor, got .*Spectrum"):
        diversity.log_probability(diversity.spectrum(kernel), [0])
    with pytest.raises(ValueError, match=r"log_probability: subset must be indices of units, got \{0, 1\}"):
        diversity.log_probability(kernel, {0, 1})
    with pytest.raises(ValueError, match=r"expected_size: kernel must have no eigenvalue below 0, got -1"):
        diversity.expected_size(-torch.eye(3))
    with pytest.raises(ValueError, match=r"log_symmetric: values must be finite numbers"):
        diversity.log_symmetric([1.0, 2.0], k=1)


# -------------------------------------------------------------------------------------------------------------- surgery


class Made(nn.Module):
    """A forward over layers given by name."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.run(self, x)


def cut_is_silenced(net, x):
    """How many layers can be cut; each group loses half of its units, and the rest computes what it did."""
    net = net.double().eval()
    tied = surgery.graph(net, x)
    units = {group.layers[0]: list(range(0, group.size, 2)) for group in tied.groups if not group.fixed}
    if units:
        edit = surgery.keep(tied, units)
        wanted = masks.apply_(copy.deepcopy(net), surgery.silence(edit))(x)
        assert (surgery.cut(net, edit)(x) - wanted).abs().max() < 1e-12
    return len(units)


def test_a_norm_that_serves_two_layers_ties_their_units():
    linear, norm = nn.Linear, nn.BatchNorm1d(6)
    nn.init.normal_(norm.running_mean, generator=seeded())
    side = Made(lambda m, x: m.c(m.norm(m.a(x)).relu()) + m.d(m.norm(m.b(x)).relu()), norm=norm,
                a=linear(4, 6), b=linear(4, 6), c=linear(6, 3), d=linear(6, 3))  # fmt: skip
    row = Made(lambda m, x: m.c(m.norm(m.b(m.norm(m.a(x)).relu()))), norm=norm,
               a=linear(4, 6), b=linear(6, 6), c=linear(6, 3))  # fmt: skip
    for net in (side, row):
        assert cut_is_silenced(net, normal(5, 4)) == 1
        assert surgery.graph(net, normal(5, 4)).groups[0].layers == ("a", "b")
    onto_input = Made(lambda m, x: m.c(m.norm(m.a(m.norm(x)))), norm=nn.BatchNorm1d(4), a=linear(4, 4), c=linear(4, 3))
    assert cut_is_silenced(onto_input, normal(5, 4)) == 0


def test_units_that_another_tensor_bounds_or_another_use_of_a_weight_reads_are_fixed():
    linear = nn.Linear
    bounded = Made(lambda m, x: m.c(torch.clamp(m.a(x), min=m.b(x))), a=linear(4, 6), b=linear(4, 6), c=linear(6, 3))
    assert cut_is_silenced(bounded, normal(5, 4)) == 0
    back = Made(lambda m, x: functional.linear(m.b(m.a(x).relu()).relu(), m.b.weight.t()),
                a=linear(4, 6), b=linear(6, 5))  # fmt: skip
    assert cut_is_silenced(back, normal(5, 4)) == 0
    named = Made(lambda m, x: m.c(torch.flatten(input=m.a(x), start_dim=1)), a=linear(4, 6), c=linear(6, 3))
    assert cut_is_silenced(named, normal(5, 4)) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: parametrizations.weight_norm(layer), lambda layer: parametrizations.spectral_norm(layer),
        lambda layer: parametrizations.orthogonal(layer), lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    ],
)  # fmt: skip
def test_weights_computed_in_another_way_are_refused(change):
    net = mlp(4, 6, 3)
    change(net[0])
    with pytest.raises(ValueError, match=r"graph: module must hold its weights as parameters.* got others in '0'"):
        surgery.graph(net, normal(2, 4))


def test_indices_may_be_numpy_and_may_not_be_bools():
    tied = surgery.graph(mlp(4, 6, 3), normal(2, 4))
    assert surgery.keep(tied, {"0": np.array([[0, 2], [1, 3]])}).kept["0"].tolist() == [[0, 2], [1, 3]]
    with pytest.raises(ValueError, match=r"keep: units of '0' must be named once, got 1 twice"):
        surgery.keep(tied, {"0": np.array([[0, 2], [1, 1]])})
    for wrong in ([True, 2], [[0, 1], [True, 3]], torch.tensor([0], device="meta"), np.array([True, False])):
        with pytest.raises(ValueError, match=r"keep: units of '0' must be indices, as many for each member"):
            surgery.keep(tied, {"0": wrong})


@pytest.mark.parametrize(
    "note",
    [
        {}, {"places": {"0": []}, "shapes": {}}, {"places": {"0": [["0.weight", 0, 1, "in"]]}, "shapes": {}},
        {"places": {"0": [["0.weight", 7, 1, "in"]]}, "shapes": {"0.weight": [6, 4]}}, {"places": ["0"], "shapes": {}},
        {"places": {"0": [["0.weight", 0, 0, "in"]]}, "shapes": {"0.weight": [6, 4]}},
        {"places": {"0": [["0.weight", 0, 1, "in"], ["0.weight", 1, 1, "in"]]}, "shapes": {"0.weight": [6, 4]}},
    ],
)  # fmt: skip
def test_damaged_edits_are_refused(tmp_path, note):
    files.write(tmp_path / "edit", {"0": torch.tensor([0, 2])}, {"kind": surgery.edits.KIND} | note)
    with pytest.raises(ValueError, match=r"load: path must be a file written by save"):
        surgery.load(tmp_path / "edit")


def test_alive_wants_a_graph_and_tensors():
    with pytest.raises(ValueError, match=r"alive: graph must come from graph"):
        surgery.alive(3, {})
    with pytest.raises(ValueError, match=r"alive: tensors must map names to tensors, got list for '0.weight'"):
        surgery.alive(surgery.graph(mlp(4, 6, 3), normal(2, 4)), {"0.weight": [1]})


# ---------------------------------------------------------------------------------------------------------------- masks


def test_masks_take_the_mode_of_their_layer():
    net = mlp(4, 5, 3).eval()
    masks.apply_(net, {"0.weight": normal(5, 4) > 0})
    assert not any(layer.training for layer in copy.deepcopy(net).modules())


@pytest.mark.parametrize("names", [["weight"], ["bias"], ["weight", "bias"], ["bias", "weight"]])
def test_parameters_keep_their_order_through_torchs_pruning(names):
    net = mlp(4, 5, 3)
    order = list(net.state_dict())
    for name in names:
        prune.l1_unstructured(net[0], name, 0.5)
    masks.from_torch_prune_(net)
    masks.to_torch_prune_(net)
    assert list(masks.remove_(masks.from_torch_prune_(net)).state_dict()) == order


def test_state_dicts_are_mappings():
    with pytest.raises(ValueError, match=r"masked: state and masks must map names to tensors, got dict and list"):
        masks.masked({}, [])
