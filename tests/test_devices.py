"""The device table: every public function runs on whatever device its inputs are on, or says why it cannot.

A line of a TABLE in tests/devices/ is a public function's full name and either

    runs(call)                  call(device) makes its inputs there and returns what must lie there
    cannot("because …")         with gpu=call where a real accelerator can run it all the same

"runs" is tried on meta tensors under FakeTensorMode, where mixing devices raises without any accelerator.
The tests marked gpu make every call again on CUDA. Whoever adds a public function adds its line there, in the file of
its room.
"""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
import torch
from devices.given import Call, Entry, floats, seeded
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import labsupport
from labsupport import models
from labsupport.landscape import saddles

FILES = sorted(path.stem for path in Path(__file__).with_name("devices").glob("*.py"))
TABLES = [getattr(importlib.import_module(f"devices.{name}"), "TABLE", {}) for name in FILES]
TABLE: dict[str, Entry] = {name: entry for table in TABLES for name, entry in table.items()}


def public_functions(package=labsupport) -> set[str]:
    """Full names of the functions and classes that the modules' `__all__` name, where they are defined."""
    return {key(getattr(module, name)) for module in modules(package) for name in getattr(module, "__all__", [])} - {""}


def modules(package=labsupport) -> list[ModuleType]:
    """All of them, imported: a package's `__all__` may name its modules."""
    names = [info.name for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def key(thing: object) -> str:
    """Its name below labsupport; an instance (such as a check) goes by its class, a constant by none."""
    if not callable(thing):
        return ""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}".removeprefix("labsupport.")


def tensors(result: object) -> list[Tensor]:
    """Every tensor in nested tuples, lists, dicts and dataclasses."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, Mapping):
        result = list(result.values())
    elif dataclasses.is_dataclass(result):
        result = [getattr(result, field.name) for field in dataclasses.fields(result)]
    return [tensor for part in result for tensor in tensors(part)] if isinstance(result, (list, tuple)) else []


def lies_there(call: Call, device: str) -> None:
    """Make the call and demand that every tensor of the result lies on `device`."""
    strays = {tensor.device.type for tensor in tensors(call(device))} - {device}
    assert not strays, f"a result lies on {strays}, its inputs on {device}"


def on_meta(call: Call) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        lies_there(call, "meta")


RUNS = {name: entry.meta for name, entry in TABLE.items() if entry.meta}
ON_GPU = {name: entry.gpu for name, entry in TABLE.items() if entry.gpu}


def test_the_table_names_every_public_function_and_no_other():
    found = public_functions()
    assert sorted(found - TABLE.keys()) == [], "missing in the table"
    assert sorted(TABLE.keys() - found) == [], "in the table, but no longer public"


def test_a_function_missing_from_the_table_is_seen(monkeypatch):
    def fresh():
        pass

    before = public_functions()
    fresh.__module__, fresh.__qualname__ = "labsupport.models", "fresh"
    monkeypatch.setattr(models, "fresh", fresh, raising=False)
    monkeypatch.setattr(models, "__all__", [*models.__all__, "fresh"])
    assert public_functions() - before == {"models.fresh"}


def test_every_refusal_has_a_reason():
    assert [name for name, entry in TABLE.items() if (entry.meta is None) != bool(entry.because)] == []


@pytest.mark.parametrize("name", RUNS)
def test_it_runs_on_meta_tensors(name):
    on_meta(RUNS[name])


@pytest.mark.parametrize("name", sorted(ON_GPU.keys() - RUNS.keys()))
def test_what_cannot_run_on_meta_tensors_truly_cannot(name):
    with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
        on_meta(ON_GPU[name])


@pytest.mark.parametrize("name", ON_GPU)
def test_the_calls_for_the_accelerator_are_sound(name):
    """Tried on the CPU, so that a broken call is seen where there is no accelerator."""
    lies_there(ON_GPU[name], "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ON_GPU)
def test_it_runs_on_an_accelerator(name):
    lies_there(ON_GPU[name], "cuda")


@pytest.mark.parametrize(
    "planted",
    [
        lambda x: x + torch.zeros(3),
        lambda x: torch.where(x > 0, x, torch.full((3,), 0.5)),
        lambda x: nn.Linear(3, 2)(x),
        lambda x: torch.zeros(3).copy_(x).add(torch.arange(3)),
        lambda x: torch.randn(3, generator=seeded()),
        lambda x: {"part": (x, [torch.ones(3)])},
        lambda x: saddles.Walkers(x, torch.zeros(3)),
    ],
)
def test_a_planted_default_device_tensor_is_caught(planted):
    with pytest.raises((RuntimeError, AssertionError), match=r"(?s)device|lies on"):
        on_meta(lambda device: planted(floats(device, 3)))


def test_a_call_without_a_plant_passes():
    on_meta(lambda device: {"part": (floats(device, 3) + 1, [floats(device, 3).sum()])})


def test_the_functions_are_those_of_the_modules():
    """`__all__` of every module: each name exists, and each module has one."""
    for module in modules():
        assert inspect.getdoc(module), module.__name__
        assert [name for name in module.__all__ if not hasattr(module, name)] == [], module.__name__
