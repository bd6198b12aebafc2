"""The frame of the benchmarks: run ours and the strongest ordinary peer in turn, end in a table with bars.

A topic is a module `benchmarks/<topic>.py` with a function `rows()` that yields the rows of its parts:

    @barred({"what": at_least(5), "other": at_most(2, "MB")})       # what this part must reach, said before it runs
    def part():
        yield compare("what", ours, peer)           # two callables, warm; the ratio is peer/ours
        yield cold("what", "ours(5)", "peer(5)")    # the first call of each in a fresh process without stored kernels
        yield clocked("what", ours, peer)           # callables that return their own seconds
        yield timed("what", ours)                   # one callable; the bar is the seconds it may take
        yield measured("other", value, unit="MB")   # any number (or one per round), found by the caller
        yield unmeasured("what", "no peer here")    # what could not be found; its bar counts as missed

Several rounds are run; the table shows medians, and a bar is met when the median meets it. A row that a part promised
and did not yield is printed with its bar: as missed, or, with QUICK=1 in the environment, which shortens the runs
(`quick()` tells), as not judged. Results are kept for each machine in `results/<machine>/<topic>.json`.
"""

import importlib
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial, wraps
from pathlib import Path
from typing import NamedTuple

import torch

__all__ = [
    "Bar", "Row", "at_least", "at_most", "barred", "clocked", "cold", "compare", "machine", "machine_key", "main",
    "measured", "one_thread", "quick", "report", "seconds", "timed", "unmeasured",
]  # fmt: skip

HERE = Path(__file__).resolve().parent
NO_TOPICS = (
    "__init__", "__main__", "timing", "jax_population", "peers", "torch_population", "pruning_cuts", "search_samplers",
)  # fmt: skip


class Bar(NamedTuple):
    """What a row must reach: a number, on which side of it the good values lie, and in which unit."""

    value: float
    better: str
    unit: str


def at_least(value: float, unit: str = "×") -> Bar:
    """The median must not be smaller."""
    return Bar(value, "higher", unit)


def at_most(value: float, unit: str = "×") -> Bar:
    """The median must not be larger."""
    return Bar(value, "lower", unit)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `ours`, `peer` and `ratio` are (lower quartile, median, upper quartile) over the rounds, in `unit` for the
    first two; `peer` and `ratio` are None where there is no peer. The bar is set against the ratio when there
    is one, else against `ours`; `better` says on which side of it the good values lie. Where nothing could be
    measured `ours` is None too, and `peer_name` says why. `threads` are torch's while it was measured; `judged` is
    False where a quick run leaves the row out.
    """

    what: str
    unit: str
    ours: tuple[float, float, float] | None
    peer: tuple[float, float, float] | None
    peer_name: str
    ratio: tuple[float, float, float] | None
    bar: float | None
    better: str
    threads: int = field(default_factory=torch.get_num_threads)
    judged: bool = True

    @property
    def met(self) -> bool | None:
        """Whether the median meets the bar; what could not be measured misses it; None without a bar or a judgement."""
        if self.bar is None or not self.judged:
            return None
        if self.ours is None:
            return False
        _, median, _ = self.ratio if self.ratio is not None else self.ours
        return median >= self.bar if self.better == "higher" else median <= self.bar


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch compute in one thread, and afterwards in as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def quick() -> bool:
    """Whether QUICK=1 asks for a run of at most a minute."""
    return os.environ.get("QUICK", "") not in ("", "0")


def barred(bars: Mapping[str, Bar]) -> Callable:
    """Give the rows of a part their bars by name; those that it does not yield are printed all the same.

    An error in the part ends the part alone: it is printed, and what had not come yet is missed.
    """

    def dress(part: Callable[..., Iterator[Row]]) -> Callable[..., Iterator[Row]]:
        @wraps(part)
        def rows(*args: object, **options: object) -> Iterator[Row]:
            left, judged = dict(bars), not quick()
            why = "its part ended without it" if judged else "left out of a quick run"
            try:
                for row in part(*args, **options):
                    bar = left.pop(row.what, None)
                    yield row if bar is None else replace(row, bar=bar.value, better=bar.better)
            except Exception as problem:
                traceback.print_exc()
                why, judged = f"{type(problem).__name__}: {problem}".splitlines()[0], True
            for what, bar in left.items():
                yield Row(what, bar.unit, None, None, why, None, bar.value, bar.better, judged=judged)

        return rows

    return dress


def compare(what: str, ours: Callable, peer: Callable, *, bar: float | None = None, peer_name: str = "peer",
            rounds: int = 7) -> Row:
    """Times two callables in turn, both warm; the ratio is peer over ours, so that 5 means five times faster."""
    rounds = _rounds("compare", rounds)
    ours(), peer()
    return clocked(what, partial(seconds, ours), partial(seconds, peer), bar=bar, peer_name=peer_name, rounds=rounds)


def clocked(what: str, ours: Callable[[], float], peer: Callable[[], float], *, bar: float | None = None,
            peer_name: str = "peer", rounds: int = 7) -> Row:
    """As `compare`, of callables that return the seconds they took, in a process of their own; nothing runs before.

    Where a round is dear, a quick run may ask for fewer than three.
    """
    rounds = _rounds("clocked", rounds, least=1 if quick() else 3)
    pairs = []
    for index in range(rounds):
        # Who goes first alternates, so that neither always meets the warmer machine.
        if index % 2 == 0:
            mine, theirs = ours(), peer()
        else:
            theirs, mine = peer(), ours()
        pairs.append((mine, theirs))
    mine, theirs = zip(*pairs)
    ratio = _quartiles([theirs / mine for mine, theirs in pairs])
    return Row(what, "s", _quartiles(mine), _quartiles(theirs), peer_name, ratio, bar, "higher")


def cold(what: str, ours: str, peer: str, *, topic: str, peer_name: str = "peer", rounds: int = 3) -> Row:
    """The first call of each in a fresh process with no kernels on disk, imports and what the call is made of excluded.

    `ours` and `peer` are expressions of a callable in the module `benchmarks.<topic>`.
    """
    mine, theirs = (partial(_first_call, topic, each) for each in (ours, peer))
    return clocked(what, mine, theirs, peer_name=peer_name, rounds=1 if quick() else rounds)


def _first_call(topic: str, expression: str) -> float:
    code = (f"import torch; from benchmarks import timing; import benchmarks.{topic} as topic; "
            f"torch.set_num_threads({torch.get_num_threads()}); call = eval({expression!r}, vars(topic)); "
            "print(timing.seconds(call))")  # fmt: skip
    with tempfile.TemporaryDirectory() as empty:
        env = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": empty, "OMP_NUM_THREADS": str(torch.get_num_threads())}
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=HERE.parent, env=env,
                              stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def timed(what: str, ours: Callable, *, bar: float | None = None, rounds: int = 5) -> Row:
    """Times one callable, warm; the bar is the seconds it may take."""
    rounds = _rounds("timed", rounds)
    ours()
    return Row(what, "s", _quartiles([seconds(ours) for _ in range(rounds)]), None, "", None, bar, "lower")


def measured(what: str, ours: float | Sequence[float], *, peer: float | Sequence[float] | None = None,
             bar: float | None = None, unit: str = "", peer_name: str = "peer", better: str = "higher") -> Row:
    """A row found otherwise (accuracy, memory, seconds): one number or one per round; the bar is set against ours."""
    if better not in ("higher", "lower"):
        raise ValueError(f"measured: better must be 'higher' or 'lower', got {better!r}")
    values = _values("ours", ours)
    theirs = None if peer is None else _quartiles(_values("peer", peer))
    return Row(what, unit, _quartiles(values), theirs, peer_name if peer is not None else "", None, bar, better)


def unmeasured(what: str, why: str, *, bar: float | None = None) -> Row:
    """A row of `compare` for a peer that is not there."""
    return Row(what, "×", None, None, why, None, bar, "higher")


def machine() -> dict:
    """What the figures depend on; no host name, no user, no path."""
    return {"cpu": _cpu(), "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(), "torch": torch.__version__,
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None}


def machine_key(about: Mapping) -> str:
    """The machine as the name of a folder: processor, cores and accelerator."""
    text = f"{about['cpu']} {about['cores']} cores {about['accelerator'] or ''}"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def report(rows: Sequence[Row]) -> str:
    """The table: what, ours, peer, ratio, bar, met; medians, with the quartiles of the barred column in brackets."""
    lines = [("what", "ours", "peer", "ratio", "bar", "met")]
    for row in rows:
        ours = _show(row.ours, row.unit, spread=row.ratio is None)
        peer = f"{_show(row.peer, row.unit)} ({row.peer_name})" if row.peer else row.peer_name or "–"
        ratio = _show(row.ratio, "×", spread=True) if row.ratio else "–"
        sign = "≥" if row.better == "higher" else "≤"
        unit = "×" if row.ratio or row.unit == "×" else f" {row.unit}".rstrip()
        bar = "–" if row.bar is None else f"{sign} {row.bar:.4g}{unit}"
        met = {True: "yes", False: "NO", None: "–" if row.judged else "not judged"}[row.met]
        lines.append((row.what, ours, peer, ratio, bar, met))
    widths = [max(len(line[i]) for line in lines) for i in range(6)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    return "\n".join([text[0], "  ".join("-" * width for width in widths), *text[1:]])


def main(arguments: Sequence[str]) -> int:
    """Runs a topic, or all, prints its table, stores it as JSON; 1 when a bar is missed, 2 for a topic unknown."""
    topics = sorted(p.stem for p in HERE.glob("*.py") if p.stem not in NO_TOPICS)
    if len(arguments) != 1 or arguments[0] not in (*topics, "all"):
        print(f"bench: TOPIC must be one of {', '.join(topics)}, all; got {' '.join(arguments) or 'none'}",
              file=sys.stderr)  # fmt: skip
        return 2
    return _all(topics) if arguments[0] == "all" else _one(arguments[0])


def _all(topics: Sequence[str]) -> int:
    """Each topic in a process of its own, one after another."""
    ended, begun = {}, time.perf_counter()
    for topic in topics:
        print(f"\n== {topic}", flush=True)
        ended[topic] = subprocess.run([sys.executable, "-m", "benchmarks", topic], cwd=HERE.parent).returncode
    print(f"\n{len(topics)} topics in {(time.perf_counter() - begun) / 60:.1f} minutes")
    missed = [topic for topic, code in ended.items() if code]
    print(f"bars missed in: {', '.join(missed)}" if missed else "every bar of every topic met")
    return 1 if missed else 0


def _one(topic: str) -> int:
    rows, about = [], machine()
    for row in importlib.import_module(f"benchmarks.{topic}").rows():
        print(f"  {row.what}: {_show(row.ours, row.unit)}", file=sys.stderr, flush=True)
        rows.append(row)
    store(topic, rows, about)
    threads = " or ".join(str(number) for number in sorted({row.threads for row in rows}))
    print(f"\n{topic} on {about['cpu']}, {about['cores']} cores, threads used: {threads}, torch {about['torch']}"
          f"{', quick run' if quick() else ''}\n\n{report(rows)}")
    missed, left = ([row.what for row in rows if row.met is False], [row.what for row in rows if not row.judged])
    if left:
        print(f"\nnot judged in a quick run: {', '.join(left)}")
    print(f"\nmissed: {', '.join(missed)}" if missed else f"\nevery bar {'judged ' if left else ''}met")
    return 1 if missed else 0


def store(topic: str, rows: Iterable[Row], about: dict, *, folder: Path = HERE / "results") -> Path | None:
    """Writes the rows to `<machine>/<topic>.json`; a quick run is not worth keeping and writes nothing."""
    if quick():
        return None
    path = folder / machine_key(about) / f"{topic}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"topic": topic, "machine": about, "rows": [{**asdict(row), "met": row.met} for row in rows]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def seconds(function: Callable) -> float:
    """Of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _rounds(name: str, rounds: int, *, least: int = 3) -> int:
    if rounds < least:
        raise ValueError(f"{name}: rounds must be >= {least}, got {rounds}")
    return min(rounds, 3) if quick() else rounds


def _values(name: str, values: float | Sequence[float]) -> list[float]:
    values = [float(v) for v in values] if isinstance(values, Iterable) else [float(values)]
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f"measured: {name} must be finite numbers, at least one, got {values}")
    return values


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return (values[0],) * 3
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def _show(quartiles: tuple[float, float, float] | None, unit: str, *, spread: bool = False) -> str:
    if quartiles is None:
        return "not measured"
    low, median, high = quartiles
    text = f"{median:.3g}{unit if unit == '×' else f' {unit}'.rstrip()}"
    return text if not spread or low == high else f"{text} [{low:.3g}, {high:.3g}]"


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
