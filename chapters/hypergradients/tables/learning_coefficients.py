"""The 214 coefficients of 64-50-50-50-10 learnt for one start or for many: 8 runs at once, judged in every way.

Digits, 300 to train on, 500 steps of momentum 0.9, batches of 100; fifteen meta-steps of 0.35 by the sign. Start and
order stay the same ("one") or are drawn anew at each meta-step ("new"). A case returns, seed by seed and before (at the
first coefficients) and after, validation loss, test loss and test error on the learner's own start and order (`own`),
and their means over four starts and orders that it never saw (`new`). `curve` has the validation loss before each
meta-step. Settings were tried on seeds 300 to 303.
"""

import functools
import math

from labsupport import hypergradients
from labsupport.experiments import tables
from labsupport.hypergradients import setups, studies

SEEDS = range(400, 408)  # on which nothing was tried
WAYS = {
    "exact": hypergradients.Stored(), "50 knots": hypergradients.Knots(50), "DrMAD": hypergradients.DrMAD(),
}  # fmt: skip
CASES = [{"method": name, "starts": "one"} for name in WAYS]
CASES += [{"method": name, "starts": "new"} for name in ("exact", "DrMAD")]
OWN, NEW = (0, 3), [(100_000 * (k + 1), 900 + k) for k in range(4)]  # what is added to the seeds; seed of the order


@functools.cache
def study(seeds=SEEDS, backend="auto"):
    starts = lambda at: [s + at[0] for s in seeds]  # noqa: E731
    return setups.on_digits(starts, num_steps=500, order=lambda at: at[1], backend=backend)


def run(case):
    at = study()
    first = at.coefficients(-6.0, OWN)
    plan = hypergradients.MetaPlan(15, 0.35, rule="sign", backend=at.backend, limit=math.inf, progress=True)
    attempt = {"one": lambda k: OWN, "new": lambda k: (1000 * (k + 1), 100 + k)}[case["starts"]]
    learnt = hypergradients.meta_optimize(lambda k: at.problem(attempt(k)), first, WAYS[case["method"]], plan)
    curve = tables.rounded(learnt.valid_loss / len(SEEDS), decimals=5)
    return {"curve": curve, **studies.before_and_after(at, first, learnt.hyper, {"own": [OWN], "new": NEW})}
