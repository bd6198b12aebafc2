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

import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from labsupport import data, hypergradients, models

LR, MOMENTUM, SEEDS = 0.03, 0.9, range(300, 308)  # others than those on which the settings were tried
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


def seeded(seed):
    return torch.Generator().manual_seed(seed)


split = data.digits(num_train=300, num_valid=400, generator=seeded(0))
batches = hypergradients.minibatches(*split.train, 100, seed=3)
nets = [models.mlp([64, 50, 50, 50, 10], activation="tanh", generator=seeded(s)) for s in SEEDS]
parts = [dict(net.named_parameters()) for net in nets]
START = {name: torch.stack([part[name].detach() for part in parts]) for name in parts[0]}
HYPER = {k: v.new_full((len(SEEDS), v.shape[2]), -6.0) for k, v in START.items() if v.ndim == 3}


def each(weights, x, y):
    """The loss of each network, (seeds,)."""
    values = list(weights.values())
    x = x.expand(len(values[0]), *x.shape)
    for layer in range(0, len(values), 2):
        x = torch.baddbmm(values[layer + 1][:, None], x.tanh() if layer else x, values[layer].mT)
    return cross_entropy(x.flatten(0, 1), y.repeat(len(x)), reduction="none").view(len(x), -1).mean(1)


def train_loss(weights, hyper, batch):
    penalty = sum((hyper[k].exp()[:, None] * weights[k].square()).sum() for k in hyper)
    return each(weights, *batch).sum() + 0.5 * penalty


def valid_loss(weights):
    return each(weights, *split.valid).sum()


def problem_of(num_steps, start=START, momentum=MOMENTUM):
    lr = LR * (1 - momentum) / (1 - MOMENTUM)
    return hypergradients.Problem(train_loss, valid_loss, start, batches, num_steps, lr, momentum)


def flat(named):
    return torch.cat([value.flatten(1) for value in named.values()], 1).double()


def solve(problem, method, hyper=HYPER):
    return hypergradients.hypergradient(problem, hyper, method, limit=math.inf)


@functools.cache
def exact(num_steps):
    return solve(problem_of(num_steps), hypergradients.Stored())


def way(name, size, num_steps):
    return {
        "stored": lambda: hypergradients.Stored(), "bfloat16": lambda: hypergradients.Stored(torch.bfloat16),
        "√T": lambda: hypergradients.SqrtCheckpoint(), "reversible, .9": lambda: hypergradients.Reversible(),
        "DrMAD": lambda: hypergradients.DrMAD(), "knots": lambda: hypergradients.Knots(size),
        "knots, 2T/5": lambda: hypergradients.Knots(size, 2 * num_steps // 5),
        "tail": lambda: hypergradients.Truncated(size), "Neumann": lambda: hypergradients.Neumann(size),
    }[name]()  # fmt: skip


def fidelity(grad, num_steps):
    ours, truth = flat(grad), flat(exact(num_steps).grad)
    return {
        "cosine": [round(v, 7) for v in cosine_similarity(ours, truth).tolist()],
        "log10_norm": [round(v, 3) for v in (ours.norm(dim=1) / truth.norm(dim=1)).log10().tolist()],
    }


def counted(name, num_steps):
    """Copies kept and products, of the two that are only counted on one network, and of forward mode."""
    one = {k: v[:1] for k, v in START.items()}
    by, size = {k: v[:1] for k, v in HYPER.items()}, sum(v.nbytes for v in one.values())
    if name == "forward":
        total = sum(v.numel() for v in by.values())
        return {"copies": 2.0, "products": num_steps * total, "again": num_steps * (total - 1)}
    if name == "reversible, .1":
        found = solve(problem_of(num_steps, one, 0.1), hypergradients.Reversible(), by)
        return {"copies": round(found.stored_bytes / size, 2), "products": num_steps, "again": num_steps}
    kept = {}

    def note(tensor):
        memory = tensor.untyped_storage()
        kept[memory.data_ptr()] = memory  # held, so that no address comes twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        solve(problem_of(50, one), hypergradients.Unrolled(), by)
    copies = sum(memory.nbytes() for memory in kept.values()) / size
    return {"copies": round(copies * num_steps / 50), "products": num_steps, "again": 0}


@functools.cache
def path(num_steps):
    """Weights at every step, and the way travelled until then, 0 … 1, mean of the starts."""
    problem, film = problem_of(num_steps), [START]
    velocity = {k: torch.zeros_like(v) for k, v in START.items()}
    for step in range(num_steps):
        slope = torch.func.grad(train_loss)(film[-1], HYPER, batches(step))
        velocity = {k: MOMENTUM * velocity[k] + slope[k] for k in velocity}
        film.append({k: film[-1][k] - problem.lr * velocity[k] for k in velocity})
    moves = [(flat(b) - flat(a)).norm(dim=1) for a, b in itertools.pairwise(film)]
    way = torch.stack(moves).cumsum(0)
    return film, torch.cat([torch.zeros(1), (way / way[-1]).mean(1).float()])


def times(name, size, num_steps):
    """When the snapshots are taken: size + 1 steps, 0 and T among them."""
    shares = [k / size for k in range(size + 1)]
    if name == "even":
        return [round(share * num_steps) for share in shares]
    if name == "early":
        return [round(share**2 * num_steps) for share in shares]
    travelled = path(num_steps)[1]
    return [int((travelled - share).abs().argmin()) for share in shares]


def between(film, when, step):
    piece = max(k for k, time in enumerate(when[:-1]) if time <= step)
    first, then = when[piece : piece + 2]
    return {k: v.lerp(film[then][k], (step - first) / (then - first)) for k, v in film[first].items()}


def back(places, num_steps):
    """The recursion at given places."""
    a_w = torch.func.grad(valid_loss)(exact(num_steps).weights)
    a_v, a_h = dict.fromkeys(a_w, 0.0), dict.fromkeys(HYPER, 0.0)
    for step in reversed(range(num_steps)):
        place = {k: v.detach().requires_grad_() for k, v in places(step).items()}
        by = {k: v.detach().requires_grad_() for k, v in HYPER.items()}
        a_v = {k: a_v[k] - LR * a_w[k] for k in a_w}
        slope = torch.autograd.grad(train_loss(place, by, batches(step)), list(place.values()), create_graph=True)
        dot = sum((g * a_v[k]).sum() for k, g in zip(place, slope, strict=True))
        both = torch.autograd.grad(dot, [*place.values(), *by.values()])
        a_w = {k: a_w[k] + both[n] for n, k in enumerate(a_w)}
        a_h = {k: a_h[k] + both[len(a_w) + n] for n, k in enumerate(a_h)}
        a_v = {k: MOMENTUM * a_v[k] for k in a_v}
    return a_h


def run(case):
    name, size, num_steps = case["method"], case["size"], case["T"]
    if case["kind"] == "place":
        (film, _), when = path(num_steps), times(name, size, num_steps)
        seen = [round(k * num_steps / (SEEN - 1)) for k in range(SEEN)]
        whole = (flat(film[-1]) - flat(film[0])).norm(dim=1)
        gaps = [((flat(between(film, when, t)) - flat(film[t])).norm(dim=1) / whole).mean() for t in seen]
        found = fidelity(back(lambda step: between(film, when, step), num_steps), num_steps)
        return {**found, "when": when, "gap": [round(float(gap), 4) for gap in gaps]}
    if name in ("autograd", "reversible, .1", "forward"):
        return counted(name, num_steps)
    found = exact(num_steps) if name == "stored" else solve(problem_of(num_steps), way(name, size, num_steps))
    again = {"√T": num_steps, "reversible, .9": num_steps}.get(name, 0)
    copies = round(found.stored_bytes / sum(v.nbytes for v in START.values()), 2)
    return {"copies": copies, "products": found.num_products, "again": again, **fidelity(found.grad, num_steps)}
