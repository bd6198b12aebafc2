"""What a storage may be, and who may write to it: no trial stands twice, and nothing is written elsewhere."""

import threading

import optuna
import pytest
from search.test_search_contract import SPACE, bowl

from labsupport.search import asha, halving, random_search
from labsupport.search.run import RunPlan, run
from labsupport.search.run import stored as stores

QUIET = {"progress": False}
GIVEN = {"num_trials": 6, **QUIET}


def stored(path):
    return optuna.load_study(study_name="search", storage=f"sqlite:///{path}").trials


@pytest.mark.parametrize("name", ["what?really=yes.db", "50%20 #1.db", "me@host:8.db"])
def test_a_path_is_a_path_whatever_it_would_mean_in_a_url(tmp_path, name):
    first = run(random_search, SPACE, bowl, storage=tmp_path / name, **GIVEN)
    assert name in {path.name for path in tmp_path.iterdir()} and len(list(tmp_path.glob("*.db"))) == 1
    assert run(random_search, SPACE, lambda trial: 1 / 0, storage=str(tmp_path / name), **GIVEN) == first


def test_a_storage_that_cannot_be_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no database " * 100, encoding="utf-8")
    for path in (tmp_path, tmp_path / "none" / "s.db", tmp_path / "notes.txt"):
        with pytest.raises(ValueError, match=f"run: storage must be a database that can be written, got .*{path.name}"):
            run(random_search, SPACE, bowl, storage=path, **GIVEN)
    with pytest.raises(ValueError, match=r"run: storage must be None, a path, .* got ''"):
        run(random_search, SPACE, bowl, storage="", **GIVEN)


def test_a_second_process_on_the_same_study_doubles_no_trial(tmp_path):
    path, calls = tmp_path / "s.db", []

    def first(trial):
        if trial.number == 2:
            run(random_search, SPACE, second, storage=path, **GIVEN)
        return bowl(trial)

    def second(trial):
        calls.append(trial.number)
        return bowl(trial)

    with pytest.raises(RuntimeError, match=r"storage must be written by one process at a time.* number 2 is finished"):
        run(random_search, SPACE, first, storage=path, **GIVEN)
    alone = run(random_search, SPACE, bowl, **GIVEN)
    assert calls == [2, 3, 4, 5] and [trial.value for trial in stored(path)] == [r.value for r in alone.records]
    assert run(random_search, SPACE, bowl, storage=path, **GIVEN) == alone


@pytest.mark.parametrize("same_moment", [False, True])
def test_two_ledgers_of_one_study_ask_no_trial_twice(tmp_path, monkeypatch, same_moment):
    start = random_search.init(SPACE, num_trials=6, seed=0)
    with stores.opened(tmp_path / "s.db", start, RunPlan()) as (one, _), \
            stores.opened(tmp_path / "s.db", start, RunPlan()) as (two, _):  # fmt: skip
        trial, _ = random_search.ask(start)
        one.asked(trial)
        if same_moment:
            monkeypatch.setattr(two.storage, "get_trial_id_from_study_id_trial_number", lambda *_: {}[0])
        with pytest.raises(RuntimeError, match="storage must be written by one process at a time"):
            two.asked(trial)
    assert [trial.state.name for trial in stored(tmp_path / "s.db")] == ["RUNNING", "FAIL"][: 1 + same_moment]


def test_two_studies_begun_at_once_in_a_new_file_do_not_trip_over_its_tables(tmp_path):
    found, ready = {}, threading.Barrier(4)

    def go(name):
        ready.wait()
        found[name] = run(random_search, SPACE, bowl, storage=tmp_path / "s.db", plan=RunPlan(study=name), **GIVEN)

    threads = [threading.Thread(target=go, args=(f"s{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [run(random_search, SPACE, bowl, **GIVEN)] * 4


@pytest.mark.parametrize(("strategy", "options"), [
    (random_search, {}), (halving, {"num": 4, "budget": 16}), (asha, {"max_resource": 9, "num": 5}),
])  # fmt: skip
def test_trials_that_others_put_into_a_study_are_refused(tmp_path, strategy, options):
    given = {"plan": RunPlan(options=options), "storage": tmp_path / "s.db", **QUIET}
    run(strategy, SPACE, bowl, num_trials=3, **given)
    optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 's.db'}").enqueue_trial({"x": 0.5})
    with pytest.raises(ValueError, match="only run adds trials, got number 3 of another program"):
        run(strategy, SPACE, bowl, num_trials=6, **given)


def test_fewer_trials_than_are_stored_change_nothing(tmp_path):
    whole = run(random_search, SPACE, bowl, storage=tmp_path / "s.db", **GIVEN)
    again = run(random_search, SPACE, lambda trial: 1 / 0, storage=tmp_path / "s.db", num_trials=2, **QUIET)
    assert again.records == whole.records
