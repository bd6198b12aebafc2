"""Sixty networks that differ by nothing but their seed: errors in validation and test, and those of their average.

64-50-50-10 ReLU networks on digits, SGD with momentum 0.9 at the rate 0.1, batches of 32, 30 epochs; no setting is
tuned. A case is a replicate: its seed draws 600 examples for training, 597 for validation and 600 for the test, which
its sixty networks share; each of them has a start and an order of its own, which no other case uses. Columns hold
counts of errors: `valid` and `test`, one for each network, and `average`, on the test, of the networks' mean
probabilities.
"""

from labsupport import data, models, optimizers, population
from labsupport.experiments import seeded

NETWORKS, TRAIN, VALID, TEST = 60, 600, 597, 600
CASES = [{"seed": seed} for seed in range(100, 132)]
TOLERANCE = {"valid": 6.0, "test": 6.0, "average": 3.0}  # float32 through 540 steps: counts of errors


def build(generator):
    return models.mlp([64, 50, 50, 10], generator=generator)


def trained(seed):
    """The networks of a replicate, and the examples that it drew."""
    pool = data.digits(generator=seeded(0))
    parts = data.partitions(pool, num_train=TRAIN, num_valid=VALID, num_test=TEST, seeds=[seed])
    split, plan = parts.split(seed), population.Plan(30, 32, valid_every=0, backend="eager", progress=False)
    seeds = range(NETWORKS * seed, NETWORKS * (seed + 1))
    return population.train(build, split, optimizers.momentum(), {"lr": 0.1, "momentum": 0.9}, plan, seeds=seeds), split


def errors(result, pair):
    """How many of the examples each network gets wrong, and how many their mean probabilities do."""
    x, y = pair
    said = population.predict(result.state, x).softmax(-1)
    return (said.argmax(-1) != y).sum(-1).tolist(), int((said.mean(0).argmax(-1) != y).sum())


def run(case):
    result, split = trained(case["seed"])
    test, average = errors(result, split.test)
    return {"valid": errors(result, split.valid)[0], "test": test, "average": average}
