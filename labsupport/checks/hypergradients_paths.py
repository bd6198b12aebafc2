"""Checks of the exercises of chapter `hypergradients` that belong to `backprop_through_training` and `drmad`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.frame import check

__all__ = ["bits_kept", "line_hypergradient", "step_back", "undamp"]


@check(
    wrong={
        "one step": lambda momentum, num_steps: math.log2(1 / momentum),
        "natural logarithm": lambda momentum, num_steps: num_steps * math.log(1 / momentum),
        "decimal digits": lambda momentum, num_steps: num_steps * math.log10(1 / momentum),
        "sign": lambda momentum, num_steps: num_steps * math.log2(momentum),
        "share that is lost": lambda momentum, num_steps: num_steps * (1 - momentum),
        "the whole number": lambda momentum, num_steps: 64 * num_steps,
        "bits of the factor": lambda momentum, num_steps: math.log2(num_steps / momentum),
    }
)
def bits_kept(answer: Callable, generator: torch.Generator) -> str | None:
    """`bits_kept(momentum, num_steps)`: bits a weight that reversible training stores, num_steps · log₂(1/momentum)."""
    if abs(float(answer(0.5, 1)) - 1) > 1e-9:
        got = float(answer(0.5, 1))
        known = {
            -1.0: "Halving drops one bit, which must be kept: +1, and you found −1. Take the logarithm of 1/ρ.",
            math.log(2): "Halving once drops one bit; you found 0.69. Bits are counted by the logarithm to base 2.",
            math.log10(2): "Halving once drops one bit; you found 0.30, which is in decimal digits.",
            0.5: "Halving drops one bit, and you found ½: 1 − ρ is the share of the size, not of bits.",
            64.0: "Halving once drops one bit, not all 64: the velocity's other digits are still there.",
        }
        close = [text for value, text in known.items() if abs(got - value) < 1e-9]
        return close[0] if close else f"Multiplying by one half drops one bit; you found {got:.3g}."
    momentum = 0.3 + 0.6 * float(torch.rand((), generator=generator, dtype=torch.float64))
    expected, got = 1000 * math.log2(1 / momentum), float(answer(momentum, 1000))
    if abs(1000 * got - expected) < 1e-6:
        return "That is the price of one step: each of the steps pays it."
    if got < 50 and abs(got - math.log2(1000 / momentum)) < 1e-6:
        return "The number of steps stands outside the logarithm: every step loses as much as the one before."
    if abs(got - expected) > 1e-6:
        return f"For momentum {momentum:.2f} and 1000 steps the answer is {expected:.1f} bits; you found {got:.1f}."
    return None


Products = Callable[[Tensor], tuple[Tensor, Tensor]]
Three = tuple[Tensor, Tensor, Tensor]


def _stepped(w_bar: Tensor, v_bar: Tensor, lam_bar: Tensor, products: Products, lr: float, momentum: float) -> Three:
    v_bar = v_bar - lr * w_bar
    curved, mixed = products(v_bar)
    return w_bar + curved, momentum * v_bar, lam_bar + mixed


def _old_velocity(w_bar: Tensor, v_bar: Tensor, lam_bar: Tensor, products: Products, lr: float, rho: float) -> Three:
    curved, mixed = products(v_bar)
    return w_bar + curved, rho * (v_bar - lr * w_bar), lam_bar + mixed


def _damped_first(w_bar: Tensor, v_bar: Tensor, lam_bar: Tensor, products: Products, lr: float, rho: float) -> Three:
    v_bar = rho * (v_bar - lr * w_bar)
    curved, mixed = products(v_bar)
    return w_bar + curved, v_bar, lam_bar + mixed


@check(
    wrong={
        "velocity used before its update": _old_velocity,
        "damped before its use": _damped_first,
        "uphill": lambda w, v, lam, p, lr, rho: _stepped(w, v, lam, p, -lr, rho),
        "rate forgotten": lambda w, v, lam, p, lr, rho: _stepped(w, v, lam, p, 1.0, rho),
        "momentum forgotten": lambda w, v, lam, p, lr, rho: _stepped(w, v, lam, p, lr, 1.0),
        "velocity's adjoint forgotten": lambda w, v, lam, p, lr, rho: _stepped(w, torch.zeros_like(v), lam, p, lr, rho),
        "not added up": lambda w, v, lam, p, lr, rho: _stepped(w, v, torch.zeros_like(lam), p, lr, rho),
        "single precision": lambda *given: tuple(part.float() for part in _stepped(*given)),
    }
)
def step_back(answer: Callable, generator: torch.Generator) -> str | None:
    """`step_back(w_bar, v_bar, lam_bar, products, lr, momentum)`: the three adjoints before a step of training."""

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    root, mixing, given = drawn(4, 4), drawn(3, 4), (drawn(4), drawn(4), drawn(3))
    args = (*given, lambda vector: ((root + root.mT) @ vector, mixing @ vector), 0.3, 0.6)
    got, truth = answer(*args), _stepped(*args)
    if not isinstance(got, tuple) or [tuple(part.shape) for part in got] != [(4,), (4,), (3,)]:
        return "Return three tensors in this order: the adjoints of the weights, the velocity, the hyperparameters."
    if any(part.dtype != torch.float64 for part in got):
        return "The adjoints came back in another dtype than they went in: no conversion is needed here."
    named = {
        "velocity used before its update": "You give the products the old v̄. The step's last assignment, w ← w − ηv, "
        "is undone first: v̄ changes, then it is used.",
        "damped before its use": "You multiply v̄ by ρ before the products. The gradient enters the new velocity whole; "
        "only what goes on to the step before is damped.",
        "uphill": "The weights contain −ηv, so v̄ changes by −η w̄; yours changes by +η w̄.",
        "rate forgotten": "The rate is missing: the weights contain −ηv, so v̄ changes by −η w̄, not by −w̄.",
        "momentum forgotten": "v̄ must be multiplied by ρ at the end: the old velocity enters the new one as ρv.",
        "velocity's adjoint forgotten": "What later steps felt of this velocity is lost: add to v̄, do not replace it.",
        "not added up": "λ takes part in every step: add to λ̄ what this step contributes.",
    }
    for name, message in named.items():
        if all(torch.allclose(a, b) for a, b in zip(got, step_back.wrong[name](*args), strict=True)):
            return message
    for name, a, b in zip(("w̄", "v̄", "λ̄"), got, truth, strict=True):
        if not torch.allclose(a, b):
            return f"{name} should begin with {float(b[0]):.4f}, {float(b[1]):.4f}; you found {a.tolist()}."
    return None


def _damp(velocity: Tensor, buffer: Tensor, top: int, bottom: int) -> tuple[Tensor, Tensor]:
    buffer = buffer * bottom + velocity % bottom
    return velocity // bottom * top + buffer % top, buffer // top


def _halfway(velocity: Tensor, buffer: Tensor, top: int, bottom: int) -> tuple[Tensor, Tensor]:
    buffer = buffer * top + velocity % top
    return velocity // top * bottom, buffer


def _late(velocity: Tensor, buffer: Tensor, top: int, bottom: int) -> tuple[Tensor, Tensor]:
    velocity, digit = velocity // top * bottom + buffer % bottom, velocity % top
    return velocity, buffer // bottom * top + digit


@check(
    wrong={
        "division alone": lambda v, buffer, top, bottom: (v * bottom // top, buffer),
        "floating point": lambda v, buffer, top, bottom: ((v / top * bottom).round().long(), buffer),
        "forward again": _damp,
        "digit not taken back": _halfway,
        "taken before it was given": _late,
        "through doubles": lambda v, buffer, top, bottom: tuple(
            part.double() for part in _damp(v, buffer, bottom, top)
        ),
    }
)
def undamp(answer: Callable, generator: torch.Generator) -> str | None:
    """`undamp(velocity, buffer, top, bottom)`: both before a multiplication by top/bottom, to the bit."""
    for top, bottom in ((9, 10), (2, 5)):
        before = torch.randint(-(2**50), 2**50, (6,), generator=generator), torch.zeros(6, dtype=torch.int64)
        once = _damp(*before, top, bottom)
        twice = _damp(*once, top, bottom)
        got = answer(*twice, top, bottom)
        if not isinstance(got, tuple) or len(got) != 2:
            return "Return two tensors: the velocity before, and the buffer before."
        if any(part.dtype != torch.int64 for part in got):
            return f"What comes back is {got[0].dtype}: a double does not hold an int64. Stay in whole numbers."
        if message := _said(got, once, twice, top, bottom):
            return message
        if any(not torch.equal(a, b) for a, b in zip(answer(*got, top, bottom), before, strict=True)):
            return "One step back is right, but a second one does not reach the start: is the buffer right as well?"
    return None


def _said(got: tuple, once: tuple, twice: tuple, top: int, bottom: int) -> str | None:
    """What is wrong with one step back."""
    if all(torch.equal(a, b) for a, b in zip(got, once, strict=True)):
        return None
    if all(torch.equal(a, b) for a, b in zip(got, _damp(*twice, top, bottom), strict=True)):
        return "You multiply once more by top/bottom. Going back, top and bottom change places."
    if torch.equal(got[1], twice[1]):
        exact = torch.equal(got[0], twice[0] * bottom // top)
        return (
            "You divide and leave the buffer alone: the remainder that the step put there is what makes it exact."
            if exact
            else "You divide by ρ in floating point and leave the buffer alone: it holds the digits that are missing."
        )
    if torch.equal(got[0], _halfway(*twice, top, bottom)[0]):
        return "You give the buffer its digit, but take none back: buffer % bottom belongs to the velocity."
    if torch.equal(got[1] // 1, _late(*twice, top, bottom)[1]):
        return (
            "You take from the buffer before you give to it. The step ended with `buffer // top`: undo that first, by "
            "buffer · top + velocity % top."
        )
    return f"For {top}/{bottom} one step back should give {once[0].tolist()[:2]} …; you found {got[0].tolist()[:2]} …"


def _line(
    start: Tensor, end: Tensor, w_bar: Tensor, products: Callable, num_steps: int, lr: float, momentum: float,
    *, place: Callable[[int], float] | None = None,
) -> Tensor:  # fmt: skip
    v_bar, lam_bar = torch.zeros_like(w_bar), torch.zeros_like(w_bar)
    for number in reversed(range(num_steps)):
        u = number / num_steps if place is None else place(number)
        v_bar = v_bar - lr * w_bar
        curved, mixed = products((1 - u) * start + u * end, v_bar)
        lam_bar, w_bar, v_bar = lam_bar + mixed, w_bar + curved, momentum * v_bar
    return lam_bar


def _printed(
    start: Tensor, end: Tensor, w_bar: Tensor, products: Callable, num_steps: int, lr: float, momentum: float
) -> Tensor:
    lam_bar = torch.zeros_like(w_bar)
    for number in reversed(range(num_steps)):
        u = number / num_steps
        curved, mixed = products((1 - u) * start + u * end, w_bar)
        lam_bar, w_bar = lam_bar - mixed, w_bar - curved
    return lam_bar


@check(
    wrong={
        "from the start to the end": lambda *given: _line(*given, place=lambda k: (given[4] - 1 - k) / given[4]),
        "ends exchanged": lambda start, end, *rest: _line(end, start, *rest),
        "stays at the end": lambda *given: _line(*given, place=lambda k: 1.0),
        "begins at the end itself": lambda *given: _line(*given, place=lambda k: (k + 1) / given[4]),
        "as printed": _printed,
        "no momentum": lambda *given: _line(*given[:-1], 0.0),
        "stretched to its mean": lambda *given: _line(*given) / given[4],
        "single precision": lambda *given: _line(*given).float(),
    }
)
def line_hypergradient(answer: Callable, generator: torch.Generator) -> str | None:
    """`line_hypergradient(start, end, w_bar, products, num_steps, lr, momentum)`: DrMAD's recursion along the line."""

    def drawn() -> Tensor:
        return torch.rand(3, generator=generator, dtype=torch.float64) + 0.5

    def products(w: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:  # of Σ ¼ w⁴ + ½ exp(λ) w² at λ = −1
        return (3 * w**2 + math.exp(-1)) * vector, math.exp(-1) * w * vector

    args = (drawn() - 1.5, 2 * drawn(), drawn(), products, 5, 0.1, 0.5)
    got, truth = answer(*args), _line(*args)
    if not isinstance(got, Tensor) or got.shape != (3,):
        return "Return λ̄ alone, a tensor like the weights: here each weight has a coefficient of its own."
    if got.dtype != torch.float64:
        return f"The weights are float64, and λ̄ came back as {got.dtype}."
    named = {
        "from the start to the end": "You walk from start to end. Going back begins at the end: k = K − 1 first.",
        "ends exchanged": "At u = 0 the line is at the start and at u = 1 at the end: w = (1 − u)·start + u·end.",
        "stays at the end": "Your weights never move: step k of the way back is taken at u = k/K.",
        "begins at the end itself": "Your places are 1 … 1/K. A step back is taken at the weights *before* the step: "
        "u = k/K, the last of them 0.",
        "as printed": "That is the published pseudo-code: the rate and the adjoint of the velocity are missing.",
        "no momentum": "v̄ is lost from step to step: what is left of it, times the momentum, goes on.",
        "stretched to its mean": "You return the mean over the steps; the contributions add up.",
    }
    for name, message in named.items():
        if torch.allclose(got, line_hypergradient.wrong[name](*args)):
            return message
    if not torch.allclose(got, truth):
        return f"λ̄ should be {[round(v, 4) for v in truth.tolist()]}; you found {[round(v, 4) for v in got.tolist()]}."
    return None
