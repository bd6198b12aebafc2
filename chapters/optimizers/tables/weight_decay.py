"""Adam with weight decay in the gradient (L2) or beside it (AdamW): a grid of rates and decays, and its best point.

300 training digits, 64-64-64-10, forty epochs of batches of 30; the labels as they are or one in five wrong, the rate
constant or a cosine to 0. The grid is measured by the error on 400 validation digits, mean of four seeds; 64 fresh
seeds at its best point give the errors on test digits, in percent, and so they do at the best rate without decay. The
decay of L2 is torch's λ; that of AdamW is the share taken off a weight in a step, the rate times torch's λ. Rates and
measures were settled on two other seeds.
"""

from dataclasses import replace

import torch

from labsupport import data, experiments, optimizers, population, schedules
from labsupport.experiments import grid, points, seeded
from labsupport.experiments.tables import rounded
from labsupport.initialization import starts

TUNING, SEEDS = range(100, 104), range(64)
RATES = [0.0004 * 2**k for k in range(6)]
DECAYS = {  # of AdamW: the share taken off per step, so that the grid is that of the paper
    "adam": [0.0] + [0.001 * 10 ** (k / 3) for k in range(1, 7)],
    "adamw": [0.0] + [0.0001 * 10 ** (k / 3) for k in range(2, 8)],
}
TOLERANCE = {"valid": 0.1, "test": 0.1, "test_plain": 0.1}  # on means, at most two standard errors
EPOCHS, BATCH = 40, 30
CASES = [
    {"rule": rule, "wrong": wrong, "schedule": schedule}
    for wrong, schedule in ((0.0, "constant"), (0.2, "constant"), (0.2, "cosine"))
    for rule in ("adam", "adamw")
]


build = starts.builder([64, 64, 64, 10])


def digits(wrong):
    split = data.standardized(data.digits(num_train=300, generator=seeded(0)), scale=1.0)
    (x, y), generator = split.train, seeded(1)
    chosen = torch.randperm(300, generator=generator)[: round(300 * wrong)]
    other = (y[chosen] + torch.randint(1, 10, chosen.shape, generator=generator)) % 10
    return replace(split, train=(x, y.index_put((chosen,), other)))


def trained(case, settings, seeds):
    cosine = {"lr": schedules.cosine(1.0, decay_steps=EPOCHS * (300 // BATCH))}
    schedule = cosine if case["schedule"] == "cosine" else {}
    plan = population.Plan(EPOCHS, BATCH, schedule=schedule, valid_every=EPOCHS, backend="eager", progress=False)
    rule = getattr(optimizers, case["rule"])()
    return experiments.run(build, digits(case["wrong"]), rule, settings, plan, seeds=seeds)


def run(case):
    decays = DECAYS[case["rule"]]
    at = grid(lr=RATES, weight_decay=decays).settings
    if case["rule"] == "adamw":
        at = {"lr": at["lr"], "weight_decay": at["weight_decay"] / at["lr"]}
    valid = (100 * trained(case, points(**at), TUNING).valid_error[..., -1]).mean(1)
    chosen = [int(valid.argmin()), int(valid[:: len(decays)].argmin()) * len(decays)]  # of all, and without decay
    fresh = trained(case, {name: column[chosen] for name, column in at.items()}, SEEDS).scores("test").error
    test, plain = rounded(100 * fresh, decimals=2)
    return {
        "rates": RATES, "decays": decays, "valid": rounded(valid, decimals=3),
        "best": chosen[0], "test": test, "test_plain": plain,
    }  # fmt: skip
