"""Does Bayesian optimization pay for proposing ahead of results? Regrets on the table of 512 settings.

A Gaussian process with the constant liar makes 40 trials of 81 epochs, the first 8 from a Sobol design, with 1, 8 or
32 in flight: a trial is proposed while the results of 0, 7 or 31 others are not known. All take equally long. Beside
it random search, as many trials. A case is one strategy on four replicates; a replicate's seed draws what the strategy
draws, and chooses one of the three trainings of every setting. `regret` is in points of validation error.
"""

from labsupport.experiments import tables
from labsupport.search import gaussian_process, random_search, replay

TRIALS, IN_FLIGHT = 40, (1, 8, 32)
CASES = [{"in_flight": num, "first": first} for num in (*IN_FLIGHT, 0) for first in range(0, 48, 4)]
TOLERANCE = 1.0  # another CPU may round a proposal to another setting: a mean of four regrets, in points


def studied(in_flight, seed):
    """The study of a replicate; in_flight = 0 is random search."""
    strategy = gaussian_process if in_flight else random_search
    state = strategy.init(replay.SPACE, num_trials=TRIALS, seed=seed)
    objective = replay.curve(replay.load(), seed=seed % 3)
    return replay.play(strategy, state, objective, speeds=[1.0] * max(in_flight, 1))[0]


def run(case):
    states = [studied(case["in_flight"], seed) for seed in range(case["first"], case["first"] + 4)]
    regrets = [100 * replay.regret(replay.load(), state) for state in states]
    return {"regret": tables.rounded(regrets, decimals=4)}
