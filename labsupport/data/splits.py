"""What every data set of the course is: a `Split`; `standardized`, with inputs of mean 0; and `batches`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from labsupport.values import check_choice, check_count, check_generator, check_number, holds, is_finite

__all__ = ["Split", "batches", "standardized"]

Pair = tuple[Tensor, Tensor]
PARTS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """A data set in three parts.

    Attributes:
        train, valid, test: pairs (x, y). x has shape (n, …) with the same … in all parts, y shape (n,)
            or (n, …) for regression. Each part has n >= 1; all parts share device and dtypes.
        class_names: name of class k at place k, no two the same; empty for regression.
    Raises:
        ValueError: the parts do not fit each other, or a label names no class.
    """

    train: Pair
    valid: Pair
    test: Pair
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", check_names(self.class_names))
        for name, pair in self._parts():
            check_pair(f"Split: {name}", pair)
            object.__setattr__(self, name, tuple(pair))
            for a, b, which in zip(pair, self.train, "xy", strict=True):
                if (a.shape[1:], a.dtype, a.device) != (b.shape[1:], b.dtype, b.device):
                    raise ValueError(f"Split: {which} of {name} must fit train's ({_kind(b)}), got {_kind(a)}")
        if self.class_names:
            self._check_labels()

    def _parts(self) -> tuple[tuple[str, Pair], ...]:
        return ("train", self.train), ("valid", self.valid), ("test", self.test)

    def _check_labels(self) -> None:
        num_classes = len(self.class_names)
        for name, (_, y) in self._parts():
            if y.dtype != torch.int64 or y.ndim != 1:
                raise ValueError(f"Split: y of {name} must be int64 of shape (n,) beside class_names, got {_kind(y)}")
            if not holds((y >= 0) & (y < num_classes)):
                worst = int(y.min() if y.min() < 0 else y.max())
                raise ValueError(f"Split: labels of {name} must be in 0 … {num_classes - 1}, got {worst}")

    def to(self, target: torch.device | torch.dtype | str) -> Split:
        """The same split on another device, or with its floating-point tensors in another dtype.

        Args:
            target: a device ("cuda", torch.device("cpu")) or a floating dtype (torch.float64); integers keep theirs.
        Raises:
            ValueError: it is neither.
        """
        return replace(self, **{name: moved("Split.to", target, pair) for name, pair in self._parts()})

    def flat(self) -> Split:
        """The same split with each x flattened to shape (n, features), as `models.mlp` wants it."""
        return replace(self, **{name: (x.reshape(len(x), -1), y) for name, (x, y) in self._parts()})

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for regression."""
        return len(self.class_names)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(x)}" for name, (x, _) in self._parts())
        classes = f", {self.num_classes} classes" if self.class_names else ""
        return f"Split({sizes}, x {_kind(self.train[0])[1:]}{classes})"


def _kind(tensor: Tensor) -> str:
    shape = "×".join(str(size) for size in tensor.shape[1:]) or "scalar"
    return f" {shape} {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"


def moved(where: str, target: torch.device | torch.dtype | str, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Tensors on another device, or those that are floating in another dtype.

    Raises:
        ValueError: the target is neither; `where` names the caller.
    """
    if not (target.is_floating_point if isinstance(target, torch.dtype) else _is_device(target)):
        raise ValueError(f"{where}: target must be a device or a floating-point dtype, got {target!r}")
    still = isinstance(target, torch.dtype)
    return tuple(value if still and not value.is_floating_point() else value.to(target) for value in tensors)


def _is_device(target: object) -> bool:
    try:
        return bool(isinstance(target, (str, int, torch.device)) and torch.device(target))
    except RuntimeError:
        return False


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """The class names as a tuple; ValueError unless they are different texts."""
    rule = "Split: class_names must be different texts, one for each class"
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"{rule}, got {names!r}")
    names = tuple(names)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"{rule}, got {names!r}")
    return names


def check_pair(where: str, pair: object) -> None:
    """Raise ValueError unless `pair` is (x, y), tensors of as many rows, at least one, on one device."""
    parts = pair if isinstance(pair, (tuple, list)) else ()
    if len(parts) != 2 or not all(isinstance(part, Tensor) for part in parts):
        held = f" of {', '.join(type(part).__name__ for part in parts)}" if parts else ""
        raise ValueError(f"{where} must be a pair (x, y) of tensors, got {type(pair).__name__}{held}")
    x, y = pair
    if x.ndim < 1 or y.ndim < 1 or len(x) != len(y) or len(x) < 1:
        shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise ValueError(f"{where} must have as many x as y, at least 1, got shapes {shapes}")
    if x.device != y.device:
        raise ValueError(f"{where} must have x and y on one device, got {x.device} and {y.device}")


def batches(x: Tensor, y: Tensor, batch_size: int, *, generator: torch.Generator) -> Iterator[Pair]:
    """One epoch of shuffled mini-batches: each example once, the last batch possibly shorter.

    The order is drawn when this is called, so two calls made before either is used do not disturb each other.

    Args:
        x, y: tensors of n >= 1 rows.
        batch_size: examples in a batch; >= 1. Larger than n gives one batch of n.
        generator: draws the order, on its own device.
    Returns:
        An iterator of pairs (x, y) on the inputs' device.
    """
    check_pair("batches: (x, y)", (x, y))
    size = check_count("batches", "batch_size", batch_size)
    check_generator("batches", generator)
    order = torch.randperm(len(x), generator=generator, device=generator.device).to(x.device)
    return ((x[rows], y[rows]) for rows in order.split(size))


def standardized(split: Split, *, scale: str | float = "all") -> Split:
    """The same split with inputs moved and scaled by what its *training* part says; targets stay.

    Args:
        split: x of shape (n, …), floating point. Each feature's mean over the training part is subtracted.
        scale: what is divided by then. "all": one number, the root mean square of all centred training features, so
            that features keep their proportions; "feature": each feature's own, where it varies; or a number > 0, of
            which 1 centres only.
    Returns:
        A Split of the same shapes, dtypes and device.
    Raises:
        ValueError: it is no Split, its x are integers, or nothing in them varies.
    """
    if not isinstance(split, Split) or not split.train[0].is_floating_point():
        got = f"x of {split.train[0].dtype}" if isinstance(split, Split) else type(split).__name__
        rule = "a Split with floating-point x (standardize before drawing partitions)"
        raise ValueError(f"standardized: split must be {rule}, got {got}")
    if isinstance(scale, str):
        check_choice("standardized", "scale", scale, ("all", "feature"))
    elif check_number("standardized", "scale", scale, low=0) == 0:
        raise ValueError("standardized: scale must be 'all', 'feature' or a number > 0, got 0")
    x = split.train[0]
    mean = x.mean(0)
    by = _scale(x, mean, scale) if isinstance(scale, str) else scale
    found = {name: ((x - mean) / by, y) for name, (x, y) in split._parts()}
    if not all(is_finite(x) for x, _ in found.values()):
        raise ValueError(
            f"standardized: split must have x that stay finite in {x.dtype}, got others by scale {scale!r}"
        )
    return replace(split, **found)


def _scale(x: Tensor, mean: Tensor, scale: str) -> Tensor:
    """The root mean square of what is centred, 1 for a feature that does not vary."""
    varies = (x.amax(0) > x.amin(0)) & is_finite(x)
    size = ((x - mean).square().mean(0) if scale == "feature" else (x - mean).square().mean()).sqrt()
    if not holds(varies.any()) or not holds(size.isfinite() & ((size > 0) | ~varies)):
        raise ValueError(f"standardized: split must have features that vary, by amounts that {x.dtype} can square")
    return torch.where(varies, size, 1.0) if scale == "feature" else size
