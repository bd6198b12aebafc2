"""What each part of AdaGrad, RMSprop, AdaDelta and Adam is worth on digits, every variant at its own best rate.

A case is one variant of a rule. Its rate is the one of RATES with the smallest error on validation digits, mean of
eight seeds; then 64 fresh seeds are trained at that rate, and at the rate that is best for the standard form of the
rule, and their errors on test digits are kept, in percent. Cases with `turns` train on pixels that were turned by four
random rotations, sixteen seeds each: a rotation of the first layer's weights. Rates and measures were settled on eight
seeds of images that were not centered.
"""

from functools import cache

import torch
from torch.nn.functional import cross_entropy

from labsupport import data, models, optimizers, population
from labsupport.data import Split
from labsupport.initialization import rules, starts

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


def digits(turn=None):
    split = data.digits(generator=torch.Generator().manual_seed(0))
    mean, matrix = split.train[0].mean(0), torch.eye(64)
    if turn is not None:
        drawn = torch.randn(64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(turn))
        q, r = torch.linalg.qr(drawn)
        matrix = (q * r.diagonal().sign()).float()
    parts = [((x - mean) @ matrix, y) for x, y in (split.train, split.valid, split.test)]
    return Split(*parts, split.class_names)


def build(generator):
    net = models.mlp([64, 50, 50, 10], generator=generator)
    return starts.apply_(net, rules.he_normal_, generator=generator)


def trained(rule, options, rates, seeds, epochs=5, turn=None):
    """Errors on validation and test digits in percent, both (rates, seeds)."""
    forms = {name: value for name, value in options.items() if name in FORMS}
    settings = {name: value for name, value in options.items() if name not in FORMS}
    settings["lr"] = torch.tensor(rates).repeat_interleave(len(seeds))
    plan = population.Plan(epochs, 32, valid_every=epochs, backend="eager", progress=False)
    optimizer, split = getattr(optimizers, rule)(**forms), digits(turn)
    result = population.train(build, split, optimizer, settings, plan, seeds=list(seeds) * len(rates))
    test = population.evaluate(result.state, *split.test, loss=cross_entropy).error
    return (100 * error.view(len(rates), len(seeds)) for error in (result.valid_error[:, -1], test))


@cache
def tuned(rule, epochs, turns, options):
    """Mean validation error for each rate; of turned pixels the mean over the rotations."""
    drawn = [TUNING] if not turns else [TUNING[2 * k : 2 * k + 2] for k in range(turns)]
    rates, every = RATES[rule], range(len(drawn))
    found = [next(trained(rule, dict(options), rates, drawn[k], epochs, k if turns else None)) for k in every]
    return torch.cat(found, 1).mean(1)


def reported(rule, epochs, turns, options, rate):
    parts = SEEDS if not turns else [SEEDS[16 * k : 16 * k + 16] for k in range(turns)]
    parts = parts if turns else [parts]
    found = [list(trained(rule, options, [rate], p, epochs, k if turns else None))[1] for k, p in enumerate(parts)]
    return [round(error, 2) for error in torch.cat(found, 1)[0].tolist()]


def run(case):
    if "map" in case:
        valid, _ = trained("adam", {**STANDARD["adam"], "eps": case["eps"]}, LARGE["lr"], TUNING)
        return {"rates": LARGE["lr"], "valid": [round(error, 3) for error in valid.mean(1).tolist()]}
    rule, epochs, turns = case["rule"], case["epochs"], case["turns"]
    options = {name: value for name, value in case.items() if name not in ("rule", "epochs", "turns")}
    valid, usual = (tuned(rule, epochs, turns, tuple(o.items())) for o in (options, STANDARD[rule]))
    own, shared = (RATES[rule][int(errors.argmin())] for errors in (valid, usual))
    shared = 1.0 if rule == "adadelta" else shared
    test = reported(rule, epochs, turns, options, own)
    return {
        "rates": RATES[rule],
        "valid": [round(error, 3) for error in valid.tolist()],
        "own": own,
        "test": test,
        "shared": shared,
        "test_shared": test if shared == own else reported(rule, epochs, turns, options, shared),
    }
