"""What a search with shared weights believes of all 750 cells, and which it picks; beside it, differentiable choice.

Cells of width 32 on 14×14 digits as in `nas/cells`: run r starts from seed 100 + r and has the examples of that table's
seed r % 5. 60 epochs of the shared weights at its middle rate, one step on a drawn cell a batch, and 15 steps of the
controller after each, at the constants of the authors' launch scripts. A case holds two runs. Columns hold counts of
validation images that are right, of 1,000, (2 runs, 750 cells) flattened, with the shared weights: `enas`, the
controller learning, and `uniform`, all cells drawn alike; and rows of `cells.codes()`, one a run: `pick`, the best
of ten cells that the controller draws; `uniform_pick`, likewise; and `darts`. `entropy` is that of the controller at
the end, in nats. Nothing is tuned.
"""

from dataclasses import replace
from math import prod

import torch

from labsupport import data
from labsupport.data import Partitions, Rows
from labsupport.experiments import tables
from labsupport.nas import cells, darts, policy, shared

RUNS, BLOCK, WIDTH, PART, FIRST = 16, 2, 32, 1000, 100
CASES = [{"first": first} for first in range(0, RUNS, BLOCK)]
PLAN = shared.Plan()
TOLERANCE = 2.0  # float64: what remains is a tie, or a reward of one image more, on another machine


def run(case):
    runs = range(case["first"], case["first"] + BLOCK)
    seeds, parts = [FIRST + r for r in runs], samples(runs)
    found = {}
    for name, plan in {"enas": PLAN, "uniform": replace(PLAN, controller_steps=0)}.items():
        ended = shared.enas(build, parts, plan, seeds=seeds)
        scores = believed(ended, parts, seeds)
        found[name] = (PART * scores).round().int().flatten().tolist()
        picked = shared.pick(plan.controller, ended.learner, scores, seeds=seeds).tolist()
        found["pick" if name == "enas" else "uniform_pick"] = picked
        if name == "enas":
            found["entropy"] = entropies(plan.controller, ended.learner)
    logits = darts.darts(build, parts, darts.Plan(PLAN), seeds=seeds).logits
    found["darts"] = [cells.row(code) for code in darts.discretize(logits)]
    return found


def samples(runs):
    """For run r the examples that `nas/cells` has for seed r % 5, found under the run's own seed."""
    pool = tables.recipe("nas/cells").samples(0).pool
    drawn = data.partitions(
        (pool[0].double(), pool[1]), num_train=PART, num_valid=PART, num_test=PART, seeds=range(5)
    )
    own = (Rows(part.index[[r % 5 for r in runs]], tuple(FIRST + r for r in runs))
           for part in (drawn.train, drawn.valid, drawn.test))
    return Partitions(drawn.pool, *own)


def build(generator):
    return cells.CellNet(14 * 14, WIDTH, 10, generator=generator).double()


def believed(ended, parts, seeds):
    """Validation accuracies of all cells with the shared weights, (runs, 750)."""
    place = parts.valid.index[parts.valid.places("believed", seeds)]
    return shared.accuracies(ended.weights, parts.pool[0][place], parts.pool[1][place])


def entropies(how, learner):
    """Of the codes that each controller draws."""
    grid = torch.cartesian_prod(*map(torch.arange, how.sizes))
    log_p = policy.score(how, learner.params, grid.expand(len(learner.baseline), prod(how.sizes), -1)).log_probs
    return (-(log_p.exp() * log_p).sum(1)).tolist()
