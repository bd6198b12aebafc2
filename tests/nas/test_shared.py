"""Shared weights and differentiable choice against CellNet and finite differences."""

import math
from dataclasses import replace

import pytest
import torch

from labsupport import data, optimizers, population
from labsupport.experiments import seeded
from labsupport.nas import cells, darts, policy, shared
from labsupport.population import Plan

CODES = cells.codes()
HOW = shared.Plan(num_epochs=3, batch_size=8, controller_steps=4)


def build(generator):
    return cells.CellNet(6, 5, 3, generator=generator).double()


def _parts(runs=2, n=24):
    draws = seeded(0)
    x = torch.randn(4 * n, 6, dtype=torch.float64, generator=draws)
    y = (x @ torch.randn(6, 3, dtype=torch.float64, generator=draws)).argmax(1)
    return data.partitions((x, y), num_train=n, num_valid=n, num_test=n, seeds=range(runs))


def _weights(runs):
    return {name: 3 * value for name, value in
            population.init(build, optimizers.momentum(), {"lr": 0.1}, seeds=range(runs)).params.items()}  # fmt: skip


def _net(weights, run, code):
    net = build(seeded(0))
    net.load_state_dict({name: value[run] for name, value in weights.items()} | cells.buffers(code))
    return net


def _choices(code):
    return [dim.choices.index(code[name]) for name, dim in cells.SPACE.dims.items()]


def test_outputs_are_those_of_the_nets():
    weights, x = _weights(3), torch.randn(3, 7, 6, dtype=torch.float64, generator=seeded(1))
    for first in range(0, 750, 75):
        chosen = [CODES[first], CODES[first + 30], CODES[749 - first]]
        buffers = shared.drawn_buffers(torch.tensor([[_choices(code)] for code in chosen]), x)
        said = shared.outputs(weights, buffers, x)
        for run, code in enumerate(chosen):
            torch.testing.assert_close(said[run], _net(weights, run, code)(x[run]), rtol=0, atol=1e-12)


def test_accuracies_are_those_of_all_cells():
    weights = _weights(2)
    x = torch.randn(2, 40, 6, dtype=torch.float64, generator=seeded(2))
    y = torch.randint(3, (2, 40), generator=seeded(3))
    found = shared.accuracies(weights, x, y)
    assert found.shape == (2, 750)
    for place in range(0, 750, 7):
        for run in range(2):
            right = _net(weights, run, CODES[place])(x[run]).argmax(1) == y[run]
            assert float(found[run, place]) == pytest.approx(float(right.double().mean()), abs=1e-12)


@pytest.mark.parametrize("clip", [0.1, 1e9])
def test_a_weight_step_is_torchs(clip):
    weights = _weights(1)
    x, y = torch.randn(1, 8, 6, dtype=torch.float64, generator=seeded(1)), torch.randint(3, (1, 8), generator=seeded(2))
    code = CODES[433]
    net = _net(weights, 0, code)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    velocity = {name: torch.zeros_like(value) for name, value in weights.items()}
    buffers = shared.drawn_buffers(torch.tensor([[_choices(code)]]), x)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[0]), y[0]).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        weights, velocity = shared.weight_step(weights, velocity, buffers, x, y, replace(HOW, clip=clip))
    for name, value in net.named_parameters():
        torch.testing.assert_close(weights[name][0], value.detach(), rtol=0, atol=1e-7)


def test_one_cell_shared_with_itself_trains_alone():
    """Where the controller can draw one code only in effect, the search is `population.train` of that cell."""
    parts, code = _parts(), CODES[433]
    plan = replace(HOW, controller_steps=0, clip=1e9)
    state = population.init(build, optimizers.momentum(), {"lr": plan.lr}, seeds=[0, 1])
    alone = population.carry_on(cells.with_cells(state, [code] * 2), parts,
                                Plan(3, 8, backend="eager", progress=False, order="own")).state  # fmt: skip
    weights, velocity = state.params, {name: torch.zeros_like(value) for name, value in state.params.items()}
    buffers = shared.drawn_buffers(torch.tensor([[_choices(code)]] * 2), parts.pool[0])
    for epoch in range(3):
        for x, y in shared.batches(parts, "train", [0, 1], epoch, 8):
            weights, velocity = shared.weight_step(weights, velocity, buffers, x, y, plan)
    for name, value in alone.params.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-10)


def test_runs_do_not_notice_each_other():
    parts = _parts()
    together = shared.enas(build, parts, HOW, seeds=[0, 1])
    for run in range(2):
        alone = shared.enas(build, parts, HOW, seeds=[run])
        for one, other in ((together.weights, alone.weights), (together.learner.params, alone.learner.params)):
            for name, value in other.items():
                torch.testing.assert_close(one[name][run], value[0], rtol=0, atol=1e-10)
    assert together.learner.baseline.isfinite().all()
    first = policy.start(HOW.controller, seeds=[0, 1]).params["heads"]
    assert not torch.equal(together.learner.params["heads"], first)


def test_bounds_of_the_launch_scripts():
    assert shared.bounded().bounds == pytest.approx((0.44, 1.1, 0.44, 1.1, 0.44))
    assert shared.bounded(tanh_constant=1.5, temperature=5.0, lr=0.1).bounds[1] == 1.5


def test_draws_of_streams_and_steps_differ():
    learner = policy.start(HOW.controller, seeds=[0, 1])
    drawn = [shared.draw(HOW.controller, learner, [0, 1], step, stream=stream, count=50)
             for step in (0, 1) for stream in (0, 1, 2)]  # fmt: skip
    assert drawn[0].shape == (2, 50, 5)
    assert not any(torch.equal(drawn[0], other) for other in drawn[1:])
    assert torch.equal(drawn[0][1], shared.draw(HOW.controller, policy.Learner(
        {name: value[1:] for name, value in learner.params.items()}, {}, learner.baseline[1:]
    ), [1], 0, stream=0, count=50)[0])  # fmt: skip


def test_the_pick_is_the_best_of_what_was_drawn():
    learner, scores = policy.start(HOW.controller, seeds=[0]), torch.rand(1, 750, generator=seeded(0)).double()
    choices = shared.draw(HOW.controller, learner, [0], 0, stream=2, count=10)[0]
    rows = [cells.row({k: d.choices[i] for (k, d), i in zip(cells.SPACE.dims.items(), code, strict=True)})
            for code in choices.tolist()]  # fmt: skip
    found = shared.pick(HOW.controller, learner, scores, seeds=[0])
    assert int(found) == max(rows, key=lambda row: float(scores[0, row]))
    assert len(set(rows)) > 5


def test_enas_refuses():
    with pytest.raises(ValueError, match="enas: parts must hold a batch of 64"):
        shared.enas(build, _parts(), shared.Plan(), seeds=[0])
    with pytest.raises(ValueError, match=r"enas: plan must keep weights finite, got others in epoch \d from seeds \[0"):
        shared.enas(build, _parts(), replace(HOW, lr=1e200, clip=1e300), seeds=[0, 1])
    with pytest.raises(ValueError, match=r"batches: parts\.train must hold a batch of 64, got 24 rows"):
        darts.darts(build, _parts(), darts.Plan(), seeds=[0])
    with pytest.raises(ValueError, match="num_epochs must be an integer >= 1"):
        shared.Plan(num_epochs=0)
    with pytest.raises(ValueError, match="momentum must be a number"):
        shared.Plan(momentum=2.0)


def _logits(code, scale):
    return {name: torch.tensor([[scale * float(choice == code[name]) for choice in dim.choices]], dtype=torch.float64)
            for name, dim in cells.SPACE.dims.items()}  # fmt: skip


@pytest.mark.parametrize("code", CODES[::37])
def test_sharp_mixtures_are_cells(code):
    soft = darts.soft_buffers(_logits(code, 1000.0))
    for name, value in cells.buffers(code).items():
        torch.testing.assert_close(soft[name][0], value, rtol=0, atol=1e-12)
    if "zero" not in (code["op1"], code["op2"], code["op3"]):
        assert darts.discretize(_logits(code, 1.0)) == [code]


def test_zero_is_never_kept():
    found = darts.discretize(_logits(dict(CODES[0], op1="zero", op2="zero", op3="zero"), 9.0))[0]
    assert "zero" not in found.values()


def test_gradients_of_logits_by_finite_differences():
    weights, draws = _weights(1), seeded(4)
    logits = {name: torch.randn(1, len(dim.choices), dtype=torch.float64, generator=draws)
              for name, dim in cells.SPACE.dims.items()}  # fmt: skip
    x, y = torch.randn(1, 9, 6, dtype=torch.float64, generator=draws), torch.randint(3, (1, 9), generator=draws)
    slopes = darts._slopes(weights, logits, x, y)

    def loss(logits):
        said = shared.outputs(weights, darts.soft_buffers(logits), x)
        return float(torch.nn.functional.cross_entropy(said[0], y[0]))

    for name, value in logits.items():
        for at in range(value.shape[1]):
            step = torch.zeros_like(value)
            step[0, at] = 1e-5
            ends = [loss({**logits, name: value + sign * step}) for sign in (1, -1)]
            assert float(slopes[name][0, at]) == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)


def test_darts_lowers_the_mixture_s_loss_run_by_run():
    parts, plan = _parts(n=96), darts.Plan(replace(HOW, num_epochs=12), logits_lr=0.05)
    together = darts.darts(build, parts, plan, seeds=[0, 1])
    alone = darts.darts(build, parts, plan, seeds=[1])
    for name, value in alone.logits.items():
        torch.testing.assert_close(together.logits[name][1], value[0], rtol=0, atol=1e-6)
    place = parts.valid.index
    said = shared.outputs(together.weights, darts.soft_buffers(together.logits), parts.pool[0][place])
    loss = torch.nn.functional.cross_entropy(said.mT, parts.pool[1][place])
    assert float(loss) < math.log(3) - 0.2
