"""Hypergradients of the optimum, compared with the exact one of the training; eight starts.

300 digits in whole batches, rate .03, momentum .9, log-L2 for each input of each weight matrix. "one layer": 64-10 at
-3; "network": 64-50-50-50-10 tanh at -6. Methods at the end of 100, 300 and 1000 steps: "Neumann" (room, k terms at
training's rate .03), "Neumann, 1/h" (the same, its rate one over the largest curvature there), "CG" (k iterations of
conjugate gradient for H x = the validation gradient, from 0) and "last steps" (k of them, exactly). "state": the
training gradient's length, the smallest and the largest curvature at the end.
"""

import functools
import math

from torch.func import grad

from labsupport import data, hypergradients
from labsupport.experiments import seeded
from labsupport.experiments.tables import rounded
from labsupport.hypergradients import films
from labsupport.hypergradients.studies import Study

SEEDS = range(320, 328)  # others than those on which the settings were tried
MODELS = {"one layer": ([64, 10], -3.0), "network": ([64, 50, 50, 50, 10], -6.0)}
SIZES = {
    "Neumann": (5, 20, 100, 400), "Neumann, 1/h": (20, 400), "CG": (20,), "last steps": (5, 20), "state": (0,),
}  # fmt: skip
CASES = [
    {"model": model, "T": length, "method": name, "size": size}
    for model in MODELS for length in (100, 300, 1000) for name, sizes in SIZES.items() for size in sizes
]  # fmt: skip
split = data.digits(num_train=300, num_valid=400, generator=seeded(0))


def task(model, num_steps, seeds=SEEDS, split=split):
    """Problem and hyperparameters of networks side by side."""
    sizes, log = MODELS[model]
    study = Study(sizes, split.train, split.valid, split.test, lambda _: seeds, num_steps, 0.03)
    return study.problem(0), study.coefficients(log)


@functools.cache
def world(model, num_steps):
    """Both, and the exact hypergradient with the weights at the end."""
    problem, hyper = task(model, num_steps)
    return problem, hyper, hypergradients.hypergradient(problem, hyper, hypergradients.Stored(), limit=math.inf)


def scaled(by, named):
    return {k: by.view(-1, *[1] * (v.ndim - 1)) * v for k, v in named.items()}


def dots(one, other):
    return sum((one[k] * other[k]).flatten(1).sum(1) for k in one)


def conjugate(products, left, num_steps):
    """-(mixed) x with H x = the validation gradient `left`, x by conjugate gradient, each network by itself."""
    x, way, square = dict.fromkeys(left, 0.0), left, dots(left, left)
    for _ in range(num_steps):
        curved, _ = products(way)
        rate = square / dots(way, curved)
        x = {k: x[k] + v for k, v in scaled(rate, way).items()}
        left = {k: left[k] - v for k, v in scaled(rate, curved).items()}
        before, square = square, dots(left, left)
        way = {k: left[k] + v for k, v in scaled(square / before, way).items()}
    return {k: -v for k, v in products(x)[1].items()}


def highest(products, way):
    """The largest curvature of each network, by 40 power iterations."""
    for _ in range(40):
        way, _ = products(scaled(dots(way, way).rsqrt(), way))
    return dots(way, way).sqrt()


def series(products, term, num_terms):
    """-(mixed) x with x the Neumann series of H, times the validation gradient; a rate for each network."""
    rates, total = 1 / highest(products, term), term
    for _ in range(num_terms):
        curved = scaled(rates, products(term)[0])
        term = {k: term[k] - curved[k] for k in term}
        total = {k: total[k] + term[k] for k in term}
    return products(scaled(-rates, total))[1]


def run(case):
    method, size = case["method"], case["size"]
    problem, hyper, exact = world(case["model"], case["T"])
    products = functools.partial(films.products, problem, hyper, exact.weights)
    slope = grad(problem.valid_loss)(exact.weights)
    if method == "state":
        steep = films.flat(grad(problem.train_loss)(exact.weights, hyper, split.train), members=True).double()
        low, _ = films.extremes(problem.train_loss, exact.weights, hyper, split.train, num_steps=(20, 30), seed=0)
        ends = {"lowest": rounded(low, decimals=4), "highest": rounded(highest(products, slope), decimals=4)}
        return {"slope": rounded(steep.norm(dim=1), decimals=5)} | ends
    if method in ("CG", "Neumann, 1/h"):
        found = (conjugate if method == "CG" else series)(products, slope, size)
    else:
        way = {"Neumann": hypergradients.Neumann, "last steps": hypergradients.Truncated}[method]
        found = hypergradients.hypergradient(problem, hyper, way(size), limit=math.inf).grad
    return {"cosine": rounded(films.nearness(found, exact.grad).cosine, decimals=5)}
