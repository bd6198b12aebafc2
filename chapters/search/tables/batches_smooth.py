"""Trials in flight on a smooth function without noise, where a result tells much: Branin's, of two coordinates.

As in `search/batches`: a Gaussian process with the constant liar, 40 trials, the first 8 from a Sobol design, with 1,
8 or 32 in flight, all equally long; in_flight 0 is random search. A case is one strategy on four replicates, whose
seeds draw what the strategy draws. `regret`: the smallest value found less the smallest there is.
"""

from labsupport.experiments import tables
from labsupport.search import contract, gaussian_process, problems, random_search, replay

TRIALS = 40
CASES = [{"in_flight": num, "first": first} for num in (1, 8, 32, 0) for first in range(0, 24, 4)]
TOLERANCE = 5.0  # another CPU may round a proposal elsewhere: a mean of four regrets


def regret(in_flight, seed):
    strategy, problem = gaussian_process if in_flight else random_search, problems.branin()
    state = strategy.init(problem.space, num_trials=TRIALS, seed=seed)
    speeds = [1.0] * max(in_flight, 1)
    state, _ = replay.play(strategy, state, lambda trial: problem.value(trial.params), speeds=speeds)
    return contract.best(state).value - problem.minimum


def run(case):
    regrets = [regret(case["in_flight"], seed) for seed in range(case["first"], case["first"] + 4)]
    return {"regret": tables.rounded(regrets, digits=4)}
