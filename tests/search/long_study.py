"""A study of 200 trials on two processes that a test kills: python long_study.py <storage> <file of calls>."""

import os
import sys
import time

from labsupport.search import random_search
from labsupport.search.run import processes, run
from labsupport.search.space import Float, Space

SPACE = Space({"x": Float(0, 1)})
NUM = 200


def objective(trial):
    with open(sys.argv[2], "a") as calls:
        calls.write(f"{trial.number}\n")
    time.sleep(0.01)
    return trial.params["x"]


if __name__ == "__main__":
    state = run(random_search, SPACE, objective, num_trials=NUM, storage=sys.argv[1], executor=processes(2))
    print(os.getpid(), sum(record.done for record in state.records))
