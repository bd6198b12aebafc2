"""The device table of `labsupport.experiments`; see tests/test_devices.py."""


from devices.given import NO_TENSOR, VALUES, Entry, cannot, floats, planned, split
from torch import nn

from labsupport import experiments, optimizers


def begun(device):
    build = lambda generator: nn.Linear(4, 2, device=device)  # noqa: E731
    return experiments.begin(build, split(device), optimizers.sgd(), {"lr": [0.1, 0.2]}, seeds=[0, 1])


def ran(device):
    return experiments.carry_on(begun(device), planned())


TABLE: dict[str, Entry] = {
    "experiments.claims.Entry": cannot(NO_TENSOR),
    "experiments.claims.Past": cannot(NO_TENSOR),
    "experiments.claims.find": cannot(NO_TENSOR),
    "experiments.claims.hashes": cannot(NO_TENSOR),
    "experiments.claims.parsed": cannot(NO_TENSOR),
    "experiments.claims.read": cannot(NO_TENSOR),
    "experiments.claims.refuse_changed": cannot(NO_TENSOR),
    "experiments.claims.registry": cannot(NO_TENSOR),
    "experiments.grids.Point": cannot(NO_TENSOR),
    "experiments.grids.Points": cannot(VALUES, gpu=lambda d: experiments.grid(lr=[0.1, 0.2]).fold(floats(d, 6, 2))),
    "experiments.grids.grid": cannot(NO_TENSOR),
    "experiments.grids.points": cannot(NO_TENSOR),
    "experiments.intervals.Estimate": cannot(NO_TENSOR),
    "experiments.intervals.Resampled": cannot(NO_TENSOR),
    "experiments.judging.Condition": cannot(NO_TENSOR),
    "experiments.judging.Judgement": cannot(NO_TENSOR),
    "experiments.judging.judge": cannot(NO_TENSOR),
    "experiments.recipes.checksum": cannot(NO_TENSOR),
    "experiments.recipes.names": cannot(NO_TENSOR),
    "experiments.recipes.rooms": cannot(NO_TENSOR),
    "experiments.rounding.rounded": cannot(VALUES),
    "experiments.runs.Runs": cannot(VALUES, gpu=lambda d: ran(d).scores("test")),
    "experiments.runs.begin": cannot(VALUES, gpu=lambda d: begun(d).state.params),
    "experiments.runs.carry_on": cannot(VALUES, gpu=lambda d: experiments.carry_on(begun(d), planned()).state.params),
    "experiments.runs.run": cannot(VALUES, gpu=lambda d: ran(d).state.params),
    "experiments.samples.Samples": cannot(VALUES),
    "experiments.tables.check": cannot(NO_TENSOR),
    "experiments.tables.load": cannot(NO_TENSOR),
    "experiments.tables.main": cannot(NO_TENSOR),
    "experiments.tables.make": cannot(NO_TENSOR),
    "experiments.tables.recipe": cannot(NO_TENSOR),
    "experiments.tuning.Tuned": cannot(NO_TENSOR),
    "experiments.tuning.tuned": cannot("experiments.runs.run trains for it"),
    "experiments.judging.combine": cannot(NO_TENSOR),
    "experiments.judging.confidences": cannot(NO_TENSOR),
    "experiments.judging.verdict": cannot(NO_TENSOR),
    "experiments.workers.CaseError": cannot(NO_TENSOR),
    "experiments.workers.dumped": cannot(NO_TENSOR),
    "experiments.workers.end": cannot(NO_TENSOR),
    "experiments.workers.needed": cannot(NO_TENSOR),
    "experiments.workers.pool": cannot(NO_TENSOR),
    "experiments.workers.start_worker": cannot(NO_TENSOR),
}
