"""What each part of AdaGrad, RMSprop, AdaDelta and Adam is worth on digits, every variant at its own best rate.

A case is one variant of a rule. Its rate is the one of RATES with the smallest error on validation digits, mean of
eight seeds; then 64 fresh seeds are trained at that rate, and at the rate that is best for the standard form of the
rule, and their errors on test digits are kept, in percent. Cases with `turns` train on pixels that were turned by four
random rotations, sixteen seeds each: a rotation of the first layer's weights. Rates and measures were settled on eight
seeds of images that were not centered.
"""

from functools import cache

import torch

from labsupport import data, experiments, optimizers, population
from labsupport.experiments import seeded
from labsupport.experiments.tables import rounded
from labsupport.initialization import starts

TUNING, SEEDS = range(100, 108), range(64)
RATES = {
    "adagrad": [0.01 * 2**k for k in range(9)],
    "rmsprop": [0.000125 * 2**k for k in range(10)],
    "adadelta": [0.01, 0.03, 0.1, 0.3, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0],
    "adam": [0.000125 * 2**k for k in range(10)],
    "momentum": [0.0075 * 2**k for k in range(7)],
}
LARGE = {  # a rate in units of ε, where ε is what divides
    "eps": [10.0**k for k in (-8, -6, -4, -3, -2, -1, 0, 1)],
    "lr": [10 ** (k / 2) for k in range(-7, 6)],
}
STANDARD = {
    "adagrad": {"initial": 0.0, "eps_at": "outside", "eps": 1e-10},
    "rmsprop": {"initial": 0.0, "eps_at": "outside", "eps": 1e-8, "decay": 0.9},
    "adadelta": {"decay": 0.9, "eps": 1e-6},
    "adam": {"correction": "both", "eps_at": "outside", "eps": 1e-8, "beta2": 0.999},
    "momentum": {"momentum": 0.9},
}
TOLERANCE = {"valid": 0.5}  # on means: float32 moved at rates that diverge
FORMS = ("initial", "eps_at", "correction")


def case(rule, epochs=5, turns=0, **options):
    return {"rule": rule, "epochs": epochs, "turns": turns, **STANDARD[rule], **options}


CASES = [case("adagrad"), case("adagrad", initial=0.1), case("adagrad", initial=1.0), case("adagrad", eps_at="inside")]
CASES += [case("rmsprop"), case("rmsprop", initial=1.0), case("rmsprop", eps_at="inside", eps=1e-10)]
CASES += [case("rmsprop", decay=0.99), case("rmsprop", decay=0.99, initial=1.0)]
CASES += [case("adadelta", epochs=epochs) for epochs in (5, 25)]
CASES += [case("adadelta", decay=0.95), case("adadelta", eps=1e-8), case("adadelta", eps=1e-4)]
CASES += [
    case("adam", beta2=beta2, correction=which)
    for beta2 in (0.9, 0.99, 0.999, 0.9999)
    for which in ("both", "mean", "square", "none")
]
CASES += [case("adam", eps_at="inside"), case("momentum")]
CASES += [case(rule, turns=4) for rule in ("adam", "adagrad", "momentum")]
CASES += [{"rule": "adam", "map": True, "eps": eps} for eps in LARGE["eps"]]

build = starts.builder([64, 50, 50, 10])


def digits(turn=None):
    split = data.standardized(data.digits(generator=seeded(0)), scale=1.0)
    if turn is None:
        return split
    q, r = torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64, generator=seeded(turn)))
    matrix = (q * r.diagonal().sign()).float()
    return data.Split(*((x @ matrix, y) for x, y in (split.train, split.valid, split.test)), split.class_names)


def trained(rates, seeds, *, rule, epochs=5, turns=0, **options):
    """Runs of a variant at these rates; of turned pixels one for each rotation, which share out the seeds."""
    optimizer = getattr(optimizers, rule)(**{name: options.pop(name) for name in FORMS if name in options})
    plan = population.Plan(epochs, 32, valid_every=epochs, backend="eager", progress=False)
    return [
        experiments.run(build, digits(turn), optimizer, {"lr": rates, **options}, plan, seeds=share.tolist())
        for turn, share in zip(range(turns) or [None], torch.tensor(seeds).chunk(turns or 1), strict=True)
    ]


@cache
def validated(rates, **variant):
    """Mean validation error for each rate, in percent."""
    return (100 * torch.cat([ran.valid_error[..., -1] for ran in trained(rates, TUNING, **variant)], 1)).mean(1)


def tested(rate, **variant):
    errors = torch.cat([ran.scores("test").error[0] for ran in trained([rate], SEEDS, **variant)])
    return rounded(100 * errors, decimals=2)


def run(case):
    if "map" in case:
        valid = validated(tuple(LARGE["lr"]), rule="adam", **{**STANDARD["adam"], "eps": case["eps"]})
        return {"rates": LARGE["lr"], "valid": rounded(valid, decimals=3)}
    rates, usual = RATES[case["rule"]], {**case, **STANDARD[case["rule"]]}
    valid = validated(tuple(rates), **case)
    own, shared = rates[int(valid.argmin())], rates[int(validated(tuple(rates), **usual).argmin())]
    shared = 1.0 if case["rule"] == "adadelta" else shared
    found = {"rates": rates, "valid": rounded(valid, decimals=3), "own": own, "test": tested(own, **case)}
    again = found["test"] if shared == own else tested(shared, **case)
    return {**found, "shared": shared, "test_shared": again}
