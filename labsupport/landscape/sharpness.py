"""How sharp the place is where training ended: three measures, and a change of weights that moves them all.

Every function takes a `population.State` (one network is a population of one) and measures all members at once, on
the mean loss over (x, y). Hessian-vector products are double backward passes; what is built on them works in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from labsupport.population import State, gradients
from labsupport.values import check_count, check_generator, check_number, holds, is_finite

__all__ = ["hvp", "largest", "rescale_layers", "trace", "worst_case"]

Loss = Callable[[Tensor, Tensor], Tensor]


def hvp(state: State, x: Tensor, y: Tensor, *, loss: Loss) -> Callable[[Tensor], Tensor]:
    """The map from vectors (members, dim) to each member's Hessian times its vector.

    A vector holds a member's parameters one after the other, in the order of `state.params`.

    Raises:
        ValueError: no member's loss depends on the parameters.
    """
    params = {name: value.detach().requires_grad_() for name, value in state.params.items()}
    with torch.enable_grad():
        _, slope = gradients(replace(state, params=params), x, y, loss=loss)
    curved = [name for name, part in slope.items() if part.requires_grad]
    if not curved:
        raise ValueError("hvp: loss must bend in some parameter, got one whose gradient is constant")

    def times(vectors: Tensor) -> Tensor:
        parts = _split(vectors, state)
        outputs, directions = [slope[name] for name in curved], [parts[name] for name in curved]
        images = torch.autograd.grad(
            outputs, list(params.values()), directions, retain_graph=True, materialize_grads=True
        )
        return torch.cat([image.flatten(1) for image in images], 1).to(vectors)

    return times


def largest(
    state: State, x: Tensor, y: Tensor, *, loss: Loss, num_steps: int = 20, begin: Tensor | None = None,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The largest (not in magnitude) eigenvalue of each Hessian, by Lanczos with full reorthogonalization.

    Args:
        num_steps: products to spend, >= 2. The result never exceeds the true value.
        begin: (members, dim) start vectors, such as the eigenvectors of a moment ago; by default drawn.
        generator: draws the start vectors.
    Returns:
        values (members,) and unit eigenvectors (members, dim), float64.
    Raises:
        ValueError: a bound above is broken, or the Hessian is not finite.
    """
    steps = min(check_count("largest", "num_steps", num_steps, at_least=2), _dim(state))
    check_generator("largest", generator)
    times = hvp(state, x, y, loss=loss)
    vector = _normal(state, generator) if begin is None else begin.double()
    basis, images = [], []
    for _ in range(steps):
        for _ in range(2 if basis else 0):  # once loses orthogonality to rounding, twice is enough
            known = torch.stack(basis, 1)
            vector = vector - torch.einsum("rk,rkd->rd", torch.einsum("rkd,rd->rk", known, vector), known)
        basis.append(nn.functional.normalize(vector, dim=1, eps=1e-300))
        images.append(times(basis[-1]))
        vector = images[-1]
    known, moved = torch.stack(basis, 1), torch.stack(images, 1)
    if not is_finite(moved):
        raise ValueError("largest: the Hessian must be finite, got NaN or infinity")
    small = known @ moved.mT
    values, vectors = torch.linalg.eigh((small + small.mT) / 2)
    top = torch.einsum("rk,rkd->rd", vectors[:, :, -1], known)
    return values[:, -1], nn.functional.normalize(top, dim=1)


def trace(
    state: State, x: Tensor, y: Tensor, *, loss: Loss, num_products: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The trace of each member's Hessian and its standard error, from random signs (Hutchinson 1990).

    Args:
        num_products: >= 2; all members share the signs of a product.
    Returns:
        estimates and standard errors, both (members,) float64.
    """
    check_count("trace", "num_products", num_products, at_least=2)
    check_generator("trace", generator)
    times = hvp(state, x, y, loss=loss)
    samples = []
    for _ in range(num_products):
        signs = torch.randint(2, (_dim(state),), generator=generator, device=generator.device)
        vectors = (2.0 * signs.double() - 1).to(_first(state).device).expand(len(state), -1)
        samples.append((vectors * times(vectors)).sum(1))
    found = torch.stack(samples)
    return found.mean(0), found.std(0) / num_products**0.5


def worst_case(
    state: State, x: Tensor, y: Tensor, *, radius: float, loss: Loss, num_steps: int = 20,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """How far the loss rises at most within `radius` of each member's weights, found by projected gradient ascent.

    From a random point in the ball, each step has length 2.5 · radius / num_steps along the normalized gradient and is
    cut back to the ball. The largest rise that was met counts, so the result is a lower bound, and >= 0.

    Args:
        radius: of the ball in the Euclidean norm over all parameters, > 0.
        num_steps: gradients to spend, >= 1.
        generator: draws where the ascent begins.
    Returns:
        (members,) rises, in the loss's units.
    Source: the question is Keskar et al. 2017, arXiv:1609.04836, metric 2.1, who ask it in a box, not a ball.
    """
    if check_number("worst_case", "radius", radius, low=0) == 0:
        raise ValueError("worst_case: radius must be > 0, got 0")
    check_count("worst_case", "num_steps", num_steps)
    check_generator("worst_case", generator)
    level, _ = gradients(state, x, y, loss=loss)
    rise, away = torch.zeros_like(level), 0.1 * radius * nn.functional.normalize(_normal(state, generator), dim=1)
    for t in range(num_steps + 1):
        parts = _split(away, state)
        there = replace(state, params={name: value + parts[name] for name, value in state.params.items()})
        height, slope = gradients(there, x, y, loss=loss)
        rise = torch.maximum(rise, height - level)
        if t < num_steps:
            uphill = torch.cat([part.flatten(1) for part in slope.values()], 1).double()
            away = away + 2.5 * radius / num_steps * nn.functional.normalize(uphill, dim=1, eps=1e-300)
            away = away * (radius / away.norm(dim=1, keepdim=True).clamp(min=1e-300)).clamp(max=1)
    return rise


def rescale_layers(state: State, factors: Tensor) -> State:
    """The same functions at other weights: layer i's weights times factor i, in a ReLU network.

    relu(a·z) = a·relu(z) for a > 0, so a factor passes through a layer, and where their product is 1 the output is
    unchanged. The bias of layer i is multiplied by all factors up to i.

    Args:
        state: members, each an nn.Sequential of nn.Linear with nn.ReLU between them.
        factors: (layers,) or (members, layers), > 0, of product 1 within 1e-4.
    Raises:
        ValueError: another architecture, or factors that change the function.
    Source: Dinh et al. 2017, arXiv:1703.04933, section 3.
    """
    kinds = [type(layer) for layer in state.module] if isinstance(state.module, nn.Sequential) else []
    if kinds[::2] != [nn.Linear] * len(kinds[::2]) or kinds[1::2] != [nn.ReLU] * (len(kinds) // 2) or not kinds:
        raise ValueError("rescale_layers: state must hold an nn.Sequential of nn.Linear with nn.ReLU between them")
    layers = len(kinds[::2])
    if factors.shape not in ((layers,), (len(state), layers)):
        raise ValueError(
            f"rescale_layers: factors must be ({layers},) or ({len(state)}, {layers}), got {factors.shape}"
        )
    if not holds((factors > 0) & ((factors.prod(-1, keepdim=True) - 1).abs() < 1e-4)):
        raise ValueError(f"rescale_layers: factors must be > 0 with product 1, got {factors}")
    factors = factors.to(_first(state)).expand(len(state), layers)
    passed = factors.cumprod(1)
    params = {}
    for name, value in state.params.items():
        place, _, kind = name.partition(".")
        scale = (factors if kind == "weight" else passed)[:, int(place) // 2]
        params[name] = value * scale.view(-1, *[1] * (value.ndim - 1))
    return replace(state, params=params)


def _first(state: State) -> Tensor:
    return next(iter(state.params.values()))


def _dim(state: State) -> int:
    return sum(value[0].numel() for value in state.params.values())


def _normal(state: State, generator: torch.Generator) -> Tensor:
    """One random vector (dim,), the same for every member, so that what is measured does not depend on company."""
    vector = torch.randn(_dim(state), dtype=torch.float64, generator=generator, device=generator.device)
    return vector.to(_first(state).device).expand(len(state), -1)


def _split(vectors: Tensor, state: State) -> dict[str, Tensor]:
    parts = vectors.to(_first(state)).split([value[0].numel() for value in state.params.values()], dim=1)
    return {name: part.view_as(value) for part, (name, value) in zip(parts, state.params.items(), strict=True)}
