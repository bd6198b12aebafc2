"""The doctor: `python -m labsupport` says in one line each whether this installation can run the course.

A line starts with `ok` or with `!!`; after `!!` stand what is wrong and what to do about it, and the exit
status is 1. It compares the installed versions with constraints.txt, the versions that the stored outputs were
made with; the file travels with the package, so the doctor works anywhere.
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "Finding",
    "check_compiler",
    "check_device",
    "check_fonts",
    "check_python",
    "check_threads",
    "check_versions",
    "check_writing",
    "findings",
    "main",
    "read_pins",
]

HERE = Path(__file__).resolve().parent
LOWEST_PYTHON = (3, 11)
FREE_MEGABYTES = 500


class Finding(NamedTuple):
    """One line of the report: whether all is well, what was looked at, what was found, what to do if it is not well."""

    fine: bool
    subject: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f": {self.remedy}" if self.remedy else ""
        return f"{'ok' if self.fine else '!!'}  {self.subject:<14} {self.found}{remedy}"


def read_pins(path: Path | None = None) -> dict[str, str]:
    """The pinned version of each package, by its normalized name.

    Args:
        path: a constraints file; by default the one inside the installed package, else the repository's.
    Raises:
        ValueError: there is none.
    """
    places = [path] if path else [HERE / "constraints.txt", HERE.parent / "constraints.txt"]
    for place in places:
        if place.is_file():
            lines = place.read_text(encoding="utf-8").splitlines()
            pairs = (line.split("#")[0].strip().split("==") for line in lines if "==" in line.split("#")[0])
            return {_normal(name): version.strip() for name, version in pairs}
    raise ValueError(f"read_pins: path must be a constraints file, got {places[0]}")


def check_python() -> Finding:
    """The Python that runs this."""
    version = ".".join(map(str, sys.version_info[:3]))
    fine = sys.version_info >= LOWEST_PYTHON
    return Finding(
        fine,
        "python",
        f"{version} ({sys.executable})",
        "" if fine else "install Python 3.11 or newer, delete .venv, and run `make lab` again",
    )


def check_versions(pins: dict[str, str]) -> Iterator[Finding]:
    """Each package that the course and its reading extra need, installed against pinned."""
    install = f"{_quote(sys.executable)} -m pip install"
    needed = _needed()
    if not needed:
        yield Finding(
            False,
            "labsupport",
            "is not installed in this Python",
            "run `make lab` in the course's folder and use the Python in its .venv",
        )
    for name in needed:
        wanted = pins.get(_normal(name))
        try:
            found = importlib.metadata.version(name).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            yield Finding(False, name, "is not installed", f'run {install} "{name}{f"=={wanted}" if wanted else ""}"')
            continue
        if wanted is None or found == wanted:
            yield Finding(True, name, found)
        else:
            yield Finding(
                False,
                name,
                f"is {found}, the stored outputs were made with {wanted}",
                f'run {install} "{name}=={wanted}"',
            )


def check_device() -> Finding:
    """The fastest device torch sees, tried with one product."""
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways; each is a finding
        return Finding(
            False,
            "device",
            f"torch cannot be imported ({_one_line(error)})",
            "install it again as the line on torch says",
        )
    name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    label = f"{name} ({torch.cuda.get_device_name()})" if name == "cuda" else name
    try:
        torch.ones(2, 2, device=name).matmul(torch.ones(2, 2, device=name)).sum().item()
    except RuntimeError as error:
        return Finding(
            False,
            "device",
            f"{label} fails ({_one_line(error)})",
            "the pages run on the CPU all the same; to use the device, update its driver",
        )
    return Finding(True, "device", label)


def check_threads() -> Finding:
    """Threads per operation; nets this small run fastest with one."""
    try:
        import torch
    except Exception:  # said by the line on the device
        return Finding(False, "threads", "unknown without torch", "install torch as its line says")
    count = torch.get_num_threads()
    note = "" if count == 1 else " (nets this small are faster with one: set OMP_NUM_THREADS=1, as `make lab` does)"
    return Finding(True, "threads", f"{count} of {os.cpu_count()} cores{note}")


def check_compiler() -> Finding:
    """A C++ compiler, which torch.compile needs; without one the course runs eagerly."""
    names = [os.environ.get("CXX", ""), "g++", "clang++", "cl"]
    found = next((shutil.which(name) for name in names if name and shutil.which(name)), None)
    none = (
        "none, so everything runs, but large populations slower; to mend that install a C++ compiler "
        "(Debian: apt install g++; macOS: xcode-select --install)"
    )
    return Finding(True, "compiler", found or none)


def check_fonts() -> Finding:
    """The fonts that `data.glyphs` draws with: matplotlib's own, through Pillow."""
    spec = importlib.util.find_spec("matplotlib")
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" if spec and spec.origin else None
    fonts = sorted(folder.glob("*.ttf")) if folder else []
    again = f"run {_quote(sys.executable)} -m pip install --force-reinstall --no-deps"
    if not any(font.name == "DejaVuSans.ttf" for font in fonts):
        return Finding(False, "fonts", "matplotlib's fonts are missing", f"{again} matplotlib")
    try:
        from PIL import ImageFont

        ImageFont.truetype(str(folder / "DejaVuSans.ttf"), 20, layout_engine=ImageFont.Layout.BASIC)
    except (ImportError, OSError) as error:
        return Finding(False, "fonts", f"Pillow cannot read them ({_one_line(error)})", f"{again} pillow")
    return Finding(True, "fonts", f"{len(fonts)} faces with matplotlib")


def check_writing(folders: list[Path] | None = None) -> Finding:
    """Whether files can be written, and some space is left: here, in the temporary folder and in the home folder."""
    for folder in folders or [Path.cwd(), Path(tempfile.gettempdir()), Path.home()]:
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            return Finding(
                False,
                "writing",
                f"cannot write in {folder} ({error.strerror})",
                "start the course from a folder of your own, or mend its permissions",
            )
        free = shutil.disk_usage(folder).free // 2**20
        if free < FREE_MEGABYTES:
            return Finding(
                False, "writing", f"only {free} MB are free in {folder}", f"free some: {FREE_MEGABYTES} MB are wanted"
            )
    return Finding(True, "writing", "here, in the temporary folder and in the home folder")


def findings() -> Iterator[Finding]:
    """Everything the doctor looks at, in the order of its report."""
    yield check_python()
    try:
        pins = read_pins()
    except ValueError:
        yield Finding(
            False,
            "constraints",
            "constraints.txt is missing",
            "install the course again; until then no version can be judged",
        )
        pins = {}
    yield from check_versions(pins)
    yield from (check_device(), check_threads(), check_compiler(), check_fonts(), check_writing())


def main() -> int:
    """Prints the report; 1 if something is wrong."""
    wrong = 0
    for finding in findings():
        print(finding, flush=True)
        wrong += not finding.fine
    print(f"{wrong} to mend: see the lines marked !!" if wrong else "all is well")
    return int(wrong > 0)


def _needed() -> list[str]:
    """What the course itself and its extra `lab` ask for by name; nothing where the course is not installed."""
    try:
        lines = importlib.metadata.requires("adaptive-training") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    names = []
    for line in lines:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        if extra is None or extra[1] == "lab":
            names.append(re.match(r"[A-Za-z0-9._-]+", requirement.strip())[0])
    return names


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _quote(path: str) -> str:
    return f'"{path}"' if " " in path else path


if __name__ == "__main__":
    sys.exit(main())
