"""The 214 coefficients of 64-50-50-50-10 learnt for one start or for many: 8 runs at once, judged in every way.

Digits, 300 to train on, 500 steps of momentum 0.9, batches of 100; fifteen meta-steps of 0.35 by the sign. Start and
order stay the same ("one") or are drawn anew at each meta-step ("new"). A case returns, seed by seed and before (at the
first coefficients) and after, validation loss, test loss and test error on the learner's own start and order (`own`),
and their means over four starts and orders that it never saw (`new`). `curve` has the validation loss before each
meta-step. Settings were tried on seeds 300 to 303.
"""

import math

import torch
from torch.nn.functional import cross_entropy

from labsupport import data, hypergradients, models
from labsupport.population.programs import compiler

STEPS, SEEDS, SIZES = 500, range(400, 408), [64, 50, 50, 50, 10]  # seeds on which nothing was tried
WAYS = {
    "exact": hypergradients.Stored(), "50 knots": hypergradients.Knots(50), "DrMAD": hypergradients.DrMAD(),
}  # fmt: skip
CASES = [{"method": name, "starts": "one"} for name in WAYS]
CASES += [{"method": name, "starts": "new"} for name in ("exact", "DrMAD")]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def starts(seeds):
    nets = [dict(models.mlp(SIZES, activation="tanh", generator=seeded(s)).named_parameters()) for s in seeds]
    return {name: torch.stack([net[name].detach() for net in nets]) for name in nets[0]}


def outputs(weights, x):
    matrices, h = [name for name in weights if name.endswith("weight")], x.expand(len(SEEDS), *x.shape)
    for name in matrices:
        h = torch.baddbmm(weights[name.replace("weight", "bias")][:, None], h, weights[name].mT)
        h = h if name == matrices[-1] else h.tanh()
    return h


def each(weights, x, y):
    found = outputs(weights, x).transpose(1, 2)
    return cross_entropy(found, y.expand(len(SEEDS), -1), reduction="none").mean(1)


def train_loss(weights, hyper, batch):
    penalty = sum((hyper[k].exp()[:, None] * weights[k].square()).sum() for k in hyper)
    return each(weights, *batch).sum() + 0.5 * penalty


def run(case):
    split = data.digits(num_train=300, num_valid=400, generator=seeded(0))
    backend = "eager" if compiler() else "compiled"

    def problem(offset, order):
        batches = hypergradients.minibatches(*split.train, 100, seed=order)
        start = starts([s + offset for s in SEEDS])
        return hypergradients.Problem(
            train_loss, lambda w: each(w, *split.valid).sum(), start, batches, STEPS, 0.03, 0.9
        )

    def judged(hyper, offset, order):
        weights, _ = hypergradients.train(problem(offset, order), hyper, backend=backend)
        wrong = (outputs(weights, split.test[0]).argmax(2) != split.test[1]).float().mean(1)
        return torch.stack([each(weights, *split.valid), each(weights, *split.test), wrong])

    first = problem(0, 3)
    hyper = {k: v.new_full((len(SEEDS), v.shape[2]), -6.0) for k, v in first.weights.items() if v.ndim == 3}
    plan = hypergradients.MetaPlan(15, 0.35, rule="sign", backend=backend, limit=math.inf, progress=True)
    at = (lambda k: problem(1000 * (k + 1), 100 + k)) if case["starts"] == "new" else lambda k: first
    learnt = hypergradients.meta_optimize(at, hyper, WAYS[case["method"]], plan)
    found = {"curve": [round(v / len(SEEDS), 5) for v in learnt.valid_loss.tolist()]}
    for when, at in (("before", hyper), ("after", learnt.hyper)):
        new = [judged(at, 100_000 * (k + 1), 900 + k) for k in range(4)]
        for where, numbers in (("own", judged(at, 0, 3)), ("new", torch.stack(new).mean(0))):
            for name, values in zip(("valid", "test", "error"), numbers, strict=True):
                found[f"{where}_{name}_{when}"] = [round(v, 5) for v in values.tolist()]
    return found
