"""What coefficients learnt by ever cheaper hypergradients are worth; eight seeds, each with data of its own or a start.

Setting "noise": digits with 64 inputs of noise (sd .35) added, 150 training and 800 validation examples, 128-20-10
tanh, whole batches, rate .03, momentum .9, T = 120, one log-L2 an input from -4.6, 25 Adam steps of .3, a fresh start
at every one. Setting "memory": the networks of drmad_learning, T = 200, 214 log-L2, 15 sign steps of .35, always the
same start and order. Judged before and after: validation loss on the learner's own start and order; test loss and
test error (%), means of four fresh starts (and orders) that nothing learnt from.
"""

import math

import torch
from torch.nn.functional import cross_entropy

from labsupport import data, hypergradients, models

SEEDS, FRESH = 8, 4
FIRST = {"noise": 40, "memory": 400}  # others than those on which the settings were tried
LONG = {"noise": 120, "memory": 200}
WAYS = {
    "exact": lambda T: hypergradients.Stored(), "5 knots, 2T/5": lambda T: hypergradients.Knots(5, 2 * T // 5),
    "DrMAD": lambda T: hypergradients.DrMAD(), "last T/10": lambda T: hypergradients.Truncated(T // 10),
    "last step": lambda T: hypergradients.Truncated(1), "Neumann, T/10": lambda T: hypergradients.Neumann(T // 10),
    "Neumann, T": lambda T: hypergradients.Neumann(T),
}  # fmt: skip
CASES = [{"setting": setting, "method": name} for setting in LONG for name in ("none", *WAYS)]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def starts(sizes, first):
    """Stacked networks, (seeds, …) each."""
    nets = [models.mlp(sizes, activation="tanh", generator=seeded(first + s)) for s in range(SEEDS)]
    parts = [dict(net.named_parameters()) for net in nets]
    return {name: torch.stack([part[name].detach() for part in parts]) for name in parts[0]}


def logits(weights, x):
    values = list(weights.values())
    for layer in range(0, len(values), 2):
        x = torch.baddbmm(values[layer + 1][:, None], x.tanh() if layer else x, values[layer].mT)
    return x


def each(weights, batch):
    """The loss of each network, (seeds,)."""
    x, y = batch
    return cross_entropy(logits(weights, x).flatten(0, 1), y.flatten(), reduction="none").view(SEEDS, -1).mean(1)


def wrong(weights, batch):
    return 100 * (logits(weights, batch[0]).argmax(2) != batch[1]).float().mean(1)


def noisy(pair, seed):
    x, y = pair
    return torch.cat([x, 0.35 * torch.randn(len(x), 64, generator=seeded(seed))], 1), y


def stacked(pairs):
    return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])


def parts_of(setting):
    """Training, validation and test examples, (seeds, n, …)."""
    if setting == "memory":
        split = data.digits(num_train=300, num_valid=400, generator=seeded(0))
        return [stacked([pair] * SEEDS) for pair in (split.train, split.valid, split.test)]
    found = []
    for s in range(FIRST[setting], FIRST[setting] + SEEDS):
        split = data.digits(num_train=150, num_valid=800, generator=seeded(s))
        pairs = split.train, split.valid, split.test
        found.append([noisy(pair, 10_000 + 10 * s + k) for k, pair in enumerate(pairs)])
    return [stacked([parts[k] for parts in found]) for k in range(3)]


def orders(train, seed):
    """step -> batch of 100, the same places for all networks."""
    one = hypergradients.minibatches(train[0].transpose(0, 1), train[1].T, 100, seed=seed)
    return lambda step: tuple(part.transpose(0, 1) for part in one(step))


def world(setting):
    """(attempt -> problem), hyperparameters at their start, the three parts; attempt 0 is the learner's own."""
    parts = train, valid, _ = parts_of(setting)
    sizes = {"noise": [128, 20, 10], "memory": [64, 50, 50, 50, 10]}[setting]
    like = starts(sizes, 0)
    names = [k for k, v in like.items() if v.ndim == 3][: 1 if setting == "noise" else None]
    log = {"noise": -4.6, "memory": -6.0}[setting]
    hyper = {k: torch.full((SEEDS, like[k].shape[2]), log) for k in names}

    def train_loss(weights, hyper, batch):
        return each(weights, batch).sum() + 0.5 * sum(
            (hyper[k].exp()[:, None] * weights[k].square()).sum() for k in hyper
        )

    def problem(attempt):
        begin = starts(sizes, 1000 * FIRST[setting] + SEEDS * attempt)
        batches = (lambda step: train) if setting == "noise" else orders(train, 3 + attempt)
        judge = lambda weights: each(weights, valid).sum()  # noqa: E731
        return hypergradients.Problem(train_loss, judge, begin, batches, LONG[setting], 0.03, 0.9)

    return problem, hyper, parts


def run(case):
    setting, name = case["setting"], case["method"]
    problem, hyper, (_, valid, test) = world(setting)
    if name != "none":
        rule = {"noise": (25, 0.3, "adam"), "memory": (15, 0.35, "sign")}[setting]
        plan = hypergradients.MetaPlan(*rule, limit=math.inf)
        taken = problem if setting == "noise" else lambda _: problem(0)
        hyper = hypergradients.meta_optimize(taken, hyper, WAYS[name](LONG[setting]), plan).hyper
    with torch.no_grad():
        own = each(hypergradients.train(problem(0), hyper)[0], valid)
        fresh = [hypergradients.train(problem(100 + k), hyper)[0] for k in range(FRESH)]
        loss = torch.stack([each(weights, test) for weights in fresh]).mean(0)
        error = torch.stack([wrong(weights, test) for weights in fresh]).mean(0)
    found = {"valid": own, "test_loss": loss, "test_error": error}
    return {key: [round(v, 4) for v in values.tolist()] for key, values in found.items()}
