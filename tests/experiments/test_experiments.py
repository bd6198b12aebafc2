"""labsupport/experiments: grids, runs laid out as (points, seeds, …), and tuning that never looks at the test."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from labsupport import data, models, optimizers, population
from labsupport.data import Split
from labsupport.experiments import Samples, begin, carry_on, grid, points, run, seeded, tuned
from labsupport.population import Plan

PLAN = Plan(2, 20, progress=False)


def build(generator):
    return models.mlp([4, 6, 3], generator=generator)


def wide(generator):
    return models.mlp([4, 12, 3], generator=generator)


def part(n, seed):
    x = torch.randn(n, 4, generator=seeded(seed), dtype=torch.float64)
    return x, (x @ torch.randn(4, 3, generator=seeded(9), dtype=torch.float64)).argmax(1)


@pytest.fixture(scope="module")
def split():
    return Split(part(120, 0), part(60, 1), part(60, 2), class_names=("a", "b", "c"))


@pytest.fixture(scope="module")
def runs(split):
    return run(build, split, optimizers.momentum(), grid(lr=[0.01, 0.1, 0.5], momentum=[0.0, 0.5]), PLAN, seeds=[3, 7])


# ---- grids


def test_the_last_axis_of_a_grid_runs_fastest():
    at = grid(lr=[0.1, 0.2, 0.3], momentum=[0.0, 0.9], weight_decay=0.01)
    assert len(at) == 6 and at.shape == (3, 2) and dict(at.axes) == {"lr": 3, "momentum": 2}
    assert at.settings["lr"].tolist() == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]
    assert at.settings["momentum"].tolist() == [0.0, 0.9] * 3
    assert at.settings["weight_decay"].tolist() == [0.01] * 6
    assert str(at[3]) == "lr=0.2, momentum=0.9, weight_decay=0.01" and at[3]["lr"] == 0.2 and at[3].place == 3
    assert len(list(at)) == 6


def test_a_point_knows_at_which_ends_it_lies():
    at = grid(lr=[0.3, 0.1, 0.2], momentum=[0.0, 0.5, 0.9], weight_decay=0.01)
    found = {(p["lr"], p["momentum"]): p.edge for p in at}
    assert found[0.2, 0.5] == () and found[0.3, 0.5] == ("lr",) and found[0.1, 0.9] == ("lr", "momentum")
    assert found[0.2, 0.0] == ()  # nothing lies below 0
    assert grid(lr=[0.1])[0].edge == () and grid(lr=0.1)[0].edge == ()
    assert points(lr=[0.1, 0.2, 0.3])[2].edge == ("lr",)
    assert points(lr=[0.1, 0.2, 0.3], eps=[1.0, 2.0, 3.0])[2].edge == ()


def test_tensors_keep_their_dtype_and_numbers_are_double():
    assert grid(lr=torch.tensor([0.1, 0.2])).settings["lr"].dtype == torch.float32
    assert grid(lr=[0.1, 0.2]).settings["lr"].dtype == torch.float64
    assert grid(lr=range(1, 3)).settings["lr"].tolist() == [1.0, 2.0]


def test_members_and_fold_undo_each_other():
    at = grid(lr=[0.1, 0.2, 0.3])
    settings, seeds = at.members(range(5, 9))
    assert settings["lr"].tolist() == [0.1] * 4 + [0.2] * 4 + [0.3] * 4 and seeds == [5, 6, 7, 8] * 3
    assert torch.equal(at.fold(settings["lr"])[:, 0], at.settings["lr"])
    assert at.fold(torch.zeros(12, 7)).shape == (3, 4, 7)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: grid(lr=[]), "grid: lr must be numbers, finite and at least one"),
        (lambda: grid(lr=[0.1, 0.1]), "grid: lr must be a list of different numbers"),
        (lambda: grid(lr=[0.1, float("nan")]), "finite"),
        (lambda: grid(lr="0.1"), "must be numbers"),
        (lambda: grid(lr=None), "must be numbers"),
        (lambda: grid(lr=[True, False]), "must be numbers"),
        (lambda: grid(lr=np.array([True, False])), "must be numbers"),
        (lambda: grid(lr=np.array([1 + 2j])), "must be numbers"),
        (lambda: grid(lr={0.1: "a"}), "must be numbers"),
        (lambda: grid(lr=b"12"), "must be numbers"),
        (lambda: grid(lr=[10**400]), "must be numbers"),
        (lambda: grid(lr=torch.zeros(2, 2)), "different numbers"),
        (lambda: points(lr=[0.1, 0.2], momentum=[0.1]), "points: columns must be of one length"),
        (lambda: points(lr=[float("inf")]), "finite"),
        (lambda: grid(lr=[0.1, 0.2])[2], "place must be in 0 … 1, got 2"),
        (lambda: grid(lr=[0.1, 0.2])[0]["momentum"], "name must be one of lr, got 'momentum'"),
        (lambda: grid(lr=[0.1, 0.2]).fold(torch.zeros(3)), "as many rows for each of 2"),
    ],
)
def test_grids_refuse(make, rule):
    with pytest.raises(ValueError, match=rule.replace("(", r"\(")):
        make()


# ---- runs


def test_runs_are_the_population_laid_out(runs, split):
    for place, point in enumerate(runs.points):
        settings = {name: float(value) for name, value in point.settings.items()}
        state = population.init(build, optimizers.momentum(), settings, seeds=[3, 7]).to(torch.float64)
        alone = population.carry_on(state, split, PLAN)
        assert torch.allclose(runs.valid_loss[place], alone.valid_loss, atol=1e-12)
        assert torch.allclose(runs.train_loss[place], alone.train_loss, atol=1e-12)
        test = population.evaluate(alone.state, *split.test, loss=cross_entropy)
        assert torch.allclose(runs.scores().loss[place], test.loss, atol=1e-12)
        assert tuple(runs.at(point).seeds) == (3, 7)
    assert runs.valid_error.shape == (6, 2, 2) and runs.train_loss.shape == (6, 2, 12)


def test_the_best_is_chosen_on_validation_by_the_mean(runs):
    means = runs.valid_error[..., -1].double().mean(1)
    assert runs.best().place == int(means.argmin()) and runs.best("loss").place == int(
        runs.valid_loss[..., -1].mean(1).argmin()
    )
    worst = runs.best(lambda r: -r.valid_loss[..., -1])
    assert worst.place == int(runs.valid_loss[..., -1].mean(1).argmax())
    assert torch.allclose(runs.scores("valid").loss, runs.valid_loss[..., -1].double(), atol=1e-12)


def test_what_is_reported_never_moves_the_choice(split):
    """Test labels turned round: the same choice, other errors."""
    x, y = split.test
    turned = Split(split.train, split.valid, (x, (y + 1) % 3), split.class_names)
    options = {"tuning": [0, 1], "fresh": [5, 6, 7]}
    here, there = (
        tuned(build, s, optimizers.sgd(), grid(lr=[0.01, 0.1, 1.0]), PLAN, **options) for s in (split, turned)
    )
    assert here.best == there.best and here.errors.mean != there.errors.mean
    assert torch.equal(here.tuning.valid_error, there.tuning.valid_error)


def test_tuned_reports_fresh_seeds_at_the_best_point(split):
    found = tuned(build, split, optimizers.sgd(), grid(lr=[0.01, 0.1, 1.0]), PLAN, tuning=[0, 1], fresh=[5, 6, 7])
    again = run(build, split, optimizers.sgd(), {"lr": found.best["lr"]}, PLAN, seeds=[5, 6, 7])
    assert found.errors.seeds == (5, 6, 7) and found.fresh.seeds == (5, 6, 7)
    assert torch.equal(found.errors.tensor[0], again.scores("test").error[0])
    assert found.errors.edge == found.best.edge == ("lr",) and found.losses.edge == ("lr",)
    assert "at the edge of lr" in repr(found)


def test_several_at_once_are_what_each_is_alone(split):
    rules = {"sgd": optimizers.sgd(), "adam": optimizers.adam()}
    grids = {"sgd": grid(lr=[0.1, 1.0, 3.0]), "adam": grid(lr=[0.001, 0.01, 0.1])}
    found = tuned(build, split, rules, grids, PLAN, tuning=range(3), fresh=range(5, 9))
    alone = tuned(build, split, rules["adam"], grids["adam"], PLAN, tuning=range(3), fresh=range(5, 9))
    assert found["adam"].best == alone.best and torch.equal(found["adam"].errors.tensor, alone.errors.tensor)
    both = Samples({label: each.errors for label, each in found.items()}, range(5, 9))
    assert both.conditions == ("sgd", "adam") and set(both.edge) <= {"lr"}
    nets = run({"narrow": build, "wide": wide}, split, rules["sgd"], {"lr": 0.1}, PLAN, seeds=[1])
    assert nets["wide"].state.params["0.weight"].shape[1] == 12


def test_each_replicate_may_have_its_own_sample(split):
    own = data.partitions(split, num_train=100, num_valid=50, num_test=50, seeds=range(8))
    found = tuned(build, own, optimizers.sgd(), grid(lr=[0.03, 0.3, 1.0]), PLAN, tuning=range(4), fresh=range(4, 8))
    for at, seed in enumerate((4, 5, 6, 7)):
        alone = run(build, own.split(seed), optimizers.sgd(), {"lr": found.best["lr"]}, PLAN, seeds=[seed])
        assert alone.scores().loss.item() == pytest.approx(found.losses.tensor[0, at].item(), abs=1e-12)


def test_a_schedule_may_have_a_factor_for_each_point(split):
    late = {"lr": lambda t: torch.tensor([1.0, 0.0]) if t >= 6 else torch.tensor([0.0, 1.0])}
    plan = Plan(2, 20, schedule=late, progress=False)
    moved = run(build, split, optimizers.sgd(), grid(lr=[0.1, 0.2]), plan, seeds=range(3))
    first, second = (moved.train_loss[..., part] for part in (slice(0, 6), slice(6, 12)))
    still = run(build, split, optimizers.sgd(), {"lr": 0.0}, PLAN, seeds=range(3)).train_loss[0]
    assert torch.equal(first[0], still[:, :6]) and not torch.equal(first[1], still[:, :6])
    assert not torch.allclose(second[0][:, 1:], still[:, 7:])
    found = tuned(build, split, optimizers.sgd(), grid(lr=[0.1, 0.2]), plan, tuning=range(3), fresh=range(3, 5))
    assert found.fresh.train_loss.shape == (1, 2, 12)
    alone = Plan(1, 20, schedule={"lr": lambda t: torch.zeros(1)}, progress=False)
    stopped = run(build, split, optimizers.sgd(), {"lr": 0.1}, alone, seeds=range(3)).scores("valid")
    assert torch.equal(
        stopped.loss, begin(build, split, optimizers.sgd(), {"lr": 0.1}, seeds=range(3)).scores("valid").loss
    )


def test_tuned_refuses_a_schedule_for_single_members(split):
    for size in (4, 3):
        plan = Plan(1, 20, schedule={"lr": lambda t, size=size: torch.ones(size)}, progress=False)
        with pytest.raises(ValueError, match=r"tuned: a schedule must give one factor, or one for each of 2 points"):
            tuned(build, split, optimizers.sgd(), grid(lr=[0.1, 0.2]), plan, tuning=range(2), fresh=range(4, 8))


def test_steps_in_place_of_epochs_and_more_of_them(split):
    begun = begin(build, split, optimizers.sgd(), {"lr": [0.1, 0.2]}, seeds=range(3))
    assert begun.train_loss.shape == (2, 3, 0) and "not trained" in repr(begun)
    seven = run(build, split, optimizers.sgd(), {"lr": [0.1, 0.2]}, PLAN, seeds=range(3), num_steps=7)
    parts = carry_on(carry_on(begun, PLAN, num_steps=3), PLAN, num_steps=4)
    assert torch.equal(parts.scores().loss, seven.scores().loss)
    assert torch.equal(parts.train_loss, seven.train_loss[..., 3:]) and seven.valid_loss.shape == (2, 3, 0)
    assert seven.best("loss").place in (0, 1)
    whole = run(build, split, optimizers.sgd(), {"lr": [0.1, 0.2]}, PLAN, seeds=range(3))
    halves = carry_on(carry_on(begun, Plan(1, 20, progress=False)), Plan(1, 20, progress=False))
    assert torch.equal(halves.scores().loss, whole.scores().loss)


def test_a_member_that_diverged_counts_what_is_said(split):
    plan = Plan(4, 20, progress=False)

    rates = {"lr": [0.1, 1e30]}
    silent = run(build, split.to(torch.float32), optimizers.sgd(), rates, plan, seeds=range(3))
    assert silent.has_diverged.tolist() == [[False] * 3, [True] * 3] and silent.best("loss").place == 0
    counted = run(build, split.to(torch.float32), optimizers.sgd(), rates, plan, seeds=range(3), diverged=7.0)
    assert counted.scores("test").loss[1].tolist() == [7.0] * 3 == counted.scores("test").error[1].tolist()
    assert silent.best(lambda r: -r.points.settings["lr"][:, None].expand(2, 3)).place == 0  # also by something else
    assert counted.best(lambda r: 10 - r.points.settings["lr"][:, None].clamp(max=9).expand(2, 3)).place == 0
    alone = run(build, split.to(torch.float32), optimizers.sgd(), {"lr": 1e30}, plan, seeds=range(3))
    with pytest.raises(ValueError, match=r"best: the mean of at least one point must be finite.*diverged=…"):
        alone.best()


def test_dtype_follows_the_data_and_runs_pickle(runs, split):
    assert runs.state.params["0.weight"].dtype == torch.float64
    single = run(build, split.to(torch.float32), optimizers.sgd(), {"lr": 0.1}, PLAN, seeds=[0, 1])
    assert single.state.params["0.weight"].dtype == torch.float32 and single.scores().loss.dtype == torch.float64
    assert single.samples().conditions == ("",) and single.samples().tensor.dtype == torch.float64
    again = pickle.loads(pickle.dumps(runs))
    assert torch.equal(again.scores().loss, runs.scores().loss)


def test_samples_have_a_condition_for_each_point(runs):
    found = runs.samples("error", "valid")
    assert len(found.conditions) == 6 and found.conditions[1] == "lr=0.01, momentum=0.5"
    assert torch.equal(found.tensor, runs.valid_error[..., -1].double())


def test_each_label_has_a_file_of_its_own(split, tmp_path):
    plan = Plan(1, 20, progress=False, save=tmp_path / "race.safetensors")
    rules = {"sgd": optimizers.sgd(), "momentum": optimizers.momentum()}
    options = {"tuning": [0, 1], "fresh": [4, 5]}
    first = tuned(build, split, rules, grid(lr=[0.01, 0.1]), plan, **options)
    names = sorted(path.name for path in tmp_path.iterdir())
    kinds = ("fresh", "tuning")
    assert names == [f"race-{rule}-{kind}.safetensors" for rule in ("momentum", "sgd") for kind in kinds]
    again = tuned(build, split, rules, grid(lr=[0.01, 0.1]), plan, **options)
    assert torch.equal(first["sgd"].losses.tensor, again["sgd"].losses.tensor)


def regression(split):
    parts = ((x, x[:, :3].contiguous()) for x in (split.train[0], split.valid[0], split.test[0]))
    return Split(*parts)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"data": 3}, "run: data must be a data.Split or Partitions"),
        ({"seeds": []}, "run: seeds must be different integers, at least one"),
        ({"seeds": [1, 1]}, "run: seeds must be different integers"),
        ({"seeds": [-1]}, "run: seeds must be an integer >= 0"),
        ({"seeds": "12"}, "run: seeds must be an integer"),
        ({"settings": 0.1}, "run: settings must be a grid, points or a dict by name"),
        ({"settings": {"lr": "fast"}}, "points: lr must be numbers"),
        ({"settings": {"momentum": 0.9}}, "settings must be among lr"),
        ({"plan": 3}, "plan a population.Plan"),
        ({"diverged": float("inf")}, "run: diverged must be a finite number"),
        ({"num_steps": 0}, "run: num_steps must be an integer >= 1"),
        ({"optimizer": {"a": optimizers.sgd()}, "build": {"b": build}}, "must have the labels"),
        ({"num_steps": 3, "plan": Plan(1, 20, save="x", progress=False)}, "plan.save must be None beside num_steps"),
    ],
)
def test_run_refuses(split, change, rule):
    given = {"build": build, "data": split, "optimizer": optimizers.sgd(), "settings": {"lr": 0.1}, "plan": PLAN}
    given |= {"seeds": [0], **change}
    with pytest.raises(ValueError, match=rule):
        run(given.pop("build"), given.pop("data"), given.pop("optimizer"), given.pop("settings"), given.pop("plan"),
            **given)  # fmt: skip


def test_tuned_refuses_shared_seeds_and_missing_samples(split):
    at = (optimizers.sgd(), grid(lr=[0.1, 0.2]), PLAN)
    with pytest.raises(ValueError, match=r"tuned: fresh must share no seed with tuning, got \[2\]"):
        tuned(build, split, *at, tuning=range(3), fresh=range(2, 5))
    own = data.partitions(split, num_train=60, num_valid=30, num_test=30, seeds=range(3))
    with pytest.raises(ValueError, match=r"a sample for each tuning and fresh seed, got none for \[3, 4\]"):
        tuned(build, own, *at, tuning=range(3), fresh=range(3, 5))


def test_a_score_that_is_none_is_refused(split):
    plan = Plan(1, 20, loss=mse_loss, progress=False)
    found = run(build, regression(split), optimizers.sgd(), {"lr": [0.01, 0.1]}, plan, seeds=[0, 1])
    assert found.best("loss").place in (0, 1)
    with pytest.raises(ValueError, match="at least one point must be finite"):
        found.best("error")
    with pytest.raises(ValueError, match="samples: the error must be finite"):
        found.samples("error")
    with pytest.raises(ValueError, match="scores: part must be one of 'train', 'valid', 'test', got 'tset'"):
        found.scores("tset")
    with pytest.raises(ValueError, match=r"best: by must give \(2, 2\)"):
        found.best(lambda r: r.valid_loss)


def weighted(output, target, *, a):
    return cross_entropy(output * a.mean(), target)


def test_a_setting_that_is_a_tensor_stays_one_point(split):
    at = points(lr=0.3, **{"loss.a": torch.tensor([[0.1, 0.2, 0.3], [1.0, 1.0, 4.0]])})
    plan = Plan(2, 20, loss=weighted, progress=False)
    found = tuned(build, split, optimizers.sgd(), at, plan, tuning=[0, 1], fresh=[5, 6, 7])
    assert len(found.fresh.points) == 1 and found.errors.conditions == ("",)
    assert torch.equal(found.fresh.state.settings["loss.a"][0], found.best["loss.a"].to(torch.float64))


def test_points_that_read_alike_stay_apart(split):
    found = run(build, split, optimizers.sgd(), points(lr=[0.1, 0.1000001, 0.3]), PLAN, seeds=[1, 2])
    assert found.samples().conditions == ("0: lr=0.1", "1: lr=0.1", "2: lr=0.3")


def test_a_schedule_may_be_a_list(split):
    late = Plan(2, 20, schedule={"lr": lambda t: [1.0, 1.0, 0.0]}, progress=False)
    given = (build, split, optimizers.sgd(), grid(lr=[0.1, 0.2, 0.4]), late)
    assert torch.equal(run(*given, seeds=[1]).train_loss, run(*given, seeds=[1, 2]).train_loss[:, :1])
    assert tuned(*given, tuning=[1], fresh=[3, 4, 5]).fresh.train_loss.shape == (1, 3, 12)


def test_an_error_that_is_none_is_not_made_up(split):
    plan = Plan(1, 20, loss=mse_loss, progress=False)
    found = run(build, regression(split), optimizers.sgd(), {"lr": [0.01, 0.1]}, plan, seeds=[0, 1], diverged=1.0)
    assert found.scores().error.isnan().all() and found.scores().loss.isfinite().all()
    with pytest.raises(ValueError, match="at least one point must be finite"):
        found.best("error")


def test_what_does_not_fit_is_refused_before_any_training(split):
    calls = []

    def counted(step):
        calls.append(step)
        return 1.0

    plan = Plan(1, 20, schedule={"lr": counted}, progress=False)
    both = {"a": build, "b": build}
    with pytest.raises(ValueError, match="settings must be among"):
        run(both, split, optimizers.sgd(), {"a": grid(lr=[0.1]), "b": grid(rl=[0.1])}, plan, seeds=[1])
    with pytest.raises(ValueError, match="a label must be fit for a file's name"):
        run({"a": build, "b/c": build}, split, optimizers.sgd(), {"lr": 0.1}, Plan(1, 20, save="x"), seeds=[1])
    with pytest.raises(ValueError, match="tuned: by must be one of 'error', 'loss', got 'accuracy'"):
        tuned(build, split, optimizers.sgd(), {"lr": 0.1}, plan, tuning=[1], fresh=[2], by="accuracy")
    assert not calls
    rates = {"lr": (rate for rate in (0.1, 0.2))}  # read once, for both
    found = run(both, split, optimizers.sgd(), rates, PLAN, seeds=[1])
    assert len(found["a"].points) == len(found["b"].points) == 2


def test_a_foreign_point_is_refused(runs):
    with pytest.raises(ValueError, match="Runs: point must be one of these runs, got lr=5 for"):
        runs.at(grid(lr=[5.0, 7.0])[0])
    with pytest.raises(ValueError, match="place must be an integer >= 0"):
        runs.at(1.0)


def test_half_a_run_chooses_nothing(split):
    class Stops(nn.Module):
        def __init__(self, generator):
            super().__init__()
            self.inner = build(generator)

        def forward(self, x):
            return self.inner(x)

    calls = []

    def stopping(step):
        calls.append(step)
        if len(calls) > 8:
            raise KeyboardInterrupt
        return 1.0

    plan = Plan(3, 20, schedule={"lr": stopping}, progress=False)
    with pytest.warns(RuntimeWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        tuned(build, split, optimizers.sgd(), grid(lr=[0.1, 0.2]), plan, tuning=[0], fresh=[1])


# ---- data and generators


def test_seeded_is_a_generator_of_its_own():
    assert torch.equal(torch.randn(5, generator=seeded(3)), torch.randn(5, generator=seeded(3)))
    assert torch.equal(torch.randn(5, generator=seeded(3)), torch.randn(5, generator=torch.Generator().manual_seed(3)))
    before = torch.get_rng_state()
    seeded(5)
    assert torch.equal(before, torch.get_rng_state())
    for seed in (-1, 2.0, True, None, 2**64):
        with pytest.raises(ValueError, match="seeded: seed must be"):
            seeded(seed)
