"""Slices against closed forms: lines, barriers, planes, walks, the best of all permutations, and a curve's bend."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labsupport import data, models, optimizers, population
from labsupport.landscape import slices

DTYPE = torch.float64
GRID = torch.linspace(0, 1, 21, dtype=DTYPE)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def point(*values):
    return {"w": torch.tensor(values, dtype=DTYPE)}


def chain(params):
    return data.linear_chain(params["w"])


def net(width=5, seed=0, bias=True):
    module = models.mlp([4, width, 3], bias=bias, generator=seeded(seed)).to(DTYPE)
    return module, {name: value.detach() for name, value in module.named_parameters()}


def test_the_chain_between_its_two_minima_has_the_saddle_s_barrier():
    losses = slices.losses_along(chain, slices.straight(point(1, 1), point(-1, -1)), positions=GRID)
    assert torch.allclose(losses, 0.5 * (1 - (1 - 2 * GRID) ** 2) ** 2, atol=1e-14)
    assert slices.barrier(losses, GRID) == pytest.approx(0.5)
    assert slices.rise(losses) == pytest.approx(0.5)


def test_barrier_is_measured_from_the_line_between_the_ends_and_rise_from_the_lowest_so_far():
    slope = 3 - 2 * GRID
    assert slices.barrier(slope, GRID) == pytest.approx(0, abs=1e-12) and slices.rise(slope) == 0
    assert slices.barrier(slope.flip(0), GRID) == pytest.approx(0, abs=1e-12)
    assert slices.rise(slope.flip(0)) == pytest.approx(2)
    humped = slope + math.pi * torch.sin(math.pi * GRID)
    assert slices.barrier(humped, GRID) == pytest.approx(math.pi)
    assert slices.barrier(slope - GRID * (1 - GRID), GRID) == 0
    both = torch.stack((slope, humped), dim=1)
    assert torch.allclose(slices.barrier(both, GRID), torch.tensor([0.0, math.pi], dtype=DTYPE), atol=1e-12)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_rise_is_the_largest_later_less_earlier(values):
    pairs = [later - earlier for earlier, later in itertools.combinations(values, 2)]
    assert float(slices.rise(torch.tensor(values, dtype=DTYPE))) == max([0, *pairs])


def test_rise_of_several_paths_is_that_of_each():
    losses = torch.tensor([[3.0, 1.0, 0.0], [1.0, 4.0, 0.0], [2.0, 2.0, 0.0], [0.5, 5.0, 0.0]], dtype=DTYPE)
    assert slices.rise(losses).tolist() == [1.0, 4.0, 0.0] == [float(slices.rise(path)) for path in losses.T]


def test_bezier_meets_its_ends_and_half_its_middle():
    start, middle, end = point(0, 1), point(4, 4), point(2, -1)
    path = slices.bezier(start, middle, end)
    assert torch.equal(path(0)["w"], start["w"]) and torch.equal(path(1)["w"], end["w"])
    assert torch.allclose(path(0.5)["w"], 0.25 * start["w"] + 0.5 * middle["w"] + 0.25 * end["w"])
    level = slices.bezier(start, slices.straight(start, end)(0.5), end)
    assert torch.allclose(level(0.3)["w"], slices.straight(start, end)(0.3)["w"])


def around(params):
    """A ring of minima of radius 1: the straight way crosses its middle, a curve need not."""
    return ((params["w"] ** 2).sum(-1) - 1) ** 2


def test_bend_finds_the_way_round():
    start, end = point(-1, 0.1), point(1, 0.1)
    straight = slices.losses_along(around, slices.straight(start, end), positions=GRID)
    middle = slices.bend(around, start, end, lr=0.1, num_steps=400, generator=seeded(1))
    curved = slices.losses_along(around, slices.bezier(start, middle, end), positions=GRID)
    assert slices.barrier(straight, GRID) > 0.9 and slices.barrier(curved, GRID) < 0.1
    assert not start["w"].requires_grad and torch.equal(start["w"], point(-1, 0.1)["w"])


def test_bend_in_a_stack_is_the_bend_of_each():
    starts, ends = {"w": torch.tensor([[-1, 0.1], [0.2, -1]])}, {"w": torch.tensor([[1, 0.1], [0.1, 1]])}
    options = {"lr": 0.05, "num_steps": 30, "momentum": 0.5}
    both = slices.bend(around, starts, ends, **options, generator=seeded(2))["w"]
    for i in range(2):
        one = slices.bend(around, {"w": starts["w"][i]}, {"w": ends["w"][i]}, **options, generator=seeded(2))["w"]
        assert torch.allclose(one, both[i], atol=1e-6)


def test_from_line_on_a_right_angle():
    walk = [point(0, 0), point(3, 0), point(3, 4)]
    u, distance = slices.from_line(walk)
    assert torch.allclose(u, torch.tensor([0, 9 / 25, 1], dtype=DTYPE))
    assert torch.allclose(distance, torch.tensor([0, 12 / 25, 0], dtype=DTYPE), atol=1e-12)  # 3·4/5 over 5


def test_from_line_of_stacked_walks_takes_each_by_itself():
    walk = [{"a": torch.randn(3, 2, 2, generator=seeded(i)), "b": torch.randn(3, 1, generator=seeded(9 + i))}
            for i in range(4)]  # fmt: skip
    u, distance = slices.from_line(walk, stacked=True)
    assert u.shape == distance.shape == (4, 3)
    for i in range(3):
        alone = slices.from_line([{name: value[i] for name, value in stop.items()} for stop in walk])
        assert torch.allclose(u[:, i], alone[0], atol=1e-5) and torch.allclose(distance[:, i], alone[1], atol=1e-5)


def test_filter_direction_has_each_filter_s_length_and_no_biases():
    module = models.convnet((1, 8, 8), 3, channels=(4,), generator=seeded(3))
    here = dict(module.named_parameters())
    drawn = slices.filter_direction(here, generator=seeded(4))
    for name, value in here.items():
        if value.ndim > 1:
            assert torch.allclose(drawn[name].flatten(1).norm(dim=1), value.flatten(1).norm(dim=1))
        else:
            assert not drawn[name].any()
    double = slices.filter_direction({name: 10 * value for name, value in here.items()}, generator=seeded(4))
    assert all(torch.allclose(double[name], 10 * drawn[name]) for name in here)
    assert not slices.filter_direction({"w": torch.zeros(2, 3)}, generator=seeded())["w"].any()


def test_plane_is_rows_of_y_and_columns_of_x():
    grid = slices.plane(lambda p: p["w"] @ torch.tensor([1.0, 10.0], dtype=DTYPE), point(0, 0), point(1, 0),
                        point(0, 1), x=[0, 1, 2], y=[0, 3])  # fmt: skip
    assert grid.tolist() == [[0, 1, 2], [30, 31, 32]]


@given(st.integers(0, 99), st.booleans())
def test_permuting_keeps_the_function_and_matching_undoes_it(seed, bias):
    module, params = net(seed=seed, bias=bias)
    order = torch.randperm(5, generator=seeded(seed))
    moved = slices.permute_units(params, order)
    x = torch.randn(7, 4, generator=seeded(seed + 1), dtype=DTYPE)
    assert torch.allclose(torch.func.functional_call(module, moved, (x,)), module(x), atol=1e-12)
    back = slices.permute_units(moved, slices.match_units(moved, params))
    assert all(torch.equal(back[name], params[name]) for name in params)


def test_matching_is_the_best_of_all_orders():
    _, ours = net(seed=1)
    _, theirs = net(seed=2)

    def gap(order):
        moved = slices.permute_units(ours, torch.tensor(order))
        return float(sum(((moved[name] - theirs[name]) ** 2).sum() for name in ours))

    best = min(gap(order) for order in itertools.permutations(range(5)))
    assert gap(slices.match_units(ours, theirs).tolist()) == pytest.approx(best)
    trainable = [{name: value.clone().requires_grad_() for name, value in each.items()} for each in (ours, theirs)]
    assert torch.equal(slices.match_units(*trainable), slices.match_units(ours, theirs))


def test_stacked_networks_give_a_loss_each():
    build = lambda g: models.mlp([4, 5, 3], generator=g)  # noqa: E731
    nets = population.init(build, optimizers.sgd(), {"lr": 0.1}, seeds=range(3))
    x, y = torch.randn(6, 4, generator=seeded(5)), torch.arange(6) % 3

    def loss(params):
        return torch.func.vmap(lambda p: torch.nn.functional.cross_entropy(
            torch.func.functional_call(nets.module, p, (x,)), y))(params)  # fmt: skip

    zero = {name: torch.zeros_like(value) for name, value in nets.params.items()}
    losses = slices.losses_along(loss, slices.straight(nets.params, zero), positions=[0, 0.5, 1])
    assert losses.shape == (3, 3) and torch.allclose(losses[-1], torch.full((3,), math.log(3)))


A, B = point(0, 0), point(1, 1)
ODD = {"v": torch.zeros(2, dtype=DTYPE)}
_, NET = net()
REFUSALS = {
    "straight: start must hold at least one tensor": lambda: slices.straight({}, {}),
    "straight: end must have the names of start": lambda: slices.straight(A, ODD),
    "straight: w of end must fit start's": lambda: slices.straight(A, point(1)),
    "straight: start must be floating": lambda: slices.straight({"w": torch.zeros(2).int()}, A),
    "bezier: middle must have the names": lambda: slices.bezier(A, ODD, B),
    "losses_along: positions must hold >= 1": lambda: slices.losses_along(chain, slices.straight(A, B), positions=[]),
    "losses_along: positions must be a finite": lambda: slices.losses_along(
        chain, slices.straight(A, B), positions=[math.nan]
    ),
    "rise: losses must be finite": lambda: slices.rise(torch.tensor([1.0, math.nan])),
    "rise: losses must be (n >= 1": lambda: slices.rise(torch.tensor(1.0)),
    "barrier: positions must be 2 that ascend": lambda: slices.barrier(torch.ones(2), [0, 0.5]),
    "barrier: positions must be 3 that ascend": lambda: slices.barrier(torch.ones(3), [0, 1]),
    "barrier: losses must be (n >= 2": lambda: slices.barrier(torch.ones(1), [0, 1]),
    "bend: lr must be > 0": lambda: slices.bend(chain, A, B, lr=0, num_steps=1, generator=seeded()),
    "bend: num_steps": lambda: slices.bend(chain, A, B, lr=1, num_steps=0, generator=seeded()),
    "bend: momentum must be < 1": lambda: slices.bend(chain, A, B, lr=1, num_steps=1, momentum=1, generator=seeded()),
    "bend: generator": lambda: slices.bend(chain, A, B, lr=1, num_steps=1, generator=None),
    "bend: loss must be finite, got nan at step 0": lambda: slices.bend(
        lambda p: p["w"].sum() * math.nan, A, B, lr=1, num_steps=1, generator=seeded()
    ),
    "from_line: walk must hold two points": lambda: slices.from_line([A]),
    "from_line: walk must not end where it began": lambda: slices.from_line([A, B, A]),
    "from_line: point must have the names": lambda: slices.from_line([A, ODD]),
    "filter_direction: generator": lambda: slices.filter_direction(A, generator=0),
    "plane: up must have the names": lambda: slices.plane(chain, A, B, ODD, x=[0], y=[0]),
    "match_units: net must have one hidden layer": lambda: slices.match_units(A, B),
    "match_units: net must have one hidden layer whose": lambda: slices.match_units(
        *[{"a": torch.ones(3, 2), "b": torch.ones(2, 4)}] * 2
    ),
    "match_units: net and target must be finite": lambda: slices.match_units(
        {name: value * math.nan for name, value in NET.items()}, NET
    ),
    "permute_units: order must be a permutation of 5": lambda: slices.permute_units(NET, torch.tensor([0, 0, 1, 2, 3])),
    "permute_units: order must be a permutation": lambda: slices.permute_units(NET, torch.arange(4)),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        REFUSALS[message]()
