"""The device table of `labsupport.optimizers`; see tests/test_devices.py."""

import torch
from devices.given import NO_TENSOR, Entry, cannot, floats, runs

from labsupport import optimizers
from labsupport.optimizers import rule


def updated(make):
    """One update of an optimizer."""

    def call(device):
        params = {"a": floats(device, 2, 3), "b": floats(device, 3)}
        optimizer = make()
        settings = {
            "clip_norm": 1.0,
            "clip_value": 1.0,
            **{k: v for k, v in optimizer.defaults.items() if v is not None},
        }
        settings |= {"lr": floats(device), "weight_decay": 0.1}
        settings |= {f"rate.{layer}": floats(device) for layer in optimizer.layers}
        return optimizer.update(params, optimizer.init(params), params, settings)

    return runs(call)


def dressed(device):
    """Two steps of an optimizer in torch's dress."""
    params = [floats(device, 2, 3).requires_grad_(), floats(device, 3).requires_grad_()]
    optimizer = optimizers.as_torch(optimizers.schedule_free(), params, {"lr": 0.1})
    for _ in range(2):
        for value in params:
            value.grad = torch.ones_like(value)
        optimizer.step()
    optimizer.eval()
    return [value.detach() for value in params]


def laid_out(device):
    """The memory of a rule's state for two tensors."""
    state = {floats(device, 2, 3): {}, floats(device, 3): {}}
    optimizers.blocks.teams(optimizers.adam(), state)
    return [entry["mean"] for entry in state.values()] + [entry["count"]["steps"] for entry in state.values()]


TABLE: dict[str, Entry] = {
    "optimizers.adapter.as_torch": runs(dressed),
    "optimizers.adaptive.adadelta": updated(optimizers.adadelta),
    "optimizers.adaptive.adagrad": updated(optimizers.adagrad),
    "optimizers.adaptive.adam": updated(optimizers.adam),
    "optimizers.adaptive.adamw": updated(optimizers.adamw),
    "optimizers.adaptive.nadam": updated(optimizers.nadam),
    "optimizers.adaptive.rmsprop": updated(optimizers.rmsprop),
    "optimizers.averaging.averaged": updated(lambda: optimizers.averaged(optimizers.momentum())),
    "optimizers.averaging.schedule_free": updated(optimizers.schedule_free),
    "optimizers.blocks.Block": cannot("it holds tensors; `teams` makes it on the device of the parameters"),
    "optimizers.blocks.Straight": cannot("it holds tensors; `teams` makes it where they lie"),
    "optimizers.blocks.Team": cannot("it holds tensors; `teams` makes it on the device of the parameters"),
    "optimizers.blocks.teams": runs(laid_out),
    "optimizers.layer_rates.by_layer": updated(lambda: optimizers.by_layer(optimizers.adam(), layers=["a"])),
    "optimizers.layerwise.lars": updated(optimizers.lars),
    "optimizers.momenta.momentum": updated(optimizers.momentum),
    "optimizers.momenta.nesterov": updated(optimizers.nesterov),
    "optimizers.momenta.sgd": updated(optimizers.sgd),
    "optimizers.orthogonal.muon": updated(optimizers.muon),
    "optimizers.rule.Optimizer": cannot(
        "it holds functions; those of each optimizer follow the tensors they are given"
    ),
    "optimizers.rule.check_inner": cannot(NO_TENSOR),
    "optimizers.rule.counter": runs(lambda d: rule.counter({"a": floats(d, 3)})),
    "optimizers.rule.decayed": runs(
        lambda d: rule.decayed({"a": floats(d, 3)}, {"a": floats(d, 3)}, {"weight_decay": 0.1})
    ),
    "optimizers.rule.titled": cannot(NO_TENSOR),
    "optimizers.rule.zeros": runs(lambda d: rule.zeros({"a": floats(d, 3)})),
    "optimizers.wrappers.accumulated": updated(lambda: optimizers.accumulated(optimizers.adam(), num_batches=2)),
    "optimizers.wrappers.clipped_norm": updated(lambda: optimizers.clipped_norm(optimizers.sgd())),
    "optimizers.wrappers.clipped_value": updated(lambda: optimizers.clipped_value(optimizers.sgd())),
}
