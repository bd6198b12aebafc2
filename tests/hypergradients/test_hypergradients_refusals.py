"""What is refused, and by which words; what would otherwise be a wrong number."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from test_hypergradients import learnt, make, off, quadratic, seeded

from labsupport import files
from labsupport import hypergradients as hg
from labsupport.hypergradients import MetaPlan, hypergradient, meta_optimize, search_rate

METHODS = [hg.Unrolled(), hg.Stored(), hg.SqrtCheckpoint(), hg.Reversible(), hg.ForwardMode(), hg.DrMAD(), hg.Knots(3),
           hg.Truncated(3), hg.Neumann(2)]  # fmt: skip


def wrong_losses(problem):
    """Losses that no method can use, and what is said."""
    loss = problem.train_loss

    def scaled(weights, hyper, batch):
        with torch.no_grad():
            weights["0.weight"].mul_(0.5)
        return loss(weights, hyper, batch)

    def shifted(weights, hyper, batch):
        hyper["0.weight"].add_(0.5)
        return loss(weights, hyper, batch)

    def popped(weights, hyper, batch):
        value = loss(weights, hyper, batch)
        hyper.pop("0.weight")
        return value

    generator = seeded()

    def noisy(weights, hyper, batch):
        return loss(weights, hyper, batch) + torch.rand((), generator=generator)

    still = "train_loss must leave its arguments as they are, got others after it"
    floating = "must give a floating tensor without dimensions, got"
    return [
        ({"train_loss": lambda w, h, b: w["0.weight"].sum(0)}, rf"train_loss {floating} torch.float64 of shape \(6,\)"),
        ({"train_loss": lambda w, h, b: loss(w, h, b)[None]}, rf"train_loss {floating} torch.float64 of shape \(1,\)"),
        ({"train_loss": lambda w, h, b: 1.0}, f"train_loss {floating} 1.0"),
        ({"train_loss": lambda w, h, b: None}, f"train_loss {floating} None"),
        ({"train_loss": lambda w, h, b: h["0.weight"].sum()}, "train_loss must depend on the weights, got a constant"),
        ({"train_loss": lambda w, h, b: loss({k: v.detach() for k, v in w.items()}, h, b)},
         "train_loss must depend on the weights, got a constant"),
        ({"train_loss": lambda w, h, b: loss(w, {k: v.detach() for k, v in h.items()}, b)},
         "train_loss must depend on a hyperparameter, got one that uses none of 0.weight, 2.weight, 4.weight"),
        ({"train_loss": scaled}, still), ({"train_loss": shifted}, still), ({"train_loss": popped}, still),
        ({"train_loss": noisy}, "train_loss and batches must give the same each time, got .* and .* at step 0"),
        ({"valid_loss": lambda w: w["0.weight"].sum(0)}, rf"valid_loss {floating} torch.float64 of shape \(6,\)"),
        ({"valid_loss": lambda w: (w["0.weight"] > 0).sum()}, rf"valid_loss {floating} torch.int64 of shape \(\)"),
        ({"valid_loss": lambda w: torch.tensor(1.0)}, "valid_loss must depend on the weights, got a constant"),
    ]  # fmt: skip


@pytest.mark.parametrize("at", range(14))
def test_losses_that_give_no_gradient_or_a_wrong_one_are_refused_before_training(at):
    problem, hyper = make()
    change, text = wrong_losses(problem)[at]
    asked = []
    watched = replace(problem, **{"batches": lambda step: asked.append(step) or problem.batches(step), **change})
    before = [{name: value.clone() for name, value in given.items()} for given in (problem.weights, hyper)]
    for method in METHODS:
        with pytest.raises(ValueError, match=f"hypergradient: {text}"):
            hypergradient(watched, hyper, method)
    assert set(asked) <= {0, problem.num_steps - 1}
    for given, had in zip((problem.weights, hyper), before, strict=True):
        assert given.keys() == had.keys() and all(torch.equal(given[name], value) for name, value in had.items())


def test_a_coefficient_may_be_used_at_the_last_step_only_and_training_needs_none():
    problem, hyper = make(batch_size=20)

    def late(weights, hyper, batch):
        step, pair = batch
        return problem.train_loss(weights, hyper if step == 13 else {k: v.detach() for k, v in hyper.items()}, pair)

    later = replace(problem, train_loss=late, batches=lambda step: (step, problem.batches(step)))
    assert off(*(hypergradient(later, hyper, method) for method in (hg.Stored(), hg.Unrolled()))) < 1e-10
    bare = replace(problem, train_loss=lambda w, h, b: w["0.weight"].square().sum())
    assert math.isfinite(hg.trained(bare, hyper)[1])


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_training_and_judging_that_leave_the_numbers_stop_every_method(method):
    problem, hyper = make()
    late = lambda step: (problem.batches(step)[0] * (math.nan if step == 9 else 1), problem.batches(step)[1])  # noqa: E731
    with pytest.raises(FloatingPointError, match=r"got others (after|at) step 9: lower the learning rate"):
        hypergradient(replace(problem, batches=late), hyper, method)
    judged = replace(problem, valid_loss=lambda w: problem.valid_loss(w) * math.inf)
    with pytest.raises(FloatingPointError, match="valid_loss must be finite after training, got inf"):
        hypergradient(judged, hyper, method)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_kinds_and_callers_of_every_sort(method):
    problem, hyper = make()
    truth = hypergradient(problem, hyper, method)
    rates = {name: torch.full_like(value, 0.05).requires_grad_() for name, value in problem.weights.items()}
    shared = {name: torch.cat([value.flatten(), value.flatten()])[: len(value)] for name, value in hyper.items()}
    spread = {name: value[:1].expand_as(value) for name, value in hyper.items()}
    with torch.inference_mode():
        frozen = {name: value + 0 for name, value in hyper.items()}
        with pytest.raises(ValueError, match=r"hypergradient: torch\.inference_mode must be off"):
            hypergradient(problem, hyper, method)
    with torch.no_grad():
        assert off(hypergradient(problem, hyper, method), truth) == 0
    for same in (shared, spread, frozen, hyper | {"none": torch.empty(0, dtype=torch.float64)}):
        found = hypergradient(problem, same, method)
        assert max(float((found.grad[k] - v).abs().max()) for k, v in truth.grad.items()) < 1e-14
    found = hypergradient(replace(problem, lr=rates), hyper, method)
    assert not any(value.requires_grad for value in (*found.grad.values(), *found.weights.values()))
    coarse = hypergradient(problem, {name: value.float() for name, value in hyper.items()}, method)
    assert {value.dtype for value in coarse.grad.values()} == {torch.float32}
    with pytest.raises(ValueError, match="hyper must hold a number, got empty tensors"):
        hypergradient(problem, {"none": torch.empty(0)}, method)
    with pytest.raises(ValueError, match=r"hyper\['a'\] must hold finite floating numbers, got torch.complex64"):
        hypergradient(problem, {"a": torch.ones(1, dtype=torch.complex64)}, method)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_half_precision_is_near(method, dtype):
    truth, found = (hypergradient(*make(dtype=kind), method) for kind in (torch.float64, dtype))
    assert off(found, truth) < 0.1 and {value.dtype for value in found.grad.values()} == {dtype}


@pytest.mark.parametrize("method", [hg.Stored(), hg.SqrtCheckpoint(), hg.Reversible(), hg.ForwardMode(), hg.DrMAD(),
                                    hg.Knots(1), hg.Truncated(1)], ids=repr)  # fmt: skip
def test_one_step_is_exact_in_every_method_and_a_rate_of_zero_has_no_gradient(method):
    problem, hyper = make(0.5, num_steps=1)
    assert off(hypergradient(problem, hyper, method), hypergradient(problem, hyper, hg.Unrolled())) < 1e-12
    still = hypergradient(replace(problem, lr=0.0), hyper, method)
    assert all((value == 0).all() for value in still.grad.values())


def test_neumann_with_a_rate_for_each_weight_is_the_closed_form():
    problem, logs, truth = quadratic(600)
    rates = torch.tensor([0.1, 0.2, 0.5, 0.7], dtype=torch.float64)
    found = hypergradient(replace(problem, lr={"w": rates}), logs, hg.Neumann(600))
    assert torch.allclose(found.grad["w"], truth, rtol=1e-9)


@pytest.mark.parametrize("count", [1, 3, 13])
def test_truncated_knows_the_velocity_that_it_starts_from(count):
    """The gradient by each step's momentum, from a start and a velocity that are taken as given."""
    problem, hyper = learnt()
    found, whole = (hypergradient(problem, hyper, hg.Truncated(n)) for n in (count, problem.num_steps))
    first = problem.num_steps - count
    momentum = found.grad["momentum"]
    assert torch.allclose(momentum[first:], whole.grad["momentum"][first:], rtol=1e-10, atol=0)
    assert (momentum[:first] == 0).all() and (momentum[first:] != 0).all()
    assert found.stored_bytes == (count + 1) * sum(value.nbytes for value in problem.weights.values())


def test_rates_and_momenta_that_fit_no_weight_are_refused():
    problem, hyper = make()
    cases = [
        ({"lr": lambda h, s: {"a": 0.1}}, "lr must give '0.weight' a number or a tensor like it, got None"),
        ({"lr": lambda h, s: None}, "lr must give '0.weight' a number or a tensor like it, got None"),
        ({"lr": lambda h, s: h["2.weight"]}, r"lr must give '0.weight' .* got torch.float64 of shape \(5,\)"),
        ({"momentum": lambda h, s: h["2.weight"][:1]}, r"momentum must give a tensor without dim.* \(1,\)"),
        ({"momentum": lambda h, s: "a"}, "momentum must give a tensor without dimensions, got 'a'"),
    ]
    for change, text in cases:
        with pytest.raises(ValueError, match=f"hypergradient: {text}"):
            hypergradient(replace(problem, **change), hyper, hg.Stored())
    with pytest.raises(ValueError, match=r"Problem: lr\['0.weight'\] must be >= 0, .* got 'a'"):
        replace(problem, lr=dict.fromkeys(problem.weights, "a"))
    with pytest.raises(ValueError, match=r"Stored: dtype must be None where rates are learnt, .* got torch.bfloat16"):
        hypergradient(*learnt(), hg.Stored(torch.bfloat16))
    for half in (Fraction(1, 2), np.float32(0.5)):
        assert off(*(hypergradient(replace(problem, momentum=rho), hyper, hg.Reversible()) for rho in (half, 0.5))) == 0


def test_check_shows_a_loss_that_hides_a_derivative_and_refuses_zero():
    problem, hyper = make()
    hidden = lambda w, h, b: problem.train_loss(w, h, b) * problem.train_loss(w, h, b).detach()  # noqa: E731
    assert abs(hg.gradcheck(replace(problem, train_loss=hidden), hyper, hg.Stored()).slope - 1) > 1e-3
    with pytest.raises(ValueError, match="check: the exact hypergradient must not be zero"):
        hg.gradcheck(replace(problem, lr=0.0), hyper, hg.Stored())


def test_a_rate_so_large_that_training_diverges_is_a_try_like_others():
    problem, hyper = make()
    options = {"between": (1e4, 1e6), "generator": seeded()}
    rate, tries = search_rate(lambda at: problem, hyper, hg.Stored(), MetaPlan(4, 1.0), **options)
    assert len(tries) == 4 and math.inf in [after for *_, after in tries] and rate in [one for one, *_ in tries]


def test_files_that_do_not_fit_are_refused(tmp_path):
    problem, hyper = make()
    save = tmp_path / "run"

    def go(hyper=hyper):
        return meta_optimize(lambda at: problem, hyper, hg.Stored(), MetaPlan(3, np.float32(0.1), save=save))

    go()
    tensors, note = files.read(save)
    whole = save.read_bytes()
    ragged = tensors | {"valid_loss": tensors["valid_loss"][:1]}
    older = {name: value for name, value in tensors.items() if not name.startswith("slots/")}
    for other in (ragged, older, tensors | {"more": torch.ones(1)}):
        files.write(save, other, note)
        with pytest.raises(ValueError, match=r"meta_optimize: .* must hold this run, got other tensors"):
            go()
    for cut in (b"", whole[:4], whole[: len(whole) // 2], whole.replace(b'{\\"hyper', b'[\\"hyper')):
        save.write_bytes(cut)
        with pytest.raises(ValueError, match="meta_optimize: save must be a file of this run, got"):
            go()
    save.write_bytes(whole)
    with pytest.raises(ValueError, match=r"meta_optimize: .* must hold this run, got other tensors"):
        go({name: value.float() for name, value in hyper.items()})
    go().hyper["0.weight"].zero_()
    assert torch.equal(go().hyper["0.weight"], tensors["history/0.weight"][-1])


def test_problems_are_refused_by_name():
    problem, _ = make()
    w = problem.weights
    one = torch.ones(1, dtype=torch.float64)
    cases = [
        ({"num_steps": 0}, "num_steps must be an integer >= 1, got 0"),
        ({"num_steps": 2.0}, "num_steps must be an integer >= 1, got 2.0"),
        ({"train_loss": 3}, "train_loss must be a function, got 3"),
        ({"valid_loss": None}, "valid_loss must be a function, got None"),
        ({"batches": [1]}, r"batches must be a function, got \[1\]"),
        ({"weights": {}}, "weights must map names to tensors, got {}"),
        ({"weights": {"a": 1.0}}, "weights must map names to tensors, got"),
        ({"weights": {"a": torch.ones(2, dtype=torch.int64)}}, r"weights\['a'\] must hold finite floating numbers"),
        ({"weights": {"a": torch.tensor([math.nan])}}, r"weights\['a'\] must hold finite floating numbers"),
        ({"weights": {"a": one, "b": one.float()}}, "weights must share dtype and device, got"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"momentum": -0.1}, "momentum must be a finite number >= 0, got -0.1"),
        ({"lr": -1.0}, "lr must be a finite number >= 0, got -1.0"),
        ({"lr": math.nan}, "lr must be a finite number >= 0, got nan"),
        ({"lr": {"a": 1.0}}, "lr must name the weights 0.weight, .*, got a"),
        ({"lr": dict.fromkeys(w, -one)}, r"lr\['0.weight'\] must be >= 0, a number or like the weight, got"),
        ({"lr": {name: torch.ones(2, 7) for name in w}}, r"lr\['0.weight'\] must be >= 0, a number or like"),
    ]
    for change, text in cases:
        with pytest.raises(ValueError, match=f"Problem: {text}"):
            replace(problem, **change)


def test_calls_are_refused_by_name():
    problem, hyper = make()
    stored = hg.Stored()
    cases = [
        (lambda: hypergradient(None, hyper, stored), "hypergradient: problem must be a Problem, got None"),
        (lambda: hypergradient(problem, [], stored), r"hypergradient: hyper must map names to tensors, got \[\]"),
        (lambda: hypergradient(problem, {"a": torch.tensor([math.inf])}, stored), r"hyper\['a'\] must hold finite"),
        (lambda: hypergradient(problem, hyper, hg.Stored), "method must be one of this room, such as Stored"),
        (lambda: hypergradient(problem, hyper, "drmad"), "method must be one of this room, such as Stored"),
        (lambda: hypergradient(problem, hyper, stored, limit=0), "limit must be a number > 0, got 0"),
        (lambda: hypergradient(problem, hyper, stored, limit=math.nan), "limit must be a number > 0, got nan"),
        (lambda: hypergradient(problem, hyper, hg.Knots(99)), "Knots: count must be at most the problem's num"),
        (lambda: hg.trained(problem, {}), "hypergradient: hyper must map names to tensors, got {}"),
        (lambda: hg.gradcheck(problem, hyper, stored, step=0), "check: step must be > 0, got 0"),
        (lambda: hg.Stored(torch.int8), "Stored: dtype must be one of 'None', 'torch.bfloat16', .* got 'torch.int8'"),
        (lambda: hg.Truncated(0), "Truncated: num_steps must be an integer >= 1, got 0"),
        (lambda: hg.Knots(0), "Knots: count must be an integer >= 1, got 0"),
        (lambda: hg.Knots(2, num_steps=0), "Knots: num_steps must be an integer >= 1, got 0"),
        (lambda: hg.DrMAD(0), "DrMAD: num_steps must be an integer >= 1, got 0"),
        (lambda: hg.DrMAD(1.5), "DrMAD: num_steps must be an integer >= 1, got 1.5"),
        (lambda: hg.Neumann(-1), "Neumann: count must be an integer >= 0, got -1"),
        (lambda: hg.Neumann(2, lr=0.0), "Neumann: lr must be > 0, got 0.0"),
        (lambda: hg.ConjugateGradient(0), "ConjugateGradient: count must be an integer >= 1, got 0"),
        (lambda: hg.ForwardMode(0), "ForwardMode: chunk_size must be an integer >= 1, got 0"),
        (lambda: MetaPlan(0, 0.1), "MetaPlan: num_steps must be an integer >= 1, got 0"),
        (lambda: MetaPlan(1, 0.0), "MetaPlan: lr must be > 0, got 0.0"),
        (lambda: MetaPlan(1, 0.1, rule="sgd"), "MetaPlan: rule must be one of 'adam', 'sign', got 'sgd'"),
        (lambda: meta_optimize(problem, hyper, stored, MetaPlan(1, 0.1)), "problem_at must be a function, got a"),
        (lambda: meta_optimize(lambda at: problem, hyper, stored, None), "plan must be a MetaPlan, got None"),
        (lambda: meta_optimize(lambda at: problem, {}, stored, MetaPlan(1, 0.1)), "hyper must map names to tensors"),
        (lambda: search_rate(lambda at: problem, hyper, stored, MetaPlan(1, 0.1), between=(1, 1), generator=seeded()),
         r"search_rate: between must be \(low, high\) with 0 < low < high, got \(1, 1\)"),
        (lambda: search_rate(lambda at: problem, hyper, stored, MetaPlan(1, 0.1), between=2.0, generator=seeded()),
         r"search_rate: between must be \(low, high\), got 2.0"),
        (lambda: search_rate(lambda at: problem, hyper, stored, MetaPlan(1, 0.1), between=(1, 2), generator=0),
         "search_rate: generator must be a torch.Generator, got 0"),
        (lambda: search_rate(lambda at: problem, hyper, stored, None, between=(1, 2), generator=seeded()),
         "search_rate: plan must be a MetaPlan, got None"),
        (lambda: meta_optimize(lambda at: problem, hyper, stored, MetaPlan(1, 0.1), judge=3), "judge must be a func"),
        (lambda: MetaPlan(1, 0.1, backend="fast"), "MetaPlan: backend must be one of 'auto', 'eager', 'compiled', got"),
        (lambda: hypergradient(problem, hyper, stored, limit=True), "limit must be a number > 0, got True"),
        (lambda: hg.minibatches([1], [1], 1, seed=0), r"minibatches: x and y must be tensors with rows, got \[1\]"),
        (lambda: hg.minibatches(torch.ones(3), torch.ones(3), 1, seed=0)(-1), "minibatches: step must be an integer"),
        (lambda: hg.log_l2({"a": torch.ones(5)}, {"a": torch.ones(5, 1)}),
         r"log_l2: logs\['a'\] must spread over shape \(5,\), got \(5, 1\)"),
        (lambda: hg.log_l2({"a": torch.ones(5)}, {"a": torch.ones(4)}), "must spread over shape"),
        (lambda: hg.minibatches(torch.ones(3), torch.ones(3), 4, seed=0), "minibatches: batch_size must be at most 3"),
        (lambda: hg.minibatches(torch.ones(3), torch.ones(2), 1, seed=0), "minibatches: batch_size must be at most"),
        (lambda: hg.minibatches(torch.ones(3), torch.ones(3), 1, seed=-1), "minibatches: seed must be an integer >= 0"),
        (lambda: hg.unit_l2(3, start=0.0), "unit_l2: module must be a torch.nn.Module or stacked weights by"),
        (lambda: hg.layer_l2(torch.nn.Tanh(), start=0.0), "layer_l2: module must have a weight matrix, got Tanh"),
        (lambda: hg.parameter_l2(torch.nn.Linear(2, 2), start=math.inf), "l2: start must be a finite number, got inf"),
        (lambda: hg.log_l2(problem.weights, {"a": torch.ones(1)}), "log_l2: logs must name a weight, one of 0.weight"),
    ]  # fmt: skip
    for call, text in cases:
        with pytest.raises(ValueError, match=text):
            call()


def test_learnt_rates_must_stay_positive():
    problem, _ = make()
    hyper = {"lr": torch.tensor(0.0, dtype=torch.float64)}
    still = {"lr": lambda hyper, step: hyper["lr"], "train_loss": lambda w, h, b: w["0.weight"].square().sum()}
    with pytest.raises(ValueError, match=r"lr must stay above 0 where it is learnt, got .* for '0\.weight'"):
        hypergradient(replace(problem, **still), hyper, hg.Stored())
