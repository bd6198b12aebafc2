"""The site for the tests that look at it: the one that SITE names, or one built as `course.py site` does."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from book import proof

ROOT = Path(__file__).resolve().parent.parent


def build_site(folder: Path) -> Path:
    """Build into `folder`/site and return it; a warning or an error fails with Sphinx's own words.

    Where SITE names a folder, course.py has just built the site there, and it is taken as it is.
    """
    if built := os.environ.get("SITE"):
        return Path(built)
    site = folder / "site"
    command = [sys.executable, *proof.sphinx("html", site, folder / "doctrees")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"the site does not build:\n{done.stdout}{done.stderr}")
    return site


def in_toc():
    """The pages of the book in its order, without suffix."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))

    def walk(entries):
        for entry in entries:
            yield entry["file"]
            yield from walk(entry.get("sections", []))

    return [toc["root"], *(name for part in toc["parts"] for name in walk(part["chapters"]))]
