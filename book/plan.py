"""Derive the teacher's plan `chapters/plan.md` and the map of prerequisites `chapters/map.svg` from front matter."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

import yaml

from book import pages

__all__ = ["Lesson", "derived", "entries", "in_order", "lessons", "map_svg", "plan_text"]

DERIVED = "<!-- Derived by `python -m book derive` from {}. Edit those, not this file. -->\n"
ROW, ARC, LEFT, TOP = 34, 22, 130, 24


@dataclass(frozen=True)
class Lesson:
    """A page of the reading path, as its front matter describes it."""

    name: str
    title: str
    minutes: int
    requires: tuple[str, ...]
    teaches: tuple[str, ...]

    @property
    def topic(self) -> str:
        return self.name.split("/")[0]

    @property
    def link(self) -> str:
        return f"[{_cell(self.title)}]({self.name}.ipynb)"


def entries(root: Path = pages.ROOT) -> list[str]:
    """All documents of `_toc.yml` in reading order, without suffix: `chapters/welcome`, …; [] without such a file."""
    path = root / "_toc.yml"
    if not path.exists():
        return []
    found: list[str] = []

    def visit(node: object) -> None:
        if isinstance(node, dict):
            named = [str(node[key]) for key in ("root", "file") if key in node]
            found.extend(name.removesuffix(".md").removesuffix(".ipynb") for name in named)
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for item in node:
                visit(item)

    visit(yaml.safe_load(path.read_text(encoding="utf-8")))
    return found


def in_order(root: Path = pages.ROOT) -> list[Path]:
    """The paired pages in reading order; those that `_toc.yml` does not know come last."""
    place = {entry: index for index, entry in enumerate(entries(root))}
    return sorted(pages.pages(root), key=lambda md: (place.get(f"chapters/{pages.page_name(md)}", len(place)), str(md)))


def lessons(root: Path = pages.ROOT) -> list[Lesson]:
    """The pages of the reading path (solutions are not among them), in order."""
    found = []
    for md in in_order(root):
        if md.stem != "solutions":
            nb = pages.read(md)
            facts = pages.front_matter(nb)
            minutes, needs, teaches = (facts.get(key) for key in ("minutes", "requires", "teaches"))
            name = pages.page_name(md)
            found.append(Lesson(name, pages.title(nb) or name, minutes or 0, tuple(needs or ()), tuple(teaches or ())))
    return found


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _requirement(word: str, known: dict[str, Lesson]) -> str:
    return known[word].link if word in known else _cell(word)


def _plan_row(lesson: Lesson, known: dict[str, Lesson]) -> str:
    needs = "; ".join(_requirement(word, known) for word in lesson.requires) or "nothing"
    return f"| {lesson.link} | {lesson.minutes} | {needs} | {_cell(', '.join(lesson.teaches))} |"


def plan_text(found: list[Lesson]) -> str:
    """The plan as MyST: a table a chapter with its total, then the map, drawn and in words."""
    known = {lesson.name: lesson for lesson in found}
    total = sum(lesson.minutes for lesson in found)
    parts = [
        DERIVED.format("the pages' front matter"),
        "# The teacher's plan\n",
        f"{_count(len(found), 'page')}, {total} minutes for a learner who runs every cell and answers every question.\n"
        "The exercises come on top.\n",
    ]
    for topic in dict.fromkeys(lesson.topic for lesson in found):
        chapter = [lesson for lesson in found if lesson.topic == topic]
        parts += [
            f"## {topic.replace('_', ' ').capitalize()}\n",
            "| Page | Minutes | Requires | Teaches |\n| --- | ---: | --- | --- |",
            *(_plan_row(lesson, known) for lesson in chapter),
            f"| **{_count(len(chapter), 'page')}** | **{sum(lesson.minutes for lesson in chapter)}** | | |\n",
        ]
    parts += ["## What builds on what\n", _figure(found, known), *_words(found, known), ""]
    return "\n".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _figure(found: list[Lesson], known: dict[str, Lesson]) -> str:
    arcs = sum(word in known for lesson in found for word in lesson.requires)
    if not arcs:
        alt = f"{_count(len(found), 'page')}, listed; no page requires another one yet."
    else:
        alt = f"{_count(len(found), 'page')} in reading order, joined by {_count(arcs, 'arc')}, as the list below says."
    caption = "Pages in reading order. An arc joins each page with the pages that it requires, above it."
    return f":::{{figure}} map.svg\n:alt: {alt}\n{caption}\n:::\n"


def _words(found: list[Lesson], known: dict[str, Lesson]) -> list[str]:
    lines = []
    for lesson in found:
        needs = [known[word].link for word in lesson.requires if word in known]
        lines.append(f"- {lesson.link} " + (f"requires {' and '.join(needs)}." if needs else "requires no other page."))
    return lines


def map_svg(found: list[Lesson]) -> str:
    """An arc diagram: pages from top to bottom in reading order, an arc from each prerequisite to the page."""
    place = {lesson.name: TOP + ROW * index for index, lesson in enumerate(found)}
    width, height = LEFT + 40 + max([9 * len(lesson.title) for lesson in found], default=200), TOP + ROW * len(found)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-labelledby="map-title" font-family="sans-serif" font-size="15">',
        "<!-- Derived by `python -m book derive` from the pages' front matter. -->",
        '<title id="map-title">Pages in reading order, joined by arcs to the pages they require</title>',
        f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
    ]
    for lesson in found:
        for word in lesson.requires:
            if word in place:
                start, end = place[word], place[lesson.name]
                bulge = LEFT - min(LEFT - 10, ARC + abs(end - start) // 4)
                curve = f"M{LEFT} {start}C{bulge} {start} {bulge} {end} {LEFT} {end}"
                lines.append(f'<path d="{curve}" fill="none" stroke="#0072b2" stroke-width="1.5"/>')
    for lesson in found:
        y = place[lesson.name]
        lines.append(f'<circle cx="{LEFT}" cy="{y}" r="4.5" fill="#0072b2"/>')
        lines.append(f'<text x="{LEFT + 14}" y="{y + 5}" fill="#222222">{escape(lesson.title)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def derived(root: Path = pages.ROOT) -> dict[Path, str]:
    """plan.md and map.svg, with their content."""
    found = lessons(root)
    return {root / "chapters/plan.md": plan_text(found), root / "chapters/map.svg": map_svg(found)}
