"""Errors of ten optimizers over a grid of learning rates, and of each at its own best rate on fresh seeds.

"digits": a 64-50-50-10 ReLU network, batches of 32, 16 epochs; all optimizers on one grid of rates, which goes on for
AdaDelta, but Muon has its own. "glyphs": 26 Latin letters at 14×14 pixels, 196-50-50-26, batches of 32, 6 epochs.
"batch 500": digits in batches of 500, 30 epochs. In the last two every optimizer has a grid around its own best rate of
an earlier trial on other seeds. Rates are 10^(k/3), constant in time; all other settings stand at their defaults, but
LARS trusts with 0.01, the best of 0.001, 0.01 and 0.1 on seeds 100 to 107. "muon, half" has half the epochs.

The rate with the lowest mean validation error of 16 seeds is tried again with 32 fresh seeds, which give the test
error. "batch 500" keeps the validation errors of 16 fresh seeds at all rates too, as "again".
"""

from labsupport import data, experiments, optimizers, population
from labsupport.experiments import seeded, tuned
from labsupport.experiments.tables import rounded
from labsupport.initialization import starts

TUNING, FRESH = range(100, 116), range(300, 332)
TOLERANCE = {"valid": 0.7, "curves": 0.7, "again": 0.6, "fresh": 0.15, "test": 0.15, "train_loss": 1e-4}  # 2 errors
EPOCHS = {"digits": (16, 2), "glyphs": (6, 1), "batch 500": (30, 30)}  # and from one validation to the next
GLYPHS = {"sgd": -2, "momentum": -5, "nesterov": -5, "adagrad": -4, "rmsprop": -7, "adadelta": 1, "adam": -7,
          "adamw": -7, "nadam": -7, "muon": -9, "muon, half": -9}  # fmt: skip
LARGE = {"sgd": 0, "momentum": -2, "adam": -5, "lars": -1}
CASES = [
    *({"data": "digits", "rule": rule} for rule in GLYPHS),
    *({"data": "glyphs", "rule": rule} for rule in GLYPHS),
    *({"data": "batch 500", "rule": rule} for rule in LARGE),
]


def task(name):
    if name != "glyphs":
        split = data.digits(generator=seeded(0))
    else:
        split = data.glyphs("latin_lower", sizes=(4000, 1000, 4000), size=14, generator=seeded(0)).flat()
    return data.standardized(split, scale=float(split.train[0].std()))


def exponents(name, rule):
    if name == "digits" and rule.startswith("muon"):
        return range(-13, -4)
    if name == "digits":
        return range(-10, 6 if rule == "adadelta" else 2)
    at = {"glyphs": GLYPHS, "batch 500": LARGE}[name][rule]
    return range(at - 3, at + (4 if rule == "adadelta" else 3)) if name == "glyphs" else range(at - 5, at + 4)


def compared(case, powers):
    """What `experiments.run` takes."""
    name, (rule, *half) = case["data"], case["rule"].split(", ")
    split, (epochs, every) = task(name), EPOCHS[name]
    build = starts.builder([split.train[0].shape[1], 50, 50, split.num_classes])
    settings = {"lr": [10 ** (k / 3) for k in powers], **({"trust": 0.01} if rule == "lars" else {})}
    batch_size = 500 if name == "batch 500" else 32
    plan = population.Plan(epochs // (1 + len(half)), batch_size, valid_every=every, progress=False)
    return build, split, getattr(optimizers, rule)(), settings, plan


def run(case):
    powers = list(exponents(case["data"], case["rule"]))
    what = compared(case, powers)
    found = tuned(*what, tuning=TUNING, fresh=FRESH)
    valid, fresh = (100 * ran.valid_error for ran in (found.tuning, found.fresh))
    test, again = found.fresh.scores("test").error, {}
    if case["data"] == "batch 500":
        again["again"] = rounded(100 * experiments.run(*what, seeds=FRESH[:16]).valid_error[..., -1], decimals=2)
    return {
        **again, "exponents": powers, "best": powers[found.best.place],
        "valid": rounded(valid[..., -1], decimals=2), "curves": rounded(valid.mean(1), decimals=2),
        "fresh": rounded(fresh[0], decimals=2), "test": rounded(100 * test[0].float(), decimals=2),
        "train_loss": rounded(found.fresh.scores("train").loss[0], decimals=4),
    }  # fmt: skip
