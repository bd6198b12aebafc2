"""The device table of `labsupport.schedules`; see tests/test_devices.py."""

import torch
from devices.given import NO_TENSOR, VALUES, Entry, cannot, floats, labels, runs

from labsupport import schedules
from labsupport.schedules import cosines, elementwise, noise


def scheduled(make):
    """A schedule, asked for a tensor of steps."""
    return runs(lambda device: make(schedules)(torch.arange(6, device=device).view(2, 3)))


def computed(function):
    return runs(lambda device: function(floats(device, 3).to(torch.float64)))


def adapted(device):
    rate = torch.tensor(0.5, device=device)
    optimizer = torch.optim.SGD([floats(device, 2).requires_grad_()], lr=rate, foreach=False)
    return schedules.as_lambda_lr(optimizer, schedules.constant(0.1)).get_last_lr()


TABLE: dict[str, Entry] = {
    "schedules.composing.join": scheduled(lambda s: s.join([s.constant(0.1), s.cosine(0.1, decay_steps=3)], [2])),
    "schedules.composing.scale": scheduled(lambda s: s.scale(s.constant(0.1), 2.0)),
    "schedules.composing.warmup": scheduled(lambda s: s.warmup(s.cosine(0.1, decay_steps=3), num_steps=2)),
    "schedules.composing.wsd": scheduled(lambda s: s.wsd(0.1, warmup_steps=2, stable_steps=1, decay_steps=2)),
    "schedules.cosines.cosine": scheduled(lambda s: s.cosine(0.1, decay_steps=3)),
    "schedules.cosines.half_cosine": computed(cosines.half_cosine),
    "schedules.cosines.linear_cosine": scheduled(lambda s: s.linear_cosine(0.1, decay_steps=3)),
    "schedules.cosines.noisy_linear_cosine": scheduled(lambda s: s.noisy_linear_cosine(0.1, decay_steps=3, seed=0)),
    "schedules.cycles.cosine_restarts": scheduled(lambda s: s.cosine_restarts(0.1, first_decay_steps=2)),
    "schedules.cycles.triangular": scheduled(lambda s: s.triangular(0.1, 0.2, half_cycle=2)),
    "schedules.decays.constant": scheduled(lambda s: s.constant(0.1)),
    "schedules.decays.exponential": scheduled(lambda s: s.exponential(0.1, decay_steps=3, decay_rate=0.5)),
    "schedules.decays.inverse_sqrt": scheduled(lambda s: s.inverse_sqrt(0.1, decay_steps=3)),
    "schedules.decays.inverse_time": scheduled(lambda s: s.inverse_time(0.1, decay_steps=3, decay_rate=0.5)),
    "schedules.decays.natural_exp": scheduled(lambda s: s.natural_exp(0.1, decay_steps=3, decay_rate=0.5)),
    "schedules.decays.piecewise": scheduled(lambda s: s.piecewise([2], [0.1, 0.2])),
    "schedules.decays.polynomial": scheduled(lambda s: s.polynomial(0.1, decay_steps=3, cycle=True)),
    "schedules.elementwise.at_least": computed(lambda x: elementwise.at_least(x, 2)),
    "schedules.elementwise.at_most": computed(lambda x: elementwise.at_most(x, 2)),
    "schedules.elementwise.blend": computed(lambda x: elementwise.blend(0.1, 0.2, x)),
    "schedules.elementwise.choose": computed(lambda x: elementwise.choose(x > 2, x, -x)),
    "schedules.elementwise.cos": computed(elementwise.cos),
    "schedules.elementwise.count": computed(lambda x: elementwise.count(x, [1.0, 2.0], reached=True)),
    "schedules.elementwise.exp": computed(elementwise.exp),
    "schedules.elementwise.largest": computed(lambda x: elementwise.largest(x) and ()),
    "schedules.elementwise.log": computed(elementwise.log),
    "schedules.elementwise.lookup": runs(lambda d: elementwise.lookup(labels(d), [0.1, 0.2])),
    "schedules.elementwise.power": computed(lambda x: [elementwise.power(x, 0.5), elementwise.power(0.5, x)]),
    "schedules.elementwise.real": runs(lambda d: elementwise.real(labels(d))),
    "schedules.lambda_lr.as_lambda_lr": cannot("torch.optim looks at the rate: " + VALUES, gpu=adapted),
    "schedules.noise.normal": runs(lambda d: noise.normal(0, labels(d))),
    "schedules.schedule.Schedule": runs(lambda d: schedules.Schedule(elementwise.real, "real()")(labels(d))),
    "schedules.schedule.check_boundaries": cannot(NO_TENSOR),
    "schedules.schedule.check_schedule": cannot(NO_TENSOR),
    "schedules.schedule.check_start": cannot(NO_TENSOR),
}
