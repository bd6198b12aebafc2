"""The frame of the exercises: three statuses, a message for each misconception, grading with a secret seed."""

import pytest

from labsupport import checks
from labsupport.checks import frame


@frame.check(wrong={"a": lambda: 1, "b": lambda: 2, "c": lambda: 3})
def four(answer, generator):
    """An example: the answer is four."""
    return None if answer() == 4 else f"not {answer()}"


def test_statuses():
    assert four(lambda: 4).status == "correct" and repr(four(lambda: 4)) == "✓ four: correct"
    assert four(lambda: 5).message == "not 5"
    assert four(lambda: ...).status == four(lambda: None).status == "not attempted"
    assert "ZeroDivisionError" in four(lambda: 1 / 0).message
    assert "check-not-attempted" in four(lambda: ...)._repr_html_()


def test_refusals():
    with pytest.raises(ValueError, match="four: answer must be your function itself"):
        four(4)
    with pytest.raises(ValueError, match="check: wrong must hold >= 3"):
        frame.check(wrong={})


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", checks.ALL)
def test_every_check_refuses_its_wrong_answers_each_with_its_own_message(name, seed):
    check = checks.ALL[name]
    reports = {what: check(answer, seed) for what, answer in check.wrong.items()}
    assert len(reports) >= 3 and {r.status for r in reports.values()} == {"wrong"}
    messages = [r.message for r in reports.values()]
    assert not any("It raised" in m for m in messages) and len(set(messages)) == len(messages)


def test_grading_finds_answers_by_name():
    reports = frame.grade({"morse_index": lambda hessian: ...}, checks.landscape, seed=7)
    assert {r.status for r in reports} == {"not attempted"} and len(reports) == len(frame.collect(checks.landscape))
