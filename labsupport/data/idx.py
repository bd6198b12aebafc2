"""MNIST from its own IDX files, plain or gzipped, checked byte for byte; fetched only when told to."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import math
import os
import tempfile
import urllib.request
import zlib
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from labsupport.data.splits import Split
from labsupport.values import check_choice, check_count

__all__ = ["MNIST_MIRROR", "mnist", "read_idx"]

MNIST_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
"""Where `mnist` fetches from unless told otherwise: the mirror that torchvision names first."""

# name: (number of dimensions, MD5 of the .gz file as distributed, MD5 of its content)
_FILES = {
    "train-images-idx3-ubyte": (3, "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (1, "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (3, "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (1, "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
}
_BLOCK = 1 << 16  # bytes fetched at once
_TIMEOUT = 30.0  # seconds without an answer


def mnist(
    root: str | os.PathLike, *, num_valid: int = 10_000, download: bool = False, mirror: str = MNIST_MIRROR
) -> Split:
    """MNIST's 70,000 handwritten digits from four IDX files in the folder `root`.

    A file may be plain (train-images-idx3-ubyte, read first) or gzipped (….gz). Magic number, sizes and MD5 of
    the content are checked. Nothing is unpickled, ever.

    Args:
        root: folder of the four files, such as torchvision's MNIST/raw.
        num_valid: the last so many of the 60,000 training images become the valid part; >= 1.
        download: fetch missing files (11.6 MB in all) into `root`; a file that is there is never replaced.
        mirror: http(s) address of a folder that holds the four .gz files.
    Returns:
        A Split on the CPU with x of shape (n, 1, 28, 28), float32, 0 (paper) to 1 (ink).
    Raises:
        FileNotFoundError: a file is missing and download is False.
        ValueError: a file is truncated or corrupt, or a bound above is broken.
        OSError: the mirror cannot be read, or `root` cannot be written.
    Source: LeCun, Bottou, Bengio & Haffner 1998.
    """
    root = Path(root)
    num_valid = check_count("mnist", "num_valid", num_valid)
    check_choice("mnist", "download", download, (True, False))
    if not isinstance(mirror, str) or not mirror.startswith(("http://", "https://")):
        raise ValueError(f"mnist: mirror must be an http or https address, got {mirror!r}")
    paths = [_find(root, name, download, mirror) for name in _FILES]
    images, labels, test_images, test_labels = (
        _read_checked(path, dims, md5) for path, (dims, _, md5) in zip(paths, _FILES.values(), strict=True)
    )
    for pixels, classes, path in ((images, labels, paths[0]), (test_images, test_labels, paths[2])):
        if len(pixels) != len(classes):
            raise ValueError(f"mnist: {path} must hold {len(classes)} images, one for each label, got {len(pixels)}")
    if num_valid >= len(images):
        raise ValueError(f"mnist: num_valid must be <= {len(images) - 1}, got {num_valid}")
    x, y = _scale(images), labels.long()
    train, valid = (x[:-num_valid], y[:-num_valid]), (x[-num_valid:], y[-num_valid:])
    return Split(train, valid, (_scale(test_images), test_labels.long()), class_names=tuple("0123456789"))


def read_idx(path: str | os.PathLike) -> Tensor:
    """Any IDX file of unsigned bytes, plain or (where its name ends in .gz) gzipped, as a uint8 tensor.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no such IDX file, or is truncated, too long, or broken gzip.
    Source: the format as described on MNIST's home page: two zero bytes, type 8, the number of dimensions, each
        dimension as a big-endian 32-bit integer, the bytes.
    """
    return _parse(_content(Path(path)), Path(path))


def _scale(images: Tensor) -> Tensor:
    return images[:, None].float().div_(255)


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"read_idx: {path} is truncated or corrupt ({error}); delete it and fetch it again") from None


def _parse(content: bytes, path: Path) -> Tensor:
    again = "delete it and fetch it again"
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or content[3] < 1:
        magic = content[:4].hex(" ") or "nothing"
        raise ValueError(f"read_idx: {path} must begin with 00 00 08 and a number of dimensions, got {magic}; {again}")
    start = 4 + 4 * content[3]
    sizes = [int.from_bytes(content[place : place + 4], "big") for place in range(4, start, 4)]
    count = math.prod(sizes)
    if len(content) != start + count:
        what = "truncated" if len(content) < start + count else "too long"
        raise ValueError(f"read_idx: {path} is {what}: {start + count} bytes announced, got {len(content)}; {again}")
    if count == 0:
        return torch.empty(sizes, dtype=torch.uint8)
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).view(sizes)


def _read_checked(path: Path, dims: int, md5: str) -> Tensor:
    content = _content(path)
    tensor = _parse(content, path)
    found = _md5(content)
    if tensor.ndim != dims:
        raise ValueError(f"mnist: {path} must have {dims} dimensions, got {tensor.ndim}; is it another file renamed?")
    if found != md5:
        raise ValueError(
            f"mnist: {path} is corrupt or not MNIST: MD5 of its content must be {md5}, got {found}; "
            "delete it and fetch it again (download=True)"
        )
    return tensor


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _find(root: Path, name: str, download: bool, mirror: str) -> Path:
    plain, zipped = root / name, root / f"{name}.gz"
    for path in (plain, zipped):
        if path.is_file():
            return path
    if not download:
        raise FileNotFoundError(
            f"mnist: {plain} and {zipped.name} are missing; put one of them there, or call mnist with download=True"
        )
    root.mkdir(parents=True, exist_ok=True)
    _fetch(mirror.rstrip("/") + f"/{zipped.name}", zipped, _FILES[name][1])
    return zipped


def _fetch(url: str, path: Path, md5: str) -> None:
    """Fetch into a temporary file beside `path`, check, then rename: `path` is whole or not there."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            content = _receive(url, path.name)
            if _md5(content) != md5:
                raise ValueError(
                    f"mnist: {url} is truncated or corrupt: MD5 must be {md5}, got {_md5(content)} "
                    f"({len(content)} bytes); try again, or name another mirror"
                )
            file.write(content)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _receive(url: str, label: str) -> bytes:
    content = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            size = int(answer.headers.get("Content-Length") or 0) or None
            with tqdm(total=size, desc=label, unit="B", unit_scale=True, leave=False) as bar:
                while block := answer.read(_BLOCK):
                    content += block
                    bar.update(len(block))
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise OSError(f"mnist: cannot fetch {url}: {reason}; check the network, or name another mirror") from None
    return bytes(content)
