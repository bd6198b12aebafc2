"""The frame of the exercises: statuses, recognised mistakes, and answers in the styles that learners write."""

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from stored_solutions import solutions

from labsupport import checks
from labsupport.checks import compare, frame, wording

SOLUTIONS = solutions(Path(__file__).parents[2])
ASKED = "its text asks for the dtype"
EXCEPTIONS = {  # (check, style): why the solution in that style is refused
    **{(name, "float32"): ASKED for name in (
        "hypergradients.design_ties", "initialization.jittered_start", "initialization.merge_twins",
        "initialization.orthogonal_start", "optimizers.adadelta_step", "optimizers.lion_step",
        "schedules.average_weights",
    )},
    **{(name, "in place"): "its text forbids it" for name in ("landscape.sam_step", "initialization.set_forget_bias")},
}  # fmt: skip
DOUBLE_INSIDE = ("landscape.morse_index", "landscape.escape_noise")  # their threshold is below single precision


def mapped(value, change):
    """`value` with `change` applied to each tensor in it."""
    if isinstance(value, list | tuple):
        return type(value)(mapped(part, change) for part in value)
    return change(value) if isinstance(value, torch.Tensor) else value


def single(answer, *, inside=False):
    def cast(part):
        return part.float() if part.is_floating_point() else part

    return lambda *args: mapped(answer(*(args if inside else mapped(args, cast))), cast)


def in_double(answer):
    def call(*args):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            return answer(*args)
        finally:
            torch.set_default_dtype(before)

    return call


def numpy(answer):
    def convert(value):
        if isinstance(value, int | float):
            return np.float64(value)
        return type(value)(map(convert, value)) if isinstance(value, list | tuple) else value

    return lambda *args: convert(mapped(answer(*args), lambda part: part.detach().numpy()))


def python(answer):
    return lambda *args: mapped(answer(*args), lambda part: part.tolist())


def in_place(answer):
    """Overwrites all that it was given, after it has computed."""

    def call(*args):
        result = mapped(answer(*args), torch.clone)
        for part in args:
            if isinstance(part, list):
                mapped(part, torch.Tensor.zero_)
                part.clear()
            mapped(part, torch.Tensor.zero_)
        return result

    return call


STYLES = {"float32": single, "float64 default": in_double, "NumPy": numpy, "Python": python, "in place": in_place}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", checks.ALL)
def test_solutions_are_accepted_in_every_natural_style(name, style):
    check, answer = checks.ALL[name], STYLES[style](SOLUTIONS[name])
    if style == "float32" and name in DOUBLE_INSIDE:
        answer = single(SOLUTIONS[name], inside=True)
    for seed in range(3):
        report = check(answer, seed)
        if (name, style) in EXCEPTIONS:
            assert report.status == "wrong" and re.search(r"dtype|float|in place|rounding", report.message), report
        else:
            assert report.status == "correct", report


@pytest.mark.parametrize("name", checks.ALL)
def test_thirty_seeds_refuse_each_mistake_by_its_own_message_and_no_right_answer(name):
    check = checks.ALL[name]
    assert len(check.wrong) >= 3 and len(set(check.messages.values())) == len(check.wrong)
    for seed in range(30):
        assert check(SOLUTIONS[name], seed).status == "correct", seed
        for mistake, answer in check.wrong.items():
            report = check(answer, seed)
            assert report.status == "wrong" and report.message.endswith(check.messages[mistake]), (seed, report)


def test_an_answer_leaves_torch_as_it_was():
    def rude(answer):
        def call(*args):
            torch.set_default_dtype(torch.float16)
            torch.set_grad_enabled(False)
            return answer(*args)

        return call

    for name in ("schedules.triangle_rate", "schedules.noise_floor", "hypergradients.hypergradient"):
        if name in checks.ALL:
            assert checks.ALL[name](rude(SOLUTIONS[name])).status == "correct"
            assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()


def nudged(value):
    if isinstance(value, str):
        return value + "s"
    if isinstance(value, list | tuple):
        return type(value)(map(nudged, value))
    return value + 1 if isinstance(value, int) else value * 1.0007


@pytest.mark.parametrize("name", [name for name, check in checks.ALL.items() if check.truth])
def test_no_message_shows_two_equal_numbers(name):
    check = checks.ALL[name]
    for seed in range(3):
        report = check(lambda *args: nudged(SOLUTIONS[name](*args)), seed)
        found = re.search(r"(?:is|be) (\[.*?\]|\S+); you found (\[.*?\]|\S+?)\.(?:\s|$)", report.message)
        if report.status == "wrong" and found:
            assert found[1] != found[2], report
        assert report.status == "wrong", report


@pytest.mark.parametrize("name", checks.ALL)
def test_every_check_leaves_a_stub_not_attempted(name):
    assert checks.ALL[name](lambda *args, **named: ...).status == "not attempted"


@frame.check(
    truth=lambda x: 4 * x,
    given=lambda generator: [(1.0,), (2.5,)],
    wrong={
        "a": (lambda x: x, "once"), "b": (lambda x: 2 * x, "twice"), "c": (lambda x: 1 / (x - 1), "pole"),
    },
)  # fmt: skip
def four(answer, generator):
    """`four(x)`: four times x."""


def test_statuses_and_messages():
    assert repr(four(lambda x: x + 3 * x)) == "✓ four: correct"
    assert four(lambda x: 2 * x).message == "For x = 1 the answer is 4; you found 2. twice"
    assert four(lambda x: 4.003 * x).message == "For x = 1 the answer is 4; you found 4.003."
    assert four(lambda x: x / (x - 1) / x).message == "For x = 1: pole"
    assert "is a `return` missing?" in four(lambda x: None).message
    assert "It raised KeyError" in four(lambda x: {}[x]).message
    assert "It raised SystemExit" in four(lambda x: sys.exit(1)).message
    assert "check-not-attempted" in four(lambda x: ...)._repr_html_()
    assert "you returned a tuple of 2" in four(lambda x: (x, x)).message


def with_a_docstring(x):
    """It says

    ...
    """
    x = 4 * x


def half_written(x):
    """It says nothing."""
    y = 4 * x  # noqa: F841
    ...


def test_a_stub_is_known_from_a_docstring():
    assert four(with_a_docstring).status == "wrong"
    assert four(half_written).status == "not attempted"


def test_refusals():
    with pytest.raises(ValueError, match="four: answer must be your function itself"):
        four(4)
    with pytest.raises(ValueError, match="check: wrong must hold >= 3"):
        frame.check(wrong={})
    with pytest.raises(ValueError, match="check: truth and given must go together"):
        frame.check(wrong={name: (abs, name) for name in "abc"}, truth=abs)


@pytest.mark.parametrize(("a", "b"), [(0.1, 0.1004), (1.0, 1.0 + 1e-15), (1e-9, 0.0), (2.0, float("nan"))])
def test_texts_of_two_numbers_differ(a, b):
    assert len(set(wording.texts(a, b))) == 2


def test_grading_finds_answers_by_name():
    reports = frame.grade({"morse_index": lambda hessian: ...}, checks.landscape, seed=7)
    assert {r.status for r in reports} == {"not attempted"} and len(reports) == len(frame.collect(checks.landscape))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: four(lambda x: 4, "secret"), "four: seed must be an integer >= 0, got 'secret'"),
        (lambda: four(lambda x: 4, None), "four: seed must be an integer >= 0, got None"),
        (lambda: frame.grade({}, checks.landscape, seed=1.5), "grade: seed must be an integer >= 0, got 1.5"),
        (lambda: frame.grade(None, checks.landscape, seed=1), "grade: namespace must be a dict .*, got NoneType"),
        (lambda: frame.grade({}, "landscape", seed=1), "grade: topic must be a module with checks.*, got 'landscape'"),
        (lambda: frame.grade({}, pytest, seed=1), "grade: topic must be a module with checks"),
    ],
)
def test_a_grader_s_mistake_is_not_the_reader_s(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def sam_in_place(gradient, theta, lr, radius):
    slope = gradient(theta)
    theta -= lr * gradient(theta + radius * slope / slope.norm())
    return theta


def crashes_at_two(lr, curvature, noise):
    return lr * noise**2 / (2 * (2 - lr * curvature)) if lr * curvature <= 2 else float("inf")


def natural_barrier(losses):
    u = torch.linspace(0, 1, len(losses))
    return (losses - torch.lerp(losses[0].float(), losses[-1].float(), u)).max()


def steps_rounded(rounding):
    return lambda offset, curvature, lr: rounding(math.log(1 / offset) / math.log(1 - lr * curvature))


def test_the_last_step_of_an_escape_counts():
    assert checks.landscape.steps_to_escape(steps_rounded(math.ceil)).status == "correct"
    for rounding in (math.floor, round, lambda steps: math.ceil(steps) + 1):
        assert checks.landscape.steps_to_escape(steps_rounded(rounding)).status == "wrong"


def popping(train_from, third_loss, first, learnt, starts):
    number, gains = len(starts), []
    while starts:
        start = starts.pop()
        gains.append(third_loss(train_from(first, start)) - third_loss(train_from(learnt, start)))
    gains = torch.stack(gains)
    return gains.mean(), gains.std() / number**0.5


def test_repairs():
    assert checks.landscape.loss_barrier(natural_barrier).status == "correct"
    assert "changed `theta` in place" in checks.landscape.sam_step(sam_in_place).message
    assert "divides by zero" in checks.schedules.noise_floor(crashes_at_two).message
    last = checks.schedules.snapshot_steps.wrong["the end while the rate rises"]
    assert "on its way up" in checks.schedules.snapshot_steps(last).message
    assert checks.hypergradients.honest_gain(popping).status == "correct"
    rate = checks.optimizers.fair_rate(lambda lr, old, new: torch.tensor(lr * (1 - new) / (1 - old)).float())
    assert rate.status == "correct", rate


@pytest.mark.parametrize(
    "name",
    ["hypergradients.bits_kept", "hypergradients.step_back", "hypergradients.undamp", "hypergradients.exact_method",
     "hypergradients.learn_from_starts", "schedules.schedule_free_step"],
)  # fmt: skip
def test_an_unknown_mistake_is_told_with_the_place_and_both_numbers(name):
    message = checks.ALL[name](lambda *args: nudged(SOLUTIONS[name](*args))).message
    assert re.search(r"(is|be) \S+; you found \S+", message), message


def test_lists_are_read_in_the_widest_of_their_dtypes():
    assert not compare.close([0, 0.5, 0.9], torch.zeros(3)) and compare.close([1, 0.5], torch.tensor([1.0, 0.5]))
    assert not compare.close(torch.tensor([1 + 5j]), torch.tensor([1.0]))


def test_a_check_without_cases_is_its_author_s_mistake():
    @frame.check(truth=abs, given=lambda generator: [], wrong={name: (abs, name) for name in "abc"})
    def size(answer, generator):
        """Nothing by hand."""

    with pytest.raises(ValueError, match="size: given must yield at least one case"):
        size(lambda x: 99)

    @frame.check(truth=lambda x: 1 / 0, given=lambda generator: [(1,)], wrong={name: (abs, name) for name in "abc"})
    def broken(answer, generator):
        """A truth that fails is not the reader's doing."""

    with pytest.raises(ZeroDivisionError):
        broken(abs)


def test_named_answers_are_compared_by_name():
    wrong = {name: (lambda x, name=name: {name: x}, name) for name in "abc"}

    @frame.check(truth=lambda x: {"w": 2 * x, "b": x}, given=lambda generator: [(torch.ones(2),)], wrong=wrong)
    def named(answer, generator):
        """Tensors by name, as a state dict."""

    assert named(lambda x: {"b": x, "w": x + x}).status == "correct"
    assert named(lambda x: {"b": x, "w": x}).message == "'w', entry [0] should be 2; you found 1."
    assert named(lambda x: {"a": x}).message == "a" and named(lambda x: {"w": x}).message.endswith("a dict of 1.")


def test_what_the_text_forbids_to_change_is_watched_also_where_a_check_is_written_by_hand():
    @frame.check(wrong={name: (abs, name) for name in "abc"}, keeps=True)
    def kept(answer, generator):
        answer(torch.ones(2), {"w": np.array([math.nan])})

    def rude(x, named):
        named["w"][0] = 1.0
        return x

    assert kept(lambda x, named: x).status == "correct" and "changed `named` in place" in kept(rude).message
    assert "changed `x` in place" in kept(lambda x, named: x.zero_()).message


def test_a_small_entry_beside_a_large_one_is_still_compared():
    assert not compare.close(torch.tensor([1e6, 9.0]), torch.tensor([1e6, 1.0]))
    assert compare.close(torch.tensor([1e6, 1.01]), torch.tensor([1e6, 1.0]))  # float32 adds no more exactly
    turned = torch.tensor([1 + 2j])
    assert compare.close(turned * (1 + 1e-6), turned) and not compare.close(turned * 1j, turned)
    some = torch.tensor([math.nan, 2.0])
    assert wording.difference(some, torch.tensor([math.nan, 1.0])) == ("entry [1]", "1", "2")
