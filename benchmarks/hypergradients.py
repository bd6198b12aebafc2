"""Hypergradients: what each method costs in time and memory, beside plain training and beside others.

A tanh net 64-50-50-50-10 on the digits, one log-L2 for each of its 214 input units, batches of 32, one thread. "Plain
loop" is training alone as one writes it in torch: a module, `backward`, torch.optim.SGD. A way back has its bar over
the way there of the same backend; beside it stands what the multiplications of matrices alone would make of it: the
fewest that the products need over those of a gradient. Memory is measured in fresh processes. The arbitrary-precision
buffer is one Python integer for each weight, as in the code of Maclaurin, Duvenaud & Adams (2015); all else is shared
with our reversible run.
"""

import json
import math
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from benchmarks.timing import HERE, Row, at_least, at_most, barred, cold, compare, measured, one_thread, quick, seconds
from labsupport import data, models
from labsupport import hypergradients as hg
from labsupport.hypergradients import backward, reversible
from labsupport.hypergradients.runs import Run

__all__ = ["rows"]

SIZES, BATCH, START = (64, 50, 50, 50, 10), 32, -6.0
METHODS = {
    "stored": hg.Stored(), "stored, bfloat16": hg.Stored(torch.bfloat16), "√T checkpoints": hg.SqrtCheckpoint(),
    "50 knots": hg.Knots(50), "reversible": hg.Reversible(), "DrMAD": hg.DrMAD(), "unrolled": hg.Unrolled(),
}  # fmt: skip


def rows() -> Iterator[Row]:
    with one_thread():
        yield from products()
        yield from ways_back()
        yield from wide()
        yield from kept()
        yield from big_integers()
        yield from peer()
        if not quick():
            yield from first_calls()


def made(num_steps: int, momentum: float = 0.1, *, dtype: torch.dtype = torch.float32, split: data.Split | None = None):
    """The problem, its hyperparameters and its net."""
    split = data.digits(generator=seeded(0)).flat().to(dtype) if split is None else split
    net = models.mlp((split.train[0].shape[1], *SIZES[1:]), activation="tanh", generator=seeded(1)).to(dtype)
    hyper = hg.unit_l2(net, start=START)

    def train_loss(weights, hyper, batch):
        return cross_entropy(functional_call(net, weights, (batch[0],)), batch[1]) + hg.log_l2(weights, hyper)

    def valid_loss(weights):
        return cross_entropy(functional_call(net, weights, (split.valid[0],)), split.valid[1])

    weights = {name: value.detach() for name, value in net.named_parameters()}
    batches = hg.minibatches(*split.train, BATCH, seed=2)
    lr = (0.3 if split.train[0].shape[1] == SIZES[0] else 0.03) * (1 - momentum)
    return hg.Problem(train_loss, valid_loss, weights, batches, num_steps, lr, momentum), hyper, net


@barred({
    "both products, eager, in eager gradients": at_most(2.5, "gradients"),
    "both products, compiled, in eager gradients": at_most(1.5, "gradients"),
})  # fmt: skip
def products() -> Iterator[Row]:
    """H u and the mixed term together, beside one gradient of the same loss."""
    problem, hyper, _ = made(10)
    runs = {backend: Run(problem, hyper, backend) for backend in ("eager", "compiled")}
    u = {name: value.clone() for name, value in problem.weights.items()}
    ratios = {name: [] for name in ("eager", "compiled", "both compiled")}
    for _ in range(3 if quick() else 9):
        one = each(lambda: runs["eager"].slope(problem.weights, 0))
        slow, fast = (each(lambda run=run: run.products(problem.weights, 0, u)) for run in runs.values())
        ratios["eager"].append(slow / one)
        ratios["compiled"].append(fast / one)
        ratios["both compiled"].append(fast / each(lambda: runs["compiled"].slope(problem.weights, 0)))
    beside = {"unit": "gradients", "better": "lower"}
    yield measured("both products, eager, in eager gradients", ratios["eager"], **beside)
    yield measured("both products, compiled, in eager gradients", ratios["compiled"], **beside)
    yield measured("both products, compiled, in compiled gradients", ratios["both compiled"], **beside)


WAYS = {("stored", "eager"): 3.0, ("stored", "compiled"): 1.5, ("√T checkpoints", "compiled"): 2.5,
        ("DrMAD", "eager"): 0.35, ("DrMAD", "compiled"): 0.15, ("reversible", "compiled"): None}  # fmt: skip
"""How long a way back may be, in ways there of the same backend."""
KEEPING = [f"keeping every weight, {backend}: forward over forward without" for backend in ("eager", "compiled")]


def over_forward(name: str, backend: str) -> str:
    return f"{name}, {backend}: back over {backend} forward"


@barred({over_forward(*way): at_most(bar, "share") for way, bar in WAYS.items() if bar}
        | {what: at_most(1.1, "share") for what in KEEPING})  # fmt: skip
def ways_back() -> Iterator[Row]:
    """The way back over the way there, and over the plain loop."""
    num_steps, rounds = (200, 3) if quick() else (500, 9)
    problem, hyper, net = made(num_steps)
    loop, share = plain_loop(problem, hyper, net), {"unit": "share", "better": "lower"}
    for method in (hg.Stored(), hg.SqrtCheckpoint(), hg.Reversible()):  # compiles what the rounds below use
        hg.hypergradient(problem, hyper, method, backend="compiled")
    for name, backend in WAYS:
        found, own, training = [], [], []
        for _ in range(rounds):
            training.append(seconds(loop))
            result = hg.hypergradient(problem, hyper, METHODS[name], backend=backend, limit=math.inf)
            found.append(result.reverse_seconds)
            own.append(result.forward_seconds)
        yield measured(over_forward(name, backend), [a / b for a, b in zip(found, own)],
                       peer=multiplications(problem, name), peer_name="multiplications alone", **share)  # fmt: skip
        if backend == "compiled":
            over = [a / b for a, b in zip(found, training)]
            yield measured(f"{name}, compiled: back over the plain loop, which is eager", over, **share)
    for backend, what in zip(("eager", "compiled"), KEEPING):
        run = Run(problem, hyper, backend)
        tapes = lambda: hg.hypergradient(problem, hyper, hg.Stored(), backend=backend).forward_seconds  # noqa: B023, E731
        yield measured(what, [tapes() / seconds(lambda run=run: backward.descend(run)) for _ in range(rounds)], **share)


def multiplications(problem: hg.Problem, name: str) -> float:
    """Those of the way back over those of the way there.

    In a layer a gradient takes three (forward, by the weights, by the inputs), H u eight: forward, two along u, by the
    inputs, and two along u for both the inputs and the weights. In the first layer, whose inputs do not move, it is two
    and three. What runs again on the way back takes three more (two), as reversing and √T checkpoints do.
    """
    first, *rest = (value.numel() for key, value in problem.weights.items() if key.endswith("weight"))
    gradient, both = 2 * first + 3 * sum(rest), 3 * first + 8 * sum(rest)
    again = gradient if name in ("reversible", "√T checkpoints") else 0
    return (both + again) / gradient / (10 if name == "DrMAD" else 1)


WIDE = [f"934 coefficients, DrMAD, {backend}: a meta-step, beside training" for backend in ("eager", "compiled")]


@barred({what: at_least(0.5) for what in WIDE})
def wide() -> Iterator[Row]:
    """934 coefficients on 28×28 characters, T = 2000: a meta-step with DrMAD beside training alone."""
    split = data.glyphs("digits", sizes=(600, 200, 10), generator=seeded(0)).flat()
    problem, hyper, net = made(200 if quick() else 2000, split=split)
    loop = plain_loop(problem, hyper, net)
    for backend, what in zip(("eager", "compiled"), WIDE):
        yield compare(what, lambda b=backend: hg.hypergradient(problem, hyper, hg.DrMAD(), backend=b), loop,
                      peer_name="plain loop", rounds=3)  # fmt: skip


@barred({
    "DrMAD: copies kept": at_most(2, "copies"),
    "stored over DrMAD: bytes kept over T / 2": at_least(1),
    "√T checkpoints: copies kept over √T": at_most(3.1, "√T"),
    "reversible, ρ 0.1: bytes over the formula": at_most(1.1, "share"),
    "reversible, ρ 0.9: bytes over the formula": at_most(1.1, "share"),
})  # fmt: skip
def kept() -> Iterator[Row]:
    """Bytes that a method keeps, and by how much a fresh process grows."""
    num_steps = 200 if quick() else 2000
    found = {key: fresh(*key, num_steps) for key in [
        ("stored", 0.1), ("stored, bfloat16", 0.1), ("√T checkpoints", 0.1), ("50 knots", 0.1), ("DrMAD", 0.1),
        ("reversible", 0.1), ("reversible", 0.9),
    ]}  # fmt: skip
    size = found["stored", 0.1]["size"]
    numel, lower = size / 8, {"better": "lower"}
    for (name, rho), what in found.items():
        yield measured(f"{name}, ρ {rho}, T {num_steps}: growth of the process", what["grown"] / 2**20, unit="MB")
    drmad, stored = found["DrMAD", 0.1]["kept"], found["stored", 0.1]["kept"]
    yield measured("DrMAD: copies kept", drmad / size, unit="copies", **lower)
    yield measured("stored over DrMAD: bytes kept over T / 2", stored / drmad / (num_steps / 2), unit="×")
    roots = found["√T checkpoints", 0.1]["kept"] / size / num_steps**0.5
    yield measured("√T checkpoints: copies kept over √T", roots, unit="√T", **lower)
    for momentum in (0.1, 0.9):
        formula = math.log2(1 / momentum) / 8 * num_steps * numel + 24 * numel
        share = found["reversible", momentum]["kept"] / formula
        yield measured(f"reversible, ρ {momentum}: bytes over the formula", share, unit="share", **lower)


@barred({
    "big integers: difference from our reversible run": at_most(0.0, ""),
    "DrMAD's way back, T 2000: times faster than big integers'": at_least(45),
})  # fmt: skip
def big_integers() -> Iterator[Row]:
    """DrMAD beside a reversible run whose buffer is one big integer for each weight."""
    num_steps = 100 if quick() else 2000
    problem, hyper, _ = made(num_steps, 0.1)
    ours = [hg.hypergradient(problem, hyper, hg.DrMAD()) for _ in range(3)]
    fast = hg.hypergradient(problem, hyper, hg.Reversible())
    run = Run(problem, hyper, "eager")
    tape = BigIntegers(run)
    slow = backward.along(tape, run, train=tape.train)
    same = max(float((slow.grad[k] - v).abs().max()) for k, v in fast.grad.items())
    back = sorted(each.reverse_seconds for each in ours)[1]
    whole = sorted(each.reverse_seconds + each.forward_seconds for each in ours)[1]
    yield measured("big integers: difference from our reversible run", same, better="lower")
    yield measured(f"DrMAD's way back, T {num_steps}: times faster than big integers'", slow.reverse_seconds / back,
                   unit="×")  # fmt: skip
    yield measured("DrMAD's way back: times faster than our reversible one's", fast.reverse_seconds / back, unit="×")
    for name, other in (("big integers", slow), ("our reversible run", fast)):
        ratio = (other.forward_seconds + other.reverse_seconds) / whole
        yield measured(f"DrMAD with its training: times faster than {name}", ratio, unit="×")


class BigIntegers(reversible._Rewinding):
    """Training backwards with one Python integer of any length for each weight."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.buffer = np.zeros(len(self.weights), dtype=object)

    def _damp(self, step: int) -> None:
        self._move_digit(self.bottom, self.top)

    def _undamp(self, step: int) -> None:
        self._move_digit(self.top, self.bottom)

    def _move_digit(self, out: int, into: int) -> None:
        velocity = self.velocity.numpy()
        self.buffer *= out
        self.buffer += velocity % out
        self.velocity = torch.from_numpy(velocity // out * into + (self.buffer % into).astype(np.int64))
        self.buffer //= into


@barred({
    "torchopt: largest relative difference": at_most(1e-8, "relative"),
    "torchopt: stored, compiled": at_least(1),
    "torchopt: √T checkpoints, compiled": at_least(1),
    "torchopt's growth over that of stored": at_least(1),
})  # fmt: skip
def peer() -> Iterator[Row]:
    """torchopt's differentiable optimizer: everything in one graph."""
    if find_spec("torchopt") is None:
        raise ModuleNotFoundError("torchopt is not installed")
    num_steps = 50 if quick() else 200
    problem, hyper, net = made(num_steps, 0.9, dtype=torch.float64)
    truth = torchopt_hypergradient(problem, hyper, net)
    ours = hg.hypergradient(problem, hyper, hg.Stored()).grad
    away = max(float((ours[k] - v).abs().max() / v.abs().max()) for k, v in truth.items())
    yield measured("torchopt: largest relative difference", away, unit="relative", better="lower")
    # eagerly, what keeps weights alone makes each forward pass twice; what keeps the graph does not
    for name, backend in (("unrolled", "eager"), ("stored", "eager"), ("stored", "compiled"),
                          ("√T checkpoints", "compiled")):  # fmt: skip
        yield compare(f"torchopt: {name}, {backend}", meta_step(problem, hyper, name, backend),
                      lambda: torchopt_hypergradient(problem, hyper, net), peer_name=f"torchopt, T {num_steps}",
                      rounds=5)  # fmt: skip
    mine, theirs = (fresh(name, 0.9, 200)["grown"] / 2**20 for name in ("stored", "torchopt"))
    yield measured("torchopt, T 200: growth of the process", theirs, unit="MB")
    yield measured("torchopt's growth over that of stored", theirs / mine, unit="×")


def first_calls() -> Iterator[Row]:
    """The first meta-step in a fresh process. Without bar: compiling takes seconds, which long runs earn back."""
    if find_spec("torchopt") is not None:
        yield cold("first meta-step, stored, eager", "first('stored', 'eager')", "first('torchopt', 'eager')",
                   topic="hypergradients", peer_name="torchopt, T 200")  # fmt: skip
        yield cold("first meta-step, stored, compiled", "first('stored', 'compiled')", "first('torchopt', 'eager')",
                   topic="hypergradients", peer_name="torchopt, T 200")  # fmt: skip


def first(name: str, backend: str) -> Callable:
    problem, hyper, net = made(200, 0.9, dtype=torch.float64)
    if name == "torchopt":
        return lambda: torchopt_hypergradient(problem, hyper, net)
    return meta_step(problem, hyper, name, backend)


def meta_step(problem: hg.Problem, hyper: dict, name: str, backend: str) -> Callable:
    return lambda: hg.hypergradient(problem, hyper, METHODS[name], backend=backend)


def torchopt_hypergradient(problem: hg.Problem, hyper: dict, net: torch.nn.Module) -> dict:
    import torchopt

    by = {name: value.clone().requires_grad_() for name, value in hyper.items()}
    state = torchopt.extract_state_dict(net)
    optimizer = torchopt.MetaSGD(net, lr=problem.lr, momentum=problem.momentum)
    for step in range(problem.num_steps):
        x, y = problem.batches(step)
        optimizer.step(cross_entropy(net(x), y) + hg.log_l2(dict(net.named_parameters()), by))
    loss = problem.valid_loss(dict(net.named_parameters()))
    found = dict(zip(by, torch.autograd.grad(loss, list(by.values())), strict=True))
    torchopt.recover_state_dict(net, state)
    return found


def plain_loop(problem: hg.Problem, hyper: dict, net: torch.nn.Module) -> Callable[[], None]:
    """Training alone, as one writes it."""

    def run() -> None:
        net.load_state_dict(problem.weights)
        optimizer = torch.optim.SGD(net.parameters(), lr=problem.lr, momentum=problem.momentum, fused=True)
        matrices = {name: value for name, value in net.named_parameters() if name in hyper}
        for step in range(problem.num_steps):
            x, y = problem.batches(step)
            optimizer.zero_grad()
            (cross_entropy(net(x), y) + hg.log_l2(matrices, hyper)).backward()
            optimizer.step()

    return run


def each(call: Callable[[], object], times: int = 100) -> float:
    call(), call(), call()
    return seconds(lambda: [call() for _ in range(times)]) / times


def fresh(name: str, momentum: float, num_steps: int) -> dict:
    """A method in a process of its own, in float64."""
    command = [sys.executable, "-m", "benchmarks.hypergradients", name, str(momentum), str(num_steps)]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def in_this_process(name: str, momentum: float, num_steps: int) -> dict:
    torch.set_num_threads(1)
    problem, hyper, net = made(num_steps, momentum, dtype=torch.float64)
    short, *_ = made(min(60, num_steps), momentum, dtype=torch.float64)
    method = METHODS.get(name)

    def go(problem: hg.Problem) -> int:
        if method is None:
            return len(torchopt_hypergradient(problem, hyper, net))
        return hg.hypergradient(problem, hyper, method, limit=math.inf).stored_bytes

    go(short)  # what loading and a first run take is not counted
    before = highest()
    kept = go(problem)
    return {"kept": kept, "grown": highest() - before, "size": sum(value.nbytes for value in problem.weights.values())}


def highest() -> int:
    """Bytes that this process held at most. Linux's ru_maxrss begins with those of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


if __name__ == "__main__":
    print(json.dumps(in_this_process(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))))
