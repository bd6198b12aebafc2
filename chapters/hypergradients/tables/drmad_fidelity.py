"""Hypergradients along shortcuts, compared with the exact one; 16 starts in two groups of eight.

64-50-50-50-10 tanh networks on 300 digits, batches of 100, rate .03, momentum .9, 500 steps, 214 log-L2 coefficients
at -6. Methods: "line" (DrMAD), "5 knots", "50 knots", "tail" (the last steps, exact), "clock" (the line, its place at
step t by the distance from the start), "printed" (the published pseudo-code, without rate and velocity). "curvature"
gives the extreme curvatures of the whole training loss on the line and on the path.
"""

import functools
import math

import torch

from labsupport import hypergradients
from labsupport.experiments.tables import rounded
from labsupport.hypergradients import films, inputs, setups

STEPS = 500
BACK = {
    "line": (10, 25, 50, 100, 150, 200, 300, 500), "5 knots": (50, 100, 200, 350, 500),
    "50 knots": (50, 100, 200, 350, 500), "tail": (10, 25, 50, 100, 200), "clock": (50, 100, 200, 350, 500),
    "printed": (5, 50), "curvature": (0,),
}  # fmt: skip
CASES = [
    {"group": group, "method": method, "num_steps": n} for group in (0, 1) for method, ns in BACK.items() for n in ns
]
PLACES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
split = inputs.few_digits().to(torch.float64)


@functools.cache
def world(group):
    """Problem and coefficients; with them the exact hypergradient, and the weights at every step."""
    seeds = range(100 + 8 * group, 108 + 8 * group)  # others than those on which the settings were tried
    problem, hyper = setups.digits_task(seeds, num_steps=STEPS, split=split)
    exact = hypergradients.hypergradient(problem, hyper, hypergradients.Stored(), limit=math.inf).grad
    return problem, hyper, exact, films.film(problem, hyper)


def clocked(num_steps):
    """The line, its place at a step the distance from the start that training had then."""

    def lay(film):
        far = [films.apart(place, film[0]) for place in film]
        for number in reversed(range(num_steps)):
            place = far[round(number * STEPS / num_steps)] / far[-1]
            yield STEPS - num_steps + number, films.between(film[0], film[-1], place)

    return films.Along(lay)


WAYS = {
    "line": hypergradients.DrMAD, "tail": hypergradients.Truncated, "clock": clocked,
    "5 knots": functools.partial(hypergradients.Knots, 5), "50 knots": functools.partial(hypergradients.Knots, 50),
}  # fmt: skip


def as_printed(problem, hyper, film, num_steps):
    """The line, with the adjoint of the weights alone and no rate."""
    a_w, a_h = torch.func.grad(problem.valid_loss)(film[-1]), dict.fromkeys(hyper, 0.0)
    for number in reversed(range(num_steps)):
        place, step = films.between(film[0], film[-1], number / num_steps), STEPS - num_steps + number
        curved, mixed = films.products(problem, hyper, place, a_w, step=step)
        a_h = {k: a_h[k] - mixed[k] for k in a_h}
        a_w = {k: a_w[k] - curved[k] for k in a_w}
    return a_h


def extremes(problem, hyper, film):
    """Largest and smallest curvature, by place u or time t/T, on the line and on the path."""
    found = {}
    for where in ("line", "path"):
        line = where == "line"
        places = [films.between(film[0], film[-1], u) if line else film[round(u * STEPS)] for u in PLACES]
        ends = [films.extremes(problem.train_loss, place, hyper, split.train, seed=0) for place in places]
        low, high = map(torch.stack, zip(*ends, strict=True))
        found |= {f"{where} largest": rounded(high, decimals=4), f"{where} smallest": rounded(low, decimals=4)}
    return found


def run(case):
    method, n = case["method"], case["num_steps"]
    problem, hyper, exact, film = world(case["group"])
    if method == "curvature":
        return extremes(problem, hyper, film)
    if method == "printed":
        grad = as_printed(problem, hyper, film, n)
    else:
        grad = hypergradients.hypergradient(problem, hyper, WAYS[method](n), limit=math.inf).grad
    near = films.nearness(grad, exact)
    return {key: rounded(getattr(near, key), decimals=3 if key == "log10_norm" else 4) for key in near._fields}
