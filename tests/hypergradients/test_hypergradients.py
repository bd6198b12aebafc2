"""Hypergradients: exact methods beside autograd, finite differences, NumPy and closed forms; what the others keep."""

import math
import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from labsupport import hypergradients as hg
from labsupport import models
from labsupport.hypergradients import Problem, hypergradient
from labsupport.hypergradients.backward import descend
from labsupport.hypergradients.paths import _Checkpoints
from labsupport.hypergradients.runs import Run

STEPS = 14
EXACT = [hg.Stored(), hg.SqrtCheckpoint(), hg.Knots(STEPS), hg.Truncated(STEPS), hg.Truncated(99), hg.ForwardMode(),
         hg.ForwardMode(chunk_size=8), hg.Reversible()]  # fmt: skip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make(momentum=0.9, *, lr=0.05, num_steps=STEPS, dtype=torch.float64, sizes=(6, 5, 4, 3), batch_size=10):
    """A small tanh network, one log-L2 for each input unit, minibatches."""
    net = models.mlp(list(sizes), activation="tanh", generator=seeded(1)).to(dtype)
    x = torch.randn(40, sizes[0], generator=seeded(2), dtype=torch.float64).to(dtype)
    y = torch.randint(sizes[-1], (40,), generator=seeded(3))

    def train_loss(weights, hyper, batch):
        return cross_entropy(functional_call(net, weights, (batch[0],)), batch[1]) + hg.log_l2(weights, hyper)

    def valid_loss(weights):
        return cross_entropy(functional_call(net, weights, (x[20:],)), y[20:])

    weights = {name: value.detach() for name, value in net.named_parameters()}
    batches = hg.minibatches(x[:20], y[:20], batch_size, seed=4)
    problem = Problem(train_loss, valid_loss, weights, batches, num_steps, lr, momentum)
    return problem, hg.unit_l2(net, start=-2.0)


def per_parameter(momentum):
    problem, hyper = make(momentum)
    rates = {
        name: 0.02 + 0.1 * torch.rand(value.shape, generator=seeded(5), dtype=value.dtype)
        for name, value in problem.weights.items()
    }
    return replace(problem, lr=rates), hyper


def learnt(momentum=None):
    """A rate for each weight, two of them for each input unit, and a momentum for each step, learnt."""
    problem, hyper = make()
    names = list(problem.weights)
    wide = problem.weights[names[0]].shape

    def lr(hyper, step):
        each = {name: hyper["log_lr"][at].exp() for at, name in enumerate(names[1:])}
        return each | {names[0]: hyper["wide"].exp().expand(wide) / (1 + step)}

    def rho(hyper, step):
        return hyper["momentum"][step].sigmoid()

    hyper = hyper | {
        "log_lr": torch.linspace(-4, -2, len(names) - 1, dtype=torch.float64),
        "wide": torch.linspace(-3, -2, wide[1], dtype=torch.float64),
    }
    if momentum is None:
        hyper["momentum"] = torch.linspace(-1, 2, STEPS, dtype=torch.float64)
    return replace(problem, lr=lr, momentum=rho if momentum is None else momentum), hyper


def flat(values):
    return torch.cat([value.flatten() for value in values.values()])


def off(found, truth):
    """The largest error, relative to the largest entry, of each hyperparameter's gradient."""
    pairs = [(found.grad[name].detach(), value.detach()) for name, value in truth.grad.items()]
    return max(float((mine - theirs).abs().max() / theirs.abs().max().clamp(min=1e-300)) for mine, theirs in pairs)


MAKERS = {
    "momentum 0": partial(make, 0.0),
    "momentum .1": partial(make, 0.1),
    "momentum .9": partial(make, 0.9),
    "a rate for each parameter": partial(per_parameter, 0.9),
    "rates for each parameter, momentum .1": partial(per_parameter, 0.1),
    "learnt rates": partial(learnt, 0.9),
    "learnt rates and momenta": learnt,
}
REFUSED_BY_REVERSIBLE = ("momentum 0", "learnt rates and momenta")


@pytest.fixture(scope="module")
def truths():
    return {name: hypergradient(*maker(), hg.Unrolled()) for name, maker in MAKERS.items()}


PAIRS = [(name, method) for name in MAKERS for method in EXACT
         if not (isinstance(method, hg.Reversible) and name in REFUSED_BY_REVERSIBLE)]  # fmt: skip


@pytest.mark.parametrize(("name", "method"), PAIRS, ids=map(str, PAIRS))
def test_exact_methods_equal_autograd_through_the_whole_of_training(name, method, truths):
    problem, hyper = MAKERS[name]()
    truth = truths[name]
    found = hypergradient(problem, hyper, method)
    assert off(found, truth) < 1e-10
    assert found.valid_loss == pytest.approx(truth.valid_loss, abs=1e-11) and found.finite
    assert torch.allclose(flat(found.weights), flat(truth.weights), atol=1e-11)
    assert int((flat(truth.grad) == 0).sum()) <= 1  # the first step's momentum does nothing


@pytest.mark.parametrize("name", MAKERS)
def test_finite_differences_of_the_whole_run(name, truths):
    problem, hyper = MAKERS[name]()
    for at, (key, value) in enumerate(hyper.items()):
        direction = torch.randn(value.shape, generator=seeded(at), dtype=value.dtype)
        losses = [hg.trained(problem, hyper | {key: value + h * direction})[1] for h in (-2e-4, -1e-4, 1e-4, 2e-4)]
        slope = (8 * (losses[2] - losses[1]) - (losses[3] - losses[0])) / 12e-4
        expected = float((truths[name].grad[key] * direction).sum())
        assert slope == pytest.approx(expected, rel=1e-6, abs=1e-11)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.9])
def test_the_recursion_as_published_after_a_change_of_variables(gamma):
    """v ← γv − (1−γ)g, w ← w + αv, and its way back, in NumPy on a loss whose derivatives are written by hand."""
    random, alpha, num_steps = np.random.default_rng(0), 0.2, 25
    a, b, c, start, logs = (random.normal(size=size) for size in ((9, 5), 9, 5, 5, 5))

    def gradient(w):
        return a.T @ (a @ w - b) / 9 + w**3 + np.exp(logs) * w

    def hessian(w):
        return a.T @ a / 9 + np.diag(3 * w**2 + np.exp(logs))

    places, w, v = [], start.copy(), np.zeros(5)
    for _ in range(num_steps):
        places.append(w)
        v = gamma * v - (1 - gamma) * gradient(w)
        w = w + alpha * v
    d_w, d_v, d_logs = w - c, np.zeros(5), np.zeros(5)
    for place in reversed(places):
        d_v = d_v + alpha * d_w
        d_w = d_w - (1 - gamma) * hessian(place) @ d_v
        d_logs = d_logs - (1 - gamma) * np.exp(logs) * place * d_v
        d_v = gamma * d_v

    ta, tb, tc = (torch.from_numpy(value) for value in (a, b, c))
    problem = Problem(
        lambda w, h, _: (
            (ta @ w["w"] - tb).square().sum() / 18
            + w["w"].pow(4).sum() / 4
            + hg.log_l2(w, h)
        ),
        lambda w: (w["w"] - tc).square().sum() / 2,
        {"w": torch.from_numpy(start)}, lambda step: None, num_steps, lr=alpha * (1 - gamma), momentum=gamma,
    )  # fmt: skip
    found = hypergradient(problem, {"w": torch.from_numpy(logs)}, hg.Stored())
    assert np.allclose(found.weights["w"].numpy(), w, rtol=1e-12)
    assert np.allclose(found.grad["w"].numpy(), d_logs, rtol=1e-11)
    assert found.adjoint_norms[-1].item() == pytest.approx(np.linalg.norm(d_w), rel=1e-11)


def quadratic(num_steps):
    """½ wᵀAw − bᵀw + ½ Σ exp(c) w², whose end is known."""
    a = torch.randn(6, 4, generator=seeded(0), dtype=torch.float64)
    a, b, target = a.T @ a / 6, *torch.randn(2, 4, generator=seeded(1), dtype=torch.float64)
    logs = {"w": torch.linspace(-2, 0, 4, dtype=torch.float64)}
    problem = Problem(
        lambda w, h, _: w["w"] @ a @ w["w"] / 2 - b @ w["w"] + hg.log_l2(w, h),
        lambda w: (w["w"] - target).square().sum() / 2,
        {"w": torch.zeros(4, dtype=torch.float64)}, lambda step: None, num_steps, lr=0.5,
    )  # fmt: skip
    hessian = a + torch.diag(logs["w"].exp())
    end = torch.linalg.solve(hessian, b)
    return problem, logs, -(logs["w"].exp() * end) * torch.linalg.solve(hessian, end - target)


def test_neumann_with_many_terms_is_the_closed_form_and_with_few_is_not():
    problem, logs, truth = quadratic(250)
    found = hypergradient(problem, logs, hg.Neumann(250))
    assert torch.allclose(found.grad["w"], truth, rtol=1e-9)
    assert found.num_products == 251 and len(found.adjoint_norms) == 250
    assert found.stored_bytes == 4 * 8
    few = [float((hypergradient(problem, logs, hg.Neumann(n)).grad["w"] - truth).norm()) for n in (0, 5, 20, 80)]
    assert few == sorted(few, reverse=True) and few[0] > 0.1 * float(truth.norm())
    assert torch.allclose(hypergradient(problem, logs, hg.Stored()).grad["w"], truth, rtol=1e-8)


def test_neumann_knows_no_rates_and_stops_where_its_sum_diverges():
    with pytest.raises(ValueError, match="Neumann: lr and momentum must be numbers, got a function: no rate has"):
        hypergradient(*learnt(), hg.Neumann(3))
    problem, logs, _ = quadratic(2)
    steep = replace(problem, lr=9.0)
    with pytest.raises(FloatingPointError, match=r"adjoint must stay below 100 times its start, got .* take fewer"):
        hypergradient(steep, logs, hg.Neumann(50), limit=100)


def test_neumann_takes_a_rate_of_its_own():
    problem, logs, truth = quadratic(3000)
    slow = replace(problem, lr=0.05)
    assert torch.allclose(hypergradient(slow, logs, hg.Neumann(250, lr=0.5)).grad["w"], truth, rtol=1e-9)
    assert not torch.allclose(hypergradient(slow, logs, hg.Neumann(250)).grad["w"], truth, rtol=1e-3)


def test_conjugate_gradient_is_the_closed_form_after_as_many_products_as_weights():
    problem, logs, truth = quadratic(250)
    found = hypergradient(problem, logs, hg.ConjugateGradient(4))
    assert torch.allclose(found.grad["w"], truth, rtol=1e-9)
    assert found.num_products == 5 and len(found.adjoint_norms) == 4 and found.stored_bytes == 4 * 8
    assert not torch.allclose(hypergradient(problem, logs, hg.ConjugateGradient(2)).grad["w"], truth, rtol=1e-3)
    assert hypergradient(problem, logs, hg.ConjugateGradient(50)).num_products <= 8  # the residual is down to rounding


def test_conjugate_gradient_asks_for_the_last_batch_alone():
    problem, logs, _ = quadratic(20)
    asked = []
    hypergradient(replace(problem, batches=asked.append), logs, hg.ConjugateGradient(3))
    after = asked[len(asked) - 4 :]  # three products with H, one with the mixed term
    assert set(after) == {19} and max(asked) == 19


def test_conjugate_gradient_takes_neither_rates_nor_saddles():
    with pytest.raises(ValueError, match="ConjugateGradient: lr and momentum must be numbers, got a function"):
        hypergradient(*learnt(), hg.ConjugateGradient(3))
    problem, logs, _ = quadratic(2)
    saddle = replace(problem, train_loss=lambda w, h, b: problem.train_loss(w, h, b) - 9 * w["w"][0] ** 2, lr=0.01)
    with pytest.raises(FloatingPointError, match=r"the curvature must be positive, got -.* train longer, penalize"):
        hypergradient(saddle, logs, hg.ConjugateGradient(4))


def test_truncated_is_the_gradient_of_a_run_from_where_it_begins():
    problem, hyper = make(0.0)
    weights, _ = hg.trained(replace(problem, num_steps=STEPS - 5), hyper)
    batches = problem.batches
    rest = replace(problem, weights=weights, num_steps=5, batches=lambda step: batches(step + STEPS - 5))
    truth = hypergradient(rest, hyper, hg.Unrolled())
    found = hypergradient(problem, hyper, hg.Truncated(5))
    assert off(found, truth) < 1e-12 and found.stored_bytes == 5 * size_of(problem) and found.num_products == 5


def size_of(problem):
    return sum(value.nbytes for value in problem.weights.values())


def test_drmad_is_the_recursion_along_the_line():
    """With its own few steps, unscaled, by hand."""
    problem, hyper = make(0.5, num_steps=40)
    end, _ = hg.trained(problem, hyper)
    a = {name: value.clone().requires_grad_() for name, value in end.items()}
    d_w = dict(zip(a, torch.autograd.grad(problem.valid_loss(a), list(a.values())), strict=True))
    d_v, grad = {name: torch.zeros_like(value) for name, value in end.items()}, dict.fromkeys(hyper, 0.0)
    for number in (3, 2, 1, 0):
        place = {k: (v + (number / 4) * (end[k] - v)).requires_grad_() for k, v in problem.weights.items()}
        by = {k: v.clone().requires_grad_() for k, v in hyper.items()}
        loss = problem.train_loss(place, by, problem.batches(36 + number))
        slope = torch.autograd.grad(loss, list(place.values()), create_graph=True)
        d_v = {k: d_v[k] - problem.lr * d_w[k] for k in d_w}
        pull = sum((one * d_v[k]).sum() for k, one in zip(place, slope, strict=True))
        both = torch.autograd.grad(pull, [*place.values(), *by.values()])
        d_w = {k: d_w[k] + both[at] for at, k in enumerate(d_w)}
        grad = {k: grad[k] + both[len(d_w) + at] for at, k in enumerate(hyper)}
        d_v = {k: 0.5 * v for k, v in d_v.items()}
    found = hypergradient(problem, hyper, hg.DrMAD())
    assert all(torch.allclose(found.grad[k], grad[k], rtol=1e-11) for k in hyper)
    assert found.num_products == 4 and len(hypergradient(problem, hyper, hg.DrMAD(7)).adjoint_norms) == 7


def test_knots_approach_the_exact_gradient():
    problem, hyper = make(0.9, num_steps=64)
    truth = flat(hypergradient(problem, hyper, hg.Stored()).grad)
    errors = [float((flat(hypergradient(problem, hyper, hg.Knots(n)).grad) - truth).norm()) for n in (2, 8, 32, 64)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-12 < errors[-2]
    coarse = hypergradient(problem, hyper, hg.Knots(8, num_steps=16))
    assert coarse.num_products == 16 and coarse.stored_bytes == 9 * size_of(problem)


@pytest.mark.parametrize(
    ("method", "copies"), [(hg.DrMAD(), 2), (hg.Knots(4), 5), (hg.Stored(), 30), (hg.Truncated(7), 7)], ids=repr
)
def test_what_is_kept_is_what_is_told(method, copies, monkeypatch):
    """Weights of the training run that are alive when it is judged: counted as tensors, wherever they are held."""
    problem, hyper = make(num_steps=30)
    made, alive, forward = [], [], Run.forward

    def watched(run, *at):
        result = forward(run, *at)
        made.append(weakref.ref(result[0]["0.weight"]))
        return result

    def looked(weights):
        alive.append(sum(each() is not None for each in made))
        return problem.valid_loss(weights)

    monkeypatch.setattr(Run, "forward", watched)
    result = hypergradient(replace(problem, valid_loss=looked), hyper, method)
    assert result.stored_bytes == copies * size_of(problem)
    exact = isinstance(method, (hg.Stored, hg.Truncated))
    # the start is not made by a step; exact methods hold the end only because the result does
    assert alive == [0, copies - (not isinstance(method, hg.Truncated)) + exact]  # it is asked once before


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 30, 100, 101])
def test_sqrt_checkpoints_are_exact_with_pieces_of_any_length(num_steps):
    problem, hyper = make(num_steps=num_steps, sizes=(4, 3))
    assert off(*(hypergradient(problem, hyper, method) for method in (hg.SqrtCheckpoint(), hg.Stored()))) == 0


def test_sqrt_checkpoints_hold_at_most_three_roots_at_every_length():
    problem, hyper = make(sizes=(4, 3))
    for num_steps in [*range(1, 300), 1000, 2000, 20000]:
        run = Run(replace(problem, num_steps=num_steps), hyper, "eager")
        assert _Checkpoints(run).num_bytes <= 3.1 * math.sqrt(num_steps) * size_of(problem)


def test_sqrt_checkpoints_count_what_is_alive():
    """The number told is the largest number of weights and velocities that the tape and its way back hold."""
    problem, hyper = make(num_steps=50, sizes=(4, 3))
    run = Run(problem, hyper, "eager")
    tape, most = _Checkpoints(run), 0
    descend(run, tape)
    way = tape.back()
    for _ in way:
        inside = way.gi_frame.f_locals
        most = max(most, 2 * len(tape.kept) + len(inside["places"]) + 1 + 1)  # one is at hand, and a velocity
    assert most * size_of(problem) == tape.num_bytes


def test_bfloat16_keeps_three_digits_in_a_quarter_of_the_memory():
    problem, hyper = make()
    truth, found = (hypergradient(problem, hyper, hg.Stored(dtype)) for dtype in (None, torch.bfloat16))
    assert found.stored_bytes * 4 == truth.stored_bytes
    assert 1e-7 < off(found, truth) < 1e-2
    assert float((flat(found.grad) - flat(truth.grad)).norm() / flat(truth.grad).norm()) < 3e-3


def test_float32_stays_float32():
    problem, hyper = make(dtype=torch.float32)
    truth = hypergradient(*make(), hg.Stored())
    for method in (hg.Stored(), hg.SqrtCheckpoint(), hg.Reversible(), hg.ForwardMode(), hg.Unrolled()):
        found = hypergradient(problem, hyper, method)
        assert {value.dtype for value in (*found.grad.values(), *found.weights.values())} == {torch.float32}
        assert off(found, truth) < 1e-4


def test_check_tells_how_far_a_method_lies():
    problem, hyper = make(num_steps=40)
    exact = hg.gradcheck(problem, hyper, hg.SqrtCheckpoint())
    assert exact[:3] == pytest.approx((1, 1, 1), abs=1e-12) and exact.slope == pytest.approx(1, abs=1e-6)
    short = hg.gradcheck(problem, hyper, hg.DrMAD())
    truth, found = (flat(hypergradient(problem, hyper, method).grad) for method in (hg.Stored(), hg.DrMAD()))
    assert short.cosine == pytest.approx(float(torch.nn.functional.cosine_similarity(truth, found, dim=0)))
    assert short.norm_ratio == pytest.approx(float(found.norm() / truth.norm()))
    assert short.sign_agreement == float((found.sign() == truth.sign()).double().mean())
    assert short.norm_ratio < 0.5 and short.slope == exact.slope and short.result.num_products == 4


def test_what_is_not_used_has_gradient_zero(untouched_global_state):
    problem, hyper = make()
    hyper = hyper | {"unused": torch.ones(3, dtype=torch.float64)}
    for method in (hg.Unrolled(), hg.Stored(), hg.Neumann(2), hg.ForwardMode()):
        assert hypergradient(problem, hyper, method).grad["unused"].tolist() == [0, 0, 0]


def test_inputs_are_left_alone():
    problem, hyper = make()
    before = [{name: value.clone() for name, value in given.items()} for given in (problem.weights, hyper)]
    asking = {name: value.clone().requires_grad_() for name, value in hyper.items()}
    for method in (hg.Unrolled(), hg.Stored(), hg.Reversible(), hg.DrMAD()):
        found = hypergradient(problem, asking, method)
        assert not any(value.requires_grad for value in (*found.grad.values(), *found.weights.values()))
    for given, had in zip((problem.weights, hyper), before, strict=True):
        assert given.keys() == had.keys() and all(torch.equal(given[name], value) for name, value in had.items())
    assert all(value.grad is None for value in asking.values())
