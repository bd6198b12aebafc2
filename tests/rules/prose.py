"""What of a Markdown text is prose: its words, its sentences, its numbers."""

import re
from collections.abc import Callable
from decimal import Decimal

from book.flatten import Directive

from .model import split_blocks

NOT_PROSE = {"math", "bibliography", "code", "code-block", "code-cell", "raw", "eval-rst", "toctree", "tableofcontents"}
DISPLAYED = re.compile(r"<!--.*?-->|\$\$.+?\$\$(?:[ \t]*\([\w:.-]+\))?", flags=re.S)
MARK_LINE = re.compile(r"^(?:\([\w:.-]+\)=|%|\+\+\+).*$", flags=re.M)
ROLE = re.compile(r"\{([\w:.+-]+)\}(`+)(.+?)\2", flags=re.S)
ATOM = re.compile(r"(?<![\\$])\$([^$]+?)\$|(`+)(?!`)(.+?)(?<!`)\2(?!`)", flags=re.S)
LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\([^()]*\)")
ABBREVIATION = re.compile(r"\b(e\.g|i\.e|et al|eq|fig|cf|vs|approx|resp)\.(?=\s)", flags=re.I)
WORD = re.compile(r"[^\W\d_][\w'’-]*")
DECIMAL = re.compile(r"(?<![\w.])\d*\.\d+(?!\d|\.\d)")
NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
THOUSANDS = re.compile(r"(?<=\d)(?:[,\u2009\u202f]|\{,\}|\\,)(?=\d{3}(?!\d))")


def prose(markdown: str, atom: Callable[[str], str] = lambda content: content) -> str:
    """The text without code, displayed equations, directives' options, link targets and citations.

    Titles, captions and the bodies of admonitions stay. `atom` maps what inline math and inline code hold.
    """
    text, found = split_blocks(markdown)
    text = MARK_LINE.sub("", DISPLAYED.sub(" ", text))
    text = ROLE.sub(lambda role: "" if role[1].startswith("cite") else atom(role[3]), text)
    text = LINK.sub(r"\1", ATOM.sub(lambda match: atom(match[1] or match[3]), text))
    return "\n\n".join([text, *(_inside(block, atom) for block in found if block.name not in NOT_PROSE)])


def _inside(block: Directive, atom: Callable[[str], str]) -> str:
    title = "" if block.name in ("figure", "image") else f"{block.argument}."
    return f"{title}\n\n{prose(block.body, atom)}"


def words(markdown: str) -> list[str]:
    """The words of the prose; an inline formula or a piece of code is one."""
    return WORD.findall(prose(markdown, atom=lambda _: "x"))


def sentences(markdown: str) -> list[list[str]]:
    """The words of each sentence; headings and tables are none, an item of a list begins a new one."""
    text = ABBREVIATION.sub(lambda match: match[1].replace(".", ""), prose(markdown, atom=lambda _: "x"))
    lines = ["" if line.lstrip().startswith(("#", "|")) else line for line in text.split("\n")]
    items = [re.sub(r"^\s*(?:[-*>]|\d+\.)\s+", "\n", line) for line in lines]
    paragraphs = re.split(r"\n\s*\n", "\n".join(items))
    parts = [part for paragraph in paragraphs for part in re.split(r"[.?!][)*\"”’]*(?:\s|$)", paragraph)]
    return [found for part in parts if len(found := WORD.findall(part)) > 1]


def decimals(markdown: str) -> list[str]:
    """The decimal numbers of the prose as they are written, without sign."""
    return DECIMAL.findall(THOUSANDS.sub("", prose(markdown)))


def numbers(output: str) -> set[Decimal]:
    """All numbers in an output's text, without sign; `1,797.5` is 1797.5, `1.2e-05` counts as 1.2 too."""
    tokens = NUMBER.findall(output) + NUMBER.findall(THOUSANDS.sub("", output))
    powers = re.findall(r"\d+(?:\.\d+)?[eE][+-]?\d+", output)
    return {Decimal(token) for token in tokens + powers}
