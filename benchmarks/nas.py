"""Cells and controllers many at a time beside one after another.

14×14 digits, width 32, batches of 64, momentum, four epochs of 1,000 images, float32, one thread, as the table
`nas/cells` is made. The peer of the cells is a network as one would write it for one code: it computes the operations
that the code names, and no other. Ours computes all five for each node and keeps one by buffers, so that different
cells are one population.
"""

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

import torch
from torch import Tensor, nn

from benchmarks import peers
from benchmarks.timing import Row, at_least, barred, compare, measured, one_thread, seconds
from benchmarks.torch_population import Job, functional, tight
from labsupport import data, optimizers, population
from labsupport.nas import cells, controller, evolution
from labsupport.search import random_search

__all__ = ["rows"]

MEMBERS, RUNS, TRIALS = 64, 50, 60
DENSE = {"op1": "relu", "from2": 1, "op2": "relu", "from3": 2, "op3": "relu"}
ACTIVATIONS = {"identity": lambda x: x, "tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}
LINE = "64 members of one dense cell"
JOB = Job(MEMBERS, batch_size=64)


def rows() -> Iterator[Row]:
    with one_thread(), peers.one_core():
        split = _digits()
        yield from one_cell(split)
        yield from different_cells(split)
        yield from controllers()
        yield from replays()


class Plain(nn.Module):
    """A cell as one would write it."""

    def __init__(self, code: dict, generator: torch.Generator) -> None:
        super().__init__()
        net = cells.CellNet(14 * 14, 32, 10, generator=generator)
        self.stem, self.nodes, self.classifier = net.stem, net.nodes, net.classifier
        self.plan = [(0, code["op1"]), (code["from2"], code["op2"]), (code["from3"], code["op3"])]
        self.ends = [node for node in (1, 2, 3) if node not in [source for source, _ in self.plan]]

    def forward(self, x: Tensor) -> Tensor:
        states = [self.stem(x)]
        for node, (source, operation) in zip(self.nodes, self.plan, strict=True):
            if operation == "zero":
                states.append(torch.zeros_like(states[0]))
            else:
                inside = states[source] if operation == "identity" else node(states[source])
                states.append(ACTIVATIONS[operation](inside))
        return self.classifier(sum(states[node] for node in self.ends) / len(self.ends))


def ours(codes: list[dict], split: data.Split, *, backend: str) -> Callable:
    """The cells of these codes by `labsupport.population`, always from the same start."""
    settings = {name: value[: len(codes)] for name, value in JOB.settings.items()}
    state = cells.with_cells(population.init(_cellnet, optimizers.momentum(), settings, seeds=range(len(codes))), codes)
    plan = population.Plan(JOB.num_epochs, JOB.batch_size, backend=backend, progress=False)
    return lambda: population.carry_on(state, split, plan)


@barred({f"{LINE}, compiled": at_least(6)})
def one_cell(split: data.Split) -> Iterator[Row]:
    loop = tight(partial(Plain, DENSE), split, JOB)
    yield compare(f"{LINE}, compiled", ours([DENSE] * MEMBERS, split, backend="compiled"), loop,
                  peer_name="tight loop", rounds=5)  # fmt: skip
    eager = ours([DENSE] * MEMBERS, split, backend="eager")
    yield compare(f"{LINE}, eager", eager, loop, peer_name="tight loop", rounds=3)
    yield compare(f"{LINE}, eager, beside torch.func", eager, functional(partial(Plain, DENSE), split, JOB),
                  peer_name="torch.func", rounds=3)  # fmt: skip


@barred({"64 different cells by buffers, compiled": at_least(6)})
def different_cells(split: data.Split) -> Iterator[Row]:
    """Every twelfth code, each with its own loop beside."""
    codes = cells.codes()[:: 750 // MEMBERS][:MEMBERS]

    each = [tight(partial(Plain, code), split, Job(1, batch_size=64)) for code in codes]

    def loop() -> None:
        for one in each:
            one()

    for backend in ("compiled", "eager"):
        yield compare(f"64 different cells by buffers, {backend}", ours(codes, split, backend=backend), loop,
                      peer_name="tight loop", rounds=5)  # fmt: skip

@barred({"50 controllers, 20 trials each": at_least(10)})
def controllers() -> Iterator[Row]:
    """Decisions and steps, on known rewards; beside it, the same controllers one after another."""
    rewards = torch.rand(750, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    play = partial(controller.replay, cells.SPACE, rewards, num_trials=20)

    def loop() -> None:
        for seed in range(RUNS):
            play(seeds=[seed])

    yield compare("50 controllers, 20 trials each", partial(play, seeds=range(RUNS)), loop, peer_name="a loop",
                  rounds=5)  # fmt: skip


def replays() -> Iterator[Row]:
    """Whole searches of 60 trials on known rewards, a second."""
    rewards = torch.rand(750, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    worth = rewards.tolist()

    def asked(strategy: ModuleType, seed: int) -> None:
        state = strategy.init(cells.SPACE, num_trials=TRIALS, seed=seed)
        while not strategy.finished(state):
            trial, state = strategy.ask(state)
            state = strategy.tell(state, trial, -worth[cells.row(trial.params)])

    def per_second(play: Callable, count: int) -> list[float]:
        play()
        return [count / seconds(play) for _ in range(3)]

    for strategy in (random_search, evolution, controller):
        name = strategy.__name__.rpartition(".")[2]
        found = per_second(lambda: [asked(strategy, seed) for seed in range(5)], 5)  # noqa: B023
        yield measured(f"searches of 60 by ask and tell, {name}", found, unit="1/s")
    batch = partial(controller.replay, cells.SPACE, rewards, num_trials=TRIALS, seeds=range(RUNS))
    yield measured("searches of 60 in batches of 50, controller", per_second(batch, RUNS), unit="1/s")


def _cellnet(generator: torch.Generator) -> nn.Module:
    return cells.CellNet(14 * 14, 32, 10, generator=generator)


def _digits() -> data.Split:
    images = data.glyphs("digits", sizes=(1000, 400, 400), size=14, generator=torch.Generator().manual_seed(0))
    return images.flat()
