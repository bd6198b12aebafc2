"""Grid, random and Sobol search of three hyperparameters of a network on digits, 64 trainings each.

A case is a replicate: its own partition of the digits, its own range of learning rates (four decades, which begin
somewhere from 0.0001 to 0.01), its own trials and starts. Of each search the training with the smallest validation
error is chosen, and its test error kept, in percent. 128 more trainings at random settings say what share of the space
has a smaller test error, equal ones counted half: `share`, in percent. `near` is the share of these 128 that come
within one point of the best of them.
"""

import torch
from torch import nn

from labsupport import data, optimizers, population
from labsupport.counters import seeded
from labsupport.experiments.tables import rounded
from labsupport.initialization import starts
from labsupport.search import grid, low_discrepancy, random_search
from labsupport.search.space import Float, Space

CASES = [{"seed": seed} for seed in range(32)]
TOLERANCE = 0.2
SEARCHES = {
    "grid": lambda space, seed: grid.init(space, points=4, seed=seed),
    "random": lambda space, seed: random_search.init(space, num_trials=64, seed=seed),
    "sobol": lambda space, seed: low_discrepancy.init(space, num_trials=64, seed=seed),
    "reference": lambda space, seed: random_search.init(space, num_trials=128, seed=seed + 1000),
}
STRATEGIES = {"grid": grid, "random": random_search, "sobol": low_discrepancy, "reference": random_search}

MLP = starts.builder([64, 50, 50, 10])


def build(generator):
    first, middle, last = (layer for layer in MLP(generator) if isinstance(layer, nn.Linear))
    return nn.Sequential(first, nn.ReLU(), nn.Dropout(0.1), middle, nn.ReLU(), nn.Dropout(0.1), last).double()


def space_of(case):
    low = 10 ** (-4 + 2 * torch.rand((), generator=seeded(case["seed"]), dtype=torch.float64).item())
    return Space({
        "lr": Float(low, 10_000 * low, log=True), "weight_decay": Float(1e-7, 1e-3, log=True), "dropout": Float(0, 0.2),
    })  # fmt: skip


def settings_of(case, search):
    state, trials = SEARCHES[search](space_of(case), case["seed"]), []
    while True:
        trial, state = STRATEGIES[search].ask(state)
        if trial is None:
            return trials
        trials.append(trial.params)


def trained(case, search):
    """Errors on validation and on test digits, in percent, a number for each of a search's trials."""
    split, trials = data.digits(generator=seeded(case["seed"])).to(torch.float64), settings_of(case, search)
    first = 10_000 * case["seed"] + 1000 * list(SEARCHES).index(search)
    columns = {name: torch.tensor([params[name] for params in trials], dtype=torch.float64) for name in trials[0]}
    plan = population.Plan(8, 32, valid_every=8, progress=False)
    seeds = range(first, first + len(trials))
    result = population.train(build, split, optimizers.sgd(), columns, plan, seeds=seeds)
    test = population.evaluate(result.state, *split.test, loss=plan.loss).error
    return 100 * result.valid_error[:, -1].double(), 100 * test.double()


def run(case):
    _, reference = trained(case, "reference")
    found = {"near": float(100 * (reference <= reference.min() + 1).double().mean())}
    for search in ("grid", "random", "sobol"):
        valid, test = trained(case, search)
        chosen = test[valid.argmin()]
        better = (reference < chosen).double() + 0.5 * (reference == chosen)
        found |= {f"{search}_test": float(chosen), f"{search}_share": float(100 * better.mean())}
    return {name: rounded(value, decimals=4) for name, value in found.items()}
