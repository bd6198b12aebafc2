"""Handwritten digits that ship with scikit-learn: small, real, and there without a network."""

from __future__ import annotations

import torch

from labsupport.data.splits import Split
from labsupport.values import check_choice, check_count, check_generator

__all__ = ["digits"]

_NUM_IMAGES = 1797


def digits(*, num_train: int = 1000, num_valid: int = 400, flat: bool = True, generator: torch.Generator) -> Split:
    """scikit-learn's 1,797 handwritten digits of 8×8 pixels, shuffled and split; the rest is the test part.

    Args:
        num_train, num_valid: sizes of two parts; >= 1, together <= 1796. The defaults leave 397 for the test.
        flat: x of shape (n, 64) if True, (n, 1, 8, 8) if False; float32, 0 (paper) to 1 (ink).
        generator: draws the shuffle; the tensors live on its device.
    Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits" (its test part), through
        sklearn.datasets.load_digits.
    """
    from sklearn.datasets import load_digits  # heavy to import, and only this function needs it

    check_generator("digits", generator)
    check_choice("digits", "flat", flat, (True, False))
    num_train = check_count("digits", "num_train", num_train)
    num_valid = check_count("digits", "num_valid", num_valid)
    if num_train + num_valid >= _NUM_IMAGES:
        rule = f"<= {_NUM_IMAGES - 1}, so that a test part is left"
        raise ValueError(f"digits: num_train + num_valid must be {rule}, got {num_train} + {num_valid}")
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(_NUM_IMAGES, generator=generator, device=generator.device)
    x = torch.from_numpy(images / 16.0).float().to(generator.device)[order]
    y = torch.from_numpy(labels).long().to(generator.device)[order]
    x = x if flat else x.view(-1, 1, 8, 8)
    sizes = [num_train, num_valid, _NUM_IMAGES - num_train - num_valid]
    parts = zip(x.split(sizes), y.split(sizes), strict=True)
    return Split(*parts, class_names=tuple("0123456789"))
