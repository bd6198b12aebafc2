"""A search in the space of 13 operations: what it tried, in order, and what each candidate came to.

Regularized evolution, 64 candidates of three blocks a cell; each is trained for 200 steps of 16 of 2,000 Greek letters
of 14×14 pixels (normal cell, reduction cell, normal cell, width 8). A candidate has its validation error after that
training (`valid`, %, of 1,000 images: what the search is told), its parameters and multiply-adds,
and its code, the place of each choice of `space.search_space(3)`.
One search, from one seed: it shows what such a search looks like, not which strategy is better. Nothing is tuned.
"""

from labsupport import data, models
from labsupport.experiments import seeded, tables
from labsupport.nas import costs, evolution, space, stacks, trials

NUM, BLOCKS, OUTLINE = 64, 3, stacks.Outline((1, 14, 14), 24)
CASES = [{"strategy": "evolution"}]
TOLERANCE = {"codes": 13.0, "valid": 5.0, "parameters": 1e5, "multiply_adds": 1e8}  # another choice is another search


def task():
    split = data.glyphs("greek_lower", sizes=(2000, 1000, 1), size=14, generator=seeded(0))
    return trials.Task(split, OUTLINE, batch_size=16, seed=0)


def run(case):
    found = trials.search(evolution, task(), num_trials=NUM, num_blocks=BLOCKS, seed=0)
    columns = {"codes": [], "valid": [], "parameters": [], "multiply_adds": []}
    dims = space.search_space(BLOCKS).dims
    for record in found.records:
        code = space.decode(record.trial.params)
        net = stacks.build(code, OUTLINE, generator=seeded(0))
        columns["codes"].append([dim.choices.index(record.trial.params[name]) for name, dim in dims.items()])
        columns["valid"].append(100 * record.value)
        columns["parameters"].append(models.num_parameters(net))
        columns["multiply_adds"].append(costs.multiply_adds(net, OUTLINE.image_shape))
    return columns | {"valid": tables.rounded(columns["valid"], decimals=3)}
