"""Errors of ten optimizers over a grid of learning rates, and of each at its own best rate on fresh seeds.

"digits": a 64-50-50-10 ReLU network, batches of 32, 16 epochs; all optimizers on one grid of rates, which goes on for
AdaDelta, but Muon has its own. "glyphs": 26 Latin letters at 14×14 pixels, 196-50-50-26, batches of 32, 6 epochs.
"batch 500": digits in batches of 500, 30 epochs. In the last two every optimizer has a grid around its own best rate of
an earlier trial on other seeds. Rates are 10^(k/3), constant in time; all other settings stand at their defaults, but
LARS trusts with 0.01, the best of 0.001, 0.01 and 0.1 on seeds 100 to 107. "muon, half" has half the epochs.

The rate with the lowest mean validation error of 16 seeds is tried again with 32 fresh seeds, which give the test
error. "batch 500" keeps the validation errors of 16 fresh seeds at all rates too, as "again".
"""

from dataclasses import replace
from types import MappingProxyType

import torch
from torch.nn.functional import avg_pool2d, cross_entropy

from labsupport import data, models, optimizers, population
from labsupport.initialization import rules, starts

TUNING, FRESH = range(100, 116), range(300, 332)
EPOCHS = {"digits": 16, "glyphs": 6, "batch 500": 30}
PLAIN = {name: getattr(optimizers, name)() for name in (
    "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "adamw", "nadam")}  # fmt: skip
GLYPHS = {"sgd": -2, "momentum": -5, "nesterov": -5, "adagrad": -4, "rmsprop": -7, "adadelta": 1, "adam": -7,
          "adamw": -7, "nadam": -7, "muon": -9, "muon, half": -9}  # fmt: skip
LARGE = {"sgd": 0, "momentum": -2, "adam": -5, "lars": -1}
CASES = [
    *({"data": "digits", "rule": rule} for rule in GLYPHS),
    *({"data": "glyphs", "rule": rule} for rule in GLYPHS),
    *({"data": "batch 500", "rule": rule} for rule in LARGE),
]


def orthogonal(matrix):
    """Newton and Schulz's iteration: the singular values go to about 1, the singular vectors stay."""
    x = matrix / (matrix.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return x


def direction(velocity):
    """The orthogonal factor, with entries of mean square 1; of a bias, seen as a diagonal matrix, the signs."""
    if velocity.ndim < 2:
        return velocity.sign()
    tall = velocity.shape[0] > velocity.shape[1]
    factor = orthogonal(velocity.mT).mT if tall else orthogonal(velocity)
    return max(velocity.shape) ** 0.5 * factor


def muon():
    """Jordan et al. 2024, for every layer; theirs leaves biases, the first and the last layer to AdamW."""

    def update(grads, state, params, settings):
        rho = settings["momentum"]
        velocity = {k: rho * v + grads[k] for k, v in state["velocity"].items()}
        step = {k: direction(grads[k] + rho * v) for k, v in velocity.items()}
        return {k: w - settings["lr"] * step[k] for k, w in params.items()}, {"velocity": velocity}

    def rest(params):
        return {"velocity": {k: torch.zeros_like(w) for k, w in params.items()}}

    return optimizers.Optimizer("muon", rest, update, MappingProxyType({"lr": None, "momentum": 0.95}))


RULES = {**PLAIN, "lars": optimizers.lars(), "muon": muon()}


def task(name):
    generator = torch.Generator().manual_seed(0)
    parts = ("train", "valid", "test")
    if name == "glyphs":
        split = data.glyphs("latin_lower", sizes=(4000, 1000, 4000), generator=generator)
        small = {part: (avg_pool2d(getattr(split, part)[0], 2).flatten(1), getattr(split, part)[1]) for part in parts}
        split = replace(split, **small)
    else:
        split = data.digits(generator=generator)
    mean, std = split.train[0].mean(0), split.train[0].std()
    return replace(split, **{part: ((x - mean) / std, y) for part in parts for x, y in [getattr(split, part)]})


def start(sizes):
    def one(generator):
        net = models.mlp(sizes, generator=generator)
        return starts.apply_(net, rules.he_normal_, bias=0.0, generator=generator)

    return one


def exponents(name, rule):
    if name == "digits" and rule.startswith("muon"):
        return range(-13, -4)
    if name == "digits":
        return range(-10, 6 if rule == "adadelta" else 2)
    at = {"glyphs": GLYPHS, "batch 500": LARGE}[name][rule]
    return range(at - 3, at + (4 if rule == "adadelta" else 3)) if name == "glyphs" else range(at - 5, at + 4)


def run(case):
    name, rule = case["data"], case["rule"]
    split, (rule, *half) = task(name), rule.split(", ")
    build = start([split.train[0].shape[1], 50, 50, split.num_classes])
    epochs = EPOCHS[name] // (2 if half else 1)
    every = {"digits": 2, "glyphs": 1, "batch 500": 30}[name]
    plan = population.Plan(epochs, 500 if name == "batch 500" else 32, valid_every=every, progress=False)
    powers = list(exponents(name, rule if not half else case["rule"]))

    def errors(chosen, seeds):
        rates = 10 ** (torch.tensor(chosen).double() / 3).repeat_interleave(len(seeds))
        settings = {"lr": rates.float(), **({"trust": 0.01} if rule == "lars" else {})}
        result = population.train(build, split, RULES[rule], settings, plan, seeds=list(seeds) * len(chosen))
        return result, 100 * result.valid_error.view(len(chosen), len(seeds), -1)

    _, valid = errors(powers, TUNING)
    best = powers[int(valid[:, :, -1].mean(1).argmin())]
    result, fresh = errors([best], FRESH)
    test, train = (population.evaluate(result.state, *part, loss=cross_entropy) for part in (split.test, split.train))
    again = {"again": _short(errors(powers, FRESH[:16])[1][:, :, -1])} if name == "batch 500" else {}
    return {
        **again, "exponents": powers, "best": best, "valid": _short(valid[:, :, -1]), "curves": _short(valid.mean(1)),
        "fresh": _short(fresh[0]), "test": _short(100 * test.error), "train_loss": _short(train.loss, 4),
    }  # fmt: skip


def _short(values, digits=2):
    return [_short(row, digits) for row in values] if values.ndim > 1 else [round(v, digits) for v in values.tolist()]
