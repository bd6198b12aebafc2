"""Pruning beside what users would run: loops over units, DPPy's draws, the recursion of 1992.

DPPy keeps its eigendecomposition and its polynomials between draws; ours is handed its spectrum and finds the
polynomials once a call.
"""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from benchmarks.pruning_cuts import edits, forwards, masked_populations
from benchmarks.timing import Row, at_least, barred, compare, one_thread, quick, unmeasured
from labsupport import data, models
from labsupport.pruning import diversity, edges, nodes

try:
    from dppy.finite_dpps import FiniteDPP as Peer
except ImportError:
    Peer = None

__all__ = ["rows"]


def rows() -> Iterator[Row]:
    with one_thread():
        yield from ablations()
        yield from draws()
        yield from inverses()
        yield from edits()
        yield from forwards()
        yield from masked_populations()


@barred({
    "all ablations of a layer of 100, 64-100-10": at_least(10),
    "all ablations of the layer of 64, 64-128-64-10": at_least(10),
})  # fmt: skip
def ablations() -> Iterator[Row]:
    """One pass beside a loop that silences a unit's outgoing weights in the network and runs it; 300 digits."""
    x, y = data.digits(generator=torch.Generator().manual_seed(0)).flat().train
    for sizes, at, which in (([64, 100, 10], 0, "a layer of 100"), ([64, 128, 64, 10], 1, "the layer of 64"),
                             ([64, 128, 64, 10], 0, "the layer of 128")):  # fmt: skip
        net, what = models.mlp(sizes, generator=torch.Generator().manual_seed(0)), "-".join(map(str, sizes))
        given = net, x[:300], y[:300], at
        ours, peer, careful = one_pass(*given), loop(*given), short_loop(*given)
        torch.testing.assert_close(ours(), peer())
        name = f"all ablations of {which}, {what}"
        yield compare(name, ours, peer, peer_name="a loop over units")
        yield compare(f"{name}: the loop begins behind the layer", ours, careful, peer_name="a loop over units")


def one_pass(net, x, y, at):
    return lambda: nodes.ablation_losses(nodes.layer(nodes.network(net), x, y, at=at))


def loop(net, x, y, at):
    """As one would write it: a unit's outgoing weights set to zero, a forward pass, the weights put back."""
    return in_turn(copy.deepcopy(net), net, lambda: x, at, y, slice(0, None))


def short_loop(net, x, y, at):
    """As a careful author would: what comes before the layer is computed once."""
    return in_turn(copy.deepcopy(net), net, lambda: net[: 2 * at + 2](x), at, y, slice(2 * at + 2, None))


def in_turn(twin, net, begin, at, y, part):
    after = 2 * at + 2

    @torch.no_grad()
    def call():
        found, h = [], begin()
        for k in range(net[after].in_features):
            twin[after].weight[:, k] = 0.0
            found.append(cross_entropy(twin[part](h), y))
            twin[after].weight[:, k] = net[after].weight[:, k]
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


@barred({"inverse Hessian of a layer of 128 inputs, 1,000 examples": at_least(5)})
def inverses() -> Iterator[Row]:
    """One factorization beside one update in place for each example, both in float64."""
    x = torch.randn(1000, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = torch.cat([x, torch.ones(1000, 1, dtype=torch.float64)], dim=1)
    damping = 0.01

    def factorized():
        matrix = edges.layer_hessian(x, damping=0.0)
        matrix.diagonal().add_(damping)
        return torch.cholesky_inverse(torch.linalg.cholesky(matrix))

    def by_examples():
        return edges.inverse_by_examples(rows, damping=damping)

    torch.testing.assert_close(factorized(), by_examples())
    yield compare("inverse Hessian of a layer of 128 inputs, 1,000 examples", factorized, by_examples,
                  peer_name="one update an example")  # fmt: skip
