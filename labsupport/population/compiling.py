"""Compiled steps: whether they pay, how they are made and kept, and what is done where torch cannot make one."""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache, lru_cache
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from labsupport.optimizers import Optimizer
from labsupport.population.draws import Draws
from labsupport.population.layers import Way
from labsupport.population.programs import Batch, Network, Objective, Trained, functional

__all__ = [
    "ONE_AT_A_TIME",
    "REFUSED",
    "Compiled",
    "backend_for",
    "compiled",
    "compiler",
    "give_up",
    "given_up",
    "in_one_graph",
    "refusals",
    "unguarded",
]

WORTH_COMPILING = 20_000
ONE_AT_A_TIME = threading.RLock()
"""Torch's compiler has one stance for all threads."""
REFUSED = "torch.compile refuses the step"
_GIVEN_UP: WeakSet = WeakSet()  # what torch.compile refused once


def refusals() -> tuple[type[Exception], ...]:
    """What torch.compile raises at a function that it does not take whole, for `except`.

    Torch's compiler takes most of a second to import, and only who compiles should pay that.
    """
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    return TorchDynamoException, FailOnRecompileLimitHit


@cache
def compiler() -> str:
    """Why nothing can be compiled on this machine, in one line; "" where a tiny trial succeeded. Tried once."""
    if "isolate_recompiles" not in inspect.signature(torch.compile).parameters:
        return "torch before 2.13 counts all compiled programs together and soon refuses"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.compile(lambda x: x.sin() + 1, dynamic=False, fullgraph=True)(torch.zeros(3))
    except Exception as problem:  # whatever a missing or broken compiler raises
        return f"{type(problem).__name__}: {str(problem).strip().splitlines()[0]}"[:160]
    return ""


def backend_for(backend: str, *, num_steps: int, written: bool) -> tuple[str, str]:
    """Which backend runs, "compiled" or "eager", and why.

    Compiling takes 5 to 15 seconds. Where the backward pass is written out a compiled step is hardly faster; elsewhere
    it is up to twice as fast, and 20,000 updates of a slab earn the seconds back.
    """
    if backend == "eager":
        return "eager", "as the plan says"
    if backend == "auto" and written:
        return "eager", "by hand it is as fast"
    if backend == "auto" and num_steps < WORTH_COMPILING:
        return "eager", f"{num_steps} steps, fewer than {WORTH_COMPILING}"
    if compiler():
        return "eager", f"nothing can be compiled here ({compiler()})"
    return "compiled", "as the plan says" if backend == "compiled" else f"{num_steps} steps"


def compiled(
    net: Network, optimizer: Optimizer, objective: Objective, draws: Draws, sizes: tuple[int, ...]
) -> Compiled:
    """A step as `programs.Eager` is one, compiled; what it trains is changed in place.

    Each tuple `sizes` has a program of its own, because torch recompiles one program a few times only.
    """
    # torch's guards see attributes, but neither a hook added later nor a class whose forward was replaced
    inner = [layer for way in net.layers for layer in way.modules()]
    hooks = [hook for layer in inner for hook in (*layer._forward_pre_hooks.values(), *layer._forward_hooks.values())]
    structure = (*(str(layer) for layer in net.layers), *(type(layer).forward for layer in inner), *hooks, *sizes)
    return Compiled(_program(net.ways, optimizer, objective, draws, structure), net)


def give_up(step: Compiled) -> None:
    """Note that torch refused to compile this step."""
    _GIVEN_UP.add(step.program)


def given_up(step: Compiled) -> bool:
    """Whether torch refused to compile it, or one like it, before."""
    return step.program in _GIVEN_UP


def unguarded() -> AbstractContextManager:
    """Inside, a compiled step is called without asking again whether it fits: for repeats of a call just made."""
    return torch.compiler.set_stance("default", skip_guard_eval_unsafe=True)


class Compiled:
    """A compiled program with the layers it computes."""

    def __init__(self, program: Callable, net: Network) -> None:
        self.program, self.layers = program, net.layers

    def begin(self, trained: Trained) -> Trained:
        """A copy of what is trained."""
        return tree_map(lambda value: value.detach().clone(memory_format=torch.contiguous_format), trained)

    def end(self, trained: Trained) -> Trained:
        """What is trained."""
        return trained

    def __call__(self, trained: Trained, batch: Batch) -> tuple[Trained, Tensor]:
        """An update."""
        return self.program(self.layers, trained, batch)


@lru_cache(maxsize=64)
def _program(
    ways: tuple[Way, ...], optimizer: Optimizer, objective: Objective, draws: Draws, structure: tuple
) -> Callable:
    """The cache keeps what was compiled for an architecture; Dynamo's own guards see to it that it still fits."""
    step = functional(ways, optimizer, objective, draws)
    return in_one_graph(step)


def in_one_graph(step: Callable) -> Callable:
    """`torch.compile` for fixed shapes, whose programs do not count against those of another step."""
    return torch.compile(step, dynamic=False, fullgraph=True, isolate_recompiles=True)
