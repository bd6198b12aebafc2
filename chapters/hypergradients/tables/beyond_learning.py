"""What coefficients learnt by ever cheaper hypergradients are worth; eight seeds, each with data of its own or a start.

Setting "noise": digits with 64 inputs of noise (sd .35) added, 150 training and 800 validation examples, 128-20-10
tanh, whole batches, rate .03, momentum .9, T = 120, one log-L2 an input from -4.6, 25 Adam steps of .3, a fresh start
at every one. Setting "memory": the networks of drmad_learning, T = 200, 214 log-L2, 15 sign steps of .35, always the
same start and order. Judged before and after: validation loss on the learner's own start and order; test loss and
test error (%), means of four fresh starts (and orders) that nothing learnt from.
"""

import functools
import math

from labsupport import data, hypergradients
from labsupport.experiments import seeded, tables
from labsupport.hypergradients import inputs, setups, studies

FIRST = {"noise": 40, "memory": 400}  # seeds others than those on which the settings were tried
LONG, LOG = {"noise": 120, "memory": 200}, {"noise": -4.6, "memory": -6.0}
RULES = {"noise": (25, 0.3, "adam"), "memory": (15, 0.35, "sign")}
WAYS = {
    "exact": lambda T: hypergradients.Stored(), "5 knots, 2T/5": lambda T: hypergradients.Knots(5, 2 * T // 5),
    "DrMAD": lambda T: hypergradients.DrMAD(), "last T/10": lambda T: hypergradients.Truncated(T // 10),
    "last step": lambda T: hypergradients.Truncated(1), "Neumann, T/10": lambda T: hypergradients.Neumann(T // 10),
    "Neumann, T": lambda T: hypergradients.Neumann(T),
}  # fmt: skip
CASES = [{"setting": setting, "method": name} for setting in LONG for name in ("none", *WAYS)]


def with_noise(seed):
    split = data.digits(num_train=150, num_valid=800, generator=seeded(seed))
    return inputs.beside_noise(split, 64, std=0.35, generators=[seeded(10_000 + 10 * seed + k) for k in range(3)])


@functools.cache
def study(setting):
    """Attempt 0 is the learner's own start and order."""
    first = FIRST[setting]
    starts = lambda at: [1000 * first + 8 * at + s for s in range(8)]  # noqa: E731
    if setting == "memory":
        return setups.on_digits(starts, num_steps=LONG[setting], order=lambda at: 3 + at, backend="eager")
    parts = studies.own(map(with_noise, range(first, first + 8)))
    return studies.Study([128, 20, 10], *parts, starts, LONG[setting], 0.03, backend="eager")


def run(case):
    setting, name = case["setting"], case["method"]
    at = study(setting)
    hyper = at.coefficients(LOG[setting])
    hyper = {"0.weight": hyper["0.weight"]} if setting == "noise" else hyper
    if name != "none":
        plan = hypergradients.MetaPlan(*RULES[setting], limit=math.inf)
        taken = at.problem if setting == "noise" else lambda _: at.problem(0)
        hyper = hypergradients.meta_optimize(taken, hyper, WAYS[name](LONG[setting]), plan).hyper
    own, new = at.scores(hyper, [0])["valid"], at.scores(hyper, range(100, 104))["test"]
    found = {"valid": own.loss, "test_loss": new.loss, "test_error": 100 * new.error}
    return {key: tables.rounded(values, decimals=4) for key, values in found.items()}
