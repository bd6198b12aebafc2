"""Chains with anchor skips: codes, sizes, joined pictures, networks."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labsupport import models
from labsupport.experiments import seeded
from labsupport.nas import chains, costs
from labsupport.nas.chains import Chain, Layer
from labsupport.search import space as spaces

FORK = Chain(
    (Layer(3, 8, 2, ()), Layer(1, 4, 1, (False,)), Layer(5, 6, 1, (True, False)), Layer(3, 2, 2, (True, True, False)))
)


@st.composite
def codes(draw):
    layers = []
    for place in range(draw(st.integers(1, 4))):
        sides = [draw(st.sampled_from(each)) for each in (chains.KERNELS, (1, 3), chains.STRIDES)]
        layers.append(Layer(*sides, tuple(draw(st.booleans()) for _ in range(place))))
    return Chain(tuple(layers))


@given(codes())
@settings(max_examples=40, deadline=None)
def test_every_chain_builds_and_runs_both_ways(chain):
    net = chains.build(chain, (2, 9, 17), 3, generator=seeded(0))
    seen = {}
    for place, layer in enumerate(net.layers):
        layer.register_forward_hook(lambda module, given, out, place=place: seen.update({place: (given[0], out)}))
    out = net(torch.randn(4, 2, 9, 17, generator=seeded(1)))
    assert out.shape == (4, 3)
    out.square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    sizes = chains.sizes(chain, (9, 17))
    weights = 0
    for place, layer in enumerate(chain.layers):
        read = [earlier for earlier, anchor in enumerate(layer.anchors) if anchor]
        channels = sum(chain.layers[earlier].filters for earlier in read) or 2
        assert seen[place][0].shape[1] == channels and seen[place][1].shape[2:] == sizes[place]
        weights += layer.kernel**2 * channels * layer.filters + 2 * layer.filters
    loose = sum(chain.layers[place].filters for place in chains.loose_ends(chain))
    assert models.num_parameters(net) == weights + loose * 3 + 3


def test_by_hand():
    assert chains.loose_ends(FORK) == [2, 3]
    assert chains.sizes(FORK, (14, 10)) == [(7, 5), (14, 10), (7, 5), (7, 5)]
    assert chains.depth(FORK) == 2
    assert chains.depth(Chain((Layer(3, 2, 1, ()), Layer(3, 2, 1, (True,)), Layer(3, 2, 1, (False, True))))) == 3
    net = chains.build(FORK, (1, 14, 10), 3, generator=seeded(0))
    expected = 9 * 8 * 35 + 4 * 140 + 25 * 8 * 6 * 35 + 9 * 12 * 2 * 35 + 8 * 3
    assert costs.multiply_adds(net, (1, 14, 10)) == expected


def test_the_network_is_its_definition():
    """The anchors by hand: who reads whom, the image for who reads nobody, the loose ends for the classifier."""
    net, x = chains.build(FORK, (1, 6, 6), 3, generator=seeded(0)).eval(), torch.randn(2, 1, 6, 6, generator=seeded(1))
    first, second = net.layers[0](x), net.layers[1](x)
    grown = torch.zeros(2, 8, 6, 6)
    grown[:, :, :3, :3] = first
    third, fourth = net.layers[2](first), net.layers[3](torch.cat([grown, second], 1))
    torch.testing.assert_close(net(x), net.classifier(torch.cat([third, fourth], 1).mean((2, 3))))


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_joined_pictures_keep_their_pixels_and_nothing_else(shapes):
    pictures = [torch.rand(2, *shape, generator=seeded(place)) + 1 for place, shape in enumerate(shapes)]
    out = chains.joined(pictures)
    assert out.shape == (2, *torch.tensor(shapes).sum(0)[:1].tolist(), *torch.tensor(shapes).amax(0)[1:].tolist())
    start = 0
    for picture in pictures:
        channels, height, width = picture.shape[1:]
        assert torch.equal(out[:, start : start + channels, :height, :width], picture)
        start += channels
    assert int((out != 0).sum()) == sum(picture.numel() for picture in pictures)


@given(codes(), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_codes_survive_the_way_to_a_setting(chain, seed):
    known = replace(chain, layers=tuple(replace(layer, filters=8) for layer in chain.layers))
    assert chains.decode(chains.encode(known)) == known
    space = chains.search_space(4)
    spaces.to_unit(space, chains.encode(known))
    drawn = spaces.sample(space, generator=seeded(seed))
    assert chains.encode(chains.decode(drawn)) == drawn


REFUSED = [
    (lambda: Layer(4, 8, 1, ()), "Layer: kernel must be odd, got 4"),
    (lambda: Layer(3, 0, 1, ()), "Layer: filters must be an integer >= 1, got 0"),
    (lambda: Layer(3, 8, 1, (1,)), "Layer: anchors must be True or False"),
    (lambda: Chain(()), "Chain: layers must be one Layer or more"),
    (lambda: Chain((Layer(3, 8, 1, (True,)),)), r"Chain: layers\[0\] must have 0 anchors, got 1"),
    (lambda: chains.decode({"op1": "tanh"}), "decode: params"),
    (lambda: chains.decode({**chains.encode(FORK), "0.kernel": 4}), "to_unit: 0.kernel must be one of"),
    (lambda: chains.search_space(0), "search_space: max_layers must be an integer >= 1, got 0"),
    (lambda: chains.sizes(Chain((Layer(3, 8, 2, ()), Layer(3, 8, 2, (True,)))), (2, 9)), r"must leave layers\[1\] of"),
    (lambda: chains.build(3, (1, 9, 9), 2, generator=seeded(0)), "build: chain must be a Chain, got 3"),
    (lambda: chains.build(FORK, (9, 9), 2, generator=seeded(0)), r"build: image_shape must be \(channels, h"),
    (lambda: chains.build(FORK, (1, 9, 9, 9), 2, generator=seeded(0)), "build: image_shape must be"),
    (lambda: chains.sizes(FORK, (1, 9, 9)), r"sizes: image_size must be \(height, width\), got \(1, 9, 9\)"),
    (lambda: chains.joined([]), "joined: pictures must be one or more"),
    (lambda: chains.joined([torch.zeros(2, 3)]), "joined: pictures must be one or more"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_is_no_chain_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_classifier_reads_every_loose_end():
    assert isinstance(chains.build(FORK, (1, 6, 6), 3, generator=seeded(0)).classifier, nn.Linear)
    assert chains.build(FORK, (1, 6, 6), 3, generator=seeded(0)).classifier.in_features == 8
