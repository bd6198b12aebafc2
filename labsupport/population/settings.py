"""What each member is told: its settings, what names they may have, and their values at every step of a schedule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from labsupport.optimizers import Optimizer
from labsupport.optimizers.rule import SHARES
from labsupport.population.draws import Draws, random_layers, rate_of
from labsupport.values import holds

__all__ = ["at_steps", "check_names", "each_member", "known_settings", "loss_settings"]

FREE = ("loss.", "penalty.")
"""Beginnings of names that belong to the plan's loss and penalty: any finite tensors with a row for each member."""


def known_settings(module: nn.Module, optimizer: Optimizer) -> list[str]:
    """Names that settings and schedules may have, besides `loss.<name>` and `penalty.<name>`."""
    layers = random_layers(module)
    known = [*optimizer.defaults, "radius", *(f"{path}.{kind}" for path, kind in layers.items())]
    return known + (["dropout"] if "p" in layers.values() else [])


def each_member(where: str, name: str, value: Tensor | float, members: int, like: Tensor) -> Tensor:
    """A setting as a tensor (members,), for loss and penalty (members, …).

    Raises:
        ValueError: it has another shape, or is negative or not finite.
    """
    free = name.startswith(FREE)
    try:
        each = torch.as_tensor(value, dtype=like.dtype).detach().to(like.device)
        each = (each.expand(members) if each.ndim == 0 else each).clone()
    except (TypeError, ValueError, RuntimeError):
        each = None
    shaped = each is not None and (each.shape[:1] if free else each.shape) == (members,)
    if not shaped or not holds(each.isfinite()):
        rule = f"({members}, …)" if free else f"({members},)"
        raise ValueError(f"{where}: settings[{name!r}] must be finite, one number or {rule}, got {value!r}")
    if not free and not holds(each >= 0):
        raise ValueError(f"{where}: settings[{name!r}] must be >= 0, got {value!r}")
    return each


def check_names(where: str, module: nn.Module, optimizer: Optimizer, given: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless all settings are known, none is missing, and shares lie below 1."""
    known = known_settings(module, optimizer)
    for name in given:
        if name not in known and not name.startswith(FREE):
            others = "loss.<name>, penalty.<name>"
            raise ValueError(f"{where}: settings must be among {', '.join(known)}, {others}, got {name!r}")
    for name, default in optimizer.defaults.items():
        if default is None and name not in given:
            got = ", ".join(given) or "none"
            raise ValueError(f"{where}: settings must hold {name!r} for {optimizer.name}, got {got}")
    for name, value in given.items():
        if _is_share(name) and not holds(value < 1):
            raise ValueError(f"{where}: settings[{name!r}] must lie in [0, 1), got {value}")


def loss_settings(where: str, loss: Callable, settings: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Short names of the settings that are handed to a loss by keyword.

    Raises:
        ValueError: the loss does not take one that is given, or needs one that is not.
    """
    given = [name.removeprefix("loss.") for name in settings if name.startswith("loss.")]
    try:
        parameters = list(inspect.signature(loss).parameters.values())
    except (TypeError, ValueError):  # a builtin tells nothing
        parameters = []
    anything = not parameters or any(each.kind is each.VAR_KEYWORD for each in parameters)
    named = [each for each in parameters[2:] if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)]
    for name in given:
        if not anything and name not in [each.name for each in named]:
            takes = ", ".join(each.name for each in named) or "none"
            raise ValueError(f"{where}: settings must be such as the loss takes ({takes}), got 'loss.{name}'")
    for each in named:
        if each.default is each.empty and each.name not in given:
            got = ", ".join(f"loss.{name}" for name in given) or "none"
            raise ValueError(f"{where}: settings must hold 'loss.{each.name}', which the loss needs, got {got}")
    return tuple(given)


def at_steps(
    module: nn.Module, optimizer: Optimizer, settings: Mapping[str, Tensor], like: Tensor,
    schedule: Mapping[str, Callable[[int], float | Tensor]], draws: Draws, place: Sequence[int], members: int,
    steps: range,
) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:  # fmt: skip
    """Settings and rates of random layers, name -> (slab, …), at each step.

    Args:
        settings: of the slab.
        place: at which of all `members` those of the slab stand.
    Raises:
        ValueError: a schedule gives something else than factors, or a share leaves [0, 1).
    """
    factors = {name: _factors(name, rule, place, members, steps).to(like) for name, rule in schedule.items()}

    def over(base: Tensor | float, by: str) -> Tensor:
        base = base if isinstance(base, Tensor) else like.new_full((len(place),), base)
        if by not in factors:
            return base.expand(len(steps), *base.shape)
        return factors[by].view(len(steps), len(place), *[1] * (base.ndim - 1)) * base

    defaults = optimizer.defaults
    names = [*(name for name in (*defaults, "radius") if name in settings or name in schedule)]
    names += [name for name in settings if name not in names]
    found = {name: over(settings.get(name, defaults.get(name, 0.0)), name) for name in names}
    for name, values in found.items():
        if _is_share(name) and name in factors and not holds(values < 1):
            raise ValueError(f"train: {name} must lie in [0, 1) at every step, got {float(values.max()):g}")
    rates = {}
    for path, kind, _ in draws.layers:
        name = f"{path}.{kind}"
        by = name if name in schedule or kind != "p" else "dropout"
        rates[path] = over(rate_of(module, settings, path), by)
        if kind == "p" and not holds(rates[path] < 1):
            raise ValueError(f"train: the scheduled rate of {path} must lie in [0, 1), got {rates[path].max():g}")
    return [({k: v[at] for k, v in found.items()}, {k: v[at] for k, v in rates.items()}) for at in range(len(steps))]


def _factors(
    name: str, rule: Callable[[int], float | Tensor], place: Sequence[int], members: int, steps: range
) -> Tensor:
    """What a schedule gives the members of a slab, (steps, slab)."""

    def each() -> Iterator[Tensor]:
        for step in steps:
            value = rule(step)
            try:
                found = torch.as_tensor(value, dtype=torch.float64).cpu()
            except (TypeError, ValueError, RuntimeError):
                found = torch.empty(0)
            if found.shape not in ((), (members,)) or not holds((found >= 0) & found.isfinite()):
                wanted = f"a finite number or ({members},) of them, none below 0"
                raise ValueError(f"train: schedule[{name!r}] must give {wanted}, got {value!r}")
            yield found[list(place)] if found.ndim else found.expand(len(place))

    return torch.stack(list(each()))


def _is_share(name: str) -> bool:
    """Whether a setting must lie below 1."""
    return name == "dropout" or name in SHARES or (name.endswith(".p") and not name.startswith("rate."))
