"""The device table of `labsupport.landscape`; see tests/test_devices.py."""

import torch
from devices.given import NO_TENSOR, VALUES, Entry, born, cannot, floats, on_batch, plain, runs, seeded
from torch import nn

from labsupport import data
from labsupport.landscape import curvature, plateaus, saddles, sharpness, slices


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


def multiplied(device):
    times = on_batch(sharpness.hvp)(device)
    return times(floats(device, 2, 23))


def ends(device):
    """A start and an end of a small network with one hidden layer."""
    sizes = {"0.weight": (3, 4), "0.bias": (3,), "2.weight": (2, 3), "2.bias": (2,)}
    return [{name: k * floats(device, *size) for name, size in sizes.items()} for k in (1, 2)]


def summed(params):
    return sum((value**2).sum() for value in params.values())


def bent(device):
    return slices.bend(summed, *ends(device), lr=0.01, num_steps=2, generator=seeded())


TABLE: dict[str, Entry] = {
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
    "landscape.sharpness.hvp": runs(multiplied),
    "landscape.sharpness.rescale_layers": runs(
        lambda d: sharpness.rescale_layers(plain(d), torch.tensor([2.0, 0.5], device=d))
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
}
