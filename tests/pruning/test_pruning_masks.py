"""Masks: zeros that stay, copies that do not share, and the way to torch's own pruning and back."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrizations, prune

from labsupport import data, models, optimizers, population
from labsupport.pruning import masks

RULES: dict[str, Callable] = {
    "momentum, torch's": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "Adam, torch's": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "AdamW, torch's": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "momentum": lambda p: optimizers.as_torch(optimizers.momentum(), p, {"lr": 0.1, "momentum": 0.9}),
    "Adam": lambda p: optimizers.as_torch(optimizers.adam(), p, {"lr": 0.01}),
    "AdamW": lambda p: optimizers.as_torch(optimizers.adamw(), p, {"lr": 0.01, "weight_decay": 0.1}),
}
SIZES = [6, 5, 4, 3]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def net(seed=0):
    return models.mlp(SIZES, generator=seeded(seed))


def halves(module, seed=1):
    """A random mask of every weight matrix and of one bias."""
    generator = seeded(seed)
    named = {name: value for name, value in module.named_parameters() if value.ndim > 1 or name == "0.bias"}
    return {name: torch.rand(value.shape, generator=generator) > 0.5 for name, value in named.items()}


def masked_net(seed=0):
    module = net(seed)
    return masks.apply_(module, halves(module, seed + 1))


def batch(n=16):
    generator = seeded(5)
    return torch.randn(n, 6, generator=generator), torch.randint(3, (n,), generator=generator)


def weights(module):
    """What the network computes with, by plain names."""
    return {f"{i}.{kind}": getattr(module[i], kind) for i in (0, 2, 4) for kind in ("weight", "bias")}


def is_zero_exactly_there(module, held):
    seen = weights(module)
    return all(bool((seen[name][~mask] == 0).all()) for name, mask in held.items())


def train(module, optimizer, steps=5):
    x, y = batch()
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(module(x), y).backward()
        optimizer.step()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("rule", RULES)
def test_a_pruned_weight_stays_zero_also_with_momentum_from_before(rule):
    module = net()
    optimizer = RULES[rule](module.parameters())
    train(module, optimizer)  # builds up momentum and squares
    held = halves(module)
    masks.apply_(module, held)
    before = {name: value.detach().clone() for name, value in weights(module).items()}
    train(module, optimizer)
    assert is_zero_exactly_there(module, held)
    moved = {name: (weights(module)[name] != value)[held.get(name, torch.ones_like(value, dtype=torch.bool))]
             for name, value in before.items()}  # fmt: skip
    assert all(each.float().mean() > 0.5 for each in moved.values()), "the rest goes on"


def test_the_trained_part_follows_a_net_whose_gradients_and_weights_are_masked_by_hand():
    module, twin = net().double(), net().double()
    held = halves(module)
    masks.apply_(module, held)
    with torch.no_grad():
        for name, value in twin.named_parameters():
            value.mul_(held.get(name, torch.ones_like(value)))
    x, y = batch()
    ours, theirs = (torch.optim.SGD(each.parameters(), lr=0.1, momentum=0.9) for each in (module, twin))
    for _ in range(5):
        for each, optimizer in ((module, ours), (twin, theirs)):
            optimizer.zero_grad()
            cross_entropy(each(x.double()), y).backward()
            if each is twin:
                for name, value in twin.named_parameters():
                    value.grad.mul_(held.get(name, torch.ones_like(value)))
            optimizer.step()
    for name, value in twin.named_parameters():
        torch.testing.assert_close(weights(module)[name], value, rtol=0, atol=1e-14)


def test_nan_and_infinity_behind_a_mask_are_not_seen():
    module = net()
    held = {"0.weight": torch.ones(5, 6, dtype=torch.bool)}
    held["0.weight"][2, 3] = False
    with torch.no_grad():
        module[0].weight[2, 3] = torch.nan
    masks.apply_(module, held)
    train(module, torch.optim.SGD(module.parameters(), lr=0.1))
    assert all(value.isfinite().all() for value in weights(module).values())


def test_parameters_stay_the_same_objects_in_the_same_order_and_removal_bakes_zeros_in():
    module = net()
    own = list(module.parameters())
    held = halves(module)
    x, _ = batch()
    masks.apply_(module, held)
    assert {id(value) for value in module.parameters()} == {id(value) for value in own}
    assert same(masks.masks_of(module), held)
    expected = module(x)
    assert masks.remove_(module) is module
    assert all(one is other for one, other in zip(module.parameters(), own, strict=True))
    assert torch.equal(module(x), expected) and masks.masks_of(module) == {}
    assert all(bool((dict(module.named_parameters())[name][~mask] == 0).all()) for name, mask in held.items())
    assert type(module[0]) is nn.Linear and list(module.state_dict()) == list(net().state_dict())


def test_a_later_mask_replaces_the_first_and_shows_what_was_hidden():
    module, first = net(), net()[0].weight.detach()
    none, every = torch.zeros(5, 6, dtype=torch.bool), torch.ones(5, 6, dtype=torch.bool)
    masks.apply_(module, {"0.weight": none})
    assert not module[0].weight.any()
    masks.apply_(module, {"0.bias": torch.zeros(5, dtype=torch.bool)})
    assert not module[0].weight.any() and not module[0].bias.any()
    masks.apply_(module, {"0.weight": every})
    assert torch.equal(module[0].weight, first) and not module[0].bias.any()


def test_a_layer_alone_has_names_without_a_path():
    layer = nn.Linear(3, 2)
    mask = torch.tensor([[True, False, True], [False, False, True]])
    masks.apply_(layer, {"weight": mask})
    assert same(masks.masks_of(layer), {"weight": mask})
    assert list(masks.plain(layer.state_dict())) == ["bias", "weight"]


@pytest.mark.parametrize("twinned", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_and_pickles_live_apart(twinned):
    module = masked_net()
    x, _ = batch()
    expected, held = module(x), masks.masks_of(module)
    twin = twinned(module)
    assert torch.equal(twin(x), expected) and same(masks.masks_of(twin), held)
    assert not {id(value) for value in module.parameters()} & {id(value) for value in twin.parameters()}
    masks.remove_(twin)
    assert torch.equal(twin(x), expected) and torch.equal(module(x), expected)
    masks.apply_(module, {"2.bias": torch.zeros(4, dtype=torch.bool)})
    assert twin[2].bias.any() and not module[2].bias.any()


def test_layers_shared_within_a_copy_stay_shared():
    module = masked_net()
    module.again = module[0]
    twin = copy.deepcopy(module)
    assert twin.again is twin[0]
    assert twin.again.parametrizations.weight.original is not module[0].parametrizations.weight.original


def test_state_dicts_go_round():
    module, x = masked_net(), batch()[0]
    other = masks.apply_(net(3), halves(net(), 9))
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x), module(x)) and same(masks.masks_of(other), masks.masks_of(module))
    bare = net(4)
    bare.load_state_dict(masks.plain(module.state_dict()))
    assert torch.equal(bare(x), module(x))
    again = masks.masked(bare.state_dict(), masks.masks_of(module))
    assert again.keys() == module.state_dict().keys()
    other.load_state_dict(again)
    assert torch.equal(other(x), module(x))
    assert masks.name_of("a.parametrizations.weight.0.mask") == "a.weight" and masks.name_of("0.bias") == "0.bias"


def test_export_compile_and_vmap():
    module, x = masked_net().eval(), batch()[0]
    torch.testing.assert_close(torch.export.export(module, (x,)).module()(x), module(x))
    torch.testing.assert_close(torch.compile(module, backend="aot_eager")(x), module(x))
    twins = [masked_net(seed) for seed in range(3)]
    params, buffers = torch.func.stack_module_state(twins)
    said = torch.func.vmap(lambda p, b: torch.func.functional_call(module, (p, b), (x,)))(params, buffers)
    torch.testing.assert_close(said, torch.stack([twin(x) for twin in twins]))


@pytest.mark.parametrize("optimizer", [optimizers.momentum(), optimizers.adamw()], ids=repr)
def test_each_member_of_a_population_has_its_own_mask_and_is_what_it_would_be_alone(optimizer):
    def build(generator):
        module = models.mlp(SIZES, generator=generator).double()
        return masks.apply_(module, halves(module, generator.initial_seed()))

    x, y = batch(48)
    parts = ((x[:32].double(), y[:32]), (x[32:].double(), y[32:]), (x[32:].double(), y[32:]))
    split = data.Split(*parts, ("a", "b", "c"))
    plan = population.Plan(2, 8, progress=False, backend="eager")
    settings = {"lr": torch.tensor([0.05, 0.1, 0.02], dtype=torch.float64)}
    result = population.train(build, split, optimizer, settings, plan, seeds=[3, 4, 5])
    alone = population.train(build, split, optimizer, {"lr": 0.1}, plan, seeds=[4])
    for i, seed in enumerate((3, 4, 5)):
        held, module = halves(net(), seed), population.member(result.state, i)
        assert same(masks.masks_of(module), held) and is_zero_exactly_there(module, held)
    for name, value in alone.state.params.items():
        torch.testing.assert_close(value[0], result.state.params[name][1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("optimizer", [optimizers.sgd(), optimizers.momentum(), optimizers.adamw()], ids=repr)
def test_the_written_steps_of_a_masked_chain_are_autograds_also_behind_the_masks(optimizer, dtype):
    def build(generator):
        module = models.mlp(SIZES, generator=generator)
        return masks.apply_(module, halves(module, generator.initial_seed()))

    plan = population.Plan(1, 8, progress=False, backend="eager")
    traced = population.Plan(1, 8, progress=False, backend="eager", loss=lambda said, y: cross_entropy(said, y))
    given = {"lr": 0.1, "weight_decay": 0.01}
    start = population.init(build, optimizer, given, seeds=range(3)).to(dtype)
    x, y = batch(48)
    ours, losses = population.step(start, x.to(dtype), y, plan, num_steps=6)
    theirs, expected = population.step(start, x.to(dtype), y, traced, num_steps=6)
    close = {"rtol": 0, "atol": {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 0.03}[dtype]}
    torch.testing.assert_close(losses, expected, **close)
    for name, value in theirs.params.items():
        torch.testing.assert_close(ours.params[name], value, **close)
    for slot, each in theirs.slots.items():
        for name, value in each.items():
            torch.testing.assert_close(ours.slots[slot][name], value, **close)
    assert same(ours.buffers, start.buffers)


def test_a_population_does_not_see_nan_behind_a_mask():
    module = net()
    mask = torch.ones(5, 6, dtype=torch.bool)
    mask[2, 3] = False
    with torch.no_grad():
        module[0].weight[2, 3] = torch.nan
    masks.apply_(module, {"0.weight": mask})
    params = {name: value.expand(2, *value.shape) for name, value in module.named_parameters()}
    state = population.start(module, params, optimizers.sgd(), {"lr": 0.1}, seeds=[0, 1])
    _, losses = population.step(state, *batch(), population.Plan(1, 8, progress=False, backend="eager"))
    assert losses.isfinite().all()


def test_a_population_starts_from_plain_weights_and_a_mask_for_each_member():
    nets = [net(seed) for seed in range(3)]
    params = {k: torch.stack([dict(each.named_parameters())[k].detach() for each in nets]) for k in net().state_dict()}
    each = [halves(net(), seed) for seed in range(3)]
    stacked = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    template = masks.apply_(net(), each[0])
    state = population.start(template, masks.masked(params, stacked), optimizers.sgd(), {"lr": 0.1}, seeds=range(3))
    x, _ = batch()
    for i, one in enumerate(each):
        torch.testing.assert_close(population.predict(state, x)[i], masks.apply_(nets[i], one)(x))
    baked = masks.plain({**state.params, **state.buffers})
    assert all(bool((baked[name][~mask] == 0).all()) for name, mask in stacked.items())
    assert baked.keys() == params.keys()


def test_the_bridge_to_torch_prune_and_back_keeps_masks_hidden_values_and_parameters():
    module, x = net(), batch()[0]
    own, first = list(module.parameters()), module[0].weight.detach().clone()
    prune.random_unstructured(module[0], "weight", amount=0.4)
    prune.l1_unstructured(module[0], "weight", amount=0.3)  # a second one on top of the first
    prune.l1_unstructured(module[2], "bias", amount=2)
    expected, held = module(x), module[0].weight_mask != 0
    masks.from_torch_prune_(module)
    assert torch.equal(module(x), expected) and torch.equal(masks.masks_of(module)["0.weight"], held)
    assert torch.equal(module[0].parametrizations.weight.original, first)
    assert not any(prune.is_pruned(layer) for layer in module)
    copy.deepcopy(module)
    masks.to_torch_prune_(module)
    assert torch.equal(module(x), expected) and torch.equal(module[0].weight_mask != 0, held)
    assert torch.equal(module[0].weight_orig, first) and masks.masks_of(module) == {}
    masks.remove_(masks.from_torch_prune_(module))
    assert {id(one) for one in module.parameters()} == {id(one) for one in own}


MASK = torch.ones(5, 6, dtype=torch.bool)
REFUSED = [
    ({"1.weight": MASK}, r"apply_: masks must have names of parameters \(0.weight, .*\), got '1.weight'"),
    ({"0.weight": MASK[:4]}, r"mask 0.weight must be \(5, 6\) torch.bool cpu, got \(4, 6\) torch.bool cpu"),
    ({"0.weight": MASK.float()}, r"must be \(5, 6\) torch.bool cpu, got \(5, 6\) torch.float32 cpu"),
    ({"0.weight": MASK.to("meta")}, r"got \(5, 6\) torch.bool meta"),
    ({"0.weight": [True]}, r"mask 0.weight must be .*, got list"),
    ([MASK], r"masks must map names to boolean tensors, got list"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_what_is_no_mask_is_refused_and_the_module_is_as_it_was(given, message):
    module = net()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    given = {"2.weight": torch.zeros(4, 5, dtype=torch.bool), **given} if isinstance(given, dict) else given
    with pytest.raises(ValueError, match=message):
        masks.apply_(module, given)
    assert same(module.state_dict(), before)


def test_places_where_no_mask_can_lie_are_refused():
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    mask = torch.ones(3, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"apply_: a masked parameter must not be tied to another, got '0.weight'"):
        masks.apply_(tied, {"0.weight": mask})
    normed = parametrizations.weight_norm(nn.Linear(3, 3))
    with pytest.raises(ValueError, match=r"apply_: a masked layer must have no other parametrization, got 'bias'"):
        masks.apply_(normed, {"bias": mask[0]})
    mixed = parametrizations.weight_norm(masks.apply_(nn.Linear(3, 3), {"bias": mask[0]}))
    with pytest.raises(ValueError, match=r"remove_: a masked layer must have no other parametrization, got one in ''"):
        masks.remove_(mixed)
    cell = nn.LSTM(3, 1)
    with pytest.raises(ValueError, match=r"apply_: a masked layer must not be torch's LSTM, which .* 'weight_ih_l0'"):
        masks.apply_(cell, {"weight_ih_l0": torch.ones(4, 3, dtype=torch.bool)})
    pruned = prune.identity(nn.Linear(3, 3), "weight")
    with pytest.raises(ValueError, match=r"got 'weight', which torch.nn.utils.prune holds: see from_torch_prune_"):
        masks.apply_(pruned, {"weight": mask})
    with pytest.raises(ValueError, match=r"masks_of: module must be a torch.nn.Module, got str"):
        masks.masks_of("net")


def test_converters_refuse_what_does_not_fit():
    module = masked_net()
    state = {name: value for name, value in module.state_dict().items() if not name.endswith("0.mask")}
    with pytest.raises(ValueError, match=r"plain: state must hold a mask .*, got none named 0.param.*weight.0.mask"):
        masks.plain(state)
    with pytest.raises(ValueError, match=r"masked: masks must have names of the state, got '7.weight'"):
        masks.masked(net().state_dict(), {"7.weight": MASK})
    with pytest.raises(ValueError, match=r"masked: the mask 0.weight must be \(5, 6\) torch.bool cpu"):
        masks.masked(net().state_dict(), {"0.weight": MASK[:2]})
