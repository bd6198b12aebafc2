"""Training 64 small networks at once beside the strongest that a user would pick: JAX, `torch.func`, loops of torch.

Unless a row says otherwise: 64-50-50-10 on 1,000 digits, batches of 32, momentum, four epochs, float32, one thread;
each member has its start, orders, rate and momentum; validation on 400 after every epoch; ours and JAX watch
divergence. Making the networks is outside the timer on all sides. Ours is what a `Plan` does when it is told nothing
else. All rows but those on two cores or an accelerator run on one core, JAX in a process of its own (see `peers.py`).

"First call" is that of a fresh process with empty caches of kernels, imports excluded. A bar "at most .5 × JAX" stands
in the table as a ratio of at least 2.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial

import torch

from benchmarks import peers
from benchmarks.timing import Row, at_least, barred, clocked, compare, quick, seconds, unmeasured
from benchmarks.torch_population import Job, functional, loader, tight
from labsupport import data, models, optimizers, population

SIZES = (64, 50, 50, 10)
OPTIMIZERS = {"momentum": optimizers.momentum, "adam": optimizers.adam}
WARM = {"momentum": 1 / 1.15, "adam": 1 / 1.8}
WIDE = [f"width {width}, 4 members" for width in (512, 1024)]
CONV = {"conv net (4, 8) on 8×8": 0.7, "conv net (16, 32) on 8×8": 0.7, "conv net (8, 16) on 28×28": 1.05}


def rows() -> Iterator[Row]:
    torch.set_num_threads(1)
    split, mlp = _digits(), _mlp(SIZES)
    with peers.one_core():
        yield from beside_jax(mlp, split)
        yield from beside_functional(mlp, split)
        yield from own_rows(mlp, split)
        yield from wide(split)
        yield from convolutions()
        if not quick():
            yield from for_the_record(mlp, split)
    if not quick():
        yield two_processes(mlp, split)
    if torch.cuda.is_available():
        yield from accelerated(mlp, split.to("cuda"))


def ours(build: Callable, sample: data.Split | data.Partitions, job: Job, *, backend: str = "auto") -> Callable:
    """The job by `labsupport.population`, always from the same start."""
    x, _ = sample.pool if isinstance(sample, data.Partitions) else sample.train
    state = population.init(build, OPTIMIZERS[job.rule](), job.settings, seeds=range(job.members)).to(x.device)
    plan = population.Plan(job.num_epochs, job.batch_size, backend=backend, progress=False)
    return lambda: population.carry_on(state, sample, plan)


@barred({f"64 members, {rule}, warm": at_least(bar) for rule, bar in WARM.items()}
        | {"64 members, first call": at_least(1 / 0.5)})  # fmt: skip
def beside_jax(build: Callable, split: data.Split) -> Iterator[Row]:
    """Warm, in turn with a process that waits; and the first call, each in a fresh process."""
    try:
        python = peers.jax_python()
    except peers.Missing as reason:
        print(f"  JAX cannot be had: {reason}", file=sys.stderr, flush=True)
        yield from (unmeasured(f"64 members, {rule}, warm", "no JAX here") for rule in WARM)
        yield unmeasured("64 members, first call", "no JAX here")
        return
    for rule in WARM:
        mine = ours(build, split, Job(rule=rule))
        with peers.jax(python, told(Job(rule=rule))) as (name, jax):
            mine(), jax()
            yield clocked(f"64 members, {rule}, warm", partial(seconds, mine), jax, peer_name=name)
            if rule == "momentum" and not quick():
                fused = ours(build, split, Job(), backend="compiled")
                fused()
                yield clocked("64 members, momentum, warm, compiled", partial(seconds, fused), jax, peer_name=name)
    yield clocked("64 members, first call", first_call, partial(first_of_jax, python), peer_name=name,
                  rounds=1 if quick() else 3)


def told(job: Job) -> dict:
    """The job as `jax_population.py` reads it."""
    return {**asdict(job), "sizes": SIZES, "settings": {name: value.tolist() for name, value in job.settings.items()}}


def first_of_jax(python: str) -> float:
    with peers.jax(python, told(Job())) as (_, jax):
        return jax()


def first_call() -> float:
    """Seconds of `say_first_call` in a fresh process without kernels on disk."""
    with tempfile.TemporaryDirectory() as empty:
        command = [sys.executable, "-c", "from benchmarks import population; population.say_first_call()"]
        env = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": empty, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=peers.ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def say_first_call() -> None:
    """Prints the seconds of this process's first call."""
    torch.set_num_threads(1)
    print(seconds(ours(_mlp(SIZES), _digits(), Job())))


@barred({"64 members, eager": at_least(1 / 0.65)})
def beside_functional(build: Callable, split: data.Split) -> Iterator[Row]:
    yield compare("64 members, eager", ours(build, split, Job(), backend="eager"), functional(build, split, Job()),
                  peer_name="torch.func")  # fmt: skip


@barred({"64 members, own rows": at_least(1 / 1.1)})
def own_rows(build: Callable, split: data.Split) -> Iterator[Row]:
    """A sample of its own for each member, as large as the shared one, beside the shared one."""
    train, valid, test = (len(x) for x, _ in (split.train, split.valid, split.test))
    own = data.partitions(split, num_train=train, num_valid=valid, num_test=test, seeds=range(64))
    yield compare("64 members, own rows", ours(build, own, Job()), ours(build, split, Job()), peer_name="shared rows")


@barred({what: at_least(1 / 1.05) for what in WIDE})
def wide(split: data.Split) -> Iterator[Row]:
    """Two wide hidden layers; few members, so that the widest take seconds."""
    yield from of_widths(split, (512, 1024), rounds=7)


def of_widths(split: data.Split, widths: tuple[int, ...], *, rounds: int = 5) -> Iterator[Row]:
    for width in widths:
        build = _mlp((64, width, width, 10))
        job = Job(64 if width <= 128 else 16 if width <= 256 else 4, num_epochs=1 if quick() else 2)
        yield compare(f"width {width}, {job.members} members", ours(build, split, job), tight(build, split, job),
                      peer_name="tight loop", rounds=rounds)


@barred({f"{what}, 16 members": at_least(1 / most) for what, most in CONV.items()})
def convolutions() -> Iterator[Row]:
    """Nets of two 3×3 stages with batch norm, one epoch on 8×8 digits and on 28×28 characters."""
    seeded = torch.Generator().manual_seed(0)
    scans = data.digits(flat=False, generator=seeded)
    prints = data.glyphs("digits", sizes=(500, 100, 100), generator=seeded)
    for name, split, channels in (("8×8", scans, (4, 8)), ("8×8", scans, (16, 32)), ("28×28", prints, (8, 16))):
        build = _convnet(tuple(split.train[0].shape[1:]), channels, split.num_classes)
        job = Job(16, num_epochs=1)
        what = f"conv net {channels} on {name}, {job.members} members"
        yield compare(what, ours(build, split, job), tight(build, split, job), peer_name="tight loop", rounds=5)


def for_the_record(build: Callable, split: data.Split) -> Iterator[Row]:
    """Without bar: loops one member after another, other widths."""
    for rule, peer, name in (("momentum", tight, "tight loop"), ("momentum", loader, "DataLoader loop"),
                             ("adam", tight, "tight loop")):
        job = Job(rule=rule)
        yield compare(f"64 members, {rule}", ours(build, split, job), peer(build, split, job), peer_name=name, rounds=5)
    yield from of_widths(split, (16, 128, 256))


def two_processes(build: Callable, split: data.Split) -> Row:
    """Half of the members in each of two processes with one thread, beside all of them on two threads."""

    def halves() -> None:
        parts = [multiprocessing.get_context("fork").Process(target=half) for half in both]
        [part.start() for part in parts]
        [part.join() for part in parts]

    both = [tight(build, split, Job(32)), tight(build, split, Job(32))]
    mine = ours(build, split, Job())

    def two_threads() -> None:
        torch.set_num_threads(2)
        try:
            mine()
        finally:
            torch.set_num_threads(1)

    row = compare("64 members on two cores", two_threads, halves, peer_name="two processes", rounds=5)
    return replace(row, threads=2)


def accelerated(build: Callable, split: data.Split) -> Iterator[Row]:
    """The same on an accelerator, beside as many members of a loop as take seconds."""
    few = tight(build, split, Job(4))
    for members in (64, 512, 4096):
        yield compare(f"{members} members on the accelerator, against 4", ours(build, split, Job(members)), few,
                      peer_name="4 members in a tight loop", rounds=3)


def _digits() -> data.Split:
    return data.digits(generator=torch.Generator().manual_seed(0)).flat()


def _convnet(shape: tuple[int, ...], channels: tuple[int, ...], num_classes: int) -> Callable:
    return lambda generator: models.convnet(shape, num_classes, channels=channels, norm="batch", generator=generator)


def _mlp(sizes: tuple[int, ...]) -> Callable:
    return lambda generator: models.mlp(sizes, generator=generator)
