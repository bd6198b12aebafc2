"""Checks of the exercises of chapter `optimizers` that belong to the pages `momentum` and `clipping`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.frame import check

__all__ = ["clip_by_norm", "coasting", "fair_rate", "gathered"]


def _near(got: float, value: float) -> bool:
    return math.isclose(got, value, rel_tol=1e-9, abs_tol=1e-12)


@check(
    wrong={
        "the first step only": lambda velocity, lr, momentum: -lr * momentum * velocity,
        "one step too many": lambda velocity, lr, momentum: -lr * velocity / (1 - momentum),
        "the sign lost": lambda velocity, lr, momentum: lr * velocity * momentum / (1 - momentum),
        "the rate forgotten": lambda velocity, lr, momentum: -velocity * momentum / (1 - momentum),
        "a ball at rest": lambda velocity, lr, momentum: 0.0,
    }
)
def coasting(answer: Callable, generator: torch.Generator) -> str | None:
    """`coasting(velocity, lr, momentum)`: −ηvρ/(1−ρ), the way on level ground."""
    draws = torch.rand(4, 3, generator=generator, dtype=torch.float64)
    for a, b, c in [*draws.tolist(), [0.0, 0.09, 0.9]]:
        velocity, lr, momentum = -2 - 3 * a, 0.01 + b, 0.2 + 0.75 * c
        got, way = float(answer(velocity, lr, momentum)), -lr * velocity * momentum / (1 - momentum)
        if _near(got, way):
            continue
        place = f"Velocity {velocity:.3g}, rate {lr:.3g}, momentum {momentum:.3g}: you say {got:.3g}."
        if got == 0:
            return f"{place} No gradient acts, but the ball keeps the share ρ of its velocity at each step."
        if _near(got, -lr * momentum * velocity):
            return f"{place} That is the first step. The second is ρ times as long, and so on."
        if _near(got, -lr * velocity / (1 - momentum)):
            return f"{place} You counted a step with the full velocity: the first one on level ground has ρ of it."
        if _near(got, -way):
            return f"{place} The size is right. The ball moves against its velocity, θ ← θ − ηv."
        if _near(got * lr, way):
            return f"{place} A step is the velocity times the rate."
        return f"{place} Let it roll a thousand steps and add them up."
    return None


@check(
    wrong={
        "the rate as it was": lambda lr, old, new: lr,
        "upside down": lambda lr, old, new: lr * (1 - old) / (1 - new),
        "as if there had been no momentum": lambda lr, old, new: lr * (1 - new),
        "by the momenta": lambda lr, old, new: lr * old / new,
        "the root": lambda lr, old, new: lr * math.sqrt((1 - new) / (1 - old)),
    }
)
def fair_rate(answer: Callable, generator: torch.Generator) -> str | None:
    """`fair_rate(lr, old, new)`: the rate that keeps η/(1−ρ)."""
    draws = torch.rand(4, 3, generator=generator, dtype=torch.float64)
    cases = [(0.01 + a, 0.1 + 0.4 * b, 0.6 + 0.39 * c) for a, b, c in draws.tolist()]
    for lr, old, new in [*cases, (0.5, 0.0, 0.9), (0.1, 0.9, 0.0)]:
        ratio, place = (1 - new) / (1 - old), f"From momentum {old:.2g} to {new:.2g}"
        try:
            got = float(answer(lr, old, new))
        except ZeroDivisionError:
            return f"{place} your function divides by zero."
        if _near(got, lr * ratio):
            continue
        if _near(got, lr):
            return f"{place} you keep the rate: the step then grows to {1 / ratio:.3g} times its old length."
        if _near(got, lr / ratio):
            return f"{place} you turn the fraction: more momentum makes longer steps already, so the rate must fall."
        if _near(got, lr * (1 - new)):
            return f"{place} you forget that the old momentum, too, lengthened the steps."
        if new and _near(got, lr * old / new):
            return f"{place}: not the momentum counts, but what is missing to 1."
        if _near(got, lr * math.sqrt(ratio)):
            return (
                f"{place} you take a root. It belongs to noise, which adds up in squares; a steady gradient does not."
            )
        return f"{place} a steady gradient now gives steps {got / (lr * ratio):.3g} times as long as before."
    return None


def _length(grads: list[Tensor]) -> float:
    return math.sqrt(sum(grad.double().square().sum().item() for grad in grads))


def _each_alone(grads: list[Tensor], limit: float) -> list[Tensor]:
    return [grad * min(1.0, limit / max(grad.norm().item(), 1e-30)) for grad in grads]


@check(
    wrong={
        "each tensor alone": _each_alone,
        "by value": lambda grads, limit: [grad.clamp(-limit, limit) for grad in grads],
        "short ones lengthened": lambda grads, limit: [grad * (limit / max(_length(grads), 1e-30)) for grad in grads],
        "lengths added": lambda grads, limit: [
            grad * min(1.0, limit / max(sum(g.norm().item() for g in grads), 1e-30)) for grad in grads
        ],
        "the length squared": lambda grads, limit: [
            grad * min(1.0, limit / max(_length(grads) ** 2, 1e-30)) for grad in grads
        ],
        "zero divided by zero": lambda grads, limit: [
            grad * torch.tensor(_length(grads)).clamp(max=limit) / _length(grads) for grad in grads
        ],
        "another dtype": lambda grads, limit: [
            grad.double() * min(1.0, limit / max(_length(grads), 1e-30)) for grad in grads
        ],
        "thrown away": lambda grads, limit: (
            [torch.zeros_like(grad) for grad in grads] if _length(grads) > limit else grads
        ),
    }
)
def clip_by_norm(answer: Callable, generator: torch.Generator) -> str | None:
    """`clip_by_norm(grads, limit)`: the tensors together shortened to `limit` where they are longer."""
    first = [torch.randn(shape, generator=generator) for shape in ((4, 3), (5,), (2, 5))]
    size = _length(first)
    grads = [part * s / size for part, s in zip(first, (1.0, 3.0, 6.0), strict=True)]
    size = _length(grads)
    for limit in (size / 5, size / 1.1):
        if complaint := _on_long([answer([g.clone() for g in grads], limit), grads], limit, size):
            return complaint
    new = answer([g.clone() for g in grads], 2 * size)
    if not all(torch.allclose(a.float(), b) for a, b in zip(new, grads, strict=True)):
        return (
            f"A gradient of length {size:.3g} with the limit {2 * size:.3g} must stay as it is: clipping only shortens."
        )
    try:
        new = answer([torch.zeros_like(g) for g in grads], 1.0)
    except ZeroDivisionError:
        return "A gradient of zero: your function divides by zero."
    if not all(part.eq(0).all() for part in new):
        return "A gradient of zero must stay zero; you return something else, or NaN."
    if any(part.dtype != torch.float32 for part in answer([g.clone() for g in grads], 1.0)):
        return "The gradients come in float32 and must leave in float32."
    return None


def _on_long(pair: list[list[Tensor]], limit: float, size: float) -> str | None:
    new, grads = pair
    if not isinstance(new, (list, tuple)) or [tuple(p.shape) for p in new] != [tuple(g.shape) for g in grads]:
        return "Return a list of tensors with the shapes of the gradients."
    place = f"Length {size:.3g}, limit {limit:.3g}: yours has length {_length(new):.3g}"
    if all(
        torch.allclose(part.float(), grad * (limit / size), rtol=1e-4) for part, grad in zip(new, grads, strict=True)
    ):
        return None
    if not any(part.any() for part in new):
        return f"{place}. The long gradient is thrown away; clipping keeps its direction."
    factors = [part.float().norm().item() / grad.norm().item() for part, grad in zip(new, grads, strict=True)]
    if max(factors) / max(min(factors), 1e-30) > 1.0001:
        inside = all(part.abs().max() <= limit * 1.0001 for part in new)
        alone = _each_alone(grads, limit)
        if all(torch.allclose(part.float(), other, rtol=1e-4) for part, other in zip(new, alone, strict=True)):
            return f"{place}. Each tensor has a factor of its own, which turns the gradient: take one length for all."
        return (
            f"{place}. Entries are cut one by one, which turns the gradient." if inside else f"{place}, and has turned."
        )
    if math.isclose(factors[0], limit / sum(g.norm().item() for g in grads), rel_tol=1e-4):
        return f"{place}. Lengths do not add up; their squares do."
    if math.isclose(factors[0], min(1.0, limit / size**2), rel_tol=1e-4):
        return f"{place}. You divided by the squared length: the root is missing."
    return f"{place}. It should be the limit."


def _shortened(grad: Tensor, limit: float) -> Tensor:
    length = grad.norm().item()
    return grad * (limit / length) if length > limit else grad


def _weighted(grads: list[Tensor], sizes: list[int]) -> Tensor:
    return sum(size * grad for size, grad in zip(sizes, grads, strict=True)) / sum(sizes)


@check(
    wrong={
        "a plain mean": lambda grads, sizes, limit: _shortened(sum(grads) / len(grads), limit),
        "a sum": lambda grads, sizes, limit: _shortened(sum(grads), limit),
        "not clipped": lambda grads, sizes, limit: _weighted(grads, sizes),
        "each batch clipped": lambda grads, sizes, limit: _weighted([_shortened(g, limit) for g in grads], sizes),
        "the last batch": lambda grads, sizes, limit: _shortened(grads[-1], limit),
        "sums over examples": lambda grads, sizes, limit: _shortened(_weighted(grads, sizes) * sum(sizes), limit),
        "by value": lambda grads, sizes, limit: _weighted(grads, sizes).clamp(-limit, limit),
        "another dtype": lambda grads, sizes, limit: _shortened(_weighted(grads, sizes), limit).float(),
    }
)
def gathered(answer: Callable, generator: torch.Generator) -> str | None:
    """`gathered(grads, sizes, limit)`: the clipped gradient of the mean loss over all examples."""
    base = torch.randn(6, generator=generator, dtype=torch.float64)
    other = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    grads, sizes = [base + part for part in other], [32, 32, 5 + int(torch.randint(8, (), generator=generator))]
    grads[2] = 20 * grads[2]
    right = _weighted(grads, sizes)
    size = right.norm().item()
    for limit, place in ((100 * size, "A limit that nothing reaches"), (size / 4, "A limit that the gradient exceeds")):
        new = answer([g.clone() for g in grads], list(sizes), limit)
        if not isinstance(new, Tensor) or new.shape != right.shape:
            return "Return one tensor of the shape of a gradient."
        if complaint := _on_gathered(new, grads, sizes, limit):
            return f"{place}: {complaint}"
    if new.dtype != torch.float64:
        return f"The gradients come in float64, yours leaves in {str(new.dtype).removeprefix('torch.')}."
    return None


def _on_gathered(new: Tensor, grads: list[Tensor], sizes: list[int], limit: float) -> str | None:
    def is_like(other: Tensor) -> bool:
        return torch.allclose(new.double(), other, rtol=1e-5, atol=1e-9)

    right = _weighted(grads, sizes)
    if is_like(_shortened(right, limit)):
        return None
    if is_like(_shortened(sum(grads) / len(grads), limit)):
        return f"you weigh all batches alike, so each of the last {sizes[-1]} examples counts more than one before."
    if is_like(_shortened(sum(grads), limit)):
        return "you add the gradients up: three batches then make a step three times as long as their large batch."
    if is_like(_shortened(grads[-1], limit)):
        return "only the last batch is left; the others have been overwritten."
    if is_like(right * sum(sizes)):
        return "that is the gradient of the summed loss: divide by the number of examples."
    if is_like(right):
        return "yours is as long as before: the clip is missing."
    if is_like(_weighted([_shortened(grad, limit) for grad in grads], sizes)):
        return "you clip each batch before you gather; the optimizer meets one gradient, and clips it once."
    if is_like(right.clamp(-limit, limit)):
        return "you cut the entries; a clip by norm keeps the direction."
    return f"yours has length {new.norm().item():.3g}, the large batch's {_shortened(right, limit).norm().item():.3g}."
