"""The device table of `labsupport.search`; see tests/test_devices.py."""

from devices.given import NO_TENSOR, VALUES, Entry, born, cannot, floats

from labsupport.search import asha, grid, halving, hyperband, low_discrepancy, random_search
from labsupport.search import space as spaces

SPACE = spaces.Space({"x": spaces.Float(0, 2), "n": spaces.Integer(1, 9)})
STUDY = "a study is plain data: " + NO_TENSOR

TABLE: dict[str, Entry] = {
    "search.space.Categorical": cannot(NO_TENSOR),
    "search.space.Float": cannot(NO_TENSOR),
    "search.space.Integer": cannot(NO_TENSOR),
    "search.space.Space": cannot(NO_TENSOR),
    "search.space.active": cannot(NO_TENSOR),
    "search.space.from_json": cannot(NO_TENSOR),
    "search.space.from_unit": cannot(
        "a setting is plain numbers: " + VALUES, gpu=lambda d: spaces.from_unit(SPACE, floats(d, 2))
    ),
    "search.space.sample": born(lambda g: spaces.sample(SPACE, generator=g)),
    "search.space.ends": cannot(NO_TENSOR),
    "search.space.to_json": cannot(NO_TENSOR),
    "search.space.unit_of": cannot(NO_TENSOR),
    "search.space.to_unit": cannot("a setting is plain numbers, and its point is made on the CPU"),
}
TABLE |= {
    f"search.contract.{name}": cannot(STUDY)
    for name in [
        "Record", "State", "Trial", "add", "as_number", "best", "check_state", "ended", "from_json", "generator",
        "loss", "placed", "start", "tell", "to_json", "waiting",
    ]
}  # fmt: skip
TABLE |= {
    f"search.optuna.{name}": cannot("Optuna stores plain numbers: " + NO_TENSOR)
    for name in ["pruners.AshaPruner", "pruners.HalvingPruner", "pruners.HyperbandPruner", "samplers.Sampler",
        "samplers.distribution",
    ]
}
TABLE |= {
    f"search.problems.{name}": cannot("a problem is a function of plain numbers: " + NO_TENSOR)
    for name in ["Problem", "branin", "conditional", "hartmann6", "moved"]
}
TABLE |= {f"search.problems.{name}": cannot(NO_TENSOR) for name in ["Problem", "branin", "conditional", "hartmann6"]}
TABLE["search.problems.moved"] = cannot("a generator of any device draws, and numbers come back: " + VALUES)
TABLE |= {f"search.brackets.{name}": cannot(STUDY) for name in ["ask", "finished", "ranked"]}
STRATEGIES = {
    asha: ["rungs"],
    grid: ["rows"],
    halving: ["plan"],
    hyperband: ["plan"],
    low_discrepancy: [],
    random_search: [],
}
TABLE |= {
    f"{module.__name__.removeprefix('labsupport.')}.{name}": cannot(STUDY)
    for module, more in STRATEGIES.items()
    for name in ["ask", "finished", "init", *more]
}
TABLE |= {
    f"search.replay.{name}": cannot("what was measured is kept on the CPU: " + NO_TENSOR)
    for name in ["Strategy", "Table", "curve", "epochs", "load", "play", "regret", "row", "settings", "trained_with"]
}
