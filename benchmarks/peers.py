"""Peers that live in a process of their own: one core for all who are timed in turn, and JAX in its own environment.

JAX's environment is made once, in `.peers/jax`, from pinned versions; options for pip can stand in PIP_ARGS. Whoever
has an interpreter with JAX, optax and scikit-learn already names it in JAX_PYTHON, and nothing is made:

    JAX_PYTHON=/somewhere/bin/python make bench TOPIC=population
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Missing", "jax", "jax_python", "one_core"]

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".peers" / "jax"
SCRIPT = Path(__file__).with_name("jax_population.py")
PINNED = ("jax==0.10.2", "optax==0.2.8")
AS_OURS = ("numpy", "scikit-learn")
HIGHEST_ERROR = 0.3  # a peer that does not learn is none


class Missing(Exception):
    """Why a peer cannot be had."""


@contextmanager
def one_core() -> Iterator[None]:
    """Keeps this process, and those it starts, on the last of its cores, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def jax_python() -> str:
    """The interpreter named in JAX_PYTHON, or that of `.peers/jax`, which is made where it is not there.

    Raises:
        Missing: it cannot be made, or lacks something.
    """
    python = os.environ.get("JAX_PYTHON", "")
    if not python:
        python = str(FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
        wanted, stamp = _wanted(), FOLDER / "pins.txt"
        if not stamp.exists() or stamp.read_text(encoding="utf-8").split() != wanted:
            print(f"  JAX gets an environment of its own, once: {' '.join(wanted)} into {'/'.join(FOLDER.parts[-2:])}",
                  file=sys.stderr, flush=True)
            _must(sys.executable, "-m", "venv", "--clear", str(FOLDER))
            _must(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted,
                  *shlex.split(os.environ.get("PIP_ARGS", ""), posix=os.name != "nt"))
            stamp.write_text("\n".join(wanted) + "\n", encoding="utf-8")
    _must(python, "-I", "-c", "import jax, optax, sklearn")
    return python


@contextmanager
def jax(python: str, job: dict) -> Iterator[tuple[str, Callable[[], float]]]:
    """JAX in a process of its own, with one thread and no stored kernels: its name, and a callable that does the job.

    The callable returns the seconds that process found; the first are those of a cold start. Whatever core this process
    is kept on, that one is too; it sleeps while it is not asked.

    Args:
        python: from `jax_python`.
        job: what `jax_population.py` is told.
    Raises:
        RuntimeError: the process ends, or its networks do not learn.
    """
    kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    alone = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false", "OMP_NUM_THREADS": "1", "NPROC": "1",
             "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    with subprocess.Popen([python, "-I", str(SCRIPT), json.dumps(job)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True, env=kept | alone, cwd=ROOT) as child:

        def answer() -> list[str]:
            line = child.stdout.readline()
            if not line:
                raise RuntimeError(f"jax: the process ended with exit status {child.wait()}; its words are above")
            return line.split()

        def run() -> float:
            print("run", file=child.stdin, flush=True)
            taken, error = map(float, answer())
            if not error <= HIGHEST_ERROR:
                raise RuntimeError(f"jax: its validation error must be <= {HIGHEST_ERROR}, got {error:g}")
            return taken

        yield f"JAX {answer()[1]}", run


def _wanted() -> list[str]:
    """The pins; what both sides use has the version that ours has."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return [*PINNED, *(pin for pin in pins if pin.split("==")[0] in AS_OURS)]


def _must(*command: str) -> None:
    """Runs a command; Missing with a line of its complaints where it fails: pip's first error, else the last."""
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    except OSError as problem:
        raise Missing(f"{command[0]} cannot be run ({problem.strerror})") from problem
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Missing(next((line for line in said if line.startswith("ERROR")), said[-1]))
