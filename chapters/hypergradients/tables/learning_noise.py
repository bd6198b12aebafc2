"""Digits with 64 inputs of pure noise: many learnt coefficients against the best single one; 12 data sets at once.

Every seed draws its own 150 digits to train on, 800 to validate and the rest as the third split, and its own noise (sd
0.35). Tanh net 128-20-10, full batches, momentum 0.9, rate 0.1, 120 steps. A coefficient for each input unit, 25 steps
of Adam at 0.3, exactly, with 12 knots and with DrMAD's twelve steps; a new start at each meta-step, or one start. The
grid has 25 single coefficients, each judged by its mean validation loss (or error) over four starts: 100 trainings.
All are then judged on the third split from four starts that none has seen: its loss and error, and the validation
loss there. `pixels` and `noise` are the mean logarithms learnt for the first and the last 64 inputs; the grid's is
`single`. Settings were tried on seeds 500 to 503; at a rate of 0.3 one training of
seeds 700 to 715 diverged.
"""

import functools
import math

from labsupport import data, hypergradients
from labsupport.experiments import seeded, tables
from labsupport.hypergradients import inputs, studies

SEEDS = range(720, 732)  # on which nothing was tried
GRID = [-10.0 + 0.5 * k for k in range(25)]
WAYS = {
    "grid by loss": "loss", "grid by error": "error", "exact": hypergradients.Stored(),
    "12 knots": hypergradients.Knots(12), "DrMAD": hypergradients.DrMAD(),
}  # fmt: skip
CASES = [*({"method": name, "starts": "fresh"} for name in WAYS), {"method": "exact", "starts": "fixed"}]
PLAN = hypergradients.MetaPlan(25, 0.3, limit=math.inf, progress=True)
AREAS = {"pixels": slice(64), "noise": slice(64, 128)}


def with_noise(seed):
    split, drawn = data.digits(num_train=150, num_valid=800, generator=seeded(seed)), seeded(10**6 + seed)
    return inputs.beside_noise(split, 64, std=0.35, generators=[drawn] * 3)


@functools.cache
def study(seeds=SEEDS, backend="auto"):
    return studies.with_own_data(with_noise, [128, 20, 10], seeds=seeds, num_steps=120, lr=0.1, backend=backend)


def run(case):
    found, learnt = studies.compared(
        study(), WAYS[case["method"]], levels=GRID, start=-4.0, plan=PLAN, areas=AREAS,
        attempt_at=int if case["starts"] == "fresh" else lambda _: 0,
    )  # fmt: skip
    if learnt is not None:
        found["map"] = tables.rounded(learnt.hyper["0.weight"].mean(0), decimals=3)
    return found
