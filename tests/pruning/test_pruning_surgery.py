"""Surgery: what is left computes what the network with silenced units computes, and its optimizer goes on."""

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch_pruning as tp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from labsupport import files, models, optimizers, population
from labsupport.pruning import masks, surgery


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Block(nn.Module):
    def __init__(self, channels, inner):
        super().__init__()
        self.one, self.norm = nn.Conv2d(channels, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner)
        self.two, self.last = nn.Conv2d(inner, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x):
        return torch.relu(x + self.last(self.two(self.norm(self.one(x)).relu())))


class Residual(nn.Module):
    """Two blocks on a stem, a convolution of each channel by itself, flattened, with a norm between linear layers."""

    def __init__(self):
        super().__init__()
        self.stem, self.first = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.blocks = nn.Sequential(Block(6, 5), Block(6, 4))
        self.depth = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.pool, self.flat = nn.MaxPool2d(2), nn.Flatten()
        self.wide, self.between, self.out = nn.Linear(24, 7), nn.BatchNorm1d(7), nn.Linear(7, 3)

    def forward(self, x):
        x = self.blocks(torch.tanh(self.first(self.stem(x))))
        return self.out(torch.sigmoid(self.between(self.wide(self.flat(self.pool(self.depth(x)))))))


def lively(module):
    """In float64, with statistics, shifts and scales of norms that are not those of the start."""
    generator = seeded(9)
    for layer in module.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for value in (layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return module.double()


def residual():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(1)
        return lively(Residual())


def convolutional():
    return lively(models.convnet((1, 4, 4), 3, channels=(6, 5), norm="batch", generator=seeded()))


def dense():
    return models.mlp([16, 7, 6, 3], activation="sigmoid", generator=seeded()).double()


def images(n=8):
    return torch.randn(n, 1, 4, 4, dtype=torch.float64, generator=seeded(3))


NETS: dict[str, tuple[Callable, Callable, dict[str, list[int]]]] = {
    "mlp": (dense, lambda: images().flatten(1), {"0": [0, 2, 3, 6], "2": [5, 1]}),
    "convolutional": (convolutional, images, {"0": [1, 4], "4": [0, 2, 3]}),
    "residual": (residual, images, {"stem": [0, 2, 5], "blocks.0.one": [1, 3], "blocks.1.one": [0], "wide": [6, 0, 2]}),
}
READ_BY = {  # what reads each layer's units, written down by hand, and how many entries there are to a unit
    "mlp": {"0": [("2", 1)], "2": [("4", 1)]},
    "convolutional": {"0": [("4", 1)], "4": [("9", 1)]},
    "residual": {"stem": [("blocks.0.one", 1), ("blocks.1.one", 1), ("wide", 4)], "blocks.0.one": [("blocks.0.two", 1)],
                 "blocks.1.one": [("blocks.1.two", 1)], "wide": [("out", 1)]},
}  # fmt: skip


def silenced(module, kept, readers):
    """The network in which hooks multiply what readers read of the units that go by 0."""
    module = copy.deepcopy(module)
    for layer, units in kept.items():
        for path, each in readers[layer]:
            reader = module.get_submodule(path)
            held = torch.zeros(reader.weight.shape[1], dtype=torch.float64)
            held.view(-1, each)[units] = 1

            def silence(_, inputs, held=held):
                return (inputs[0] * held.view(1, -1, *[1] * (inputs[0].ndim - 2)),)

            reader.register_forward_pre_hook(silence)
    return module


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_what_is_left_equals_the_network_whose_units_are_multiplied_by_zero(name, training):
    make, batch, kept = NETS[name]
    module, x = make(), batch()
    small = surgery.cut(module, surgery.keep(surgery.graph(module, x), kept))
    expected = silenced(module, kept, READ_BY[name]).train(training)(x)
    torch.testing.assert_close(small.train(training)(x), expected, rtol=0, atol=1e-12)
    assert models.num_parameters(small) < models.num_parameters(module)


@pytest.mark.parametrize("name", NETS)
def test_masks_of_what_reads_the_units_silence_them_and_lead_back_to_the_edit(name):
    make, batch, kept = NETS[name]
    module, x = make().eval(), batch()
    tied = surgery.graph(module, x)
    edit = surgery.keep(tied, kept)
    masked = masks.apply_(copy.deepcopy(module), surgery.silence(edit))
    torch.testing.assert_close(masked(x), surgery.cut(module, edit)(x), rtol=0, atol=1e-12)
    found = {layer: index.tolist() for layer, index in surgery.alive(tied, masks.masks_of(masked)).items()}
    assert found == {layer: sorted(units) for layer, units in kept.items()}
    again = surgery.cut(masked, surgery.keep(surgery.graph(masked, x), found))  # a masked network is cut with its masks
    torch.testing.assert_close(again(x), masked(x), rtol=0, atol=1e-12)
    assert all(bool(mask.all()) for mask in masks.masks_of(again).values())


def test_a_layer_says_its_new_sizes():
    make, batch, kept = NETS["residual"]
    small = surgery.cut(make(), surgery.keep(surgery.graph(make(), batch()), kept))
    assert (small.stem.out_channels, small.first.num_features, small.depth.groups) == (3, 3, 3)
    assert (small.depth.in_channels, small.wide.in_features, small.wide.out_features) == (3, 12, 3)
    assert small.blocks[1].one.in_channels == 3 and small.between.num_features == 3 and small.out.out_features == 3


@pytest.mark.parametrize("name", NETS)
def test_torch_pruning_leaves_the_same_network(name):
    make, batch, kept = NETS[name]
    module, x = make().eval(), batch()
    small = surgery.cut(module, surgery.keep(surgery.graph(module, x), {k: sorted(v) for k, v in kept.items()}))
    peer = copy.deepcopy(module)
    found = tp.DependencyGraph().build_dependency(peer, x)
    for layer, units in kept.items():
        target = peer.get_submodule(layer)
        prune = tp.prune_linear_out_channels if isinstance(target, nn.Linear) else tp.prune_conv_out_channels
        drop = [unit for unit in range(target.weight.shape[0]) if unit not in units]
        found.get_pruning_group(target, prune, drop).prune()
    torch.testing.assert_close(small(x), peer(x), rtol=0, atol=1e-6)
    assert same(small.state_dict(), peer.state_dict())


def test_the_graph_says_which_layers_share_units_and_which_are_fixed():
    tied = surgery.graph(residual(), images())
    assert tied.units == {
        "stem": 6, "blocks.0.two": 6, "blocks.1.two": 6, "blocks.0.one": 5, "blocks.1.one": 4, "wide": 7
    }  # fmt: skip
    shared = next(group for group in tied.groups if "stem" in group.layers)
    assert shared.layers == ("stem", "blocks.0.two", "blocks.1.two")
    assert surgery.Place("wide.weight", 1, 4, "out") in shared.places
    assert next(group for group in tied.groups if group.layers == ("out",)).fixed == "they are outputs"


class Odd(nn.Module):
    """What a trace meets: views, means, a layer that is called twice, sums with the input, a norm over all units."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(4, 4) for _ in range(4))
        self.conv, self.grouped, self.norm = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.LayerNorm(4)
        self.by_hand, self.end = nn.Conv2d(4, 4, 1), nn.Linear(4, 2)

    def forward(self, x):
        picture = self.by_hand(torch.relu(self.conv(x)) * 2).mean((2, 3))
        twice = self.b(self.b(torch.tanh(self.a(picture))).relu())
        normed = self.norm(self.c(twice))
        return self.end((self.d(normed) + normed).view(x.size(0), -1))


def test_what_cannot_be_followed_is_fixed_and_says_why():
    odd = Odd()
    tied = surgery.graph(odd, torch.randn(3, 1, 6, 6, generator=seeded()))
    assert tied.units == {"conv": 4, "by_hand": 4, "a": 4, "b": 4}
    assert next(group for group in tied.groups if "a" in group.layers).layers == ("a", "b")
    why = {group.layers[0]: group.fixed for group in tied.groups}
    assert why["c"] == "LayerNorm 'norm' reads them" and why["d"].startswith("add joins them with what has other units")
    x = torch.randn(3, 1, 6, 6, generator=seeded())
    edit = surgery.keep(tied, {"conv": [2], "a": [0, 3], "by_hand": [1, 2, 3]})
    expected = masks.apply_(copy.deepcopy(odd), surgery.silence(edit))(x)
    torch.testing.assert_close(surgery.cut(odd, edit)(x), expected)


class Through(nn.Module):
    """A convolution of four channels, something, and a linear layer."""

    def __init__(self, between, width):
        super().__init__()
        self.conv, self.grouped = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=2)
        self.end, self.between = nn.Linear(width, 2), (between,)

    def forward(self, x):
        return self.end(self.between[0](self, self.conv(x)))


THROUGH = {
    "a view": (lambda net, h: h.view(h.size(0), -1), 16, ""),
    "a mean over pixels": (lambda net, h: h.mean((-2, -1)), 4, ""),
    "a sum over pixels": (lambda net, h: torch.sum(h, dim=[2, 3]), 4, ""),
    "a view of a size that is written down": (lambda net, h: h.view(-1, 16), 16, "view reads them"),
    "a mean over units": (lambda net, h: h.mean(1).flatten(1), 4, "mean reads them"),
    "a mean over all": (lambda net, h: h + h.mean() * h.sum((1, 2, 3)).sum(), 16, "mean reads them"),
    "groups": (lambda net, h: net.grouped(h).flatten(1), 16, "Conv2d 'grouped' reads them"),
    "a product with a picture": (lambda net, h: (h * h[:, :1]).flatten(1), 16, "getitem reads them"),
    "a softmax over units": (lambda net, h: h.softmax(1).flatten(1), 16, "softmax reads them"),
}


@pytest.mark.parametrize("what", THROUGH)
def test_what_lies_between_two_layers_is_followed_or_fixes_the_units(what):
    between, width, why = THROUGH[what]
    net, x = Through(between, width if what != "a mean over all" else 2), torch.rand(3, 1, 2, 2, generator=seeded())
    tied = surgery.graph(net, x)
    assert next(group for group in tied.groups if "conv" in group.layers).fixed == why
    if not why:
        edit = surgery.keep(tied, {"conv": [3, 1]})
        expected = masks.apply_(copy.deepcopy(net), surgery.silence(edit))(x)
        torch.testing.assert_close(surgery.cut(net, edit)(x), expected)


# --- units that are dead by their weights


def test_units_are_dead_by_what_makes_them_or_by_what_reads_them():
    net = dense()
    tied = surgery.graph(net, torch.zeros(2, 16, dtype=torch.float64))
    with torch.no_grad():
        net[0].weight[1] = 0
        net[0].bias[1] = 0
        net[0].weight[2] = 0  # its bias is left: alive
        net[2].weight[:, 4] = 0
        net[4].weight[:, 0] = 0
    found = surgery.alive(tied, net.state_dict())
    assert {k: v.tolist() for k, v in found.items()} == {"0": [0, 2, 3, 5, 6], "2": [1, 2, 3, 4, 5]}
    rows = {"0.weight": net[0].weight != 0}  # without the bias nothing is said of it, and it may be alive
    assert surgery.alive(tied, rows) == {}
    assert surgery.alive(tied, rows | {"0.bias": net[0].bias != 0})["0"].tolist() == [0, 2, 3, 4, 5, 6]


def test_in_a_sum_all_that_makes_a_unit_must_be_zero():
    net, x = residual(), images()
    tied = surgery.graph(net, x)
    with torch.no_grad():
        for value in (net.stem.weight, net.stem.bias, net.blocks[0].two.weight, net.blocks[1].two.weight):
            value[3] = 0
        net.stem.weight[4] = 0
    assert {k: v.tolist() for k, v in surgery.alive(tied, net.state_dict()).items()} == {"stem": [0, 1, 2, 4, 5]}


# --- optimizers

OPTIMIZERS: dict[str, Callable] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "two groups": lambda p: torch.optim.SGD([{"params": p[:1], "lr": 0.3}, {"params": p[1:]}], lr=0.1, momentum=0.9),
    "momentum, ours": lambda p: optimizers.as_torch(optimizers.momentum(), p, {"lr": 0.1}),
    "adam, ours": lambda p: optimizers.as_torch(optimizers.adam(), p, {"lr": 0.01}),
    "adamw, ours": lambda p: optimizers.as_torch(optimizers.adamw(), p, {"lr": 0.01}),
    "schedule-free, ours": lambda p: optimizers.as_torch(optimizers.schedule_free(), p, {"lr": 0.1}),
    "nadam, ours": lambda p: optimizers.as_torch(optimizers.nadam(), p, {"lr": 0.01}),
    "lars, ours": lambda p: optimizers.as_torch(optimizers.lars(), p, {"lr": 0.1}),
}


def train(module, optimizer, x, steps=3):
    y = torch.arange(len(x)) % 3
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cross_entropy(module(x), y)
        loss.backward()
        optimizer.step()
    return loss


def sliced(value, name, edit):
    for dim, index in edit.steps.get(masks.name_of(name), ()):
        value = value.index_select(dim, index)
    return value


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_optimizer_goes_along_bit_by_bit_and_is_alive(kind, masked):
    make, batch, kept = NETS["residual"]
    module, x = make(), batch()
    if masked:
        masks.apply_(module, {"wide.weight": torch.rand(7, 24, generator=seeded()) > 0.3})
    optimizer = OPTIMIZERS[kind](list(module.parameters()))
    train(module, optimizer, x)
    edit = surgery.keep(surgery.graph(module, x), kept)
    before, moved = copy.deepcopy((module, optimizer))
    surgery.cut_(module, edit, optimizer)
    names, after = {v: n for n, v in before.named_parameters()}, dict(module.named_parameters())
    assert {id(v) for g in optimizer.param_groups for v in g["params"]} == {id(v) for v in after.values()}
    assert set(optimizer.state) == set(after.values()) and len(moved.state) == len(after)
    for value, entries in moved.state.items():
        name = names[value]
        for slot, entry in entries.items():
            if isinstance(entry, torch.Tensor):
                expected = sliced(entry, name, edit) if entry.ndim else entry
                assert torch.equal(optimizer.state[after[name]][slot], expected), (name, slot)
            else:
                assert str(optimizer.state[after[name]][slot]) == str(entry)
    twin = copy.deepcopy(module)  # beside a fresh optimizer that is given the sliced state
    fresh = OPTIMIZERS[kind](list(twin.parameters()))
    fresh.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    start = {name: value.detach().clone() for name, value in after.items()}
    train(module, optimizer, x, 2)
    train(twin, fresh, x, 2)
    assert same(module.state_dict(), twin.state_dict())
    still = [name for name, value in module.named_parameters() if torch.equal(value, start[name])]
    assert set(still) <= {"stem.bias", "depth.bias", "wide.bias"}, "norms see no shift"


def test_what_is_not_cut_keeps_its_parameter_and_its_state_and_a_scheduler_goes_on():
    net = dense()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    x = images().flatten(1)
    loss = train(net, optimizer, x)  # still alive: its graph must not hold the old shapes
    last, velocity = net[4].bias, optimizer.state[net[4].bias]["momentum_buffer"]
    surgery.cut_(net, surgery.keep(surgery.graph(net, x), {"2": [0, 1]}), optimizer)
    assert net[4].bias is last and optimizer.state[last]["momentum_buffer"] is velocity
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.05]
    train(net, optimizer, x)
    assert loss.isfinite() and net[4].weight.grad.shape == (3, 2)


@pytest.mark.parametrize("own", [False, True], ids=["the same units", "each its own"])
def test_a_population_is_cut_as_each_member_would_be_alone(own):
    def build(generator):
        return lively(models.convnet((1, 4, 4), 3, channels=(6, 5), norm="batch", generator=generator))

    x = images(12)
    y, plan = torch.arange(12) % 3, population.Plan(1, 4, progress=False, backend="eager")
    rates = torch.tensor([0.01, 0.1, 0.03], dtype=torch.float64)
    state, _ = population.step(population.init(build, optimizers.adam(), {"lr": rates}, seeds=[1, 2, 3]), x, y, plan)
    units = {"0": [[0, 4], [1, 5], [3, 2]], "4": [[0, 1, 2], [2, 3, 4], [4, 0, 1]]}
    units = units if own else {layer: rows[0] for layer, rows in units.items()}
    tied = surgery.graph(state.module, x)
    small = surgery.cut_state(state, surgery.keep(tied, units))
    assert small.step == state.step == 1 and small.settings == state.settings
    for i in range(3):
        alone = surgery.keep(tied, {layer: rows[i] if own else rows for layer, rows in units.items()})
        expected = surgery.cut(population.member(state, i), alone)
        assert same(population.member(small, i).state_dict(), expected.state_dict())
        for slot in ("mean", "square"):
            for name, value in state.slots[slot].items():
                assert torch.equal(small.slots[slot][name][i], sliced(value[i], name, alone))
    assert torch.equal(small.slots["count"]["steps"], state.slots["count"]["steps"])
    after, losses = population.step(small, x, y, plan)
    assert losses.isfinite().all() and all(not torch.equal(v, small.params[k]) for k, v in after.params.items())


def test_masks_of_a_population_lead_to_its_edit():
    every = torch.ones(6, 7, dtype=torch.bool)
    gone = [torch.tensor([0, 1]), torch.tensor([3, 6])]
    nets = [masks.apply_(dense(), {"2.weight": every.index_fill(1, columns, False)}) for columns in gone]
    x = images().flatten(1)
    stacked = {k: torch.stack([net.state_dict()[k] for net in nets]) for k in nets[0].state_dict()}
    state = population.start(nets[0], stacked, optimizers.sgd(), {"lr": 0.1}, seeds=[0, 1])
    tied = surgery.graph(nets[0], x)
    found = surgery.alive(tied, masks.plain({**state.params, **state.buffers}))
    assert found["0"].tolist() == [[2, 3, 4, 5, 6], [0, 1, 2, 4, 5]]
    small = surgery.cut_state(state, surgery.keep(tied, found))
    torch.testing.assert_close(population.predict(small, x), population.predict(state, x), rtol=0, atol=1e-12)
    assert surgery.silence(surgery.keep(tied, found))["2.weight"].shape == (2, 6, 7)


# --- edits as data


def test_an_edit_is_written_read_and_replayed_on_a_fresh_network(tmp_path):
    make, batch, kept = NETS["residual"]
    module, x = make(), batch()
    edit = surgery.keep(surgery.graph(module, x), kept)
    surgery.save(tmp_path / "cut.edit", edit)
    found = surgery.load(tmp_path / "cut.edit")
    assert same(found.kept, edit.kept) and found.places == edit.places and found.shapes == edit.shapes
    fresh = make()
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(surgery.cut(fresh, found)(x), surgery.cut(module, edit)(x))
    _, note = files.read(tmp_path / "cut.edit")
    assert json.loads(json.dumps(note))["places"]["wide"][0] == ["wide.weight", 0, 1, "in"]
    assert same(pickle.loads(pickle.dumps(edit)).kept, edit.kept)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_units_of_any_widths(data):
    widths = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    net = models.mlp([4, *widths, 3], activation="tanh", generator=seeded(sum(widths))).double()
    x = torch.randn(3, 4, dtype=torch.float64, generator=seeded())
    kept = {str(2 * i): data.draw(st.permutations(range(width)))[: data.draw(st.integers(1, width))]
            for i, width in enumerate(widths)}  # fmt: skip
    edit = surgery.keep(surgery.graph(net, x), kept)
    expected = masks.apply_(copy.deepcopy(net), surgery.silence(edit))(x)
    torch.testing.assert_close(surgery.cut(net, edit)(x), expected, rtol=0, atol=1e-12)


# --- refusals


def tied_of(name):
    make, batch, _ = NETS[name]
    return surgery.graph(make(), batch())


REFUSED = [
    ("mlp", {"4": [0]}, r"keep: units must name layers that can be cut \(0, 2\), got '4', whose units are fixed: they"),
    ("mlp", {"9": [0]}, r"keep: units must name layers that can be cut \(0, 2\), got '9'$"),
    ("mlp", {"0": []}, r"units of '0' must be one or more, got none: a layer pruned to nothing"),
    ("mlp", {"0": [[], []]}, r"a layer pruned to nothing"),
    ("mlp", {"0": [0, 7]}, r"units of '0' must be in 0 … 6, got 7"),
    ("mlp", {"0": [-1, 3]}, r"units of '0' must be in 0 … 6, got -1"),
    ("mlp", {"0": [1, 3, 1]}, r"units of '0' must be named once, got 1 twice"),
    ("mlp", {"0": torch.tensor([[0, 1], [2, 2]])}, r"units of '0' must be named once, got 2 twice"),
    ("mlp", {"0": [[0, 1], [2]]}, r"units of '0' must be indices, as many for each member, got \[\[0, 1\], \[2\]\]"),
    ("mlp", {"0": [torch.tensor([0, 1]), torch.tensor([2])]}, r"as many for each member"),
    ("mlp", {"0": [0.5]}, r"must be int64 indices \(kept,\) or \(members, kept\), got \(1,\) torch.float32"),
    ("mlp", {"0": torch.ones(7, dtype=torch.bool)}, r"got \(7,\) torch.bool"),
    ("mlp", {"0": 3}, r"units of '0' must be indices"),
    ("mlp", {"0": [[0], [1]], "2": [[0], [1], [2]]}, r"must be given for as many members in each layer, got \[2, 3\]"),
    ("mlp", {}, r"keep: graph must come from graph and units map layers to indices, got Graph and {}"),
    ("residual", {"stem": [0], "blocks.1.two": [0]}, r"must be given once, got 'stem' and 'blocks.1.two', which share"),
]


@pytest.mark.parametrize(("name", "units", "message"), REFUSED)
def test_what_is_no_list_of_units_is_refused(name, units, message):
    with pytest.raises(ValueError, match=message):
        surgery.keep(tied_of(name), units)


def refused_untouched(module, message, call):
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        call()
    assert same(module.state_dict(), before)


def test_an_edit_for_another_architecture_is_refused_and_the_module_is_as_it_was():
    edit = surgery.keep(tied_of("mlp"), {"0": [0, 1]})
    other = models.mlp([16, 8, 6, 3], generator=seeded())
    told = r"edit must be for the architecture of module, got one for 0.weight \(7, 16\), where module has \(8, 16\)"
    refused_untouched(other, "cut_: " + told, lambda: surgery.cut_(other, edit))
    refused_untouched(other, "cut: " + told, lambda: surgery.cut(other, edit))
    deeper = models.mlp([16, 7, 6, 3, 3], generator=seeded())
    refused_untouched(deeper, r"for 6.weight none, where module has \(3, 3\)", lambda: surgery.cut_(deeper, edit))
    shorter = models.mlp([16, 7, 6], generator=seeded())
    refused_untouched(shorter, r"for 4.weight \(3, 6\), where module has none", lambda: surgery.cut_(shorter, edit))
    same_shapes = nn.Sequential(*[copy.deepcopy(layer) for layer in dense()])
    same_shapes[0] = nn.Bilinear(1, 1, 1)
    same_shapes[0].weight, same_shapes[0].bias = dense()[0].weight, dense()[0].bias
    refused_untouched(same_shapes, r"got one that cuts Bilinear '0'", lambda: surgery.cut_(same_shapes, edit))


def test_an_edit_of_members_is_for_populations_of_as_many():
    edit = surgery.keep(tied_of("mlp"), {"0": [[0, 1], [2, 3]]})
    net = dense()
    told = r"cut_: edit must keep units of one network, got those of 2 members"
    refused_untouched(net, told, lambda: surgery.cut_(net, edit))
    state = population.init(lambda g: dense(), optimizers.sgd(), {"lr": 0.1}, seeds=range(3))
    with pytest.raises(ValueError, match=r"cut_state: edit must keep units of 3 members, got 2"):
        surgery.cut_state(state, edit)
    with pytest.raises(ValueError, match=r"cut_state: state must be a population.State, got Sequential"):
        surgery.cut_state(net, edit)


def test_optimizers_that_cannot_go_along_are_refused_and_everything_is_as_it_was():
    net, x = dense(), images().flatten(1)
    edit = surgery.keep(surgery.graph(net, x), {"0": [0, 1]})
    own = list(net.parameters())
    for optimizer, message in (
        (torch.optim.LBFGS(own), r"cut_: optimizer must hold a state for each weight, got LBFGS"),
        (torch.optim.SGD([*own, nn.Parameter(torch.zeros(2))]), r"optimizer must move parameters of module alone"),
        ("sgd", r"optimizer must hold a state for each weight, got str"),
    ):
        refused_untouched(net, message, lambda optimizer=optimizer: surgery.cut_(net, edit, optimizer))
    strange = torch.optim.SGD(own, lr=0.1)
    strange.state[own[0]]["past"] = torch.zeros(5)
    told = r"one entry for each weight of \[7, 16\], got past \[5\]"
    refused_untouched(net, told, lambda: surgery.cut_(net, edit, strange))
    assert all(one is other for one, other in zip(net.parameters(), own, strict=True))


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_what_cannot_be_traced_or_tied_is_refused():
    with pytest.raises(ValueError, match=r"graph: module must be one that torch.fx can trace, .*symbolically traced"):
        surgery.graph(Branching(), torch.zeros(1))
    with pytest.raises(ValueError, match=r"and the example must fit it, got .*mat1 and mat2"):
        surgery.graph(dense(), torch.zeros(2, 5, dtype=torch.float64))
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match=r"graph: module must tie no tensors, got '1.weight' under another name too"):
        surgery.graph(tied, torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"graph: module must be a torch.nn.Module and example a tensor, got str and"):
        surgery.graph("net", torch.zeros(1))


def test_weights_that_leave_no_edit_are_refused():
    net = dense()
    tied, every = tied_of("mlp"), net.state_dict()
    with pytest.raises(ValueError, match=r"alive: tensors must leave a unit of each layer, got none of '2'"):
        surgery.alive(tied, every | {"4.weight": torch.zeros(3, 6)})
    with pytest.raises(ValueError, match=r"must have names and shapes of the architecture.*, got '4.weight' \(3, 5\)"):
        surgery.alive(tied, {"4.weight": torch.zeros(3, 5)})
    two = torch.ones(2, 3, 6)
    two[0, :, 0] = 0
    with pytest.raises(ValueError, match=r"leave each member as many units as the others, got 5 to 6 of '2'"):
        surgery.alive(tied, {"4.weight": two})
    with pytest.raises(ValueError, match=r"must all be of one network or of as many members"):
        surgery.alive(tied, {"4.weight": two, "2.weight": torch.ones(3, 6, 7)})


def test_files_that_hold_no_edit_are_refused(tmp_path):
    edit = surgery.keep(tied_of("mlp"), {"0": [0, 1]})
    with pytest.raises(ValueError, match=r"load: path must be a file written by save"):
        surgery.load(tmp_path / "none")
    files.write(tmp_path / "other", {"0": torch.tensor([0])}, {"kind": "something"})
    with pytest.raises(ValueError, match=r"load: path must be a file written by save, .* with something else"):
        surgery.load(tmp_path / "other")
    surgery.save(tmp_path / "broken", replace(edit, kept={"0": torch.tensor([0, 70])}))
    with pytest.raises(ValueError, match=r"load: units of '0' must be in 0 … 6, got 70"):
        surgery.load(tmp_path / "broken")
    with pytest.raises(ValueError, match=r"save: edit must be an Edit, got dict"):
        surgery.save(tmp_path / "x", {})
