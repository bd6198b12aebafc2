"""Hypergradients of the optimum, compared with the exact one of the training; eight starts.

300 digits in whole batches, rate .03, momentum .9, log-L2 for each input of each weight matrix. "one layer": 64-10 at
-3; "network": 64-50-50-50-10 tanh at -6. Methods at the end of 100, 300 and 1000 steps: "Neumann" (room, k terms at
training's rate .03), "Neumann, 1/h" (the same, its rate one over the largest curvature there), "CG" (k iterations of
conjugate gradient for H x = the validation gradient, from 0) and "last steps" (k of them, exactly). "state": the
training gradient's length, the smallest and the largest curvature at the end.
"""

import functools
import math
from dataclasses import replace

from torch.func import grad

from labsupport import hypergradients
from labsupport.experiments.tables import rounded
from labsupport.hypergradients import films, setups, solving

SEEDS = range(320, 328)  # others than those on which the settings were tried
MODELS = {"one layer": ([64, 10], -3.0), "network": ([64, 50, 50, 50, 10], -6.0)}
SIZES = {
    "Neumann": (5, 20, 100, 400), "Neumann, 1/h": (20, 400), "CG": (20,), "last steps": (5, 20), "state": (0,),
}  # fmt: skip
CASES = [
    {"model": model, "T": length, "method": name, "size": size}
    for model in MODELS for length in (100, 300, 1000) for name, sizes in SIZES.items() for size in sizes
]  # fmt: skip


def task(model, num_steps, seeds=SEEDS, split=None):
    """Problem and coefficients of networks side by side."""
    sizes, log = MODELS[model]
    study = replace(setups.on_digits(seeds, num_steps=num_steps, split=split), sizes=sizes, batches=None)
    return study.problem(0), study.coefficients(log)


@functools.cache
def world(model, num_steps):
    """Both, and the exact hypergradient with the weights at the end."""
    problem, hyper = task(model, num_steps)
    return problem, hyper, hypergradients.hypergradient(problem, hyper, hypergradients.Stored(), limit=math.inf)


def run(case):
    method, size = case["method"], case["size"]
    problem, hyper, exact = world(case["model"], case["T"])
    products = functools.partial(films.products, problem, hyper, exact.weights)
    slope, curved = grad(problem.valid_loss)(exact.weights), lambda v: products(v)[0]
    if method == "state":
        loss, batch = problem.train_loss, problem.batches(0)
        steep = films.flat(grad(loss)(exact.weights, hyper, batch), members=True).double().norm(dim=1)
        low, _ = films.extremes(loss, exact.weights, hyper, batch, num_steps=(20, 30), seed=0)
        high = solving.highest(curved, slope)
        ends = {"lowest": rounded(low, decimals=4), "highest": rounded(high, decimals=4)}
        return {"slope": rounded(steep, decimals=5)} | ends
    down = {k: -v for k, v in slope.items()}
    if method == "CG":
        found = products(solving.conjugate(curved, down, num_steps=size))[1]
    elif method == "Neumann, 1/h":
        found = products(solving.series(curved, down, 1 / solving.highest(curved, slope), num_terms=size))[1]
    else:
        way = {"Neumann": hypergradients.Neumann, "last steps": hypergradients.Truncated}[method]
        found = hypergradients.hypergradient(problem, hyper, way(size), limit=math.inf).grad
    return {"cosine": rounded(films.nearness(found, exact.grad).cosine, decimals=5)}
