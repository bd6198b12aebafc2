"""Data of the studies: few digits, digits beside noise or between pieces of others, and letters of many alphabets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from labsupport import data
from labsupport.counters import seeded
from labsupport.data.splits import PARTS, Pair
from labsupport.values import check_choice, check_count, check_generator, check_number

__all__ = ["CLUTTER", "beside_noise", "cluttered", "few_digits", "letter_tasks", "letters"]

_MIDDLE = [28 * row + column for row in range(7, 21) for column in range(7, 21)]
CLUTTER = MappingProxyType({
    "middle": _MIDDLE, "round": sorted(set(range(784)) - set(_MIDDLE)), "hidden": list(range(784, 934)),
})  # fmt: skip
"""Places among the 934 coefficients of a network 784-50-50-50-10 on `cluttered` pictures: those of the digit's pixels,
of the pixels round it, and of hidden units."""


def few_digits() -> data.Split:
    """300 digits to train on, 400 to validate, the rest as the third split; the same at every call."""
    return data.digits(num_train=300, num_valid=400, generator=seeded(0))


def beside_noise(
    split: data.Split, num_inputs: int, *, std: float, generators: Sequence[torch.Generator]
) -> data.Split:
    """The same split with inputs of normal noise after its own.

    Args:
        split: x of shape (n, inputs).
        num_inputs: how many are added; >= 1.
        std: of the noise; >= 0.
        generators: three, for the training, validation and test part; they may be one and the same.
    Raises:
        ValueError: a bound above is broken.
    """
    check_count("beside_noise", "num_inputs", num_inputs)
    check_number("beside_noise", "std", std, low=0.0)
    if split.train[0].ndim != 2:
        raise ValueError(f"beside_noise: split must be flat, got x of shape {tuple(split.train[0].shape)}")
    if len(generators) != len(PARTS):
        raise ValueError(f"beside_noise: generators must be three, got {len(generators)}")
    parts = {}
    for part, generator in zip(PARTS, generators, strict=True):
        check_generator("beside_noise", generator)
        x, y = getattr(split, part)
        noise = torch.randn(len(x), num_inputs, generator=generator, device=generator.device, dtype=x.dtype)
        parts[part] = (torch.cat([x, std * noise.to(x.device)], 1), y)
    return replace(split, **parts)


def cluttered(sizes: Sequence[int], seed: int) -> data.Split:
    """Digits of 14×14 in the middle of pictures of 28×28, between the cut pieces of four others; flat, (n, 784).

    Args:
        sizes: examples to train on, to validate, and of the third split.
        seed: >= 0; it draws the digits, and 10⁶ + seed those around them.
    Raises:
        ValueError: as `data.glyphs`.
    """
    few = data.glyphs("digits", sizes=sizes, generator=seeded(seed))
    many = data.glyphs("digits", sizes=[4 * n for n in sizes], generator=seeded(10**6 + seed))
    pairs = {}
    for part in PARTS:
        (x, y), (others, _) = getattr(few, part), getattr(many, part)
        tiles = avg_pool2d(others, 2).reshape(-1, 2, 2, 14, 14).transpose(2, 3).reshape(-1, 28, 28).clone()
        tiles[:, 7:21, 7:21] = avg_pool2d(x, 2)[:, 0]
        pairs[part] = (tiles.flatten(1), y)
    return data.Split(**pairs, class_names=few.class_names)


def letters(alphabet: str, num_letters: int, *, seed: int) -> Tensor:
    """Thirty images of each of an alphabet's first letters: (letters, 30, 1, 12, 12).

    Args:
        alphabet: as `data.glyphs` takes it.
        num_letters: 1 … as many as it has.
        seed: >= 0, of the drawing.
    Raises:
        ValueError: a bound above is broken, or what `data.glyphs` refuses.
    """
    check_choice("letters", "alphabet", alphabet, data.ALPHABETS)
    count = len(data.ALPHABETS[alphabet])
    if check_count("letters", "num_letters", num_letters) > count:
        raise ValueError(f"letters: num_letters must be at most {count}, got {num_letters}")
    x, y = data.glyphs(alphabet, sizes=(32 * count - 2, 1, 1), generator=seeded(seed)).train
    small = avg_pool2d(x[:, :, 2:26, 2:26], 2)
    return torch.stack([small[y == letter][:30] for letter in range(num_letters)])


def letter_tasks(
    alphabets: Sequence[str], num_letters: int, *, images: Sequence[int] = (3, 10, 17), seed: int
) -> tuple[Pair, ...]:
    """To tell the letters of an alphabet apart, a task for each alphabet, and once more for each turned by 90°.

    Args:
        alphabets: names, whose `letters` are drawn with the seeds 10 seed, 10 seed + 1, …; 1 … 10.
        num_letters: see `letters`.
        images: of a letter, to train on, to choose by, to judge by; 30 together.
        seed: >= 0.
    Returns:
        A pair for each part: x (tasks, letters × images, 144), y (tasks, letters × images).
    Raises:
        ValueError: a bound above is broken.
    """
    if not 1 <= len(alphabets) <= 10:
        raise ValueError(f"letter_tasks: alphabets must be 1 to 10, got {len(alphabets)}")
    if sum(check_count("letter_tasks", "images of a part", count) for count in images) != 30:
        raise ValueError(f"letter_tasks: images must be 30 together, got {tuple(images)}")
    drawn = (letters(name, num_letters, seed=10 * seed + place) for place, name in enumerate(alphabets))
    upright = torch.stack(list(drawn))
    both = torch.cat([upright, upright.rot90(1, (-2, -1))])
    parts = [part.flatten(1, 2).flatten(2) for part in both.split(list(images), dim=2)]
    labels = torch.arange(num_letters)
    return tuple(
        (x, labels.repeat_interleave(count).expand(len(x), -1)) for x, count in zip(parts, images, strict=True)
    )
