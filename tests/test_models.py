"""Networks: torch's own initialisation from our generator, shapes, counts, refusals."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from labsupport import models


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def same(one, two):
    first, second = one.state_dict(), two.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("bias", [True, False])
def test_mlp_is_bitwise_what_torch_draws(bias):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        truth = nn.Sequential(nn.Linear(7, 5, bias=bias), nn.ReLU(), nn.Linear(5, 3, bias=bias))
    assert same(models.mlp([7, 5, 3], bias=bias, generator=seeded(5)), truth)


def test_convnet_is_bitwise_what_torch_draws():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        truth = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.Tanh(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 10),
        )  # fmt: skip
    ours = models.convnet((1, 8, 8), 10, channels=(4, 6), activation="tanh", generator=seeded(5))
    assert same(ours, truth)
    x = torch.randn(3, 1, 8, 8, generator=seeded())
    assert torch.equal(ours(x), truth(x))


def test_the_global_state_is_neither_read_nor_moved(untouched_global_state):
    one = models.mlp([4, 4, 2], generator=seeded())
    with torch.random.fork_rng():
        torch.manual_seed(99)
        two = models.mlp([4, 4, 2], generator=seeded())
    assert same(one, two)
    assert not same(one, models.mlp([4, 4, 2], generator=seeded(1)))
    models.convnet((1, 8, 8), 3, norm="batch", generator=seeded())


def test_a_generator_goes_on():
    source = seeded()
    assert not same(models.mlp([3, 3], generator=source), models.mlp([3, 3], generator=source))


@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5), bias=st.booleans())
def test_mlp_counts_and_shapes(sizes, bias):
    net = models.mlp(sizes, bias=bias, generator=seeded())
    assert models.num_parameters(net) == sum(a * b + b * bias for a, b in pairwise(sizes))
    assert net(torch.zeros(4, sizes[0])).shape == (4, sizes[-1])
    assert not isinstance(net[-1], nn.ReLU)


@given(
    channels=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    side=st.integers(8, 28),
    norm=st.sampled_from(["none", "batch", "layer"]),
)
def test_convnet_shapes(channels, side, norm):
    net = models.convnet((2, side, side), 7, channels=channels, norm=norm, generator=seeded())
    assert net(torch.zeros(3, 2, side, side)).shape == (3, 7)
    assert all((layer.bias is None) == (norm != "none") for layer in net if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("name", models.ACTIVATIONS)
def test_each_activation_stands_between_the_layers(name):
    net = models.mlp([2, 3, 3, 1], activation=name, generator=seeded())
    assert [type(layer) for layer in net[1::2]] == [models.ACTIVATIONS[name]] * 2


def test_a_shared_parameter_counts_once():
    layer = nn.Linear(3, 3)
    layer.requires_grad_(False)
    assert models.num_parameters(nn.Sequential(layer, layer, nn.BatchNorm1d(3))) == 12 + 6


def test_the_default_dtype_is_followed():
    torch.set_default_dtype(torch.float64)
    try:
        assert models.mlp([2, 2], generator=seeded())[0].weight.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.mlp([3], generator=seeded()), r"mlp: sizes must be two or more integers, got \[3\]"),
        (lambda: models.mlp(3, generator=seeded()), "mlp: sizes must be two or more integers, got 3"),
        (lambda: models.mlp([3, 0], generator=seeded()), r"mlp: sizes\[1\] must be an integer >= 1, got 0"),
        (lambda: models.mlp([3, 2], activation="cube", generator=seeded()), "activation must be one of .*'cube'"),
        (lambda: models.mlp([3, 2], generator=None), "mlp: generator must be a torch.Generator, got None"),
        (lambda: models.convnet((8, 8), 3, generator=seeded()), r"image_shape must be \(channels, height, width\)"),
        (lambda: models.convnet((1, 8, 8), 0, generator=seeded()), "num_classes must be an integer >= 1, got 0"),
        (lambda: models.convnet((1, 8, 8), 3, channels=(), generator=seeded()), "channels must be one or more"),
        (
            lambda: models.convnet((1, 8, 9), 3, channels=(1, 1, 1, 1), generator=seeded()),
            "channels must have at most 3 entries for images of 8×9, got 4",
        ),
        (lambda: models.convnet((1, 8, 8), 3, norm="x", generator=seeded()), "norm must be one of 'none', 'batch'"),
    ],
)
def test_models_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.mlp([3, 2], bias=0.1, generator=seeded()), "mlp: bias must be one of True, False, got 0.1"),
        (lambda: models.num_parameters(models.mlp([3, 2], generator=seeded()).parameters()),
         "num_parameters: module must be a torch.nn.Module, got generator"),
    ],
)  # fmt: skip
def test_models_refuse_look_alikes(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_recurrent_network_answers_from_its_last_state():
    net, x = models.Recurrent(3, 5, 2, gain=1.5, generator=seeded(1)), torch.randn(4, 6, 3, generator=seeded(2))
    s = torch.zeros(4, 5)
    for t in range(6):
        s = torch.tanh(x[:, t] @ net.into.T + s @ net.back.T + net.bias)
    torch.testing.assert_close(net(x), s @ net.out.T)
    wide = models.Recurrent(400, 300, 1, gain=1.5, generator=seeded(1))
    spreads = [float(w.detach().std()) for w in (wide.into, wide.back)]
    assert spreads == pytest.approx([400**-0.5, 1.5 * 300**-0.5], rel=0.02)
    draw = seeded(1)  # into, back, out, in this order
    drawn = [torch.randn(rows, columns, generator=draw) / columns**0.5 for rows, columns in ((5, 3), (5, 5), (2, 5))]
    torch.testing.assert_close([net.into, net.back / 1.5, net.out], drawn)


def test_the_lstm_written_out_is_torchs():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        cell = nn.LSTMCell(3, 5)
    x, state = torch.randn(4, 6, 3, generator=seeded(2)), None
    nn.init.constant_(cell.bias_ih[5:10], 40.0)  # gates that forget nothing
    for now in x.unbind(1):
        state = cell(now, state)
    ours, kept = models.lstm(cell, x)
    torch.testing.assert_close(ours, state[0])
    assert len(kept) == 6 and all(gate.shape == (4, 5) and bool((gate > 0.999).all()) for gate in kept)


def test_recurrent_refusals():
    for says, sizes in (("units", (3, 0, 2)), ("outputs", (3, 5, 0)), ("inputs", (0, 5, 2))):
        with pytest.raises(ValueError, match=f"Recurrent: {says} must be"):
            models.Recurrent(*sizes, gain=1.0, generator=seeded())
    with pytest.raises(ValueError, match="Recurrent: gain must be"):
        models.Recurrent(3, 5, 2, gain=-1.0, generator=seeded())
    with pytest.raises(ValueError, match=r"lstm: x must be \(n, steps, 3\)"):
        models.lstm(nn.LSTMCell(3, 5), torch.ones(2, 3))


def test_noise_is_added_in_training_only():
    layer, x = models.GaussianNoise(0.5), torch.zeros(200, 100)
    assert torch.equal(layer.eval()(x), x) and "std=0.5" in repr(layer)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noise = layer.train()(x)
    assert (
        abs(noise.std().item() - 0.5) < 4 * 0.5 / (2 * 20_000) ** 0.5
        and abs(noise.mean().item()) < 4 * 0.5 / 20_000**0.5
    )
    with pytest.raises(ValueError, match="GaussianNoise: std must be a finite number >= 0, got -1"):
        models.GaussianNoise(-1)
