"""Validation error of ReLU networks of many depths and gains, 16 starts each, at the best of three learning rates.

A 64-32-…-32-10 network on 1,000 centred digits; `layers` counts weight matrices. Weights are N(0, gain² ÷ fan_in)
with gain √2 · 2^power, biases 0. Momentum 0.9, batches of 50. The best rate is the one with the lowest mean error
after the last epoch, and serves all epochs of its row.
"""

import math
from functools import partial

from labsupport import data, experiments, optimizers, population
from labsupport.experiments import Samples, seeded, tables
from labsupport.initialization import rules, starts

RATES, EPOCHS = (0.003, 0.02, 0.1), (1, 2, 3, 5, 10, 20)
POWERS = [step / 4 for step in range(-6, 7)]
CASES = [{"layers": layers, "power": power} for layers in (2, 3, 4, 6, 9, 14, 20) for power in POWERS]


def build(layers, power):
    rule = partial(rules.he_normal_, gain=math.sqrt(2) * 2**power)
    return starts.builder([64, *[32] * (layers - 1), 10], rule=rule)


def run(case):
    digits = data.standardized(data.digits(generator=seeded(0)), scale=1.0)
    plan = population.Plan(EPOCHS[-1], 50, backend="compiled", progress=False)
    ran = experiments.run(build(**case), digits, optimizers.momentum(), {"lr": RATES}, plan, seeds=range(16))
    best = int(ran.valid_error[..., -1].double().mean(1).argmin())  # who diverged counts with its last finite state
    seen = Samples({f"{epoch}": ran.valid_error[best, :, epoch - 1] for epoch in EPOCHS}, ran.seeds)
    return {
        "lr": RATES[best],
        "error": tables.rounded(list(seen.means.values()), decimals=5),
        "standard_error": tables.rounded(list(seen.errors.values()), decimals=5),
    }
