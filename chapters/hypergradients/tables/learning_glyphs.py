"""The article's experiment: 934 coefficients of 784-50-50-50-10, trained for 2,000 steps; 8 starts at once.

Glyphs of ten digits, 28×28: 1,000 to train on, 500 to validate, 2,000 as the third split. Momentum 0.1, rate 0.05,
batches of 50 (the same for all starts); ten meta-steps of 0.3 by the sign of the hypergradient, from log-coefficients
of −6: exact (by checkpoints, where storing would take 3 GB) or by DrMAD with 200 steps back. Start and order stay the
same. A case returns, for each meta-step and seed in turn, mean and standard deviation of the 934 (`mean`, `spread`),
and the validation loss before it (`curve`, mean of the seeds); seed by seed, before and after, validation loss, test
loss and error on the learner's own start and order (`own`), and from two starts and orders it never saw (`new`).
`zeros` counts hypergradients always exactly 0. `maps` are the 784 of the first layer in units of a meta-step, for the
first two seeds after every second meta-step; `alike` is the mean correlation of the 784 between pairs of seeds at the
end. Settings were tried on seeds 0 to 3.
"""

import math

import torch
from torch.nn.functional import cross_entropy

from labsupport import data, hypergradients, models
from labsupport.population.programs import compiler

STEPS, SEEDS, SIZES, META, SIZE = 2000, range(600, 608), [784, 50, 50, 50, 10], 10, 0.3
WAYS = {"exact": hypergradients.SqrtCheckpoint(), "DrMAD": hypergradients.DrMAD()}
CASES = [{"method": name} for name in WAYS]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def starts(offset):
    nets = [dict(models.mlp(SIZES, activation="tanh", generator=seeded(s + offset)).named_parameters()) for s in SEEDS]
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
    split = data.glyphs("digits", sizes=(1000, 500, 2000), generator=seeded(0)).flat()
    backend = "eager" if compiler() else "compiled"

    def problem(offset, order):
        batches = hypergradients.minibatches(*split.train, 50, seed=order)
        return hypergradients.Problem(
            train_loss, lambda w: each(w, *split.valid).sum(), starts(offset), batches, STEPS, 0.05, 0.1
        )

    def judged(hyper, offset, order):
        weights, _ = hypergradients.train(problem(offset, order), hyper, backend=backend)
        wrong = (outputs(weights, split.test[0]).argmax(2) != split.test[1]).float().mean(1)
        return torch.stack([each(weights, *split.valid), each(weights, *split.test), wrong])

    first = problem(0, 3)
    hyper = {k: v.new_full((len(SEEDS), v.shape[2]), -6.0) for k, v in first.weights.items() if v.ndim == 3}
    plan = hypergradients.MetaPlan(META, SIZE, rule="sign", backend=backend, limit=math.inf, progress=True)
    learnt = hypergradients.meta_optimize(lambda _: first, hyper, WAYS[case["method"]], plan)
    everything, pixels = torch.cat(list(learnt.history.values()), 2), learnt.history["0.weight"]
    alike = torch.corrcoef(pixels[-1])[*torch.triu_indices(len(SEEDS), len(SEEDS), 1)].mean().item()
    found = {
        "mean": [round(v, 4) for v in everything.mean(2).flatten().tolist()],
        "spread": [round(v, 4) for v in everything.std(2).flatten().tolist()],
        "curve": [round(v / len(SEEDS), 5) for v in learnt.valid_loss.tolist()],
        "zeros": int((everything == -6.0).all(0).sum()),
        "maps": ((pixels[::2, :2] + 6.0) / SIZE).round().int().flatten().tolist(),
        "alike": round(alike, 4),
    }
    for when, at in (("before", hyper), ("after", learnt.hyper)):
        new = [judged(at, 100_000 * (k + 1), 900 + k) for k in range(2)]
        for where, numbers in (("own", judged(at, 0, 3)), ("new", torch.stack(new).mean(0))):
            for name, values in zip(("valid", "test", "error"), numbers, strict=True):
                found[f"{where}_{name}_{when}"] = [round(v, 5) for v in values.tolist()]
    return found
