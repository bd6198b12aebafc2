"""The device table of `labsupport.pruning`; see tests/test_devices.py."""

import torch
from devices.given import NO_TENSOR, VALUES, Entry, cannot, floats, plain, runs
from torch import nn
from torch.nn.utils import prune

from labsupport.pruning import masks, surgery


def masked(device):
    """A layer with a mask."""
    layer = nn.Linear(4, 3, device=device)
    return masks.apply_(layer, {"weight": torch.ones(3, 4, dtype=torch.bool, device=device)})


def held(module):
    return dict(module.named_parameters()), dict(module.named_buffers())


def pruned(device):
    return prune.identity(nn.Linear(4, 3, device=device), "weight")


TIED = surgery.graph(plain("cpu").module, floats("cpu", 2, 4))
EDIT = surgery.keep(TIED, {"0": torch.tensor([0, 2])})
"""Made with real tensors: an edit lies on the CPU, whatever it cuts."""


def cut_with_optimizer(device):
    net = plain(device).module
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(floats(device, 2, 4)).sum().backward()
    optimizer.step()
    surgery.cut_(net, EDIT, optimizer)
    return held(net), [list(entries.values()) for entries in optimizer.state.values()]


def cut_state(device):
    small = surgery.cut_state(plain(device), EDIT)
    return small.params, small.slots


TABLE: dict[str, Entry] = {
    "pruning.masks.apply_": runs(lambda d: held(masked(d))),
    "pruning.masks.from_torch_prune_": runs(lambda d: held(masks.from_torch_prune_(pruned(d)))),
    "pruning.masks.masked": runs(
        lambda d: masks.masked(nn.Linear(4, 3, device=d).state_dict(), masks.masks_of(masked(d)))
    ),
    "pruning.masks.masks_of": runs(lambda d: masks.masks_of(masked(d))),
    "pruning.masks.name_of": cannot(NO_TENSOR),
    "pruning.masks.plain": runs(lambda d: masks.plain(masked(d).state_dict())),
    "pruning.masks.remove_": runs(lambda d: held(masks.remove_(masked(d)))),
    "pruning.masks.to_torch_prune_": runs(lambda d: held(masks.to_torch_prune_(masked(d)))),
    "pruning.surgery.cutting.cut": runs(lambda d: held(surgery.cut(plain(d).module, EDIT))),
    "pruning.surgery.cutting.cut_": runs(cut_with_optimizer),
    "pruning.surgery.cutting.cut_state": runs(cut_state),
    "pruning.surgery.edits.Edit": cannot("an edit is data: its indices lie on the CPU"),
    "pruning.surgery.edits.alive": cannot(
        "which units are dead: " + VALUES,
        gpu=lambda d: surgery.alive(TIED, {"2.weight": torch.eye(3, device=d)[:2]}) and (),
    ),
    "pruning.surgery.edits.keep": cannot("it refuses by the values of indices, and an edit lies on the CPU"),
    "pruning.surgery.edits.load": cannot("an edit is data: its indices lie on the CPU"),
    "pruning.surgery.edits.save": cannot("an edit is data: its indices lie on the CPU"),
    "pruning.surgery.edits.silence": cannot("masks made from an edit lie on the CPU, as it does; move them"),
    "pruning.surgery.graphs.Graph": cannot(NO_TENSOR),
    "pruning.surgery.graphs.Group": cannot(NO_TENSOR),
    "pruning.surgery.graphs.Place": cannot(NO_TENSOR),
    "pruning.surgery.graphs.graph": runs(lambda d: surgery.graph(plain(d).module, floats(d, 2, 4)) and ()),
    "pruning.surgery.graphs.held_by": runs(
        lambda d: [each[2] for held in surgery.graphs.held_by("", masked(d))[0].values() for each in held]
    ),
}
