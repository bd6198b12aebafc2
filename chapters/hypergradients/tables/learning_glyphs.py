"""The article's experiment: 934 coefficients of 784-50-50-50-10, trained for 2,000 steps; 8 starts at once.

Glyphs of ten digits, 28×28: 1,000 to train on, 500 to validate, 2,000 as the third split. Momentum 0.1, rate 0.05,
batches of 50 (the same for all starts); ten meta-steps of 0.3 by the sign of the hypergradient, from log-coefficients
of −6: exact (by checkpoints, where storing would take 3 GB) or by DrMAD with 200 steps back. Start and order stay the
same. A case returns, for each meta-step and seed in turn, mean and standard deviation of the 934 (`mean`, `spread`),
and the validation loss before it (`curve`, mean of the seeds); seed by seed, before and after, validation loss, test
loss and error on the learner's own start and order (`own`), and from two starts and orders it never saw (`new`).
`zeros` counts hypergradients always exactly 0. `maps` are the 784 of the first layer in units of a meta-step, for the
first two seeds after every second meta-step; `alike` is the mean correlation of the 784 between pairs of seeds at the
end. Settings were tried on seeds 0 to 3.
"""

import functools
import math

import torch

from labsupport import data, hypergradients
from labsupport.experiments import seeded, tables
from labsupport.hypergradients import studies

SEEDS, SIZE = range(600, 608), 0.3
WAYS = {"exact": hypergradients.SqrtCheckpoint(), "DrMAD": hypergradients.DrMAD()}
CASES = [{"method": name} for name in WAYS]
CHECKED = CASES[1:]  # the exact one takes three times as long
OWN, NEW = (0, 3), [(100_000 * (k + 1), 900 + k) for k in range(2)]  # what is added to the seeds; seed of the order


@functools.cache
def study(seeds=SEEDS, backend="auto"):
    split = data.glyphs("digits", sizes=(1000, 500, 2000), generator=seeded(0)).flat()
    return studies.Study(
        [784, 50, 50, 50, 10], split.train, split.valid, split.test, lambda at: [s + at[0] for s in seeds],
        num_steps=2000, lr=0.05, momentum=0.1,
        batches=lambda at: hypergradients.minibatches(*split.train, 50, seed=at[1]), backend=backend,
    )  # fmt: skip


def run(case):
    at = study()
    first, problem = at.coefficients(-6.0, OWN), at.problem(OWN)
    plan = hypergradients.MetaPlan(10, SIZE, rule="sign", backend=at.backend, limit=math.inf, progress=True)
    learnt = hypergradients.meta_optimize(lambda _: problem, first, WAYS[case["method"]], plan)
    everything, pixels = torch.cat(list(learnt.history.values()), 2), learnt.history["0.weight"]
    alike = torch.corrcoef(pixels[-1])[*torch.triu_indices(len(SEEDS), len(SEEDS), 1)].mean()
    return {
        "mean": tables.rounded(everything.mean(2).flatten(), decimals=4),
        "spread": tables.rounded(everything.std(2).flatten(), decimals=4),
        "curve": tables.rounded(learnt.valid_loss / len(SEEDS), decimals=5),
        "zeros": int((everything == -6.0).all(0).sum()),
        "maps": ((pixels[::2, :2] + 6.0) / SIZE).round().int().flatten().tolist(),
        "alike": tables.rounded(alike, decimals=4),
        **studies.before_and_after(at, first, learnt.hyper, {"own": [OWN], "new": NEW}),
    }
