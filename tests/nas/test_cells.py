"""The small space of 750 cells: codes, networks, what they cost."""

import itertools

import pytest
import torch
from torch import nn

from labsupport import data, optimizers, population
from labsupport.experiments import seeded
from labsupport.nas import cells

CODES = cells.codes()
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}


def _by_hand(net, code, x):
    """The cell's output from its definition."""
    states, reads = [net.stem(x)], [0, code["from2"], code["from3"]]
    for node in (1, 2, 3):
        source, op = states[reads[node - 1]], code[f"op{node}"]
        if op == "identity":
            states.append(source)
        elif op == "zero":
            states.append(torch.zeros_like(source))
        else:
            states.append(ACTIVATIONS[op](net.nodes[node - 1](source)))
    loose = [states[node] for node in (1, 2, 3) if node not in reads]
    return net.classifier(torch.stack(loose).mean(0))


def _net(code, width=5):
    net = cells.CellNet(7, width, 4, generator=seeded(0)).double()
    net.load_state_dict(net.state_dict() | {name: value.double() for name, value in cells.buffers(code).items()})
    return net


def test_there_are_750_codes_and_each_has_its_row():
    assert len(CODES) == 750 == len({tuple(code.values()) for code in CODES})
    assert [cells.row(code) for code in CODES] == list(range(750))


@pytest.mark.parametrize("code", CODES[::29])
def test_buffers_make_the_cell(code):
    net, x = _net(code), torch.randn(6, 7, dtype=torch.float64, generator=seeded(1))
    torch.testing.assert_close(net(x), _by_hand(net, code, x), rtol=0, atol=1e-12)


def test_all_cells_train_as_one_population_as_they_do_alone():
    chosen = CODES[::94]
    build = lambda generator: cells.CellNet(7, 5, 4, generator=generator).double()  # noqa: E731
    state = population.init(build, optimizers.momentum(), {"lr": 0.1}, seeds=[3] * len(chosen))
    state = cells.with_cells(state, chosen)
    x = torch.randn(24, 7, dtype=torch.float64, generator=seeded(1))
    y = torch.randint(4, (24,), generator=seeded(2))
    split = data.Split((x, y), (x, y), (x, y), class_names=tuple("abcd"))
    plan = population.Plan(3, 8, backend="eager", progress=False)
    together = population.carry_on(state, split, plan)
    for place in range(len(chosen)):
        alone = population.carry_on(state[[place]], split, plan)
        torch.testing.assert_close(together.valid_loss[place], alone.valid_loss[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("code", CODES[::7])
def test_live_nodes_are_those_that_move_the_output(code):
    """A node lives where a change of what it hands on changes the output, and where the input changes the node."""
    net, x = _net(code), torch.randn(6, 7, dtype=torch.float64, generator=seeded(1))
    found = []
    for node in (1, 2, 3):
        if code[f"op{node}"] == "zero":
            continue
        silent = _net({**code, f"op{node}": "zero"})
        if _reaches(code, node) and not torch.equal(silent(x), net(x)):
            found.append(node)
    assert cells.live(code) == found


def _reaches(code, node):
    reads = [0, code["from2"], code["from3"]]
    while node:
        if code[f"op{node}"] == "zero":
            return False
        node = reads[node - 1]
    return True


@pytest.mark.parametrize("code", CODES[::31])
def test_parameters_are_those_with_a_gradient(code):
    net, x = _net(code), torch.randn(64, 7, dtype=torch.float64, generator=seeded(1))
    for param in net.parameters():
        nn.init.normal_(param, generator=seeded(param.numel()))
    inputs = x.requires_grad_()
    net(inputs).square().sum().backward()
    if not cells.live(code):
        assert cells.num_params(code, inputs=7, width=5, classes=4) == 4
        return
    weighted = [node for node in cells.live(code) if code[f"op{node}"] != "identity"]
    expected = [net.stem, net.classifier, *(net.nodes[node - 1] for node in weighted)]
    assert cells.num_params(code, inputs=7, width=5, classes=4) == sum(
        param.numel() for layer in expected for param in layer.parameters()
    )
    assert cells.multiply_adds(code, inputs=7, width=5, classes=4) == sum(layer.weight.numel() for layer in expected)
    assert all(layer.weight.grad.abs().sum() > 0 for layer in expected)


def test_what_is_no_code_is_refused():
    good = CODES[0]
    for wrong in ({}, {**good, "op1": "gelu"}, {**good, "from2": 2}, {**good, "op4": "relu"}):
        for call in (cells.row, cells.buffers, cells.live):
            with pytest.raises(ValueError, match="to_unit"):
                call(wrong)
    with pytest.raises(ValueError, match="CellNet: width must be an integer >= 1"):
        cells.CellNet(7, 0, 4, generator=seeded(0))


def test_the_number_of_cells_that_are_always_zero():
    """By enumeration of the definition: no loose end that reaches the input."""
    dead = 0
    for code in CODES:
        reads = [0, code["from2"], code["from3"]]
        dead += not any(_reaches(code, node) for node in (1, 2, 3) if node not in reads)
    assert sum(not cells.live(code) for code in CODES) == dead > 0
    assert len(list(itertools.filterfalse(cells.live, CODES))) == dead
