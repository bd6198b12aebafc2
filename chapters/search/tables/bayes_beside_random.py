"""Regret of a Gaussian process, TPE and random search on three problems, after so many trials.

100 repeats of each, seeds 5000 … 5099, which draw all that the strategies draw; on the table of `search/replay` a seed
also picks one of the three trainings whose validation errors are told. Regret is there, in points, the mean error of
the setting found less the smallest one; on Branin and Hartmann-6, told without noise, the value found less the minimum.
Nothing is tuned here: constants of the strategies were set on repeats 0 … 19 and 2000 on. After a first look at this
table TPE's kernels and how the process takes large values were mended, on other repeats, and the table was made anew. A
column holds one number for each of a case's 20 repeats.
"""

from dataclasses import replace
from functools import partial

from labsupport.experiments import tables
from labsupport.search import contract, gaussian_process, problems, random_search, replay, tpe

BLOCK, REPEATS = 20, range(5000, 5100)
CASES = [{"problem": name, "first": first} for name in ("table", "Branin", "Hartmann-6") for first in REPEATS[::BLOCK]]
MARKS = (10, 15, 20, 25, 30, 45, 60)
STRATEGIES = {"Gaussian process": (gaussian_process, 30), "TPE": (tpe, 60), "random": (random_search, 60)}
TOLERANCE = 0.5
rounded = partial(tables.rounded, digits=6)
FUNCTIONS = {"Branin": problems.branin(), "Hartmann-6": problems.hartmann6()}


def study(problem, name, seed):
    """The state of a study at its end."""
    strategy, num_trials = STRATEGIES[name]
    if problem == "table":
        space, objective = replay.SPACE, replay.curve(replay.load(), seed=seed % 3)
    else:
        space, value = FUNCTIONS[problem].space, FUNCTIONS[problem].value
        objective = lambda trial: value(trial.params)  # noqa: E731
    return replay.play(strategy, strategy.init(space, num_trials=num_trials, seed=seed), objective)[0]


def regret(problem, state, mark):
    """Of the setting that is found among the first trials."""
    first = replace(state, records=state.records[:mark])
    if problem == "table":
        return 100 * replay.regret(replay.load(), first)
    return contract.best(first).value - FUNCTIONS[problem].minimum


def run(case):
    problem, first, found = case["problem"], case["first"], {}
    for name, (_, num_trials) in STRATEGIES.items():
        states = [study(problem, name, seed) for seed in range(first, first + BLOCK)]
        for mark in MARKS[: MARKS.index(num_trials) + 1]:
            found[f"{name}, {mark}"] = rounded([regret(problem, state, mark) for state in states])
    return found
