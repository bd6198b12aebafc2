"""The frame of every check: run a reader's function on fresh inputs, and say what is wrong in one sentence."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from types import ModuleType
from typing import Any

import torch

from labsupport.values import check_count

__all__ = ["Check", "Report", "check", "collect", "grade"]

Examine = Callable[[Callable, torch.Generator], str | None]
MARKS = {"correct": "✓", "wrong": "✗", "not attempted": "…"}


@dataclass(frozen=True)
class Report:
    """What a check found: `status` is "correct", "wrong" or "not attempted"."""

    name: str
    status: str
    message: str

    def __repr__(self) -> str:
        return f"{MARKS[self.status]} {self.name}: {self.status}{'. ' + self.message if self.message else ''}"

    def _repr_html_(self) -> str:
        return f'<p class="check check-{self.status.replace(" ", "-")}">{escape(repr(self))}</p>'


class NotAttempted(Exception):
    """The stub still stands: the reader's function returned `...` or nothing."""


@dataclass(frozen=True)
class Check:
    """Tests properties of a function `name`; `wrong` holds answers it must refuse, each by its misconception's name."""

    name: str
    examine: Examine = field(repr=False)
    wrong: Mapping[str, Callable] = field(repr=False)

    def __call__(self, answer: Callable, seed: int = 0) -> Report:
        """The report on `answer`; `seed` draws the inputs, so a graded variant can keep its own secret.

        Raises:
            ValueError: `answer` is not a function, or `seed` no integer >= 0.
        """
        if not callable(answer):
            raise ValueError(f"{self.name}: answer must be your function itself, without calling it, got {answer!r}")
        generator = torch.Generator().manual_seed(check_count(self.name, "seed", seed, at_least=0))
        try:
            complaint = self.examine(_attempted(answer), generator)
        except NotAttempted:
            return Report(self.name, "not attempted", "")
        except (Exception, SystemExit) as error:  # the reader's code: whatever it raises is the finding
            return Report(self.name, "wrong", f"It raised {type(error).__name__}: {error}")
        return Report(self.name, "wrong", complaint) if complaint else Report(self.name, "correct", "")


def check(*, wrong: Mapping[str, Callable]) -> Callable[[Examine], Check]:
    """Turns `examine(answer, generator) -> complaint or None` into the check of the function of the same name.

    Raises:
        ValueError: fewer than three wrong answers.
    """
    if len(wrong) < 3:
        raise ValueError(f"check: wrong must hold >= 3 wrong answers, got {len(wrong)}")
    return lambda examine: Check(examine.__name__, examine, dict(wrong))


def collect(*topics: ModuleType) -> dict[str, Check]:
    """Every check of some topic modules, by "topic.name"."""
    return {
        f"{topic.__name__.rsplit('.', 1)[-1]}.{name}": getattr(topic, name)
        for topic in topics
        for name in getattr(topic, "__all__", ())
        if isinstance(getattr(topic, name), Check)
    }


def grade(namespace: Mapping[str, Any], topic: ModuleType, *, seed: int) -> list[Report]:
    """Reports on every check of `topic`, finding the answers by function name in a notebook's `globals()`.

    An answer that is missing reads "not attempted".

    Raises:
        ValueError: `topic` is no module with checks, `namespace` no dict, or `seed` no integer >= 0.
    """
    check_count("grade", "seed", seed, at_least=0)
    if not isinstance(namespace, Mapping):
        raise ValueError(f"grade: namespace must be a dict such as globals(), got {type(namespace).__name__}")
    if not isinstance(topic, ModuleType) or not collect(topic):
        raise ValueError(f"grade: topic must be a module with checks, such as checks.landscape, got {topic!r}")
    answers = [(item, namespace.get(item.name)) for item in collect(topic).values()]
    return [
        item(answer, seed) if callable(answer) else Report(item.name, "not attempted", "") for item, answer in answers
    ]


def _own(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def _attempted(answer: Callable) -> Callable:
    def call(*args: Any, **kwargs: Any) -> Any:
        # copies, so that an answer that works in place does not change what it is judged by
        result = answer(*map(_own, args), **{name: _own(value) for name, value in kwargs.items()})
        if result is None and not _is_stub(answer):
            raise ValueError("it returned None: is a `return` missing?")
        if result is None or result is ...:
            raise NotAttempted
        return result

    return call


def _is_stub(answer: Callable) -> bool:
    """Whether a line of the function is still `...`; yes where its source cannot be had."""
    try:
        return any(line.strip() == "..." for line in inspect.getsource(answer).splitlines())
    except (OSError, TypeError):
        return True
