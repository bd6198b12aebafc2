"""Hypergradients of the optimum, compared with the exact one of the training; eight starts.

300 digits in whole batches, rate .03, momentum .9, log-L2 for each input of each weight matrix. "one layer": 64-10 at
-3; "network": 64-50-50-50-10 tanh at -6. Methods at the end of 100, 300 and 1000 steps: "Neumann" (room, k terms at
training's rate .03), "Neumann, 1/h" (the same, its rate one over the largest curvature there), "CG" (k iterations of
conjugate gradient for H x = the validation gradient, from 0) and "last steps" (k of them, exactly). "state": the
training gradient's length, the smallest and the largest curvature at the end.
"""

import functools
import math

import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from labsupport import data, hypergradients, models
from labsupport.landscape import curvature

SEEDS = range(320, 328)  # others than those on which the settings were tried
SEATS = range(len(SEEDS))
MODELS = {"one layer": ([64, 10], -3.0), "network": ([64, 50, 50, 50, 10], -6.0)}
SIZES = {
    "Neumann": (5, 20, 100, 400), "Neumann, 1/h": (20, 400), "CG": (20,), "last steps": (5, 20), "state": (0,),
}  # fmt: skip
CASES = [
    {"model": model, "T": length, "method": name, "size": size}
    for model in MODELS for length in (100, 300, 1000) for name, sizes in SIZES.items() for size in sizes
]  # fmt: skip


def seeded(seed):
    return torch.Generator().manual_seed(seed)


split = data.digits(num_train=300, num_valid=400, generator=seeded(0))


def each(weights, x, y):
    """The loss of each network, (seeds,)."""
    values = list(weights.values())
    x = x.expand(len(values[0]), *x.shape)
    for layer in range(0, len(values), 2):
        x = torch.baddbmm(values[layer + 1][:, None], x.tanh() if layer else x, values[layer].mT)
    return cross_entropy(x.flatten(0, 1), y.repeat(len(x)), reduction="none").view(len(x), -1).mean(1)


def train_loss(weights, hyper, _):
    penalty = sum((hyper[k].exp()[:, None] * weights[k].square()).sum() for k in hyper)
    return each(weights, *split.train).sum() + 0.5 * penalty


def valid_loss(weights):
    return each(weights, *split.valid).sum()


@functools.cache
def world(model, num_steps):
    """Problem, hyperparameters, and the exact hypergradient with the weights at the end."""
    sizes, log = MODELS[model]
    nets = [models.mlp(sizes, activation="tanh", generator=seeded(s)) for s in SEEDS]
    parts = [dict(net.named_parameters()) for net in nets]
    start = {name: torch.stack([part[name].detach() for part in parts]) for name in parts[0]}
    hyper = {k: v.new_full((len(SEEDS), v.shape[2]), log) for k, v in start.items() if v.ndim == 3}
    problem = hypergradients.Problem(train_loss, valid_loss, start, lambda _: 0, num_steps, 0.03, 0.9)
    return problem, hyper, hypergradients.hypergradient(problem, hyper, hypergradients.Stored(), limit=math.inf)


def flat(named):
    return torch.cat([value.flatten(1) for value in named.values()], 1).double()


def products(weights, hyper, vector):
    """H v and the mixed product."""
    weights = {k: v.detach().requires_grad_() for k, v in weights.items()}
    by = {k: v.detach().requires_grad_() for k, v in hyper.items()}
    slope = torch.autograd.grad(train_loss(weights, by, 0), list(weights.values()), create_graph=True)
    dot = sum((g * vector[k]).sum() for k, g in zip(weights, slope, strict=True))
    both = torch.autograd.grad(dot, [*weights.values(), *by.values()])
    return dict(zip(weights, both, strict=False)), dict(zip(by, both[len(weights) :], strict=True))


def scaled(by, named):
    return {k: by.view(-1, *[1] * (v.ndim - 1)) * v for k, v in named.items()}


def dots(one, other):
    return sum((one[k] * other[k]).flatten(1).sum(1) for k in one)


def conjugate(weights, hyper, num_steps):
    """-(mixed) x with H x = the validation gradient, x by conjugate gradient, each network by itself."""
    left = torch.func.grad(valid_loss)(weights)
    x, way, square = dict.fromkeys(left, 0.0), left, dots(left, left)
    for _ in range(num_steps):
        curved, _ = products(weights, hyper, way)
        rate = square / dots(way, curved)
        x = {k: x[k] + v for k, v in scaled(rate, way).items()}
        left = {k: left[k] - v for k, v in scaled(rate, curved).items()}
        before, square = square, dots(left, left)
        way = {k: left[k] + v for k, v in scaled(square / before, way).items()}
    return {k: -v for k, v in products(weights, hyper, x)[1].items()}


def highest(weights, hyper):
    """The largest curvature of each network, by 40 power iterations."""
    way = torch.func.grad(valid_loss)(weights)
    for _ in range(40):
        way, _ = products(weights, hyper, scaled(dots(way, way).rsqrt(), way))
    return dots(way, way).sqrt()


def series(weights, hyper, num_terms, rates):
    """-(mixed) x with x the Neumann series of H, times the validation gradient; a rate for each network."""
    total = term = torch.func.grad(valid_loss)(weights)
    for _ in range(num_terms):
        curved = scaled(rates, products(weights, hyper, term)[0])
        term = {k: term[k] - curved[k] for k in term}
        total = {k: total[k] + term[k] for k in term}
    return products(weights, hyper, scaled(-rates, total))[1]


def state(weights, hyper):
    """Lengths of the training gradient, and smallest curvatures."""
    slope = flat(torch.func.grad(train_loss)(weights, hyper, 0)).norm(dim=1)
    low = [lowest(*({k: v[n : n + 1].double() for k, v in given.items()} for given in (weights, hyper))) for n in SEATS]
    return slope, torch.tensor(low)


def lowest(weights, hyper):
    weights, (x, y) = {k: v.requires_grad_() for k, v in weights.items()}, split.train

    def loss():
        penalty = sum((hyper[k].exp()[:, None] * weights[k].square()).sum() for k in hyper)
        return each(weights, x.double(), y).sum() + 0.5 * penalty

    product, dim = curvature.hvp(loss, list(weights.values())), sum(v.numel() for v in weights.values())
    top, _ = curvature.eigs(product, dim, 1, num_steps=20, generator=seeded(0))
    shift = float(top.abs())
    most, _ = curvature.eigs(lambda v: product(v) - shift * v, dim, 1, num_steps=30, generator=seeded(1))
    return float(most) + shift


def run(case):
    problem, hyper, exact = world(case["model"], case["T"])
    if case["method"] == "state":
        slope, low = state(exact.weights, hyper)
        found = {"slope": slope, "lowest": low, "highest": highest(exact.weights, hyper)}
        return {key: [round(v, 5 if key == "slope" else 4) for v in each.tolist()] for key, each in found.items()}
    if case["method"] == "CG":
        grad = conjugate(exact.weights, hyper, case["size"])
    elif case["method"] == "Neumann, 1/h":
        grad = series(exact.weights, hyper, case["size"], 1 / highest(exact.weights, hyper))
    else:
        way = {"Neumann": hypergradients.Neumann, "last steps": hypergradients.Truncated}[case["method"]]
        grad = hypergradients.hypergradient(problem, hyper, way(case["size"]), limit=math.inf).grad
    ours, truth = flat(grad), flat(exact.grad)
    return {"cosine": [round(v, 5) for v in cosine_similarity(ours, truth).tolist()]}
