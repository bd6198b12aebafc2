"""Fifteen meta-steps with the exact hypergradient and with shortcuts; 16 starts at once.

The networks of drmad_fidelity, 200 steps, the sign of the hypergradient times .35. For each method: validation loss
before the first meta-step and after the last one, on the learner's own start and order; then test loss on the same.
"""

import math

import torch

from labsupport import hypergradients
from labsupport.experiments import tables
from labsupport.hypergradients import inputs, setups

SEEDS = range(200, 216)  # others than those on which the settings were tried
WAYS = {
    "exact": hypergradients.Stored(), "DrMAD, T/10": hypergradients.DrMAD(), "tail, T/10": hypergradients.Truncated(20),
    "DrMAD, T/5": hypergradients.DrMAD(40),
}  # fmt: skip
CASES = [{"method": name} for name in WAYS]


def run(case):
    at = setups.on_digits(SEEDS, num_steps=200, split=inputs.few_digits().to(torch.float64), backend="eager")
    first, problem = at.coefficients(-6.0), at.problem(0)
    plan = hypergradients.MetaPlan(15, 0.35, rule="sign", limit=math.inf)
    learnt = hypergradients.meta_optimize(lambda _: problem, first, WAYS[case["method"]], plan)
    scores = {"before": at.scores(first, [0]), "after": at.scores(learnt.hyper, [0])}
    return {f"{part}_{when}": tables.rounded(scores[when][part].loss, decimals=4)
            for when in scores for part in ("valid", "test")}  # fmt: skip
