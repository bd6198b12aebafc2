"""Starts of whole modules: one rule for all weights, constants for biases, and weights from an earlier training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from labsupport import models
from labsupport.initialization.rules import Rule, constant_, he_normal_
from labsupport.values import check_generator, check_number, holds

__all__ = ["Transfer", "apply_", "biases_", "builder", "chrono_", "class_prior_", "forget_gate_", "from_pretrained_"]


class Transfer(NamedTuple):
    """What `from_pretrained_` did, as names in order."""

    copied: tuple[str, ...]
    """Entries of both, with equal shapes."""
    skipped: tuple[str, ...]
    """Entries of the state dict that the module lacks or has in another shape."""
    kept: tuple[str, ...]
    """Entries of the module that kept their values."""


def apply_(module: nn.Module, rule: Rule, *, bias: float | Rule = 0.0, generator: torch.Generator) -> nn.Module:
    """Apply a rule to the weight of every linear layer and convolution, and set their biases. In place.

    Layers come in the order of `module.modules()`, each its weight first, then its bias; so the start depends on the
    generator and the architecture alone. Everything else — norms, recurrent layers, embeddings, parameters of the
    module's own — is left alone. A parametrized weight or bias is written through its parametrization.

    Args:
        module: holds at least one linear layer or convolution, or is one itself.
        rule: called as rule(weight, generator=generator).
        bias: the biases' value, or a rule for them, such as ``partial(normal_, std=0.1)``.
        generator: passed to the rules.
    Returns:
        The module.
    Raises:
        ValueError: no such layer, a transposed convolution (its fans read the other way round: initialize it on its
            own), a parametrization that cannot be written through, or what the rule refuses.
    """
    layers = _layers("apply_", module)
    if not callable(rule):
        raise ValueError(f"apply_: rule must be a function of a weight and a generator, got {rule!r}")
    if not callable(bias):
        bias = check_number("apply_", "bias", bias)
    check_generator("apply_", generator)
    fill = bias if callable(bias) else partial(constant_, value=bias)
    for layer in layers:
        _write("apply_", layer, "weight", rule, generator)
        if layer.bias is not None:
            _write("apply_", layer, "bias", fill, generator)
    return module


def builder(
    sizes: Sequence[int], *, rule: Rule = he_normal_, activation: str = "relu", bias: float | Rule = 0.0
) -> Callable[[torch.Generator], nn.Sequential]:
    """How to build a network of linear layers that starts by a rule: `builder([64, 32, 10])(generator)`.

    What `population` and `experiments` take as `build`; it pickles where the rule does.

    Args:
        sizes, activation: see `models.mlp`.
        rule, bias: see `apply_`.
    Returns:
        generator -> module. The generator first draws `models.mlp`'s own weights, then the rule's.
    Raises:
        ValueError: at the first build, what `models.mlp` or `apply_` refuses.
    """
    return partial(_built, sizes, rule, activation, bias)


def _built(
    sizes: Sequence[int], rule: Rule, activation: str, bias: float | Rule, generator: torch.Generator
) -> nn.Sequential:
    return apply_(models.mlp(sizes, activation=activation, generator=generator), rule, bias=bias, generator=generator)


def biases_(module: nn.Module, *, value: float = 0.01) -> nn.Module:
    """Set every bias of linear layers and convolutions to one value, in place; weights and norms stay.

    0.01 is the constant that some recipes give ReLU units, so that more of them are active at the start. A constant
    added to all outputs of a classifier does not change its softmax.

    Raises:
        ValueError: a value that is not finite, no linear layer or convolution with a bias, or a parametrization that
            cannot be written through.
    """
    value = check_number("biases_", "value", value)
    layers = [layer for layer in _layers("biases_", module) if layer.bias is not None]
    if not layers:
        raise ValueError("biases_: module must hold a layer with a bias, got none")
    for layer in layers:
        _write("biases_", layer, "bias", partial(constant_, value=value))
    return module


def forget_gate_(lstm: nn.LSTM | nn.LSTMCell, *, value: float = 1.0) -> nn.LSTM | nn.LSTMCell:
    """Set the forget gates' biases of an LSTM, in place, so that at the start sigmoid(value) of the memory is kept.

    torch packs the gates as input, forget, cell, output, and adds two biases, `bias_ih` and `bias_hh`. Setting both to
    1 gives 2. Here the forget part of `bias_ih` is `value` and that of `bias_hh` 0, in every layer and direction.

    Args:
        lstm: with biases.
        value: the sum of the two biases; 1 or 2 are usual.
    Returns:
        The LSTM.
    Raises:
        ValueError: no LSTM, one without biases, or a value that is not finite.
    Source: Gers, Schmidhuber & Cummins 2000, doi:10.1162/089976600300015015; Józefowicz, Zaremba & Sutskever 2015,
        PMLR 37:2342.
    """
    _check_lstm("forget_gate_", lstm)
    value = check_number("forget_gate_", "value", value)
    forget = slice(lstm.hidden_size, 2 * lstm.hidden_size)
    with torch.no_grad():
        for name, parameter in lstm.named_parameters(recurse=False):
            if name.startswith("bias_"):
                parameter[forget] = value if name.startswith("bias_ih") else 0.0
    return lstm


def chrono_(lstm: nn.LSTM | nn.LSTMCell, *, longest: float, generator: torch.Generator) -> nn.LSTM | nn.LSTMCell:
    """Set the gates' biases of an LSTM, in place, so that its units keep memories for times up to the longest lag.

    Each unit draws a time evenly between 1 and `longest`; its forget bias is the logarithm, its input bias the negative
    of it. As in `forget_gate_`, they are set in `bias_ih`, and the same parts of `bias_hh` are 0.

    Args:
        lstm: with biases.
        longest: steps, >= 1.
        generator: draws the times, layer by layer.
    Returns:
        The LSTM.
    Raises:
        ValueError: no LSTM, one without biases, a bound above is broken, or no generator.
    Source: Tallec & Ollivier 2018, arXiv:1804.11188, section 3, there between 1 and the longest lag less 1.
    """
    _check_lstm("chrono_", lstm)
    longest = check_number("chrono_", "longest", longest, low=1)
    check_generator("chrono_", generator)
    units = lstm.hidden_size
    with torch.no_grad():
        for name, parameter in lstm.named_parameters(recurse=False):
            if name.startswith("bias_hh"):
                parameter[: 2 * units] = 0.0
            elif name.startswith("bias_ih"):
                even = torch.rand(units, generator=generator, dtype=parameter.dtype, device=generator.device)
                forget = (1 + (longest - 1) * even).log().to(parameter.device)
                parameter[: 2 * units] = torch.cat([-forget, forget])
    return lstm


def class_prior_(bias: Tensor, *, counts: Tensor) -> Tensor:
    """Set a classifier's output biases so that zero logits predict the class frequencies, in place.

    Several outputs (softmax): bias = log of the frequencies, as in softmax(bias) = counts ÷ total. One output
    (sigmoid): bias = log(counts[1] ÷ counts[0]), the log-odds of class 1. The first steps then need not learn them.

    Args:
        bias: (classes,), or (1,) for two classes.
        counts: examples of each class, (classes,), all > 0.
    Returns:
        The bias.
    Raises:
        ValueError: shapes that do not fit, or a count that is not positive and finite.
    Source: Lin et al. 2017, arXiv:1708.02002, section 4.1, for the sigmoid.
    """
    if not isinstance(bias, Tensor) or bias.dim() != 1 or not bias.is_floating_point() or bias.numel() == 0:
        got = tuple(bias.shape) if isinstance(bias, Tensor) else type(bias).__name__
        raise ValueError(f"class_prior_: bias must be a floating-point tensor (classes,), got {got}")
    classes = max(2, bias.numel())
    if not isinstance(counts, Tensor) or counts.shape != (classes,):
        got = tuple(counts.shape) if isinstance(counts, Tensor) else type(counts).__name__
        raise ValueError(f"class_prior_: counts must have shape ({classes},), got {got}")
    counts = counts.double()
    if not holds((counts > 0) & torch.isfinite(counts)):
        raise ValueError(f"class_prior_: counts must be positive and finite, got {counts.tolist()}")
    logs = (counts / counts.sum()).log()
    with torch.no_grad():
        return bias.copy_(logs[1:] - logs[:1] if bias.numel() == 1 else logs)


def from_pretrained_(module: nn.Module, state_dict: Mapping[str, Tensor]) -> Transfer:
    """Copy every entry whose name and shape both agree into the module, buffers too; leave the rest. In place.

    Values are converted to the module's dtype and device.

    Args:
        module: the network to start.
        state_dict: names to tensors, of an earlier training.
    Returns:
        The names copied, skipped and kept.
    Raises:
        ValueError: no mapping of names to tensors, or nothing that matches.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"from_pretrained_: module must be a torch.nn.Module, got {type(module).__name__}")
    if not isinstance(state_dict, Mapping) or not all(isinstance(value, Tensor) for value in state_dict.values()):
        raise ValueError("from_pretrained_: state_dict must map names to tensors")
    own = module.state_dict()
    copied = tuple(name for name in own if name in state_dict and state_dict[name].shape == own[name].shape)
    if not copied:
        some = ", ".join(list(own)[:3]) or "none"
        raise ValueError(f"from_pretrained_: state_dict must share a name and shape with the module, which has {some}")
    with torch.no_grad():
        for name in copied:
            own[name].copy_(state_dict[name])
    done = set(copied)
    skipped = tuple(name for name in state_dict if name not in done)
    return Transfer(copied, skipped, tuple(name for name in own if name not in done))


def _check_lstm(where: str, lstm: nn.LSTM | nn.LSTMCell) -> None:
    if not isinstance(lstm, (nn.LSTM, nn.LSTMCell)):
        raise ValueError(f"{where}: lstm must be a torch.nn.LSTM or LSTMCell, got {type(lstm).__name__}")
    if not lstm.bias:
        raise ValueError(f"{where}: lstm must have biases, got one without")
    if hidden := [name for name in getattr(lstm, "parametrizations", ()) if name.startswith("bias")]:
        raise ValueError(f"{where}: lstm must have its biases as parameters, got {hidden} parametrized")


def _write(where: str, layer: nn.Module, name: str, rule: Rule, generator: torch.Generator | None = None) -> None:
    """Fill a parameter of a layer by a rule; through its parametrization where it has one."""
    if not parametrize.is_parametrized(layer, name):
        rule(getattr(layer, name), generator=generator)
        return
    filled = rule(getattr(layer, name).detach().clone(), generator=generator)
    try:
        setattr(layer, name, filled)
    except RuntimeError as error:
        how = layer.parametrizations[name]
        raise ValueError(f"{where}: {name} must be one that can be written, got it parametrized by {how}") from error


def _layers(where: str, module: nn.Module) -> list[nn.Linear | _ConvNd]:
    if not isinstance(module, nn.Module):
        raise ValueError(f"{where}: module must be a torch.nn.Module, got {type(module).__name__}")
    for name, layer in module.named_modules():
        if isinstance(layer, _ConvTransposeNd):
            raise ValueError(f"{where}: module must hold no transposed convolution, got one at {name or 'the top'!r}")
    layers = [layer for layer in module.modules() if isinstance(layer, (nn.Linear, _ConvNd))]
    if not layers:
        raise ValueError(f"{where}: module must hold a linear layer or convolution, got none")
    return layers
