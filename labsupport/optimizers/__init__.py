"""Optimizers as pairs of pure functions: `init(params)` makes the state, `update` takes one step.

    params, state = optimizer.update(grads, state, params, settings)

Parameters, gradients and the entries of the state are dicts of tensors. Nothing is changed in place, so that
`torch.func.vmap` turns an optimizer of one network into one of many, each with its own settings. Device and
dtype are those of the parameters. `as_torch` hands any of them to an ordinary training loop.
"""

from labsupport.optimizers.adapter import as_torch
from labsupport.optimizers.adaptive import adadelta, adagrad, adam, adamw, nadam, rmsprop
from labsupport.optimizers.averaging import averaged, schedule_free
from labsupport.optimizers.layer_rates import by_layer
from labsupport.optimizers.layerwise import lars
from labsupport.optimizers.momenta import momentum, nesterov, sgd
from labsupport.optimizers.orthogonal import muon
from labsupport.optimizers.rule import Optimizer
from labsupport.optimizers.wrappers import accumulated, clipped_norm, clipped_value

__all__ = [
    "Optimizer", "accumulated", "adadelta", "adagrad", "adam", "adamw", "as_torch", "averaged", "by_layer",
    "clipped_norm", "clipped_value", "lars", "momentum", "muon", "nadam", "nesterov", "rmsprop", "schedule_free",
    "sgd",
]  # fmt: skip
