"""The device table of the rooms of one file and of `data`; see tests/test_devices.py."""

import torch
from devices.given import (
    HERE,
    NO_TENSOR,
    VALUES,
    Entry,
    born,
    cannot,
    floats,
    labels,
    runs,
    sampled,
    seeded,
    split,
    words,
)
from torch import nn

from labsupport import counters, data, models, plots, values


def sloping(device):
    x = torch.arange(24.0, device=device).view(6, 4)
    return data.Split(*[(x, labels(device))] * 3, ("a", "b"))


def drawn(plot):
    """A plot of tensors on a device: matplotlib must get their values."""
    return lambda device: plot(plots.subplots()[1], device) and ()

LABELS = {"xlabel": "x", "ylabel": "y"}

TABLE: dict[str, Entry] = {
    "data.idx.mnist": cannot("it reads files, and Split.to moves what it read"),
    "data.idx.read_idx": cannot("it reads a file into the CPU's memory"),
    "data.letters.glyphs": born(lambda g: data.glyphs("ogham", sizes=(5, 2, 2), generator=g)),
    "data.samples.Partitions": runs(
        lambda d: [sampled(d), sampled(d).split(1), sampled(d).flat(), sampled(d).to(torch.float64)]
    ),
    "data.samples.Rows": runs(lambda d: sampled(d).train.places("here", [1])),
    "data.samples.partitions": runs(sampled),
    "data.scans.digits": born(lambda g: data.digits(generator=g)),
    "data.scripts.faces": cannot(NO_TENSOR),
    "data.scripts.font_file": cannot(NO_TENSOR),
    "data.splits.Split": runs(lambda d: [split(d), split(d).flat(), split(d).to(torch.float64), split(d).to(d)]),
    "data.splits.batches": runs(lambda d: list(data.batches(floats(d, 6, 4), labels(d), 4, generator=seeded()))),
    "data.splits.standardized": runs(lambda d: data.standardized(sloping(d))),
    "data.toys.linear_chain": runs(lambda d: data.linear_chain(floats(d, 5, 3))),
    "data.toys.monks": born(lambda g: data.monks(3, generator=g)),
    "data.toys.quadratic": runs(lambda d: data.quadratic(floats(d, 5, 3), floats(d, 3))),
    "data.toys.strict_saddle": runs(lambda d: data.strict_saddle(floats(d, 5, 2))),
    "data.toys.two_spirals": born(lambda g: data.two_spirals(20, generator=g)),
    "files.beside": cannot(NO_TENSOR),
    "files.check_place": cannot(NO_TENSOR),
    "files.read": cannot("it reads a file into the CPU's memory"),
    "files.write": cannot("it writes values: " + VALUES),
    "models.GaussianNoise": runs(lambda d: models.GaussianNoise(0.1)(floats(d, 3))),
    "models.convnet": born(lambda g: list(models.convnet((1, 8, 8), 3, norm="batch", generator=g).parameters())),
    "models.mlp": born(lambda g: list(models.mlp([4, 3, 2], generator=g).parameters())),
    "models.num_parameters": runs(lambda d: [()] * models.num_parameters(nn.Linear(4, 2, device=d))),
    "plots.contours": cannot("it draws its own grid on the CPU"),
    "plots.subplots": cannot(NO_TENSOR),
    "plots.mean_and_error": cannot(
        VALUES, gpu=drawn(lambda ax, d: plots.mean_and_error(ax, range(4), {"a": floats(d, 3, 4)}, **LABELS))
    ),
    "plots.paths": cannot(VALUES, gpu=drawn(lambda ax, d: plots.paths(ax, {"a": floats(d, 4, 2)}))),
    "plots.series": cannot(VALUES, gpu=drawn(lambda ax, d: plots.series(ax, range(4), {"a": floats(d, 4)}, **LABELS))),
    "counters.mix": runs(lambda d: counters.mix(labels(d))),
    "counters.seeded": cannot("its generator lives on the CPU"),
    "counters.keys": cannot(HERE),
    "counters.mask": runs(lambda d: counters.mask(words(d), floats(d, 3) / 2, (4, 5))),
    "counters.normals": runs(lambda d: counters.normals(words(d), (4, 5))),
    "counters.orders": cannot(HERE),
    "counters.uniforms": runs(lambda d: counters.uniforms(words(d), (4, 5))),
    "remaking.Remade": cannot(NO_TENSOR),
    "remaking.recorded": cannot(NO_TENSOR),
    "values.check_choice": cannot(NO_TENSOR),
    "values.check_count": cannot(NO_TENSOR),
    "values.check_generator": cannot(NO_TENSOR),
    "values.check_number": cannot(NO_TENSOR),
    "values.holds": runs(lambda d: values.holds(floats(d, 3) > 0) and ()),
    "values.is_finite": runs(lambda d: values.is_finite(floats(d, 3)) and ()),
    "values.number": runs(lambda d: values.number(floats(d, 1)) and ()),
    "models.Recurrent": born(lambda g: list(models.Recurrent(3, 4, 2, gain=1.0, generator=g).parameters())),
    "models.lstm": runs(lambda d: models.lstm(nn.LSTMCell(4, 3, device=d), floats(d, 2, 5, 4))),
}
