"""`python -m labsupport`: one line each, what to do where something is wrong, exit status 1 then."""

import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from labsupport import __main__ as doctor

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, unpacked: the package as people have it who never saw the repository."""
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("wheel")
    built = next(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"]))
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def _ask(folder, *, package=None):
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(package or ROOT))
    done = subprocess.run([sys.executable, "-m", "labsupport"], cwd=folder, env=env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.splitlines()


PINNED = doctor.read_pins(ROOT / "constraints.txt")["torch"] == version("torch").split("+")[0]
pinned = pytest.mark.skipif(not PINNED, reason="other versions are tried")


@pinned
def test_all_is_well_here():
    code, lines = _ask(ROOT)
    assert (code, lines[-1]) == (0, "all is well")
    assert all(line.startswith("ok  ") for line in lines[:-1])
    subjects = [line.split()[1] for line in lines[:-1]]
    assert {"python", "torch", "jupyterlab", "device", "threads", "compiler", "fonts", "writing"} <= set(subjects)
    assert len(subjects) == len(set(subjects))


@pinned
def test_a_wrong_version_outside_the_repository(wheel, tmp_path):
    pins = wheel / "labsupport" / "constraints.txt"
    right = pins.read_text(encoding="utf-8")
    wanted = doctor.read_pins(pins)["ipywidgets"]
    pins.write_text(right.replace(f"ipywidgets=={wanted}", "ipywidgets==7.0.0"), encoding="utf-8")
    try:
        code, lines = _ask(tmp_path, package=wheel)
    finally:
        pins.write_text(right, encoding="utf-8")
    wrong = [line for line in lines if line.startswith("!!")]
    assert code == 1
    assert wrong == [
        f"!!  ipywidgets     is {wanted}, the stored outputs were made with 7.0.0: "
        f'run {sys.executable} -m pip install "ipywidgets==7.0.0"'
    ]
    assert lines[-1] == "1 to mend: see the lines marked !!"


def test_the_wheel_carries_the_constraints(wheel):
    assert (wheel / "labsupport" / "constraints.txt").read_bytes() == (ROOT / "constraints.txt").read_bytes()


def test_versions_missing_local_and_wrong(monkeypatch):
    installed = {"torch": "2.13.0+cpu", "numpy": "1.0"}

    def version(name):
        if name not in installed:
            raise doctor.importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    monkeypatch.setattr(doctor, "_needed", lambda: ["torch", "numpy", "scikit_learn"])
    torch, numpy, sklearn = doctor.check_versions({"torch": "2.13.0", "numpy": "2.4.6", "scikit-learn": "1.9.1"})
    assert torch.fine
    assert not numpy.fine
    assert numpy.remedy.endswith('-m pip install "numpy==2.4.6"')
    assert (sklearn.fine, sklearn.found) == (False, "is not installed")
    assert sklearn.remedy.endswith('-m pip install "scikit_learn==1.9.1"')


def test_a_course_not_installed(monkeypatch):
    monkeypatch.setattr(doctor, "_needed", list)
    (finding,) = doctor.check_versions({})
    assert not finding.fine
    assert "make lab" in finding.remedy


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 4, "final", 0))
    finding = doctor.check_python()
    assert not finding.fine
    assert finding.found.startswith("3.10.4")
    assert "3.11" in finding.remedy


def test_no_writing(tmp_path):
    finding = doctor.check_writing([tmp_path / "nowhere"])
    assert not finding.fine
    assert "nowhere" in finding.found


def test_little_space(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: _Usage)
    finding = doctor.check_writing([tmp_path])
    assert not finding.fine
    assert "only 3 MB are free" in finding.found


class _Usage:
    free = 3 * 2**20


def test_missing_fonts(monkeypatch, tmp_path):
    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: Spec)
    finding = doctor.check_fonts()
    assert not finding.fine
    assert finding.remedy.endswith("matplotlib")


def test_a_broken_torch_is_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not doctor.check_device().fine
    assert not doctor.check_threads().fine


def test_no_compiler_is_said_but_nothing_wrong(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    finding = doctor.check_compiler()
    assert finding.fine
    assert "install a C++ compiler" in finding.found


def test_no_constraints(monkeypatch, tmp_path, capsys):
    with pytest.raises(ValueError, match="read_pins: path must be a constraints file"):
        doctor.read_pins(tmp_path / "none.txt")
    monkeypatch.setattr(doctor, "HERE", tmp_path / "labsupport")
    assert doctor.main() == 1
    assert "!!  constraints    constraints.txt is missing" in capsys.readouterr().out


def test_the_pins_cover_what_the_course_needs():
    pins = doctor.read_pins(ROOT / "constraints.txt")
    assert {doctor._normal(name) for name in doctor._needed()} <= set(pins)
    assert pins["torch"] == "2.13.0"
