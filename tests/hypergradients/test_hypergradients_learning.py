"""Learning hyperparameters: the loop, its file, its stops; the rate's search; penalties, minibatches and refusals."""

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_hypergradients import flat, make, off, quadratic, seeded

from labsupport import hypergradients as hg
from labsupport import models
from labsupport.hypergradients import MetaPlan, hypergradient, meta_optimize, search_rate

RUN = """
import sys, torch
sys.path.insert(0, {tests!r})
from test_hypergradients import make
from labsupport import hypergradients as hg
problems = [make(num_steps=20 + at)[0] for at in range(30)]
plan = hg.MetaPlan(30, 0.2, rule={rule!r}, save={path!r})
judge = lambda weights: weights["0.weight"].sum()
learnt = hg.meta_optimize(problems.__getitem__, make()[1], hg.Stored(), plan, judge=judge)
torch.save([learnt.hyper, learnt.history, learnt.valid_loss, learnt.judged, learnt.slots], {out!r})
"""


def same(one, other):
    pairs = zip(torch.utils._pytree.tree_leaves(one), torch.utils._pytree.tree_leaves(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def started(path, out, rule):
    code = RUN.format(tests=str(Path(__file__).parent), path=str(path), out=str(out), rule=rule)
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"})


@pytest.mark.parametrize("rule", ["adam", "sign"])
def test_a_run_killed_in_the_middle_goes_on_to_the_bit(tmp_path, rule):
    undisturbed = started(tmp_path / "whole", tmp_path / "whole.pt", rule)
    killed = started(tmp_path / "cut", tmp_path / "cut.pt", rule)
    deadline = time.monotonic() + 200
    while not (tmp_path / "cut").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL and not (tmp_path / "cut.pt").exists()
    assert started(tmp_path / "cut", tmp_path / "cut.pt", rule).wait() == 0 and undisturbed.wait() == 0
    whole, cut = (torch.load(tmp_path / name) for name in ("whole.pt", "cut.pt"))
    assert same(whole, cut) and len(whole[2]) == len(whole[3]) == 30


def test_it_is_adam_on_hypergradients():
    problem, hyper = make()
    learnt = meta_optimize(lambda at: problem, hyper, hg.SqrtCheckpoint(), MetaPlan(4, 0.3))
    params = {name: value.clone().requires_grad_() for name, value in hyper.items()}
    adam = torch.optim.Adam(params.values(), lr=0.3)
    for at in range(4):
        found = hypergradient(problem, {k: v.detach() for k, v in params.items()}, hg.Stored())
        assert learnt.valid_loss[at] == pytest.approx(found.valid_loss, abs=1e-12)
        assert all(torch.allclose(learnt.history[k][at], v, atol=1e-12) for k, v in params.items())
        for name, value in params.items():
            value.grad = found.grad[name]
        adam.step()
    assert torch.allclose(flat(learnt.hyper), flat(params), atol=1e-12) and learnt.stopped == ""
    assert learnt.valid_loss[3] < learnt.valid_loss[0]
    assert learnt.judged.shape == (0,) and repr(learnt) == "Learnt(4 meta-steps)"


def test_sign_moves_by_the_rate_and_leaves_zeros_where_they_are():
    problem, hyper = make()
    hyper = hyper | {"unused": torch.tensor([1.0, -0.0], dtype=torch.float64)}
    learnt = meta_optimize(lambda at: problem, hyper, hg.Stored(), MetaPlan(1, 0.25, rule="sign"))
    grad = hypergradient(problem, hyper, hg.Stored()).grad
    assert torch.equal(learnt.hyper["unused"], hyper["unused"])
    for name, value in hyper.items():
        assert torch.equal(learnt.hyper[name], value - 0.25 * grad[name].sign())
    assert all((learnt.hyper[name] != value).all() for name, value in hyper.items() if name != "unused")


def test_the_judge_is_noted_and_never_learnt_from():
    problem, hyper = make()

    def shouting(weights):
        assert not any(value.requires_grad for value in weights.values())
        return 1e9 * float(weights["0.weight"].sum())

    plan = MetaPlan(3, 0.1)
    quiet, loud = (meta_optimize(lambda at: problem, hyper, hg.Stored(), plan, judge=j) for j in (None, shouting))
    assert same(quiet.history, loud.history) and torch.equal(quiet.valid_loss, loud.valid_loss)
    truth = [shouting(hg.trained(problem, {k: v[at] for k, v in loud.history.items()})[0]) for at in range(3)]
    assert loud.judged.tolist() == pytest.approx(truth)


def test_each_meta_step_asks_for_its_own_problem():
    asked, problems = [], [make(num_steps=n)[0] for n in (5, 9, 2)]
    learnt = meta_optimize(lambda at: asked.append(at) or problems[at], make()[1], hg.Stored(), MetaPlan(3, 0.1))
    assert asked == [0, 1, 2]
    second = {k: v[1] for k, v in learnt.history.items()}
    assert learnt.valid_loss[1] == pytest.approx(hg.trained(problems[1], second)[1])


def test_a_finished_run_is_read_and_a_longer_one_carried_on(tmp_path):
    problem, hyper = make()
    save = tmp_path / "run"
    first = meta_optimize(lambda at: problem, hyper, hg.Stored(), MetaPlan(2, 0.1, save=save))
    again = meta_optimize(lambda at: 1 / 0, hyper, hg.Stored(), MetaPlan(2, 0.1, save=save))
    longer = meta_optimize(lambda at: problem, hyper, hg.Stored(), MetaPlan(4, 0.1, save=save))
    whole = meta_optimize(lambda at: problem, hyper, hg.Stored(), MetaPlan(4, 0.1))
    for one, other in ((first, again), (longer, whole)):
        assert same([one.hyper, one.history, one.valid_loss, one.slots],
                    [other.hyper, other.history, other.valid_loss, other.slots])  # fmt: skip


def test_a_file_of_another_run_is_refused(tmp_path):
    (problem, hyper), stored = make(), hg.Stored()
    save = tmp_path / "run"

    def go(hyper=hyper, method=stored, judge=None, num_steps=2, lr=0.1, **options):
        plan = MetaPlan(num_steps, lr, save=save, **options)
        return meta_optimize(lambda at: problem, hyper, method, plan, judge=judge)

    go()
    before = save.read_bytes()
    others = [{"lr": 0.2}, {"rule": "sign"}, {"method": hg.DrMAD()}, {"judge": lambda weights: 0.0}]
    for other in others:
        with pytest.raises(ValueError, match=r"meta_optimize: .* must hold this run, .* got "):
            go(**other)
    with pytest.raises(ValueError, match="must hold a run from this start, got another start"):
        go({name: value + 1 for name, value in hyper.items()})
    with pytest.raises(ValueError, match="must hold at most 1 meta-steps, got more"):
        go(num_steps=1)
    assert save.read_bytes() == before
    save.write_text("no tensors")
    with pytest.raises(ValueError, match="meta_optimize: save must be a file of this run, got"):
        go()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="meta_optimize: save must be a path that can be written, got"):
        meta_optimize(lambda at: problem, hyper, hg.Stored(), MetaPlan(1, 0.1, save=tmp_path / "file" / "run"))


def failing(problem, step, value):
    """A problem whose batch at a step drives the weights out of range."""

    def batches(at):
        x, y = problem.batches(at)
        return (x * value if at == step else x), y

    return replace(problem, batches=batches)


def test_training_that_diverges_names_the_step_and_the_remedy():
    problem, hyper = make(num_steps=130)
    for method in (hg.Stored(), hg.SqrtCheckpoint(), hg.Neumann(1)):
        with pytest.raises(FloatingPointError, match="weights must stay finite, got others after step 73: lower"):
            hypergradient(failing(problem, 73, math.nan), hyper, method)
    with pytest.raises(FloatingPointError, match="after step 0"):
        hg.trained(failing(problem, 0, math.nan), hyper)


def test_an_adjoint_that_grows_names_the_step_and_the_remedy():
    problem, hyper = make(num_steps=130)
    norms = hypergradient(problem, hyper, hg.Stored(), limit=math.inf).adjoint_norms
    start = float(flat(dict(enumerate(torch.autograd.grad(
        problem.valid_loss(w := {k: v.requires_grad_() for k, v in hg.trained(problem, hyper)[0].items()}),
        list(w.values()))))).norm())  # fmt: skip
    limit = float(norms[:80].max()) / start * (1 - 1e-9)
    first = int((norms > limit * start).nonzero()[0])
    text = f"the adjoint must stay below .* times its start, got .* at step {129 - first}: take fewer steps back, keep"
    with pytest.raises(FloatingPointError, match=text):
        hypergradient(problem, hyper, hg.Stored(), limit=limit)
    assert hypergradient(problem, hyper, hg.Stored(), limit=limit * 2).finite


def test_a_stop_keeps_what_was_learnt(tmp_path):
    problem, hyper = make(num_steps=60)
    problems = [problem, problem, failing(problem, 31, math.nan), problem]
    plan = MetaPlan(4, 0.1, save=tmp_path / "run")
    with pytest.warns(RuntimeWarning, match=r"stopped at meta-step 2: .* finite, got others after step 31: lower"):
        learnt = meta_optimize(problems.__getitem__, hyper, hg.Stored(), plan)
    assert len(learnt.valid_loss) == 2 and learnt.stopped.startswith("meta-step 2: ")
    assert repr(learnt).startswith("Learnt(2 meta-steps, stopped: meta-step 2")
    healed = meta_optimize(lambda at: problem, hyper, hg.Stored(), plan)
    assert same(healed.history, meta_optimize(lambda at: problem, hyper, hg.Stored(), MetaPlan(4, 0.1)).history)


def test_a_gradient_that_is_not_finite_and_the_stop_button_end_it():
    problem, hyper = make()
    broken = replace(problem, valid_loss=lambda w: (w["0.weight"] - w["0.weight"]).sqrt().sum())
    with pytest.warns(RuntimeWarning, match="meta-step 0: hypergradient: the adjoint must stay below"):
        meta_optimize(lambda at: broken, hyper, hg.Stored(), MetaPlan(2, 0.1))
    with pytest.warns(RuntimeWarning, match="meta-step 0: the hypergradient must be finite: take fewer steps back"):
        learnt = meta_optimize(lambda at: broken, hyper, hg.Stored(), MetaPlan(2, 0.1, limit=math.inf))
    assert torch.equal(flat(learnt.hyper), flat(hyper)) and len(learnt.valid_loss) == 0

    def pressed(at):
        if at == 1:
            raise KeyboardInterrupt
        return problem

    with pytest.warns(RuntimeWarning, match="meta-step 1: interrupted"):
        assert len(meta_optimize(pressed, hyper, hg.Stored(), MetaPlan(3, 0.1)).valid_loss) == 1


def test_the_bar_counts_meta_steps(capfd):
    problem, hyper = make(num_steps=2)
    meta_optimize(lambda at: problem, hyper, hg.Stored(), MetaPlan(3, 0.1, progress=True))
    assert "learn: 100%" in (said := capfd.readouterr().err) and "3/3" in said
    meta_optimize(lambda at: problem, hyper, hg.Stored(), MetaPlan(3, 0.1))
    assert capfd.readouterr().err == ""


def test_learning_goes_downhill_at_every_step():
    problem, logs, _ = quadratic(60)
    before = hg.trained(problem, logs)[1]
    learnt = meta_optimize(lambda at: problem, logs, hg.Stored(), MetaPlan(10, 0.1))
    assert (learnt.valid_loss.diff() < 0).all() and learnt.valid_loss[0] == pytest.approx(before)


def test_the_search_takes_the_first_rate_that_lowers_the_loss():
    problem, hyper = make(num_steps=30)
    options = {"between": (1e-3, 1e3)}
    rate, tries = search_rate(lambda at: problem, hyper, hg.Stored(), MetaPlan(20, 1.0), **options, generator=seeded(7))
    assert rate == tries[-1][0] and tries[-1][2] < tries[-1][1]
    assert all(after >= before for _, before, after in tries[:-1])
    assert all(1e-3 <= one <= 1e3 for one, _, _ in tries)
    again = search_rate(lambda at: problem, hyper, hg.Stored(), MetaPlan(20, 9.0), **options, generator=seeded(7))
    assert again == (rate, tries)
    moved = meta_optimize(lambda at: problem, hyper, hg.Stored(), MetaPlan(2, rate))
    assert moved.valid_loss.tolist() == pytest.approx(tries[-1][1:])


def test_a_search_that_finds_none_gives_the_least_bad():
    problem, hyper = make(num_steps=10)
    judged = []

    def worse(weights):
        """Each time it is asked, with a slope of zero; before each training it is asked once more."""
        judged.append(1)
        return len(judged) + 0 * weights["0.weight"].sum()

    uphill = replace(problem, valid_loss=worse)
    plan = MetaPlan(4, 1.0, rule="sign")
    rate, tries = search_rate(lambda at: uphill, hyper, hg.Stored(), plan, between=(0.1, 1), generator=seeded())
    assert len(tries) == 4 and rate == tries[0][0] and [after for *_, after in tries] == [4, 6, 8, 10]


def test_rates_are_drawn_evenly_in_their_logarithm():
    problem, hyper = make(num_steps=1)
    zero = replace(problem, valid_loss=lambda w: 0 * w["0.weight"].sum())
    _, tries = search_rate(
        lambda at: zero, hyper, hg.DrMAD(), MetaPlan(300, 1.0), between=(1e-4, 1.0), generator=seeded()
    )
    logs = torch.tensor([math.log10(rate) for rate, _, _ in tries], dtype=torch.float64)
    assert len(logs) == 300 and abs(float(logs.mean()) + 2) < 4 * (4 / 12**0.5) / 300**0.5
    assert abs(float(logs.std()) - 4 / 12**0.5) < 0.1


# Penalties


def net(*sizes):
    return models.mlp(sizes, generator=seeded())


def count(logs):
    return sum(value.numel() for value in logs.values())


def test_how_many_coefficients_there_are():
    assert count(hg.unit_l2(net(784, 50, 50, 50, 10), start=-6.0)) == 934
    assert count(hg.unit_l2(net(64, 50, 50, 50, 10), start=-6.0)) == 214
    assert count(hg.layer_l2(net(784, 50, 50, 50, 10), start=-6.0)) == 4
    assert count(hg.parameter_l2(net(6, 5, 3), start=-6.0)) == 6 * 5 + 5 * 3
    conv = models.convnet((1, 8, 8), 3, channels=(2, 4), generator=seeded())
    logs = hg.unit_l2(conv, start=-6.0)
    weights = {name: value for name, value in conv.named_parameters() if value.ndim > 1}
    assert {name: value.shape[0] for name, value in logs.items()} == {k: v.shape[1] for k, v in weights.items()}
    assert hg.log_l2(dict(conv.named_parameters()), logs).ndim == 0


@given(st.lists(st.integers(1, 6), min_size=2, max_size=4), st.floats(-8, 2))
def test_all_penalties_agree_where_all_coefficients_are_one(sizes, start):
    model = net(*sizes).double()
    weights = {name: value.detach() for name, value in model.named_parameters()}
    truth = 0.5 * math.exp(start) * sum(float(w.detach().square().sum()) for w in weights.values() if w.ndim > 1)
    for rule in (hg.unit_l2, hg.layer_l2, hg.parameter_l2):
        logs = rule(model, start=start)
        assert all(value.dtype == torch.float64 and not value.requires_grad for value in logs.values())
        assert float(hg.log_l2(weights, logs)) == pytest.approx(truth, rel=1e-12)


def test_a_coefficient_is_of_its_input_unit():
    weights = {"w": torch.ones(3, 2, dtype=torch.float64)}
    logs = {"w": torch.tensor([0.0, math.log(5)], dtype=torch.float64), "other": torch.zeros(7)}
    assert float(hg.log_l2(weights, logs)) == pytest.approx(0.5 * (3 * 1 + 3 * 5))
    slope = torch.func.grad(hg.log_l2)(weights, logs)["w"]
    assert torch.allclose(slope, torch.tensor([1.0, 5.0], dtype=torch.float64).expand(3, 2))


# Minibatches


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 3))
def test_an_epoch_uses_every_row_once(n, size, seed):
    size = min(size, n)
    x = torch.arange(n)
    batch, per_epoch = hg.minibatches(x, -x, size, seed=seed), n // size
    for epoch in range(2):
        steps = [batch(epoch * per_epoch + at) for at in range(per_epoch)]
        assert all(torch.equal(a, -b) and len(a) == size for a, b in steps)
        assert len({int(row) for a, _ in steps for row in a}) == per_epoch * size
    late = batch(5 * per_epoch)
    batch(0)
    assert torch.equal(late[0], batch(5 * per_epoch)[0])  # any step at any time


def test_orders_differ_between_epochs_and_seeds(untouched_global_state):
    x = torch.arange(50)
    one, other = (hg.minibatches(x, x, 50, seed=seed) for seed in (0, 1))
    assert not torch.equal(one(0)[0], one(1)[0]) and not torch.equal(one(0)[0], other(0)[0])


def test_results_say_what_they_hold():
    problem, hyper = make()
    found = hypergradient(problem, hyper, hg.Stored())
    assert repr(found).startswith("Hypergradient(15 numbers, validation loss 1.") and "bytes" in repr(found)
    assert found.num_products == len(found.adjoint_norms) == 14 and found.forward_seconds > 0 < found.reverse_seconds
    assert off(found, hypergradient(problem, hyper, hg.Stored())) == 0
