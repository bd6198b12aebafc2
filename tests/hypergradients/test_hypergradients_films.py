"""Films of training, ways back over any places, how near an answer came; ties between tasks."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from labsupport import hypergradients as hg
from labsupport import models
from labsupport.experiments import seeded
from labsupport.hypergradients import films, studies, ties
from labsupport.hypergradients.problem import Problem

STEPS, MEMBERS = 9, 3


def stacked(lr=0.1):
    """Three logistic regressions side by side, whole batches, a log-L2 for each input."""
    x, y = torch.randn(20, 4, generator=seeded(1), dtype=torch.float64), torch.arange(20) % 3

    def losses(weights, batch):
        scores = batch[0] @ weights["w"].mT + weights["b"][:, None]
        return torch.stack([cross_entropy(each, batch[1]) for each in scores])

    def train_loss(weights, hyper, batch):
        return losses(weights, batch).sum() + 0.5 * (hyper["w"].exp()[:, None] * weights["w"] ** 2).sum()

    start = {
        "w": torch.randn(MEMBERS, 3, 4, generator=seeded(2), dtype=torch.float64),
        "b": torch.zeros(MEMBERS, 3, dtype=torch.float64),
    }
    judge = lambda weights: losses(weights, (x[:7].flip(1), y[:7])).sum()  # noqa: E731
    problem = Problem(train_loss, judge, start, lambda step: (x[step % 4 :], y[step % 4 :]), STEPS, lr, 0.5)
    return problem, {"w": torch.full((MEMBERS, 4), -2.0, dtype=torch.float64)}


def test_a_film_holds_the_start_every_step_and_the_end():
    problem, hyper = stacked()
    film = films.film(problem, hyper)
    assert len(film) == STEPS + 1 and torch.equal(film[0]["w"], problem.weights["w"])
    assert torch.equal(film[-1]["w"], hg.trained(problem, hyper)[0]["w"])
    w, v = problem.weights["w"], 0.0  # by hand
    for step, place in enumerate(film[:-1]):
        assert torch.allclose(place["w"], w)
        v = 0.5 * v + torch.func.grad(problem.train_loss)(place, hyper, problem.batches(step))["w"]
        w = w - 0.1 * v


def test_going_back_along_the_film_itself_is_exact_and_along_a_line_is_drmad():
    problem, hyper = stacked()
    truth = hg.hypergradient(problem, hyper, hg.Unrolled())

    def whole(film):
        return ((step, film[step]) for step in reversed(range(STEPS)))

    def line(film):
        for step in reversed(range(STEPS)):
            yield step, {name: first.lerp(film[-1][name], step / STEPS) for name, first in film[0].items()}

    found = hg.hypergradient(problem, hyper, films.Along(whole))
    assert torch.allclose(found.grad["w"], truth.grad["w"], rtol=1e-10)
    assert found.stored_bytes == (STEPS + 1) * MEMBERS * (12 + 3) * 8 and found.num_products == STEPS
    ours = hg.hypergradient(problem, hyper, films.Along(line)).grad["w"]
    assert torch.allclose(ours, hg.hypergradient(problem, hyper, hg.DrMAD(STEPS)).grad["w"], rtol=1e-10)
    assert not torch.allclose(ours, truth.grad["w"], rtol=1e-3)


def test_products_are_those_of_the_hessian_and_of_the_mixed_derivative():
    problem, hyper = stacked()
    vector = {"w": torch.randn(MEMBERS, 3, 4, generator=seeded(3), dtype=torch.float64)}
    vector["b"] = torch.ones(MEMBERS, 3, dtype=torch.float64)
    curved, mixed = films.products(problem, hyper, problem.weights, vector, step=2)

    def slope(weights, hyper):
        return torch.func.grad(problem.train_loss)(weights, hyper, problem.batches(2))

    step = 1e-5
    ends = [slope({k: v + side * step * vector[k] for k, v in problem.weights.items()}, hyper) for side in (1, -1)]
    assert torch.allclose(curved["w"], (ends[0]["w"] - ends[1]["w"]) / (2 * step), atol=1e-8)
    expected = (hyper["w"].exp()[:, None] * problem.weights["w"] * vector["w"]).sum(1)
    assert torch.allclose(mixed["w"], expected)
    other, _ = films.products(problem, hyper, problem.weights, vector)
    assert not torch.allclose(curved["w"], other["w"])  # another batch


def test_nearness_of_each_member_in_its_own_numbers():
    truth = {"a": torch.tensor([[3.0, 0.0], [1.0, -1.0]]), "b": torch.tensor([4.0, 0.0])}
    found = {"a": torch.tensor([[30.0, 7.0], [1.0, 1.0]]), "b": torch.tensor([40.0, 5.0])}
    near = films.nearness(found, truth)
    assert near.cosine.dtype == torch.float64
    assert near.cosine.tolist() == pytest.approx([250 / (5 * math.sqrt(2549)), 0.0])
    assert near.log10_norm.tolist() == pytest.approx([math.log10(math.sqrt(2549) / 5), math.log10(math.sqrt(27 / 2))])
    assert near.signs.tolist() == [1.0, 0.5]  # where the truth is 0, no sign is asked


def test_flat_keeps_the_order_and_members_their_rows():
    values = {"w": torch.arange(12.0).view(2, 3, 2), "b": torch.tensor([12.0, 13.0])}
    assert films.flat(values).tolist() == list(range(14))
    assert films.flat(values, members=True).tolist() == [[*range(6), 12], [*range(6, 12), 13]]


def test_extremes_are_the_ends_of_each_members_spectrum():
    problem, hyper = stacked()
    low, high = films.extremes(
        problem.train_loss, problem.weights, hyper, problem.batches(0), num_steps=(15, 15), seed=0
    )
    for n in range(MEMBERS):
        one = {k: v[n : n + 1] for k, v in problem.weights.items()}
        sizes = [v.numel() for v in one.values()]

        def loss(vector, one=one, sizes=sizes, n=n):
            parts = {k: p.view_as(v) for (k, v), p in zip(one.items(), vector.split(sizes), strict=True)}
            return problem.train_loss(parts, {"w": hyper["w"][n : n + 1]}, problem.batches(0))

        exact = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, films.flat(one)))
        assert (low[n].item(), high[n].item()) == pytest.approx((exact[0].item(), exact[-1].item()), abs=1e-8)
    single = [{k: v.float() for k, v in each.items()} for each in (problem.weights, hyper)]
    again, _ = films.extremes(problem.train_loss, *single, problem.batches(0), num_steps=(15, 15), seed=0)
    assert torch.allclose(again, low, atol=1e-6) and again.dtype == torch.float64


def test_saved_bytes_counts_each_storage_once():
    """In a thread of its own: a compiled gradient that failed may leave torch's hooks switched off in this one."""
    with ThreadPoolExecutor(1) as own:
        own.submit(_count).result()


def _count():
    x = torch.ones(1000, dtype=torch.float64, requires_grad=True)
    assert films.saved_bytes(lambda: x.detach() * 2) == 0
    assert films.saved_bytes(lambda: x.square()) == 8000
    assert films.saved_bytes(lambda: [x.square(), x.pow(3), x[:5].square()]) == 8000
    assert films.saved_bytes(lambda: x.exp()) == 8000  # it saves what it gives


def test_distances_and_shared_part_by_their_definitions():
    w = torch.randn(2, 4, 6, generator=seeded(5), dtype=torch.float64)
    far = ties.distances(w)
    assert torch.allclose(far, (w[:, :, None] - w[:, None]).square().sum(-1))
    alphas = torch.randn(2, 4, 4, generator=seeded(6), dtype=torch.float64)
    alphas, decay = alphas + alphas.mT, torch.tensor([-1.0, 0.5], dtype=torch.float64)
    shared = ties.shared_part(alphas, decay)
    for at in range(2):
        pull = np.exp(alphas[at].numpy()) / 4
        precision = np.diag(np.exp(float(decay[at])) + pull.sum(1)) - pull
        penalty = (alphas[at].exp() * far[at]).sum() / 16 + 0.5 * decay[at].exp() * w[at].square().sum()
        assert float(penalty) == pytest.approx(0.5 * np.einsum("ij,in,jn->", precision, w[at].numpy(), w[at].numpy()))
        covariance = np.linalg.inv(precision)
        size = np.sqrt(np.diag(covariance))
        assert np.allclose(shared[at].numpy(), covariance / np.outer(size, size))
    nothing, everything = (ties.shared_part(torch.full((3, 3), level), torch.tensor(-1.0)) for level in (-30.0, 12.0))
    assert torch.allclose(nothing, torch.eye(3)) and bool((everything > 0.999).all())


def tied(shared=0):
    """Two draws of three tasks: networks 4-3-2, their logarithms, and a batch."""
    nets = studies.stacked(models.mlp([4, 3, 2], activation="tanh", generator=seeded(k)) for k in range(2))
    weights = ties.copied(nets, 3, shared=shared)
    weights = {name: w + 0.1 * torch.randn(w.shape, generator=seeded(9)) for name, w in weights.items()}
    alphas = torch.randn(2, 2, 3, 3, generator=seeded(1))
    logs = {"decay": torch.randn(2, 2, generator=seeded(2)), "tie": alphas + alphas.mT}
    batch = torch.randn(2, 3, 5, 4, generator=seeded(3)), torch.randint(2, (2, 3, 5), generator=seeded(4))
    return nets, weights, logs, batch


@pytest.mark.parametrize("shared", [0, 1])
def test_networks_of_tasks_say_and_lose_what_each_alone_does(shared):
    nets, weights, _, (x, y) = tied(shared)
    assert [w.shape[1] for w in weights.values()] == [1 if shared else 3] * 2 + [3, 3]
    assert torch.equal(ties.copied(nets, 3)["2.weight"][1, 2], nets["2.weight"][1])
    assert {value.shape[1] for value in ties.copied(nets, 3).values()} == {3}
    for draw in range(2):
        for task in range(3):
            one, bias, two, last = (w[draw, min(task, w.shape[1] - 1)] for w in weights.values())
            said = (x[draw, task] @ one.T + bias).tanh() @ two.T + last
            torch.testing.assert_close(ties.outputs(weights, x)[draw, task], said)
            torch.testing.assert_close(ties.losses(weights, x, y)[draw, task], cross_entropy(said, y[draw, task]))


@pytest.mark.parametrize("shared", [0, 1])
def test_the_tied_loss_is_that_of_all_tasks_with_l2_and_ties(shared):
    _, weights, logs, batch = tied(shared)
    logs = logs if not shared else {"decay": logs["decay"]}
    wanted = ties.losses(weights, *batch).sum()
    for layer, name in enumerate(("0.weight", "2.weight")):
        for draw in range(2):
            w = weights[name][draw].expand(3, -1, -1)
            wanted = wanted + 0.5 * logs["decay"][draw, layer].exp() * w.square().sum()
            if "tie" in logs:
                far = (w[:, None] - w[None]).square().sum((2, 3))
                wanted = wanted + (logs["tie"][draw, layer].exp() * far).sum() / 12
    torch.testing.assert_close(ties.penalized(weights, logs, batch), wanted)


def test_places_between_two_and_how_far_they_are():
    problem, _ = stacked()
    one, other = problem.weights, {name: value + 1 for name, value in problem.weights.items()}
    away = films.apart(one, other)
    torch.testing.assert_close(away, torch.full((MEMBERS,), 15.0, dtype=torch.float64).sqrt())
    torch.testing.assert_close(films.apart(one, films.between(one, other, 0.25)), 0.25 * away)
    shares = torch.tensor([0.0, 1.0, 0.5])
    torch.testing.assert_close(films.between(one, other, shares)["w"], one["w"] + shares[:, None, None])
    assert films.apart({"a": torch.ones(2, 3)}, {"a": torch.zeros(2, 3)}).dtype == torch.float64


REFUSED = [
    ("flat: values must hold a tensor", lambda p, h: films.flat({})),
    ("flat: values must share", lambda p, h: films.flat({**p.weights, "c": h["w"][:1]}, members=True)),
    ("nearness: found must be shaped like truth", lambda p, h: films.nearness(h, p.weights)),
    ("film: hyper must map names to tensors", lambda p, h: films.film(p, {})),
    ("products: vector must name w, b, got w", lambda p, h: films.products(p, h, p.weights, {"w": p.weights["w"]})),
    ("Along: lay must be a function of a film", lambda p, h: films.Along(3)),
    ("extremes: seed", lambda p, h: films.extremes(p.train_loss, p.weights, h, 0, seed=-1)),
    ("extremes: num_steps, s", lambda p, h: films.extremes(p.train_loss, p.weights, h, 0, num_steps=(9, 0), seed=0)),
    ("apart: other must be shaped like one", lambda p, h: films.apart(p.weights, h)),
    ("between: share must be a number", lambda p, h: films.between(p.weights, p.weights, torch.ones(2))),
    ("copied: num_tasks must be", lambda p, h: ties.copied(p.weights, 0)),
    ("copied: shared must be", lambda p, h: ties.copied(p.weights, 2, shared=-1)),
    ("outputs: weights must hold", lambda p, h: ties.outputs(h, torch.ones(1, 1, 2, 4))),
    ("distances: weights must be", lambda p, h: ties.distances(torch.ones(3))),
    ("shared_part: ties must be", lambda p, h: ties.shared_part(torch.ones(2, 3), torch.ones(()))),
]  # fmt: skip


@pytest.mark.parametrize(("message", "call"), REFUSED, ids=[message for message, _ in REFUSED])
def test_refusals(message, call):
    with pytest.raises(ValueError, match=message):
        call(*stacked())


def test_places_know_no_velocity_and_films_stop_where_training_does():
    problem, hyper = stacked()
    learnt = Problem(
        problem.train_loss,
        problem.valid_loss,
        problem.weights,
        problem.batches,
        STEPS,
        lr=lambda by, step: by["w"].exp().mean(),
    )
    with pytest.raises(ValueError, match="Along: lr and momentum must be numbers"):
        hg.hypergradient(learnt, hyper, films.Along(lambda film: ()))
    with pytest.raises(FloatingPointError, match="weights must stay finite"):
        films.film(stacked(lr=1e200)[0], hyper)


def test_a_film_of_a_network_of_the_course():
    net = models.mlp([4, 3], generator=seeded(0))
    problem = Problem(
        lambda w, by, batch: torch.func.functional_call(net, w, (batch,)).square().mean() + hg.log_l2(w, by),
        lambda w: sum(value.square().sum() for value in w.values()),
        dict(net.named_parameters()), lambda step: torch.ones(2, 4), 3, lr=0.1,
    )  # fmt: skip
    film = films.film(problem, hg.unit_l2(net, start=-2.0))
    assert len(film) == 4 and not any(value.requires_grad for place in film for value in place.values())
