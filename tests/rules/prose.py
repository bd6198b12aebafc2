"""What of a Markdown text is prose: its words, its sentences, its numbers, and what of it has to be reviewed."""

import hashlib
import re
from collections.abc import Callable
from decimal import Decimal

from book.flatten import Directive

from .model import Book, all_blocks, split_blocks

NOT_PROSE = {"math", "bibliography", "code", "code-block", "code-cell", "raw", "eval-rst", "toctree", "tableofcontents"}
DISPLAYED = re.compile(r"<!--.*?-->|\$\$.+?\$\$(?:[ \t]*\([\w:.-]+\))?", flags=re.S)
MARK_LINE = re.compile(r"^(?:\([\w:.-]+\)=|%|\+\+\+).*$", flags=re.M)
ROLE = re.compile(r"\{([\w:.+-]+)\}(`+)(.+?)\2", flags=re.S)
ATOM = re.compile(r"(?<![\\$])\$([^$]+?)\$|(`+)(?!`)(.+?)(?<!`)\2(?!`)", flags=re.S)
LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\([^()]*\)")
ABBREVIATION = re.compile(r"\b(e\.g|i\.e|et al|eq|fig|cf|vs|approx|resp)\.(?=\s)", flags=re.I)
WORD = re.compile(r"[^\W\d_][\w'’-]*")
NUMBER = re.compile(r"(?<![\w.)}\]²])([-−]?)((?<!\d-)(?<!\de-)\d+(?!\.?\d)|\d*\.\d+(?!\d|\.\d))")
POWER = re.compile(r"(?<![\w.])([-−]?)(\d+(?:\.\d+)?)[eE]([+-]?\d+)")
CITED = re.compile(r"\{cite[\w:]*\}`[^`]+`")
SENTENCE = re.compile(r"(?<=[.?!:;])[)*\"”]*\s+|\n\s*\n|\|")
SHAPE = re.compile(r"(?<![\w.])(?:\d+(?:-\d+)+|(\d+)\s?×\s?\1)(?![\w.]\d|\d)")
SOURCE = "⟦source⟧"
LEAST = 10
QUOTATION = re.compile(r"(?<![\w.,;:!?)*])[\"“]([^\"“”]+)[\"”]")
EQUATIONS = re.compile(r"\$\$.+?\$\$[ \t]*\([\w:.-]+\)", flags=re.S)
REVIEWED = ("chapters/errata.md", "chapters/glossary.md", "chapters/notation.md")
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


def numbers(text: str) -> list[tuple[str, Decimal]]:
    """The numbers of a text as they are written, and as they count, with their signs; `1,797.5` is 1797.5."""
    found = NUMBER.findall(THOUSANDS.sub("", text))
    return [(sign + digits, Decimal(digits) * (-1 if sign else 1)) for sign, digits in found]


def _without_whole(formula: str) -> str:
    return re.sub(r"(?<![\d.])\d+(?![\d.])", "", THOUSANDS.sub("", formula))


def said(markdown: str) -> list[tuple[str, Decimal]]:
    """The numbers of a text that a run must have shown: decimals, those with a minus, whole ones from 10 on.

    Left out are sentences that cite a source, whole numbers in inline formulas and code, and shapes.
    """
    alts = "\n\n".join(block.options.get("alt", "") for block in all_blocks(markdown))
    words = prose(CITED.sub(SOURCE, markdown), atom=_without_whole)
    sentences = [part for part in SENTENCE.split(f"{words}\n\n{alts}") if SOURCE not in part]
    found = [pair for part in sentences for pair in numbers(SHAPE.sub("", part))]
    return [(written, value) for written, value in found if "." in written or value < 0 or value >= LEAST]


def shown(output: str) -> set[Decimal]:
    """All numbers in an output's text, with their signs; `1.2e-05` counts as 1.2 too."""
    values = {value for _, value in numbers(output) + numbers(THOUSANDS.sub(" ", output))}
    for sign, head, power in POWER.findall(output):
        values |= {Decimal(f"{sign and '-'}{head}"), Decimal(f"{sign and '-'}{head}e{power}")}
    return values


def fingerprints(book: Book) -> dict[str, str]:
    """Where a text stands that no run proves, and its hash, spaces and line ends aside."""
    found = {where: book.plain[where] for where in REVIEWED if where in book.plain}
    for page in book.lessons:
        text = "\n\n".join(cell.source for cell in page.markdown)
        parts = {
            "equations": EQUATIONS.findall(text),
            "quotations": QUOTATION.findall(prose(text)),
            "tables": re.findall(r"^[ \t]*\|.*", EQUATIONS.sub("", text), flags=re.M),
        }
        found |= {f"{page.where}#{kind}": "\n".join(lines) for kind, lines in parts.items() if lines}
    return {where: hashlib.sha256(" ".join(text.split()).encode()).hexdigest() for where, text in found.items()}
