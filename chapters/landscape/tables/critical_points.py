"""Critical points of a real network and their index: from points of training, the gradient is brought to zero.

A 4-4-3 tanh network (35 weights) tells the digits 0, 1 and 2 apart from their four principal components; the loss
is the cross-entropy plus a little weight decay, without which many critical points lie at infinity. Each case
starts a training anew, stops it somewhere, and solves ∇L = 0 from there by the method of Levenberg and Marquardt
(SciPy). Many of these searches end where the gradient's norm has a minimum above zero; the page drops them.
"""

import math

import torch
from scipy.optimize import least_squares
from torch.nn.functional import cross_entropy

from labsupport import data
from labsupport.experiments import seeded, tables
from labsupport.landscape import saddles

DECAY, SHAPES = 1e-3, [(4, 4), (4,), (4, 3), (3,)]
SIZES = [math.prod(shape) for shape in SHAPES]
CASES = [{"seed": seed, "scale": scale} for seed in range(80) for scale in (0.5, 1.0, 2.0)]


def examples():
    x, y = data.digits(generator=seeded(0)).to(torch.float64).train
    x, y = x[y < 3][:120], y[y < 3][:120]
    x = x - x.mean(0)
    parts = x @ torch.linalg.svd(x, full_matrices=False)[2][:4].T
    return parts / parts.std(0), y


X, Y = examples()


def loss(theta):
    a, b, c, d = (part.view(shape) for part, shape in zip(theta.split(SIZES), SHAPES))
    return cross_entropy(torch.tanh(X @ a + b) @ c + d, Y) + DECAY * theta.square().sum() / 2


def run(case):
    generator, slope = seeded(case["seed"]), torch.func.grad(loss)
    theta = case["scale"] * torch.randn(sum(SIZES), generator=generator, dtype=torch.float64)
    for _ in range(int(torch.randint(60, (1,), generator=generator))):
        theta = theta - 0.3 * slope(theta)
    found = least_squares(
        lambda v: slope(torch.from_numpy(v)).numpy(), theta.numpy(), method="lm", max_nfev=300,
        jac=lambda v: saddles.hessian(loss, torch.from_numpy(v)).numpy(), xtol=1e-15, ftol=1e-15, gtol=1e-15,
    )  # fmt: skip
    point = torch.from_numpy(found.x)
    signs = saddles.inertia(saddles.hessian(loss, point))
    return {
        "slope": tables.rounded(slope(point).norm(), digits=3),
        "loss": tables.rounded(loss(point), decimals=6),
        "index": signs.negative,
        "flat": signs.zero,
    }
