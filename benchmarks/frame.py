"""The frame of the benchmarks: run ours and the peer warm and in turn, end in a table with bars.

A topic is a module `benchmarks/<topic>.py` with a function `rows()` that yields rows made by

    compare("what", ours, peer, bar=5)              # two callables; the ratio peer/ours must reach the bar
    clocked("what", ours, peer, bar=5)              # the same for callables that return their own seconds
    timed("what", ours, bar=10)                     # one callable; its seconds must stay within the bar
    measured("what", value, bar=.97, unit="share")  # any number (or one per round), found by the caller
    unmeasured("what", "no peer here", bar=5)       # what could not be found; its bar counts as missed

Several rounds are run; the table shows medians, and a bar is met when the median meets it. QUICK=1 in the environment
shortens the runs (`quick()` tells).
"""

import importlib
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

__all__ = [
    "Row", "clocked", "compare", "machine", "main", "measured", "quick", "report", "seconds", "timed", "unmeasured",
]  # fmt: skip

HERE = Path(__file__).resolve().parent
NO_TOPICS = ("__init__", "__main__", "frame", "jax_population", "peers", "torch_population")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `ours`, `peer` and `ratio` are (lower quartile, median, upper quartile) over the rounds, in `unit` for the
    first two; `peer` and `ratio` are None where there is no peer. The bar is set against the ratio when there
    is one, else against `ours`; `better` says on which side of it the good values lie. Where nothing could be
    measured `ours` is None too, and `peer_name` says why.
    """

    what: str
    unit: str
    ours: tuple[float, float, float] | None
    peer: tuple[float, float, float] | None
    peer_name: str
    ratio: tuple[float, float, float] | None
    bar: float | None
    better: str

    @property
    def met(self) -> bool | None:
        """Whether the median meets the bar; what could not be measured misses it; None where the row has no bar."""
        if self.bar is None:
            return None
        if self.ours is None:
            return False
        _, median, _ = self.ratio if self.ratio is not None else self.ours
        return median >= self.bar if self.better == "higher" else median <= self.bar


def quick() -> bool:
    """Whether QUICK=1 asks for a run of at most a minute."""
    return os.environ.get("QUICK", "") not in ("", "0")


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
    import torch

    return {"cpu": _cpu(), "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(), "torch": torch.__version__, "threads": torch.get_num_threads(),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None}


def report(rows: Sequence[Row]) -> str:
    """The table: what, ours, peer, ratio, bar, met; medians, with the quartiles of the barred column in brackets."""
    lines = [("what", "ours", "peer", "ratio", "bar", "met")]
    for row in rows:
        ours = _show(row.ours, row.unit, spread=row.ratio is None)
        peer = f"{_show(row.peer, row.unit)} ({row.peer_name})" if row.peer else row.peer_name or "–"
        ratio = _show(row.ratio, "×", spread=True) if row.ratio else "–"
        sign = "≥" if row.better == "higher" else "≤"
        unit = "×" if row.ratio or row.ours is None else f" {row.unit}".rstrip()
        bar = "–" if row.bar is None else f"{sign} {row.bar:.4g}{unit}"
        lines.append((row.what, ours, peer, ratio, bar, {True: "yes", False: "NO", None: "–"}[row.met]))
    widths = [max(len(line[i]) for line in lines) for i in range(6)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    return "\n".join([text[0], "  ".join("-" * width for width in widths), *text[1:]])


def main(arguments: Sequence[str]) -> int:
    """Runs one topic, prints its table, stores it as JSON; 1 when a bar is missed, 2 for a topic unknown."""
    topics = sorted(p.stem for p in HERE.glob("*.py") if p.stem not in NO_TOPICS)
    if len(arguments) != 1 or arguments[0] not in topics:
        print(f"bench: TOPIC must be one of {', '.join(topics)}; got {' '.join(arguments) or 'none'}", file=sys.stderr)
        return 2
    topic = arguments[0]
    rows = []
    for row in importlib.import_module(f"benchmarks.{topic}").rows():
        print(f"  {row.what}: {_show(row.ours, row.unit)}", file=sys.stderr, flush=True)
        rows.append(row)
    about = machine()
    store(topic, rows, about)
    print(f"\n{topic} on {about['cpu']}, {about['cores']} cores, {about['threads']} threads, torch {about['torch']}"
          f"{', quick run' if quick() else ''}\n\n{report(rows)}")
    missed = [row.what for row in rows if row.met is False]
    print(f"\nmissed: {', '.join(missed)}" if missed else "\nevery bar met")
    return 1 if missed else 0


def store(topic: str, rows: Iterable[Row], about: dict, *, folder: Path = HERE / "results") -> Path | None:
    """Writes the rows to `<topic>.json`; a quick run is not worth keeping and writes nothing."""
    if quick():
        return None
    folder.mkdir(exist_ok=True)
    path = folder / f"{topic}.json"
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
