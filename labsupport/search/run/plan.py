"""How a study is run: how many trials at once, where, for how long, in which direction, under which name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from labsupport.search.contract import Trial
from labsupport.values import check_choice, check_count, check_number

__all__ = ["RunPlan"]


@dataclass(frozen=True)
class RunPlan:
    """What `run` needs to know beside what is searched.

    Args:
        in_flight: calls of the objective at a time, >= 1; None: as many as the executor has workers, on a Dask cluster
            as many as it has threads at the moment, so that late workers are used.
        time_limit: seconds that one call may take, > 0; None: no limit. The call is stopped at its next Python
            instruction; one that sleeps or computes outside Python is left behind, and its worker goes on. No limit
            reaches one that computes in C and holds the interpreter's lock, such as a runaway regular expression.
        threads: torch's threads in a worker process, >= 1; None leaves them. This process keeps its own.
        devices: one for each call in flight, in turn, such as ("cuda:0", "cuda:1"); an objective asks `device()`. On a
            cluster use `resources` instead.
        resources: what a call takes of a Dask worker that was started with such resources, for example {"GPU": 1}.
        on_report: called here with (trial, step, value) whenever an objective calls `report`; the value is then stored
            too. None: reports go nowhere.
        study: the name of the study in the storage.
        direction: "minimize" or "maximize" the objective. Strategies minimize: their state holds the negated values
            of a maximized objective, the storage the values themselves.
        seed: of the strategy, in 0 … 2⁶⁴ − 1.
        options: what the strategy's `init` takes beside space, num_trials and seed.
        batch: the objective gets a list of up to so many trials and returns as many values, as from a population that
            is trained at once; None: one trial, one value.
    Raises:
        ValueError: a bound above is broken.
    """

    in_flight: int | None = None
    time_limit: float | None = None
    threads: int | None = 1
    devices: tuple[str, ...] = ()
    resources: Mapping[str, float] = field(default_factory=dict)
    on_report: Callable[[Trial, int, float], Any] | None = None
    study: str = "search"
    direction: str = "minimize"
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    batch: int | None = None

    def __post_init__(self) -> None:
        for name in ("in_flight", "threads", "batch"):
            if getattr(self, name) is not None:
                check_count("RunPlan", name, getattr(self, name))
        if self.time_limit is not None:
            check_number("RunPlan", "time_limit", self.time_limit, low=math.ulp(0))
        if self.on_report is not None and not callable(self.on_report):
            raise ValueError(f"RunPlan: on_report must be a function or None, got {self.on_report!r}")
        if not isinstance(self.study, str) or not self.study:
            raise ValueError(f"RunPlan: study must be a name, got {self.study!r}")
        check_choice("RunPlan", "direction", self.direction, ("minimize", "maximize"))
        if check_count("RunPlan", "seed", self.seed, at_least=0) >= 2**64:
            raise ValueError(f"RunPlan: seed must be below 2**64, got {self.seed}")
        for name in ("resources", "options"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"RunPlan: {name} must be a dict, got {getattr(self, name)!r}")
        for name, amount in self.resources.items():
            check_number("RunPlan", f"resources[{name!r}]", amount, low=0)
        _check_devices(self.devices)
        object.__setattr__(self, "devices", tuple(self.devices))


def _check_devices(devices: Any) -> None:
    if not isinstance(devices, (tuple, list)):
        raise ValueError(f"RunPlan: devices must be a tuple of names, got {devices!r}")
    for name in devices:
        try:
            torch.device(name)
        except (RuntimeError, TypeError) as problem:
            raise ValueError(f"RunPlan: devices must be names that torch knows, got {name!r}") from problem
