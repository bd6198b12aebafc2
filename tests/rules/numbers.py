"""Rules on what prose says of a run: its numbers, their signs, and its verdicts."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from book import ledger, pages

from .model import Book, Cell, Page
from .prose import numbers, prose, said, shown

RECALL = re.compile(r"^(:{3,})\{dropdown\} Recall\b.*?^\1[ \t]*$", flags=re.M | re.S)
MEASURED = re.compile(r"(-?(?:\d+(?:\.\d+)?|\.\d+))\s*±\s*(\d+(?:\.\d+)?|\.\d+)")
VERDICTS = {"hold": "holds", "holds": "holds", "fail": "fails", "fails": "fails", "undecided": "undecided"}
VERDICT = re.compile(r"\b(holds?|fails?|undecided)\b", flags=re.I)
SUBJECT = r"(?:\b(?:the (?:whole )?claim|so it|both)|(?:^|[.:] )(?:it|this))"
WHOLE = re.compile(rf"{SUBJECT} (holds?|fails?|(?:is |remains? )?undecided)\b", flags=re.I | re.M)


@dataclass
class Section:
    """What stands between two headings of the second level: its texts with their places, and its code."""

    title: str = ""
    texts: list[tuple[str, str]] = field(default_factory=list)
    code: list[Cell] = field(default_factory=list)


def _sections(page: Page) -> list[Section]:
    found = [Section()]
    for cell in page.cells:
        if cell.is_code:
            found[-1].code.append(cell)
            found[-1].texts += [(cell.where, text) for text in _written(cell)]
            continue
        first, *others = re.split(r"^## ", RECALL.sub("", cell.source), flags=re.M)
        found[-1].texts.append((cell.where, first))
        found += [Section(other.partition("\n")[0], [(cell.where, other)]) for other in others]
    return found


def _written(cell: Cell) -> Iterator[str]:
    """What a cell says in words: captions, alt texts, an outcome's reason; the written parts alone."""
    for call in (node for node in ast.walk(cell.tree) if isinstance(node, ast.Call)):
        values = [word.value for word in call.keywords if word.arg in ("caption", "alt")]
        values += call.args[2:] if ast.unparse(call.func) == "show.outcome" else []
        for value in values:
            specs = {id(part) for node in ast.walk(value) if isinstance(node, ast.FormattedValue)
                     for part in ast.walk(node)}  # fmt: skip
            parts = [n.value for n in ast.walk(value) if isinstance(n, ast.Constant) and id(n) not in specs]
            yield " … ".join(part for part in parts if isinstance(part, str))


def _literals(tree: ast.AST) -> set[Decimal]:
    """The numbers written in some code, with their signs, and how many a `range(a, b)` counts; words aside."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float) and abs(node.value) < 1e12:
            found.add(Decimal(repr(node.value)))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            found |= {-value for value in _literals(node.operand)}
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "range" and len(node.args) == 2:
            ends = [node.value for node in node.args if isinstance(node, ast.Constant)]
            found |= {Decimal(ends[1] - ends[0])} if len(ends) == 2 else set()
    return found


def _conditions(book: Book, page: Page) -> set[Decimal]:
    """The numbers of a page's front matter and set-up, and of the recipes whose tables it reads."""
    known = {Decimal(page.facts["minutes"])} if isinstance(page.facts.get("minutes"), int) else set()
    known |= _literals(page.code[0].tree) if page.code else set()
    for name in re.findall(r"[\"'](\w+/\w+)[\"']", "\n".join(cell.source for cell in page.code)):
        recipe = (book.root / "chapters" / name.replace("/", "/tables/")).with_suffix(".py")
        if recipe.exists():
            known |= _literals(ast.parse(recipe.read_text(encoding="utf-8")))
    return known


def numbers_in_prose_are_measured(book: Book) -> list[str]:
    """Each decimal, each number with a minus and each whole number from 10 on stands, with its sign, in its section.

    A section is what stands between two `##` headings; prose is its text, captions, alt texts and outcomes' reasons.
    A number must be in a checked output of the section, or as a number in its code; a section without a checked
    output, such as a lead or a closing table, may take it from the whole page. Exempt are recaps (dropdowns named
    Recall), displayed equations, whole numbers in inline formulas and code, sentences that cite a source, shapes such
    as 64-32-10 and 8 × 8, what a page's title names, and the conditions of a run: what the front matter, the set-up
    cell, or the recipe of a table that the page reads holds as a number. `range(440, 456)` holds 16.
    """
    found = []
    titles = {value for page in book.lessons for _, value in numbers(pages.title(page.notebook) or "")}
    for page in book.lessons:
        sections, conditions = _sections(page), _conditions(book, page) | titles
        everything = _known([cell for section in sections for cell in section.code])
        for section in sections:
            checked = any(cell.is_checked for cell in section.code)
            known = _known(section.code) if checked else everything
            for where, text in section.texts:
                found += [
                    f"{where}: nothing in section {section.title or 'one'!r} shows {written}"
                    for written, value in said(text)
                    if value not in known | conditions
                ]
                cells = section.code if checked else page.code
                measured = _measured([cell.seen for cell in cells if cell.is_checked])
                found += [
                    f"{where}: nothing in section {section.title or 'one'!r} shows {mean} ± {error}"
                    for mean, error in _measured([prose(text)]) - measured
                ]
    return found


def _measured(texts: list[str]) -> set[tuple[Decimal, Decimal]]:
    """Means with their errors, as 1.5 ± 0.2."""
    pairs = MEASURED.findall("\n".join(texts).replace("−", "-"))
    return {(Decimal(mean), Decimal(error)) for mean, error in pairs}


def _known(cells: list[Cell]) -> set[Decimal]:
    written = [_literals(cell.tree) for cell in cells]
    return shown("\n".join(cell.seen for cell in cells if cell.is_checked)).union(*written)


def verdicts_in_prose_are_stored(book: Book) -> list[str]:
    """Beside a claim a verdict word is one that it stores: of the claim, or of one of its conditions.

    Beside it is the text after it, up to the next code or heading; claims in a row share it. Where the text says that
    "the claim", "it", "this" or "both" holds, fails or is undecided, the word is the whole claim's, unless that one is
    conditional.
    """
    found = []
    for page in book.lessons:
        stored, waiting = ledger.claims_of(page.stored) if page.stored else [], []
        for cell in page.cells:
            here = [claim for index, claim in stored if index == cell.index]
            if cell.is_code:
                waiting += here
                continue
            text = re.split(r"^#+ ", prose(cell.source), maxsplit=1, flags=re.M)[0]
            found += [f"{cell.where}: {message}" for message in _contradicted(text, waiting)] if waiting else []
            waiting = []
    return found


def _contradicted(text: str, claims: list[dict]) -> Iterator[str]:
    names = ", ".join(claim["name"] for claim in claims)
    whole = {claim["verdict"] for claim in claims}
    parts = whole | {part["verdict"] for claim in claims for part in claim["conditions"]}
    for word in VERDICT.findall(text):
        if VERDICTS[word.lower()] not in parts:
            yield f"{word!r} is no stored verdict of {names}"
    for word in WHOLE.findall(text):
        if "conditional" not in whole and VERDICTS[word.lower().split()[-1]] not in whole:
            yield f"{word!r} is not the stored verdict of {names}"
