"""The book's own rules. Each is a pure function `rule(book) -> list[str]` whose messages name the file and the cell."""

from inspect import getmembers, isfunction
from types import ModuleType

from . import budgets, cells, claims, exercises, numbers, outputs, predictions, reviewed, structure, texts
from .model import Book, Cell, Page

__all__ = ["RULES", "Book", "Cell", "Page"]


def _rules(module: ModuleType) -> dict:
    return {
        name: rule
        for name, rule in getmembers(module, isfunction)
        if rule.__module__ == module.__name__ and not name.startswith("_")
    }


RULES = {
    name: rule
    for module in (texts, budgets, cells, outputs, numbers, reviewed, predictions, claims, exercises, structure)
    for name, rule in _rules(module).items()
}
