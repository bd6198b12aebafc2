"""Hypergradients along shortcuts, compared with the exact one; 16 starts in two groups of eight.

64-50-50-50-10 tanh networks on 300 digits, batches of 100, rate .03, momentum .9, 500 steps, 214 log-L2 coefficients
at -6. Methods: "line" (DrMAD), "5 knots", "50 knots", "tail" (the last steps, exact), "clock" (the line, its place at
step t by the distance from the start), "printed" (the published pseudo-code, without rate and velocity). "curvature"
gives the extreme curvatures of the whole training loss on the line and on the path.
"""

import functools
import math

import torch
from torch.func import functional_call, vmap
from torch.nn.functional import cosine_similarity, cross_entropy

from labsupport import data, hypergradients, models
from labsupport.landscape import curvature

STEPS, LR, MOMENTUM = 500, 0.03, 0.9
BACK = {
    "line": (10, 25, 50, 100, 150, 200, 300, 500), "5 knots": (50, 100, 200, 350, 500),
    "50 knots": (50, 100, 200, 350, 500), "tail": (10, 25, 50, 100, 200), "clock": (50, 100, 200, 350, 500),
    "printed": (5, 50), "curvature": (0,),
}  # fmt: skip
CASES = [
    {"group": group, "method": method, "num_steps": n} for group in (0, 1) for method, ns in BACK.items() for n in ns
]
PLACES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


split = data.digits(num_train=300, num_valid=400, generator=seeded(0)).to(torch.float64)
batches = hypergradients.minibatches(*split.train, 100, seed=3)


def one_loss(net, params, x, y):
    return cross_entropy(functional_call(net, params, (x,)), y)


@functools.cache
def world(group):
    seeds = range(100 + 8 * group, 108 + 8 * group)  # others than those on which the settings were tried
    nets = [models.mlp([64, 50, 50, 50, 10], activation="tanh", generator=seeded(s)).double() for s in seeds]
    parts = [dict(net.named_parameters()) for net in nets]
    start = {name: torch.stack([part[name].detach() for part in parts]) for name in parts[0]}

    def each(weights, x, y):
        return vmap(lambda params: one_loss(nets[0], params, x, y))(weights)

    def train_loss(weights, hyper, batch):
        penalty = sum((hyper[k].exp()[:, None] * weights[k].square()).sum() for k in hyper)
        return each(weights, *batch).sum() + 0.5 * penalty

    hyper = {k: v.new_full((8, v.shape[2]), -6.0) for k, v in start.items() if v.ndim == 3}
    problem = hypergradients.Problem(
        train_loss, lambda w: each(w, *split.valid).sum(), start, batches, STEPS, LR, MOMENTUM
    )
    return nets[0], problem, hyper


def flat(named):
    return torch.cat([value.flatten(1) for value in named.values()], 1)


@functools.cache
def exact(group):
    _, problem, hyper = world(group)
    return hypergradients.hypergradient(problem, hyper, hypergradients.Stored(), limit=math.inf)


@functools.cache
def path(group):
    """The weights at every step, flat distances from the start, and the validation gradient at the end."""
    _, problem, hyper = world(group)
    weights, film = problem.weights, []
    velocity = {k: torch.zeros_like(v) for k, v in weights.items()}
    for step in range(STEPS):
        film.append(weights)
        slope = torch.func.grad(problem.train_loss)(weights, hyper, batches(step))
        velocity = {k: MOMENTUM * velocity[k] + slope[k] for k in velocity}
        weights = {k: weights[k] - LR * velocity[k] for k in weights}
    film.append(weights)
    far = torch.stack([(flat(place) - flat(film[0])).norm(dim=1) for place in film])
    return film, far / far[-1], torch.func.grad(problem.valid_loss)(weights)


def at(begin, end, u):
    return {k: begin[k] + u.view(-1, *[1] * (begin[k].ndim - 1)) * (end[k] - begin[k]) for k in begin}


def products(problem, weights, hyper, batch, vector):
    weights = {k: v.detach().requires_grad_() for k, v in weights.items()}
    by = {k: v.detach().requires_grad_() for k, v in hyper.items()}
    slope = torch.autograd.grad(problem.train_loss(weights, by, batch), list(weights.values()), create_graph=True)
    dot = sum((g * vector[k]).sum() for k, g in zip(weights, slope, strict=True))
    parts = torch.autograd.grad(dot, [*weights.values(), *by.values()])
    return dict(zip(weights, parts, strict=False)), dict(zip(by, parts[len(weights) :], strict=True))


def along_clock(group, num_steps):
    """The recursion along the line, its place at a step the distance from the start that training had then."""
    _, problem, hyper = world(group)
    film, place, a_w = path(group)
    a_v, a_h = dict.fromkeys(a_w, 0.0), dict.fromkeys(hyper, 0.0)
    for number in reversed(range(num_steps)):
        time, step = round(number * STEPS / num_steps), STEPS - num_steps + number
        a_v = {k: a_v[k] - LR * a_w[k] for k in a_w}
        curved, mixed = products(problem, at(film[0], film[-1], place[time]), hyper, batches(step), a_v)
        a_h = {k: a_h[k] + mixed[k] for k in a_h}
        a_w = {k: a_w[k] + curved[k] for k in a_w}
        a_v = {k: MOMENTUM * a_v[k] for k in a_v}
    return a_h


def as_printed(group, num_steps):
    """The line, with the adjoint of the weights alone and no rate."""
    _, problem, hyper = world(group)
    film, _, a_w = path(group)
    a_h = dict.fromkeys(hyper, 0.0)
    for number in reversed(range(num_steps)):
        u, step = torch.full((8,), number / num_steps, dtype=torch.float64), STEPS - num_steps + number
        curved, mixed = products(problem, at(film[0], film[-1], u), hyper, batches(step), a_w)
        a_h = {k: a_h[k] - mixed[k] for k in a_h}
        a_w = {k: a_w[k] - curved[k] for k in a_w}
    return a_h


def extremes(group):
    """Largest and smallest curvature, by place u or time t/T, on the line and on the path."""
    net, _, hyper = world(group)
    film, _, _ = path(group)
    found = {}
    for where in ("line", "path"):
        ends = [[], []]
        for u in PLACES:
            share = torch.full((8,), u, dtype=torch.float64)
            place = at(film[0], film[-1], share) if where == "line" else film[round(u * STEPS)]
            both = [bounds(net, {k: v[member] for k, v in place.items()}, hyper) for member in range(8)]
            for side in (0, 1):
                ends[side].append([round(pair[side], 4) for pair in both])
        found[f"{where} largest"], found[f"{where} smallest"] = ends
    return found


def bounds(net, weights, hyper):
    weights = {k: v.detach().requires_grad_() for k, v in weights.items()}

    def loss():
        penalty = sum((hyper[k][0].exp() * weights[k].square()).sum() for k in hyper)
        return one_loss(net, weights, *split.train) + 0.5 * penalty

    product, dim = curvature.hvp(loss, list(weights.values())), sum(v.numel() for v in weights.values())
    top, _ = curvature.eigs(product, dim, 1, num_steps=20, generator=seeded(0))
    shift = float(top.abs())
    low, _ = curvature.eigs(lambda v: product(v) - shift * v, dim, 1, num_steps=40, generator=seeded(1))
    return float(top), float(low) + shift


def run(case):
    group, method, n = case["group"], case["method"], case["num_steps"]
    if method == "curvature":
        return extremes(group)
    _, problem, hyper = world(group)
    if method in ("clock", "printed"):
        grad = (along_clock if method == "clock" else as_printed)(group, n)
    else:
        ways = {
            "line": lambda: hypergradients.DrMAD(n), "tail": lambda: hypergradients.Truncated(n),
            "5 knots": lambda: hypergradients.Knots(5, n), "50 knots": lambda: hypergradients.Knots(50, n),
        }  # fmt: skip
        grad = hypergradients.hypergradient(problem, hyper, ways[method](), limit=math.inf).grad
    ours, truth = flat(grad), flat(exact(group).grad)
    live = truth != 0  # dead pixels have none
    same = ((ours.sign() == truth.sign()) & live).sum(1) / live.sum(1)
    return {
        "cosine": [round(v, 4) for v in cosine_similarity(ours, truth).tolist()],
        "log10_norm": [round(v, 3) for v in (ours.norm(dim=1) / truth.norm(dim=1)).log10().tolist()],
        "signs": [round(v, 4) for v in same.tolist()],
    }
