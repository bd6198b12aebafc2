"""What torch alone offers for the job of population.py: a tight loop, a DataLoader loop, and `torch.func`.

All give every member its start, orders, rate and momentum, validate after every epoch and return those scores. Making
the networks lies outside what is timed. Nobody here watches divergence, as nobody does who writes such a loop.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from labsupport import data

__all__ = ["Job", "functional", "loader", "tight"]

RULES = {
    "momentum": (torch.optim.SGD, {"lr": (0.03, 0.07), "momentum": (0.95, 0.85)}),
    "adam": (torch.optim.Adam, {"lr": (0.001, 0.003)}),
}
Run = Callable[[], Tensor]


@dataclass(frozen=True)
class Job:
    """What is to be done: how many members are trained by which rule, a key of `RULES`, for how long."""

    members: int = 64
    rule: str = "momentum"
    num_epochs: int = 4
    batch_size: int = 32

    @property
    def settings(self) -> dict[str, Tensor]:
        """Name -> (members,): each has a rate and a momentum of its own."""
        return {name: torch.linspace(*ends, self.members) for name, ends in RULES[self.rule][1].items()}


def tight(build: Callable, split: data.Split, job: Job) -> Run:
    """One after another by torch's fused optimizer over ready tensors: scores (members, epochs, 2), loss and error."""
    x, y = split.train

    def batches(generator: torch.Generator) -> Iterator:
        return ((x[rows], y[rows]) for rows in _order(len(x), job, generator))

    return _sequential(build, split, job, batches)


def loader(build: Callable, split: data.Split, job: Job) -> Run:
    """As `tight`, over a DataLoader."""
    dataset = TensorDataset(*split.train)

    def batches(generator: torch.Generator) -> Iterator:
        return iter(DataLoader(dataset, job.batch_size, shuffle=True, drop_last=True, generator=generator))

    return _sequential(build, split, job, batches)


def functional(build: Callable, split: data.Split, job: Job) -> Run:
    """All at once as torch's tutorial on ensembles has it, momentum in plain operations: scores as those of `tight`."""
    if job.rule != "momentum":
        raise ValueError(f"functional: rule must be 'momentum', got {job.rule!r}")
    (x, y), nets, generators = split.train, _nets(build, split, job), _generators(job)
    params, buffers = stack_module_state(nets)
    params = {name: value.detach() for name, value in params.items()}
    slots = {name: torch.zeros_like(value) for name, value in params.items()}
    base = copy.deepcopy(nets[0]).to("meta")
    settings = {name: value.to(x.device) for name, value in job.settings.items()}
    rates = {k: [v.view(-1, *[1] * (p.ndim - 1)) for p in params.values()] for k, v in settings.items()}

    def output(params: dict, buffers: dict, x: Tensor) -> Tensor:
        return functional_call(base, (params, buffers), (x,))

    slopes = vmap(grad_and_value(lambda params, buffers, x, y: cross_entropy(output(params, buffers, x), y)))

    def update(rows: Tensor) -> Tensor:
        grads, losses = slopes(params, buffers, x[rows], y[rows])
        for name, lr, rho in zip(params, rates["lr"], rates["momentum"], strict=True):
            slots[name].mul_(rho).add_(grads[name])
            params[name].sub_(lr * slots[name])
        return losses

    def run() -> Tensor:
        scores = []
        for _ in range(job.num_epochs):
            orders = torch.stack([torch.stack(_order(len(x), job, generator)) for generator in generators], 1)
            losses = [update(rows) for rows in orders.to(x.device)]
            scores.append(_scores(vmap(output, (0, 0, None))(params, buffers, split.valid[0]), split.valid[1]))
        torch.stack(losses).tolist()  # the curve, as seen by a user
        return torch.stack(scores, 1).cpu()

    return torch.no_grad()(run)


def _sequential(build: Callable, split: data.Split, job: Job, batches: Callable) -> Run:
    kind = RULES[job.rule][0]
    rates = [{name: float(value[at]) for name, value in job.settings.items()} for at in range(job.members)]
    nets = _nets(build, split, job)
    own = [(net, kind(net.parameters(), fused=True, **rate)) for net, rate in zip(nets, rates, strict=True)]
    generators = _generators(job)

    def run() -> Tensor:
        scores = []
        for (net, optimizer), generator in zip(own, generators, strict=True):
            for _ in range(job.num_epochs):
                net.train()
                for x, y in batches(generator):
                    optimizer.zero_grad()
                    cross_entropy(net(x), y).backward()
                    optimizer.step()
                net.eval()
                with torch.no_grad():
                    scores.append(_scores(net(split.valid[0])[None], split.valid[1])[0].tolist())
        return torch.tensor(scores).view(job.members, job.num_epochs, 2)

    return run


def _scores(said: Tensor, y: Tensor) -> Tensor:
    """(members, 2): mean loss and share of errors of outputs (members, n, classes)."""
    losses = cross_entropy(said.flatten(0, 1), y.repeat(len(said)), reduction="none").view(len(said), -1)
    return torch.stack([losses.mean(1), (said.argmax(2) != y).float().mean(1)], 1)


def _order(n: int, job: Job, generator: torch.Generator) -> tuple[Tensor, ...]:
    """An epoch's full batches, as rows."""
    return torch.randperm(n, generator=generator)[: n // job.batch_size * job.batch_size].split(job.batch_size)


def _nets(build: Callable, split: data.Split, job: Job) -> list[nn.Module]:
    return [build(torch.Generator().manual_seed(at)).to(split.train[0].device) for at in range(job.members)]


def _generators(job: Job) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(at) for at in range(job.members)]
