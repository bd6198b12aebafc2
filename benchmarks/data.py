"""How fast the glyphs are drawn, against a loop that draws and bends one image at a time.

The peer is what one writes first: for each image Pillow draws the character, a field of blurred noise and a
random affine map (Simard, Platt & Steinkraus 2003) are added up, and SciPy samples the picture there. Both use
one thread, the same sizes, faces and characters, and both have their fonts loaded before the clock starts.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, map_coordinates

from benchmarks.timing import Row, at_least, at_most, barred, compare, one_thread, quick, timed
from labsupport import data

__all__ = ["rows"]

SIDE = 28


def rows() -> Iterator[Row]:
    with one_thread():
        yield from drawing()


@barred({
    "glyphs: seconds for 60,000 digits of 28×28": at_most(10, "s"),
    "glyphs: 2,000 digits": at_least(4),
})  # fmt: skip
def drawing() -> Iterator[Row]:
    if not quick():
        yield timed("glyphs: seconds for 60,000 digits of 28×28", lambda: ours(60_000), rounds=3)
    fonts = [load(face) for face in data.faces("digits")]
    yield compare("glyphs: 2,000 digits", lambda: ours(2_000), lambda: loop(fonts, 2_000),
                  peer_name="Pillow + SciPy, one by one", rounds=5)  # fmt: skip


def ours(number: int) -> None:
    data.glyphs("digits", sizes=(number - 2, 1, 1), generator=torch.Generator().manual_seed(0))


def load(face: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(data.font_file(face), 27, layout_engine=ImageFont.Layout.BASIC)


def loop(fonts: list[ImageFont.FreeTypeFont], number: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    images = np.empty((number, SIDE, SIDE), dtype=np.float32)
    pixels = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")).astype(float)
    for image in images:
        image[:] = bend(draw(fonts[rng.integers(len(fonts))], str(rng.integers(10))), pixels, rng)
        np.clip(image + 0.05 * rng.standard_normal(image.shape), 0, 1, out=image)
    return images


def draw(font: ImageFont.FreeTypeFont, char: str) -> np.ndarray:
    canvas = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(canvas).text((SIDE / 2, SIDE / 2), char, fill=255, font=font, anchor="mm")
    return np.asarray(canvas, dtype=np.float32) / 255


def bend(image: np.ndarray, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    angle, slant, wide, tall, right, down = rng.uniform(-1, 1, 6)
    cos, sin = math.cos(math.radians(15) * angle), math.sin(math.radians(15) * angle)
    warp = np.diag(np.exp([0.15 * tall, 0.15 * wide])) @ [[1, 0], [0.25 * slant, 1]] @ [[cos, -sin], [sin, cos]]
    field = 14 * np.stack([gaussian_filter(rng.uniform(-1, 1, (SIDE, SIDE)), 4, mode="constant") for _ in range(2)])
    middle = (SIDE - 1) / 2
    points = np.tensordot(warp, pixels - middle + 2 * np.array([down, right])[:, None, None], 1) + middle + field
    return map_coordinates(image, points, order=1)
