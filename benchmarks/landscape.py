"""Curvature from products beside SciPy and PyHessian, on a network of 3,558 parameters in float64, one thread.

SciPy's `eigsh` gets the same products. Both sides may spend as many as they need for ten eigenvalues to 1e-10 of the
largest and no more: ours the fewest steps that reach it, `eigsh` the cheapest of several `ncv` and `tol`. PyHessian's
density calls `torch.eig`, which torch no longer has; that one call is replaced here by `torch.linalg.eigh` of the same
tridiagonal matrix. Nothing else of PyHessian is touched.
"""

import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from benchmarks.timing import Row, at_least, at_most, barred, cold, compare, measured, one_thread, quick, unmeasured
from labsupport import data, models
from labsupport.landscape import curvature

try:
    from pyhessian import hessian as Peer
except ImportError:
    Peer = None

__all__ = ["rows"]

DTYPE = torch.float64
SIZES = [64, 38, 22, 10]
ENOUGH = 1e-10


def rows() -> Iterator[Row]:
    with one_thread():
        yield from top_ten()
        yield from top_five()
        yield from spectrum()
        yield from traces()
        if not quick():
            yield from first_calls()


@barred({
    "top-10 eigenvalues, worst relative error": at_most(ENOUGH, "relative"),
    "top-10 eigenvalues": at_least(1.0),
})  # fmt: skip
def top_ten() -> Iterator[Row]:
    """Beside `eigsh`, both at the price of the same accuracy; and beside `eigsh` as it stands."""
    exact = spectrum_of_all()[:10]
    steps = next(n for n in range(12, 60) if off(ours_eigs(10, n)(), exact) <= ENOUGH)
    few = min(((scipy_eigs(10, ncv=ncv, tol=tol), ncv, tol) for ncv in range(20, 34) for tol in (1e-2, 1e-4, 1e-6)),
              key=lambda each: (off(each[0](), exact) > ENOUGH, each[0].spent))  # fmt: skip
    peer, ncv, tol = few
    yield measured("top-10 eigenvalues, worst relative error", off(ours_eigs(10, steps)(), exact),
                   peer=off(peer(), exact), unit="relative", better="lower", peer_name=f"eigsh, {peer.spent} products")
    yield compare("top-10 eigenvalues", ours_eigs(10, steps), peer, rounds=21,
                  peer_name=f"eigsh, ncv {ncv}, tol {tol:g}: {peer.spent} products; ours {steps}")  # fmt: skip
    usual = scipy_eigs(10)
    usual()
    yield compare("top-10 eigenvalues, eigsh as it stands", ours_eigs(10, steps), usual,
                  peer_name=f"eigsh, {usual.spent} products")  # fmt: skip


@barred({"top-5 eigenvalues": at_least(2), "top-5, PyHessian's error over ours": at_least(1e6)})
def top_five() -> Iterator[Row]:
    if Peer is None:
        yield unmeasured("top-5 eigenvalues", "no PyHessian here")
        return
    exact, peer = spectrum_of_all()[:5], hessian_eigs()
    yield compare("top-5 eigenvalues", ours_eigs(5, 18), peer, peer_name="PyHessian", rounds=5)
    errors = [off(found, exact) for found in (ours_eigs(5, 18)(), peer())]
    yield measured("top-5, PyHessian's error over ours", errors[1] / max(errors[0], 1e-16), unit="×")


@barred({"density, 1 probe of 100 products": at_least(2.5)})
def spectrum() -> Iterator[Row]:
    if Peer is None:
        yield unmeasured("density, 1 probe of 100 products", "no PyHessian here")
        return
    yield compare("density, 1 probe of 100 products", ours_density(), hessian_density(), peer_name="PyHessian",
                  rounds=15)  # fmt: skip
    loss, params, dim = problem()
    product, vectors = curvature.hvp(loss, params), torch.randn(100, dim, dtype=DTYPE, generator=seeded(0))
    yield compare("density beside its bare products", ours_density(), lambda: [product(v) for v in vectors],
                  peer_name="100 products", rounds=9)  # fmt: skip


@barred({"trace: Hutch++ over Hutchinson": at_most(0.5, "share")})
def traces() -> Iterator[Row]:
    loss, params, dim = problem()
    product, truth = curvature.hvp(loss, params), spectrum_of_all().sum().item()
    repeats, roots = 10 if quick() else 40, {}
    for method in ("hutchinson", "hutch++"):
        found = [
            curvature.trace(product, dim, num_products=256, method=method, generator=seeded(s))[0]
            for s in range(repeats)
        ]
        roots[method] = (sum((value / truth - 1) ** 2 for value in found) / repeats) ** 0.5
    yield measured("trace, 256 products: Hutch++ error", roots["hutch++"], unit="relative")
    yield measured("trace: Hutch++ over Hutchinson", roots["hutch++"] / roots["hutchinson"], unit="share")


def first_calls() -> Iterator[Row]:
    """Without bar: what a fresh process pays once, on both sides."""
    yield cold("first call, top-10 eigenvalues", "ours_eigs(10, 26)", "scipy_eigs(10)", topic="landscape",
               peer_name="eigsh")  # fmt: skip
    if Peer is not None:
        yield cold("first call, density", "ours_density()", "hessian_density()", topic="landscape",
                   peer_name="PyHessian")  # fmt: skip


@cache
def problem() -> tuple[Callable, list, int]:
    """The loss of the trained network, its parameters and how many numbers they hold."""
    model, x, y = trained()
    params = list(model.parameters())
    return lambda: torch.nn.functional.cross_entropy(model(x), y), params, sum(p.numel() for p in params)


@cache
def spectrum_of_all() -> torch.Tensor:
    """All eigenvalues, the largest in magnitude first."""
    loss, params, _ = problem()
    exact = torch.linalg.eigvalsh(dense(loss, params))
    return exact[exact.abs().argsort(descending=True)]


def off(found: torch.Tensor, exact: torch.Tensor) -> float:
    return ((found.double() - exact).abs().max() / exact[0].abs()).item()


def ours_eigs(k: int, num_steps: int) -> Callable:
    loss, params, dim = problem()
    return lambda: curvature.eigs(curvature.hvp(loss, params), dim, k, num_steps=num_steps, generator=seeded(0))[0]


class scipy_eigs:
    """`eigsh` on our products; `spent` is how many the last call took."""

    def __init__(self, k: int, **how: float) -> None:
        self.k, self.how, self.spent = k, how, 0
        self.start = np.random.default_rng(0).standard_normal(problem()[2])

    def __call__(self) -> torch.Tensor:
        loss, params, dim = problem()
        product, self.spent = curvature.hvp(loss, params), 0

        def times(vector: np.ndarray) -> np.ndarray:
            self.spent += 1
            return product(torch.from_numpy(vector.reshape(-1))).numpy()

        operator = LinearOperator((dim, dim), matvec=times, dtype=np.float64)
        found = torch.from_numpy(eigsh(operator, k=self.k, v0=self.start, **self.how)[0])
        return found[found.abs().argsort(descending=True)]


def ours_density() -> Callable:
    loss, params, dim = problem()
    draw = partial(curvature.density, dim=dim, probes=1, num_steps=100)
    return lambda: draw(curvature.hvp(loss, params), generator=seeded(0))


def hessian_eigs() -> Callable:
    return lambda: torch.tensor(peer().eigenvalues(top_n=5)[0])


def hessian_density() -> Callable:
    torch.eig = symmetric_eig
    return lambda: peer().density(iter=100, n_v=1)


def peer() -> object:
    """PyHessian on the network; it warns that its graph holds itself."""
    model, x, y = trained()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Peer(model, torch.nn.CrossEntropyLoss(), data=(x, y), cuda=False)


@cache
def trained() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    x, y = data.digits(generator=seeded(0)).train
    model, x = models.mlp(SIZES, activation="tanh", generator=seeded(1)).double(), x.double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model, x, y


def dense(loss, params) -> torch.Tensor:
    """All second derivatives, in batches of rows: the fastest plain way in torch that we know."""
    gradient = curvature.flatten(torch.autograd.grad(loss(), params, create_graph=True))
    rows = [
        torch.cat([part.flatten(1) for part in torch.autograd.grad(
            gradient, params, unit, retain_graph=True, is_grads_batched=True)], dim=1)
        for unit in torch.eye(len(gradient), dtype=DTYPE).split(64)
    ]  # fmt: skip
    return torch.cat(rows)


def symmetric_eig(matrix: torch.Tensor, eigenvectors: bool) -> tuple[torch.Tensor, torch.Tensor]:
    values, vectors = torch.linalg.eigh(matrix)
    return torch.stack((values, torch.zeros_like(values)), dim=1), vectors


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
