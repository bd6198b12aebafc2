"""Curvature from products, beside the dense Hessian and PyHessian, on a network of 3,466 parameters in float64.

PyHessian's density calls `torch.eig`, which torch no longer has; that one call is replaced here by `torch.linalg.eigh`
of the same tridiagonal matrix. Nothing else of PyHessian is touched.
"""

from collections.abc import Iterator

import torch
from pyhessian import hessian as Peer

from benchmarks.frame import Row, compare, measured, quick
from labsupport import data, models
from labsupport.landscape import curvature

__all__ = ["rows"]

DTYPE = torch.float64
SIZES = [64, 38, 22, 10]


def rows() -> Iterator[Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model, x, y = trained()
        params = list(model.parameters())
        yield from eigenvalues(model, x, y, params)
        yield from spectrum(model, x, y, params)
    finally:
        torch.set_num_threads(threads)


def eigenvalues(model, x, y, params) -> Iterator[Row]:
    def loss():
        return torch.nn.functional.cross_entropy(model(x), y)

    dim = sum(p.numel() for p in params)
    exact = torch.linalg.eigvalsh(dense(loss, params))
    exact = exact[exact.abs().argsort(descending=True)]
    scale = exact[0].abs()

    def ours(k, num_steps):
        return curvature.eigs(curvature.hvp(loss, params), dim, k, num_steps=num_steps, generator=seeded(0))[0]

    def peer():
        return torch.tensor(Peer(model, torch.nn.CrossEntropyLoss(), data=(x, y), cuda=False).eigenvalues(top_n=5)[0])

    error = ((ours(10, 28) - exact[:10]).abs().max() / scale).item()
    yield measured("top-10 eigenvalues, worst relative error", error, bar=1e-10, better="lower", unit="relative")
    if not quick():
        yield compare(
            "top-10, against the dense Hessian",
            lambda: ours(10, 28),
            lambda: torch.linalg.eigvalsh(dense(loss, params)),
            bar=100,
            peer_name="dense",
            rounds=3,
        )
    yield compare("top-5 eigenvalues", lambda: ours(5, 18), peer, bar=2, peer_name="PyHessian", rounds=5)
    errors = [((values.double() - exact[:5]).abs().max() / scale).item() for values in (ours(5, 18), peer())]
    yield measured("top-5, PyHessian's error over ours", errors[1] / max(errors[0], 1e-16), bar=1e6, unit="×")


def spectrum(model, x, y, params) -> Iterator[Row]:
    def loss():
        return torch.nn.functional.cross_entropy(model(x), y)

    product, dim = curvature.hvp(loss, params), sum(p.numel() for p in params)
    criterion = torch.nn.CrossEntropyLoss()

    def ours():
        return curvature.density(curvature.hvp(loss, params), dim, probes=1, num_steps=100, generator=seeded(0))

    def peer():
        return Peer(model, criterion, data=(x, y), cuda=False).density(iter=100, n_v=1)

    torch.eig = symmetric_eig
    yield compare("density, 1 probe of 100 products", ours, peer, bar=2.5, peer_name="PyHessian", rounds=3)
    truth = dense(loss, params).trace().item()
    repeats = 10 if quick() else 40
    roots = {}
    for method in ("hutchinson", "hutch++"):
        found = [
            curvature.trace(product, dim, num_products=256, method=method, generator=seeded(s))[0]
            for s in range(repeats)
        ]
        roots[method] = (sum((value / truth - 1) ** 2 for value in found) / repeats) ** 0.5
    yield measured("trace, 256 products: Hutch++ error", roots["hutch++"], unit="relative")
    yield measured(
        "trace: Hutch++ over Hutchinson", roots["hutch++"] / roots["hutchinson"], bar=0.5, better="lower", unit="share"
    )


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
