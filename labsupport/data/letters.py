"""Characters of 28×28 pixels, drawn from fonts and distorted: as many as asked for, without a network.

At distortion 1 a character is turned by up to ±15°, slanted by ±0.25, stretched by ±15 % along each axis and
moved by ±1.5 pixels; its strokes grow by up to 0.45 pixels a side or shrink by up to 0.15; and an elastic field
of 4×4 smooth random bumps moves its points by about 0.7 pixels along each axis. Every amount grows in proportion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from labsupport.data.scripts import ALPHABETS, faces, font_file
from labsupport.data.splits import Split
from labsupport.values import check_choice, check_count, check_generator, check_number

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

__all__ = ["glyphs"]

_SIDE = 28  # pixels of an image
_TALLEST = 20.0  # pixels of the largest character of a face, as in MNIST
_FINE = 4  # a character is drawn at _FINE times the size …
_GRID = 2  # … and kept as a distance map at _GRID times
_REACH = 4.0  # distances are clipped to ± this, in pixels
_KNOTS = 4  # elastic bumps along a side
_CHUNK = 2048  # images distorted at once: bounds memory; another value is another draw of the noise


def glyphs(
    alphabet: str, *, sizes: Sequence[int] = (4000, 1000, 1000), faces: Sequence[str] | None = None,
    distortion: float = 1.0, noise: float = 0.05, size: int = 28, generator: torch.Generator,
) -> Split:  # fmt: skip
    """Characters of an alphabet, each in a random face, randomly distorted.

    Class counts over all parts differ by at most 1. All parts use the same faces; to test on faces never
    trained on, call twice with disjoint `faces`.

    Args:
        alphabet: a name in `ALPHABETS`.
        sizes: numbers of images in train, valid and test; each >= 1.
        faces: names among `data.faces(alphabet)`; None takes all of them.
        distortion: 0 (the clean glyph) to 2 (hard to read, strokes cut by the edge); this module says what 1 does.
        noise: standard deviation of the normal noise on each pixel, before clipping to [0, 1]; 0 to 1.
        size: pixels of a side, 28, 14 or 7; a pixel of a smaller image is the mean of those of the large one.
        generator: draws everything; the work is done, and the tensors live, on its device.
    Returns:
        A Split with x (n, 1, size, size), float32, 0 (paper) to 1 (ink); the class names are the characters.
    Raises:
        ValueError: a bound above is broken.
        FileNotFoundError: matplotlib's fonts are not there.
    Source: elastic fields as in Simard et al. 2003, section 2, with bumps on a grid for their blurred noise.
    """
    check_choice("glyphs", "alphabet", alphabet, ALPHABETS)
    sizes, chosen = _check_sizes(sizes), _check_faces(alphabet, faces)
    distortion = check_number("glyphs", "distortion", distortion, low=0.0, high=2.0)
    noise = check_number("glyphs", "noise", noise, low=0.0, high=1.0)
    check_choice("glyphs", "size", size, (28, 14, 7))
    check_generator("glyphs", generator)
    names = tuple(ALPHABETS[alphabet])
    maps = torch.tensor(np.stack([_distance_maps(alphabet, face) for face in chosen]), device=generator.device)
    number = sum(sizes)
    y = torch.randperm(number, generator=generator, device=generator.device) % len(names)
    face = torch.randint(len(chosen), (number,), generator=generator, device=generator.device)
    x = _draw(maps.flatten(0, 1), face * len(names) + y, distortion, noise, generator)
    x = torch.nn.functional.avg_pool2d(x, _SIDE // size)
    return Split(*zip(x.split(sizes), y.split(sizes), strict=True), class_names=names)


def _check_sizes(sizes: Sequence[int]) -> list[int]:
    if not isinstance(sizes, (tuple, list)) or len(sizes) != 3:
        raise ValueError(f"glyphs: sizes must be three integers (train, valid, test), got {sizes!r}")
    return [check_count("glyphs", f"sizes[{place}]", size) for place, size in enumerate(sizes)]


def _check_faces(alphabet: str, chosen: Sequence[str] | None) -> tuple[str, ...]:
    known = faces(alphabet)
    if chosen is None:
        return known
    rule = "faces must be one or more different names, or None for all"
    if not isinstance(chosen, (tuple, list)) or not chosen:  # a set has no order that a seed could repeat
        raise ValueError(f"glyphs: {rule}, got {chosen!r}")
    for face in chosen:
        check_choice("glyphs", "each of faces", face, known)
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"glyphs: {rule}, got {chosen!r}")
    return tuple(chosen)


@cache
def _distance_maps(alphabet: str, face: str) -> np.ndarray:
    """Signed distance to the outline (pixels of the final image, > 0 in ink) of each character: (classes, 56, 56)."""
    from PIL import ImageFont

    size = 100
    font = ImageFont.truetype(font_file(face), size, layout_engine=ImageFont.Layout.BASIC)
    boxes = [_ink_box(font, char) for char in ALPHABETS[alphabet]]
    longest = [max(right - left, bottom - top) for left, top, right, bottom in boxes]
    maps = []
    for char, own in zip(ALPHABETS[alphabet], longest, strict=True):
        # Midway (geometrically) between one size for the face and one for the character: small letters stay
        # smaller, as in writing, but fill enough pixels to be read.
        side = _FINE * _TALLEST * math.sqrt(own / max(longest))
        maps.append(_distance_map(font.font_variant(size=size * side / own), char))
    return np.stack(maps)


def _ink_box(font: FreeTypeFont, char: str) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a character's ink, from its origin; FreeType's own box counts the advance too."""
    mask, (x, y) = font.getmask2(char, mode="L", anchor="ls")
    box = mask.getbbox()
    if box is None or bytes(mask) == bytes(font.getmask("\U0010ffff", mode="L")):
        face = " ".join(font.getname())
        raise FileNotFoundError(f"glyphs: {face} has no glyph for {char!r} (U+{ord(char):04X}); update matplotlib")
    return x + box[0], y + box[1], x + box[2], y + box[3]


def _distance_map(font: FreeTypeFont, char: str) -> np.ndarray:
    from PIL import Image, ImageDraw
    from scipy.ndimage import distance_transform_edt

    canvas = _FINE * _SIDE
    left, top, right, bottom = _ink_box(font, char)
    image = Image.new("L", (canvas, canvas))
    corner = ((canvas - left - right) / 2, (canvas - top - bottom) / 2)
    ImageDraw.Draw(image).text(corner, char, fill=255, font=font, anchor="ls")
    ink = np.asarray(image) > 127
    distance = (distance_transform_edt(ink) - distance_transform_edt(~ink)) / _FINE
    step = _FINE // _GRID
    coarse = distance.reshape(canvas // step, step, canvas // step, step).mean((1, 3))
    return coarse.clip(-_REACH, _REACH).astype(np.float32)


def _draw(maps: Tensor, which: Tensor, distortion: float, noise: float, generator: torch.Generator) -> Tensor:
    """Image number i from distance map which[i]: (n, 1, 28, 28)."""
    inverse, bumps, weight = _random_warps(len(which), distortion, generator)
    field = _elastic_basis(which.device)
    grid = torch.nn.functional.affine_grid(
        torch.eye(2, 3, device=which.device)[None], [1, 1, _SIDE, _SIDE], align_corners=False
    ).view(-1, 2)
    images = torch.empty(len(which), 1, _SIDE, _SIDE, device=which.device)
    for start in range(0, len(which), _CHUNK):
        rows = slice(start, start + _CHUNK)
        linear, shift = inverse[rows, :, :2], inverse[rows, :, 2]
        points = grid @ linear.mT + shift[:, None] + (bumps[rows] @ field).mT
        depth = torch.nn.functional.grid_sample(
            maps[which[rows], None], points.view(-1, _SIDE, _SIDE, 2), padding_mode="border", align_corners=False
        )
        # The map is in pixels of the undistorted glyph: a glyph drawn larger has its distances scaled up.
        scale = linear.det().abs().rsqrt()
        images[rows] = (0.5 + depth * scale[:, None, None, None] + weight[rows, None, None, None]).clamp(0, 1)
    if noise:
        for part in images.split(_CHUNK):
            part.add_(torch.randn(part.shape, generator=generator, device=part.device), alpha=noise).clamp_(0, 1)
    return images


def _random_warps(count: int, distortion: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """For each image: the map from its points to the glyph's (count, 2, 3), bumps (count, 2, 16), stroke weight.

    Coordinates run from −1 to 1 over the image, as grid_sample counts.
    """
    device = generator.device
    pixel = 2 / _SIDE
    turn, slant, wide, tall, right, down, weight = (
        2 * torch.rand(7, count, generator=generator, device=device) - 1
    ) * distortion
    angle = turn * math.radians(15)
    cos, sin = angle.cos(), angle.sin()
    wide, tall = (-0.15 * wide).exp(), (-0.15 * tall).exp()
    slant = 0.25 * slant
    # (stretch)(slant)(turn), applied to a point of the image; the shift comes before all three.
    linear = torch.stack([wide * (cos - slant * sin), wide * (sin + slant * cos), -tall * sin, tall * cos], dim=1).view(
        -1, 2, 2
    )
    shift = linear @ (1.5 * pixel * torch.stack([right, down], dim=1))[..., None]
    bumps = torch.randn(count, 2, _KNOTS**2, generator=generator, device=device) * (0.7 * pixel * distortion)
    return torch.cat([linear, shift], dim=2), bumps, 0.3 * weight + 0.15 * distortion


def _elastic_basis(device: torch.device) -> Tensor:
    """Smooth bumps on a grid, one a row, with mean square 1 over the draws at every pixel: (16, 784)."""
    knots = (2 * torch.arange(_KNOTS, device=device) + 1) / _KNOTS - 1
    pixels = (2 * torch.arange(_SIDE, device=device) + 1) / _SIDE - 1
    bumps = torch.exp(-0.5 * ((pixels - knots[:, None]) * _KNOTS / 2 / 0.8) ** 2)
    bumps = bumps / bumps.square().sum(0).sqrt()
    return torch.einsum("ay,bx->abyx", bumps, bumps).reshape(_KNOTS**2, _SIDE**2)
