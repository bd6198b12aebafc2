"""Test errors of logistic regression on rare words, by the words' frequencies and the optimizer; 32 fresh seeds a case.

300 words; word j stands in a text with a probability in proportion to j^-exponent (at most 0.5), about 10 words a
text. Every word has a weight from N(0, 9), and a text is positive if the weights of its words add up to more than
the median. Training sees 200 batches of 10 texts once, from weights of zero; each seed draws its own texts from 20,000.
"sgd, 1/√t" has the rate η/√(t+1). Rates are 10^(k/3) on a grid around the best of an earlier trial on other seeds;
the best of eight seeds on 4,000 validation texts is tested on 4,000 others.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labsupport import optimizers, population

WORDS, POOL, EACH = 300, 20000, 4000
TUNING, FRESH = range(100, 108), range(200, 232)
CENTERS = {"sgd": 0, "sgd, 1/√t": 3, "momentum": -3, "adagrad": -1, "adam": -5}
CASES = [{"exponent": a, "rule": rule} for a in (0.0, 0.5, 1.0, 1.5) for rule in CENTERS]


def frequencies(exponent):
    rank = torch.arange(1, WORDS + 1).double()
    share = rank**-exponent
    for _ in range(50):  # the most frequent words stop at one half, the others make up for it
        share = (share * 10 / share.sum()).clamp(max=0.5)
    return share


def texts(exponent):
    draw = torch.Generator().manual_seed(0)
    weights = 3 * torch.randn(WORDS, generator=draw)
    count = POOL + 2 * EACH
    x = (torch.rand(count, WORDS, generator=draw) < frequencies(exponent)).float()
    score = x @ weights
    y = (score > score.median()).long()
    return list(zip(x.split([POOL, EACH, EACH]), y.split([POOL, EACH, EACH]), strict=True))


def build(generator):
    net = nn.Linear(WORDS, 2)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    return net


def trained(rule, pool, rates, seeds):
    name, *slowing = rule.split(", ")
    schedule = {"lr": lambda t: (1 + t) ** -0.5} if slowing else {}
    plan = population.Plan(1, 10, schedule=schedule, backend="eager", progress=False)
    given = {"lr": torch.tensor(rates).repeat_interleave(len(seeds))}
    state = population.init(build, getattr(optimizers, name)(), given, seeds=list(seeds) * len(rates))
    return population.step(state, *pool, plan, num_steps=200)[0]


def run(case):
    pool, valid, test = texts(case["exponent"])
    rates = [10 ** (k / 3) for k in range(CENTERS[case["rule"]] - 4, CENTERS[case["rule"]] + 5)]
    tried = population.evaluate(trained(case["rule"], pool, rates, TUNING), *valid, loss=cross_entropy).error
    means = 100 * tried.view(len(rates), -1).mean(1)
    best = rates[int(means.argmin())]
    error = population.evaluate(trained(case["rule"], pool, [best], FRESH), *test, loss=cross_entropy).error
    return {
        "best": round(best, 5), "rates": [round(rate, 5) for rate in rates],
        "valid": [round(v, 2) for v in means.tolist()], "test": [round(100 * v, 2) for v in error.tolist()],
    }  # fmt: skip
