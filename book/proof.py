"""Prove the course: python -m book.proof test | site | browser [TOPIC]; course.py calls it with .venv's Python.

`test` runs ruff, builds the site, runs the tests in two processes and every notebook under nbval, and ends in tables of
where the time went. With a TOPIC it proves one chapter: tests of its room and of its checks, the rules of pages, its
notebooks; the site is parsed and not written. `browser TOPIC` likewise drives that chapter's pages alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from xml.etree import ElementTree

from book.pages import ROOT

__all__ = ["browser", "main", "site", "sphinx", "test"]

SITE = ROOT / "_site"
PAGE_SECONDS, CHAPTER_SECONDS = 30, 60  # what takes longer is marked in the tables of times
TWO = ("-n2", "--dist=loadfile")
NBVAL = (
    "-q", "-o", "addopts=", "-o", "filterwarnings=default", "-p", "no:cacheprovider", "--nbval-lax",
    "--nbval-current-env", "--nbval-cell-timeout=300", "--nbval-sanitize-with", "tests/nbval.cfg",
)  # fmt: skip


def python(*arguments: str, **env: str) -> int:
    """Exit status of this Python, run in the course's folder."""
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **env}).returncode


def sphinx(builder: str, target: Path, doctrees: Path) -> list[str]:
    """Arguments of Python that build the site: warnings are errors, and no page is executed, but shown as stored."""
    strict = ["-W", "-n", "--keep-going", "-q", "-D", "nb_execution_mode=off"]
    return ["-m", "sphinx", "-c", "book", *strict, "-b", builder, "-d", str(doctrees), ".", str(target)]


def site(builder: str = "html") -> int:
    """Builds the site into _site, or with the builder "dummy" only parses it."""
    if builder == "html":
        shutil.rmtree(SITE, ignore_errors=True)  # a page that is gone would stay
    built = ROOT / "_build"
    target = SITE if builder == "html" else built / "parsed"
    return python(*sphinx(builder, target, built / "doctrees"), SOURCE_DATE_EPOCH="0")


def test(topic: str | None) -> int:
    """All stages, or those of one chapter, whatever becomes of the others; 1 where one failed."""
    tests, notebooks = ["tests"], _notebooks(topic)
    if topic:
        rooms = [path for path in (f"tests/{topic}", f"tests/test_{topic}.py") if (ROOT / path).exists()]
        tests = [*rooms, "tests/checks", "tests/test_devices.py", "tests/book/test_chapters.py"]
        tests += ["-k", f"{topic} or test_the_book_keeps_its_rules"]
    test_times: dict[str, float] = {}
    page_times: dict[str, float] = {}
    stages = {
        "ruff": lambda: python("-m", "ruff", "check", "."),
        "site": lambda: site("dummy" if topic else "html"),
        "tests": lambda: _pytest(*tests, *TWO, times=test_times, **({} if topic else _built())),
        "pages": lambda: _pages(notebooks, page_times),
    }
    failed = [name for name, stage in stages.items() if _stage(name, stage)]
    _print_times(test_times, page_times)
    said = f"FAILED: {', '.join(failed)}" if failed else f"All stages passed: {', '.join(stages)}"
    print(f"\n{said}", flush=True)
    return int(bool(failed))


def browser(topic: str | None) -> int:
    """Drives the site and JupyterLab in a real Chromium: all pages, or those of one chapter."""
    return site() or python("-m", "pytest", "tests/browser", "-m", "browser", *TWO, *(["-k", topic] if topic else []),
                            **_built())  # fmt: skip


def _built() -> dict[str, str]:
    return {"SITE": str(SITE)}


def _stage(name: str, stage: Callable[[], int]) -> int:
    print(f"\n== {name}", flush=True)
    start = time.perf_counter()
    code = stage()
    print(f"== {name}: {'FAILED' if code else 'ok'} in {time.perf_counter() - start:.1f} s", flush=True)
    return code


def _notebooks(topic: str | None) -> list[Path]:
    """The notebooks of the book or of a chapter, the long ones first: lessons, then exercises and solutions."""
    found = (path for path in (ROOT / "chapters").glob(f"{topic or '*'}/*.ipynb"))
    return sorted(found, key=lambda path: (path.stem in ("exercises", "solutions"), path))


def _pages(notebooks: list[Path], times: dict[str, float]) -> int:
    """Runs nbval over the notebooks, in two processes and without network; fills `times` with seconds."""
    if not notebooks:
        print("no notebook under chapters/")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "network.log"
        path = os.pathsep.join(filter(None, (str(ROOT / "tests" / "guard"), os.environ.get("PYTHONPATH"))))
        guard = {"PYTHONPATH": path, "SOCKET_GUARD_LOG": str(log)}
        code = _pytest(*NBVAL, *TWO, *(str(path.relative_to(ROOT)) for path in notebooks), times=times, **guard)
        asked = log.read_text(encoding="utf-8") if log.exists() else ""
    if asked:
        print(f"pages asked for the network:\n{asked}")
    return code or int(bool(asked))


def _pytest(*arguments: str, times: dict[str, float], **env: str) -> int:
    """Runs pytest and notes the seconds of each test, by `<file>::<name>`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        code = python("-m", "pytest", *arguments, f"--junitxml={report}", "-o", "junit_family=xunit1", **env)
        if report.exists():
            for case in ElementTree.parse(report).iter("testcase"):
                times[f"{case.get('file')}::{case.get('name')}"] = float(case.get("time", 0))
    return code


def _sums(times: dict[str, float], name: Callable[[Path], str]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for case, seconds in times.items():
        group = name(Path(case.split("::")[0]))
        sums[group] = sums.get(group, 0.0) + seconds
    return sums


def _table(title: str, rows: Iterable[tuple[str, float]], limit: float = float("inf")) -> None:
    print(f"\n{title}")
    for name, seconds in rows:
        print(f"{seconds:8.1f}  {name}{f'  over {limit} s' if seconds > limit else ''}")


def _print_times(tests: dict[str, float], pages: dict[str, float]) -> None:
    longest = sorted(tests.items(), key=lambda item: -item[1])[:8]
    _table("Seconds of the tests by folder (two processes)", _sums(tests, lambda p: p.parent.as_posix()).items())
    _table("The longest tests", longest)
    _table("Seconds per notebook (two processes, one thread each)",
           _sums(pages, lambda p: "/".join(p.parts[1:])).items(), PAGE_SECONDS)  # fmt: skip
    _table("Seconds per chapter", sorted(_sums(pages, lambda p: p.parts[1] + "/").items()), CHAPTER_SECONDS)


def main(arguments: list[str]) -> int:
    """Runs one word; 2 for a word or topic that there is none of."""
    word, topic = [*arguments, None, None][:2]
    topics = sorted({path.parent.name for path in (ROOT / "chapters").glob("*/*.md")})
    if word not in ("test", "site", "browser") or len(arguments) > 2 or topic not in [None, *topics]:
        print(f"proof: say test, site or browser, and a topic of {', '.join(topics)}; got {arguments}", file=sys.stderr)
        return 2
    return {"test": test, "browser": browser}[word](topic) if word != "site" else site()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
