"""Rules against torch.nn.init and the formulas; starts of whole modules against torch's own layouts."""

import math
import pickle
from functools import partial

import pytest
import torch
from torch import nn

from labsupport import models
from labsupport.initialization import rules, starts

SHAPES = [(50, 30), (30, 50), (40, 40), (8, 4, 3), (8, 4, 3, 5), (6, 2, 3, 3, 3)]
PAIRS = {
    "normal": (partial(rules.normal_, std=0.3), partial(nn.init.normal_, std=0.3)),
    "uniform": (
        partial(rules.uniform_, std=0.3),
        partial(nn.init.uniform_, a=-math.sqrt(3) * 0.3, b=math.sqrt(3) * 0.3),
    ),
    "xavier_normal": (rules.xavier_normal_, nn.init.xavier_normal_),
    "xavier_uniform": (partial(rules.xavier_uniform_, gain=1.5), partial(nn.init.xavier_uniform_, gain=1.5)),
    "he_normal": (rules.he_normal_, partial(nn.init.kaiming_normal_, nonlinearity="relu")),
    "he_uniform": (rules.he_uniform_, nn.init.kaiming_uniform_),
    "he_normal_out": (partial(rules.he_normal_, mode="fan_out"), partial(nn.init.kaiming_normal_, mode="fan_out")),
    "he_leaky": (
        partial(rules.he_uniform_, gain=math.sqrt(2 / (1 + 0.2**2))),
        partial(nn.init.kaiming_uniform_, a=0.2),
    ),
    "lecun_normal": (rules.lecun_normal_, partial(nn.init.kaiming_normal_, nonlinearity="linear")),
    "lecun_uniform": (rules.lecun_uniform_, partial(nn.init.kaiming_uniform_, nonlinearity="linear")),
}
# the variance each rule should have, from fan_in and fan_out
VARIANCES = {
    "normal": lambda i, o: 0.09,
    "uniform": lambda i, o: 0.09,
    "xavier_normal": lambda i, o: 2 / (i + o),
    "xavier_uniform": lambda i, o: 2 * 1.5**2 / (i + o),
    "he_normal": lambda i, o: 2 / i,
    "he_uniform": lambda i, o: 2 / i,
    "he_normal_out": lambda i, o: 2 / o,
    "he_leaky": lambda i, o: 2 / (1 + 0.04) / i,
    "lecun_normal": lambda i, o: 1 / i,
    "lecun_uniform": lambda i, o: 1 / i,
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PAIRS)
def test_equal_to_torch_from_the_same_generator(name, shape, dtype):
    ours, theirs = PAIRS[name]
    weight = torch.empty(shape, dtype=dtype)
    mine, torchs = seeded(3), seeded(3)
    assert ours(weight, generator=mine) is weight
    assert torch.equal(weight, theirs(torch.empty(shape, dtype=dtype), generator=torchs))
    assert torch.equal(mine.get_state(), torchs.get_state())


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonal_equals_torch_and_is_orthogonal(shape, dtype, close):
    weight = rules.orthogonal_(torch.empty(shape, dtype=dtype), gain=1.7, generator=seeded(4))
    theirs = nn.init.orthogonal_(torch.empty(shape, dtype=dtype), gain=1.7, generator=seeded(4))
    assert torch.allclose(weight, theirs, rtol=0, atol=close)
    matrix = weight.flatten(1).double() / 1.7
    product = matrix @ matrix.mT if matrix.shape[0] <= matrix.shape[1] else matrix.mT @ matrix
    assert (product - torch.eye(len(product))).abs().max() < 1e-6


def test_orthogonal_draws_are_uniform_in_sign():
    """Without the sign correction the diagonal of a QR factor is one-sided."""
    draws = torch.stack([rules.orthogonal_(torch.empty(3, 3), generator=seeded(s)) for s in range(400)])
    mean = draws.mean(0)
    assert (mean.abs() < 4.5 * math.sqrt(1 / 3 / 400)).all()


@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize("shape", [(200, 300), (40, 30, 3, 5)])
def test_sample_variance_is_the_formula(name, shape):
    weight = PAIRS[name][0](torch.empty(shape, dtype=torch.float64), generator=seeded(5)).flatten()
    fan_in, fan_out = rules.fans(torch.empty(shape))
    expected, square = VARIANCES[name](fan_in, fan_out), weight.square()
    assert abs(square.mean() - expected) < 4 * square.std() / math.sqrt(len(weight))
    assert abs(weight.mean()) < 4 * weight.std() / math.sqrt(len(weight))


LAYERS = {
    "linear": (nn.Linear(7, 5), (7, 5)),
    "conv1d": (nn.Conv1d(4, 6, 3), (12, 18)),
    "conv2d": (nn.Conv2d(4, 6, (3, 5)), (60, 90)),
    "conv3d": (nn.Conv3d(2, 3, 2), (16, 24)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (18, 54)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4), (9, 36)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3), (54, 36)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_fans(name):
    layer, expected = LAYERS[name]
    assert rules.fans(layer.weight) == expected == nn.init._calculate_fan_in_and_fan_out(layer.weight)


def test_fan_in_counts_the_inputs_of_one_output():
    for layer, (fan_in, _) in list(LAYERS.values())[:-1]:
        sizes = [getattr(layer, "in_channels", 7), *[9] * (layer.weight.dim() - 2)]
        x = torch.zeros(1, *sizes, requires_grad=True)
        out = layer.double()(x.double())
        middle = tuple(size // 2 for size in out.shape)
        (seen,) = torch.autograd.grad(out[(0, *middle[1:])], x)
        assert int((seen != 0).sum()) == fan_in


def test_delta_orthogonal_keeps_norms():
    for sizes in [(5, 3, 3), (4, 4, 3, 5), (3, 2, 3, 3, 1)]:
        weight = rules.delta_orthogonal_(torch.empty(sizes, dtype=torch.float64), gain=2.0, generator=seeded(6))
        x = torch.randn(2, sizes[1], *[6] * (len(sizes) - 2), generator=seeded(7), dtype=torch.float64)
        convolve = (nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d)[len(sizes) - 3]
        out = convolve(x, weight, padding="same")
        assert torch.allclose(out.square().sum(), 4 * x.square().sum(), rtol=1e-12)
        assert torch.allclose(out.square().sum(1), 4 * x.square().sum(1), rtol=1e-12)  # at every place


def test_sixteen_bits_are_the_float32_start_rounded():
    for rule in (rules.he_uniform_, rules.he_normal_, rules.orthogonal_, partial(rules.uniform_, std=1.0)):
        wide = rule(torch.empty(40, 30), generator=seeded(8))
        narrow = rule(torch.empty(40, 30, dtype=torch.bfloat16), generator=seeded(8))
        assert torch.equal(narrow, wide.bfloat16())


@pytest.mark.parametrize("rule", [rules.he_normal_, rules.he_uniform_, rules.orthogonal_, rules.delta_orthogonal_])
def test_the_draw_is_made_where_the_generator_lives(rule):
    """A weight without storage: the generator on the CPU moves as it does for a weight there."""
    here, there = seeded(), seeded()
    rule(torch.empty(5, 3, 3), generator=here)
    assert rule(torch.empty(5, 3, 3, device="meta"), generator=there).is_meta
    assert torch.equal(here.get_state(), there.get_state())


def test_memory_layout_does_not_matter_to_gradients_or_views():
    weight = nn.Parameter(torch.empty(6, 4, 3, 3))
    assert rules.he_normal_(weight, generator=seeded()) is weight and weight.requires_grad and weight.is_leaf
    flipped = torch.empty(30, 20)
    rules.lecun_normal_(flipped.mT, generator=seeded(2))
    assert abs(flipped.var() * 30 - 1) < 0.3  # fan_in of the view is 30


def test_constant():
    assert rules.constant_(torch.empty(2, 3), value=0.1).tolist() == torch.full((2, 3), 0.1).tolist()
    assert rules.constant_(torch.empty(4), value=2, generator=seeded()).tolist() == [2] * 4


def test_apply_visits_layers_in_order_and_leaves_norms_alone():
    net = models.convnet((1, 8, 8), 3, channels=(2, 3), norm="batch", generator=seeded())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert starts.apply_(net, rules.he_normal_, bias=0.25, generator=seeded(9)) is net
    generator = seeded(9)
    for layer in (layer for layer in net if isinstance(layer, (nn.Conv2d, nn.Linear))):
        assert torch.equal(layer.weight, rules.he_normal_(torch.empty_like(layer.weight), generator=generator))
        assert layer.bias is None or (layer.bias == 0.25).all()
    norms = [name for name in before if name.split(".")[0] in ("1", "5")]
    assert len(norms) == 10 and all(torch.equal(before[name], net.state_dict()[name]) for name in norms)


def test_a_builder_is_mlp_and_rule_and_pickles():
    build = pickle.loads(pickle.dumps(starts.builder([6, 5, 3], rule=rules.orthogonal_, activation="tanh", bias=0.1)))
    generator = torch.Generator().manual_seed(3)
    net = models.mlp([6, 5, 3], activation="tanh", generator=generator)
    starts.apply_(net, rules.orthogonal_, bias=0.1, generator=generator)
    built = build(torch.Generator().manual_seed(3))
    assert str(built) == str(net)
    assert all(torch.equal(a, b) for a, b in zip(built.parameters(), net.parameters(), strict=True))
    with pytest.raises(ValueError, match="mlp: sizes must be two or more integers"):
        starts.builder([6])(generator)


def test_apply_takes_a_rule_for_biases_and_a_single_layer():
    layer = starts.apply_(
        nn.Linear(3, 4), rules.xavier_normal_, bias=partial(rules.normal_, std=2.0), generator=seeded(1)
    )
    generator = seeded(1)
    assert torch.equal(layer.weight, rules.xavier_normal_(torch.empty(4, 3), generator=generator))
    assert torch.equal(layer.bias, rules.normal_(torch.empty(4), std=2.0, generator=generator))


def test_biases():
    net = models.mlp([3, 4, 2], generator=seeded())
    weights = net[0].weight.clone()
    starts.biases_(net)
    assert torch.equal(net[0].weight, weights)
    assert (net[0].bias == torch.tensor(0.01)).all() and (net[2].bias == torch.tensor(0.01)).all()


def test_forget_gate_keeps_the_memory():
    """With zero weights and input the memory is multiplied by sigmoid(value), whatever torch's layout."""
    for value in (1.0, 2.0):
        cell = starts.forget_gate_(nn.LSTMCell(3, 4), value=value)
        others = torch.ones(16, dtype=torch.bool)
        others[4:8] = False
        with torch.no_grad():
            for name, parameter in cell.named_parameters():
                if name.startswith("weight"):
                    parameter.zero_()
                else:
                    assert (parameter[others] != 0).all()  # torch's own draws stay
                    parameter[others] = 0
            memory = torch.tensor([[1.0, -2.0, 3.0, 0.5]])
            _, after = cell(torch.zeros(1, 3), (torch.zeros(1, 4), memory))
        assert torch.allclose(after, memory * torch.sigmoid(torch.tensor(value)))
    deep = starts.forget_gate_(nn.LSTM(3, 5, num_layers=2, bidirectional=True, proj_size=2), value=2.0)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        total = getattr(deep, f"bias_ih_{suffix}") + getattr(deep, f"bias_hh_{suffix}")
        assert (total[5:10] == 2).all() and (total[:5] != 2).any() and (total[10:] != 2).any()


def test_chrono_spreads_the_memories():
    """exp(forget bias) is even between 1 and the longest lag, the input bias its negative, other gates are left."""
    lstm = starts.chrono_(nn.LSTM(3, 2000, num_layers=2), longest=40, generator=seeded(5))
    before = nn.LSTM(3, 2000).bias_ih_l0.abs().max()
    for layer in ("l0", "l1"):
        own, other = getattr(lstm, f"bias_ih_{layer}"), getattr(lstm, f"bias_hh_{layer}")
        assert (other[:4000] == 0).all() and (other[4000:] != 0).all()
        assert torch.equal(own[:2000], -own[2000:4000]) and (own[4000:].abs() <= before * 1.1).all()
        times = own[2000:4000].exp()
        assert times.min() >= 1 and times.max() <= 40.001
        assert abs(times.mean() - 20.5) < 4 * 39 / math.sqrt(12 * 2000)
    assert not torch.equal(lstm.bias_ih_l0[:2000], lstm.bias_ih_l1[:2000])
    cell = starts.chrono_(nn.LSTMCell(3, 4), longest=1, generator=seeded(5))
    assert (cell.bias_ih[:8] == 0).all()


def test_class_prior():
    counts = torch.tensor([1, 2, 7])
    bias = starts.class_prior_(torch.empty(3), counts=counts)
    assert torch.allclose(bias.softmax(0), counts / 10)
    bias = starts.class_prior_(torch.empty(1), counts=torch.tensor([3.0, 1.0]))
    assert torch.allclose(bias.sigmoid(), torch.tensor([0.25]))


def test_from_pretrained_copies_what_fits():
    old = models.convnet((1, 8, 8), 3, channels=(2, 3), norm="batch", generator=seeded(1)).double()
    old[1].running_mean.fill_(4.0)
    new = models.convnet((1, 8, 8), 5, channels=(2, 3), norm="batch", generator=seeded(2))
    before = {name: value.clone() for name, value in new.state_dict().items()}
    source = {**old.state_dict(), "extra": torch.ones(2)}
    done = starts.from_pretrained_(new, source)
    after = new.state_dict()
    assert done.skipped == ("9.weight", "9.bias", "extra") and done.kept == ("9.weight", "9.bias")
    assert set(done.copied) == set(before) - set(done.kept)
    assert all(torch.equal(after[name], source[name].to(after[name].dtype)) for name in done.copied)
    assert all(torch.equal(after[name], before[name]) for name in done.kept)
    assert (new[1].running_mean == 4).all() and new[0].weight.dtype == torch.float32


G = torch.Generator()
W = torch.empty(3, 3)
REFUSALS = {
    "fans: weight must have two or more dimensions": lambda: rules.fans(torch.empty(3)),
    "fans: weight must have two or more dimensions and at least one element": lambda: rules.fans(torch.empty(0, 3)),
    "fans: weight must be a floating-point tensor, got torch.int64": lambda: rules.fans(torch.ones(2, 2).long()),
    "normal_: weight must be a floating-point tensor, got list": lambda: rules.normal_([1.0], std=1, generator=G),
    "normal_: std must be a finite number >= 0": lambda: rules.normal_(W, std=-1.0, generator=G),
    "uniform_: std must be a finite number >= 0": lambda: rules.uniform_(W, std=math.inf, generator=G),
    "uniform_: generator must be a torch.Generator": lambda: rules.uniform_(W, std=1.0, generator=None),
    "xavier_normal_: gain": lambda: rules.xavier_normal_(W, gain=-1.0, generator=G),
    "xavier_uniform_: weight must have two": lambda: rules.xavier_uniform_(torch.empty(3), generator=G),
    "he_normal_: mode must be one of 'fan_in'": lambda: rules.he_normal_(W, mode="in", generator=G),
    "he_uniform_: weight must have two": lambda: rules.he_uniform_(torch.empty(3), generator=G),
    "lecun_normal_: weight must have two": lambda: rules.lecun_normal_(torch.empty(3), generator=G),
    "orthogonal_: weight must have two": lambda: rules.orthogonal_(torch.empty(3), generator=G),
    "orthogonal_: gain": lambda: rules.orthogonal_(W, gain=-1.0, generator=G),
    "delta_orthogonal_: weight must be a conv": lambda: rules.delta_orthogonal_(W, generator=G),
    "delta_orthogonal_: weight must be a convolution's, with odd": lambda: rules.delta_orthogonal_(
        torch.empty(3, 3, 2), generator=G
    ),
    "delta_orthogonal_: weight must have at least as many": lambda: rules.delta_orthogonal_(
        torch.empty(2, 3, 3), generator=G
    ),
    "delta_orthogonal_: weight must have at least as many output as input": lambda: rules.delta_orthogonal_(
        torch.empty(2, 3, 1), generator=G
    ),
    "constant_: value must be a finite number": lambda: rules.constant_(W, value=math.nan),
    "apply_: module must hold a linear": lambda: starts.apply_(nn.ReLU(), rules.he_normal_, generator=G),
    "apply_: module must be a torch.nn.Module": lambda: starts.apply_(W, rules.he_normal_, generator=G),
    "apply_: module must hold no transposed convolution, got one at '0'": lambda: starts.apply_(
        nn.Sequential(nn.ConvTranspose1d(1, 1, 1)), rules.he_normal_, generator=G
    ),
    "apply_: rule must be a function": lambda: starts.apply_(nn.Linear(2, 2), "he", generator=G),
    "apply_: bias must be a finite number": lambda: starts.apply_(
        nn.Linear(2, 2), rules.he_normal_, bias=None, generator=G
    ),
    "apply_: generator": lambda: starts.apply_(nn.Linear(2, 2), rules.he_normal_, generator=3),
    "biases_: module must hold a layer with a bias": lambda: starts.biases_(nn.Linear(2, 2, bias=False)),
    "biases_: value": lambda: starts.biases_(nn.Linear(2, 2), value=math.inf),
    "forget_gate_: lstm must be a torch.nn.LSTM or LSTMCell, got GRU": lambda: starts.forget_gate_(nn.GRU(2, 2)),
    "forget_gate_: lstm must have biases": lambda: starts.forget_gate_(nn.LSTM(2, 2, bias=False)),
    "forget_gate_: value": lambda: starts.forget_gate_(nn.LSTM(2, 2), value=math.nan),
    "chrono_: lstm must be a torch.nn.LSTM or LSTMCell, got GRU": lambda: starts.chrono_(
        nn.GRU(2, 2), longest=3, generator=G
    ),
    "chrono_: longest": lambda: starts.chrono_(nn.LSTM(2, 2), longest=0.5, generator=G),
    "chrono_: generator": lambda: starts.chrono_(nn.LSTM(2, 2), longest=3, generator=None),
    "class_prior_: bias must be": lambda: starts.class_prior_(W, counts=torch.ones(3)),
    "class_prior_: counts must have shape": lambda: starts.class_prior_(torch.ones(1), counts=torch.ones(1)),
    "class_prior_: counts must be positive": lambda: starts.class_prior_(torch.ones(2), counts=torch.tensor([0, 1])),
    "from_pretrained_: module": lambda: starts.from_pretrained_(W, {}),
    "from_pretrained_: state_dict must map": lambda: starts.from_pretrained_(nn.Linear(2, 2), {"weight": 3}),
    "from_pretrained_: state_dict must share a name and shape with the module, which has weight, bias": lambda: (
        starts.from_pretrained_(nn.Linear(2, 2), {"weight": torch.ones(3, 2)})
    ),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message):
    with pytest.raises(ValueError, match=message):
        REFUSALS[message]()


def test_a_parametrized_layer_is_written_through_or_refused():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(6, 4))
    with pytest.raises(ValueError, match=r"weight must be a parameter .* starts.apply_ fills, got what WeightNorm"):
        rules.he_normal_(layer.weight, generator=seeded(0))
    starts.apply_(layer, rules.he_normal_, bias=0.5, generator=seeded(0))
    torch.testing.assert_close(layer.weight, rules.he_normal_(torch.empty(4, 6), generator=seeded(0)))
    assert bool((layer.bias == 0.5).all())
    rules.normal_(nn.LSTM(3, 5).weight_ih_l0[:5], std=1.0, generator=seeded(0))  # a part of a parameter may be filled


class Doubled(nn.Module):
    def forward(self, original):
        return 2 * original


def test_a_parametrization_that_has_no_inverse_is_refused():
    layer = nn.utils.parametrize.register_parametrization(nn.Linear(6, 4), "bias", Doubled())
    for fill in (starts.biases_, lambda net: starts.apply_(net, rules.he_normal_, generator=seeded(0))):
        with pytest.raises(ValueError, match="bias must be one that can be written, got it parametrized by"):
            fill(layer)
    lstm = nn.utils.parametrize.register_parametrization(nn.LSTM(3, 5), "bias_ih_l0", Doubled())
    with pytest.raises(ValueError, match=r"forget_gate_: lstm must have its biases as .*got \['bias_ih_l0'\]"):
        starts.forget_gate_(lstm)


def test_cosines_are_orthogonal_rows_of_length_root_two():
    filled = rules.cosine_(torch.empty(5, 8, dtype=torch.float64))
    torch.testing.assert_close(filled @ filled.T, 2 * torch.eye(5, dtype=torch.float64))
    n = torch.arange(8, dtype=torch.float64)
    torch.testing.assert_close(filled[3], torch.cos(math.pi / 8 * 3 * (n + 0.5)) * 2 / math.sqrt(8))
    assert rules.cosine_(nn.Linear(8, 8).weight).dtype == torch.float32
    for shape in ((9, 8), (4, 8, 3)):
        with pytest.raises(ValueError, match=r"cosine_: weight must have shape \(outputs <= inputs, inputs\), got"):
            rules.cosine_(torch.empty(shape))
