"""The device table of `labsupport.initialization`; see tests/test_devices.py."""

import torch
from devices.given import NO_TENSOR, Entry, born, cannot, floats, runs, seeded
from torch import nn

from labsupport.initialization import gains, meanfield, propagation, rules, starts


def filled(rule, **options):
    """A rule on a weight, its generator on the CPU: the values must follow the weight."""
    return runs(lambda d: rule(torch.empty(5, 3, 3, device=d), **options, generator=seeded()))


def pretrained(device):
    """Weights on the CPU, copied into a layer elsewhere."""
    layer = nn.Linear(4, 2, device=device)
    starts.from_pretrained_(layer, {"weight": torch.ones(2, 4)})
    return list(layer.parameters())

PREDICTION = "it takes numbers, computes on the CPU and returns numbers"

TABLE: dict[str, Entry] = {
    "initialization.gains.backward_gain": cannot(PREDICTION),
    "initialization.gains.derivative": runs(lambda d: gains.derivative("tanh")(floats(d, 3))),
    "initialization.gains.expectation": cannot(PREDICTION),
    "initialization.gains.forward_gain": cannot(PREDICTION),
    "initialization.gains.function": runs(lambda d: gains.function("tanh")(floats(d, 3))),
    "initialization.meanfield.DepthScales": cannot(PREDICTION),
    "initialization.meanfield.chi": cannot(PREDICTION),
    "initialization.meanfield.correlation_map": cannot(PREDICTION),
    "initialization.meanfield.critical_gain": cannot(PREDICTION),
    "initialization.meanfield.depth_scales": cannot(PREDICTION),
    "initialization.meanfield.fixed_correlation": cannot(PREDICTION),
    "initialization.meanfield.fixed_length": cannot(PREDICTION),
    "initialization.meanfield.gradients": cannot(
        PREDICTION, gpu=lambda d: list(meanfield.gradients("relu", floats(d, 3), gain=1.0))[:0]
    ),
    "initialization.meanfield.length_map": cannot(PREDICTION),
    "initialization.meanfield.lengths": cannot(PREDICTION),
    "initialization.propagation.Moments": cannot(NO_TENSOR + " but those it is given"),
    "initialization.propagation.jacobian_singular_values": runs(
        lambda d: propagation.jacobian_singular_values(nn.Linear(4, 2, device=d), floats(d, 3, 4))
    ),
    "initialization.propagation.measure": runs(
        lambda d: propagation.measure(nn.Linear(4, 2, device=d), floats(d, 3, 4), loss=torch.sum)[1:]
    ),
    "initialization.rules.constant_": filled(rules.constant_, value=0.1),
    "initialization.rules.cosine_": runs(lambda d: rules.cosine_(torch.empty(3, 5, device=d))),
    "initialization.rules.delta_orthogonal_": filled(rules.delta_orthogonal_),
    "initialization.rules.fans": runs(lambda d: rules.fans(floats(d, 3, 4)) and ()),
    "initialization.rules.he_normal_": filled(rules.he_normal_),
    "initialization.rules.he_uniform_": filled(rules.he_uniform_),
    "initialization.rules.lecun_normal_": filled(rules.lecun_normal_),
    "initialization.rules.lecun_uniform_": filled(rules.lecun_uniform_),
    "initialization.rules.normal_": filled(rules.normal_, std=0.1),
    "initialization.rules.orthogonal_": filled(rules.orthogonal_),
    "initialization.rules.uniform_": filled(rules.uniform_, std=0.1),
    "initialization.rules.xavier_normal_": filled(rules.xavier_normal_),
    "initialization.rules.xavier_uniform_": filled(rules.xavier_uniform_),
    "initialization.starts.Transfer": cannot(NO_TENSOR),
    "initialization.starts.apply_": runs(
        lambda d: list(starts.apply_(nn.Linear(4, 2, device=d), rules.he_normal_, generator=seeded()).parameters())
    ),
    "initialization.starts.biases_": runs(lambda d: list(starts.biases_(nn.Linear(4, 2, device=d)).parameters())),
    "initialization.starts.builder": born(lambda g: list(starts.builder([4, 3, 2])(g).parameters())),
    "initialization.starts.chrono_": runs(
        lambda d: list(starts.chrono_(nn.LSTM(2, 3, device=d), longest=9, generator=seeded()).parameters())
    ),
    "initialization.starts.class_prior_": runs(lambda d: starts.class_prior_(floats(d, 3), counts=floats(d, 3))),
    "initialization.starts.forget_gate_": runs(
        lambda d: list(starts.forget_gate_(nn.LSTM(2, 3, device=d)).parameters())
    ),
    "initialization.starts.from_pretrained_": runs(pretrained),
}
