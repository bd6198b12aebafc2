"""The registry of claims: `chapters/<topic>/claims.yml` says what will be tested, and how, before it is computed.

An entry, under the claim's name:

    warm-up:
      statement: Warm-up … improves the final performance.
      words: source              # the source's own words, or `ours`
      source: kalra2024why       # its key in references.bib
      place: abstract            # where the words stand; needed for `words: source`
      scope: MLP 64-50-50-10 on digits, Adam, 28 epochs, rates up to four times the best
      effect: test errors without warm-up less those with it
      unit: points               # of effect and delta
      rule: always above         # the side, `above` δ, `below` −δ or `within` ±δ; with `always` where one failure
      delta: 1                   #   ends it; with `exact` where nothing is random
      decide: [at the best rate, at twice the best]       # conditions inside the scope; left out: the only one
      beyond: [at four times the best]                    # shown, never decisive
      replicate: start and order
      count: 16                  # replicates, of the condition that has fewest
      tuned: rate of each by validation error of 16 other replicates
      tables: [schedules/warm_up]
      history: []                # what was said before: {hash, verdict, reason}; only ever added to

The hash is of statement, scope, rule, delta, deciding conditions and tuning. A page's output keeps the hash and the
verdict that it was made with; a page or table is not made again under another hash until the history holds them, and a
page not with another effect, unit, replicate or count either.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from labsupport.experiments import recipes
from labsupport.values import check_choice, check_count, check_number

__all__ = ["SIDES", "VERDICTS", "Entry", "Past", "find", "hashes", "parsed", "read", "refuse_changed", "registry"]

SIDES = ("above", "below", "within")
VERDICTS = ("holds", "fails", "conditional", "undecided", "not tested here")
MEASURED = ("effect", "unit", "replicate", "count")  # outside the hash; changed only with a word in the history
TEXTS = ("statement", "source", "scope", "effect", "replicate", "tuned")
EMPTY = {"place": "", "unit": "", "decide": [""], "beyond": [], "tables": [], "history": []}
UNREGISTERED = ""  # the hash of what was shown before it had an entry


@dataclass(frozen=True)
class Past:
    """A verdict that was shown under another entry, and why the entry was changed."""

    hash: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """A registered claim; see the module for what each field says."""

    name: str
    statement: str
    words: str
    source: str
    place: str
    scope: str
    effect: str
    unit: str
    rule: str
    delta: float
    decide: tuple[str, ...]
    beyond: tuple[str, ...]
    replicate: str
    count: int
    tuned: str
    tables: tuple[str, ...]
    history: tuple[Past, ...]

    @property
    def side(self) -> str:
        """ "above", "below" or "within"."""
        return self.rule.split()[-1]

    @property
    def always(self) -> bool:
        """Whether the first deciding condition that fails ends the claim."""
        return "always" in self.rule.split()

    @property
    def exact(self) -> bool:
        """Whether nothing is random, so that each condition is a number."""
        return "exact" in self.rule.split()

    @property
    def hash(self) -> str:
        """Twelve digits that change with statement, scope, rule, delta, deciding conditions and tuning."""
        said = [self.statement, self.scope, self.rule, float(self.delta), sorted(self.decide), self.tuned]
        return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode("utf-8")).hexdigest()[:12]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Refuses a name that stands twice, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [key.value for key, _ in node.value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"claims: names must stand once, got {', '.join(twice)} twice")
        return super().construct_mapping(node, deep)


def read(path: Path) -> dict[str, Entry]:
    """The entries of one `claims.yml`, by name.

    Raises:
        ValueError: it is no such file; the claim and the field are named.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"claims: {path.parent.name}/{path.name} must be YAML, got {error}") from error
    return parsed(content)


def parsed(content: Any) -> dict[str, Entry]:
    """Entries by name, from what a `claims.yml` holds; ValueError as in `read`."""
    if not isinstance(content, dict):
        raise ValueError(f"claims: content of claims.yml must map names to entries, got {content!r}")
    return {name: _entry(name, said) for name, said in content.items()}


def registry(chapters: Path) -> dict[str, Entry]:
    """All entries under a folder of chapters, by name.

    Raises:
        ValueError: as `read`; two chapters register one name.
    """
    found: dict[str, Entry] = {}
    for path in sorted(chapters.glob("*/claims.yml")):
        entries = read(path)
        if twice := found.keys() & entries.keys():
            raise ValueError(f"claims: names must be registered once, got {', '.join(sorted(twice))} twice")
        found |= entries
    return found


def find(name: str) -> Entry:
    """The course's entry of that name.

    Raises:
        ValueError: there is none.
    """
    known = registry(recipes.chapters())
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"claim: name must be registered in chapters/<topic>/claims.yml, got {name!r}")
    return known[name]


def hashes(table: str, known: Mapping[str, Entry] | None = None) -> dict[str, str]:
    """The hash of each claim that is tested with a table, `<topic>/<name>`, as registered now."""
    known = registry(recipes.chapters()) if known is None else known
    return {name: entry.hash for name, entry in sorted(known.items()) if table in entry.tables}


def refuse_changed(shown: Mapping[str, Mapping[str, Any]], known: Mapping[str, Entry]) -> None:
    """Refuses to make anew what would hide a verdict that was shown.

    Args:
        shown: by the claim's name what was stored with it: its "hash", "verdict" (None: no verdict is stored),
            "history", and what was measured.
        known: the registry as it is now.
    Raises:
        ValueError: an entry is gone, or was changed without its history holding the old hash and verdict, or its
            history has lost something.
    """
    for name, old in shown.items():
        if name not in known:
            raise ValueError(f"claims: {name!r} was shown and must keep its entry in claims.yml, got none")
        entry = known[name]
        past = [(said.hash, said.verdict) for said in entry.history]
        kept = [(said["hash"], said["verdict"]) for said in old.get("history", [])]
        if past[: len(kept)] != kept:
            raise ValueError(f"claims: the history of {name!r} may only be added to, got {past} after {kept}")
        hash_, verdict = old.get("hash", UNREGISTERED), old.get("verdict")
        changed = [field for field in MEASURED if old.get(field, getattr(entry, field)) != getattr(entry, field)]
        told = any(h == hash_ and verdict in (v, None) for h, v in past[len(kept) :])
        if (hash_ != entry.hash or changed) and not told:
            what = f"the {' and '.join(changed)}" if changed else "the entry"
            was = f"{{hash: {hash_!r}, verdict: {verdict or '…'}, reason: …}}"
            raise ValueError(f"claims: {what} of {name!r} was changed; its history must first hold {was}")


def _entry(name: Any, said: Any) -> Entry:
    if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"claims: name must be of letters, digits and hyphens, got {name!r}")
    where = f"claims: {name}"
    if not isinstance(said, dict):
        raise ValueError(f"{where}: entry must be a mapping, got {said!r}")
    wanted = {field.name for field in fields(Entry)} - {"name"}
    if said.keys() - wanted or wanted - said.keys() - EMPTY.keys():
        lacks, extra = sorted(wanted - said.keys() - EMPTY.keys()), sorted(map(str, said.keys() - wanted))
        raise ValueError(f"{where}: fields must be those of an entry, got too few {lacks}, too many {extra}")
    said = EMPTY | said
    for field in TEXTS + (("place",) if said["words"] == "source" else ()):
        if not isinstance(said[field], str) or not said[field].strip():
            raise ValueError(f"{where}: {field} must be a text, got {said[field]!r}")
    for field in ("place", "unit"):
        if not isinstance(said[field], str):
            raise ValueError(f"{where}: {field} must be a text, got {said[field]!r}")
    check_choice(where, "words", said["words"], ("source", "ours"))
    check_number(where, "delta", said["delta"], low=0)
    check_count(where, "count", said["count"])
    _check_rule(where, said["rule"])
    lists = {field: _texts(where, field, said[field]) for field in ("decide", "beyond", "tables")}
    if len(set(lists["decide"] + lists["beyond"])) < len(lists["decide"] + lists["beyond"]):
        raise ValueError(f"{where}: decide and beyond must name each condition once, got {said['decide']}")
    if not isinstance(said["history"], list):
        raise ValueError(f"{where}: history must be a list, got {said['history']!r}")
    history = tuple(_past(where, past) for past in said["history"])
    return Entry(name=name, **{**said, **lists, "history": history})


def _check_rule(where: str, rule: Any) -> None:
    words = rule.split() if isinstance(rule, str) else []
    if not words or words[-1] not in SIDES or set(words[:-1]) - {"always", "exact"} or len(set(words)) < len(words):
        sides = "always and exact, or none of them, and then above, below or within"
        raise ValueError(f"{where}: rule must be {sides}, got {rule!r}")


def _texts(where: str, field: str, found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"{where}: {field} must be a list of texts, got {found!r}")
    return tuple(found)


def _past(where: str, said: Any) -> Past:
    if not isinstance(said, dict) or said.keys() != {"hash", "verdict", "reason"}:
        raise ValueError(f"{where}: history must hold hash, verdict and reason, got {said!r}")
    check_choice(where, "a verdict of history", said["verdict"], VERDICTS)
    if not isinstance(said["hash"], str) or not isinstance(said["reason"], str) or not said["reason"].strip(" ."):
        raise ValueError(f"{where}: history must hold texts, got {said!r}")
    return Past(**said)
