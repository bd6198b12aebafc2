"""Hypergradients: what each method costs in time and memory, beside plain training and beside others.

A tanh net 64-50-50-50-10 on the digits, one log-L2 for each of its 214 input units, batches of 32, one thread. "Plain
loop" is training alone as one writes it in torch: a module, `backward`, torch.optim.SGD. Memory is measured in fresh
processes. The arbitrary-precision buffer is one Python integer for each weight, as in the code of Maclaurin, Duvenaud
& Adams (2015); all else is shared with our reversible run.
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

from benchmarks.frame import HERE, Row, compare, measured, quick, seconds
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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from products()
        yield from ways_back()
        yield from wide()
        yield from kept()
        yield from big_integers()
        yield from peer()
    finally:
        torch.set_num_threads(threads)


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
    yield measured("both products, eager, in eager gradients", ratios["eager"], bar=2.5, **beside)
    yield measured("both products, compiled, in eager gradients", ratios["compiled"], bar=1.5, **beside)
    yield measured("both products, compiled, in compiled gradients", ratios["both compiled"], **beside)


def ways_back() -> Iterator[Row]:
    """The way back over the way there, and over the plain loop."""
    num_steps, rounds = (200, 3) if quick() else (500, 5)
    problem, hyper, net = made(num_steps)
    loop, share = plain_loop(problem, hyper, net), {"unit": "share", "better": "lower"}
    for method in (hg.Stored(), hg.SqrtCheckpoint(), hg.Reversible()):  # compiles what the rounds below use
        hg.hypergradient(problem, hyper, method, backend="compiled")
    bars = {("stored", "eager"): 3.0, ("stored", "compiled"): 1.5, ("√T checkpoints", "compiled"): 2.5,
            ("DrMAD", "eager"): 0.35, ("DrMAD", "compiled"): 0.15, ("reversible", "compiled"): None}  # fmt: skip
    for (name, backend), bar in bars.items():
        found, own, training = [], [], []
        for _ in range(rounds):
            training.append(seconds(loop))
            result = hg.hypergradient(problem, hyper, METHODS[name], backend=backend, limit=math.inf)
            found.append(result.reverse_seconds)
            own.append(result.forward_seconds)
        beside = [a / b for a, b in zip(found, own)]
        if backend == "eager":
            yield measured(f"{name}, eager: back over forward", beside, bar=bar, **share)
            continue
        over = [a / b for a, b in zip(found, training)]
        yield measured(f"{name}, compiled: back over the plain loop", over, bar=bar, **share)
        yield measured(f"{name}, compiled: back over compiled forward", beside, **share)
    for backend in ("eager", "compiled"):
        run = Run(problem, hyper, backend)
        tapes = lambda: hg.hypergradient(problem, hyper, hg.Stored(), backend=backend).forward_seconds  # noqa: B023, E731
        over = [tapes() / seconds(lambda run=run: backward.descend(run)) for _ in range(rounds)]
        yield measured(f"keeping every weight, {backend}: forward over forward without", over, bar=1.1, **share)


def wide() -> Iterator[Row]:
    """934 coefficients on 28×28 characters, T = 2000: a meta-step with DrMAD beside training alone."""
    split = data.glyphs("digits", sizes=(600, 200, 10), generator=seeded(0)).flat()
    problem, hyper, net = made(200 if quick() else 2000, split=split)
    loop = plain_loop(problem, hyper, net)
    for backend in ("eager", "compiled"):
        yield compare(
            f"934 coefficients, DrMAD, {backend}: a meta-step, beside training",
            lambda b=backend: hg.hypergradient(problem, hyper, hg.DrMAD(), backend=b),
            loop, bar=0.5, peer_name="plain loop", rounds=3,
        )  # fmt: skip


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
    yield measured(f"DrMAD, T {num_steps}: copies kept", drmad / size, bar=2, unit="copies", **lower)
    yield measured("stored over DrMAD, bytes kept", stored / drmad, bar=num_steps / 2, unit="×")
    roots = found["√T checkpoints", 0.1]["kept"] / size / num_steps**0.5
    yield measured("√T checkpoints: copies kept over √T", roots, bar=3.1, unit="√T", **lower)
    for momentum in (0.1, 0.9):
        formula = math.log2(1 / momentum) / 8 * num_steps * numel + 24 * numel
        share = found["reversible", momentum]["kept"] / formula
        yield measured(f"reversible, ρ {momentum}: bytes over the formula", share, bar=1.1, unit="share", **lower)


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
    yield measured("big integers: difference from our reversible run", same, bar=0.0, better="lower")
    yield measured(f"DrMAD's way back, T {num_steps}: times faster than big integers'", slow.reverse_seconds / back,
                   bar=None if quick() else 45, unit="×")  # fmt: skip
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


def peer() -> Iterator[Row]:
    """torchopt's differentiable optimizer: everything in one graph."""
    if find_spec("torchopt") is None:
        print("  torchopt is not installed: its rows are left out", file=sys.stderr)
        return
    num_steps = 50 if quick() else 200
    problem, hyper, net = made(num_steps, 0.9, dtype=torch.float64)
    truth = torchopt_hypergradient(problem, hyper, net)
    ours = hg.hypergradient(problem, hyper, hg.Stored()).grad
    off = max(float((ours[k] - v).abs().max() / v.abs().max()) for k, v in truth.items())
    yield measured("torchopt: largest relative difference", off, bar=1e-8, unit="relative", better="lower")
    # eagerly, what keeps weights alone makes each forward pass twice; what keeps the graph does not
    for name, backend, bar in (("unrolled", "eager", None), ("stored", "eager", None), ("stored", "compiled", 1),
                               ("√T checkpoints", "compiled", 1)):  # fmt: skip
        yield compare(
            f"{name}, {backend}, T {num_steps}",
            lambda n=name, b=backend: hg.hypergradient(problem, hyper, METHODS[n], backend=b),
            lambda: torchopt_hypergradient(problem, hyper, net), bar=bar, peer_name="torchopt", rounds=5,
        )  # fmt: skip
    mine, theirs = (fresh(name, 0.9, num_steps)["grown"] / 2**20 for name in ("stored", "torchopt"))
    yield measured(f"torchopt, T {num_steps}: growth of the process", theirs, unit="MB")
    yield measured("torchopt's growth over that of stored", theirs / mine, bar=1, unit="×")


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
    short, *_ = made(60, momentum, dtype=torch.float64)
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
