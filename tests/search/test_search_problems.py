"""labsupport/search/problems.py: minima as published, found again by descents from many starts, and kept when moved."""

import math

import pytest
import torch
from scipy import optimize

from labsupport.search import problems, space

PROBLEMS = {"branin": problems.branin, "conditional": problems.conditional, "hartmann6": problems.hartmann6}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=PROBLEMS)
def problem(request):
    return PROBLEMS[request.param]()


def test_the_stated_setting_has_the_stated_minimum(problem):
    assert problem.value(problem.best) == pytest.approx(problem.minimum, abs=1e-6)
    space.to_unit(problem.space, problem.best)


@pytest.mark.parametrize(("name", "published"), [("branin", 0.397887), ("hartmann6", -3.32237), ("conditional", 0)])
def test_minima_are_the_published_ones(name, published):
    assert PROBLEMS[name]().minimum == pytest.approx(published, abs=5e-6)


def test_branin_has_three_minima_of_one_depth():
    problem = problems.branin()
    for x1, x2 in ((-math.pi, 12.275), (math.pi, 2.275), (3 * math.pi, 2.475)):
        assert problem.value({"x1": x1, "x2": x2}) == pytest.approx(problem.minimum, abs=1e-5)


def test_nothing_lies_below_the_minimum_also_where_it_is_moved_to(problem):
    draws = seeded()
    for _ in range(5):
        here = problems.moved(problem, by=0.1, generator=draws)
        space.to_unit(here.space, problem.best)
        assert all(problem.value(space.sample(here.space, generator=draws)) > problem.minimum for _ in range(300))


def test_no_descent_ends_below_hartmann_s_minimum():
    problem = problems.moved(problems.hartmann6(), by=0.1, generator=seeded())
    names, ends = list(problem.space.dims), []
    bounds = [(dim.low, dim.high) for dim in problem.space.dims.values()]
    for start in torch.rand(20, 6, generator=seeded()).tolist():
        ends.append(optimize.minimize(lambda x: problem.value(dict(zip(names, x))), start, bounds=bounds).fun)
    assert min(ends) == pytest.approx(problem.minimum, abs=1e-6)


def test_a_range_is_moved_on_its_own_scale_and_keeps_its_width():
    problem = problems.conditional()
    dims = problems.moved(problem, by=0.1, generator=seeded()).space.dims
    before = problem.space.dims
    assert dims["lr"] != before["lr"] and dims["lr"].high / dims["lr"].low == pytest.approx(1e5)
    assert dims["momentum"].high - dims["momentum"].low == pytest.approx(1)
    assert 0 < abs(dims["momentum"].low) <= 0.1
    assert {name: dims[name] for name in ("optimizer", "warmup", "depth", "dropped")} == {
        name: before[name] for name in ("optimizer", "warmup", "depth", "dropped")
    }
    assert problems.moved(problem, by=0, generator=seeded()) == problem


def test_every_term_of_the_conditional_problem_counts():
    """Each setting away from its best makes the value larger, by what is written."""
    value, best = problems.conditional().value, problems.conditional().best
    assert value(best | {"depth": 5}) == pytest.approx(0.2)
    assert value(best | {"dropped": False}) == pytest.approx(0.2)
    assert value(best | {"dropout": 0.75}) == pytest.approx(0.5)
    assert value(best | {"lr": 10**-0.7}) == pytest.approx(0.3)
    assert value(best | {"momentum": 0.6, "lr": 10**-1.4}) == pytest.approx(0.04)
    adam = best | {"optimizer": "adam", "lr": 1e-3, "warmup": 4}
    assert value(adam) == pytest.approx(0.1)
    assert value(adam | {"warmup": 0}) == pytest.approx(0.26)


def test_refusals():
    with pytest.raises(ValueError, match=r"moved: by must be a number in \[0, 0.1\], got 0.2"):
        problems.moved(problems.branin(), by=0.2, generator=seeded())
    with pytest.raises(ValueError, match="moved: generator must be"):
        problems.moved(problems.branin(), by=0.1, generator=0)
