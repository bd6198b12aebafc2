"""The frame of the exercises: three statuses, a message for each misconception, grading with a secret seed."""

import sys

import pytest
import torch

from labsupport import checks
from labsupport.checks import frame


@frame.check(wrong={"a": lambda: 1, "b": lambda: 2, "c": lambda: 3})
def four(answer, generator):
    """An example: the answer is four."""
    return None if answer() == 4 else f"not {answer()}"


def test_statuses():
    assert four(lambda: 4).status == "correct" and repr(four(lambda: 4)) == "✓ four: correct"
    assert four(lambda: 5).message == "not 5"
    assert four(lambda: ...).status == "not attempted"
    assert "is a `return` missing?" in four(lambda: None).message
    assert "ZeroDivisionError" in four(lambda: 1 / 0).message
    assert "check-not-attempted" in four(lambda: ...)._repr_html_()


def test_refusals():
    with pytest.raises(ValueError, match="four: answer must be your function itself"):
        four(4)
    with pytest.raises(ValueError, match="check: wrong must hold >= 3"):
        frame.check(wrong={})


def refused_each_by_its_own_message(check, seed):
    """What every check owes its stored wrong answers."""
    reports = {what: check(answer, seed) for what, answer in check.wrong.items()}
    assert len(reports) >= 3 and {r.status for r in reports.values()} == {"wrong"}
    messages = [r.message for r in reports.values()]
    assert not any("It raised" in m for m in messages) and len(set(messages)) == len(messages)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", checks.ALL)
def test_every_check_refuses_its_wrong_answers_each_with_its_own_message(name, seed):
    refused_each_by_its_own_message(checks.ALL[name], seed)


@pytest.mark.parametrize("name", checks.ALL)
def test_every_check_leaves_a_stub_not_attempted(name):
    assert checks.ALL[name](lambda *args, **named: ...).status == "not attempted"


def test_grading_finds_answers_by_name():
    reports = frame.grade({"morse_index": lambda hessian: ...}, checks.landscape, seed=7)
    assert {r.status for r in reports} == {"not attempted"} and len(reports) == len(frame.collect(checks.landscape))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: four(lambda: 4, "secret"), "four: seed must be an integer >= 0, got 'secret'"),
        (lambda: four(lambda: 4, None), "four: seed must be an integer >= 0, got None"),
        (lambda: frame.grade({}, checks.landscape, seed=1.5), "grade: seed must be an integer >= 0, got 1.5"),
        (lambda: frame.grade(None, checks.landscape, seed=1), "grade: namespace must be a dict .*, got NoneType"),
        (lambda: frame.grade({}, "landscape", seed=1), "grade: topic must be a module with checks.*, got 'landscape'"),
        (lambda: frame.grade({}, pytest, seed=1), "grade: topic must be a module with checks"),
    ],
)
def test_a_grader_s_mistake_is_not_the_reader_s(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_answer_can_neither_leave_nor_change_what_it_is_judged_by():
    @frame.check(wrong=four.wrong)
    def double(answer, generator):
        given = torch.ones(2)
        return None if torch.equal(answer(given), 2 * given) else "not doubled"

    assert double(lambda x: x.mul_(2)).status == "correct"
    assert double(lambda x: x.zero_()).status == "wrong"
    assert "It raised SystemExit" in double(lambda x: sys.exit(1)).message
