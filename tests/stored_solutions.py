"""The stored solutions of every exercise, as functions."""

from pathlib import Path

from rules import exercises
from rules.model import Book

from labsupport import checks

__all__ = ["solutions"]


def solutions(root: Path) -> dict:
    """Each solution by its check's name, "topic.name"."""
    book = Book(root, checks.ALL, None)
    return {
        exercise.name: exercise.function(exercise.solution.source)
        for page in book.solutions
        for exercise in exercises._exercises(page)
    }
