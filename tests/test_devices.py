"""The device table: every public function runs on whatever device its inputs are on, or says why it cannot.

A line of TABLE is a public function's full name and either

    runs(call)                  call(device) makes its inputs there and returns what must lie there
    cannot("because …")         with gpu=call where a real accelerator can run it all the same

"runs" is tried on meta tensors under FakeTensorMode, where mixing devices raises without any accelerator.
The tests marked gpu make every call again on CUDA. Whoever adds a public function adds its line here.
"""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import labsupport
from labsupport import data, models, plots, show, training, values
from labsupport.landscape import curvature, plateaus, replicas, saddles, sharpness, slices

Call = Callable[[str], Any]


@dataclass(frozen=True)
class Entry:
    """What the table says of one function: `meta` on meta tensors, or why not; `gpu` on an accelerator."""

    meta: Call | None
    because: str
    gpu: Call | None


def runs(call: Call) -> Entry:
    return Entry(call, "", call)


def cannot(because: str, *, gpu: Call | None = None) -> Entry:
    return Entry(None, because, gpu)


def seeded(device="cpu"):
    return torch.Generator(device).manual_seed(0)


def floats(device, *shape):
    return torch.ones(shape, device=device)


def labels(device, n=6):
    return torch.zeros(n, dtype=torch.int64, device=device)


def split(device):
    part = (floats(device, 6, 4), labels(device))
    return data.Split(part, part, part, ("a", "b"))


def fitted(device):
    net = nn.Sequential(nn.Linear(4, 2, device=device))
    plan = training.Plan(1, 4, progress=False, schedule=lambda step: 0.1)
    training.fit(net, split(device), torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), plan, generator=seeded())
    return list(net.parameters())


def scored(device):
    return training.evaluate(nn.Linear(4, 2, device=device), floats(device, 6, 4), labels(device)) and ()


def noisy(make):
    """A noise on gradients, its generator on the CPU: it must follow the gradient."""
    return lambda device: make(device)(floats(device, 5, 2), 0, 0.1, seeded())


def walked(device):
    descent = saddles.Descent(0.1, noise=saddles.isotropic(0.1))
    return saddles.walk(lambda p: p, floats(device, 5, 2), descent, num_steps=2, generator=seeded())


def passed(device):
    return saddles.first_passage(
        lambda p: -p, floats(device, 5, 2), lambda p: p[:, 0] > 2, saddles.Descent(0.5), max_steps=9
    )


def product(device):
    net = nn.Linear(4, 2, device=device)
    params = list(net.parameters())
    times = curvature.hvp(lambda: net(floats(device, 3, 4)).square().mean(), params)
    return times(floats(device, 10))


def diagonal(generator):
    """A product with diag(1, 2, 3) where the generator lives."""
    values = torch.arange(1.0, 4, device=generator.device, dtype=torch.float64)
    return lambda vector: values * vector


def plateaued(device):
    options = {"num_layers": 2, "scale": 0.1, "replicas": 3, "lr": 0.1, "num_steps": 2, "width": 5}
    return plateaus.losses(floats(device, 6, 4), torch.arange(6, device=device) % 2, **options, generator=seeded())


def stacked(device):
    """Two replicas of a small ReLU network."""
    sizes = {"0.weight": (3, 4), "0.bias": (3,), "2.weight": (2, 3), "2.bias": (2,)}
    module = nn.Sequential(nn.Linear(4, 3, device=device), nn.ReLU(), nn.Linear(3, 2, device=device))
    return replicas.Stacked(module, {name: floats(device, 2, *size) for name, size in sizes.items()})


def on_batch(function, **options):
    """A function of replicas and a batch, its generator, if any, on the CPU: it must follow the replicas."""
    options |= {"generator": seeded()} if "generator" in inspect.signature(function).parameters else {}
    return lambda d: function(stacked(d), floats(d, 6, 4), labels(d), loss=nn.functional.cross_entropy, **options)


def multiplied(device):
    times = on_batch(sharpness.product)(device)
    return times(floats(device, 2, 23))


def ends(device):
    """A start and an end of a small network with one hidden layer."""
    sizes = {"0.weight": (3, 4), "0.bias": (3,), "2.weight": (2, 3), "2.bias": (2,)}
    return [{name: k * floats(device, *size) for name, size in sizes.items()} for k in (1, 2)]


def summed(params):
    return sum((value**2).sum() for value in params.values())


def bent(device):
    return slices.bend(summed, *ends(device), lr=0.01, num_steps=2, generator=seeded())


def drawn(plot):
    """A plot of tensors on a device: matplotlib must get their values."""
    return lambda device: plot(plots.figure()[1], device) and ()


def born(make):
    """What a generator on an accelerator makes lies there."""
    return cannot("it draws from a generator, and a meta generator does not exist", gpu=lambda d: make(seeded(d)))


NO_TENSOR = "it takes and returns no tensor"
VALUES = "it needs the values of its tensors, and meta tensors have none"
TEXT = "it makes text and pictures on the CPU"
LABELS = {"xlabel": "x", "ylabel": "y"}

TABLE: dict[str, Entry] = {
    "checks.frame.Check": cannot("it draws its own small inputs on the CPU"),
    "checks.frame.Report": cannot(NO_TENSOR),
    "checks.frame.check": cannot(NO_TENSOR),
    "checks.frame.collect": cannot(NO_TENSOR),
    "checks.frame.grade": cannot(NO_TENSOR),
    "data.idx.mnist": cannot("it reads files, and Split.to moves what it read"),
    "data.idx.read_idx": cannot("it reads a file into the CPU's memory"),
    "data.letters.glyphs": born(lambda g: data.glyphs("ogham", sizes=(5, 2, 2), generator=g)),
    "data.scans.digits": born(lambda g: data.digits(generator=g)),
    "data.scripts.faces": cannot(NO_TENSOR),
    "data.scripts.font_file": cannot(NO_TENSOR),
    "data.splits.Split": runs(lambda d: [split(d), split(d).flat(), split(d).to(torch.float64), split(d).to(d)]),
    "data.splits.batches": runs(lambda d: list(data.batches(floats(d, 6, 4), labels(d), 4, generator=seeded()))),
    "data.toys.linear_chain": runs(lambda d: data.linear_chain(floats(d, 5, 3))),
    "data.toys.monks": born(lambda g: data.monks(3, generator=g)),
    "data.toys.quadratic": runs(lambda d: data.quadratic(floats(d, 5, 3), floats(d, 3))),
    "data.toys.strict_saddle": runs(lambda d: data.strict_saddle(floats(d, 5, 2))),
    "data.toys.two_spirals": born(lambda g: data.two_spirals(20, generator=g)),
    "landscape.curvature.density": born(
        lambda g: curvature.density(diagonal(g), 3, probes=2, num_steps=2, generator=g)
    ),
    "landscape.curvature.eigs": born(lambda g: curvature.eigs(diagonal(g), 3, 1, num_steps=3, generator=g)),
    "landscape.curvature.flatten": runs(lambda d: curvature.flatten([floats(d, 2, 3), floats(d, 1)])),
    "landscape.curvature.hvp": runs(product),
    "landscape.curvature.trace": born(
        lambda g: [curvature.trace(diagonal(g), 3, num_products=n, generator=g) for n in (6, 9)] and ()
    ),
    "landscape.plateaus.losses": cannot("it counts the classes in y: " + VALUES, gpu=plateaued),
    "landscape.plateaus.plateau_length": runs(lambda d: plateaus.plateau_length(floats(d, 3, 4), below=0.5)),
    "landscape.replicas.Stacked": runs(lambda d: [stacked(d)[:1].params, stacked(d).to(torch.float64).params]),
    "landscape.replicas.evaluate": runs(on_batch(replicas.evaluate)),
    "landscape.replicas.gradients": runs(on_batch(replicas.gradients)),
    "landscape.replicas.member": runs(lambda d: list(replicas.member(stacked(d), 1).parameters())),
    "landscape.replicas.start": cannot("it draws from generators on the CPU, and Stacked.to moves what it made"),
    "landscape.replicas.train": runs(on_batch(replicas.train, lr=0.1, radius=0.1, batch_size=3, num_steps=2)),
    "landscape.saddles.Descent": cannot(NO_TENSOR),
    "landscape.saddles.Inertia": cannot(NO_TENSOR),
    "landscape.saddles.Walkers": runs(lambda d: saddles.Walkers(floats(d, 5, 2), floats(d, 5, 2))),
    "landscape.saddles.ball_when_flat": runs(noisy(lambda d: saddles.ball_when_flat(0.1, threshold=9.0, every=1))),
    "landscape.saddles.escape_time": cannot(NO_TENSOR),
    "landscape.saddles.first_passage": cannot("it ends when every walker has escaped: " + VALUES, gpu=passed),
    "landscape.saddles.hessian": runs(lambda d: saddles.hessian(data.strict_saddle, floats(d, 2))),
    "landscape.saddles.in_directions": runs(noisy(lambda d: saddles.in_directions(torch.eye(2, device=d), 0.1))),
    "landscape.saddles.inertia": cannot(
        "it counts signs: " + VALUES, gpu=lambda d: saddles.inertia(torch.eye(2, device=d)) and ()
    ),
    "landscape.saddles.isotropic": runs(noisy(lambda d: saddles.isotropic(0.1))),
    "landscape.saddles.kind": cannot(NO_TENSOR),
    "landscape.saddles.multiplicative": runs(noisy(lambda d: saddles.multiplicative(0.1))),
    "landscape.saddles.start": runs(lambda d: saddles.start(floats(d, 5, 2))),
    "landscape.saddles.step": runs(
        lambda d: saddles.step(saddles.start(floats(d, 5, 2)), floats(d, 5, 2), lr=0.1, momentum=0.9)
    ),
    "landscape.saddles.walk": runs(walked),
    "landscape.sharpness.largest": runs(on_batch(sharpness.largest, num_steps=3)),
    "landscape.sharpness.product": runs(multiplied),
    "landscape.sharpness.rescale_layers": runs(
        lambda d: sharpness.rescale_layers(stacked(d), torch.tensor([2.0, 0.5], device=d))
    ),
    "landscape.sharpness.trace": runs(on_batch(sharpness.trace, num_products=2)),
    "landscape.sharpness.worst_case": runs(on_batch(sharpness.worst_case, radius=0.1, num_steps=2)),
    "landscape.slices.barrier": runs(lambda d: slices.barrier(floats(d, 3, 2), [0, 0.5, 1])),
    "landscape.slices.bend": runs(bent),
    "landscape.slices.bezier": runs(lambda d: slices.bezier(*ends(d), ends(d)[0])(0.3)),
    "landscape.slices.filter_direction": runs(lambda d: slices.filter_direction(ends(d)[0], generator=seeded())),
    "landscape.slices.from_line": runs(lambda d: slices.from_line(ends(d))),
    "landscape.slices.losses_along": runs(
        lambda d: slices.losses_along(summed, slices.straight(*ends(d)), positions=[0, 1])
    ),
    "landscape.slices.match_units": cannot(
        "scipy solves the assignment: " + VALUES, gpu=lambda d: slices.match_units(*ends(d))
    ),
    "landscape.slices.permute_units": runs(
        lambda d: slices.permute_units(ends(d)[0], torch.arange(3, device=d).flip(0))
    ),
    "landscape.slices.plane": runs(lambda d: slices.plane(summed, *ends(d), ends(d)[1], x=[0, 1], y=[0])),
    "landscape.slices.rise": runs(lambda d: slices.rise(floats(d, 3, 2))),
    "landscape.slices.straight": runs(lambda d: slices.straight(*ends(d))(0.5)),
    "models.convnet": born(lambda g: list(models.convnet((1, 8, 8), 3, norm="batch", generator=g).parameters())),
    "models.mlp": born(lambda g: list(models.mlp([4, 3, 2], generator=g).parameters())),
    "models.num_parameters": runs(lambda d: [()] * models.num_parameters(nn.Linear(4, 2, device=d))),
    "plots.contours": cannot("it draws its own grid on the CPU"),
    "plots.figure": cannot(NO_TENSOR),
    "plots.mean_and_error": cannot(
        VALUES, gpu=drawn(lambda ax, d: plots.mean_and_error(ax, range(4), {"a": floats(d, 3, 4)}, **LABELS))
    ),
    "plots.paths": cannot(VALUES, gpu=drawn(lambda ax, d: plots.paths(ax, {"a": floats(d, 4, 2)}))),
    "plots.series": cannot(VALUES, gpu=drawn(lambda ax, d: plots.series(ax, range(4), {"a": floats(d, 4)}, **LABELS))),
    "show.bundles.Bundle": cannot(TEXT),
    "show.bundles.asset": cannot(TEXT),
    "show.bundles.content_id": cannot(TEXT),
    "show.bundles.data_uri": cannot(TEXT),
    "show.bundles.is_live": cannot(TEXT),
    "show.bundles.picture": cannot(TEXT),
    "show.bundles.show_now": cannot(TEXT),
    "show.claims.claim": cannot(TEXT),
    "show.claims.combine": cannot(TEXT),
    "show.claims.verdict": cannot(NO_TENSOR),
    "show.figures.figure": cannot(TEXT),
    "show.figures.require_text": cannot(TEXT),
    "show.predictions.predict": cannot(TEXT),
    "show.sliders.slider": cannot(TEXT),
    "show.text.measured": cannot(VALUES, gpu=lambda d: show.measured(floats(d, 3)) and ()),
    "show.text.rounded": cannot(NO_TENSOR),
    "show.text.source": cannot(TEXT),
    "show.text.table": cannot(TEXT),
    "tables.load": cannot(NO_TENSOR),
    "tables.main": cannot(NO_TENSOR),
    "tables.make": cannot(NO_TENSOR),
    "training.History": cannot("what it holds lies on the CPU, wherever the run was"),
    "training.Plan": cannot(NO_TENSOR),
    "training.Score": cannot(NO_TENSOR),
    "training.evaluate": runs(scored),
    "training.fit": runs(fitted),
    "values.check_choice": cannot(NO_TENSOR),
    "values.check_count": cannot(NO_TENSOR),
    "values.check_generator": cannot(NO_TENSOR),
    "values.check_number": cannot(NO_TENSOR),
    "values.holds": runs(lambda d: values.holds(floats(d, 3) > 0) and ()),
    "values.is_finite": runs(lambda d: values.is_finite(floats(d, 3)) and ()),
    "values.number": runs(lambda d: values.number(floats(d, 1)) and ()),
}


def public_functions(package=labsupport) -> set[str]:
    """Full names of the functions and classes that the modules' `__all__` name, where they are defined."""
    found = set()
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        found |= {key(getattr(module, name)) for name in getattr(module, "__all__", [])}
    return found - {""}


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
# torch.func.hessian compiles a decomposition at its first use
quiet = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


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


@quiet
@pytest.mark.parametrize("name", RUNS)
def test_it_runs_on_meta_tensors(name):
    on_meta(RUNS[name])


@pytest.mark.parametrize("name", sorted(ON_GPU.keys() - RUNS.keys()))
def test_what_cannot_run_on_meta_tensors_truly_cannot(name):
    with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
        on_meta(ON_GPU[name])


@quiet
@pytest.mark.parametrize("name", ON_GPU)
def test_the_calls_for_the_accelerator_are_sound(name):
    """Tried on the CPU, so that a broken call is seen where there is no accelerator."""
    lies_there(ON_GPU[name], "cpu")


@quiet
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
    for info in pkgutil.walk_packages(labsupport.__path__, "labsupport."):
        module = importlib.import_module(info.name)
        if info.name.endswith("__main__"):
            continue
        assert inspect.getdoc(module), info.name
        assert [name for name in module.__all__ if not hasattr(module, name)] == [], info.name
