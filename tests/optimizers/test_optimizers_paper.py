"""Each rule as its paper writes it, in NumPy, with a rate that changes: equal to 1e-12 after 60 steps."""

import numpy as np
import pytest
import torch

from labsupport import optimizers

NUM_STEPS = 60
START = np.array([0.7, -1.2, 2.5, 0.1])


def slope(step, place):
    """The gradient at a place, with noise of its own in each step."""
    return np.sin(3 * place) + 0.3 * np.random.default_rng(step).standard_normal(place.shape)


def rate(step):
    return 0.05 / (1 + step % 5)


def visited(rule, settings, start=START):
    """Where the rule's parameters are after each step: (NUM_STEPS, …)."""
    params = {"w": torch.tensor(start)}
    state, seen = rule.init(params), []
    for at in range(NUM_STEPS):
        now = dict(rule.defaults) | settings | {"lr": settings.get("lr", rate)(at)}
        place = params if rule.at is None else rule.at(params, state, now)
        params, state = rule.update({"w": torch.tensor(slope(at, place["w"].numpy()))}, state, params, now)
        seen.append(params["w"].numpy().copy())
    return np.array(seen)


def written(step):
    """The same from a paper's formula: `step` yields the parameters after each of its steps, without end."""
    return np.array([next(step) for _ in range(NUM_STEPS)])


def equal(rule, settings, formula):
    return np.abs(visited(rule, settings) - written(formula)).max() < 1e-12


def sutskever_momentum(mu=0.8):
    """Sutskever et al. 2013, eqs. 1 and 2."""
    theta, v, t = START.copy(), np.zeros(4), 0
    while True:
        v = mu * v - rate(t) * slope(t, theta)
        theta = theta + v
        t += 1
        yield theta


def sutskever_nesterov(mu=0.8, ahead=True):
    """Sutskever et al. 2013, eqs. 3 and 4: the gradient is taken ahead. Yields the place ahead of the next step."""
    theta, v, t = START.copy(), np.zeros(4), 0
    while True:
        v = mu * v - rate(t) * slope(t, theta + mu * v)
        theta = theta + v
        t += 1
        yield theta + mu * v if ahead else theta


def duchi(initial=0.0, delta=1e-10):
    """Duchi et al. 2011, figure 1; TensorFlow 1 with initial 0.1 and δ = 0."""
    x, s, t = START.copy(), np.full(4, initial), 0
    while True:
        g = slope(t, x)
        s = s + g * g
        x = x - rate(t) * g / (delta + np.sqrt(s))
        t += 1
        yield x


def inside_adagrad(eps=0.01):
    x, s, t = START.copy(), np.zeros(4), 0
    while True:
        g = slope(t, x)
        s = s + g * g
        x = x - rate(t) * g / np.sqrt(s + eps)
        t += 1
        yield x


def tensorflow_rmsprop(rho=0.9, eps=1e-10):
    """TensorFlow 1: ms starts at 1, ε inside the root."""
    x, ms, t = START.copy(), np.ones(4), 0
    while True:
        g = slope(t, x)
        ms = ms + (1 - rho) * (g * g - ms)
        x = x - rate(t) * g / np.sqrt(ms + eps)
        t += 1
        yield x


def zeiler(rho=0.95, eps=1e-6):
    """Zeiler 2012, algorithm 1, its Δx times a rate."""
    x, square, moved, t = START.copy(), np.zeros(4), np.zeros(4), 0
    while True:
        g = slope(t, x)
        square = rho * square + (1 - rho) * g**2
        delta = -np.sqrt(moved + eps) / np.sqrt(square + eps) * g
        moved = rho * moved + (1 - rho) * delta**2
        x = x + delta
        t += 1
        yield x


def kingma(b1=0.9, b2=0.999, eps=1e-8, correct=("mean", "square"), inside=False, decay=0.0):
    """Kingma & Ba 2015, algorithm 1; with `decay`, Loshchilov & Hutter 2019, algorithm 2, whose η α is our rate."""
    theta, m, v, t = START.copy(), np.zeros(4), np.zeros(4), 0
    while True:
        t += 1
        alpha, g = rate(t - 1), slope(t - 1, theta)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        mean = m / (1 - b1**t) if "mean" in correct else m
        square = v / (1 - b2**t) if "square" in correct else v
        size = np.sqrt(square + eps) if inside else np.sqrt(square) + eps
        theta = theta - (alpha * mean / size + alpha * decay * theta)
        yield theta


def dozat(b1=0.9, b2=0.999, eps=1e-8, psi=0.004):
    """Dozat 2016, algorithm 2: m averages with μₜ itself."""
    theta, m, n, product, t = START.copy(), np.zeros(4), np.zeros(4), 1.0, 0
    while True:
        t += 1
        mu, later = (b1 * (1 - 0.5 * 0.96 ** (s * psi)) for s in (t, t + 1))
        product *= mu
        g = slope(t - 1, theta)
        m, n = mu * m + (1 - mu) * g, b2 * n + (1 - b2) * g**2
        bar = (1 - mu) * g / (1 - product) + later * m / (1 - product * later)
        theta = theta - rate(t - 1) * bar / (np.sqrt(n / (1 - b2**t)) + eps)
        yield theta


def defazio(beta=0.9):
    """Defazio et al. 2024, eqs. 2 to 4, weights by the largest rate so far."""
    z, x, t, largest, total = START.copy(), START.copy(), 0, 0.0, 0.0
    while True:
        y = (1 - beta) * z + beta * x
        z = z - rate(t) * slope(t, y)
        largest = max(largest, rate(t))
        total += largest**2
        c = largest**2 / total
        x = (1 - c) * x + c * z
        t += 1
        yield x


def polyak(start=10):
    """Polyak & Juditsky 1992: the mean of what gradient descent visits after its step `start`."""
    places, theta, t = [], START.copy(), 0
    while True:
        theta = theta - rate(t) * slope(t, theta)
        t += 1
        places += [theta] if t > start else []
        yield np.mean(places or [theta], 0)


O = optimizers  # noqa: E741
BOTH = ("mean", "square")
FORMULAS = {
    "momentum": (O.momentum(form="sutskever"), {"momentum": 0.8}, sutskever_momentum()),
    "nesterov": (O.nesterov(form="sutskever"), {"momentum": 0.8}, sutskever_nesterov()),
    "adagrad": (O.adagrad(), {}, duchi()),
    "adagrad, TensorFlow 1": (O.adagrad(initial=0.1), {"eps": 0.0}, duchi(0.1, 0.0)),
    "adagrad, inside": (O.adagrad(eps_at="inside"), {"eps": 0.01}, inside_adagrad()),
    "rmsprop": (O.rmsprop(initial=1.0, eps_at="inside"), {"decay": 0.9, "eps": 1e-10}, tensorflow_rmsprop()),
    "adadelta": (O.adadelta(), {"decay": 0.95, "lr": lambda at: 1.0}, zeiler()),
    "adam": (O.adam(), {}, kingma()),
    "adam, mean corrected": (O.adam(correction="mean"), {}, kingma(correct=("mean",))),
    "adam, square corrected": (O.adam(correction="square"), {}, kingma(correct=("square",))),
    "adam, uncorrected": (O.adam(correction="none"), {}, kingma(correct=())),
    "adam, inside": (O.adam(eps_at="inside"), {"eps": 0.01}, kingma(inside=True, eps=0.01)),
    "adamw": (O.adamw(), {"weight_decay": 0.3}, kingma(decay=0.3)),
    "adamw, inside, mean": (
        O.adamw(eps_at="inside", correction="mean"),
        {"weight_decay": 0.3, "eps": 0.01},
        kingma(decay=0.3, inside=True, eps=0.01, correct=("mean",)),
    ),
    "nadam": (O.nadam(form="dozat"), {}, dozat()),
    "schedule_free": (O.schedule_free(), {}, defazio()),
    "averaged": (O.averaged(O.sgd(), start=10), {}, polyak()),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_each_rule_is_its_papers_formula(name):
    assert equal(*FORMULAS[name])


def test_the_papers_own_variable_of_nesterov_lies_a_velocity_behind():
    rule, params = O.nesterov(form="sutskever"), {"w": torch.tensor(START)}
    state, behind = rule.init(params), []
    for at in range(NUM_STEPS):
        grads = {"w": torch.tensor(slope(at, params["w"].numpy()))}
        params, state = rule.update(grads, state, params, {"lr": rate(at), "momentum": 0.8, "weight_decay": 0.0})
        behind.append((params["w"] - 0.8 * state["velocity"]["w"]).numpy())
    assert np.abs(np.array(behind) - written(sutskever_nesterov(ahead=False))).max() < 1e-12


@pytest.mark.parametrize("rule", [O.momentum, O.nesterov])
def test_the_two_forms_are_one_while_the_rate_stays_and_two_when_it_changes(rule):
    still = [visited(rule(form=form), {"lr": lambda at: 0.02}) for form in ("torch", "sutskever")]
    moving = [visited(rule(form=form), {}) for form in ("torch", "sutskever")]
    assert np.abs(still[0] - still[1]).max() < 1e-12 and np.abs(moving[0] - moving[1]).max() > 1e-2


def test_lars_is_its_papers_algorithm():
    """You et al. 2017, algorithm 1, on a matrix: the rate enters the velocity."""
    w, v, trust, beta, m = START.reshape(2, 2).copy(), np.zeros((2, 2)), 0.02, 0.1, 0.8
    expected = []
    for t in range(NUM_STEPS):
        g = slope(t, w)
        local = trust * np.linalg.norm(w) / (np.linalg.norm(g) + beta * np.linalg.norm(w))
        v = m * v + 10 * rate(t) * local * (g + beta * w)
        w = w - v
        expected.append(w)
    settings = {"lr": lambda at: 10 * rate(at), "momentum": m, "weight_decay": beta, "trust": trust, "eps": 0.0}
    found = visited(O.lars(), settings, START.reshape(2, 2))
    assert np.abs(found - np.array(expected)).max() < 1e-12


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (5, 3, 1, 1)])
def test_muon_steps_along_the_singular_vectors_of_its_velocity(shape):
    """Jordan et al. 2024: p(s) = 3.4445 s − 4.775 s³ + 2.0315 s⁵ five times, on singular values of length 1."""
    draw, rho = torch.Generator().manual_seed(0), 0.9
    grads = torch.randn(4, *shape, generator=draw, dtype=torch.float64)
    params = {"w": torch.zeros(shape, dtype=torch.float64)}
    velocity, state = torch.zeros(shape, dtype=torch.float64), O.muon().init(params)
    for g in grads:
        before = params["w"]
        params, state = O.muon().update({"w": g}, state, params, {"lr": 0.01, "momentum": rho, "weight_decay": 0.0})
        velocity = rho * velocity + g
        left, sizes, right = torch.linalg.svd((g + rho * velocity).flatten(1), full_matrices=False)
        sizes = sizes / sizes.norm()
        for _ in range(5):
            sizes = 3.4445 * sizes - 4.775 * sizes**3 + 2.0315 * sizes**5
        assert sizes.min() > 0.6 and sizes.max() < 1.3
        step = (before - params["w"]).flatten(1) / 0.01
        assert (step - 5**0.5 * left * sizes @ right).abs().max() < 1e-5  # it divides by the norm and 1e-7


def test_muon_takes_the_signs_of_a_bias():
    params, rule = {"b": torch.tensor([1.0, 2.0, 3.0])}, O.muon()
    settings = {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.0}
    moved, _ = rule.update({"b": torch.tensor([-4.0, 0.0, 0.1])}, rule.init(params), params, settings)
    assert moved["b"].tolist() == [1.5, 2.0, 2.5]
