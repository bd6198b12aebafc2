"""A study from its first trial to its last: here, on processes, or on a cluster, and nothing told is lost.

    state = run(random_search, space, objective, num_trials=200, storage="study.db", executor=processes(4))
    contract.best(state)

`run` asks a strategy for trials, has an objective evaluated by any executor, writes each result into Optuna's storage
and tells it. `RunPlan` says how: how many at once, how long one may take, in which direction, from which seed. In an
objective `report` sends a value from the middle of a training and `device` says where to train.

Only one process may run a study at a time; many may read its storage. A study goes on with the same space, strategy,
options, seed and direction; num_trials may grow. On a file system that several machines share, the locks of SQLite do
not hold: take `JournalStorage(JournalFileBackend(path))` of `optuna.storages`.
"""

from labsupport.search.run.channel import report
from labsupport.search.run.crew import processes
from labsupport.search.run.plan import RunPlan
from labsupport.search.run.study import run
from labsupport.search.run.work import device

__all__ = ["RunPlan", "device", "processes", "report", "run"]
