"""The book keeps its own rules: each of tests/rules over the real book (test_chapter_rules.py breaks each)."""

import pytest
from rules import RULES, Book
from rules.model import build_wheel

from book.pages import ROOT


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    from labsupport import checks

    return Book(ROOT, checks.ALL, build_wheel(ROOT, tmp_path_factory.mktemp("wheel")))


@pytest.mark.parametrize("name", RULES)
def test_the_book_keeps_its_rules(book, name):
    found = RULES[name](book)
    assert not found, f"{RULES[name].__doc__}\n" + "\n".join(found)
