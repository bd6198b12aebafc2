"""What each method keeps, how much it works, and how far its hypergradient lies from the exact one; eight starts.

The networks of drmad_fidelity in float32: 64-50-50-50-10 tanh on 300 digits, batches of 100, rate .03, momentum .9,
214 log-L2 coefficients at -6, for 50 to 500 steps. Rows of `kind` "method": copies of the weights (float32) that
are kept, products with second derivatives, steps trained more than once, cosine and log10 of length / exact.
"autograd" and "reversible, .1" are counted on one network and have no cosine: the first is exact by definition, the
second trains another way. Rows of `kind` "place": pieces between snapshots that lie even in time, even in the way
travelled, or at t = T (k/K)^2, all steps back; with them, how far each piece is from the path at 51 times.
"""

import functools
import itertools
import math
from dataclasses import replace

import torch

from labsupport import hypergradients
from labsupport.experiments.tables import rounded
from labsupport.hypergradients import films, setups
from labsupport.hypergradients.problem import nbytes
from labsupport.hypergradients.runs import Run

SEEDS = range(300, 308)  # others than those on which the settings were tried
LENGTHS = (50, 100, 200, 500)
TAILS, KNOTS, TERMS = (3, 6, 11, 21, 51, 201), (5, 10, 20, 50), (10, 50, 200)
SEEN = 51
EXACT = ("autograd", "stored", "bfloat16", "√T", "reversible, .9", "reversible, .1", "forward")
CASES = [
    {"kind": "method", "T": length, "method": name, "size": size}
    for length in LENGTHS
    for name, sizes in (
        *((name, (0,)) for name in (*EXACT, "DrMAD")), ("knots", KNOTS), ("knots, 2T/5", (2, 5, 10)),
        ("tail", TAILS), ("Neumann", TERMS),
    )
    for size in sizes if size < length
] + [
    {"kind": "place", "T": 500, "method": name, "size": size}
    for name in ("even", "travelled", "early") for size in (3, 5, 10, 20)
]  # fmt: skip
TOLERANCE = {"copies": 1, "cosine": 1e-6}  # what torch saves for a loss, and how it rounds, depends on its layout
WAYS = {
    "stored": lambda k, T: hypergradients.Stored(), "bfloat16": lambda k, T: hypergradients.Stored(torch.bfloat16),
    "√T": lambda k, T: hypergradients.SqrtCheckpoint(), "reversible, .9": lambda k, T: hypergradients.Reversible(),
    "DrMAD": lambda k, T: hypergradients.DrMAD(), "knots": lambda k, T: hypergradients.Knots(k),
    "knots, 2T/5": lambda k, T: hypergradients.Knots(k, 2 * T // 5),
    "tail": lambda k, T: hypergradients.Truncated(k), "Neumann": lambda k, T: hypergradients.Neumann(k),
}  # fmt: skip


def task(num_steps, seeds=SEEDS):
    return setups.digits_task(seeds, num_steps=num_steps)


def solve(task, method):
    return hypergradients.hypergradient(*task, method, limit=math.inf)


def copies(task, num_bytes):
    return num_bytes / nbytes(task[0].weights)


@functools.cache
def exact(num_steps):
    return solve(task(num_steps), hypergradients.Stored())


def fidelity(grad, num_steps):
    near = films.nearness(grad, exact(num_steps).grad)
    return {"cosine": rounded(near.cosine, decimals=7), "log10_norm": rounded(near.log10_norm, decimals=3)}


def counted(name, num_steps):
    """Copies kept and products, of the two that are only counted on one network, and of forward mode."""
    if name == "forward":
        total = len(films.flat(task(num_steps, SEEDS[:1])[1]))
        return {"copies": 2.0, "products": num_steps * total, "again": num_steps * (total - 1)}
    if name == "reversible, .1":
        problem, hyper = task(num_steps, SEEDS[:1])
        one = replace(problem, momentum=0.1, lr=problem.lr * (1 - 0.1) / (1 - problem.momentum)), hyper
        kept = copies(one, solve(one, hypergradients.Reversible()).stored_bytes)
        return {"copies": round(kept, 2), "products": num_steps, "again": num_steps}
    one = task(50, SEEDS[:1])
    kept = copies(one, films.saved_bytes(lambda: hypergradients.Unrolled().solve(Run(*one, "eager"))))  # no checks
    return {"copies": round(kept * num_steps / 50), "products": num_steps, "again": 0}


def times(film, name, size):
    """When the snapshots are taken: size + 1 steps, 0 and T among them."""
    shares, num_steps = [k / size for k in range(size + 1)], len(film) - 1
    if name != "travelled":
        return [round(share ** (2 if name == "early" else 1) * num_steps) for share in shares]
    way = torch.stack([torch.zeros(len(SEEDS)), *(films.apart(b, a) for a, b in itertools.pairwise(film))]).cumsum(0)
    travelled = (way / way[-1]).mean(1).float()
    return [int((travelled - share).abs().argmin()) for share in shares]


def between(film, when, step):
    piece = max(k for k, time in enumerate(when[:-1]) if time <= step)
    first, then = when[piece : piece + 2]
    return films.between(film[first], film[then], (step - first) / (then - first))


def placed(name, size, num_steps):
    """Snapshots somewhere on the path, all steps back; and how far the pieces are from it."""
    film = films.film(*task(num_steps))
    when, seen = times(film, name, size), [round(k * num_steps / (SEEN - 1)) for k in range(SEEN)]
    way = films.Along(lambda film: ((step, between(film, when, step)) for step in reversed(range(num_steps))))
    gaps = [(films.apart(between(film, when, t), film[t]) / films.apart(film[-1], film[0])).mean() for t in seen]
    return fidelity(solve(task(num_steps), way).grad, num_steps) | {"when": when, "gap": rounded(gaps, decimals=4)}


def run(case):
    name, size, num_steps = case["method"], case["size"], case["T"]
    if case["kind"] == "place":
        return placed(name, size, num_steps)
    if name in ("autograd", "reversible, .1", "forward"):
        return counted(name, num_steps)
    found = exact(num_steps) if name == "stored" else solve(task(num_steps), WAYS[name](size, num_steps))
    kept, again = copies(task(num_steps), found.stored_bytes), num_steps if name in ("√T", "reversible, .9") else 0
    return {"copies": round(kept, 2), "products": found.num_products, "again": again, **fidelity(found.grad, num_steps)}
