"""The checks that the other rooms lean on."""

import math

import numpy as np
import pytest
import torch

from labsupport import values


def test_counts():
    assert values.check_count("f", "n", np.int64(3)) == 3
    assert type(values.check_count("f", "n", np.int64(3))) is int
    assert values.check_count("f", "n", 0, at_least=0) == 0
    for bad in (0, -2, 1.0, True, "1", None):
        with pytest.raises(ValueError, match=f"f: n must be an integer >= 1, got {bad!r}"):
            values.check_count("f", "n", bad)


def test_numbers():
    assert values.check_number("f", "a", 2) == 2.0
    assert values.check_number("f", "a", np.float32(0.5), low=0.5, high=0.5) == 0.5
    cases = [
        ({}, math.nan, "a finite number"),
        ({}, math.inf, "a finite number"),
        ({}, True, "a finite number"),
        ({}, "1", "a finite number"),
        ({"low": 0}, -1, "a finite number >= 0"),
        ({"low": 0, "high": 1}, 2, r"a number in \[0, 1\]"),
    ]
    for bounds, bad, rule in cases:
        with pytest.raises(ValueError, match=f"f: a must be {rule}, got {bad!r}"):
            values.check_number("f", "a", bad, **bounds)


def test_choices_and_generators():
    values.check_choice("f", "kind", "b", {"a": 1, "b": 2})
    with pytest.raises(ValueError, match="f: kind must be one of 'a', 'b', got 'c'"):
        values.check_choice("f", "kind", "c", ["a", "b"])
    values.check_generator("f", torch.Generator())
    with pytest.raises(ValueError, match=r"f: generator must be a torch\.Generator, got 3"):
        values.check_generator("f", 3)


def test_values_of_tensors_and_of_meta_tensors():
    bad = torch.tensor([1.0, math.nan])
    assert not values.is_finite(bad)
    assert values.is_finite(bad[:1])
    assert values.is_finite(bad.to("meta"))
    assert not values.holds(torch.tensor([True, False]))
    assert values.holds(torch.tensor([True, False], device="meta"))
    assert values.number(torch.tensor([2.0], requires_grad=True)) == 2.0
    assert math.isnan(values.number(torch.tensor(2.0, device="meta")))


@pytest.mark.parametrize(
    ("value", "choices"),
    [(True, [1, 2]), (1, (True, False)), (1.0, [1, 2]), (["a"], "ab"), (None, "ab"),
     (np.array([1, 2]), [1, 2]), (torch.tensor(1), [1, 2])],
)  # fmt: skip
def test_a_choice_is_of_the_choices_kind(value, choices):
    with pytest.raises(ValueError, match=r"f: kind must be one of .*, got"):
        values.check_choice("f", "kind", value, choices)
    values.check_choice("f", "kind", np.int64(2), [1, 2])
    values.check_choice("f", "flag", False, (True, False))
