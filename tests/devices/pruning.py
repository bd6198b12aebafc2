"""The device table of `labsupport.pruning`; see tests/test_devices.py."""

import torch
from devices.given import NO_TENSOR, Entry, cannot, runs
from torch import nn
from torch.nn.utils import prune

from labsupport.pruning import masks


def masked(device):
    """A layer with a mask."""
    layer = nn.Linear(4, 3, device=device)
    return masks.apply_(layer, {"weight": torch.ones(3, 4, dtype=torch.bool, device=device)})


def held(module):
    return dict(module.named_parameters()), dict(module.named_buffers())


def pruned(device):
    return prune.identity(nn.Linear(4, 3, device=device), "weight")


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
}
