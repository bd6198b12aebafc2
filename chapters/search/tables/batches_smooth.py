"""Trials in flight on a smooth function without noise, where a result tells much: Branin's, of two coordinates.

As in `search/batches`: a Gaussian process with the constant liar, 40 trials, the first 8 from a Sobol design, with 1,
8 or 32 in flight, all equally long; in_flight 0 is random search. A case is one strategy on four replicates, whose
seeds draw what the strategy draws. `regret`: the smallest value found less the smallest there is.
"""

import math

from labsupport.experiments import tables
from labsupport.search import contract, gaussian_process, random_search, replay
from labsupport.search.space import Float, Space

SPACE, TRIALS = Space({"x": Float(-5.0, 10.0), "y": Float(0.0, 15.0)}), 40
CASES = [{"in_flight": num, "first": first} for num in (1, 8, 32, 0) for first in range(0, 24, 4)]
TOLERANCE = 5.0  # another CPU may round a proposal elsewhere: a mean of four regrets


def branin(trial):
    x, y = trial.params["x"], trial.params["y"]
    bent = y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6
    return bent**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def regret(in_flight, seed):
    strategy = gaussian_process if in_flight else random_search
    state = strategy.init(SPACE, num_trials=TRIALS, seed=seed)
    state, _ = replay.play(strategy, state, branin, speeds=[1.0] * max(in_flight, 1))
    return contract.best(state).value - 5 / (4 * math.pi)


def run(case):
    regrets = [regret(case["in_flight"], seed) for seed in range(case["first"], case["first"] + 4)]
    return {"regret": tables.rounded(regrets, digits=4)}
