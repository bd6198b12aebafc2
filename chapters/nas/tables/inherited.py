"""Every fifth cell of `nas/cells` as the child of another one: an epoch from its parent's weights, or from its own.

A child's parent differs from it in one decision, drawn evenly (seed 0), and was trained as `nas/cells` trains, for
eight epochs at the middle rate. A case is a seed of that table, with its start, order and examples. Columns hold
counts of validation images that are right, of 1,000, one a child: `inherited` after an epoch from the weights that
both share, `own` after an epoch from the child's own start. Nothing is tuned.
"""

from labsupport import optimizers, population
from labsupport.experiments import seeded, tables
from labsupport.nas import cells, estimation, evolution

table = tables.recipe("nas/cells")
CHILDREN = range(0, 750, 5)
CASES = [{"seed": seed} for seed in table.SEEDS]
CHECKED = CASES[:1]
TOLERANCE = 20.0  # float32 through 144 steps: means of counts of 1,000


def families():
    """The children's codes and their parents'."""
    draws, codes = seeded(0), cells.codes()
    children = [codes[row] for row in CHILDREN]
    return children, [evolution.mutate(cells.SPACE, code, generator=draws) for code in children]


def run(case):
    children, codes = families()
    parts = table.samples(case["seed"])
    parents = table.trained(codes, table.RATES[1], parts).state
    build, settings = table.builder(table.WIDTH), {"lr": table.RATES[1]}
    begun = population.init(build, optimizers.momentum(), settings, seeds=parts.seeds)
    own = cells.with_cells(begun[[0] * len(children)], children)
    heirs = estimation.inherit(own, parents, codes=children, parent_codes=codes)
    plan = population.Plan(1, table.BATCH, backend="eager", progress=False)
    ends = {"inherited": heirs, "own": own}
    return {name: table.right([population.carry_on(state, parts, plan).valid_error[:, -1]])
            for name, state in ends.items()}  # fmt: skip
