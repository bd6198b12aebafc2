"""NASNet's cells: codes, their number, their networks, what they cost."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labsupport import models
from labsupport.experiments import seeded
from labsupport.nas import alike, cells, costs, space, stacks
from labsupport.search import random_search
from labsupport.search import space as spaces
from labsupport.search.contract import tell

SMALL = stacks.Outline((1, 14, 14), 10, width=4)
BLOCK = space.Block((0, 1), ("identity", "3x3 max"), "add")
WIDTH = 6
WEIGHTS = {  # of the convolutions of each operation at width c; norms add 2c each
    "identity": (lambda c: 0, 0),
    "1x3 then 3x1": (lambda c: 6 * c * c, 2), "1x7 then 7x1": (lambda c: 14 * c * c, 2),
    "3x3 dilated": (lambda c: 9 * c * c, 1),
    "3x3 average": (lambda c: 0, 0), "3x3 max": (lambda c: 0, 0), "5x5 max": (lambda c: 0, 0),
    "7x7 max": (lambda c: 0, 0),
    "1x1 convolution": (lambda c: c * c, 1), "3x3 convolution": (lambda c: 9 * c * c, 1),
    "3x3 separable": (lambda c: 2 * (9 * c + c * c), 2), "5x5 separable": (lambda c: 2 * (25 * c + c * c), 2),
    "7x7 separable": (lambda c: 2 * (49 * c + c * c), 2),
}  # fmt: skip


@st.composite
def cell_codes(draw, num_blocks, operations=space.OPERATIONS):
    blocks = []
    for place in range(num_blocks):
        states, names = st.integers(0, 1 + place), st.sampled_from(operations)
        blocks.append(
            space.Block(
                (draw(states), draw(states)), (draw(names), draw(names)), draw(st.sampled_from(space.JOINS))
            )
        )
    return space.Cell(tuple(blocks))


@st.composite
def architectures(draw):
    num_blocks = draw(st.integers(1, 5))
    return space.Architecture(draw(cell_codes(num_blocks)), draw(cell_codes(num_blocks)))


@given(architectures())
@settings(max_examples=40, deadline=None)
def test_a_code_survives_every_form(code):
    assert space.decode(space.encode(code)) == code
    assert space.from_json(space.to_json(code)) == code
    child = space.mutate(code, generator=seeded(1))
    old, new = space.encode(code), space.encode(child)
    assert sum(old[name] != new[name] for name in old) == 1


def test_numpys_integers_are_integers():
    block = space.Block(tuple(np.arange(2)), ("identity", "3x3 max"), "add")
    code = space.Architecture(space.Cell((block,)), space.Cell((block,)))
    assert space.from_json(space.to_json(code)) == code


def test_count_is_the_number_of_codes():
    every = list(space.cells(1))
    assert len(every) == len(set(every)) == space.count(1) == 1352
    few = ("identity", "3x3 max")
    assert len(set(space.cells(2, operations=few))) == space.count(2, num_operations=2) == 32 * 72
    assert space.count(3, num_operations=1, num_inputs=1) == 1 * 2 * 4 * 2 * 9 * 2
    assert space.count(5) == 2**5 * 13**10 * (2 * 3 * 4 * 5 * 6) ** 2


def test_a_sample_draws_every_choice_evenly():
    drawn = [space.encode(space.sample(2, generator=draws)) for draws in [seeded(0)] for _ in range(1500)]
    for name, dim in space.search_space(2).dims.items():
        counts = torch.tensor([sum(code[name] == choice for code in drawn) for choice in dim.choices])
        expected = 1500 / len(dim.choices)
        assert ((counts - expected).abs() < 5 * expected**0.5).all(), name


def test_any_strategy_runs_on_the_space():
    state = random_search.init(space.search_space(2), num_trials=3, seed=0)
    for _ in range(3):
        trial, state = random_search.ask(state)
        assert isinstance(space.decode(trial.params), space.Architecture)
        state = tell(state, trial, 0.5)
    assert random_search.finished(state)


@given(architectures(), st.integers(0, 2), st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_every_code_builds_and_runs_both_ways(code, num_reductions, num_normal):
    outline = stacks.Outline((2, 9, 7), 3, width=4, num_normal=num_normal, num_reductions=num_reductions)
    net = stacks.build(code, outline, generator=seeded(0))
    out = net(torch.randn(3, 2, 9, 7, generator=seeded(1)))
    assert out.shape == (3, 3)
    out.square().sum().backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in net.parameters())
    assert models.num_parameters(net) == _parameters(code, outline)
    assert net.classifier.weight.shape[1] == net.cells[-1].outputs


def _parameters(code, outline):
    """By the definition, summed by hand."""
    channels, classes = outline.image_shape[0], outline.num_classes
    width, total = outline.width, channels * outline.width * 9 + 2 * outline.width
    before = [width, width]
    kinds = ["normal"] * outline.num_normal + (["reduction"] + ["normal"] * outline.num_normal) * outline.num_reductions
    for kind in kinds:
        cell = getattr(code, kind)
        width *= 2 if kind == "reduction" else 1
        total += sum(inputs * width + 2 * width for inputs in before)
        for block in cell.blocks:
            total += (block.join == "concat") * (2 * width * width + 2 * width)
            for state, name in zip(block.inputs, block.operations, strict=True):
                weights, norms = WEIGHTS[name]
                total += weights(width) + norms * 2 * width
                if name == "identity" and kind == "reduction" and state < 2:
                    total += width * width + 2 * width
        before = [width * len(space.loose_ends(cell)), before[0]]
    return total + before[0] * classes + classes


@pytest.mark.parametrize("name", space.OPERATIONS)
@pytest.mark.parametrize("stride", [1, 2])
def test_each_operation_has_its_shape_and_its_cost(name, stride):
    layer, x = stacks.operation(name, WIDTH, stride=stride), torch.randn(2, WIDTH, 9, 8, generator=seeded(0))
    out = layer(x)
    assert out.shape == ((2, WIDTH, 9, 8) if stride == 1 else (2, WIDTH, 5, 4))
    weights, norms = WEIGHTS[name]
    strided = name == "identity" and stride == 2
    found = weights(WIDTH) + strided * WIDTH**2
    assert models.num_parameters(layer) == found + (norms + strided) * 2 * WIDTH
    if stride == 1:
        assert costs.multiply_adds(layer, (WIDTH, 9, 8)) == found * 72
    elif name == "1x3 then 3x1":  # 9 rows by 4 columns first, then 5 by 4
        assert costs.multiply_adds(layer, (WIDTH, 9, 8)) == 3 * WIDTH**2 * (36 + 20)


def test_multiply_adds_leave_the_network_as_it_was():
    net = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    assert costs.multiply_adds(net, (5,)) == 21
    assert net[0].weight.device.type == "cpu" and net(torch.zeros(1, 5)).shape == (1, 2)
    with pytest.raises(ValueError, match=r"module must be a torch\.nn\.Module, got int"):
        costs.multiply_adds(3, (5,))


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_pooling_sees_its_window(kernel):
    x = torch.randn(1, 1, 9, 9, generator=seeded(0))
    at = slice(4 - kernel // 2, 5 + kernel // 2)
    assert stacks.operation(f"{kernel}x{kernel} max", 1)(x)[0, 0, 4, 4] == x[0, 0, at, at].max()
    corner = stacks.operation("3x3 average", 1)(x)[0, 0, 0, 0]
    torch.testing.assert_close(corner, x[0, 0, :2, :2].mean())  # the zeros outside do not count


def test_a_cell_computes_what_its_code_says():
    first = space.Block((1, 0), ("identity", "3x3 max"), "add")
    second = space.Block((2, 0), ("3x3 average", "identity"), "add")
    third = space.Block((0, 0), ("identity", "identity"), "add")
    cell = stacks.CellBlocks(space.Cell((first, second, third)), [(2, 1), (3, 1)], 2, False, "cpu")
    cell.inputs = nn.ModuleList([nn.Identity(), nn.Identity()])
    previous, earlier = (torch.randn(1, 2, 6, 6, generator=seeded(seed)) for seed in (0, 1))
    block = earlier + nn.MaxPool2d(3, 1, 1)(previous)
    after = nn.AvgPool2d(3, 1, 1, count_include_pad=False)(block) + previous
    torch.testing.assert_close(cell(previous, earlier), torch.cat([after, 2 * previous], 1))
    assert cell.outputs == 4


def test_the_start_is_a_function_of_the_generator():
    code = space.sample(3, generator=seeded(3))
    nets = [stacks.build(code, SMALL, generator=seeded(seed)).state_dict() for seed in (5, 5, 6)]
    assert all(torch.equal(nets[0][name], nets[1][name]) for name in nets[0])
    assert not torch.equal(nets[0]["stem.0.weight"], nets[2]["stem.0.weight"])
    assert nets[0]["stem.0.weight"].var() > 0


REFUSED = [
    (lambda: space.Block((0, 1), ("identity", "9x9 max"), "add"), "Block: operations must be one of 'identity', "),
    (lambda: space.Block((0, 1), ("identity",), "add"), "Block: operations must be two, got"),
    (lambda: space.Block((0, -1), ("identity", "3x3 max"), "add"), "Block: inputs must be an integer >= 0, got -1"),
    (lambda: space.Block((0, 1), ("identity", "3x3 max"), "sum"), "Block: join must be one of 'add', 'concat', got"),
    (lambda: space.Cell(()), "Cell: blocks must be one Block or more, got"),
    (lambda: space.Cell((replace(BLOCK, inputs=(0, 2)),)), r"Cell: blocks\[0\] must read states 0 … 1, got 2"),
    (lambda: space.Cell((BLOCK, replace(BLOCK, inputs=(3, 2)))), r"Cell: blocks\[1\] must read states 0 … 2, got 3"),
    (
        lambda: space.Architecture(space.Cell((BLOCK,)), space.Cell((BLOCK, BLOCK))),
        "reduction must have as many blocks as normal, 1, got 2",
    ),
    (lambda: space.count(0), "count: num_blocks must be an integer >= 1, got 0"),
    (lambda: space.search_space(0), "search_space: num_blocks must be an integer >= 1, got 0"),
    (lambda: space.decode(cells.codes()[0]), "to_unit: params must name exactly normal.0.input1"),
    (lambda: space.decode({}), "to_unit: params must name exactly normal.0.input1"),
    (lambda: space.from_json(json.dumps({"normal": 3})), "from_json: text must be an architecture"),
    (lambda: stacks.Outline((1, 4, 14), 10, num_reductions=3), "at least 5×5 pixels for 3 reductions, got 4×14"),
    (lambda: stacks.Outline((1, 14), 10), "Outline: image_shape must be"),
    (lambda: stacks.Outline((1, 14, 14), 10, width=0), "Outline: width must be an integer >= 1, got 0"),
    (lambda: stacks.build(BLOCK, SMALL, generator=seeded(0)), "build: architecture must be of Architecture"),
    (lambda: stacks.operation("9x9 max", 4), "operation: name must be one of"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_is_no_code_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_outline_takes_the_smallest_picture_that_every_reduction_halves():
    code = space.sample(1, generator=seeded(0))
    net = stacks.build(code, stacks.Outline((1, 5, 5), 3, width=2, num_reductions=3), generator=seeded(0))
    assert net(torch.zeros(2, 1, 5, 5)).shape == (2, 3)


@given(cell_codes(3), st.permutations(range(3)), st.lists(st.booleans(), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_renumbered_cells_have_one_canonical_form(cell, order, turns):
    form = alike.canonical(cell)
    assert alike.canonical(form) == form
    turned = space.Cell(tuple(_turned(block) if turn else block for block, turn in zip(cell.blocks, turns)))
    assert alike.canonical(turned) == form
    place = {old + 2: new + 2 for new, old in enumerate(order)} | {0: 0, 1: 1}
    moved = [cell.blocks[old] for old in order]
    blocks = [replace(block, inputs=tuple(place[state] for state in block.inputs)) for block in moved]
    if all(max(block.inputs) < 2 + new for new, block in enumerate(blocks)):
        assert alike.canonical(space.Cell(tuple(blocks))) == form


def _turned(block):
    return space.Block(block.inputs[::-1], block.operations[::-1], block.join)


def test_the_number_of_distinct_cells_is_that_of_a_count_by_hand():
    assert len(set(map(alike.canonical, space.cells(1)))) == 2 * 26 * 27 // 2
    first = 2 * 4 * 5 // 2  # two operations: unordered pairs of 4 halves, two joins
    second = 2 * (6 * 7 // 2 - 4 * 5 // 2)  # at least one half of 6 reads the first block
    found = set(map(alike.canonical, space.cells(2, operations=("identity", "3x3 max"))))
    assert len(found) == first * (first + 1) // 2 + first * second


def test_alike_small_cells_are_the_same_functions_up_to_the_order_of_weights():
    """Outputs under all orders of the nodes' weights, less that for one input, say which function a code is."""
    net = cells.CellNet(7, 5, 4, generator=seeded(0)).double()
    x = torch.randn(6, 7, dtype=torch.float64, generator=seeded(1))
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    nodes = list(net.nodes)
    by_tree = {}
    for code in cells.codes():
        net.load_state_dict(net.state_dict() | cells.buffers(code))
        outs = []
        for order in orders:
            net.nodes = nn.ModuleList(nodes[place] for place in order)
            out = net(x).detach()
            outs.append(round(float((out - out[0]).cos().sum()), 8))
        net.nodes = nn.ModuleList(nodes)
        by_tree.setdefault(alike.tree(code), set()).add(tuple(sorted(outs)))
    assert all(len(found) == 1 for found in by_tree.values())
    assert len({next(iter(found)) for found in by_tree.values()}) == len(by_tree) == 159


def test_dead_cells_are_all_one():
    dead = {alike.tree(code) for code in cells.codes() if not cells.live(code)}
    assert len(dead) == 1
    with pytest.raises(ValueError, match="to_unit"):
        alike.tree(spaces.sample(space.search_space(1), generator=seeded(0)))
