"""The frame of every check: run a reader's function on fresh inputs, and say what is wrong in one sentence.

A check says what is right (`truth`), what is handed in (`given`), and what readers get wrong (`wrong`, each with its
message). The frame compares. Only what no truth can say, such as the laws of chance, is written by hand.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from html import escape
from types import ModuleType
from typing import Any

import torch

from labsupport.checks.compare import Raised, close, copied, unchanged
from labsupport.checks.wording import Case, placed, unlike
from labsupport.counters import seeded
from labsupport.values import check_count

__all__ = ["Check", "Report", "check", "collect", "grade"]

Examine = Callable[[Callable, torch.Generator], str | None]
Given = Callable[[torch.Generator], Iterable[tuple] | Mapping[str, tuple]]
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


class Stopped(Exception):
    """An answer that need not be compared: a stub, one that returns nothing, or that changed what it was given."""

    def __init__(self, status: str, message: str = "") -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Check:
    """Judges a function `name`; `wrong` holds answers it must refuse, each by its misconception's name."""

    name: str
    examine: Examine = field(repr=False)
    wrong: Mapping[str, Callable] = field(repr=False)
    messages: Mapping[str, str] = field(repr=False, default_factory=dict)
    truth: Callable | None = field(repr=False, default=None)
    given: Given | None = field(repr=False, default=None)
    same: Callable[[Any, Any], bool] = field(repr=False, default=close)
    returns: str | None = field(repr=False, default=None)
    keeps: bool = field(repr=False, default=False)

    def __call__(self, answer: Callable, seed: int = 0) -> Report:
        """The report on `answer`; `seed` draws the inputs, so a graded variant can keep its own secret.

        Raises:
            ValueError: `answer` is not a function, or `seed` no integer >= 0.
        """
        if not callable(answer):
            raise ValueError(f"{self.name}: answer must be your function itself, without calling it, got {answer!r}")
        generator = seeded(check_count(self.name, "seed", seed, at_least=0))
        right = self._right(generator) if self.truth else []
        tried = partial(_tried, answer, names=_parameters(self.truth or answer), keeps=self.keeps)
        try:
            complaint = self._compared(tried, right) or self.examine(tried, generator)
        except Stopped as stop:
            return Report(self.name, stop.status, str(stop))
        except (Exception, SystemExit) as error:  # the reader's code: whatever it raises is the finding
            complaint = f"It raised {type(error).__name__}: {error}"
        complaint = self.messages.get(complaint, complaint)
        return Report(self.name, "wrong", complaint) if complaint else Report(self.name, "correct", "")

    def _right(self, generator: torch.Generator) -> list[tuple[str, tuple, Any]]:
        """A word on each case, its arguments and the right answer."""
        given = self.given(generator)
        labelled = given.items() if isinstance(given, Mapping) else (("", args) for args in given)
        cases = [(label, args, self.truth(*copied(args))) for label, args in labelled]
        if not cases:
            raise ValueError(f"{self.name}: given must yield at least one case, got none")
        return cases

    def _compared(self, tried: Callable, right: list[tuple[str, tuple, Any]]) -> str | None:
        """What is wrong with the answers to all that is given, by the stored mistake that gives the same."""
        cases = [Case(*case, _outcome(tried, case[1])) for case in right]
        bad = next((case for case in cases if not self._alike(case.got, case.right)), None)
        if bad is None:
            return None
        name = self._recognised(cases)
        return (placed(bad, _parameters(self.truth)) + self.messages.get(name, unlike(bad, self.returns))).strip()

    def _recognised(self, cases: list[Case]) -> str | None:
        """The stored mistake that answers every case as the reader does, if not exactly then nearly."""
        nearly_right = all(close(case.got, case.right) for case in cases)
        for alike in (self._alike,) if nearly_right else (self._alike, close):
            for name, wrong in self.wrong.items():
                if all(alike(case.got, _outcome(wrong, copied(case.args))) for case in cases):
                    return name
        return None

    def _alike(self, got: Any, right: Any) -> bool:
        if isinstance(got, Raised) or isinstance(right, Raised):
            return close(got, right)
        try:
            return bool(self.same(got, right))
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):  # an answer of another kind
            return False


def check(
    *,
    wrong: Mapping[str, tuple[Callable, str]],
    truth: Callable | None = None,
    given: Given | None = None,
    same: Callable[[Any, Any], bool] = close,
    returns: str | None = None,
    keeps: bool = False,
) -> Callable[[Examine], Check]:
    """Turns `examine(answer, generator) -> complaint or None` into the check of the function of the same name.

    Args:
        wrong: for each misconception, an answer that has it and the message to a reader whose outputs are the same.
        truth: the right answer, or None where `examine` alone judges; it may return a misconception's name.
        given: from the check's generator to tuples of arguments, or to a mapping from a word on each to them.
        same: whether an answer agrees with another; `compare.close` takes single precision, arrays and lists.
        returns: what to return, in words, for answers of another shape.
        keeps: whether the text forbids changing the arguments.
    Raises:
        ValueError: fewer than three wrong answers, or one of `truth` and `given` without the other.
    """
    if len(wrong) < 3:
        raise ValueError(f"check: wrong must hold >= 3 wrong answers, got {len(wrong)}")
    if (truth is None) != (given is None):
        raise ValueError(f"check: truth and given must go together, got truth={truth!r}, given={given!r}")
    functions, messages = ({name: pair[i] for name, pair in wrong.items()} for i in (0, 1))
    return lambda examine: Check(
        examine.__name__, examine, functions, messages, truth=truth, given=given, same=same, returns=returns,
        keeps=keeps,
    )  # fmt: skip


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


def _outcome(answer: Callable, args: tuple) -> Any:
    try:
        return answer(*args)
    except Stopped:
        raise
    except (Exception, SystemExit) as error:
        return Raised(type(error).__name__, str(error))


def _tried(answer: Callable, *args: Any, names: list[str], keeps: bool) -> Any:
    """What an answer returns to copies of its arguments, so that working in place changes nothing it is judged by."""
    handed = copied(args)
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        result = answer(*handed)
    finally:  # nor does setting what is torch's for all
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
    if result is None and not _is_stub(answer):
        raise Stopped("wrong", "It returned None: is a `return` missing?")
    if result is None or result is ...:
        raise Stopped("not attempted")
    for place, (now, before) in enumerate(zip(handed, args)):
        if keeps and not unchanged(now, before):
            name = f"`{names[place]}`" if place < len(names) else f"argument {place + 1}"
            told = "return something new, and leave what is given as it was."
            raise Stopped("wrong", f"It changed {name} in place: {told}")
    return result


def _parameters(function: Callable) -> list[str]:
    """Names of a function's arguments, as far as each takes one."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]


def _is_stub(answer: Callable) -> bool:
    """Whether a statement of the function is still `...`; yes where its source cannot be had."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(answer)))
    except (OSError, TypeError):
        return True
    except SyntaxError:  # a lambda in the middle of something: no statement at all
        return False
    values = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr))
    return any(isinstance(value, ast.Constant) and value.value is ... for value in values)
