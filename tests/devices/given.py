"""What the device tables share: their entries, and inputs that lie on a device."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from labsupport import data, hypergradients, optimizers, population

Call = Callable[[str], Any]


@dataclass(frozen=True)
class Entry:
    """What the table says of one function: `meta` on meta tensors, or why not; `gpu` on an accelerator."""

    meta: Call | None
    because: str
    gpu: Call | None


def runs(call: Call) -> Entry:
    return Entry(call, "", call)


def cannot(because: str, *, gpu: Call | None = None) -> Entry:
    return Entry(None, because, gpu)


def seeded(device="cpu"):
    return torch.Generator(device).manual_seed(0)


def floats(device, *shape):
    return torch.ones(shape, device=device)


def labels(device, n=6):
    return torch.zeros(n, dtype=torch.int64, device=device)


def split(device):
    part = (floats(device, 6, 4), labels(device))
    return data.Split(part, part, part, ("a", "b"))


def plain(device):
    """Two members of a small ReLU network."""

    def build(generator):
        return nn.Sequential(nn.Linear(4, 3, device=device), nn.ReLU(), nn.Linear(3, 2, device=device))

    return population.init(build, optimizers.sgd(), {"lr": torch.tensor([0.1, 0.2])}, seeds=[0, 1])


def planned(**options):
    return population.Plan(**{"num_epochs": 2, "batch_size": 4, "progress": False, "backend": "eager"} | options)


def sampled(device):
    """Two samples of six examples."""
    return data.partitions((floats(device, 6, 4), labels(device)), num_train=3, num_valid=2, num_test=1, seeds=[0, 1])


def on_batch(function, **options):
    """A function of members and a batch, its generator, if any, on the CPU: it must follow the members."""
    options |= {"generator": seeded()} if "generator" in inspect.signature(function).parameters else {}
    return lambda d: function(plain(d), floats(d, 6, 4), labels(d), loss=nn.functional.cross_entropy, **options)


def born(make):
    """What a generator on an accelerator makes lies there."""
    return cannot("it draws from a generator, and a meta generator does not exist", gpu=lambda d: make(seeded(d)))


def words(device):
    """Keys of three members."""
    return torch.arange(6, dtype=torch.int32, device=device).view(3, 2)


def learnable(device):
    """Training a small network for six steps, and a coefficient for each of its input units."""
    net = nn.Linear(4, 2, device=device)
    problem = hypergradients.Problem(
        lambda w, h, batch: torch.func.functional_call(net, w, (batch,)).square().mean() + hypergradients.log_l2(w, h),
        lambda w: w["weight"].square().sum(),
        dict(net.named_parameters()), lambda step: floats(device, 3, 4), 6, lr=0.1, momentum=0.5,
    )  # fmt: skip
    return problem, hypergradients.unit_l2(net, start=-1.0)


def meta(device):
    problem, hyper = learnable(device)
    plan = hypergradients.MetaPlan(2, 0.1)
    learnt = hypergradients.meta_optimize(lambda at: problem, hyper, hypergradients.Stored(), plan)
    return learnt.hyper, learnt.history

HERE = "it draws integers on the CPU, and whoever needs them moves them"
NO_TENSOR = "it takes and returns no tensor"
VALUES = "it needs the values of its tensors, and meta tensors have none"
