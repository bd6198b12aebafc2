"""Who may import whom: the contracts of pyproject.toml, kept by the package and broken once each."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def linted(folder):
    code = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_package_keeps_its_floors():
    code, said = linted(ROOT)
    assert code == 0, said


BROKEN = {
    "imports go down BROKEN": ("data/idx.py", "from labsupport import population"),
    "imports have no circles BROKEN": ("schedules/schedule.py", "from labsupport.schedules import composing"),
    "rooms do not draw BROKEN": ("landscape/slices.py", "import matplotlib.pyplot"),
    "moduleless": ("newroom.py", "__all__ = []"),
}


@pytest.mark.parametrize("says", BROKEN)
def test_a_broken_contract_is_seen(tmp_path, says):
    ignored = shutil.ignore_patterns("__pycache__", "assets")
    shutil.copytree(ROOT / "labsupport", tmp_path / "labsupport", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file, line = BROKEN[says]
    with (tmp_path / "labsupport" / file).open("a", encoding="utf-8") as text:
        text.write(f"\n{line}\n")
    code, said = linted(tmp_path)
    assert code == 1 and (says if says.endswith("BROKEN") else "newroom") in said, said


def test_torch_s_compiler_is_imported_by_who_compiles():
    """It takes most of a second, in every notebook."""
    rooms = "checks, data, experiments, hypergradients, landscape, optimizers, plots, population, schedules, show"
    code = f"import sys; from labsupport import {rooms}; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
