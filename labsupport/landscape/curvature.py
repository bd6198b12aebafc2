"""Curvature without the Hessian: products with it, its extreme eigenvalues, its trace, its spectral density.

A Hessian-vector product costs about as much as two gradients. Everything else here needs nothing but products.
Solvers work in float64, whatever the dtype of the model.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from labsupport.values import check_choice, check_count, is_finite

__all__ = ["density", "eigs", "flatten", "hvp", "trace"]

Product = Callable[[Tensor], Tensor]


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """One vector (dim,) from several tensors, in order."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def hvp(loss: Callable[[], Tensor], params: Sequence[Tensor]) -> Product:
    """The map v ↦ H v for the Hessian H of `loss()` with respect to `params`, at their present values.

    The gradient is computed once, with its graph; each product is one backward pass through it. Nothing is left in
    `.grad`. The loss is evaluated once, in the mode the model is in: whatever it changes then (the running statistics
    of batch norm in training mode) is the caller's.

    Args:
        loss: a closure without arguments that returns one number and depends on `params`.
        params: tensors that require gradients, of one dtype and device; dim is their number of elements.
    Returns:
        A function of a vector (dim,), which returns a vector (dim,) of the same dtype.
    Raises:
        ValueError: no params, a param that does not require gradients, a loss that is not one finite number, or
            one that depends on none of them.
    Source: Pearlmutter 1994, doi:10.1162/neco.1994.6.1.147, by double backward.
    """
    params = list(params)
    dim = sum(param.numel() for param in params)
    if dim == 0:
        raise ValueError("hvp: params must hold at least one element, got none")
    if not all(isinstance(param, Tensor) and param.requires_grad for param in params):
        raise ValueError("hvp: params must all be tensors that require gradients")
    with torch.enable_grad():
        value = loss()
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError(f"hvp: loss must return one number, got {getattr(value, 'shape', type(value).__name__)}")
        if not value.requires_grad:
            raise ValueError("hvp: loss must depend on params, got one that depends on none")
        if not is_finite(value):
            raise ValueError(f"hvp: loss must be finite, got {value.item()}")
        gradients = torch.autograd.grad(value.reshape(()), params, create_graph=True, allow_unused=True)
    if all(gradient is None for gradient in gradients):
        raise ValueError("hvp: loss must depend on params, got one that depends on none")
    return _product(params, gradients, dim)


def _product(params: list[Tensor], gradients: Sequence[Tensor | None], dim: int) -> Product:
    dtype, device = params[0].dtype, params[0].device
    curved = [i for i, g in enumerate(gradients) if g is not None and g.requires_grad]
    sizes = [param.numel() for param in params]

    def product(vector: Tensor) -> Tensor:
        if vector.shape != (dim,):
            raise ValueError(f"hvp: vector must have shape ({dim},), got {tuple(vector.shape)}")
        if not curved:  # a linear loss
            return torch.zeros_like(vector)
        parts = vector.to(device=device, dtype=dtype).split(sizes)
        outputs = [gradients[i] for i in curved]
        directions = [parts[i].view_as(params[i]) for i in curved]
        result = torch.autograd.grad(outputs, params, directions, retain_graph=True, allow_unused=True)
        filled = [torch.zeros_like(p) if r is None else r for p, r in zip(params, result, strict=True)]
        return flatten(filled).to(vector)

    return product


def eigs(hvp: Product, dim: int, k: int, *, num_steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The k eigenvalues largest in magnitude, and their vectors, by Lanczos with full reorthogonalization.

    Args:
        hvp: v ↦ H v for a symmetric H, on vectors (dim,).
        dim: size of H, >= 1.
        k: how many, 1 <= k <= dim.
        num_steps: products to spend, >= k (more are more accurate; no more than dim are needed).
        generator: draws the starting vector; its device is where the vectors live.
    Returns:
        values (k,) in descending magnitude and vectors (dim, k) with orthonormal columns, both float64.
    Raises:
        ValueError: a bound above is broken, or a product is not finite.
    Source: Golub & Van Loan, Matrix Computations, 4th ed., section 10.1.
    """
    if not 1 <= k <= dim:
        raise ValueError(f"eigs: k must lie in 1 … dim = {dim}, got {k}")
    if num_steps < k:
        raise ValueError(f"eigs: num_steps must be >= k = {k}, got {num_steps}")
    basis, diagonal, off = _lanczos("eigs", hvp, _normal(dim, generator), min(num_steps, dim), generator)
    values, vectors = torch.linalg.eigh(_tridiagonal(diagonal, off))
    order = values.abs().argsort(descending=True)[:k]
    return values[order], basis @ vectors[:, order]


def trace(
    hvp: Product,
    dim: int,
    *,
    num_products: int,
    method: Literal["hutchinson", "hutch++"] = "hutch++",
    generator: torch.Generator,
) -> tuple[float, float]:
    """The trace of H and its standard error, from `num_products` products in all.

    "hutchinson" averages zᵀHz over random signs z. "hutch++" spends a third of the products on a subspace in which
    much of H lies, where its trace is exact, a third on that trace, and the rest on what remains.

    Args:
        hvp: v ↦ H v for a symmetric H, on vectors (dim,).
        dim: size of H, >= 1.
        num_products: >= 2 for "hutchinson", >= 6 for "hutch++".
        generator: draws the signs.
    Raises:
        ValueError: a bound above is broken, an unknown method, or a product that is not finite.
    Source: Hutchinson 1990; Meyer, Musco, Musco & Woodruff 2021, arXiv:2010.09649, algorithm 1.
    """
    least = {"hutchinson": 2, "hutch++": 6}
    check_choice("trace", "method", method, least)
    if num_products < least[method]:
        raise ValueError(f"trace: num_products must be >= {least[method]} for {method}, got {num_products}")
    check_count("trace", "dim", dim)
    sketch = min(num_products // 3, dim) if method == "hutch++" else 0
    exact, basis = 0.0, torch.zeros(dim, 0, dtype=torch.float64, device=generator.device)
    if sketch:
        basis = torch.linalg.qr(_apply("trace", hvp, _signs(dim, sketch, generator)))[0]
        exact = float((basis * _apply("trace", hvp, basis)).sum())
        if sketch == dim:
            return exact, 0.0
    probes = _signs(dim, num_products - 2 * sketch, generator)
    probes = probes - basis @ (basis.mT @ probes)
    samples = (probes * _apply("trace", hvp, probes)).sum(dim=0)
    return exact + float(samples.mean()), float(samples.std() / math.sqrt(samples.numel()))


def density(
    hvp: Product, dim: int, *, probes: int, num_steps: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The spectral density of H as weighted points, by stochastic Lanczos quadrature.

    Σ weights · f(nodes) estimates the mean of f over all eigenvalues. The weights sum to 1; Σ weights · nodes · dim
    estimates the trace.

    Args:
        hvp: v ↦ H v for a symmetric H, on vectors (dim,).
        dim: size of H, >= 1.
        probes: random starts, >= 1, averaged.
        num_steps: products for each, >= 1; polynomials f of degree up to 2 num_steps − 1 are exact for each probe.
        generator: draws the starts.
    Returns:
        nodes and weights, both (probes, steps taken) and float64; where a run ends early, weights are 0.
    Raises:
        ValueError: a bound above is broken, or a product is not finite.
    Source: Ubaru, Chen & Saad 2017, doi:10.1137/16M1104974; Ghorbani, Krishnan & Xiao 2019, arXiv:1901.10159.
    """
    for name, value in (("dim", dim), ("probes", probes), ("num_steps", num_steps)):
        check_count("density", name, value)
    steps = min(num_steps, dim)
    nodes = torch.zeros(probes, steps, dtype=torch.float64, device=generator.device)
    weights = torch.zeros_like(nodes)
    for i in range(probes):
        _, diagonal, off = _lanczos("density", hvp, _signs(dim, 1, generator)[:, 0], steps)
        values, vectors = torch.linalg.eigh(_tridiagonal(diagonal, off))
        nodes[i, : len(values)], weights[i, : len(values)] = values, vectors[0] ** 2 / probes
    return nodes, weights


def _lanczos(
    function: str, hvp: Product, start: Tensor, num_steps: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Basis (dim, m), diagonal (m,) and off-diagonal (m − 1,) with H ≈ basis · tridiagonal · basisᵀ, m <= num_steps.

    With a generator the basis is orthonormal to rounding, and where the products span no more it goes on from a new
    direction. Without, it ends there, and the basis is kept orthogonal to 1e-10, which is enough for a tridiagonal
    matrix exact to rounding (Simon 1984, doi:10.1090/S0025-5718-1984-0725988-X): a product with one mixture of all
    vectors tells when that is lost, and then this vector and the next are made orthogonal to all.
    """
    basis, mixture = start.new_empty(num_steps, start.numel()), torch.zeros_like(start)
    diagonal, off, vector, again = [], [], start / torch.linalg.vector_norm(start), False
    for j in range(num_steps):
        basis[j], done = vector, basis[: j + 1]
        image = hvp(vector).to(vector)
        size = float(torch.linalg.vector_norm(image))
        if not math.isfinite(size) and not is_finite(image):
            raise ValueError(f"{function}: hvp must return finite vectors, got NaN or infinity")
        diagonal.append(float(image @ vector))
        if j + 1 == num_steps:
            break
        rest = torch.add(image, vector, alpha=-diagonal[-1])
        if off:
            rest.sub_(basis[j - 1], alpha=off[-1])
        length = float(torch.linalg.vector_norm(rest))
        mixture.add_(vector, alpha=math.cos(j * j))
        lost = length < 0.01 * size or abs(float(rest @ mixture)) > 1e-10 * length
        if lost or again or generator is not None:
            length = _orthogonalize(rest, done)
        if length < 0.01 * size:  # little is left: rounding has spoilt it, and twice is enough
            length = _orthogonalize(rest, done)
        again = lost and not again
        if length <= 1e-12 * size:
            if generator is None:
                break
            rest, length = _normal(start.numel(), generator), 0.0
            _orthogonalize(rest, done)
        off.append(length)
        vector = rest.div_(length or torch.linalg.vector_norm(rest))
    return basis[: len(diagonal)].mT, start.new_tensor(diagonal), start.new_tensor(off)


def _orthogonalize(vector: Tensor, basis: Tensor) -> float:
    """Take what lies along the rows of `basis` out of `vector`, in place; how long it is then."""
    vector.addmv_(basis.mT, basis @ vector, alpha=-1)
    return float(torch.linalg.vector_norm(vector))


def _normal(dim: int, generator: torch.Generator) -> Tensor:
    return torch.randn(dim, dtype=torch.float64, device=generator.device, generator=generator)


def _tridiagonal(diagonal: Tensor, off: Tensor) -> Tensor:
    return torch.diag(diagonal) + torch.diag(off, 1) + torch.diag(off, -1)


def _apply(function: str, hvp: Product, vectors: Tensor) -> Tensor:
    images = torch.stack([hvp(vector) for vector in vectors.unbind(dim=1)], dim=1).to(vectors)
    if not is_finite(images):
        raise ValueError(f"{function}: hvp must return finite vectors, got NaN or infinity")
    return images


def _signs(dim: int, count: int, generator: torch.Generator) -> Tensor:
    bits = torch.randint(2, (dim, count), generator=generator, device=generator.device)
    return 2.0 * bits.double() - 1.0
