"""Rows of pruning.py: surgery beside Torch-Pruning, masks in a population beside loops of torch.

An edit, on known units, is `keep` and `cut_` on our side, `get_pruning_group` and `prune` on theirs, for every layer
that is cut; both graphs were built before, and the networks are fresh in each round and outside the timer.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.timing import Row, at_least, barred, clocked, compare, measured, quick, seconds, unmeasured
from benchmarks.torch_population import Job, tight
from labsupport import data, models, optimizers, population
from labsupport.pruning import masks, surgery

try:
    import torch_pruning as peer
except ImportError:
    peer = None

__all__ = ["edits", "forwards", "masked_populations"]

DENSE = (64, 512, 512, 10)


class Residual(nn.Module):
    """A stem, three blocks of two convolutions each, a linear layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.blocks = nn.Sequential(*[_Block(channels) for _ in range(3)])
        self.end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.blocks(torch.relu(self.norm(self.stem(x)))))


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.two, self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.two(torch.relu(self.first(self.one(x))))))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[str, ...]]] = {
    "64-512-512-10": (lambda: models.mlp(DENSE, generator=seeded()), (64,), ("0", "2")),
    "conv net (16, 32) with batch norm": (
        lambda: models.convnet((1, 8, 8), 10, norm="batch", generator=seeded()), (1, 8, 8), ("0", "4")
    ),
    "residual net of 7 convolutions": (
        lambda: Residual(16), (1, 8, 8), ("stem", "blocks.0.one", "blocks.1.one", "blocks.2.one")
    ),
}  # fmt: skip


@barred({f"an edit, {name}": at_least(3) for name in NETS})
def edits() -> Iterator[Row]:
    """Six units in ten go, everywhere."""
    if peer is None:
        yield from (unmeasured(f"an edit, {name}", "no Torch-Pruning here") for name in NETS)
        return
    for name, (make, shape, layers) in NETS.items():
        net, x = make().eval(), torch.zeros(2, *shape)
        tied = surgery.graph(net, x)
        kept = {layer: torch.arange(2 * tied.units[layer] // 5) for layer in layers}
        yield clocked(f"an edit, {name}", partial(our_edit, net, tied, kept), partial(their_edit, net, x, kept),
                      peer_name="Torch-Pruning, get_pruning_group and prune", rounds=61)  # fmt: skip
        edit = surgery.keep(tied, kept)
        yield clocked(f"the cut alone, {name}", partial(our_cut, net, edit), partial(their_prune, net, x, kept),
                      peer_name="Torch-Pruning, prune alone", rounds=61)  # fmt: skip


def our_edit(net: nn.Module, tied: surgery.Graph, kept: dict[str, Tensor]) -> float:
    net = copy.deepcopy(net)
    return seconds(lambda: surgery.cut_(net, surgery.keep(tied, kept)))


def our_cut(net: nn.Module, edit: surgery.Edit) -> float:
    net = copy.deepcopy(net)
    return seconds(lambda: surgery.cut_(net, edit))


def their_edit(net: nn.Module, x: Tensor, kept: dict[str, Tensor]) -> float:
    groups = their_groups(net, x, kept)
    return sum(seconds(lambda call=call: call().prune()) for call in groups)


def their_prune(net: nn.Module, x: Tensor, kept: dict[str, Tensor]) -> float:
    return sum(seconds(call().prune) for call in their_groups(net, x, kept))


def their_groups(net: nn.Module, x: Tensor, kept: dict[str, Tensor]) -> list[Callable]:
    """For each layer a call that gives the group of units that go; the graph is built here."""
    net = copy.deepcopy(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = peer.DependencyGraph().build_dependency(net, x)
    calls = []
    for layer, units in kept.items():
        target = net.get_submodule(layer)
        kind = peer.prune_linear_out_channels if isinstance(target, nn.Linear) else peer.prune_conv_out_channels
        calls.append(partial(graph.get_pruning_group, target, kind, list(range(len(units), target.weight.shape[0]))))
    return calls


@barred({"forward of 256 rows, cut over dense": at_least(3)})
def forwards() -> Iterator[Row]:
    """64-512-512-10 less six units in ten beside the whole network, and beside the same one with masks."""
    net = models.mlp(DENSE, generator=seeded()).eval()
    edit = surgery.keep(surgery.graph(net, torch.zeros(1, 64)), {layer: torch.arange(205) for layer in ("0", "2")})
    small, masked = surgery.cut(net, edit), masks.apply_(copy.deepcopy(net), surgery.silence(edit))
    zeroed = masks.remove_(copy.deepcopy(masked))
    for size in (256, 1):
        x, many = torch.randn(size, 64, generator=seeded()), 20 if size > 1 else 200

        def forward(module: nn.Module, x: Tensor = x, many: int = many) -> Callable[[], None]:
            def run() -> None:
                with torch.inference_mode():
                    for _ in range(many):
                        module(x)

            return run

        what = f"forward of {size} row{'s' if size > 1 else ''}"
        yield compare(f"{what}, cut over dense", forward(small), forward(net), peer_name="dense", rounds=31)
        yield compare(f"{what}, zeros over dense", forward(zeroed), forward(net), peer_name="dense", rounds=31)
    with torch.no_grad():
        off = (small(x) - masked(x)).abs().max().item()
    yield measured("cut and masked network, largest difference in float32", off, better="lower")


@barred({"32 masks of 64-50-50-10": at_least(6)})
def masked_populations() -> Iterator[Row]:
    """Training steps with a mask of its own for each member, beside the same masked nets one after another."""
    split = data.digits(generator=seeded())
    for sizes in ((64, 50, 50, 10), (64, 128, 64, 10)):
        job = Job(members=32, num_epochs=1 if quick() else 2)
        name = f"32 masks of {'-'.join(map(str, sizes))}"
        build = partial(masked_net, sizes)
        state = population.init(build, optimizers.momentum(), job.settings, seeds=range(job.members))
        plan = population.Plan(job.num_epochs, job.batch_size, progress=False)
        yield compare(name, partial(population.carry_on, state, split, plan), tight(build, split, job),
                      peer_name="the same nets one after another, fused SGD", rounds=5)  # fmt: skip
        yield compare(f"{name}, beside zeros put back by hand", partial(population.carry_on, state, split, plan),
                      by_hand(sizes, split, job), peer_name="plain nets, multiplied by the mask after each step",
                      rounds=5)  # fmt: skip


def masked_net(sizes: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    net = models.mlp(sizes, generator=generator)
    every = {name: value for name, value in net.named_parameters() if value.ndim == 2}
    return masks.apply_(net, {k: torch.rand(v.shape, generator=generator) < 0.2 for k, v in every.items()})


def by_hand(sizes: tuple[int, ...], split: data.Split, job: Job) -> Callable[[], None]:
    """What is quickest for one network: train it plain, and put the zeros back after each step."""
    every = [masked_net(sizes, seeded(at)) for at in range(job.members)]
    held = [masks.masks_of(net) for net in every]
    nets, (x, y) = [masks.remove_(net) for net in every], split.train

    def run() -> None:
        for at, net in enumerate(nets):
            rates = {name: float(value[at]) for name, value in job.settings.items()}
            optimizer, generator = torch.optim.SGD(net.parameters(), fused=True, **rates), seeded(at)
            weights = [value for name, value in net.named_parameters() if name in held[at]]
            zeros = [mask.to(x.dtype) for mask in held[at].values()]
            for _ in range(job.num_epochs):
                for rows in torch.randperm(len(x), generator=generator).split(job.batch_size):
                    optimizer.zero_grad()
                    cross_entropy(net(x[rows]), y[rows]).backward()
                    optimizer.step()
                    with torch.no_grad():
                        torch._foreach_mul_(weights, zeros)

    return run


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
