"""A search of 24 small candidates that a test kills: python live_study.py <storage> prints each that it trains."""

import sys

from labsupport import data
from labsupport.experiments import seeded
from labsupport.nas import evolution, stacks, trials


def task():
    split = data.glyphs("digits", sizes=(64, 32, 32), size=14, generator=seeded(0))
    return trials.Task(split, stacks.Outline((1, 14, 14), 10, width=2), num_steps=3, batch_size=8)


def search(storage, told=trials.Task.__call__):
    class Told(trials.Task):
        def __call__(self, trial):
            return told(self, trial)

    at = task()
    shown = Told(at.split, at.outline, at.num_steps, at.batch_size)
    return trials.search(evolution, shown, num_trials=24, num_blocks=1, storage=storage, progress=False, seed=3)


if __name__ == "__main__":

    def printed(task, trial):
        print(trial.number, flush=True)
        return trials.Task.__call__(task, trial)

    search(sys.argv[1], printed)
