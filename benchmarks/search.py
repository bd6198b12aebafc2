"""Search beside Optuna: what a trial costs apart from its objective.

Both store three parameters and a value of each trial in SQLite, in files of one disk. Optuna's four processes each
write there; ours send what they found to the one that writes, which does not wait for the disk. Start-up is outside the
time.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.search_samplers import proposals, regrets
from benchmarks.timing import Row, at_least, at_most, barred, clocked, measured, one_thread, quick, unmeasured
from labsupport.search import contract, random_search
from labsupport.search.run import RunPlan, processes, run
from labsupport.search.space import Categorical, Float, Integer, Space

try:
    import optuna as peer
except ImportError:
    peer = None

__all__ = ["rows"]

PROCESSES = 4
SPACE = Space({"lr": Float(1e-5, 1, log=True), "layers": Integer(1, 3), "norm": Categorical(("batch", "layer"))})


def rows() -> Iterator[Row]:
    yield from overheads()
    with one_thread():
        yield from proposals()
    yield from regrets()


@barred({
    "one of 1,000 short trials, four processes, random, SQLite": at_least(2),
    "trials lost of 1,000": at_most(0, ""),
})  # fmt: skip
def overheads() -> Iterator[Row]:
    """Trials that compute nothing: all of the time is overhead. Optuna's are timed over 200, which take long enough."""
    name = "one of 1,000 short trials, four processes, random, SQLite"
    if peer is None:
        yield unmeasured(name, "no Optuna here")
        return
    lost: list[int] = []
    yield clocked(name, partial(ours, 1000, lost), partial(theirs, 200),
                  peer_name="study.optimize in four processes, 200 trials", rounds=1 if quick() else 3)  # fmt: skip
    yield measured("trials lost of 1,000", lost)


def value(trial: contract.Trial) -> float:
    return trial.params["lr"]


def ours(num: int, lost: list[int]) -> float:
    """Seconds a trial in a study of `num`; how many are missing in its storage is noted."""
    with tempfile.TemporaryDirectory() as folder, processes(PROCESSES)() as executor:
        given = {"storage": Path(folder) / "s.db", "executor": executor, "progress": False}
        list(executor.map(time.sleep, [0.5] * PROCESSES))
        run(random_search, SPACE, value, num_trials=2 * PROCESSES, plan=RunPlan(study="warm"), **given)
        begun = time.perf_counter()
        run(random_search, SPACE, value, num_trials=num, **given)
        seconds = time.perf_counter() - begun
        trials = peer.load_study(study_name="search", storage=f"sqlite:///{folder}/s.db").trials
        lost.append(num - len({trial.number for trial in trials if trial.value == trial.params["lr"]}))
    return seconds / num


def suggested(trial: "peer.Trial") -> float:
    trial.suggest_int("layers", 1, 3)
    trial.suggest_categorical("norm", ("batch", "layer"))
    return trial.suggest_float("lr", 1e-5, 1, log=True)


def theirs(num: int) -> float:
    """Seconds a trial in a study of `num`."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        url, barrier = f"sqlite:///{folder}/s.db", context.Barrier(PROCESSES + 1)
        peer.logging.set_verbosity(peer.logging.ERROR)
        peer.create_study(study_name="s", storage=url)
        crew = [context.Process(target=optimize, args=(url, seed, num // PROCESSES, barrier), daemon=True)
                for seed in range(PROCESSES)]  # fmt: skip
        for each in crew:
            each.start()
        barrier.wait()
        begun = time.perf_counter()
        barrier.wait()
        seconds = time.perf_counter() - begun
        for each in crew:
            each.join()
    return seconds / num


def optimize(url: str, seed: int, num: int, barrier: "multiprocessing.Barrier") -> None:
    """One of Optuna's processes; where SQLite is locked for too long, the trial fails and the next one begins."""
    peer.logging.set_verbosity(peer.logging.ERROR)
    storage = peer.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
    study = peer.load_study(study_name="s", storage=storage, sampler=peer.samplers.RandomSampler(seed=seed))
    study.optimize(suggested, n_trials=2)
    barrier.wait()
    study.optimize(suggested, n_trials=num)
    barrier.wait()
