"""Checks of the exercises that belong to page `search_spaces`."""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import pad

from labsupport.checks.draws import whole
from labsupport.checks.frame import check

__all__ = ["count_distinct", "join_pictures", "same_padding"]

NAMES = ("identity", "3x3 max", "3x3 convolution")


def _halves(block: tuple) -> list[tuple]:
    inputs, operations, _ = block
    return sorted(zip(inputs, operations, strict=True))


def _distinct(blocks: list[tuple]) -> int:
    return len({(tuple(_halves(block)), block[2]) for block in blocks})


def _blocks(generator: torch.Generator) -> dict[str, tuple]:
    drawn = []
    for _ in range(30):
        inputs = (whole(generator, 0, 1), whole(generator, 0, 1))
        operations = (NAMES[whole(generator, 0, 2)], NAMES[whole(generator, 0, 2)])
        drawn.append((inputs, operations, ("add", "concat")[whole(generator, 0, 1)]))
    a, b, c = NAMES
    turned = [((0, 1), (a, b), "add"), ((1, 0), (b, a), "add")]
    crossed = [((0, 1), (a, b), "add"), ((1, 0), (a, b), "add"), ((0, 1), (a, b), "concat")]
    equal = [((0, 0), (a, a), "add"), ((0, 0), (a, c), "add"), ((0, 0), (c, a), "add")]
    every = product(product((0, 1), repeat=2), product(NAMES, repeat=2), ("add", "concat"))
    return {"one cell written twice": (turned,), "": (crossed,), "a block of equal halves": (equal,),
            "drawn blocks": (drawn,), "every block": (list(every),)}  # fmt: skip


@check(
    truth=_distinct,
    given=_blocks,
    wrong={
        "counts codes": (lambda blocks: len(set(blocks)),
            "Two codes whose halves are swapped are one cell, and you count it twice."),
        "counts the list": (lambda blocks: len(blocks),
            "A code may stand in the list more than once; and swapped halves are the same cell too."),
        "half of the codes": (lambda blocks: len(set(blocks)) // 2,
            "Not every cell has two codes: with equal halves, or where the list lacks the other one, there is one."),
        "sorts each part on its own": (
            lambda blocks: len({(tuple(sorted(inputs)), tuple(sorted(names)), join) for inputs, names, join in blocks}),
            "An operation belongs to the state that it reads. Sort the pairs, not inputs and operations apart."),
        "forgets the join": (lambda blocks: len({tuple(_halves(block)) for block in blocks}),
            "To add is not to concatenate: blocks that differ in their join are different cells."),
        "only the operations": (lambda blocks: len({(tuple(sorted(o)), j) for _, o, j in blocks}),
            "It matters which state an operation reads."),
    },
)  # fmt: skip
def count_distinct(answer: Callable, generator: torch.Generator) -> str | None:
    """`count_distinct(blocks)`: how many cells of one block a list of codes holds, swapped halves being the same."""


def _sides(pictures: list[Tensor]) -> tuple[int, int]:
    return max(each.shape[2] for each in pictures), max(each.shape[3] for each in pictures)


def _joined(pictures: list[Tensor]) -> Tensor:
    height, width = _sides(pictures)
    return torch.cat([pad(each, (0, width - each.shape[3], 0, height - each.shape[2])) for each in pictures], 1)


def _other_axis(pictures: list[Tensor]) -> Tensor:
    height, width = _sides(pictures)
    return torch.cat([pad(each, (0, height - each.shape[2], 0, width - each.shape[3])) for each in pictures], 1)


def _in_front(pictures: list[Tensor]) -> Tensor:
    height, width = _sides(pictures)
    return torch.cat([pad(each, (width - each.shape[3], 0, height - each.shape[2], 0)) for each in pictures], 1)


def _cut(pictures: list[Tensor]) -> Tensor:
    height, width = (min(each.shape[axis] for each in pictures) for axis in (2, 3))
    return torch.cat([each[:, :, :height, :width] for each in pictures], 1)


def _stretched(pictures: list[Tensor]) -> Tensor:
    size = _sides(pictures)
    return torch.cat([torch.nn.functional.interpolate(each, size=size) for each in pictures], 1)


def _in_the_batch(pictures: list[Tensor]) -> Tensor:
    height, width = _sides(pictures)
    return torch.cat([pad(each, (0, width - each.shape[3], 0, height - each.shape[2])) for each in pictures], 0)


def _with_ones(pictures: list[Tensor]) -> Tensor:
    height, width = _sides(pictures)
    return torch.cat(
        [pad(each, (0, width - each.shape[3], 0, height - each.shape[2]), value=1.0) for each in pictures], 1
    )


def _pictures(generator: torch.Generator) -> dict[str, tuple]:
    def picture(height: int, width: int) -> Tensor:
        return torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64) + 0.5

    return {
        "pictures of 3×5 and 3×5 pixels": ([picture(3, 5), picture(3, 5)],),
        "pictures of 4×6 and 2×3 pixels": ([picture(4, 6), picture(2, 3)],),
        "pictures of 4×2 and 2×3 pixels": ([picture(4, 2), picture(2, 3)],),
        "three pictures": ([picture(1, 2), picture(5, 3), picture(2, 6)],),
    }


@check(
    truth=_joined,
    given=_pictures,
    wrong={
        "the wrong axis": (_other_axis,
            "Height and width are exchanged: pad counts from the last axis, so its first pair is that of the width."),
        "zeros in front": (_in_front,
            "The zeros go below and at the right, so that the first pixel stays the first."),
        "cut to the smallest": (_cut, "That throws pixels away. Fill the smaller pictures up to the largest."),
        "stretched": (_stretched,
            "That stretches the smaller picture. Its pixels stay as they are, with zeros behind."),
        "one after the other": (_in_the_batch, "The channels are to stand side by side, axis 1, not the examples."),
        "filled with ones": (_with_ones, "What is filled in is zero."),
    },
)  # fmt: skip
def join_pictures(answer: Callable, generator: torch.Generator) -> str | None:
    """`join_pictures(pictures)`: (n, channels, height, width) each, concatenated in the channels, zeros behind."""


def _padding(kernel: int, dilation: int) -> tuple[int, int]:
    zeros = dilation * (kernel - 1)
    return zeros // 2, zeros - zeros // 2


def _kernels(generator: torch.Generator) -> list[tuple]:
    return [(5, 1), (3, 2), (4, 1), (2, 2), (2, 1), (1, 1), (4, 3), (2 * whole(generator, 3, 6) + 1, 3)]


@check(
    truth=_padding,
    given=_kernels,
    returns="the zeros before and behind",
    wrong={
        "half a kernel on each side": (lambda kernel, dilation: (kernel // 2, kernel // 2),
            "A kernel reaches over d (k − 1) + 1 pixels, of which one is the pixel itself."),
        "half a reach on each side": (lambda kernel, dilation: (dilation * (kernel - 1) // 2,) * 2,
            "When d (k − 1) is odd, one zero is left over: two equal sides lose a pixel of the picture."),
        "dilation forgotten": (lambda kernel, dilation: ((kernel - 1) // 2, kernel - 1 - (kernel - 1) // 2),
            "Dilation spreads the kernel: it reaches over d (k − 1) + 1 pixels."),
        "one more before": (lambda kernel, dilation: _padding(kernel, dilation)[::-1],
            "The zero that is left over goes behind."),
        "all of them behind": (lambda kernel, dilation: (0, dilation * (kernel - 1)),
            "That keeps the size and shifts the picture. Put half of the zeros before it."),
        "one too many": (lambda kernel, dilation: (dilation * kernel // 2, dilation * kernel - dilation * kernel // 2),
            "The picture would grow. A kernel of side 1 needs no zeros at all."),
    },
)  # fmt: skip
def same_padding(answer: Callable, generator: torch.Generator) -> str | None:
    """`same_padding(kernel, dilation)`: zeros before and behind a row of pixels that keep its length, stride 1."""
