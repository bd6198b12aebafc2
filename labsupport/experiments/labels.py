"""Several comparisons in one call: which part of each label is meant, and what seeds there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from labsupport.experiments.grids import Points, as_points
from labsupport.population import Plan
from labsupport.values import check_count

__all__ = []  # run and tuned alone use them


def check_seeds(where: str, name: str, seeds: Iterable[int]) -> tuple[int, ...]:
    """The seeds as a tuple; ValueError unless they are different integers >= 0, at least one."""
    listed = list(seeds) if isinstance(seeds, Iterable) and not isinstance(seeds, str) else [seeds]
    found = tuple(check_count(where, name, seed, at_least=0) for seed in listed)
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{where}: {name} must be different integers, at least one, got {listed[:8]}")
    return found


def labelled(where: str, **parts: object) -> tuple[Callable[[str, str], object], list[str]]:
    """How to get each part by label, and the labels; [""] where nothing is labelled."""
    several = {name: part for name, part in parts.items() if _has_labels(name, part)}
    sets = {name: list(part) for name, part in several.items()}
    labels = next(iter(sets.values()), [""])
    for name, others in sets.items():
        if set(others) != set(labels) or not all(isinstance(label, str) and label for label in others):
            raise ValueError(f"{where}: {name} must have the labels {labels}, each a text, got {others}")
    return lambda name, label: several[name][label] if name in several else parts[name], labels


def settings_of(where: str, settings: object) -> Points | dict[str, Points]:
    """Settings read once, in front of the work: `Points`, or such by label."""
    if not _has_labels("settings", settings):
        return as_points(where, settings)
    return {label: as_points(where, part) for label, part in settings.items()}


def _has_labels(name: str, part: object) -> bool:
    if not isinstance(part, Mapping) or not part:
        return False
    return name != "settings" or all(isinstance(value, (Points, Mapping)) for value in part.values())


def saved_as(plan: Plan, label: str) -> Plan:
    """The plan with a file of its own for each label."""
    if not isinstance(plan, Plan) or plan.save is None or not label:
        return plan
    if set(label) & set("/\\:\0"):
        raise ValueError(f"run: a label must be fit for a file's name where the plan saves, got {label!r}")
    path = Path(plan.save)
    return replace(plan, save=path.with_name(f"{path.stem}-{label}{path.suffix}"))
