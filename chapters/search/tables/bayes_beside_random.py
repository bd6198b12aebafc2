"""Regret of a Gaussian process, TPE and random search on three problems, after so many trials.

100 repeats of each, seeds 5000 … 5099, which draw all that the strategies draw; on the table of `search/replay` a seed
also picks one of the three trainings whose validation errors are told. Regret is there, in points, the mean error of
the setting found less the smallest one; on Branin and Hartmann-6, told without noise, the value found less the minimum.
Nothing is tuned here; the Gaussian process's bound on bad values was set on seeds 0 … 19 of the two functions. A column
holds one number for each of a case's 20 repeats.
"""

import math
from dataclasses import replace
from functools import partial

import torch

from labsupport.experiments import tables
from labsupport.search import contract, gaussian_process, random_search, replay, tpe
from labsupport.search.space import Float, Space

BLOCK, REPEATS = 20, range(5000, 5100)
CASES = [{"problem": name, "first": first} for name in ("table", "Branin", "Hartmann-6") for first in REPEATS[::BLOCK]]
MARKS = (10, 15, 20, 25, 30, 45, 60)
STRATEGIES = {"Gaussian process": (gaussian_process, 30), "TPE": (tpe, 60), "random": (random_search, 60)}
TOLERANCE = {f"{name}, {mark}": 2.0 for name in STRATEGIES for mark in MARKS}
rounded = partial(tables.rounded, digits=6)


def branin(x, y):
    bend = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def hartmann(*point):
    x, weights = torch.tensor(point, dtype=torch.float64), torch.tensor([1.0, 1.2, 3.0, 3.2], dtype=torch.float64)
    scales = torch.tensor([
        [10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14],
    ], dtype=torch.float64)  # fmt: skip
    centres = torch.tensor([
        [1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381],
    ], dtype=torch.float64) / 10000  # fmt: skip
    return -float(weights @ torch.exp(-(scales * (x - centres).square()).sum(1)))


FUNCTIONS = {  # the function, its space, its minimum
    "Branin": (branin, Space({"x": Float(-5.0, 10.0), "y": Float(0.0, 15.0)}), 0.39788735772973816),
    "Hartmann-6": (hartmann, Space({f"x{i}": Float(0.0, 1.0) for i in range(6)}), -3.322368011415515),
}


def study(problem, name, seed):
    """The state of a study at its end."""
    strategy, num_trials = STRATEGIES[name]
    if problem == "table":
        space, objective = replay.SPACE, replay.curve(replay.load(), seed=seed % 3)
    else:
        function, space, _ = FUNCTIONS[problem]
        objective = lambda trial: function(*trial.params.values())  # noqa: E731
    return replay.play(strategy, strategy.init(space, num_trials=num_trials, seed=seed), objective)[0]


def regret(problem, state, mark):
    """Of the setting that is found among the first trials."""
    first = replace(state, records=state.records[:mark])
    if problem == "table":
        return 100 * replay.regret(replay.load(), first)
    return contract.best(first).value - FUNCTIONS[problem][2]


def run(case):
    problem, first, found = case["problem"], case["first"], {}
    for name, (_, num_trials) in STRATEGIES.items():
        states = [study(problem, name, seed) for seed in range(first, first + BLOCK)]
        for mark in MARKS[: MARKS.index(num_trials) + 1]:
            found[f"{name}, {mark}"] = rounded([regret(problem, state, mark) for state in states])
    return found
