"""Checks of the exercises that belong to page `backprop_through_training`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.compare import exactly
from labsupport.checks.draws import normal, uniform
from labsupport.checks.frame import check

__all__ = ["bits_kept", "step_back", "undamp"]


@check(
    truth=lambda momentum, num_steps: num_steps * math.log2(1 / momentum),
    given=lambda generator: [(0.5, 1), (uniform(generator, 0.3, 0.9), 1000)],
    wrong={
        "one step": (lambda momentum, num_steps: math.log2(1 / momentum),
            "That is the price of one step: each of the steps pays it."),
        "natural logarithm": (lambda momentum, num_steps: num_steps * math.log(1 / momentum),
            "Halving once drops one bit. Bits are counted by the logarithm to base 2."),
        "decimal digits": (lambda momentum, num_steps: num_steps * math.log10(1 / momentum),
            "Halving once drops one bit; yours is in decimal digits."),
        "sign": (lambda momentum, num_steps: num_steps * math.log2(momentum),
            "Halving drops one bit, which must be kept: a positive number. Take the logarithm of 1/ρ."),
        "share that is lost": (lambda momentum, num_steps: num_steps * (1 - momentum),
            "1 − ρ is the share of the size that is lost, not of bits."),
        "the whole number": (lambda momentum, num_steps: 64 * num_steps,
            "A step drops a bit or less, not all 64: the velocity's other digits are still there."),
        "bits of the factor": (lambda momentum, num_steps: math.log2(num_steps / momentum),
            "The number of steps stands outside the logarithm: every step loses as much as the one before."),
    },
)  # fmt: skip
def bits_kept(answer: Callable, generator: torch.Generator) -> str | None:
    """`bits_kept(momentum, num_steps)`: bits a weight that reversible training stores, num_steps · log₂(1/momentum)."""


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


def _adjoints(generator: torch.Generator) -> list[tuple]:
    root, mixing = normal(generator, 4, 4), normal(generator, 3, 4)

    def products(x: Tensor) -> tuple[Tensor, Tensor]:
        return (root + root.mT).to(x) @ x, mixing.to(x) @ x

    return [(normal(generator, 4), normal(generator, 4), normal(generator, 3), products, 0.3, 0.6)]


@check(
    truth=_stepped,
    given=_adjoints,
    returns="three tensors in this order: the adjoints of the weights, the velocity, the hyperparameters",
    wrong={
        "velocity used before its update": (_old_velocity,
            "You give the products the old v̄. The step's last assignment, w ← w − ηv, is undone first: v̄ changes, "
            "then it is used."),
        "damped before its use": (
            _damped_first,
            "You multiply v̄ by ρ before the products. The gradient enters the new velocity whole; only what goes on to "
            "the step before is damped.",
        ),
        "uphill": (lambda w, v, lam, p, lr, rho: _stepped(w, v, lam, p, -lr, rho),
            "The weights contain −ηv, so v̄ changes by −η w̄; yours changes by +η w̄."),
        "rate forgotten": (lambda w, v, lam, p, lr, rho: _stepped(w, v, lam, p, 1.0, rho),
            "The rate is missing: the weights contain −ηv, so v̄ changes by −η w̄, not by −w̄."),
        "momentum forgotten": (lambda w, v, lam, p, lr, rho: _stepped(w, v, lam, p, lr, 1.0),
            "v̄ must be multiplied by ρ at the end: the old velocity enters the new one as ρv."),
        "velocity's adjoint forgotten": (
            lambda w, v, lam, p, lr, rho: _stepped(w, torch.zeros_like(v), lam, p, lr, rho),
            "What later steps felt of this velocity is lost: add to v̄, do not replace it."),
        "not added up": (lambda w, v, lam, p, lr, rho: _stepped(w, v, torch.zeros_like(lam), p, lr, rho),
            "λ takes part in every step: add to λ̄ what this step contributes."),
    },
)  # fmt: skip
def step_back(answer: Callable, generator: torch.Generator) -> str | None:
    """`step_back(w_bar, v_bar, lam_bar, products, lr, momentum)`: the three adjoints before a step of training."""


def _damp(velocity: Tensor, buffer: Tensor, top: int, bottom: int) -> tuple[Tensor, Tensor]:
    buffer = buffer * bottom + velocity % bottom
    return velocity // bottom * top + buffer % top, buffer // top


def _undamped(velocity: Tensor, buffer: Tensor, top: int, bottom: int) -> tuple[Tensor, Tensor]:
    buffer = buffer * top + velocity % top
    return velocity // top * bottom + buffer % bottom, buffer // bottom


def _late(velocity: Tensor, buffer: Tensor, top: int, bottom: int) -> tuple[Tensor, Tensor]:
    velocity, digit = velocity // top * bottom + buffer % bottom, velocity % top
    return velocity, buffer // bottom * top + digit


def _damped(generator: torch.Generator) -> dict[str, tuple]:
    cases = {}
    for top, bottom in ((9, 10), (2, 5)):
        before = torch.randint(-(2**50), 2**50, (6,), generator=generator), torch.zeros(6, dtype=torch.int64)
        once = _damp(*before, top, bottom)
        cases[f"For {top}/{bottom}, back from the second step"] = (*_damp(*once, top, bottom), top, bottom)
        cases[f"For {top}/{bottom}, back from the first step"] = (*once, top, bottom)
    return cases


@check(
    truth=_undamped,
    given=_damped,
    same=exactly,
    returns="two tensors: the velocity before, and the buffer before",
    wrong={
        "division alone": (lambda v, buffer, top, bottom: (v * bottom // top, buffer),
            "you divide and leave the buffer alone: the remainder that the step put there is what makes it exact."),
        "floating point": (lambda v, buffer, top, bottom: ((v.double() / top * bottom).round().long(), buffer),
            "you divide by ρ in floating point and leave the buffer alone: it holds the digits that are missing."),
        "forward again": (_damp, "you multiply once more by top/bottom. Going back, top and bottom change places."),
        "digit not taken back": (lambda v, buffer, top, bottom: (v // top * bottom, buffer * top + v % top),
            "you give the buffer its digit, but take none back: buffer % bottom belongs to the velocity."),
        "taken before it was given": (_late,
            "you take from the buffer before you give to it. The step ended with `buffer // top`: undo that first, by "
            "buffer · top + velocity % top."),
        "through doubles": (
            lambda v, buffer, top, bottom: tuple(part.double() for part in _undamped(v, buffer, top, bottom)),
            "what comes back is in float64: a double does not hold an int64. Stay in whole numbers."),
    },
)  # fmt: skip
def undamp(answer: Callable, generator: torch.Generator) -> str | None:
    """`undamp(velocity, buffer, top, bottom)`: both before a multiplication by top/bottom, to the bit."""
