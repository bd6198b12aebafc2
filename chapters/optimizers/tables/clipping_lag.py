"""What a threshold is worth to a recurrent network that must remember: every threshold at its own best rate.

A network of 16 tanh units, started with gain 1.5, reads one of four symbols and 20 steps of noise, and names the
symbol after 160 steps of 32 sequences. A case is one way of clipping with one threshold (1e6 clips nothing). Its rates
run with the seeds 100 to 115; the rate with the lowest mean error on validation sequences then runs with the fresh
seeds 600 to 695. Kept are the rates, their validation errors in %, rate by rate and seed by seed, the chosen rate and
its fresh test errors in %. The test sequences choose nothing.
"""

import torch

from labsupport import data, models, optimizers, population
from labsupport.experiments import seeded, tuned
from labsupport.experiments.tables import rounded

RATES = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
ADAM = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1]
TUNING, FRESH = range(100, 116), range(600, 696)
TOLERANCE = {"valid": 4.0, "fresh": 6.0}  # on means, two standard errors: rounding decides some runs
CUTS = {
    "norm": ("clip_norm", optimizers.clipped_norm(optimizers.sgd())),
    "value": ("clip_value", optimizers.clipped_value(optimizers.sgd())),
    "adam": ("clip_norm", optimizers.clipped_norm(optimizers.adam())),
}
CASES = [{"cut": "norm", "c": c} for c in (1e6, 3.0, 1.0, 0.3, 0.1, 0.03)]
CASES += [{"cut": "value", "c": c} for c in (0.3, 0.1, 0.03, 0.01, 0.003)]
CASES += [{"cut": "adam", "c": 1e6}]
CHECKED = [{"cut": "norm", "c": 0.1}, *CASES[-2:]]  # one of each cut


def build(generator):
    return models.Recurrent(5, 16, 4, gain=1.5, generator=generator)


def symbols(count, seed):
    draw = seeded(seed)
    y = torch.randint(0, 4, (count,), generator=draw)
    x = torch.zeros(count, 21, 5)
    x[torch.arange(count), 0, y] = 1.0
    x[:, 1:, 4] = torch.randn(count, 20, generator=draw)
    return x, y


SPLIT = data.Split(symbols(512, 0), symbols(256, 1), symbols(1000, 2))


def compared(case, rates):
    """What `experiments.run` takes."""
    setting, rule = CUTS[case["cut"]]
    plan = population.Plan(10, 32, valid_every=10, slab=64, backend="eager", progress=False)
    return build, SPLIT, rule, {"lr": rates, setting: case["c"]}, plan


def run(case):
    rates = ADAM if case["cut"] == "adam" else RATES
    found = tuned(*compared(case, rates), tuning=TUNING, fresh=FRESH)
    return {
        "rates": rates, "valid": rounded(100 * found.tuning.valid_error[..., -1], decimals=1),
        "rate": found.best["lr"], "fresh": rounded(100 * found.errors.tensor[0], decimals=1),
    }  # fmt: skip
