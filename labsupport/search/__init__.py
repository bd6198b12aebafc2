"""Where the next trial goes: spaces of settings, and strategies that search them with few trainings.

    state = hyperband.init(space, max_resource=81, eta=3, seed=0)
    trial, state = hyperband.ask(state)
    state = hyperband.tell(state, trial, loss)

Every strategy is a pure function of what was asked and told so far, and that is plain data: a study pickles, is JSON,
and goes on where it stopped. `space` says what can be set and `contract` what all strategies share. `grid`,
`random_search` and `low_discrepancy` never look at a value; `halving`, `hyperband` and `asha` stop the worse early;
`gaussian_process` and `tpe` model what was told. On `replay`, a table of learning curves, and on `problems`, whose
minimum is known, all of them are compared in seconds. `run` does the whole of it, on processes or a cluster too, and
`optuna` makes Optuna use them:

    state = run(hyperband, space, objective, storage="study.db", executor=processes(4), plan=RunPlan(options=…))
"""

__all__ = [
    "acquisition", "asha", "contract", "gaussian", "gaussian_process", "grid", "halving", "hyperband",
    "low_discrepancy", "optuna", "problems", "random_search", "replay", "run", "space", "tpe",
]  # fmt: skip
