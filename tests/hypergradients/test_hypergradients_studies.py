"""Studies of learnt coefficients: stacked networks against single ones, the grid, rows of tables, and their data."""

import re

import pytest
import torch
from torch.nn.functional import avg_pool2d, cross_entropy

from labsupport import data, models
from labsupport import hypergradients as hg
from labsupport.counters import seeded
from labsupport.hypergradients import inputs, studies

SIZES, SEEDS = [4, 3, 2], (5, 6, 9)


def pair(seed, n, *lead):
    drawn = seeded(seed)
    return torch.randn(*lead, n, 4, generator=drawn), torch.randint(2, (*lead, n), generator=drawn)


def split_of(seed):
    return data.Split(pair(seed, 8), pair(seed + 1, 6), pair(seed + 2, 7))


def nets(seeds=SEEDS):
    return [models.mlp(SIZES, activation="tanh", generator=seeded(seed)) for seed in seeds]


def study(seeds=SEEDS, **options):
    given = {"num_steps": 5, "lr": 0.1, "backend": "eager"} | options
    return studies.with_own_data(split_of, SIZES, seeds=seeds, **given)


@pytest.mark.parametrize("lead", [(), (3,)], ids=["shared", "own"])
def test_stacked_networks_say_what_each_says(lead):
    weights, (x, y) = studies.stacked(nets()), pair(0, 6, *lead)
    for k, net in enumerate(nets()):
        mine, labels = (x[k], y[k]) if lead else (x, y)
        torch.testing.assert_close(studies.outputs(weights, x)[k], net(mine).detach())
        torch.testing.assert_close(studies.losses(weights, x, y)[k], cross_entropy(net(mine), labels).detach())
        assert studies.errors(weights, x, y)[k] == (net(mine).argmax(1) != labels).float().mean()


def test_the_training_loss_is_the_sum_of_losses_and_penalties():
    weights, batch = studies.stacked(nets()), pair(0, 6)
    logs = {"0.weight": torch.randn(3, 4, generator=seeded(1)), "2.weight": torch.randn(3, 3, generator=seeded(2))}
    wanted = sum(
        cross_entropy(net(batch[0]), batch[1])
        + sum(0.5 * (logs[k][n].exp() * net.get_parameter(k) ** 2).sum() for k in logs)
        for n, net in enumerate(nets())
    )
    torch.testing.assert_close(studies.penalized(weights, logs, batch), wanted.detach())


def test_a_network_learns_alone_what_it_learns_beside_others():
    plan, found = hg.MetaPlan(2, 0.3), {}
    for seeds in (SEEDS, SEEDS[1:2]):
        some = study(seeds)
        learnt = hg.meta_optimize(some.problem, some.coefficients(-3.0), hg.Stored(), plan).hyper
        found[len(seeds)] = learnt, some.scores(learnt, range(900, 902))
    for name, value in found[3][0].items():
        torch.testing.assert_close(value[1:2], found[1][0][name])
    for part, scores in found[3][1].items():
        torch.testing.assert_close(scores.loss[1:2], found[1][1][part].loss)


def test_attempts_say_where_training_starts_and_in_which_order():
    train, own_order = pair(0, 8), {}
    some = studies.Study(
        SIZES, train, pair(1, 6), pair(2, 7), lambda at: [s + at[0] for s in SEEDS], 5, 0.1,
        batches=lambda at: hg.minibatches(*train, 4, seed=at[1]), backend="eager",
    )  # fmt: skip
    for attempt in ((0, 3), (0, 4), (7, 3)):
        problem = some.problem(attempt)
        wanted = studies.stacked(nets([s + attempt[0] for s in SEEDS]))
        assert all(torch.equal(problem.weights[name], value) for name, value in wanted.items())
        assert torch.equal(problem.batches(2)[0], hg.minibatches(*train, 4, seed=attempt[1])(2)[0])
        own_order[attempt] = some.scores(some.coefficients(-3.0, attempt), [attempt])["test"].loss
    both = some.scores(some.coefficients(-3.0, (0, 3)), [(0, 3), (7, 3)])["test"].loss
    torch.testing.assert_close(both, (own_order[0, 3] + own_order[7, 3]) / 2)
    assert not torch.equal(own_order[0, 3], own_order[0, 4])


def test_dtype_follows_the_data_and_levels_may_be_each_networks_own():
    some = studies.with_own_data(
        lambda seed: split_of(seed).to(torch.float64), SIZES, seeds=SEEDS, num_steps=2, lr=0.1, backend="eager"
    )
    assert {value.dtype for value in some.problem(0).weights.values()} == {torch.float64}
    logs = some.coefficients([-1.0, -2.0, -3.0])
    assert [value.shape for value in logs.values()] == [(3, 4), (3, 3)]
    assert all(torch.equal(value[:, 0], torch.tensor([-1.0, -2.0, -3.0]).double()) for value in logs.values())


@pytest.mark.parametrize("by", ["loss", "error"])
def test_the_best_single_coefficient_is_that_of_the_lowest_mean(by):
    some, levels = study(), [-6.0, -1.0, 2.0]
    means = torch.stack([
        torch.stack([getattr(some.scores(some.coefficients(level), [k])["valid"], by) for k in (0, 1)]).mean(0)
        for level in levels
    ])  # fmt: skip
    found = studies.best_single(some, levels, by=by, attempts=(0, 1))
    assert [levels.index(level) for level in found] == means.argmin(0).tolist()


def test_the_grid_is_trained_once_for_both_judges(monkeypatch):
    some, trained, train = study(), [], studies.trained
    monkeypatch.setattr(studies, "trained", lambda *given, **named: trained.append(1) or train(*given, **named))
    for by in ("loss", "error"):
        studies.best_single(some, [-3.0, -1.0], by=by)
    assert len(trained) == 8


def test_rows_of_learning_and_of_the_grid():
    some, plan = study(), hg.MetaPlan(2, 0.3)
    about = {"levels": [-3.0, -1.0], "start": -3.0, "plan": plan, "areas": {"first": slice(2), "hidden": [4, 5, 6]}}
    row, learnt = studies.compared(some, hg.Stored(), **about)
    assert list(row) == ["first", "hidden", "valid", "valid_error", "test", "error"] and len(row["error"]) == 3
    assert row["first"] == pytest.approx(learnt.hyper["0.weight"][:, :2].mean(1).tolist(), abs=1e-4)
    assert row["hidden"] == pytest.approx(learnt.hyper["2.weight"].mean(1).tolist(), abs=1e-4)
    scores = some.scores(learnt.hyper, range(900, 904))
    assert row["test"] == pytest.approx(scores["test"].loss.tolist(), abs=1e-5)
    assert row["valid_error"] == pytest.approx(scores["valid"].error.tolist(), abs=1e-5)
    grid, nothing = studies.compared(some, "loss", **about)
    assert nothing is None and grid["single"] == studies.best_single(some, about["levels"], by="loss")
    fixed, _ = studies.compared(some, hg.Stored(), **about, attempt_at=lambda _: 0)
    assert fixed["first"] != row["first"]


def test_before_and_after():
    some = study()
    first, last = some.coefficients(-3.0), some.coefficients(0.0)
    found = studies.before_and_after(some, first, last, {"own": [0], "new": [1, 2]}, decimals=3)
    assert sorted(found) == sorted(
        f"{where}_{what}_{when}"
        for where in ("own", "new") for what in ("valid", "test", "error") for when in ("before", "after")
    )  # fmt: skip
    assert found["new_valid_after"] == pytest.approx(some.scores(last, [1, 2])["valid"].loss.tolist(), abs=6e-4)
    assert found["own_error_before"] == pytest.approx(some.scores(first, [0])["test"].error.tolist(), abs=6e-4)


def test_inputs_of_noise_stand_after_the_own_ones():
    split = split_of(0)
    found = inputs.beside_noise(split, 3, std=0.5, generators=[seeded(4), seeded(4), seeded(5)])
    for name in ("train", "valid", "test"):
        x, y = getattr(found, name)
        assert torch.equal(x[:, :4], getattr(split, name)[0]) and torch.equal(y, getattr(split, name)[1])
    assert torch.equal(found.train[0][:, 4:], 0.5 * torch.randn(8, 3, generator=seeded(4)))
    assert torch.equal(found.test[0][:, 4:], 0.5 * torch.randn(7, 3, generator=seeded(5)))


def test_a_digit_stands_in_the_middle_of_the_clutter():
    found = inputs.cluttered((3, 2, 4), 11)
    glyphs = data.glyphs("digits", sizes=(3, 2, 4), generator=seeded(11))
    for name in ("train", "valid", "test"):
        x, y = getattr(found, name)
        small = avg_pool2d(getattr(glyphs, name)[0], 2).flatten(1)
        assert x.shape == (len(y), 784) and torch.equal(y, getattr(glyphs, name)[1])
        assert torch.equal(x[:, inputs.CLUTTER["middle"]], small)
        assert (x[:, inputs.CLUTTER["round"]].amax(1) > 0.5).all()
    assert sorted(place for places in inputs.CLUTTER.values() for place in places) == list(range(934))


def test_letters_are_tasks_upright_and_turned():
    images = inputs.letters("georgian", 4, seed=21)
    assert images.shape == (4, 30, 1, 12, 12) and torch.equal(images, inputs.letters("georgian", 4, seed=21))
    parts = inputs.letter_tasks(["latin_lower", "georgian"], 4, images=(3, 10, 17), seed=2)
    for (x, y), first, count in zip(parts, (0, 3, 13), (3, 10, 17), strict=True):
        assert x.shape == (4, 4 * count, 144) and y.shape == (4, 4 * count)
        shown = x.view(4, 4, count, 12, 12)
        assert torch.equal(shown[1], images[:, first : first + count, 0])
        assert torch.equal(shown[2:], shown[:2].rot90(1, (-2, -1)))
        assert (y.view(4, 4, count) == torch.arange(4)[:, None]).all()


@pytest.mark.parametrize(
    ("says", "call"),
    [
        ("stacked: nets must be one or more with the same parameters", lambda: studies.stacked([])),
        ("stacked: nets must be", lambda: studies.stacked([*nets(), models.mlp([4, 2], generator=seeded(0))])),
        ("own: splits must be one or more of the same sizes", lambda: studies.own([])),
        ("Study: backend must be", lambda: study(backend="fast")),
        ("Study.scores: number of attempts must be", lambda: study().scores(study().coefficients(0.0), [])),
        ("best_single: by must be", lambda: studies.best_single(study(), [0.0], by="time")),
        ("best_single: number of levels must be", lambda: studies.best_single(study(), [], by="loss")),
        ("letters: alphabet must be", lambda: inputs.letters("runes", 2, seed=0)),
        ("letters: num_letters must be at most 26", lambda: inputs.letters("latin_lower", 27, seed=0)),
        ("letter_tasks: alphabets must be 1 to 10", lambda: inputs.letter_tasks([], 2, seed=0)),
        ("letter_tasks: images must be 30", lambda: inputs.letter_tasks(["georgian"], 2, images=(3, 3, 3), seed=0)),
        ("beside_noise: num_inputs must be", lambda: inputs.beside_noise(split_of(0), 0, std=1.0, generators=())),
        ("beside_noise: std must be", lambda: inputs.beside_noise(split_of(0), 1, std=-1.0, generators=())),
        ("generators must be three", lambda: inputs.beside_noise(split_of(0), 1, std=1.0, generators=[seeded(0)])),
        (
            "beside_noise: split must be flat",
            lambda: inputs.beside_noise(
                data.digits(flat=False, generator=seeded(0)), 1, std=1.0, generators=[seeded(0)] * 3
            ),
        ),
    ],
)
def test_refusals(says, call):
    with pytest.raises(ValueError, match=re.escape(says)):
        call()


@pytest.mark.parametrize("make", [hg.unit_l2, hg.layer_l2, hg.parameter_l2])
def test_stacked_weights_have_coefficients_each(make):
    nets = [models.mlp([4, 3, 2], generator=seeded(seed)) for seed in (0, 1)]
    weights, logs = studies.stacked(nets), make(studies.stacked(nets), start=-1.0)
    assert logs.keys() == make(nets[0], start=-1.0).keys()
    logs = {name: value + torch.arange(2.0).view(-1, *[1] * (value.ndim - 1)) for name, value in logs.items()}
    alone = [hg.log_l2(dict(net.named_parameters()), make(net, start=-1.0 + k)) for k, net in enumerate(nets)]
    torch.testing.assert_close(hg.log_l2(weights, logs), sum(alone))
