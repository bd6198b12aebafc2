"""What is random in a pass: the network's dropout and noise layers, and each member's draws for them.

The draws are made outside the network, from counters, and handed in; so a member draws the same alone, in any company
and when a run is taken up again.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from labsupport import counters

__all__ = ["GENERATOR", "Draws", "Given", "draws_of", "given", "random_layers", "rate_of", "trainable"]

GENERATOR = threading.RLock()
"""Whoever moves torch's global generator, which all threads share, and puts it back, holds this meanwhile."""
_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class Draws(NamedTuple):
    """What was found by running a network once on a batch.

    Attributes:
        layers: of each random layer its path, the kind of its rate, the shape of one member's draw.
        convolved: numbers that its convolutions put out.
    """

    layers: tuple[tuple[str, str, tuple[int, ...]], ...]
    convolved: int


def random_layers(module: nn.Module) -> dict[str, str]:
    """Path of each dropout or noise layer, in the module's order, and the name of its rate: "p" or "std"."""
    kinds = {path: getattr(layer, "random_rate", None) for path, layer in module.named_modules()}
    kinds |= {path: "p" for path, layer in module.named_modules() if type(layer) in (nn.Dropout, *_CHANNELS)}
    return {path: kind for path, kind in kinds.items() if kind}


def rate_of(module: nn.Module, settings: Mapping[str, Tensor], path: str) -> Tensor | float:
    """The rate of a dropout or noise layer: its own setting, else "dropout", else what the module was built with."""
    kind = random_layers(module)[path]
    for name in (f"{path}.{kind}", *(["dropout"] if kind == "p" else [])):
        if name in settings:
            return settings[name]
    return float(getattr(module.get_submodule(path), kind))


def trainable(module: nn.Module) -> nn.Module:
    """A copy that computes the same from what is handed in: the draws of its dropout and noise layers are inputs."""
    twin = _structure(module)
    for path, kind in random_layers(module).items():
        twin.set_submodule(path, Given(kind))
    return twin


def draws_of(
    module: nn.Module, one: dict[str, Tensor], x: Tensor, look: Callable[[Tensor], object] = lambda said: None
) -> Draws:
    """Run a network once on a batch and note what its random layers drew; `look` is called with its output.

    Args:
        module: in any mode; nothing of it is changed.
        one: a member's parameters and buffers by name.
    Raises:
        ValueError: x does not fit the network, a dropout layer is used twice, or randomness comes from something
            that is no layer (`F.dropout`, `torch.rand`, the dropout inside nn.LSTM …), which no counter could give.
    """
    module, seen, sizes = _structure(module).train(), {}, []
    wanted = random_layers(module)
    for path, layer in module.named_modules():
        if getattr(layer, "dropout", 0) and isinstance(layer.dropout, float):
            raise ValueError(f"train: dropout must be a layer of its own, got the one inside {path or 'the module'}")
    for path in wanted:
        module.set_submodule(path, _Noted(path, module.get_submodule(path), seen))
    for layer in module.modules():
        if isinstance(layer, _ConvNd):
            layer.register_forward_hook(lambda layer, x, output: sizes.append(output.numel()))
    alone = GENERATOR, torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad()
    with ExitStack() as stack:
        for each in (*alone, _NoRandomness()):
            stack.enter_context(each)
        before = torch.default_generator.get_state()
        own = {k: v.detach().clone().requires_grad_(v.requires_grad) for k, v in one.items()}
        try:
            said = functional_call(module, own, (x,))
        except (RuntimeError, IndexError, TypeError, AttributeError) as problem:
            raise ValueError(f"train: x must fit the network, got {list(x.shape)}, {x.dtype} ({problem})") from problem
        look(said)
        if type(x) is Tensor and not torch.equal(before, torch.default_generator.get_state()):  # a fake one has none
            raise ValueError("train: randomness must come from dropout or noise layers, got numbers drawn elsewhere")
    return Draws(tuple((path, wanted[path], seen[path]) for path in wanted if path in seen), sum(sizes))


def given(draws: Draws, keys: Tensor, rates: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The draws of all members: name of a layer's input -> (members, …).

    Args:
        keys: (members, layers, 2), from `counters.keys`.
        rates: path of a layer -> (members,).
    """
    found = {}
    for place, (path, kind, shape) in enumerate(draws.layers):
        key, rate = keys[:, place], rates[path]
        if kind == "p":
            found[f"{path}.given"] = counters.mask(key, rate, shape)
        else:
            found[f"{path}.given"] = counters.normals(key, shape).to(rate.dtype) * rate.view(-1, *[1] * len(shape))
    return found


def _structure(module: nn.Module) -> nn.Module:
    """A copy of the modules that shares their tensors, whose values are not used."""
    return copy.deepcopy(module, {id(value): value for value in (*module.parameters(), *module.buffers())})


class Given(nn.Module):
    """Stands for a dropout or noise layer: multiplies by (p) or adds (std) the tensor handed in as `given`."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("given", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """x with the draw, in training mode."""
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
        shape = tuple(x.shape)
        if not self.whole and x.ndim < 3:
            raise ValueError(f"train: {self.path!r} must get (n, channels, …), got {list(shape)}; nn.Dropout takes any")
        self.seen[self.path] = shape if self.whole else (*shape[:2], *[1] * (len(shape) - 2))
        return x


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
