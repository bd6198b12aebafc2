"""Checks of the exercises that belong to page `beyond_drmad`."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import normal, whole
from labsupport.checks.frame import check

__all__ = ["exact_method", "implicit_hypergradient"]

Products = Callable[[Tensor], tuple[Tensor, Tensor]]


def _implicit(w_bar: Tensor, products: Products, num_terms: int, lr: float, *, rate: float | None = None) -> Tensor:
    term = total = w_bar
    for _ in range(num_terms):
        term = term - (lr if rate is None else rate) * products(term)[0]
        total = total + term
    return products(-lr * total)[1]


def _last(w_bar: Tensor, products: Products, num_terms: int, lr: float) -> Tensor:
    for _ in range(num_terms):
        w_bar = w_bar - lr * products(w_bar)[0]
    return products(-lr * w_bar)[1]


def _end(generator: torch.Generator) -> list[tuple]:
    root, mixing = normal(generator, 4, 4), normal(generator, 3, 4)
    hessian = root @ root.mT + torch.eye(4, dtype=torch.float64)
    return [(normal(generator, 4), lambda x: (hessian.to(x) @ x, mixing.to(x) @ x), 6, 0.05)]


@check(
    truth=_implicit,
    given=_end,
    returns="λ̄ alone, one number for each hyperparameter: the second of the two products",
    wrong={
        "uphill": (lambda w, p, n, lr: -_implicit(w, p, n, lr), "The sign is the other one: dw/dλ = −H⁻¹ ∂λ∇L."),
        "rate in front forgotten": (lambda w, p, n, lr: _implicit(w, p, n, lr) / lr,
            "The sum stands for H⁻¹ / η: multiply it by the rate."),
        "last term alone": (_last, "You use the last term (I − ηH)ʲ alone: the inverse is the sum of them all."),
        "grows": (lambda w, p, n, lr: _implicit(w, p, n, lr, rate=-lr),
            "Your terms grow: each is the one before times I − ηH, not I + ηH."),
        "rate inside forgotten": (lambda w, p, n, lr: _implicit(w, p, n, lr, rate=1.0),
            "Your terms are multiplied by I − H: the rate belongs inside as well."),
        "one term too few": (lambda w, p, n, lr: _implicit(w, p, n - 1, lr),
            "You stop one term early: num_terms of them come after the first, w̄ itself."),
        "one term too many": (lambda w, p, n, lr: _implicit(w, p, n + 1, lr),
            "You take one term too many: num_terms of them come after the first, w̄ itself."),
        "no inverse": (lambda w, p, n, lr: p(-w)[1],
            "You leave H⁻¹ out: that is the direction of one step back, whatever its length."),
    },
)  # fmt: skip
def implicit_hypergradient(answer: Callable, generator: torch.Generator) -> str | None:
    """`implicit_hypergradient(w_bar, products, num_terms, lr)`: λ̄ by the Neumann series at the end of training."""


@functools.cache
def _checkpoints(num_steps: int, *, each: int = 2, length: int | None = None) -> int:
    lengths = range(1, num_steps + 1) if length is None else [length]
    return min(each * (-(-num_steps // s) - 1) + s + 1 for s in lengths)


def _reversible(num_steps: int, momentum: float, *, log: Callable = math.log2, word: int = 32) -> float:
    return 6 + num_steps * log(1 / momentum) / word if momentum > 0 else math.inf


def _chosen(
    num_steps: int, copies: float, momentum: float, *, checkpoints: Callable = _checkpoints,
    reversible: Callable = _reversible,
) -> str:  # fmt: skip
    if num_steps <= copies:
        return "stored"
    need = {"checkpoints": checkpoints(num_steps), "reversible": reversible(num_steps, momentum)}
    fit = [name for name in need if need[name] <= copies]
    return min(fit, key=need.get) if fit else "none"


def _smallest(num_steps: int, copies: float, momentum: float) -> str:
    need = {"stored": num_steps, "checkpoints": _checkpoints(num_steps), "reversible": _reversible(num_steps, momentum)}
    name = min(need, key=need.get)
    return name if need[name] <= copies else "none"


def _never_none(num_steps: int, copies: float, momentum: float) -> str:
    found = _chosen(num_steps, copies, momentum)
    return "reversible" if found == "none" and momentum > 0 else "checkpoints" if found == "none" else found


def _forgetful(num_steps: int, momentum: float) -> float:
    return _reversible(num_steps, momentum) if momentum > 0 else 6.0


def _trainings(generator: torch.Generator) -> list[tuple]:
    telling = [
        (50, 60, 0.9), (2000, 10, 0.1), (2000, 50, 0.0), (2000, 100, 0.0), (2000, 130, 0.0), (2000, 20, 0.5),
        (2000, 100, 0.25),
    ]  # fmt: skip
    drawn = [(whole(generator, 1, 2000), whole(generator, 3, 2000), whole(generator, 0, 9) / 10) for _ in range(60)]
    tight = [(steps, _checkpoints(steps) - 1, 0.0) for steps, _, _ in drawn[:5] if steps > 20]
    return telling + tight + [(steps, copies // (1 + copies % 9), momentum) for steps, copies, momentum in drawn]


@check(
    truth=_chosen,
    given=_trainings,
    returns='"stored", "checkpoints", "reversible" or "none"',
    wrong={
        "always the smallest": (_smallest, "What fits as a whole is `stored`: that trains once, the other two twice."),
        "never none": (_never_none, "Where the copies are too few for any exact method, the answer is `none`."),
        "undoes momentum 0": (lambda T, c, rho: _chosen(T, c, rho, reversible=_forgetful),
            "At momentum 0 no step can be undone, so `reversible` is out, whatever it would cost."),
        "velocities forgotten": (lambda T, c, rho: _chosen(T, c, rho, checkpoints=lambda n: _checkpoints(n, each=1)),
            "Checkpoints keep velocities too, two copies for each piece but the last."),
        "pieces of ten": (
            lambda T, c, rho: _chosen(T, c, rho, checkpoints=lambda n: _checkpoints(n, length=min(n, 10))),
            "Choose the piece's length: the fewest copies take pieces of about √(2T) steps."),
        "256 bits a number": (lambda T, c, rho: _chosen(T, c, rho, reversible=lambda n, r: _reversible(n, r, word=256)),
            "A copy has 32 bits for each weight: divide the bits of a weight by 32."),
        "natural logarithm": (
            lambda T, c, rho: _chosen(T, c, rho, reversible=lambda n, r: _reversible(n, r, log=math.log)),
            "A step at momentum ¼ loses two bits: take the logarithm to base 2."),
    },
)  # fmt: skip
def exact_method(answer: Callable, generator: torch.Generator) -> str | None:
    """`exact_method(num_steps, copies, momentum)`: the exact method that fits with the least work, or "none"."""
