"""Gradient descent and its two momenta."""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType

from labsupport.optimizers.rule import Optimizer, Params, Settings, State, decayed, titled, zeros
from labsupport.remaking import recorded
from labsupport.values import check_choice

__all__ = ["momentum", "nesterov", "sgd"]

FORMS = ("torch", "sutskever")


@recorded
@lru_cache(maxsize=None, typed=True)
def sgd() -> Optimizer:
    """Gradient descent on batches: θ ← θ − ηg, with g ← g + λθ first where weight_decay λ is not 0."""

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        grads = decayed(grads, params, settings)
        return {name: value - settings["lr"] * grads[name] for name, value in params.items()}, state

    return Optimizer(
        "sgd", lambda params: {}, update, MappingProxyType({"lr": None, "weight_decay": 0.0}), reach="entry"
    )


@recorded
@lru_cache(maxsize=None, typed=True)
def momentum(*, form: str = "torch") -> Optimizer:
    """Heavy ball: v ← ρv + g, θ ← θ − ηv ("torch"), or v ← ρv − ηg, θ ← θ + v ("sutskever").

    The two take the same steps while η stays, and part when it changes: in torch's form the whole velocity meets the
    new rate at once, in the other what was gathered keeps the old one. Neither has a factor 1 − ρ: under a steady
    gradient the step grows to η/(1 − ρ) times it.

    Args:
        form: "torch" or "sutskever".
    Source: Polyak 1964; Sutskever, Martens, Dahl & Hinton 2013, eqs. 1–2.
    """
    check_choice("momentum", "form", form, FORMS)

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        grads, rho, lr = decayed(grads, params, settings), settings["momentum"], settings["lr"]
        if form == "torch":
            velocity = {name: rho * v + grads[name] for name, v in state["velocity"].items()}
            return {name: value - lr * velocity[name] for name, value in params.items()}, {"velocity": velocity}
        velocity = {name: rho * v - lr * grads[name] for name, v in state["velocity"].items()}
        return {name: value + velocity[name] for name, value in params.items()}, {"velocity": velocity}

    return Optimizer(titled("momentum", form, "torch"), _at_rest, update, _DEFAULTS, reach="entry")


@recorded
@lru_cache(maxsize=None, typed=True)
def nesterov(*, form: str = "torch") -> Optimizer:
    """Nesterov's momentum, in the variable where the gradient is taken: v ← ρv + g, θ ← θ − η(g + ρv) ("torch").

    In the form of Sutskever et al. the gradient is taken at a place ahead, θ + ρv: v ← ρv − ηg(θ + ρv), θ ← θ + v. Here
    θ stands for that place ahead, so that the rule reads v ← ρv − ηg, θ ← θ + ρv − ηg ("sutskever"); the paper's own
    variable is θ − ρv. The two forms take the same steps while η stays.

    Args:
        form: "torch" or "sutskever".
    Source: Nesterov 1983; Sutskever et al. 2013, eqs. 3–4; the change of variable: Bengio, Boulanger-Lewandowski &
    Pascanu 2013, arXiv:1212.0901.
    """
    check_choice("nesterov", "form", form, FORMS)

    def update(grads: Params, state: State, params: Params, settings: Settings) -> tuple[Params, State]:
        grads, rho, lr = decayed(grads, params, settings), settings["momentum"], settings["lr"]
        if form == "torch":
            velocity = {name: rho * v + grads[name] for name, v in state["velocity"].items()}
            moved = {name: value - lr * (grads[name] + rho * velocity[name]) for name, value in params.items()}
            return moved, {"velocity": velocity}
        velocity = {name: rho * v - lr * grads[name] for name, v in state["velocity"].items()}
        moved = {name: value + (rho * velocity[name] - lr * grads[name]) for name, value in params.items()}
        return moved, {"velocity": velocity}

    return Optimizer(titled("nesterov", form, "torch"), _at_rest, update, _DEFAULTS, reach="entry")


_DEFAULTS = MappingProxyType({"lr": None, "momentum": 0.9, "weight_decay": 0.0})


def _at_rest(params: Params) -> State:
    return {"velocity": zeros(params)}
