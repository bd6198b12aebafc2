"""One update of all members as one function, compiled where a compiler is; and their measurement.

Inside, `torch.func.vmap` turns "gradient and update of one network" into that of many. What is random is drawn
before it, from counters, and handed in.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache, lru_cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from labsupport.optimizers import Optimizer
from labsupport.population import counters
from labsupport.population.members import State, random_layers

__all__ = ["Batch", "Draws", "compiler", "draws_of", "outputs", "program", "trainable", "unguarded"]

Loss = Callable[[Tensor, Tensor], Tensor]
Trained = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, dict[str, Tensor]]]


class Draws(NamedTuple):
    """What was found by running a network once on a batch.

    Attributes:
        layers: of each random layer its path, the kind of its rate, the shape of one member's draw.
        convolved: numbers that its convolutions put out.
    """

    layers: tuple[tuple[str, str, tuple[int, ...]], ...]
    convolved: int


class Batch(NamedTuple):
    """What a step sees: the data, each member's rows of it (None is all), its settings, and its random layers' keys
    and rates."""

    x: Tensor
    y: Tensor
    rows: Tensor | None
    settings: dict[str, Tensor]
    keys: Tensor
    rates: dict[str, Tensor]

    def of(self, members: Tensor) -> Batch:
        """The same for some members, by index."""
        rows = self.rows[members] if self.rows is not None and self.rows.ndim == 2 else self.rows
        settings, rates = tree_map(lambda value: value[members], (self.settings, self.rates))
        return Batch(self.x, self.y, rows, settings, self.keys[members], rates)


@cache
def compiler() -> str:
    """Why nothing can be compiled on this machine, in one line; "" where a tiny trial succeeded. Tried once."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.compile(lambda x: x.sin() + 1, dynamic=False, fullgraph=True)(torch.zeros(3))
    except Exception as problem:  # whatever a missing or broken compiler raises
        return f"{type(problem).__name__}: {str(problem).strip().splitlines()[0]}"[:160]
    return ""


def trainable(module: nn.Module, *, batched: bool) -> nn.Module:
    """A copy that computes the same from what is handed in: the draws of its dropout and noise layers are inputs.

    Batched, its linear layers form W xᵀ instead of x Wᵀ: products of many small matrices are faster with few rows
    than with few columns.
    """
    twin = copy.deepcopy(module)
    for path, kind in random_layers(module).items():
        twin.set_submodule(path, _Given(kind))
    for layer in list(twin.modules()):
        if batched and type(layer) is nn.Linear:
            layer.forward = _Linear.forward.__get__(layer)
    return twin


def draws_of(state: State, x: Tensor, look: Callable[[Tensor], object] = lambda said: None) -> Draws:
    """Run one member once on a batch and note what its random layers drew; `look` is called with its output.

    Raises:
        ValueError: x does not fit the network, a dropout layer is used twice, or randomness comes from something
            that is no layer (`F.dropout`, `torch.rand`, the dropout inside nn.LSTM …), which no counter could give.
    """
    module, seen, sizes = copy.deepcopy(state.module).train(), {}, []
    wanted = random_layers(module)
    for path, layer in module.named_modules():
        if getattr(layer, "dropout", 0) and isinstance(layer.dropout, float):
            raise ValueError(f"train: dropout must be a layer of its own, got the one inside {path or 'the module'}")
    for path in wanted:
        module.set_submodule(path, _Noted(path, module.get_submodule(path), seen))
    for layer in module.modules():
        if isinstance(layer, _ConvNd):
            layer.register_forward_hook(lambda layer, x, output: sizes.append(output.numel()))
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad(), _NoRandomness():
        before = torch.default_generator.get_state()
        one = {name: value[0].detach().clone().requires_grad_() for name, value in state.params.items()}
        one |= {name: value[0].detach().clone() for name, value in state.buffers.items()}
        try:
            said = functional_call(module, one, (x,))
        except (RuntimeError, IndexError, TypeError, AttributeError) as problem:
            raise ValueError(f"train: x must fit the network, got {list(x.shape)}, {x.dtype} ({problem})") from problem
        look(said)
        if type(x) is Tensor and not torch.equal(before, torch.default_generator.get_state()):  # a fake one has none
            raise ValueError("train: randomness must come from dropout or noise layers, got numbers drawn elsewhere")
    return Draws(tuple((path, wanted[path], seen[path]) for path in wanted if path in seen), sum(sizes))


def program(
    state: State, loss: Loss, draws: Draws, *, batched: bool, compiled: bool, sizes: tuple[int, ...] = ()
) -> Callable:
    """step(module, trained, batch) -> (trained, losses): one update of all members in `trained`.

    `trained` is (params, buffers, slots); compiled, they are changed in place. `module` is `trainable`'s. Each tuple
    `sizes` has a program of its own, because torch recompiles one program a few times only.
    """
    # torch's guards see attributes, but neither a hook added later nor a class whose forward was replaced
    layers = list(state.module.modules())
    hooks = [hook for layer in layers for hook in (*layer._forward_pre_hooks.values(), *layer._forward_hooks.values())]
    structure = (str(state.module), *(type(layer).forward for layer in layers), *hooks, *sizes)
    return _program(state.optimizer, loss, draws, batched, compiled, structure)


def unguarded() -> AbstractContextManager:
    """Inside, a compiled step is called without asking again whether it fits: for repeats of a call just made."""
    return torch.compiler.set_stance("default", skip_guard_eval_unsafe=True)


@torch.no_grad()
def outputs(module: nn.Module, params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
    """What every member says of all of x, (members, n, …); `module` must be in evaluation mode."""
    every = {**params, **tree_map(torch.clone, buffers)}  # a module may count its calls
    if len(next(iter(params.values()))) == 1:
        return functional_call(module, tree_map(lambda value: value[0], every), (x,))[None]
    return vmap(lambda one: functional_call(module, one, (x,)))(every)


@lru_cache(maxsize=64)
def _program(
    optimizer: Optimizer, loss: Loss, draws: Draws, batched: bool, compiled: bool, structure: tuple
) -> Callable:
    """The cache keeps what was compiled for an architecture; Dynamo's own guards see to it that it still fits."""
    defaults = dict(optimizer.defaults)

    def one(module: nn.Module, trained: Trained, x: Tensor, y: Tensor, settings: dict, given: dict) -> tuple:
        params, buffers, slots = trained

        def objective(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            every = {**params, **{name: value.clone() for name, value in buffers.items()}, **given}
            value = loss(functional_call(module, every, (x,)), y)  # which leaves in `every` what the call reassigned
            return value, {name: every[name] for name in buffers}

        slope = grad_and_value(objective, has_aux=True) if batched or compiled else partial(_plain_slope, objective)
        place = params if optimizer.at is None else optimizer.at(params, slots, defaults | settings)
        grads, (value, moved) = slope(place, buffers)
        if "radius" in settings:
            grads, _ = slope(_uphill(place, grads, settings["radius"]), buffers)
        params, slots = optimizer.update(grads, slots, params, defaults | settings)
        return (params, moved, slots), value

    def all_at_once(module: nn.Module, trained: Trained, batch: Batch) -> tuple[Trained, Tensor]:
        x, y = (batch.x, batch.y) if batch.rows is None else (batch.x[batch.rows], batch.y[batch.rows])
        each = 0 if batch.rows is not None and batch.rows.ndim == 2 else None
        call = vmap(lambda *inputs: one(module, *inputs), in_dims=(0, each, each, 0, 0))
        moved, losses = call(trained, x, y, batch.settings, _given(draws, batch))
        return (tree_map(Tensor.copy_, trained, moved) if compiled else moved), losses

    def alone(module: nn.Module, trained: Trained, batch: Batch) -> tuple[Trained, Tensor]:
        x, y = (batch.x, batch.y) if batch.rows is None else (batch.x[batch.rows], batch.y[batch.rows])
        given = {name: value[0] for name, value in _given(draws, batch).items()}
        moved, value = one(module, trained, x, y, {name: value[0] for name, value in batch.settings.items()}, given)
        return (tree_map(Tensor.copy_, trained, moved) if compiled else moved), value

    step = all_at_once if batched else alone
    if compiled:
        step = torch.compile(step, dynamic=False, fullgraph=True, isolate_recompiles=True)
    return step if batched else _singly(step)


def _singly(step: Callable) -> Callable:
    """A step of one member without the axis of members, as a step of a slab of one."""

    def call(module: nn.Module, trained: Trained, batch: Batch) -> tuple[Trained, Tensor]:
        rows = batch.rows[0] if batch.rows is not None and batch.rows.ndim == 2 else batch.rows
        moved, value = step(module, tree_map(lambda leaf: leaf[0], trained), batch._replace(rows=rows))
        return tree_map(lambda leaf: leaf[None], moved), value[None]

    return call


def _given(draws: Draws, batch: Batch) -> dict[str, Tensor]:
    found = {}
    for place, (path, kind, shape) in enumerate(draws.layers):
        key, rate = batch.keys[:, place], batch.rates[path]
        if kind == "p":
            found[f"{path}.given"] = counters.mask(key, rate, shape)
        else:
            found[f"{path}.given"] = counters.normals(key, shape).to(rate.dtype) * rate.view(-1, *[1] * len(shape))
    return found


def _plain_slope(objective: Callable, params: dict[str, Tensor], buffers: dict[str, Tensor]) -> tuple:
    """`grad_and_value` of one network, run eagerly: autograd alone is faster than `torch.func`."""
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
    with torch.enable_grad():
        value, moved = objective(leaves, buffers)
        grads = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, grads, strict=True)), (value.detach(), tree_map(Tensor.detach, moved))


def _uphill(params: dict[str, Tensor], grads: dict[str, Tensor], radius: Tensor) -> dict[str, Tensor]:
    length = sum(grad.square().sum() for grad in grads.values()).sqrt()
    scale = radius / length.clamp(min=torch.finfo(length.dtype).tiny)
    return {name: value + scale * grads[name] for name, value in params.items()}


class _Linear(nn.Linear):
    """nn.Linear, its product formed as W xᵀ."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 2:
            return F.linear(x, self.weight, self.bias)
        product = torch.matmul(self.weight, x.mT).mT
        return product if self.bias is None else product + self.bias


class _Given(nn.Module):
    """Stands for a dropout or noise layer: multiplies by (p) or adds (std) the tensor handed in as `given`."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("given", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * self.given if self.kind == "p" else x + self.given


class _Noted(nn.Module):
    """Stands for a random layer while it is observed: notes the shape of its draw and draws nothing."""

    def __init__(self, path: str, layer: nn.Module, seen: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.path, self.whole, self.seen = path, not isinstance(layer, _CHANNELS), seen

    def forward(self, x: Tensor) -> Tensor:
        if self.path in self.seen:
            raise ValueError(f"train: a dropout or noise layer must be used once in a pass, got {self.path!r} twice")
        if not self.whole and x.ndim < 3:
            raise ValueError(
                f"train: {self.path!r} must get (n, channels, …), got {list(x.shape)}; nn.Dropout takes any"
            )
        shape = tuple(x.shape)
        self.seen[self.path] = shape if self.whole else (*shape[:2], *[1] * (len(shape) - 2))
        return x


_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_RANDOM = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "rand_like", "randn_like", "randint_like",
           "multinomial", "poisson", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "rrelu",
           "feature_alpha_dropout", "gumbel_softmax", "normal_", "uniform_", "bernoulli_", "exponential_"}  # fmt: skip


class _NoRandomness(TorchFunctionMode):
    """Refuses calls that draw from torch's generators."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in _RANDOM:
            raise ValueError(f"train: randomness must come from dropout or noise layers, got a call of {name}")
        return function(*args, **(kwargs or {}))
