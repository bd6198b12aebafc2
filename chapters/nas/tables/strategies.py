"""Which cells five strategies find on the table `nas/cells` at the middle rate, after so many evaluations.

Repeat i draws from seed i and is told the validation accuracies of the table's training i mod 5. `found` holds, for
each repeat of a case and each of `MARKS` up to the strategy's evaluations, the row of the best cell told so far; of
equal ones the earliest. What a cell is worth stands in the table, not here.

Tuned on seeds 1000 … 1019 at 60 evaluations, by the mean test accuracy over the other trainings: evolution over a
population of 5, 10, 20 and 40 and a tournament of 2, 5 and 10 (chosen: 20 and 2; the means reached from 86.5 to 87.0
%, with standard errors of 0.25), the controller over rates of 0.01, 0.03, 0.1 and 0.3 and a decay of the baseline of
0, 0.5, 0.8, 0.9 and 0.95 (chosen: 0.1 and 0.5; from 86.7 to 87.3 %). A tournament of 1, which selects nothing,
reached 87.2 % with a population of 20: twenty repeats do not tell these apart. The Gaussian process and TPE are as
`search` has them.
"""

import torch

from labsupport.nas import cells, controller, evolution, table
from labsupport.search import gaussian_process, random_search, replay, tpe

MIDDLE, SEEDS = 1, 5
MARKS = (5, 10, 20, 40, 60, 100, 200, 300)
PLAYED = {
    "random": (random_search, {}, 300, 100),
    "evolution": (evolution, {"population": 20, "tournament": 2}, 300, 100),
    "TPE": (tpe, {}, 300, 20),
    "Gaussian process": (gaussian_process, {}, 60, 10),
}
REPEATS = {"random": 100, "evolution": 100, "controller": 100, "TPE": 100, "Gaussian process": 50}
BLOCKS = {name: block for name, (_, _, _, block) in PLAYED.items()} | {"controller": 100}
CASES = [{"strategy": name, "first": first} for name, repeats in REPEATS.items()
         for first in range(0, repeats, BLOCKS[name])]  # fmt: skip
CHECKED = [case for case in CASES if case["strategy"] in ("evolution", "controller")]
LEARNING = controller.Learning(lr=0.1, baseline_decay=0.5)
TOLERANCE = 50.0  # rows, whose means are compared


def told(seeds):
    """What each of these repeats is told of every cell, (repeats, 750)."""
    return table.load().valid[MIDDLE][torch.tensor([seed % SEEDS for seed in seeds])]


def tried(name, seeds):
    """The rows that each repeat evaluated, in order: (repeats, evaluations)."""
    rewards = told(seeds)
    if name == "controller":
        return controller.replay(cells.SPACE, rewards, num_trials=MARKS[-1], learning=LEARNING, seeds=seeds)
    strategy, options, evaluations, _ = PLAYED[name]
    rows = []
    for seed, values in zip(seeds, rewards.tolist(), strict=True):
        state = strategy.init(cells.SPACE, num_trials=evaluations, seed=seed, **options)
        state, _ = replay.play(strategy, state, lambda trial, values=values: -values[cells.row(trial.params)])
        rows.append([cells.row(record.trial.params) for record in state.records])
    return torch.tensor(rows)


def run(case):
    first, name = case["first"], case["strategy"]
    seeds = range(first, first + BLOCKS[name])
    rows, rewards = tried(name, seeds), told(seeds)
    marks = [mark for mark in MARKS if mark <= rows.shape[1]]
    best = [rewards.gather(1, rows[:, :mark]).argmax(1, keepdim=True) for mark in marks]
    return {"found": torch.cat([rows.gather(1, place) for place in best], 1).tolist()}
