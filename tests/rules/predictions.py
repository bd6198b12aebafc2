"""Rules on predictions: each has an outcome, and nothing gives it away while it is unanswered."""

import ast
import re
from collections import defaultdict
from dataclasses import dataclass

from labsupport.show.predictions import PREDICTION

from .model import INVISIBLE, Book, Cell, Page, all_blocks, visible

MOST_CELLS = 8
HEADING = re.compile(r"^(#{1,6}) (.*)$", flags=re.M)
HIDDEN_CODE = {"remove-input", "remove-cell", "hide-input", "hide-cell"}
ATTRIBUTES = re.compile(r'\b(?:alt|title|aria-label)="([^"]*)"|"(?:alt|text)": *"([^"]*)"')


@dataclass(frozen=True)
class Asked:
    """A prediction: its cell, the cell of its outcome, and what would give it away."""

    name: str
    cell: Cell
    outcome: Cell | None
    reveals: tuple[str, ...]


def _named(cell: Cell, function: str) -> list[str]:
    calls = cell.calls(function)
    return [ast.literal_eval(call.args[0]) for call in calls if call.args and isinstance(call.args[0], ast.Constant)]


def _sections(page: Page) -> list[int]:
    """The number of the section that each cell begins in: a heading of any level opens one."""
    found, now = [], 0
    for cell in page.cells:
        now += not cell.is_code and bool(HEADING.search(_prose(cell.source)))
        found.append(now)
    return found


def _asked(page: Page) -> list[Asked]:
    found, sections = [], _sections(page)
    records = {}
    for cell in page.code:
        for output in cell.outputs:
            record = output.get("data", {}).get(PREDICTION)
            if record:
                records[record["name"]] = tuple(record["reveals"])
    for cell in page.code:
        for name in _named(cell, "show.predict"):
            ends = [c for c in page.cells[cell.index + 1 :] if name in _named(c, "show.outcome")]
            ends = [c for c in ends if sections[c.index] == sections[cell.index]]
            found.append(Asked(name, cell, ends[0] if len(ends) == 1 else None, records.get(name, ())))
    return found


def predictions_have_outcomes(book: Book) -> list[str]:
    """Each page asks; each prediction's outcome ends the experiment, in its section and within eight cells."""
    found, names = [], defaultdict(list)
    for page in book.lessons:
        asked = _asked(page)
        if not asked:
            found.append(f"{page.where}: no show.predict")
        last = -1
        for one in asked:
            names[one.name].append(one.cell.where)
            if one.outcome is None:
                found.append(f"{one.cell.where}: prediction {one.name!r} needs one show.outcome in its section")
                continue
            if one.outcome.index - one.cell.index > MOST_CELLS:
                far = one.outcome.index - one.cell.index
                found.append(f"{one.cell.where}: the outcome of {one.name!r} comes after {far} cells, more than eight")
            if one.cell.index < last:
                found.append(f"{one.cell.where}: {one.name!r} is asked within the fold of another prediction")
            last = one.outcome.index
        known = {one.name for one in asked}
        for cell in page.code:
            found += [
                f"{cell.where}: outcome of {name!r}, which nothing asks"
                for name in set(_named(cell, "show.outcome")) - known
            ]
            if "hide-output" in cell.tags:
                found.append(f"{cell.where}: an output may be folded by a prediction alone, not by hide-output")
    return found + [
        f"{w[1]}: the prediction {name!r} is asked in {w[0]} already" for name, w in names.items() if len(w) > 1
    ]


def nothing_gives_a_prediction_away(book: Book) -> list[str]:
    """While a page's predictions are unanswered, what one of them `reveals` is not to be seen.

    Looked at: title and headings of the whole page; before the prediction, and after its outcome up to the next
    heading of the second level: prose, captions, alt texts, code that is shown, outputs, labels and texts of sliders.
    Left out: what folds (dropdowns, and between this or a later prediction and its outcome all but the code). Case is
    ignored.
    """
    found = []
    for page in book.lessons:
        asked = _asked(page)
        for place, one in enumerate(asked):
            later = [each for each in asked[place:] if each.outcome]  # those before may be answered already
            folded = {i for each in later for i in range(each.cell.index + 1, each.outcome.index + 1)}
            if not one.reveals:
                found.append(f"{one.cell.where}: prediction {one.name!r} says nothing of what would reveal it")
            for place, text in _seen(page, one, folded):
                for pattern in one.reveals:
                    if match := re.search(pattern, text, flags=re.I):
                        found.append(f"{place}: {match[0]!r} gives away {one.name!r}")
    return found


def _seen(page: Page, one: Asked, folded: set[int]) -> list[tuple[str, str]]:
    """(where, text) of what an unanswered reader sees that may not answer `one`."""
    found = [(c.where, h[2]) for c in page.markdown for h in HEADING.finditer(_prose(c.source))]
    end = one.outcome.index if one.outcome else one.cell.index
    for cell in page.cells:
        if cell.index == one.cell.index:
            continue
        if cell.is_code:
            if not HIDDEN_CODE & set(cell.tags):
                found.append((cell.where, cell.source))
            if cell.index not in folded:
                found += [(cell.where, _shown(kind, value)) for kind, value in cell.data]
        elif cell.index not in folded:
            after = cell.index > end
            here, *beyond = re.split(r"^##? ", cell.source, maxsplit=1, flags=re.M) if after else [cell.source]
            found.append((cell.where, _prose(here)))
            found += [(cell.where, f"{b.body}\n{b.options}") for b in all_blocks(here) if b.name != "dropdown"]
            if beyond:
                break
    return found


def _shown(kind: str, value: str) -> str:
    """What an output shows, with the texts of its pictures and sliders."""
    if kind == "text/html":
        return "\n".join([visible(value), *(a or b for a, b in ATTRIBUTES.findall(value))])
    return value if kind in ("text/plain", "text/markdown") else ""


def _prose(source: str) -> str:
    """A text cell without its directives."""
    return re.sub(r"^(:{3,}|`{3,})\{.*?^\1[ \t]*$", "", INVISIBLE.sub("", source), flags=re.M | re.S)
