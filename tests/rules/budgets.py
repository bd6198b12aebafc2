"""Rules on a page's size: words, minutes, and what a reader must hold in mind before the first result."""

import re
from statistics import median

from .model import Book
from .prose import sentences, words
from .texts import EQUATION

MAX_WORDS, MAX_MINUTES, MAX_EQUATIONS, MAX_TERMS, MAX_MEDIAN, MAX_LINES = 1800, 30, 3, 4, 18, 15


def few_words(book: Book) -> list[str]:
    """A page has at most 1,800 words of prose."""
    counts = [(page, sum(len(words(cell.source)) for cell in page.markdown)) for page in book.lessons]
    return [
        f"{page.where}: {count} words of prose, more than {MAX_WORDS}" for page, count in counts if count > MAX_WORDS
    ]


def few_minutes(book: Book) -> list[str]:
    """A page takes at most 30 minutes."""
    minutes = [(page, page.facts.get("minutes")) for page in book.lessons]
    return [
        f"{page.where}: {number} minutes, more than {MAX_MINUTES}"
        for page, number in minutes
        if isinstance(number, int) and number > MAX_MINUTES
    ]


def few_equations_before_the_first_result(book: Book) -> list[str]:
    """At most 3 numbered equations stand above the first checked output."""
    found = []
    for page in book.lessons:
        count = sum(len(EQUATION.findall(cell.source)) for cell in page.before_first_result() if not cell.is_code)
        if count > MAX_EQUATIONS:
            found.append(f"{page.where}: {count} numbered equations before the first result, more than {MAX_EQUATIONS}")
    return found


def few_terms_before_the_first_result(book: Book) -> list[str]:
    """At most 4 of the glossary's terms are introduced in bold above the first checked output."""
    found = []
    for page in book.lessons:
        texts = [cell.source for cell in page.before_first_result() if not cell.is_code]
        bold = {term.strip(" .,:;").lower() for text in texts for term in re.findall(r"\*\*([^*]+)\*\*", text)}
        new = sorted(bold & book.glossary)
        if len(new) > MAX_TERMS:
            found.append(
                f"{page.where}: {len(new)} new terms before the first result ({', '.join(new)}), over {MAX_TERMS}"
            )
    return found


def short_sentences(book: Book) -> list[str]:
    """The median sentence of a page has at most 18 words."""
    found = []
    for page in book.lessons:
        lengths = [len(sentence) for cell in page.markdown for sentence in sentences(cell.source)]
        if lengths and median(lengths) > MAX_MEDIAN:
            found.append(f"{page.where}: the median sentence has {median(lengths):g} words, more than {MAX_MEDIAN}")
    return found


def short_cells(book: Book) -> list[str]:
    """A code cell has at most 15 lines."""
    counts = [(cell, len(cell.source.splitlines())) for page in book.pages for cell in page.code]
    return [f"{cell.where}: {count} lines, more than {MAX_LINES}" for cell, count in counts if count > MAX_LINES]
