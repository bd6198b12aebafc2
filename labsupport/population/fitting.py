"""Whether members, data and plan fit together: everything that can be seen before the work, in words."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from labsupport.population.draws import Draws, draws_of
from labsupport.population.feeds import Feed
from labsupport.population.members import State
from labsupport.population.plans import Plan
from labsupport.population.programs import IGNORED, Objective, named, of_penalty
from labsupport.population.settings import FREE, known_settings, loss_settings
from labsupport.values import holds, is_finite

__all__ = ["are_labels", "check_fit", "check_x", "looked_at", "objective_of"]

WRONG = (RuntimeError, IndexError, TypeError, AttributeError, KeyError, ValueError)


def check_x(where: str, state: State, x: Tensor) -> None:
    """Raise ValueError unless x is a tensor of the members' device and, where it is floating, dtype."""
    if not isinstance(state, State):
        raise ValueError(f"{where}: state must be a State, got {state!r}")
    if not isinstance(x, Tensor) or not x.ndim:
        raise ValueError(f"{where}: x must be a tensor with a row per example, got {type(x).__name__}")
    first = next(iter(state.params.values()))
    if x.device != first.device or (x.is_floating_point() and x.dtype != first.dtype):
        raise ValueError(f"{where}: x must fit the members ({first.dtype}, {first.device}), got {x.dtype}, {x.device}")


def check_fit(where: str, state: State, feed: Feed, plan: Plan) -> None:
    """Raise ValueError unless members, data and plan fit together, as far as can be seen without running anything."""
    x, y = feed.x, feed.y
    check_x(where, state, x)
    if not isinstance(plan, Plan):
        raise ValueError(f"{where}: plan must be a Plan, got {plan!r}")
    if not isinstance(y, Tensor) or not y.ndim:
        raise ValueError(f"{where}: y must be a tensor with a row per example, got {type(y).__name__}")
    if len(x) != len(y) or plan.batch_size > len(feed):
        rule = "batch_size must be <= n, the rows of x and of y"
        raise ValueError(f"{where}: {rule}, got {plan.batch_size}, {len(feed)} and {len(y)}")
    if y.device != x.device:
        raise ValueError(f"{where}: y must be on the device of x ({x.device}), got {y.device}")
    own = None if feed.rows is None else feed.rows.targets
    for name, value in (("x", x), ("y", y), ("targets", own)):
        if value is not None and value.is_floating_point() and not is_finite(value):
            raise ValueError(f"{where}: {name} must be finite, got NaN or infinity")
    if feed.rows is not None:
        feed.rows.check_pool(f"{where}: rows", x, y)
        feed.rows.places(where, state.seeds)
    known = known_settings(state.module, state.optimizer)
    for name in plan.schedule:
        if name not in known and not name.startswith(FREE):
            raise ValueError(f"{where}: schedule must name settings, {', '.join(known)}, got {name!r}")
        if (name == "radius" or name.startswith(FREE)) and name not in state.settings:
            raise ValueError(f"{where}: schedule[{name!r}] must have a setting to multiply, got none")


def objective_of(where: str, state: State, plan: Plan) -> Objective:
    """What a plan minimizes under the members' settings.

    Raises:
        ValueError: loss and settings do not fit.
    """
    return Objective(plan.loss, loss_settings(where, plan.loss, state.settings), plan.penalty)


def looked_at(where: str, state: State, feed: Feed, plan: Plan, objective: Objective) -> tuple[Draws, int]:
    """Run one member once on its first rows: what its random layers drew, and how many classes it tells apart, or 0.

    Raises:
        ValueError: x, network, loss, targets or penalty do not fit each other.
    """
    with torch.inference_mode(False):
        x, y = (value[0] for value in feed.all(where, state.seeds[:1]))
        x, y = (value[: plan.batch_size].detach().clone() for value in (x, y))
    params, settings = ({k: v[0] for k, v in each.items()} for each in (state.params, state.settings))
    one = {k: v.detach().requires_grad_() for k, v in params.items()} | {k: v[0] for k, v in state.buffers.items()}
    classes = []

    def look(said: Tensor) -> None:
        _check_loss(where, objective, said, y, settings)
        classes.append(said.shape[1] if said.ndim == 2 else 0)

    draws = draws_of(state.module, one, x, look)
    if objective.penalty is not None:
        _check_penalty(where, objective, params, settings)
    return draws, classes[0] if objective.loss is cross_entropy else 0


def _check_loss(where: str, objective: Objective, said: Tensor, y: Tensor, settings: Mapping[str, Tensor]) -> None:
    try:
        value = objective.loss(said, y, **named(settings, "loss", objective.loss_settings))
    except WRONG as problem:
        got = f"{list(getattr(said, 'shape', []))} and {list(y.shape)}, {y.dtype} ({problem})"
        raise ValueError(f"{where}: loss must take the outputs and y, got {got}") from problem
    _check_scalar(f"{where}: loss", value)


def _check_penalty(where: str, objective: Objective, params: dict[str, Tensor], settings: dict[str, Tensor]) -> None:
    own = of_penalty(settings)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            value = objective.penalty({k: v.detach().clone().requires_grad_() for k, v in params.items()}, own)
    except WRONG as problem:
        got = f"{type(problem).__name__}: {problem}"
        raise ValueError(f"{where}: penalty must take params and settings ({', '.join(own)}), got {got}") from problem
    _check_scalar(f"{where}: penalty", value)


def _check_scalar(what: str, value: object) -> None:
    if not isinstance(value, Tensor) or value.ndim or not value.requires_grad:
        got = list(value.shape) if isinstance(value, Tensor) and value.ndim else value
        raise ValueError(f"{what} must return a scalar that depends on the parameters, got {got}")


def are_labels(where: str, feed: Feed, num_classes: int) -> bool:
    """Whether all targets are int64 numbers of classes, none ignored; out of range, ValueError says so."""
    own = None if feed.rows is None else feed.rows.targets
    y = feed.y if own is None else own
    if y.is_floating_point() or y.ndim != (1 if own is None else 2) or not num_classes:
        return False
    if not holds(((y >= 0) & (y < num_classes)) | (y == IGNORED)):
        worst = int(y[(y != IGNORED) & ((y < 0) | (y >= num_classes))][0])
        raise ValueError(f"{where}: y must hold classes in 0 … {num_classes - 1}, or -100 to be ignored, got {worst}")
    return y.dtype == torch.int64 and holds(y >= 0)
