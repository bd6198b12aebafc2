"""The checks of page variance_scaling accept torch's own answers and right answers written another way."""

import math

import pytest
import torch
from torch import nn

from labsupport.checks import initialization
from labsupport.initialization import gains, rules


def torch_std(shape):
    fan_in, _ = nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    return nn.init.calculate_gain("relu") / math.sqrt(fan_in)


def torch_orthogonal(rows, columns, gain, generator):
    weight = torch.empty(rows, columns, dtype=torch.float64)
    return nn.init.orthogonal_(weight, gain=gain, generator=generator)


def ours_orthogonal(rows, columns, gain, generator):
    return rules.orthogonal_(torch.empty(rows, columns, dtype=torch.float64), gain=gain, generator=generator)


def by_quadrature(slope):
    return gains.forward_gain(lambda z: torch.nn.functional.leaky_relu(z, slope))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (initialization.leaky_gain, lambda slope: nn.init.calculate_gain("leaky_relu", slope)),
        (initialization.leaky_gain, by_quadrature),
        (initialization.he_std, torch_std),
        (initialization.orthogonal_start, torch_orthogonal),
        (initialization.orthogonal_start, ours_orthogonal),
    ],
    ids=["torch's gain", "quadrature", "torch's fans", "torch's orthogonal", "ours"],
)
def test_right_answers_of_another_kind_are_accepted(check, answer, seed):
    report = check(answer, seed)
    assert report.status == "correct", report


def test_a_right_size_of_another_shape_is_refused():
    assert initialization.he_std(lambda shape: torch_std(shape) if len(shape) == 2 else 1.0).status == "wrong"
    halves = initialization.orthogonal_start(lambda r, c, gain, generator: torch.eye(r, c).double() * gain / 2)
    assert halves.status == "wrong"


def test_an_error_names_the_shape_that_raised_it():
    report = initialization.he_std(lambda shape: shape[2])
    assert report.status == "wrong"
    assert "IndexError" in report.message and "shape = (" in report.message


def global_generator(rows, columns, gain, generator):
    return torch_orthogonal(rows, columns, gain, None)


def seed_of_its_own(rows, columns, gain, generator):
    return torch_orthogonal(rows, columns, gain, torch.Generator().manual_seed(3))


def always_the_first_draw(rows, columns, gain, generator):
    return torch_orthogonal(rows, columns, gain, torch.Generator().manual_seed(generator.initial_seed()))


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (global_generator, "equal seed"),
        (seed_of_its_own, "Every draw"),
        (always_the_first_draw, "Every draw"),
        (lambda *args: torch_orthogonal(*args).float(), "float64"),
    ],
    ids=["the global generator", "a seed of its own", "the first draw", "float32"],
)
def test_chance_comes_from_the_generator_in_float64(answer, word):
    report = initialization.orthogonal_start(answer)
    assert report.status == "wrong"
    assert word in report.message
