"""Rules on a page's text: paired, described, built as a page is, its references sound."""

import re

from book import pages, plan
from book.flatten import Directive

from .model import Book, Page, all_blocks, blocks, split_blocks

CITE = re.compile(r"\{cite[\w:]*\}`([^`]+)`")
EQUATION = re.compile(r"\$\$[ \t]*\(([\w:.-]+)\)")
CODE_EQUATION = re.compile(r"#.*\beq\. \((\d+)\)")


def paired_and_canonical(book: Book) -> list[str]:
    """Each text's notebook is its execution, and the text is in the form that running it writes."""
    reasons = [pages.is_current(page.md) for page in book.pages]
    return [f"chapters/{reason} (python -m book run)" for reason in reasons if reason]


def front_matter_is_there(book: Book) -> list[str]:
    """minutes is a number, requires and teaches are lists, and a page teaches something."""
    found = []
    for page in book.lessons:
        minutes, requires, teaches = (page.facts.get(key) for key in ("minutes", "requires", "teaches"))
        if not isinstance(minutes, int) or minutes < 1:
            found.append(f"{page.where}: minutes must be a number >= 1, got {minutes!r}")
        if not isinstance(requires, list) or not all(isinstance(word, str) for word in requires):
            found.append(f"{page.where}: requires must be a list of pages and phrases, got {requires!r}")
        if not isinstance(teaches, list) or not teaches or not all(isinstance(word, str) for word in teaches):
            found.append(f"{page.where}: teaches must be a list of glossary terms, got {teaches!r}")
    return found


def _recalls(page: Page) -> list[tuple[int, Directive]]:
    found = [(cell.index, block) for cell in page.markdown for block in blocks(cell.source)]
    return [(index, block) for index, block in found if (block.name, block.argument) == ("dropdown", "Recall")]


def _recall_is_sound(block: Directive, questions: int) -> bool:
    """The questions come first; the answers follow, in a dropdown of their own or after the word "Answers"."""
    text, inner = split_blocks(block.body)
    asked, answers, _ = text.partition("Answers")
    return asked.count("?") == questions and bool(answers or inner)


def begins_with_a_question(book: Book) -> list[str]:
    """The first cell's heading is the page's only one of first level, and a question."""
    found = []
    for page in book.lessons:
        headings = [(cell, text) for cell in page.markdown for text in re.findall(r"^# (.+)$", cell.source, flags=re.M)]
        if not headings or headings[0][0].index != 0 or not headings[0][1].strip().endswith("?"):
            found.append(f"{page.where}, cell 1: the page must begin with `# ` and its question")
        found += [f"{cell.where}: a second heading of first level, {text!r}" for cell, text in headings[1:]]
    return found


def recall_questions(book: Book) -> list[str]:
    """Two recall questions before the first code, three before the exercises, answers folded inside."""
    found = []
    for page in book.lessons:
        recalls = _recalls(page)
        first_code = min((cell.index for cell in page.code), default=0)
        last_code = max((cell.index for cell in page.code), default=0)
        early = [block for index, block in recalls if index < first_code]
        late = [block for index, block in recalls if index > last_code]
        if len(early) != 1 or not _recall_is_sound(early[0], 2):
            found.append(f"{page.where}: before its first code a page asks two recall questions, answers folded inside")
        if len(late) != 1 or not _recall_is_sound(late[0], 3):
            found.append(f"{page.where}: after its last code a page asks three recall questions, answers folded inside")
    return found


def one_set_up_cell(book: Book) -> list[str]:
    """The first code cell imports all that the page needs, and no other cell imports anything."""
    found = []
    for page in book.pages:
        for cell in page.code:
            imports = re.search(r"^\s*(?:import|from) \w", cell.source, flags=re.M)
            if cell is page.code[0] and not imports:
                found.append(f"{cell.where}: the first code cell is the set-up and imports what the page needs")
            if cell is not page.code[0] and imports:
                found.append(f"{cell.where}: imports belong to the set-up cell, the first one")
    return found


def equations_are_built(book: Book) -> list[str]:
    """At least one numbered equation, and lines of code marked `# eq. (n)` with numbers that exist."""
    found = []
    for page in book.lessons:
        count = sum(len(EQUATION.findall(cell.source)) for cell in page.markdown)
        marked = [(cell, int(number)) for cell in page.code for number in CODE_EQUATION.findall(cell.source)]
        if not count:
            found.append(f"{page.where}: no numbered equation")
        if not marked:
            found.append(f"{page.where}: no line of code is marked `# eq. (n)`")
        found += [f"{cell.where}: there is no equation ({n}) on this page" for cell, n in marked if not 1 <= n <= count]
    return found


def equations_are_evaluated(book: Book) -> list[str]:
    """Each numbered equation is computed in a line marked `# eq. (n)`, or a test names its label, like `eq-slope`."""
    tests = "\n".join(path.read_text(encoding="utf-8") for path in sorted(book.root.glob("tests/**/test_*.py")))
    found = []
    for page in book.lessons:
        marked = {int(number) for cell in page.code for number in CODE_EQUATION.findall(cell.source)}
        labels = [(cell, label) for cell in page.markdown for label in EQUATION.findall(cell.source)]
        found += [
            f"{cell.where}: no code is marked `# eq. ({number})`, and no test names {label!r}"
            for number, (cell, label) in enumerate(labels, start=1)
            if number not in marked and not re.search(rf"\b{re.escape(label)}\b(?!-)", tests)
        ]
    return found


def has_slider(book: Book) -> list[str]:
    """At least one figure of a page can be moved."""
    return [
        f"{page.where}: no show.slider" for page in book.lessons if not any(c.calls("show.slider") for c in page.code)
    ]


def closes_as_a_page_does(book: Book) -> list[str]:
    """A page ends with "Where this stops", a recall, then `## Exercises` with a link to them, in this order."""
    marks = {
        "a heading `## Where this stops`": r"^#+ Where this stops",
        "a last recall": r"^:{3,}\{dropdown\} Recall[ \t]*$",
        "a heading `## Exercises`": r"^## Exercises[ \t]*$",
        "a link to exercises.ipynb": r"\]\(exercises\.ipynb\)",
    }
    found = []
    for page in book.lessons:
        text = "\n\n".join(cell.source for cell in page.markdown)
        places = {
            what: [match.start() for match in re.finditer(mark, text, flags=re.M)] for what, mark in marks.items()
        }
        lacking = [f"{page.where}: lacks {what}" for what, where in places.items() if not where]
        last = [where[-1] for where in places.values() if where]
        if not lacking and last != sorted(last):
            lacking = [f"{page.where}: a page ends with {', then '.join(marks)}"]
        found += lacking
    return found


def citations_resolve(book: Book) -> list[str]:
    """Each key that is cited stands in references.bib."""
    return [
        f"{where}: {key.strip()!r} is not in references.bib"
        for where, text in book.texts
        for keys in CITE.findall(text)
        for key in keys.split(",")
        if key.strip() not in book.sources
    ]


def sources_are_used(book: Book) -> list[str]:
    """Each entry of references.bib is cited somewhere in the chapters."""
    used = {key.strip() for _, text in book.texts for keys in CITE.findall(text) for key in keys.split(",")}
    return [f"references.bib: nothing in chapters/ cites {key!r}" for key in sorted(book.sources - used)]


def pictures_in_texts_are_described(book: Book) -> list[str]:
    """Each figure has alt text; pictures come through figure directives, not through raw HTML."""
    found = []
    for where, text in book.texts:
        for block in all_blocks(text):
            if block.name in ("figure", "image") and not block.options.get("alt", "").strip():
                found.append(f"{where}: the figure {block.argument!r} has no `:alt:`")
        found += [
            f"{where}: a picture without alt text" for alt in re.findall(r"!\[([^\]]*)\]\(", text) if not alt.strip()
        ]
        found += [f"{where}: a raw <img>; use a figure directive"] * len(re.findall(r"<img\b", text))
    return found


def contents_are_complete(book: Book) -> list[str]:
    """What `_toc.yml` names exists, and every page, exercise and plain page stands in it, once."""
    found = []
    for entry in book.toc:
        if not any((book.root / f"{entry}{suffix}").exists() for suffix in (".md", ".ipynb", ".rst")):
            found.append(f"_toc.yml: {entry} does not exist")
    ours = {where.removesuffix(".md") for where in book.plain} | {f"chapters/{page.name}" for page in book.pages}
    ours |= {f"chapters/{page.topic}/exercises" for page in book.solutions}
    found += [f"_toc.yml: {entry} is missing" for entry in sorted(ours - set(book.toc))]
    return found + [
        f"_toc.yml: {entry} stands in it twice" for entry in sorted(set(book.toc)) if book.toc.count(entry) > 1
    ]


def prerequisites_come_before(book: Book) -> list[str]:
    """A page that another one requires exists and comes earlier in `_toc.yml`; so there are no circles."""
    place = {lesson.name: index for index, lesson in enumerate(plan.lessons(book.root))}
    found = []
    for page in book.lessons:
        for word in page.facts.get("requires") or []:
            if re.fullmatch(r"[a-z_]+/[a-z_]+", word) and word not in place:
                found.append(f"{page.where}: requires {word}, and there is no such page")
            elif place.get(word, -1) >= place[page.name]:
                found.append(f"{page.where}: requires {word}, which does not come before it in _toc.yml")
    return found


def terms_are_in_the_glossary(book: Book) -> list[str]:
    """Each term in `teaches` has a row of the glossary, with its Chinese equivalent."""
    return [
        f"{page.where}: {term!r} has no row with a Chinese equivalent in chapters/glossary.md"
        for page in book.lessons
        for term in page.facts.get("teaches") or []
        if term.lower() not in book.glossary
    ]
