"""One update of 64 small networks at once beside torch's optimizers; and one network through the adapter.

Gradients are given: what is timed is the update alone. Networks are 64-50-50-10 unless a row says otherwise, float32,
one thread. The parameters of all members lie end to end, as `population` lays them.

Where every member has a rate of its own, torch needs 64 optimizers. Where all settings are equal, one optimizer of
torch over the stacked tensors (64, …) does the same. Of torch's `foreach` and `fused` the peer is the faster one, and
of our two ways, compiled and `as_torch` over the stacked tensors, ours is; both are found in the same run.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_map

from benchmarks.timing import Row, at_least, barred, cold, compare, one_thread, quick, seconds
from labsupport import models, optimizers
from labsupport.population.updates import Layout, update

__all__ = ["rows"]

MEMBERS = 64
SMALL, MIDDLE, LARGE = (64, 50, 50, 10), (784, 300, 100, 10), (64, 1024, 1024, 10)
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
QUICK = ("sgd", "adam")  # each rule takes seconds to compile
OWN = {name: f"64 members, own rates, {name}" for name in RULES}
EQUAL = {name: f"64 members, equal settings, {name}" for name in RULES}
DRESSED = {(name, sizes): f"adapter, {name}, {'-'.join(map(str, sizes))}"
           for sizes in (SMALL, MIDDLE, LARGE) for name in ("sgd", "momentum", "adam")}  # fmt: skip


def rows() -> Iterator[Row]:
    with one_thread():
        yield from own_rates()
        yield from equal_settings()
        yield from adapter()
        if not quick():
            yield from first_calls()


@barred({what: at_least(10) for what in OWN.values()})
def own_rates() -> Iterator[Row]:
    """Members with rates of their own beside an optimizer of torch for each."""
    for name in QUICK if quick() else RULES:
        peer, how = faster({way: one_by_one(name, **{way: True}) for way in ways(name)})
        yield compare(OWN[name], together(name), peer, peer_name=f"64 × torch, {how}", rounds=11)
        yield compare(f"{OWN[name]}, eager", together(name, compiled=False), peer, peer_name=f"64 × torch, {how}")


@barred({what: at_least(0.9) for what in EQUAL.values()})
def equal_settings() -> Iterator[Row]:
    """Members with equal settings beside one optimizer of torch over the stacked tensors."""
    for name in QUICK if quick() else RULES:
        peer, how = faster({way: stacked(name, **{way: True}) for way in ways(name)})
        ours, own = faster({"compiled": together(name, equal=True, repeats=200), "as_torch": stacked(name)})
        yield compare(EQUAL[name], ours, peer, peer_name=f"1 × torch, {how}; ours: {own}", rounds=21)


@barred({what: at_least(1 / 1.5) for what in DRESSED.values()})
def adapter() -> Iterator[Row]:
    """One network's optimizer by `as_torch` beside torch's own."""
    for (name, sizes), what in DRESSED.items():
        repeats = 300 if sizes == SMALL else 100
        yield compare(what, dressed(name, sizes, repeats), alone(name, sizes, repeats), peer_name="foreach", rounds=15)


def first_calls() -> Iterator[Row]:
    """The first update in a fresh process. Without bar: compiling takes seconds, which long runs earn back."""
    yield cold("first update, 64 members, own rates, adam", "together('adam', repeats=1)",
               "one_by_one('adam', repeats=1, foreach=True)", topic="optimizers", peer_name="64 × torch, foreach")
    yield cold("first update, adapter, adam, 64-50-50-10", "dressed('adam', SMALL, 1)", "alone('adam', SMALL, 1)",
               topic="optimizers", peer_name="foreach")  # fmt: skip


def together(name: str, *, equal: bool = False, compiled: bool = True, repeats: int = 20) -> Callable:
    """Updates of all members, each with its own rate or all with one; compiled, in place."""
    rule, settings, _ = RULES[name]
    params, grads = (dict(zip("abcdef", values)) for values in drawn(2))
    laid = Layout(rule, params)
    params, grads = laid.joined(params), laid.joined(grads)
    numbers = dict(rule.defaults) | settings
    state = rule.init(params)
    if not equal:
        numbers["lr"] = torch.full((MEMBERS,), settings["lr"])
        state = tree_map(torch.clone, vmap(rule.init)(params)) if state else {}
    turn = update_equal if equal else update

    def step(params: dict, state: dict, grads: dict, numbers: dict) -> tuple:
        moved = turn(rule, grads, state, params, numbers)
        return tree_map(Tensor.copy_, (params, state), moved) if compiled else moved

    torch.compiler.reset()  # else every call first asks whether an earlier rule's program fits
    call = torch.compile(step, dynamic=False, fullgraph=True) if compiled else step

    @torch.no_grad()
    def run() -> None:
        nonlocal params, state
        for _ in range(repeats):
            params, state = call(params, state, grads, numbers)

    return run


def update_equal(rule: optimizers.Optimizer, grads: dict, state: dict, params: dict, numbers: dict) -> tuple:
    """A rule that looks at single entries needs no members."""
    return rule.update(grads, state, params, numbers)


def one_by_one(name: str, *, repeats: int = 20, **how: bool) -> Callable:
    """The same number of updates by an optimizer of torch for each network."""
    steps = [RULES[name][2](_ready(_net(SMALL, seed)).parameters(), **how).step for seed in range(MEMBERS)]

    def run() -> None:
        for _ in range(repeats):
            for step in steps:
                step()

    return run


def stacked(name: str, *, repeats: int = 200, **how: bool) -> Callable:
    """One optimizer over the stacked tensors of all members: torch's in that way, or ours in torch's dress."""
    rule, settings, peer = RULES[name]
    values, slopes = drawn(2)
    for value, slope in zip(values, slopes):
        value.requires_grad_().grad = slope
    return _repeated((peer(values, **how) if how else optimizers.as_torch(rule, values, settings)).step, repeats)


def dressed(name: str, sizes: tuple[int, ...], repeats: int) -> Callable:
    rule, settings, _ = RULES[name]
    return _repeated(optimizers.as_torch(rule, _ready(_net(sizes)).parameters(), settings).step, repeats)


def alone(name: str, sizes: tuple[int, ...], repeats: int) -> Callable:
    return _repeated(RULES[name][2](_ready(_net(sizes)).parameters(), foreach=True).step, repeats)


def ways(name: str) -> tuple[str, ...]:
    return ("foreach", "fused") if name in FUSED else ("foreach",)


def faster(candidates: dict[str, Callable]) -> tuple[Callable, str]:
    """The fastest of several, warm and in turn, and its name."""
    for run in candidates.values():
        run()
    taken = {how: [] for how in candidates}
    for _ in range(5):
        for how, run in candidates.items():
            taken[how].append(seconds(run))
    how = min(taken, key=lambda each: sorted(taken[each])[2])
    return candidates[how], how


def drawn(number: int) -> Iterator[list[Tensor]]:
    """Numbers in the shapes of all members' parameters, that many times."""
    draw = torch.Generator().manual_seed(0)
    shapes = [(MEMBERS, *value.shape) for value in _net(SMALL).parameters()]
    return ([torch.randn(shape, generator=draw) for shape in shapes] for _ in range(number))


def _repeated(step: Callable, repeats: int) -> Callable:
    return lambda: [step() for _ in range(repeats)]


def _net(sizes: tuple[int, ...], seed: int = 0) -> nn.Module:
    return models.mlp(sizes, generator=torch.Generator().manual_seed(seed))


def _ready(net: nn.Module) -> nn.Module:
    for value in net.parameters():
        value.grad = torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
    return net
