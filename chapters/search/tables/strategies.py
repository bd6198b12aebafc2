"""Random search, halving, Hyperband and halving on many workers, played again and again on the table `search/replay`.

Repeat i draws its settings from seed i and sees the training of seed i mod 3; a case is a block of repeats. A column
holds a number for each repeat: regrets in points of validation error at the end, mean of the three trainings.

`random_6`, `random_20` and `random_40` are so many full trainings. `halving` starts 64 settings and uses 456 epochs,
`hyperband` 1,581. On nine workers, alike or unequal, `rungs` is four brackets of 81 settings, one after the other, and
`asha` asynchronous halving on the same rungs with as many epochs; `asha_in_time` stops when `rungs` does instead, after
`time`, and begins `asha_in_time_epochs`.
"""

from types import SimpleNamespace

from labsupport.experiments.tables import rounded
from labsupport.search import asha, brackets, contract, halving, hyperband, random_search, replay

BLOCK, REPEATS, SEEDS = 50, 500, 3
CASES = [{"first": first} for first in range(0, REPEATS, BLOCK)]
CHECKED = [CASES[0]]
NUM, BUDGET, RESOURCE, ETA, BRACKETS, EPOCHS = 64, 504, 81, 3, 4, 1188
SPEEDS = {"alike": (1.0,) * 9, "unequal": (1.0,) * 3 + (0.5,) * 3 + (0.25,) * 3}
SPACE, RUNGS = replay.SPACE, hyperband.plan(RESOURCE, eta=ETA)[0]


def alone(seed, objective):
    """Name -> the state at the end, of the strategies that run on one worker."""
    starts = {f"random_{num}": (random_search, random_search.init(SPACE, num_trials=num, seed=seed))
              for num in (6, 20, 40)}  # fmt: skip
    starts["halving"] = halving, halving.init(SPACE, num=NUM, budget=BUDGET, seed=seed)
    starts["hyperband"] = hyperband, hyperband.init(SPACE, max_resource=RESOURCE, eta=ETA, seed=seed)
    return {name: replay.play(strategy, state, objective)[0] for name, (strategy, state) in starts.items()}


def halving_of(plans):
    """The strategy that fills these brackets."""
    return SimpleNamespace(
        ask=lambda state: brackets.ask(state, plans), tell=contract.tell,
        finished=lambda state: brackets.finished(state, plans))  # fmt: skip


def on_rungs(seed, objective, speeds):
    """Synchronous halving: its state after the last bracket, and the time."""
    state, time = contract.start("rungs", SPACE, {}, seed=seed), 0.0
    for num in range(1, BRACKETS + 1):  # the brackets before are full
        state, taken = replay.play(halving_of([RUNGS] * num), state, objective, speeds=speeds)
        time += taken
    return state, time


def asynchronous(seed, objective, speeds, **limit):
    start = asha.init(SPACE, max_resource=RESOURCE, eta=ETA, seed=seed)
    return replay.play(asha, start, objective, speeds=speeds, **limit)[0]


def played(seed):
    """Column -> number, of one repeat."""
    table = replay.load()
    objective = replay.curve(table, seed=seed % SEEDS)
    states, found = alone(seed, objective), {}
    for name, speeds in SPEEDS.items():
        states[f"rungs_{name}"], time = on_rungs(seed, objective, speeds)
        states[f"asha_{name}"] = asynchronous(seed, objective, speeds, num_epochs=EPOCHS)
    states["asha_in_time"] = late = asynchronous(seed, objective, speeds, until=time)
    found |= {"time": time, "asha_in_time_epochs": sum(replay.epochs(late, record.trial) for record in late.records)}
    return {name: 100 * replay.regret(table, state) for name, state in states.items()} | found


def run(case):
    repeats = [played(seed) for seed in range(case["first"], case["first"] + BLOCK)]
    return {name: rounded([repeat[name] for repeat in repeats], decimals=4) for name in repeats[0]}
