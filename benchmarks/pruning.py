"""Pruning beside what users would run: loops over units, DPPy's draws.

DPPy keeps its eigendecomposition and its polynomials between draws; ours is handed its spectrum and finds the
polynomials once a call.
"""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from benchmarks.timing import Row, at_least, barred, compare, quick, unmeasured
from labsupport import data, models
from labsupport.pruning import diversity, nodes

try:
    from dppy.finite_dpps import FiniteDPP as Peer
except ImportError:
    Peer = None

__all__ = ["rows"]


def rows() -> Iterator[Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from ablations()
        yield from draws()
    finally:
        torch.set_num_threads(threads)


@barred({
    "all ablations of a layer of 128, 64-128-64-10": at_least(10),
    "all ablations of a layer of 100, 64-100-10": at_least(10),
})  # fmt: skip
def ablations() -> Iterator[Row]:
    """One pass beside a loop that silences a unit's outgoing weights in the network and runs it; 300 digits."""
    x, y = data.digits(generator=torch.Generator().manual_seed(0)).flat().train
    for sizes in ([64, 128, 64, 10], [64, 100, 10]):
        net = models.mlp(sizes, generator=torch.Generator().manual_seed(0))
        ours, peer = one_pass(net, x[:300], y[:300]), loop(net, x[:300], y[:300])
        torch.testing.assert_close(ours(), peer())
        name = "-".join(map(str, sizes))
        yield compare(f"all ablations of a layer of {sizes[1]}, {name}", ours, peer, peer_name="a loop over units")
        bare = short_loop(net, x[:300], y[:300])
        yield compare(f"as before, {name}, the loop begins behind the layer", ours, bare, peer_name="a loop over units")


def one_pass(net, x, y):
    return lambda: nodes.ablation_losses(nodes.layer(nodes.network(net), x, y, at=0))


def loop(net, x, y):
    """As one would write it: a copy of the network, a column set to zero, a forward pass, the column put back."""
    twin = copy.deepcopy(net)

    @torch.no_grad()
    def call():
        found = []
        for k in range(net[0].out_features):
            twin[2].weight[:, k] = 0.0
            found.append(cross_entropy(twin(x), y))
            twin[2].weight[:, k] = net[2].weight[:, k]
        return torch.stack(found)

    return call


def short_loop(net, x, y):
    """As a careful author would: what comes before the layer is computed once."""
    twin = copy.deepcopy(net)

    @torch.no_grad()
    def call():
        found, h = [], net[:2](x)
        for k in range(net[0].out_features):
            twin[2].weight[:, k] = 0.0
            found.append(cross_entropy(twin[2:](h), y))
            twin[2].weight[:, k] = net[2].weight[:, k]
        return torch.stack(found)

    return call


@barred({
    "k-DPP, N = 100, k = 30, a thousand draws": at_least(3),
    "k-DPP, N = 500, k = 30, a thousand draws": at_least(3),
})  # fmt: skip
def draws() -> Iterator[Row]:
    number = 200 if quick() else 1000
    for size in (100, 500):
        what = f"k-DPP, N = {size}, k = 30, a thousand draws"
        if Peer is None:
            yield unmeasured(what, "no DPPy here")
            continue
        generator = torch.Generator().manual_seed(0)
        points = torch.randn(200, size, dtype=torch.float64, generator=generator)
        kernel = diversity.kernel(points, beta=0.0025, epsilon=0.01)
        spectrum, random = diversity.spectrum(kernel), np.random.RandomState(0)
        peer = Peer("likelihood", L=kernel.numpy())
        yield compare(
            what,
            lambda: diversity.sample(spectrum, k=30, num_draws=number, generator=generator),  # noqa: B023
            lambda: [peer.sample_exact_k_dpp(30, random_state=random) for _ in range(number)],  # noqa: B023
            peer_name="DPPy 0.3.3",
            rounds=5,
        )
