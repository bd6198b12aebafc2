"""What every comparison does, so that no page writes it out.

    rates = grid(lr=[0.03, 0.1, 0.3])
    found = tuned(build, split, optimizers.momentum(), rates, Plan(8, 32), tuning=range(16), fresh=range(100, 116))
    found.best["lr"], found.errors.mean, found.errors.interval()

`grid` and `points` say what is compared, `run` trains every point with every seed, `tuned` chooses on validation
examples and reports fresh seeds on test examples, and `Samples`, one number for each replicate, knows means, errors,
paired differences and intervals. `experiments.tables` keeps evidence that is too long for a page.
"""

from labsupport.counters import seeded
from labsupport.experiments.grids import Point, Points, grid, points
from labsupport.experiments.runs import Runs, begin, carry_on, run
from labsupport.experiments.samples import Estimate, Samples
from labsupport.experiments.tuning import Tuned, tuned

__all__ = [
    "Estimate", "Point", "Points", "Runs", "Samples", "Tuned", "begin", "carry_on", "grid", "points", "run", "seeded",
    "tuned",
]  # fmt: skip
