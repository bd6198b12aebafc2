"""Data for the whole course, none of it needing a network.

`digits`, `glyphs`, `mnist` and `monks` return a `Split`; `partitions` draws a sample of its own for each of many seeds;
`standardized` centres and scales inputs; `batches` cuts a pair of tensors into an epoch of mini-batches; `two_spirals`
returns points and labels; `quadratic`, `strict_saddle` and `linear_chain` are loss surfaces with known critical points.
"""

from labsupport.data.idx import MNIST_MIRROR, mnist, read_idx
from labsupport.data.letters import glyphs
from labsupport.data.samples import Partitions, Rows, partitions
from labsupport.data.scans import digits
from labsupport.data.scripts import ALPHABETS, faces, font_file
from labsupport.data.splits import Split, batches, standardized
from labsupport.data.toys import linear_chain, monks, quadratic, strict_saddle, two_spirals

__all__ = [
    "ALPHABETS",
    "MNIST_MIRROR",
    "Partitions",
    "Rows",
    "Split",
    "batches",
    "digits",
    "faces",
    "font_file",
    "glyphs",
    "linear_chain",
    "mnist",
    "monks",
    "partitions",
    "quadratic",
    "read_idx",
    "standardized",
    "strict_saddle",
    "two_spirals",
]
