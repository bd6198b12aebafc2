"""Fifteen meta-steps with the exact hypergradient and with shortcuts; 16 starts at once.

The networks of drmad_fidelity, 200 steps, the sign of the hypergradient times .35. For each method: validation loss
before the first meta-step and after the last one, on the learner's own start and order; then test loss on the same.
"""

import math

import torch
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy

from labsupport import data, hypergradients, models

STEPS, SEEDS = 200, range(200, 216)  # others than those on which the settings were tried
WAYS = {
    "exact": hypergradients.Stored(), "DrMAD, T/10": hypergradients.DrMAD(), "tail, T/10": hypergradients.Truncated(20),
    "DrMAD, T/5": hypergradients.DrMAD(40),
}  # fmt: skip
CASES = [{"method": name} for name in WAYS]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def run(case):
    split = data.digits(num_train=300, num_valid=400, generator=seeded(0)).to(torch.float64)
    nets = [models.mlp([64, 50, 50, 50, 10], activation="tanh", generator=seeded(s)).double() for s in SEEDS]
    parts = [dict(net.named_parameters()) for net in nets]
    start = {name: torch.stack([part[name].detach() for part in parts]) for name in parts[0]}

    def each(weights, x, y):
        return vmap(lambda params: cross_entropy(functional_call(nets[0], params, (x,)), y))(weights)

    def train_loss(weights, hyper, batch):
        penalty = sum((hyper[k].exp()[:, None] * weights[k].square()).sum() for k in hyper)
        return each(weights, *batch).sum() + 0.5 * penalty

    hyper = {k: v.new_full((len(SEEDS), v.shape[2]), -6.0) for k, v in start.items() if v.ndim == 3}
    batches = hypergradients.minibatches(*split.train, 100, seed=3)
    problem = hypergradients.Problem(
        train_loss, lambda w: each(w, *split.valid).sum(), start, batches, STEPS, 0.03, 0.9
    )
    plan = hypergradients.MetaPlan(15, 0.35, rule="sign", limit=math.inf)
    learnt = hypergradients.meta_optimize(lambda _: problem, hyper, WAYS[case["method"]], plan)
    found = {}
    for when, at in (("before", hyper), ("after", learnt.hyper)):
        weights, _ = hypergradients.train(problem, at)
        with torch.no_grad():
            for part, pair in (("valid", split.valid), ("test", split.test)):
                found[f"{part}_{when}"] = [round(v, 4) for v in each(weights, *pair).tolist()]
    return found
