"""Flatten MyST to the plain Markdown that JupyterLab renders by itself: no roles, directives or labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

__all__ = [
    "FENCE", "Citation", "Directive", "Surroundings",
    "citations", "fence_body", "flatten", "labels", "read_directive", "references",
]  # fmt: skip

FENCE = re.compile(r"^([ \t]*)(:{3,}|`{3,}|~{3,})[ \t]*(.*)$")
INLINE = re.compile(
    r"\{(?P<role>[\w:.+-]+)\}(?P<ticks>`+)(?P<content>.+?)(?P=ticks)"
    r"|(?P<code>(?P<marks>`+)(?!`).+?(?<!`)(?P=marks)(?!`))"
    r"|\$\$(?P<display>.+?)\$\$(?:[ \t]*\((?P<label>[\w:.-]+)\))?"
    r"|(?P<math>(?<![\\$])\$[^$]+?\$)"
    r"|(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\(<?(?P<target>[^()\s>]*)>?(?:\s+\"[^\"]*\")?\)",
    flags=re.S,
)
LABEL = re.compile(
    r"\$\$[ \t]*\((?P<equation>[\w:.-]+)\)"
    r"|^[ \t]*:label:[ \t]*(?P<math>\S+)"
    r"|^[ \t]*:name:[ \t]*(?P<figure>\S+)"
    r"|^\((?P<target>[\w:.-]+)\)=[ \t]*\n+(?:#+[ \t]*(?P<heading>.+))?",
    flags=re.M,
)
DROPPED = re.compile(r"^(?:\([\w:.-]+\)=|%.*|\+\+\+.*)[ \t]*(?:\n|\Z)", flags=re.M)
FOLDED = {"dropdown"}
QUOTED = {
    "admonition", "attention", "caution", "danger", "error", "hint", "important", "note", "seealso", "tip", "warning",
}  # fmt: skip
INVISIBLE = {"tableofcontents", "toctree", "raw", "eval-rst", "only", "index"}
UNTITLED = {"grid", "tab-set", "div", "container", "margin"}


@dataclass(frozen=True)
class Citation:
    """How a source is called in a sentence."""

    authors: str
    year: str


@dataclass(frozen=True)
class Directive:
    """A fenced directive: `:::{name} argument`, its options, its body."""

    name: str
    argument: str
    options: dict[str, str]
    body: str


@dataclass(frozen=True)
class Surroundings:
    """What a text needs to know about its page and book.

    Attributes:
        citations: key to authors and year.
        labels: label to the text that a reference to it shows: "(1)", "Figure 2", a title.
        link: a link's target to its target in the copy, None where the copy holds nothing of the kind.
        references: the list of references, for the bibliography's directive.
    """

    citations: Mapping[str, Citation] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    link: Callable[[str], str | None] = lambda target: target
    references: str = ""


def citations(bib: Path) -> dict[str, Citation]:
    """Authors and year of every entry of a BibTeX file."""
    from pybtex.database import parse_file
    from pybtex.richtext import Text

    found = {}
    for key, entry in parse_file(str(bib), bib_format="bibtex").entries.items():
        people = entry.persons.get("author") or entry.persons.get("editor") or []
        names = [str(Text.from_latex(" ".join(person.prelast_names + person.last_names))) for person in people]
        short = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
        found[key] = Citation(short or key, str(entry.fields.get("year", "n.d.")))
    return found


def references(bib: Path) -> str:
    """All entries of a BibTeX file as a Markdown list.

    Raises:
        ValueError: an entry lacks a field that its type needs.
    """
    from pybtex.database import parse_file
    from pybtex.exceptions import PybtexError
    from pybtex.plugin import find_plugin

    style, backend = find_plugin("pybtex.style.formatting", "unsrt")(), find_plugin("pybtex.backends", "plaintext")()
    entries = parse_file(str(bib), bib_format="bibtex").entries.values()
    try:
        return "\n".join(f"- {entry.text.render(backend)}" for entry in style.format_entries(list(entries)))
    except PybtexError as error:
        raise ValueError(f"{bib.name}: {error}") from error


def labels(text: str) -> dict[str, str]:
    """What references to a page's labels show; equations and figures are counted from 1 on each page."""
    found: dict[str, str] = {}
    equations = figures = 0
    for match in LABEL.finditer(text):
        if label := match["equation"] or match["math"]:
            equations += 1
            found[label] = f"({equations})"
        elif match["figure"]:
            figures += 1
            found[match["figure"]] = f"Figure {figures}"
        else:
            found[match["target"]] = (match["heading"] or match["target"]).strip()
    return found


def flatten(text: str, around: Surroundings) -> str:
    """The text as plain Markdown."""
    lines, out, prose, index = text.split("\n"), [], [], 0

    def prose_ends() -> None:
        if prose:
            out.extend(_inline(DROPPED.sub("", "\n".join(prose) + "\n"), around).removesuffix("\n").split("\n"))
            prose.clear()

    while index < len(lines):
        fence = FENCE.match(lines[index])
        if not fence:
            prose.append(lines[index])
            index += 1
            continue
        prose_ends()
        body, after = fence_body(lines, index, fence)
        block = fence[3]
        if fence[2][0] == ":" or block.startswith("{"):
            shown = _directive(read_directive(block, "\n".join(body)), around).strip("\n")
            apart = [""] if out and out[-1].strip() else []
            out.extend(apart + [fence[1] + line if line else line for line in shown.split("\n")])
            out.extend([""] if after < len(lines) and lines[after].strip() else [])
        else:
            out.extend(lines[index:after])
        index = after
    prose_ends()
    return "\n".join(out).strip("\n")


def fence_body(lines: list[str], start: int, fence: re.Match) -> tuple[list[str], int]:
    """The lines inside a fence, without its indentation, and the index of the line after it."""
    closing = re.compile(rf"^[ \t]*{re.escape(fence[2][0])}{{{len(fence[2])},}}[ \t]*$")
    end = next((i for i in range(start + 1, len(lines)) if closing.match(lines[i])), len(lines))
    return [line.removeprefix(fence[1]) for line in lines[start + 1 : end]], end + 1


def read_directive(info: str, body: str) -> Directive:
    """A directive from what follows its opening fence and what stands inside."""
    head = re.match(r"\{([\w:.+-]+)\}[ \t]*(.*)$", info)
    options: dict[str, str] = {}
    lines = body.split("\n")
    if lines and lines[0].strip() == "---" and "---" in (line.strip() for line in lines[1:]):
        end = [line.strip() for line in lines].index("---", 1)
        options = {key: str(value) for key, value in (yaml.safe_load("\n".join(lines[1:end])) or {}).items()}
        lines = lines[end + 1 :]
    while lines and (option := re.match(r"[ \t]*:([\w-]+):[ \t]*(.*)$", lines[0])):
        options[option[1]] = option[2].strip()
        lines = lines[1:]
    return Directive(head[1] if head else "", head[2].strip() if head else info, options, "\n".join(lines).strip("\n"))


def _directive(found: Directive, around: Surroundings) -> str:
    name, options = found.name, found.options
    if name in INVISIBLE:
        return ""
    if name == "bibliography":
        return around.references
    if name == "math":
        return _equation(found.body or found.argument, options.get("label"), around)
    if name in ("code", "code-block", "code-cell"):
        return f"```{found.argument}\n{found.body}\n```"
    if name in ("figure", "image"):
        return _figure(found, around)
    body = flatten(found.body, around)
    heading = _inline(found.argument, around)
    if name in FOLDED or "collapsible" in options or "dropdown" in options.get("class", "").split():
        return f"<details>\n<summary>{heading or name.capitalize()}</summary>\n\n{body}\n\n</details>"
    if name in QUOTED:
        quoted = "\n".join(f"> {line}".rstrip() for line in f"**{heading or name.capitalize()}**\n\n{body}".split("\n"))
        return quoted
    if target := around.link(options["link"]) if options.get("link") else None:
        heading = f"[{heading}]({target})"
    return body if name in UNTITLED or not heading else f"**{heading}**\n\n{body}"


def _figure(found: Directive, around: Surroundings) -> str:
    target = around.link(found.argument) or found.argument
    number = around.labels.get(found.options.get("name", ""), "")
    caption = " ".join(_inline(found.body, around).replace("*", "").split())
    shown = ". ".join(part for part in (number, caption) if part)
    return f"![{found.options.get('alt', '')}]({target})\n" + (f"\n*{shown}*" if shown else "")


def _equation(content: str, label: str | None, around: Surroundings) -> str:
    if not label:
        return f"$$\n{content.strip()}\n$$"
    return f"$$\n{content.strip()}\n\\tag{{{around.labels.get(label, label).strip('()')}}}\n$$"


def _inline(text: str, around: Surroundings) -> str:
    def shown(match: re.Match) -> str:
        if match["role"]:
            return _role(match["role"], match["content"].strip(), around)
        if match["display"] is not None:
            return _equation(match["display"], match["label"], around) if match["label"] else match[0]
        if match["text"] is None:
            return match[0]
        target = around.link(match["target"])
        words = _inline(match["text"], around) or around.labels.get(match["target"].lstrip("#"), match["target"])
        return words if target is None else f"{match['image']}[{words}]({target})"

    return INLINE.sub(shown, text)


def _role(role: str, content: str, around: Surroundings) -> str:
    if role.startswith("cite"):
        return _cited(role, [key.strip() for key in content.split(",")], around.citations)
    if role == "math":
        return f"${content}$"
    titled = re.match(r"(.*?)\s*<([^<>]+)>$", content, flags=re.S)
    target = titled[2] if titled else content
    said = around.labels.get(target.removesuffix(".md").removesuffix(".ipynb").lstrip("/"), target)
    if role == "numref" and titled:
        return titled[1].replace("%s", said.split(" ")[-1]).replace("{number}", said.split(" ")[-1])
    if role in ("eq", "numref", "ref", "doc", "term"):
        return titled[1] if titled else said
    return titled[1] if titled else content


def _cited(role: str, keys: list[str], known: Mapping[str, Citation]) -> str:
    sources = [known.get(key, Citation(key, "n.d.")) for key in keys]
    if role.startswith("cite:t") or role.startswith("cite:ct"):
        return " and ".join(f"{source.authors} ({source.year})" for source in sources)
    return "(" + "; ".join(f"{source.authors} {source.year}" for source in sources) + ")"
