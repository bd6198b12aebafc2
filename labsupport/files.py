"""Tensors on disk: safetensors, written beside and moved into place, so that a file is whole or absent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["UNREADABLE", "beside", "check_place", "read", "write"]

NOTE = "note"
UNREADABLE = (OSError, SafetensorError, json.JSONDecodeError)  # what `read` raises


def write(path: Path, tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    """Write tensors and a note of JSON values, atomically: a kill at any moment leaves the old file or the new.

    Args:
        path: its folder is made where there is none.
        tensors: name -> tensor on any device, of any shape.
        note: name -> what JSON can hold.
    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = beside(path)
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    save_file(whole, part, metadata={NOTE: json.dumps(note, sort_keys=True)})
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors of a file, on the CPU, and its note; None where it has none.

    Raises:
        OSError: it cannot be read; or another of `UNREADABLE`, where it is no such file.
    """
    with safe_open(path, "pt") as file:
        note = json.loads((file.metadata() or {}).get(NOTE, "null"))
        return {name: file.get_tensor(name) for name in file.keys()}, note  # noqa: SIM118 (not a dict)


def beside(path: Path) -> Path:
    """Where a file is written before it is whole."""
    return path.with_name(f"{path.name}.part")


def check_place(where: str, name: str, path: str | Path) -> None:
    """Raise ValueError unless a file can be written there; its folder is made where there is none."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        beside(Path(path)).touch()
        beside(Path(path)).unlink()
    except (OSError, TypeError, ValueError) as problem:
        raise ValueError(f"{where}: {name} must be a path that can be written, got {path!r} ({problem})") from problem
