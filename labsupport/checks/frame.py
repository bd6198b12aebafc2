"""The frame of every check: run a reader's function on fresh inputs, and say what is wrong in one sentence.

A check says what is right (`truth`), what is handed in (`given`), and what readers get wrong (`wrong`, each with its
message). The frame compares. Only what no truth can say, such as the laws of chance, is written by hand.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from types import ModuleType
from typing import Any, NamedTuple

import torch

from labsupport.checks.compare import Raised, close, copied, described, difference, dtypes, unchanged
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


class NotAttempted(Exception):
    """The stub still stands: the reader's function returned `...` or nothing."""


class NothingReturned(Exception):
    """A function that is no stub returned None."""


class Case(NamedTuple):
    """One set of arguments, with a word on them, the right answer and the reader's."""

    label: str
    args: tuple
    right: Any
    got: Any


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
        try:
            complaint = self._compared(answer, generator) if self.truth else None
            complaint = complaint or self.examine(_attempted(answer), generator)
        except NotAttempted:
            return Report(self.name, "not attempted", "")
        except NothingReturned as error:
            complaint = str(error)
        except (Exception, SystemExit) as error:  # the reader's code: whatever it raises is the finding
            complaint = f"It raised {type(error).__name__}: {error}"
        complaint = self.messages.get(complaint, complaint)
        return Report(self.name, "wrong", complaint) if complaint else Report(self.name, "correct", "")

    def _compared(self, answer: Callable, generator: torch.Generator) -> str | None:
        """What is wrong with the answers to all that is given, by the stored mistake that gives the same."""
        given, cases = self.given(generator), []
        labelled = given.items() if isinstance(given, Mapping) else (("", args) for args in given)
        for label, args in labelled:
            handed = copied(args)
            got = _outcome(_attempted(answer, copy=False), handed)
            if self.keeps and (changed := self._changed(handed, args)):
                return changed
            cases.append(Case(label, args, self.truth(*copied(args)), got))
        if not cases:
            raise ValueError(f"{self.name}: given must yield at least one case, got none")
        bad = next((case for case in cases if not self._alike(case.got, case.right)), None)
        if bad is None:
            return None
        name = self._recognised(cases)
        return (self._placed(bad) + self.messages.get(name, _unlike(bad, self.returns))).strip()

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

    def _changed(self, handed: tuple, args: tuple) -> str | None:
        for name, now, before in zip(inspect.signature(self.truth).parameters, handed, args):
            if not unchanged(now, before):
                return f"It changed `{name}` in place: return something new, and leave what is given as it was."
        return None

    def _placed(self, case: Case) -> str:
        """The case in words, with both answers where all of it is plain numbers."""
        if case.label:
            return f"{case.label}: "
        if not all(map(_is_plain, case.args)):
            return ""
        names = inspect.signature(self.truth).parameters
        place = ", ".join(f"{name} = {_short(value)}" for name, value in zip(names, case.args))
        if isinstance(case.got, Raised) or not (found := difference(case.got, case.right)):
            return f"For {place}: "
        return f"For {place} {found[0] or 'the answer'} is {found[1]}; you found {found[2]}. "


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


def _unlike(case: Case, returns: str | None) -> str:
    """Words for an answer that no stored mistake gives."""
    got, right = case.got, case.right
    if isinstance(got, Raised):
        return f"It raised {got.kind}: {got.text}"
    other = next(((a, b) for a, b in zip(dtypes(got), dtypes(right)) if a != b), None)
    if other and close(got, right, rtol=1e-2):
        return f"Right, but in {other[0]}: asked for is {other[1]}."
    if close(got, right):
        return "Right to a few digits only: compute in the dtype of what is given."
    found = difference(got, right)
    if found is None:
        return f"Return {returns or described(right)}; you returned {described(got)}."
    if not case.label and all(map(_is_plain, case.args)):
        return ""
    return f"{found[0] or 'the answer'} should be {found[1]}; you found {found[2]}."


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) < 8 and all(map(_is_plain, value))
    return isinstance(value, str | int | float)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _outcome(answer: Callable, args: tuple) -> Any:
    try:
        return answer(*args)
    except (NotAttempted, NothingReturned):
        raise
    except (Exception, SystemExit) as error:
        return Raised(type(error).__name__, str(error))


def _attempted(answer: Callable, *, copy: bool = True) -> Callable:
    def call(*args: Any) -> Any:
        # copies, so that an answer that works in place does not change what it is judged by
        result = answer(*(copied(args) if copy else args))
        if result is None and not _is_stub(answer):
            raise NothingReturned("It returned None: is a `return` missing?")
        if result is None or result is ...:
            raise NotAttempted
        return result

    return call


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
