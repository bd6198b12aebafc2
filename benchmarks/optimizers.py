"""One update of 64 small networks at once beside 64 optimizers of torch; and one network through the adapter.

Gradients are given: what is timed is the update alone. Networks are 64-50-50-10 unless a row says otherwise, float32,
one thread. "Better of both" is, of torch's `foreach` and `fused`, the faster for that rule, found in the same run.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_map

from benchmarks.frame import Row, compare, quick, seconds
from labsupport import models, optimizers

MEMBERS = 64
SMALL = (64, 50, 50, 10)
T = torch.optim
RULES = {
    "sgd": (optimizers.sgd(), {"lr": 1e-3}, partial(T.SGD, lr=1e-3)),
    "momentum": (optimizers.momentum(), {"lr": 1e-3}, partial(T.SGD, lr=1e-3, momentum=0.9)),
    "adam": (optimizers.adam(), {"lr": 1e-4}, partial(T.Adam, lr=1e-4)),
    "adamw": (optimizers.adamw(), {"lr": 1e-4}, partial(T.AdamW, lr=1e-4)),
    "rmsprop": (optimizers.rmsprop(), {"lr": 1e-4}, partial(T.RMSprop, lr=1e-4)),
    "adagrad": (optimizers.adagrad(), {"lr": 1e-4}, partial(T.Adagrad, lr=1e-4)),
}
FUSED = ("sgd", "momentum", "adam", "adamw", "adagrad")  # torch has no fused RMSprop


def rows() -> Iterator[Row]:
    torch.set_num_threads(1)
    for name in RULES:
        peer, how = _better(name)
        yield compare(f"64 members, {name}, compiled", together(name, compiled=True), peer, bar=10, peer_name=how)
        yield compare(f"64 members, {name}, eager", together(name, compiled=False), peer, peer_name=how)
    for name in ("sgd", "momentum", "adam"):
        yield compare(f"adapter, {name}", dressed(name, SMALL), alone(name, SMALL), bar=1 / 1.5, peer_name="foreach")
    if not quick():
        for sizes in ((784, 300, 100, 10), (64, 1024, 1024, 10)):
            for name in ("sgd", "momentum", "adam"):
                text = f"adapter, {name}, {'-'.join(map(str, sizes))}"
                yield compare(text, dressed(name, sizes, 20), alone(name, sizes, 20), peer_name="foreach")


def together(name: str, *, compiled: bool, repeats: int = 20) -> Callable:
    """Updates of all members, each with its own rate; compiled, they change parameters and state in place."""
    rule, settings, _ = RULES[name]
    draw = torch.Generator().manual_seed(0)
    shapes = {key: value.shape for key, value in _net(SMALL).named_parameters()}
    params, grads = ({k: torch.randn(MEMBERS, *s, generator=draw) for k, s in shapes.items()} for _ in range(2))
    state = tree_map(torch.clone, vmap(rule.init)(params)) if rule.init(params) else {}
    rates, rest = torch.full((MEMBERS,), settings["lr"]), dict(rule.defaults)

    def step(params: dict, state: dict, grads: dict, rates: Tensor) -> tuple:
        moved = vmap(lambda g, s, p, lr: rule.update(g, s, p, rest | {"lr": lr}))(grads, state, params, rates)
        return tree_map(Tensor.copy_, (params, state), moved) if compiled else moved

    call = torch.compile(step, dynamic=False, fullgraph=True) if compiled else step

    @torch.no_grad()
    def run() -> None:
        nonlocal params, state
        for _ in range(repeats):
            params, state = call(params, state, grads, rates)

    return run


def one_by_one(name: str, *, repeats: int = 20, **how: bool) -> Callable:
    """The same number of updates by an optimizer of torch for each network."""
    steps = [RULES[name][2](_ready(_net(SMALL, seed)).parameters(), **how).step for seed in range(MEMBERS)]

    def run() -> None:
        for _ in range(repeats):
            for step in steps:
                step()

    return run


def dressed(name: str, sizes: tuple[int, ...], repeats: int = 300) -> Callable:
    rule, settings, _ = RULES[name]
    return _repeated(optimizers.as_torch(rule, _ready(_net(sizes)).parameters(), settings).step, repeats)


def alone(name: str, sizes: tuple[int, ...], repeats: int = 300) -> Callable:
    return _repeated(RULES[name][2](_ready(_net(sizes)).parameters(), foreach=True).step, repeats)


def _better(name: str) -> tuple[Callable, str]:
    """The faster of torch's two ways."""
    ways = {"foreach": one_by_one(name, foreach=True)}
    if name in FUSED:
        ways["fused"] = one_by_one(name, fused=True)
    taken = {how: min(seconds(run) for _ in range(4)) for how, run in ways.items()}
    how = min(taken, key=taken.get)
    return ways[how], f"64 × torch, {how}"


def _repeated(step: Callable, repeats: int) -> Callable:
    return lambda: [step() for _ in range(repeats)]


def _net(sizes: tuple[int, ...], seed: int = 0) -> nn.Module:
    return models.mlp(sizes, generator=torch.Generator().manual_seed(seed))


def _ready(net: nn.Module) -> nn.Module:
    for value in net.parameters():
        value.grad = torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
    return net
