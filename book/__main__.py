"""python -m book run [PAGE…] | derive [--check] | copy DIR [--fresh TOPIC]: the commands that make and copy pages."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from book import bench, exercises, ledger, pages, plan

__all__ = ["derive", "main"]


def derive(root: Path = pages.ROOT, *, check: bool = False) -> list[Path]:
    """Write every derived file that is missing or differs (with `check` only find them); returns these files."""
    files = exercises.derived(root) | ledger.derived(root) | plan.derived(root) | bench.derived(root)
    stale = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in [] if check else stale:
        beside = path.with_name(f".{path.name}.tmp")
        beside.write_text(files[path], encoding="utf-8", newline="\n")
        os.replace(beside, path)
    return stale


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m book", description="The tools of the book.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="execute pages, store their outputs, keep their texts canonical")
    one.add_argument("page", nargs="*", help="landscape/saddle_points, or a topic; all pages if left out")
    two = commands.add_parser("derive", help="write the exercises, the ledger, the plan, the map and the benchmarks")
    two.add_argument("--check", action="store_true", help="write nothing; fail if a derived file is not current")
    three = commands.add_parser("copy", help="copy the pages for a learner; no existing file is overwritten")
    three.add_argument("folder", type=Path)
    three.add_argument("--fresh", metavar="TOPIC", help="new copies of this topic's notebooks beside the old")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 where all went well."""
    wanted = _arguments(argv)
    try:
        if wanted.command == "run":
            for md in pages.find(wanted.page):
                ledger.refuse_changed(md)
                pages.run(md)
        elif wanted.command == "derive":
            stale = derive(check=wanted.check)
            for path in stale:
                name = path.relative_to(pages.ROOT).as_posix()
                print(f"{name} is not current: python -m book derive" if wanted.check else f"{name} written")
            if not stale:
                print("all derived files are current")
            return int(bool(stale) and wanted.check)
        else:
            from book import learner

            print(learner.copy(wanted.folder, fresh=wanted.fresh))
    except (pages.PageError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
