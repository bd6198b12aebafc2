"""Checks of the exercises of chapter `hypergradients` that belong to `beyond_drmad`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

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


@check(
    wrong={
        "uphill": lambda w, p, n, lr: -_implicit(w, p, n, lr),
        "rate in front forgotten": lambda w, p, n, lr: _implicit(w, p, n, lr) / lr,
        "last term alone": _last,
        "grows": lambda w, p, n, lr: _implicit(w, p, n, lr, rate=-lr),
        "rate inside forgotten": lambda w, p, n, lr: _implicit(w, p, n, lr, rate=1.0),
        "one term too few": lambda w, p, n, lr: _implicit(w, p, n - 1, lr),
        "one term too many": lambda w, p, n, lr: _implicit(w, p, n + 1, lr),
        "no inverse": lambda w, p, n, lr: p(-w)[1],
        "single precision": lambda w, p, n, lr: _implicit(w, p, n, lr).float(),
    }
)
def implicit_hypergradient(answer: Callable, generator: torch.Generator) -> str | None:
    """`implicit_hypergradient(w_bar, products, num_terms, lr)`: λ̄ by the Neumann series at the end of training."""

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    root, mixing, w_bar = drawn(4, 4), drawn(3, 4), drawn(4)
    hessian = root @ root.mT + torch.eye(4, dtype=torch.float64)
    args = (w_bar, lambda x: (hessian @ x, mixing @ x), 6, 0.05)
    got, truth = answer(*args), _implicit(*args)
    if not isinstance(got, Tensor) or got.shape != (3,):
        return "Return λ̄ alone, one number for each hyperparameter: the second of the two products."
    if got.dtype != torch.float64:
        return f"The gradient at the end is float64, and λ̄ came back as {got.dtype}."
    named = {
        "uphill": "The sign is the other one: dw/dλ = −H⁻¹ ∂λ∇L.",
        "rate in front forgotten": "The sum stands for H⁻¹ / η: multiply it by the rate.",
        "last term alone": "You use the last term (I − ηH)ʲ alone: the inverse is the sum of them all.",
        "grows": "Your terms grow: each is the one before times I − ηH, not I + ηH.",
        "rate inside forgotten": "Your terms are multiplied by I − H: the rate belongs inside as well.",
        "one term too few": "You stop one term early: num_terms of them come after the first, w̄ itself.",
        "one term too many": "You take one term too many: num_terms of them come after the first, w̄ itself.",
        "no inverse": "You leave H⁻¹ out: that is the direction of one step back, whatever its length.",
    }
    for name, message in named.items():
        if torch.allclose(got, implicit_hypergradient.wrong[name](*args)):
            return message
    if not torch.allclose(got, truth):
        return f"λ̄ should be {[round(v, 4) for v in truth.tolist()]}; you found {[round(v, 4) for v in got.tolist()]}."
    return None


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


PROBES = (
    ((50, 60, 0.9), "All 50 weights fit into 60 copies: `stored` trains once, the other two twice."),
    ((2000, 10, 0.1), "Ten copies are too few for any exact method over 2000 steps at momentum 0.1: that is `none`."),
    ((2000, 50, 0.0), "At momentum 0 no step can be undone, so `reversible` is out, whatever it would cost."),
    ((2000, 100, 0.0), "Checkpoints keep velocities too, two copies each: 2000 steps need 126 copies, not 100."),
    ((2000, 130, 0.0), "Choose the piece's length: 2000 steps fit into 130 copies with pieces of about √(2T) = 63."),
    ((2000, 20, 0.5), "2000 steps at momentum ½ are 2000 bits a weight, or 62.5 copies of 32 bits: too many for 20."),
    ((2000, 100, 0.25), "2000 steps at momentum ¼ lose two bits each, 125 copies and 6 more: too many for 100."),
)
TRUTHS = ("stored", "none", "none", "none", "checkpoints", "none", "none")


@check(
    wrong={
        "always the smallest": _smallest,
        "never none": _never_none,
        "undoes momentum 0": lambda T, c, rho: _chosen(T, c, rho, reversible=_forgetful),
        "velocities forgotten": lambda T, c, rho: _chosen(T, c, rho, checkpoints=lambda n: _checkpoints(n, each=1)),
        "pieces of ten": lambda T, c, rho: _chosen(T, c, rho, checkpoints=lambda n: _checkpoints(n, length=min(n, 10))),
        "256 bits a number": lambda T, c, rho: _chosen(T, c, rho, reversible=lambda n, r: _reversible(n, r, word=256)),
        "natural logarithm": lambda T, c, rho: _chosen(
            T, c, rho, reversible=lambda n, r: _reversible(n, r, log=math.log)
        ),
    }
)
def exact_method(answer: Callable, generator: torch.Generator) -> str | None:
    """`exact_method(num_steps, copies, momentum)`: the exact method that fits with the least work, or "none"."""
    for (args, message), truth in zip(PROBES, TRUTHS, strict=True):
        got = answer(*args)
        if not isinstance(got, str) or got not in ("stored", "checkpoints", "reversible", "none"):
            return f'Return "stored", "checkpoints", "reversible" or "none"; you returned {got!r}.'
        if got != truth:
            return message
    for _ in range(200):
        num_steps, copies = (int(torch.randint(low, 2000, (), generator=generator)) for low in (1, 3))
        momentum = int(torch.randint(10, generator=generator, size=())) / 10
        args = num_steps, copies // (1 + copies % 9), momentum
        got, truth = answer(*args), _chosen(*args)
        if got != truth:
            need = f"checkpoints need {_checkpoints(num_steps)}, reversible {_reversible(num_steps, momentum):.1f}"
            asked = f"{num_steps} steps, {args[1]} copies, momentum {momentum:g}: {need}"
            return f"{asked}. The answer is {truth!r}; you found {got!r}."
    return None
