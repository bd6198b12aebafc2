"""The strategies of this room inside Optuna: as its samplers, and those that stop early as its pruners.

    sampler, pruner = samplers.Sampler(tpe, seed=0), pruners.HyperbandPruner(81)
    study = optuna.create_study(storage="sqlite:///study.db", sampler=sampler, pruner=pruner)
    study.optimize(objective, n_trials=60)

An Optuna script stays as it is but for these two. Neither remembers anything: what was asked and told is read from the
study each time, so that any number of processes may work on one storage, all with the same seed, and a study goes on
where it stopped. This alone of the room needs Optuna, which the extra `cluster` brings.
"""

try:
    import optuna  # noqa: F401
except ImportError as problem:
    raise ImportError(
        "labsupport.search.optuna needs Optuna: install the extra, pip install 'adaptive-training[cluster]'"
    ) from problem

__all__ = ["pruners", "samplers"]
