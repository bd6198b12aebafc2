"""Strategies that never look at a value: grids, random settings, a scrambled Sobol sequence."""

import itertools

import pytest
import torch
from torch.quasirandom import SobolEngine

from labsupport.search import contract, grid, low_discrepancy, random_search
from labsupport.search.space import Categorical, Float, Integer, Space, sample, to_unit

SQUARE = Space({"x": Float(0, 1), "y": Float(0, 1)})


def asked(module, state, num):
    trials = []
    for _ in range(num):
        trial, state = module.ask(state)
        trials.append(trial.params)
    return trials, state


def test_a_grid_has_equal_ratios_where_a_dimension_is_logarithmic():
    one = grid.rows(Space({"lr": Float(1e-4, 1, log=True)}), points=5)
    assert [row["lr"] for row in one] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1], rel=1e-12)
    assert (one[0]["lr"], one[-1]["lr"]) == (1e-4, 1)
    powers = grid.rows(Space({"n": Integer(1, 256, log=True)}), points=9)
    assert [row["n"] for row in powers] == [2**k for k in range(9)]
    assert [row["x"] for row in grid.rows(Space({"x": Float(-1, 1)}), points=5)] == [-1, -0.5, 0, 0.5, 1]


def test_one_point_is_the_middle_and_no_value_stands_twice():
    space = Space({"lr": Float(1e-4, 1, log=True), "n": Integer(1, 3), "c": Categorical(("a", "b"))})
    found = grid.rows(space, points={"lr": 1, "n": 9})
    assert [tuple(row.values()) for row in found] == [
        (pytest.approx(1e-2), n, c) for n in (1, 2, 3) for c in ("a", "b")
    ]
    assert grid.rows(Space({"n": Integer(1, 9)}), points=1) == [{"n": 5}]
    assert grid.rows(Space({"c": Categorical((1, 2))}), points=1) == [{"c": 1}, {"c": 2}]


def test_a_grid_is_the_product_of_what_exists():
    space = Space(
        {"c": Categorical(("a", "b")), "x": Float(0, 1), "n": Integer(1, 2), "y": Float(0, 1)},
        {"x": ("c", ("a",)), "y": ("n", (2,))},
    )
    found = grid.rows(space, points=3)
    truth = [
        {"c": c} | ({"x": x} if c == "a" else {}) | {"n": n} | ({"y": y} if n == 2 else {})
        for c, x, n, y in itertools.product("ab", (0.0, 0.5, 1.0), (1, 2), (0.0, 0.5, 1.0))
    ]
    assert found == [row for i, row in enumerate(truth) if row not in truth[:i]] and len(found) == 3 * 4 + 4
    assert all(to_unit(space, row).shape == (4,) for row in found)


def test_a_study_of_a_grid_asks_each_setting_once_in_an_order_of_its_seed():
    every = grid.rows(SQUARE, points=4)
    orders = [asked(grid, grid.init(SQUARE, points=4, seed=seed), 16)[0] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2] and orders[0] != every
    assert sorted(map(str, orders[0])) == sorted(map(str, orders[2])) == sorted(map(str, every))


def test_a_random_setting_depends_on_seed_and_number_alone():
    trials, state = asked(random_search, random_search.init(SQUARE, seed=3), 5)
    assert trials[4] == sample(SQUARE, generator=contract.generator(state, 4))
    assert len({row["x"] for row in trials}) == 5
    limited, _ = asked(random_search, random_search.init(SQUARE, num_trials=5, seed=3), 5)
    assert limited == trials and not random_search.finished(state)


def test_random_settings_are_even():
    trials, _ = asked(random_search, random_search.init(SQUARE, seed=0), 2000)
    points = torch.tensor([[row["x"], row["y"]] for row in trials])
    assert ((points.mean(0) - 0.5).abs() < 4 * 12**-0.5 / 2000**0.5).all()
    assert abs(torch.corrcoef(points.T)[0, 1]) < 4 / 2000**0.5


def test_a_low_discrepancy_study_is_torch_s_scrambled_sequence():
    trials, _ = asked(low_discrepancy, low_discrepancy.init(SQUARE, seed=11), 40)
    points = torch.tensor([[row["x"], row["y"]] for row in trials], dtype=torch.float64)
    truth = SobolEngine(2, scramble=True, seed=11).draw(40, dtype=torch.float64)
    torch.testing.assert_close(points, truth, rtol=0, atol=1e-7)  # torch rounds its first point to float32
    assert torch.equal(points[1:], truth[1:])


@pytest.mark.parametrize("seed", range(5))
def test_its_first_64_points_lie_one_each_in_64_boxes(seed):
    """What makes it a (0, 6, 2)-net: boxes of 1/64 × 1, 1/32 × 1/2, …, 1 × 1/64."""
    trials, _ = asked(low_discrepancy, low_discrepancy.init(SQUARE, num_trials=64, seed=seed), 64)
    for k in range(7):
        boxes = {(int(row["x"] * 2**k), int(row["y"] * 2 ** (6 - k))) for row in trials}
        assert len(boxes) == 64


WIDE = Space({f"x{i}": Float(0, 1) for i in range(SobolEngine.MAXDIM + 1)})
REFUSED = {
    "rows: points must name exactly": lambda: grid.rows(SQUARE, points={"x": 3}),
    "rows: points of x must be an integer >= 1": lambda: grid.rows(SQUARE, points=0),
    "grid.init: points of y must be": lambda: grid.init(SQUARE, points={"x": 3, "y": 1.5}, seed=0),
    "grid.init: points must name exactly": lambda: grid.init(
        Space({"c": Categorical((1, 2))}), points={"c": 2}, seed=0
    ),
    "rows: points must be at most 1000000 each": lambda: grid.rows(SQUARE, points=10**7),
    "rows: points must make at most 1000000 settings, got 1002001": lambda: grid.init(SQUARE, points=1001, seed=0),
    "rows: space must be": lambda: grid.rows({}, points=3),
    "random_search.init: num_trials must be": lambda: random_search.init(SQUARE, num_trials=0, seed=0),
    "low_discrepancy.init: num_trials must be an": lambda: low_discrepancy.init(SQUARE, num_trials=0, seed=0),
    "low_discrepancy.init: num_trials must be <=": lambda: low_discrepancy.init(SQUARE, num_trials=2**31, seed=0),
    "low_discrepancy.init: space must have <= 21201": lambda: low_discrepancy.init(WIDE, seed=0),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused_by_message(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()
