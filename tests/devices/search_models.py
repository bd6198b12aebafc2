"""The device table of the models in `labsupport.search`; see tests/test_devices.py."""

import torch
from devices.given import Entry, cannot, floats, runs

from labsupport.search import acquisition, cube, gaussian
from labsupport.search.space import Float, Integer, Space

PLAIN = "it takes and gives plain settings, and computes on the CPU"


def given(device):
    """Lengths, signal and noise of a process of two inputs."""
    return {"lengths": floats(device, 2), "signal": floats(device), "noise": floats(device)}


def conditioned(device):
    return gaussian.condition(floats(device, 3, 2), floats(device, 3), gaussian.Hyper(**given(device)))


def pulled(device):
    mean, variance, pull = gaussian.forecast(conditioned(device), floats(device, 4, 2))
    return mean, variance, pull(mean, variance)


def fitted(device):
    return gaussian.fit(torch.eye(2, device=device), floats(device, 2), max_steps=1)


TABLE: dict[str, Entry] = {
    "search.acquisition.expected_improvement": runs(
        lambda d: acquisition.expected_improvement(floats(d, 3), floats(d, 3), best=0.5)
    ),
    "search.acquisition.log_improvement_slopes": runs(
        lambda d: acquisition.log_improvement_slopes(floats(d, 3), floats(d, 3), best=floats(d))
    ),
    "search.cube.design": cannot(PLAIN),
    "search.cube.design_then": cannot(PLAIN),
    "search.cube.points": cannot(PLAIN),
    "search.cube.sobol": cannot(PLAIN),
    "search.cube.seen": runs(lambda d: cube.seen(floats(d, 3, 2), floats(d, 4, 2))),
    "search.cube.share": runs(lambda d: cube.share(Integer(1, 4, log=True), floats(d, 3))),
    "search.cube.snap": runs(
        lambda d: cube.snap(
            Space({"a": Integer(1, 4, log=True), "b": Float(0, 1)}, {"b": ("a", (1, 2))}), floats(d, 3, 2).double()
        )
    ),
    "search.gaussian.Conditioned": runs(conditioned),
    "search.gaussian.condition": runs(conditioned),
    "search.gaussian.forecast": runs(pulled),
    "search.gaussian.Hyper": runs(lambda d: gaussian.Hyper(**given(d))),
    "search.gaussian.covariance": runs(
        lambda d: gaussian.covariance(floats(d, 3, 2), floats(d, 4, 2), lengths=floats(d, 2), signal=2.0)
    ),
    "search.gaussian.fit": cannot("SciPy's L-BFGS reads values, which a meta tensor does not have", gpu=fitted),
    "search.gaussian.log_marginal": runs(
        lambda d: gaussian.log_marginal(floats(d, 3, 2), floats(d, 3), **given(d))
    ),
    "search.gaussian.posterior": runs(
        lambda d: gaussian.posterior(floats(d, 3, 2), floats(d, 3), floats(d, 4, 2), **given(d))
    ),
    "search.gaussian_process.ask": cannot(PLAIN),
    "search.gaussian_process.finished": cannot(PLAIN),
    "search.gaussian_process.init": cannot(PLAIN),
    "search.tpe.ask": cannot(PLAIN),
    "search.tpe.finished": cannot(PLAIN),
    "search.tpe.init": cannot(PLAIN),
}  # fmt: skip
