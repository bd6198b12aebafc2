"""Rules on exercises: derived exactly, one check each, and checks that tell right from wrong."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from book import exercises

from .model import Book, Cell, Page, blocks, stale

MIN_WRONG, MIN_EXERCISES = 3, 3
HEADING = re.compile(r"^## Exercise ([\w-]+)-(\d+) · \S.*$", flags=re.M)
CALL = re.compile(r"^checks\.(\w+)\.(\w+)\((\w+)\)[ \t]*$", flags=re.M)


@dataclass(frozen=True)
class Exercise:
    """An exercise of a page of solutions: its three cells and the number in its heading."""

    page: Page
    number: str
    prompt: Cell
    solution: Cell | None
    check: Cell | None

    @property
    def where(self) -> str:
        return f"{self.prompt.where}, exercise {self.page.topic}-{self.number}"

    @property
    def name(self) -> str:
        """The name of the check, as `topic.name`."""
        call = CALL.search(self.check.source) if self.check else None
        return f"{call[1]}.{call[2]}" if call else ""

    def function(self, source: str) -> Callable:
        """The function that the page's set-up and then `source` define."""
        namespace: dict = {"__name__": "exercise"}
        exec(self.page.code[0].source, namespace)
        exec(source, namespace)
        return namespace[CALL.search(self.check.source)[3]]


def _exercises(page: Page) -> list[Exercise]:
    found = []
    for cell in page.markdown:
        for heading in HEADING.finditer(cell.source):
            follow = [c if c.is_code else None for c in page.cells[cell.index + 1 : cell.index + 3]] + [None, None]
            found.append(Exercise(page, heading[2], cell, follow[0], follow[1]))
    return found


def _complete(book: Book) -> Iterator[tuple[Exercise, Callable]]:
    """Each exercise that has its three cells and a check of labsupport, with that check."""
    for page in book.solutions:
        for exercise in _exercises(page):
            if exercise.solution and exercise.name in book.checks and CALL.search(exercise.check.source):
                yield exercise, book.checks[exercise.name]


def exercises_are_derived(book: Book) -> list[str]:
    """exercises.ipynb is exactly what solutions.md gives, and no other notebook of that name lies about."""
    try:
        derived = exercises.derived(book.root)
    except ValueError as error:
        return [f"chapters/{error}"]
    found = stale(book, derived)
    stray = set(book.root.glob("chapters/*/exercises.*")) - set(derived)
    return found + [f"{path.relative_to(book.root).as_posix()}: no solutions.md to derive it from" for path in stray]


def every_chapter_has_exercises(book: Book) -> list[str]:
    """A chapter has solutions.md with at least three exercises."""
    with_some = {page.topic: len(_exercises(page)) for page in book.solutions}
    topics = sorted({page.topic for page in book.pages})
    return [
        f"chapters/{topic}/solutions.md: {with_some.get(topic, 0)} exercises, fewer than {MIN_EXERCISES}"
        for topic in topics
        if with_some.get(topic, 0) < MIN_EXERCISES
    ]


def exercises_are_whole(book: Book) -> list[str]:
    """Numbered in order; prompt with a hint, one function with its solution between the marks, then its check."""
    found = []
    for page in book.solutions:
        for place, exercise in enumerate(_exercises(page), start=1):
            heading = HEADING.search(exercise.prompt.source)
            if (heading[1], heading[2]) != (page.topic, str(place)):
                found.append(f"{exercise.where}: its id should be {page.topic}-{place}")
            hints = [block for block in blocks(exercise.prompt.source) if block.argument == "Hint"]
            if len(hints) != 1:
                found.append(f"{exercise.where}: needs one `:::{{dropdown}} Hint`")
            source = exercise.solution.source if exercise.solution else ""
            if [source.count(mark) for mark in (exercises.BEGIN, exercises.END)] != [1, 1]:
                found.append(f"{exercise.where}: the next cell must hold one solution between the marks")
            elif len(re.findall(r"^def \w+", source, flags=re.M)) != 1:
                found.append(f"{exercise.where}: the next cell must define one function")
            call = CALL.search(exercise.check.source) if exercise.check else None
            if not call or not exercise.check.is_checked or call[2] != call[3] or call[1] != page.topic:
                found.append(f"{exercise.where}: then a checked cell must call checks.{page.topic}.<name>(<name>)")
    return found


def as_many_checks_as_exercises(book: Book) -> list[str]:
    """Each exercise has a check of labsupport, and each check an exercise."""
    used = [(exercise, exercise.name) for page in book.solutions for exercise in _exercises(page)]
    topics = {page.topic for page in book.pages}
    found = [f"{exercise.where}: there is no check {name!r}" for exercise, name in used if name not in book.checks]
    names = [name for _, name in used]
    found += [f"{exercise.where}: {name!r} checks two exercises" for exercise, name in used if names.count(name) > 1]
    lonely = sorted(name for name in book.checks if name not in names)
    found += [f"labsupport.checks.{name}: no exercise uses this check" for name in lonely]
    return found + [f"labsupport.checks.{n}: there is no such chapter" for n in lonely if n.split(".")[0] not in topics]


def checks_refuse_wrong_answers(book: Book) -> list[str]:
    """A check refuses at least three stored wrong answers, each with a message of its own."""
    found = []
    for name, check in book.checks.items():
        reports = {mistake: check(answer) for mistake, answer in check.wrong.items()}
        if len(reports) < MIN_WRONG:
            found.append(f"labsupport.checks.{name}: {len(reports)} stored wrong answers, fewer than {MIN_WRONG}")
        found += [
            f"labsupport.checks.{name}: {mistake!r} reads {report.status!r}"
            for mistake, report in reports.items()
            if report.status != "wrong"
        ]
        messages = [report.message for report in reports.values()]
        found += [
            f"labsupport.checks.{name}: {mistake!r} has no message of its own: {report.message!r}"
            for mistake, report in reports.items()
            if not report.message.strip() or messages.count(report.message) > 1
        ]
    return found


def checks_accept_the_solution(book: Book) -> list[str]:
    """A check finds the stored solution correct, for several seeds."""
    found = []
    for exercise, check in _complete(book):
        answer = exercise.function(exercise.solution.source)
        for report in (check(answer, seed=seed) for seed in range(3)):
            if report.status != "correct":
                found.append(f"{exercise.where}: the solution reads {report.status!r}: {report.message}")
                break
    return found


def stubs_read_not_attempted(book: Book) -> list[str]:
    """A check says "not attempted" of the stub and raises nothing."""
    found = []
    for exercise, check in _complete(book):
        try:
            report = check(exercise.function(exercises.stub(exercise.solution.source)))
        except Exception as error:
            found.append(f"{exercise.where}: on the stub the check raised {type(error).__name__}: {error}")
            continue
        if report.status != "not attempted":
            found.append(f"{exercise.where}: the stub reads {report.status!r}")
    return found
