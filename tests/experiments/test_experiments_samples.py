"""Samples: SciPy's errors and intervals to rounding, pairing by seed, and intervals that cover as often as they say."""

import copy
import math
import pickle

import numpy as np
import pytest
import scipy.stats
import torch

from labsupport.experiments.intervals import accelerated
from labsupport.experiments.samples import Estimate, Samples

STUDIES = 2000
EXACT = {"rel": 1e-12, "abs": 1e-12}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(n=24, seed=0):
    """Two conditions that share most of their noise; the second one's replicates stand in another order."""
    shared, own = drawn(n, seed=seed), drawn(2, n, seed=seed + 1)
    sgd, adam = shared + 0.3 * own[0], shared + 0.3 * own[1] + 0.2
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed + 2))
    return sgd, adam, Samples({"sgd": sgd}, range(n)), Samples({"adam": adam[order]}, order)


def ratio(data):
    return data[0].mean() / data[1].mean()


def correlation(data):
    return torch.corrcoef(data)[0, 1]


# What is stored


def test_values_are_named_float64_and_a_copy():
    given = torch.tensor([1.0, 2.5, 4.0], dtype=torch.float64, requires_grad=True)
    s = Samples({"sgd": given, "adam": [1, 2, 3], "ok": np.array([True, False, True])}, torch.tensor([7, 3, 5]))
    assert (len(s), s.conditions, s.seeds, s.count) == (3, ("sgd", "adam", "ok"), (7, 3, 5), 3)
    assert [c.dtype for c in s.values.values()] == [torch.float64, torch.float64, torch.bool]
    assert torch.equal(s.tensor, torch.tensor([[1, 2.5, 4], [1, 2, 3], [1, 0, 1]], dtype=torch.float64))
    with torch.no_grad():
        given[0] = 9
    s.tensor[0, 0] = 9
    assert s.means == {"sgd": 2.5, "adam": 2.0, "ok": 2 / 3}
    with pytest.raises(TypeError):
        s.values["sgd"] = given
    with pytest.raises(AttributeError):
        s.seeds = (1, 2, 3)
    assert Samples([0.1, 0.2], [0, 1]).tensor.tolist() == [[0.1, 0.2]]  # float64 from the start
    assert Samples(range(3), range(3)).conditions == ("",)
    assert [type(seed) for seed in Samples([1, 2], [np.int64(3), np.uint8(4)]).seeds] == [int, int]
    assert Samples([torch.tensor(1.0), torch.tensor(2.0)], [0, 1]).mean == 1.5
    assert Samples(torch.tensor([1.0, 2.0], dtype=torch.bfloat16), np.arange(2)).mean == 1.5


def test_one_condition_is_picked_by_name():
    s = Samples({"sgd": [1.0, 2.0], "adam": [3.0, 5.0]}, [0, 1], clusters=["a", "b"], edge=("lr",))
    adam = s["adam"]
    assert (adam.conditions, adam.mean, adam.clusters, adam.edge) == (("adam",), 4.0, ("a", "b"), ("lr",))
    for asked in ("mean", "error"):
        with pytest.raises(ValueError, match=rf"Samples: {asked} must be of one condition, picked as samples\['sgd'\]"):
            getattr(s, asked)
    with pytest.raises(ValueError, match=r"Samples: interval must be of one condition.*got \['sgd', 'adam'\]"):
        s.interval()
    with pytest.raises(ValueError, match="Samples: condition must be one of 'sgd', 'adam', got 'rmsprop'"):
        s["rmsprop"]
    with pytest.raises(ValueError, match="Samples: condition must be one of 'sgd', 'adam', got 0"):
        list(s)


def test_text():
    s = Samples({"adam": [3.0, 3.2, 3.1], "sgd": [3.4, 3.0, 3.5]}, range(3))
    assert repr(s) == "Samples(3 replicates: adam 3.1 ± 0.0577, sgd 3.3 ± 0.153)"
    assert repr(s["adam"] - s["sgd"]) == "Samples(3 replicates: -0.2 ± 0.2)"
    grouped = Samples([True, False, True], range(3), clusters=["a", "b", "b"], edge=["lr", "momentum"])
    assert repr(grouped) == "Samples(3 replicates in 2 clusters: 0.667; at the edge of lr, momentum)"
    assert repr(Samples({str(i): [1, 2] for i in range(99)}, [0, 1])).endswith("7 1.5 ± 0.5, …)")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_and_pickles(copied):
    s = Samples({"a": [1.0, 2.0], "b": [True, False]}, [4, 2], clusters=["x", "y"], edge=("lr",))
    again = copied(s)
    assert all(torch.equal(again.values[name], column) for name, column in s.values.items())
    assert (again.conditions, again.seeds, again.clusters, again.edge) == (("a", "b"), (4, 2), ("x", "y"), ("lr",))


# Pairing


def check_pairing():
    sgd, adam, first, second = pair()
    found = second["adam"] - first["sgd"]
    assert torch.equal(torch.tensor([found.tensor[0, found.seeds.index(i)] for i in range(24)]), adam - sgd)
    assert found.error == pytest.approx(scipy.stats.sem(adam - sgd), **EXACT)
    joined = Samples({"sgd": first, "adam": second})
    assert joined.seeds == tuple(range(24)) and torch.equal(joined.tensor, torch.stack([sgd, adam]))


def test_pairs_are_made_by_seed_whatever_the_order():
    check_pairing()


def test_pairing_by_position_is_noticed(monkeypatch):
    monkeypatch.setattr(Samples, "_matched", lambda self, first: self)
    with pytest.raises(AssertionError):
        check_pairing()


def test_arithmetic_is_condition_by_condition_or_broadcast():
    sgd, adam = drawn(2, 5)
    s = Samples({"sgd": sgd, "adam": adam}, range(5), edge=("lr",))
    other = Samples({"adam": [1.0, 2, 3, 4, 5], "sgd": [5.0, 4, 3, 2, 1]}, range(5), edge=("lr", "momentum"))
    theirs = torch.stack([other.values["sgd"], other.values["adam"]])
    for found, truth in [
        (s + other, s.tensor + theirs), (s - other, s.tensor - theirs), (s * other, s.tensor * theirs),
        (s / other, s.tensor / theirs), (s - s["sgd"], s.tensor - sgd), (s["sgd"] - s, sgd - s.tensor),
        (s["sgd"] / s, sgd / s.tensor), (-s, -s.tensor), (s + 1, s.tensor + 1), (1 + s, s.tensor + 1),
        (s - 1.5, s.tensor - 1.5), (1.5 - s, 1.5 - s.tensor), (2 * s, s.tensor * 2), (s / 2, s.tensor / 2),
        (2 / s, 2 / s.tensor), (np.float64(2) * s, s.tensor * 2), (torch.tensor(2) - s, 2 - s.tensor),
        (s.map(torch.exp), s.tensor.exp()), (s < 0.2, s.tensor < 0.2), (s <= other, s.tensor <= theirs),
        (s > s["sgd"], s.tensor > sgd), (s >= s["sgd"], s.tensor >= sgd), (s < s["sgd"], s.tensor < sgd),
        (s <= s["sgd"], s.tensor <= sgd), (s >= 0.2, s.tensor >= 0.2), (s.map(torch.signbit), s.tensor < 0),
    ]:  # fmt: skip
        assert found.conditions == ("sgd", "adam") and torch.equal(found.tensor, truth.double())
        assert all(column.dtype == truth.dtype for column in found.values.values())
    assert (s + other).edge == ("lr", "momentum") and (s < other).edge == ("lr", "momentum")
    alone = s["adam"] - s["sgd"]
    assert (alone.conditions, alone.edge) == (("",), ("lr",)) and torch.equal(alone.tensor[0], adam - sgd)
    assert (s["adam"] * 2).conditions == ("adam",)


def test_shares_become_numbers_in_arithmetic():
    s = Samples({"a": [True, False, True], "b": [False, False, True]}, range(3))
    found = s["a"] - s["b"]
    assert found.values[""].dtype == torch.float64 and found.tensor.tolist() == [[1, 0, 0]]
    assert (1.0 * s).errors == pytest.approx({n: scipy.stats.sem(c.double()) for n, c in s.values.items()}, **EXACT)


def test_joins_bring_seeds_clusters_and_edges():
    first = Samples([1.0, 2, 3], [5, 6, 7], clusters=["x", "x", "y"], edge=("lr",))
    second = Samples({"any": [True, False, False]}, [7, 6, 5], clusters=["y", "x", "x"], edge=("momentum", "lr"))
    joined = Samples({"a": first, "b": second}, [6, 7, 5])
    assert (joined.seeds, joined.clusters, joined.edge) == ((5, 6, 7), ("x", "x", "y"), ("lr", "momentum"))
    assert joined.values["b"].tolist() == [False, False, True] and joined.count == 2
    assert Samples({"a": first}, edge=("decay",)).edge == ("decay", "lr")


# Errors and intervals against SciPy


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_means_errors_and_t_intervals(confidence):
    data = 1e3 + drawn(3, 17)
    s = Samples({str(i): row for i, row in enumerate(data)}, range(17))
    for i, row in enumerate(data.numpy()):
        one, sem = s[str(i)], scipy.stats.sem(row)
        truth = scipy.stats.t.interval(confidence, 16, row.mean(), sem)
        assert (one.mean, one.error) == pytest.approx((row.mean(), sem), **EXACT)
        assert one.interval(confidence) == s.intervals(confidence)[str(i)] == pytest.approx(truth, **EXACT)
        assert (s.means[str(i)], s.errors[str(i)]) == (one.mean, one.error)


def test_paired_differences():
    sgd, adam, first, second = pair()
    truth = scipy.stats.ttest_rel(adam, sgd).confidence_interval(0.9)
    assert (second - first).interval(0.9) == pytest.approx((truth.low, truth.high), **EXACT)
    unpaired = math.hypot(first.error, second.error)
    assert (second - first).error < 0.5 * unpaired


def test_shares_have_clopper_and_pearsons_interval():
    for n in (2, 7, 32):
        for true in range(n + 1):
            s = Samples([i < true for i in range(n)], range(n))
            for confidence in (0.9, 0.95):
                truth = scipy.stats.binomtest(true, n).proportion_ci(confidence, "exact")
                assert s.interval(confidence) == pytest.approx(tuple(truth), abs=1e-11)  # SciPy's root is no closer
            low, high = s.interval()
            assert s.mean == true / n and s.error == pytest.approx((high - low) / 4, **EXACT) and s.error > 0
    k, n, tail = 5, 32, (1 - 0.95) / 2
    closed = scipy.stats.beta.ppf(tail, k, n - k + 1), scipy.stats.beta.ppf(1 - tail, k + 1, n - k)
    assert Samples([i < k for i in range(n)], range(n)).interval() == pytest.approx(closed, **EXACT)


def test_errors_of_equal_clusters_are_those_of_their_means():
    data, labels = drawn(16, 3), [f"set {i}" for i in range(16) for _ in range(3)]
    order = torch.randperm(48, generator=torch.Generator().manual_seed(1)).tolist()
    s = Samples(data.flatten()[order], order, clusters=[labels[i] for i in order])
    of_means = data.mean(dim=1)
    truth = scipy.stats.t.interval(0.95, 15, of_means.mean(), scipy.stats.sem(of_means))
    assert s.count == 16 and s.error == pytest.approx(scipy.stats.sem(of_means), **EXACT)
    assert s.interval() == pytest.approx(truth, **EXACT)


def test_errors_of_unequal_clusters_follow_the_formula():
    values, labels = drawn(9).tolist(), [0, 0, 1, 2, 2, 2, 2, 0, 1]
    s = Samples(values, range(9), clusters=labels)
    mean = sum(values) / 9
    squares = [sum(x - mean for x, label in zip(values, labels) if label == g) ** 2 for g in range(3)]
    assert s.error == pytest.approx(math.sqrt(3 / 2 * sum(squares)) / 9, **EXACT)
    assert Samples(values, range(9), clusters=range(9)).error == pytest.approx(scipy.stats.sem(values), **EXACT)


# Jackknife and bootstrap


@pytest.mark.parametrize("clusters", [None, [i // 3 for i in range(24)]])
def test_the_jackknife_of_a_mean_is_its_standard_error(clusters):
    s = Samples(drawn(24), range(24), clusters=clusters)
    found = s.jackknife(torch.mean, confidence=0.9)
    assert isinstance(found, Estimate) and (found.value, found.error) == pytest.approx((s.mean, s.error), **EXACT)
    assert (found.low, found.high) == pytest.approx(s.interval(0.9), **EXACT)


def test_the_jackknife_of_a_correlation_follows_its_formula():
    x, y = (a.numpy() for a in pair()[:2])
    left_out = [scipy.stats.pearsonr(np.delete(x, i), np.delete(y, i)).statistic for i in range(24)]
    error = math.sqrt(23 / 24 * sum((r - np.mean(left_out)) ** 2 for r in left_out))
    found = Samples({"x": x, "y": y}, range(24)).jackknife(correlation)
    truth = scipy.stats.pearsonr(x, y).statistic
    assert found[:2] == pytest.approx((truth, error), **EXACT)
    assert found[2:4] == pytest.approx(scipy.stats.t.interval(0.95, 23, truth, error), **EXACT)


def test_clusters_are_left_out_and_drawn_whole():
    labels = ["a", "b", "b", "c", "a", "d", "d", "d"]
    members = {label: {i for i in range(8) if labels[i] == label} for label in labels}
    s = Samples({"i": range(8), "i^2": [i**2 for i in range(8)]}, range(8), clusters=labels)
    seen = []

    def watch(data):
        assert torch.equal(data[0] ** 2, data[1])  # the conditions of a replicate stay together
        seen.append([int(i) for i in data[0]])
        return data[0].mean()

    s.jackknife(watch)
    assert sorted(map(tuple, seen)) == sorted(
        [tuple(range(8))] + [tuple(i for i in range(8) if labels[i] != label) for label in "abcd"]
    )
    seen.clear()
    s.bootstrap(watch, num_draws=200, generator=torch.Generator().manual_seed(0))
    for part in seen[5:]:
        times = {label: {part.count(i) for i in members[label]} for label in members}
        assert all(len(found) == 1 for found in times.values()) and sum(min(t) for t in times.values()) == 4


def test_the_bootstrap_draws_replicates_and_is_reproducible():
    data = drawn(2, 20) + 3
    s = Samples({"a": data[0], "b": data[1]}, range(20))
    found, again = (s.bootstrap(ratio, num_draws=300, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    generator = torch.Generator().manual_seed(3)
    draws = torch.stack([ratio(data[:, torch.randint(20, (20,), generator=generator)]) for _ in range(300)])
    left_out = torch.stack([ratio(data[:, torch.arange(20) != i]) for i in range(20)])
    ends = accelerated(float(ratio(data)), draws, left_out, 0.025)
    assert found == again and found[:4] == pytest.approx((float(ratio(data)), float(draws.std()), *ends), rel=1e-9)
    assert found.count == 20 and found.edge == ()


@pytest.mark.parametrize("case", ["mean", "mean of counts", "correlation"])
def test_the_bootstrap_is_scipys(case):
    """The same ends from the same draws, to rounding; from draws of our own, within their simulation error."""
    x, y = (a.numpy() for a in pair(40)[:2])
    x = np.exp(x)  # skewed, so that bias and acceleration matter
    x = np.rint(x) if case == "mean of counts" else x  # draws tie with the value
    data, statistic = ((x, y), lambda a, b: np.corrcoef(a, b)[0, 1]) if case == "correlation" else ((x,), np.mean)
    truth = scipy.stats.bootstrap(
        data, statistic, paired=True, vectorized=False, n_resamples=2000, rng=np.random.default_rng(0)
    )
    left_out = [statistic(*(np.delete(a, i) for a in data)) for i in range(40)]
    draws, left_out = torch.from_numpy(truth.bootstrap_distribution), torch.tensor(left_out, dtype=torch.float64)
    ends = accelerated(statistic(*data), draws, left_out, 0.025)
    assert ends == pytest.approx(tuple(truth.confidence_interval), rel=1e-9)

    s, ours = (
        Samples({str(i): a for i, a in enumerate(data)}, range(40)),
        correlation if case == "correlation" else torch.mean,
    )
    found = s.bootstrap(ours, num_draws=2000, generator=torch.Generator().manual_seed(0))
    assert found.error == pytest.approx(truth.standard_error, rel=0.1)
    assert (found.low, found.high) == pytest.approx(ends, abs=0.1 * (ends[1] - ends[0]))
    assert abs((found.high - found.value) / (found.value - found.low) - 1) > 0.15  # not ± z · error


def test_map_finds_what_mixes_replicates():
    s = Samples([4.0, 2.0, 3.0, 1.0], range(4))
    for mixing in (lambda x: x - x.min(), lambda x: x / x[-1], lambda x: x / x.max(), lambda x: x.cumsum(0)):
        with pytest.raises(ValueError, match="map: function must"):
            s.map(mixing)
    assert s.map(torch.log).mean == pytest.approx(float(torch.tensor([4.0, 2, 3, 1]).log().mean()))


def test_draws_that_are_all_equal_have_an_interval_of_one_point():
    s = Samples([2.0, 2.0, 2.0], range(3))
    assert s.bootstrap(torch.mean, num_draws=100, generator=torch.Generator())[:4] == (2, 0, 2, 2)
    assert s.jackknife(torch.mean)[:4] == (2, 0, 2, 2)
    assert (s.error, s.interval()) == (0, (2, 2))


# Intervals cover as often as they say


def covers(interval, truth):
    return interval[0] <= truth <= interval[1]


def check_share(hits, nominal=0.95):
    assert len(hits) >= STUDIES and abs(sum(hits) / len(hits) - nominal) < 0.02, sum(hits) / len(hits)


def test_paired_t_intervals_cover():
    shared, own = drawn(STUDIES, 1, 8), drawn(STUDIES, 2, 8, seed=1)
    differences = []
    for sgd, adam in shared * 2 + own + torch.tensor([[0.0], [0.3]]):
        differences.append(Samples({"adam": adam}, range(8)) - Samples({"sgd": sgd}, range(8)))
    for confidence in (0.8, 0.95):
        check_share([covers(found.interval(confidence), 0.3) for found in differences], confidence)


def test_cluster_intervals_cover_and_ignoring_clusters_does_not():
    studies = (drawn(STUDIES, 16, 1) + 0.5 * drawn(STUDIES, 16, 3, seed=1)).flatten(1)
    labels = [i // 3 for i in range(48)]
    check_share([covers(Samples(study, range(48), clusters=labels).interval(), 0) for study in studies])
    ignored = [covers(Samples(study, range(48)).interval(), 0) for study in studies[:500]]
    assert sum(ignored) / 500 < 0.85


def test_jackknife_intervals_of_a_ratio_cover():
    shared, own = drawn(STUDIES, 1, 12), drawn(STUDIES, 2, 12, seed=1)
    studies = torch.tensor([[3.0], [4.0]]) + 0.6 * shared + 0.6 * own
    found = [Samples({"a": a, "b": b}, range(12)).jackknife(ratio) for a, b in studies]
    check_share([covers((each.low, each.high), 0.75) for each in found])


def test_accelerated_intervals_of_a_skewed_mean_cover():
    """The draws of `bootstrap`, all at once; that it hands such draws to `_accelerated` is tested above."""
    generator, n = torch.Generator().manual_seed(0), 64
    studies = torch.empty(STUDIES, n, dtype=torch.float64).exponential_(generator=generator)
    hits = []
    for study in studies:
        draws = study[torch.randint(n, (400, n), generator=generator)].mean(dim=1)
        left_out = (study.sum() - study) / (n - 1)
        hits.append(covers(accelerated(float(study.mean()), draws, left_out, 0.025), 1))
    check_share(hits)


def exact_coverage(n, p):
    """Summed over every number of successes."""
    inside = [covers(Samples([i < k for i in range(n)], range(n)).interval(), p) for k in range(n + 1)]
    return float(scipy.stats.binom.pmf(np.arange(n + 1), n, p) @ np.array(inside))


def test_exact_intervals_of_shares_cover_at_least_as_often():
    assert 0.95 <= exact_coverage(200, 0.5) < 0.97
    for p in (0.01, 0.1, 0.37, 0.5, 0.95):
        assert exact_coverage(32, p) >= 0.95


# Refusals

PLAIN = Samples([1.0, 2.0, 3.0], [0, 1, 2])
TWO = Samples({"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]}, [0, 1, 2])
OTHER = Samples({"a": [1.0, 2.0, 3.0], "c": [1.0, 2.0, 3.0]}, [0, 1, 2])
GROUPED = Samples([1.0, 2.0, 3.0], [0, 1, 2], clusters=[0, 0, 1])
START = torch.Generator()
VALUES = "Samples: values must be a 1-d sequence of numbers, got "
SEEDS = "Samples: seeds must be an integer per replicate, at least 2, got "
OPERAND = "Samples: the other side of an operation, if not Samples, must be a finite number, got "


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Samples({}, [0, 1]), r"Samples: values must be named by texts, at least one, got \[\]"),
        (lambda: Samples({1: [1, 2]}, [0, 1]), r"Samples: values must be named by texts, at least one, got \[1\]"),
        (lambda: Samples(1.0, [0, 1]), VALUES + r"1\.0"),
        (lambda: Samples(None, [0, 1]), VALUES + "None"),
        (lambda: Samples({"a": [[1, 2]]}, [0, 1]), VALUES + r"\[\[1, 2\]\] in condition 'a'"),
        (lambda: Samples([[1], [2, 3]], [0, 1]), VALUES),
        (lambda: Samples(["1", "2"], [0, 1]), VALUES),
        (lambda: Samples([1j, 2], [0, 1]), VALUES),
        (lambda: Samples({1.0, 2.0}, [0, 1]), VALUES),
        (lambda: Samples(torch.ones(2, device="meta"), [0, 1]), VALUES),
        (lambda: Samples([1, 2, 3], [0, 1]), "Samples: values must be one per seed, 2 in all, got 3"),
        (lambda: Samples([1, math.nan], [4, 7]), "Samples: values must be finite, .*, got nan at seed 7"),
        (lambda: Samples({"a": [-math.inf, 1]}, [4, 7]), "got -inf at seed 4 in condition 'a'"),
        (lambda: PLAIN / Samples([1, 0, 1], [0, 1, 2]), "Samples: values must be finite, .*, got inf at seed 1"),
        (lambda: Samples([1, 2]), SEEDS + "None"),
        (lambda: Samples([1.0], [0]), SEEDS + r"\[0\]"),
        (lambda: Samples([1, 2], 2), SEEDS + "2"),
        (lambda: Samples([1, 2], [0, 1.0]), SEEDS + r"\[0, 1\.0\]"),
        (lambda: Samples([1, 2], [True, False]), SEEDS + r"\[True, False\]"),
        (lambda: Samples([1, 2], "01"), SEEDS + "'01'"),
        (lambda: Samples([1, 2], {0, 1}), SEEDS + r"\{0, 1\}"),
        (lambda: Samples([1, 2, 3], [0, 1, 1]), "Samples: seeds must differ, got 1 twice"),
        (lambda: Samples([1, 2], [0, 1], clusters=["a"]), r"Samples: clusters must be a hashable .* got \['a'\] for 2"),
        (lambda: Samples([1, 2], [0, 1], clusters="ab"), "Samples: clusters must be .* got 'ab' for 2"),
        (lambda: Samples([1, 2], [0, 1], clusters=["a", "a"]), "Samples: clusters must be .* >= 2 different ones"),
        (lambda: Samples([1, 2], [0, 1], clusters=[["a"], ["b"]]), "Samples: clusters must be a hashable label"),
        (lambda: Samples([1, 2], [0, 1], edge="lr"), "Samples: edge must be a tuple of axes' names, got 'lr'"),
        (lambda: Samples([1, 2], [0, 1], edge=(1,)), "Samples: edge must be a tuple of axes' names"),
        (lambda: Samples({"a": TWO}), "Samples: values to join must each be Samples of one condition"),
        (lambda: Samples({"a": PLAIN, "b": [1, 2, 3]}), "Samples: values to join must each be Samples"),
        (lambda: Samples(PLAIN, [0, 1, 3]), "Samples: seeds must be those of the samples that are joined, got"),
        (lambda: Samples({"a": PLAIN}, clusters=[0, 0, 1]), "Samples: clusters must come with the samples"),
        (lambda: Samples({"a": PLAIN, "b": GROUPED}), "Samples: paired samples need the same clusters, got None and"),
        (lambda: PLAIN - GROUPED, r"Samples: paired samples need the same clusters, got None and \(0, 0, 1\)"),
        (lambda: PLAIN - Samples([1, 2, 3], [0, 1, 3]), r"paired samples need the same seeds, got \[2\] and \[3\] on"),
        (lambda: TWO < OTHER, r"conditions must be the same .* got \['a', 'b'\] and \['a', 'c'\]"),
        (lambda: PLAIN - "1", OPERAND + "'1'"),
        (lambda: True * PLAIN, OPERAND + "True"),
        (lambda: PLAIN * math.nan, OPERAND + "nan"),
        (lambda: torch.ones(3) - PLAIN, OPERAND + r"tensor\(\[1\., 1\., 1\.\]\)"),
        (lambda: np.ones(3) - PLAIN, OPERAND + r"array\(\[1\., 1\., 1\.\]\)"),
        (lambda: bool(PLAIN < 2), "Samples: truth must be asked of a number, such as a mean, got Samples"),
        (lambda: 0 < PLAIN < 2, "Samples: truth must be asked of a number"),
        (lambda: (GROUPED < 2).errors, "Samples: shares must be of independent replicates, got clusters; try 1.0 *"),
        (lambda: (GROUPED < 2).interval(), "Samples: shares must be of independent replicates, got clusters"),
        (lambda: PLAIN.interval(1.0), "intervals: confidence must lie between 0 and 1, got 1.0"),
        (lambda: PLAIN.intervals(95), r"intervals: confidence must be a number in \[0, 1\], got 95"),
        (lambda: PLAIN.map(torch.mean), r"map: function must return a tensor of shape \(3,\), got tensor\(2\."),
        (lambda: PLAIN.map(lambda x: x - x.mean()), "map: function must be elementwise, got .*, which mixes"),
        (lambda: PLAIN.map(lambda x: x.cumsum(0)), "map: function must be elementwise, got .*, which mixes"),
        (lambda: (PLAIN - 2).map(torch.log), "Samples: values must be finite, .*, got nan at seed 0"),
        (lambda: PLAIN.jackknife(lambda x: x), "jackknife: statistic must return one finite number, got tensor.*2 rep"),
        (lambda: PLAIN.jackknife(lambda x: None), "jackknife: statistic must return one finite number, got None"),
        (lambda: TWO.jackknife(torch.mean, confidence=0), "jackknife: confidence must lie between 0 and 1, got 0.0"),
        (lambda: TWO.bootstrap(correlation, generator=START), "bootstrap: statistic must .* one finite number, got"),
        (lambda: TWO.bootstrap(torch.mean, num_draws=99, generator=START), "num_draws must be an integer >= 100, got"),
        (lambda: TWO.bootstrap(torch.mean, generator=0), r"bootstrap: generator must be a torch\.Generator, got 0"),
        (lambda: Samples(drawn(50), range(50)).bootstrap(lambda x: float(len(x[0].unique())), generator=START),
         "bootstrap: statistic must lie among its draws, got 50 and draws from 2"),
    ],
)  # fmt: skip
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
