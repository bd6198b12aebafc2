"""Adam with weight decay in the gradient (L2) or beside it (AdamW): a grid of rates and decays, and its best point.

300 training digits, 64-64-64-10, forty epochs of batches of 30; the labels as they are or one in five wrong, the rate
constant or a cosine to 0. The grid is measured by the error on 400 validation digits, mean of four seeds; 64 fresh
seeds at its best point give the errors on test digits, in percent, and so they do at the best rate without decay. The
decay of L2 is torch's λ; that of AdamW is the share taken off a weight in a step, the rate times torch's λ. Rates and
measures were settled on two other seeds.
"""

import torch
from torch.nn.functional import cross_entropy

from labsupport import data, models, optimizers, population, schedules
from labsupport.data import Split
from labsupport.initialization import rules, starts

TUNING, SEEDS = range(100, 104), range(64)
RATES = [0.0004 * 2**k for k in range(6)]
DECAYS = {  # of AdamW: the share taken off per step, so that the grid is that of the paper
    "adam": [0.0] + [0.001 * 10 ** (k / 3) for k in range(1, 7)],
    "adamw": [0.0] + [0.0001 * 10 ** (k / 3) for k in range(2, 8)],
}
EPOCHS, BATCH = 40, 30
CASES = [
    {"rule": rule, "wrong": wrong, "schedule": schedule}
    for wrong, schedule in ((0.0, "constant"), (0.2, "constant"), (0.2, "cosine"))
    for rule in ("adam", "adamw")
]


def digits(wrong):
    split = data.digits(num_train=300, generator=torch.Generator().manual_seed(0))
    generator, (x, y), mean = torch.Generator().manual_seed(1), split.train, split.train[0].mean(0)
    y, chosen = y.clone(), torch.randperm(300, generator=generator)[: round(300 * wrong)]
    y[chosen] = (y[chosen] + torch.randint(1, 10, chosen.shape, generator=generator)) % 10
    parts = [(x - mean, y)] + [(x - mean, y) for x, y in (split.valid, split.test)]
    return Split(*parts, split.class_names)


def build(generator):
    net = models.mlp([64, 64, 64, 10], generator=generator)
    return starts.apply_(net, rules.he_normal_, generator=generator)


def trained(case, rates, decays, seeds):
    """Errors on validation and test digits in percent, both (points, seeds)."""
    split, count = digits(case["wrong"]), len(seeds)
    settings = {"lr": torch.tensor(rates), "weight_decay": torch.tensor(decays)}
    settings = {name: value.repeat_interleave(count) for name, value in settings.items()}
    cosine = schedules.cosine(1.0, decay_steps=EPOCHS * (300 // BATCH))
    schedule = {"lr": cosine} if case["schedule"] == "cosine" else {}
    plan = population.Plan(EPOCHS, BATCH, schedule=schedule, valid_every=EPOCHS, backend="eager", progress=False)
    optimizer = getattr(optimizers, case["rule"])()
    result = population.train(build, split, optimizer, settings, plan, seeds=list(seeds) * len(rates))
    test = population.evaluate(result.state, *split.test, loss=cross_entropy).error
    return (100 * error.view(len(rates), count) for error in (result.valid_error[:, -1], test))


def run(case):
    per_step = case["rule"] == "adamw"
    points = [(lr, decay / lr if per_step else decay) for lr in RATES for decay in DECAYS[case["rule"]]]
    valid, _ = trained(case, *map(list, zip(*points, strict=True)), TUNING)
    best = int(valid.mean(1).argmin())
    plain = int(valid.mean(1).view(len(RATES), -1)[:, 0].argmin()) * len(DECAYS[case["rule"]])
    at = [points[best], points[plain]]
    _, test = trained(case, *map(list, zip(*at, strict=True)), SEEDS)
    return {
        "rates": RATES,
        "decays": DECAYS[case["rule"]],
        "valid": [round(error, 3) for error in valid.mean(1).tolist()],
        "best": best,
        "test": [round(error, 2) for error in test[0].tolist()],
        "test_plain": [round(error, 2) for error in test[1].tolist()],
    }
