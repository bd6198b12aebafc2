"""Spaces: the way to the unit cube and back, equal shares, what exists where, and JSON."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labsupport.counters import seeded
from labsupport.search import space as spaces
from labsupport.search.space import Categorical, Float, Integer, Space, active, from_unit, sample, to_unit

NETS = Space(
    {
        "lr": Float(1e-5, 1, log=True),
        "layers": Integer(1, 3),
        "optimizer": Categorical(("sgd", "adam")),
        "momentum": Float(0, 0.99),
        "nesterov": Categorical((True, False)),
        "width": Integer(4, 256, log=True),
    },
    {"momentum": ("optimizer", ("sgd",)), "nesterov": ("optimizer", ("sgd",)), "width": ("layers", (2, 3))},
)

bounds = st.floats(-1e9, 1e9, allow_subnormal=False)
pairs = st.tuples(bounds, bounds).map(sorted)
positive = st.tuples(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9)).map(sorted)
whole = st.tuples(st.integers(-(2**40), 2**40), st.integers(-(2**40), 2**40)).map(sorted)
counted = st.tuples(st.integers(1, 2**40), st.integers(1, 2**40)).map(sorted)
DIMS = st.one_of(
    pairs.map(lambda ends: Float(*ends)),
    positive.map(lambda ends: Float(*ends, log=True)),
    whole.map(lambda ends: Integer(*ends)),
    counted.map(lambda ends: Integer(*ends, log=True)),
    st.lists(st.text(max_size=3) | st.integers(2, 9) | st.booleans(), min_size=1, max_size=5, unique=True).map(
        lambda found: Categorical(tuple(found))
    ),
)


@given(dim=DIMS, place=st.floats(0, 1))
def test_the_way_there_and_back_keeps_a_place_within_its_value_s_share(dim, place):
    only = Space({"x": dim})
    value = from_unit(only, torch.tensor([place], dtype=torch.float64))["x"]
    there = to_unit(only, {"x": value})
    assert there.dtype == torch.float64 and there.shape == (1,) and 0 <= there.item() <= 1
    again = from_unit(only, there)["x"]
    if isinstance(dim, Float):
        assert dim.low <= value <= dim.high
        assert again == pytest.approx(value, rel=1e-12, abs=1e-12 * max(1, abs(dim.low), abs(dim.high)))
        if dim.high - dim.low > 1e-6 * max(1, abs(dim.low), abs(dim.high)):
            assert there.item() == pytest.approx(place, abs=1e-8)
    else:
        assert again == value and type(again) is type(value)


@given(dim=DIMS)
def test_a_space_is_json(dim):
    only = Space({"x": dim, "y": Float(0, 1)})
    assert spaces.from_json(spaces.to_json(only)) == only


@pytest.mark.parametrize("dim", [Integer(-2, 4), Categorical(("a", 1, 2.5, None, False, "b", "c"))])
def test_integers_and_categories_have_equal_shares(dim):
    places = (torch.arange(700, dtype=torch.float64) + 0.5) / 700
    counts = Counter(from_unit(Space({"x": dim}), place.reshape(1))["x"] for place in places)
    assert set(counts.values()) == {100} and len(counts) == 7


def test_a_logarithmic_integer_s_share_reaches_half_a_unit_to_either_side_in_the_logarithm():
    only = Space({"n": Integer(1, 5, log=True)})
    places = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    counts = Counter(from_unit(only, place.reshape(1))["n"] for place in places)
    for n in range(1, 6):
        share = math.log((n + 0.5) / (n - 0.5)) / math.log(5.5 / 0.5)
        assert counts[n] / 20_000 == pytest.approx(share, abs=1e-4)


def test_the_middle_of_a_logarithmic_float_is_the_geometric_mean():
    assert from_unit(Space({"lr": Float(1e-4, 1, log=True)}), torch.tensor([0.5]))["lr"] == pytest.approx(1e-2)
    assert from_unit(Space({"x": Float(-1, 3)}), torch.tensor([0.25]))["x"] == 0


def test_what_does_not_exist_is_absent_and_at_one_half():
    params = from_unit(NETS, torch.tensor([0.5, 0.1, 0.9, 0.9, 0.9, 0.9]))
    assert params == {"lr": pytest.approx(10**-2.5), "layers": 1, "optimizer": "adam"}
    assert to_unit(NETS, params).tolist() == pytest.approx([0.5, 1 / 6, 0.75, 0.5, 0.5, 0.5])
    params = from_unit(NETS, torch.tensor([0.5, 0.9, 0.1, 0.5, 0.1, 0.0]))
    assert list(params) == list(NETS.dims) == active(NETS, params)
    assert params["width"] == 4 and params["nesterov"] is True


def test_a_child_of_what_does_not_exist_does_not_exist():
    chain = Space(
        {"a": Categorical((0, 1)), "b": Categorical((0, 1)), "c": Float(0, 1)}, {"b": ("a", (1,)), "c": ("b", (0, 1))}
    )
    assert list(from_unit(chain, torch.zeros(3))) == ["a"]
    assert active(chain, {"a": 0, "b": 1}) == ["a"]
    assert list(from_unit(chain, torch.tensor([0.9, 0.0, 0.3]))) == ["a", "b", "c"]


@given(seed=st.integers(0, 10_000))
def test_samples_are_of_the_space_and_of_the_seed(seed):
    params = sample(NETS, generator=seeded(seed))
    assert params == sample(NETS, generator=seeded(seed))
    assert from_unit(NETS, to_unit(NETS, params)).keys() == params.keys()


def test_samples_are_even_on_each_scale():
    generator = seeded(0)
    drawn = [sample(NETS, generator=generator) for _ in range(4000)]
    for hits in (
        [params["lr"] < 10**-2.5 for params in drawn],
        [params["optimizer"] == "sgd" for params in drawn],
        [params["momentum"] < 0.495 for params in drawn if "momentum" in params],
    ):
        assert abs(sum(hits) / len(hits) - 0.5) < 4 * 0.5 / len(hits) ** 0.5


def test_choices_and_bounds_become_plain_python():
    dim = Integer(np.int64(1), np.int64(3))
    assert type(dim.low) is int and type(Float(1, np.float32(2)).high) is float
    assert Categorical(["a", "b"]).choices == ("a", "b")


X, C = Float(0, 1), Categorical((1, 2))
REFUSED = {
    "Float: low must be <= high": lambda: Float(2, 1),
    "Float: low must be > 0 where log": lambda: Float(0, 1, log=True),
    "Float: high must be a finite number": lambda: Float(0, math.inf),
    "Float: high - low must be a finite number": lambda: Float(-1e308, 1e308),
    "Float: log must be True or False": lambda: Float(0, 1, log="yes"),
    "Integer: low must be <= high": lambda: Integer(2, 1),
    "Integer: low must be >= 1 where log": lambda: Integer(0, 1, log=True),
    "Integer: high must be an integer": lambda: Integer(0, 1.5),
    "Integer: high must be an integer <=": lambda: Integer(0, 2**41),
    "Categorical: choices must be a tuple": lambda: Categorical(()),
    "Categorical: choices must be a tuple of": lambda: Categorical("ab"),
    "Categorical: choices must differ": lambda: Categorical((1, True)),
    "Categorical: choices must be str": lambda: Categorical(((1, 2),)),
    "Categorical: choices must be str, finite": lambda: Categorical((math.nan,)),
    "Space: dims must map at least one": lambda: Space({}),
    "Space: dims must map names": lambda: Space({"x": 1}),
    "Space: dims must map names to": lambda: Space({"": X}),
    "Space: when must map": lambda: Space({"x": X}, [1]),
    r"Space: when\['x'\] must be \(parent, values\)": lambda: Space({"c": C, "x": X}, {"x": "c"}),
    r"Space: when\['x'\] must be \(parent, values\), got": lambda: Space({"c": C, "x": X}, {"x": ("c", ())}),
    r"Space: when\['x'\] must name a dimension": lambda: Space({"x": X, "c": C}, {"x": ("c", (1,))}),
    r"Space: when\['y'\] must name a dimension": lambda: Space({"c": C, "x": X}, {"y": ("c", (1,))}),
    r"Space: when\['c'\] must have an Integer": lambda: Space({"x": X, "c": C}, {"c": ("x", (1,))}),
    r"Space: when\['x'\] must be one of": lambda: Space({"c": C, "x": X}, {"x": ("c", (3,))}),
    "sample: generator must be": lambda: sample(NETS, generator=0),
    "to_unit: params must name exactly c, x, got c": lambda: to_unit(Space({"c": C, "x": X}), {"c": 1}),
    "to_unit: params must name exactly c, got c, x": lambda: to_unit(
        Space({"c": C, "x": X}, {"x": ("c", (2,))}), {"c": 1, "x": 0.5}
    ),
    "to_unit: x must be a number in": lambda: to_unit(Space({"x": X}), {"x": 1.5}),
    "to_unit: c must be one of": lambda: to_unit(Space({"c": C}), {"c": True}),
    "to_unit: n must be an integer": lambda: to_unit(Space({"n": Integer(0, 3)}), {"n": 1.0}),
    "from_unit: point must have shape": lambda: from_unit(NETS, torch.zeros(2)),
    "from_unit: point must have shape .*got list": lambda: from_unit(NETS, [0.5] * 6),
    "from_unit: point must lie in": lambda: from_unit(Space({"x": X}), torch.tensor([math.nan])),
    "from_json: text must be": lambda: spaces.from_json("{}"),
    "from_json: text must be a space": lambda: spaces.from_json("no json"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused_by_message(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()
