"""Checks of the exercises that belong to page `bayesian_optimization`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import normal, uniform
from labsupport.checks.frame import check
from labsupport.search import acquisition, gaussian

__all__ = ["improvement", "liar_batch", "log_likelihood", "regrets"]


def _density(factor: Tensor, y: Tensor, logs: float = 1.0, constant: float = 0.5, fit: float = -0.5) -> Tensor:
    white = torch.linalg.solve_triangular(factor, y[:, None], upper=False)
    spread = factor.diagonal().log().sum()
    return fit * white.square().sum() - logs * spread - constant * len(y) * math.log(2 * math.pi)


def _measured(generator: torch.Generator) -> list[tuple]:
    cases = []
    for count in (2, 5):
        root = normal(generator, count, count)
        cases.append((torch.linalg.cholesky(root @ root.mT + torch.eye(count)), 2 * normal(generator, count)))
    return cases


@check(
    truth=_density,
    given=_measured,
    returns="one number",
    wrong={
        "determinant of the factor": (lambda factor, y: _density(factor, y, logs=0.5),
            "You take the determinant of L for that of C. det C = (det L)², so the one half is used up."),
        "determinant twice": (lambda factor, y: _density(factor, y, logs=2.0),
            "log det C is twice the sum over the diagonal of L, and a half of it is wanted: the sum, once."),
        "rewards spread": (lambda factor, y: _density(factor, y, logs=-1.0),
            "Your sign of the determinant rewards kernels that could have explained everything. They must pay for it."),
        "no charge for spread": (lambda factor, y: _density(factor, y, logs=0.0),
            "The determinant is missing. Without it the widest kernel wins, whatever the data are."),
        "constant forgotten": (lambda factor, y: _density(factor, y, constant=0.0),
            "The constant n/2 log 2π is missing: with it, this is the logarithm of a density."),
        "constant once": (lambda factor, y: _density(factor, y, constant=0.5 / len(y)),
            "The constant counts once for each measurement: n/2 log 2π."),
        "half forgotten": (lambda factor, y: _density(factor, y, fit=-1.0),
            "The first term has one half before it, as in every normal density."),
    },
)  # fmt: skip
def log_likelihood(answer: Callable, generator: torch.Generator) -> str | None:
    """`log_likelihood(factor, y)`: the log density of y under a covariance with this lower Cholesky factor."""


def _improvement(mean: Tensor, deviation: Tensor, best: float) -> Tensor:
    return acquisition.expected_improvement(mean.double(), deviation.double().square(), best=best)


def _parts(mean: Tensor, deviation: Tensor, best: float) -> tuple[Tensor, Tensor, Tensor]:
    """Gain, distribution function and density at z; not defined where the deviation is 0."""
    z = (best - mean) / deviation
    return best - mean, torch.special.ndtr(z), torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)


def _formula(mean: Tensor, deviation: Tensor, best: float) -> Tensor:
    gain, below, density = _parts(mean, deviation, best)
    return gain * below + deviation * density


def _mended(raw: Callable) -> Callable:
    """`raw` where something is uncertain, and the sure gain elsewhere."""

    def answer(mean: Tensor, deviation: Tensor, best: float) -> Tensor:
        return torch.where(deviation > 0, raw(mean, deviation, best), (best - mean).clamp_min(0))

    return answer


def _guesses(generator: torch.Generator) -> dict[str, tuple]:
    mean, best = normal(generator, 6), uniform(generator, -0.5, 0.5)
    deviation = 0.3 + normal(generator, 6).abs()
    sure = deviation * torch.tensor([1, 1, 0, 1, 0, 0], dtype=deviation.dtype)
    edge = torch.tensor([best - 0.4, best - 0.2, best - 0.7, best + 0.3, best + 0.5, best], dtype=mean.dtype)
    return {"All are uncertain": (mean, deviation, best), "Some are certain": (edge, sure, best)}


@check(
    truth=_improvement,
    given=_guesses,
    returns="one number for each setting",
    wrong={
        "no uncertainty": (lambda mean, deviation, best: (best - mean).clamp_min(0),
            "You put the guess in place of what may happen. A setting whose guess is bad and uncertain is worth "
            "something too: take the mean of max(best − f, 0) over f."),
        "first term alone": (_mended(lambda mean, deviation, best: _parts(mean, deviation, best)[0]
                * _parts(mean, deviation, best)[1]),
            "That is the gain times its chance. The second term, s φ(z), is what uncertainty adds."),
        "chance of improvement": (_mended(lambda mean, deviation, best: _parts(mean, deviation, best)[1]),
            "That is the probability of an improvement. A tiny gain counts there as much as a large one."),
        "maximizing": (_mended(lambda mean, deviation, best: _formula(-mean, deviation, -best)),
            "You expect how far f rises above the best. Errors are to fall: the gain is best − mean."),
        "density without deviation": (_mended(lambda mean, deviation, best: _formula(mean, deviation, best)
                + (1 - deviation) * _parts(mean, deviation, best)[2]),
            "The density must be multiplied by the deviation: an improvement has the unit of the error."),
        "variance for deviation": (_mended(lambda mean, deviation, best: _formula(mean, deviation.square(), best)),
            "You use the variance. What is given is the deviation already."),
        "not defined where certain": (_formula,
            "Where the deviation is 0 you divide by it, and 0/0 is no number. There the worth is max(best − mean, 0)."),
        "certain is worthless": (lambda mean, deviation, best: torch.where(
                deviation > 0, _formula(mean, deviation, best), 0.0),
            "You give a certain setting no worth. If its error is below the best, that is a sure gain."),
    },
)  # fmt: skip
def improvement(answer: Callable, generator: torch.Generator) -> str | None:
    """`improvement(mean, deviation, best)`: expected improvement, also of settings that are certain."""


def _regrets(measured: Tensor, true: Tensor, lowest: float) -> list[float]:
    found = [int(measured[: n + 1].argmin()) for n in range(len(measured))]
    return [float(true[place]) - lowest for place in found]


def _noisy(generator: torch.Generator) -> list[tuple]:
    """Studies in which a lucky measurement wins over a better setting."""
    cases = []
    for _ in range(2):
        true = 1 + torch.rand(8, generator=generator, dtype=torch.float64)
        measured = true + 0.2 * normal(generator, 8)
        measured[3], measured[5] = measured.min() - 0.5, measured.min() - 0.3
        true[3], true[5] = 1.9, 0.9
        cases.append((measured, true, 0.8))
    return cases


@check(
    truth=_regrets,
    given=_noisy,
    returns="one regret for each number of trials",
    wrong={
        "regret by the noisy best": (lambda measured, true, lowest: measured.cummin(0).values - lowest,
            "You take the lowest measurement at its word. It is low by luck too, so this is too good, and can even "
            "fall below 0. Look up the true error of the setting that it chose."),
        "with hindsight": (lambda measured, true, lowest: true.cummin(0).values - lowest,
            "You choose by the true errors, which the search never sees. It chooses by what it measured."),
        "the last trial": (lambda measured, true, lowest: true - lowest,
            "That is how bad the latest trial is. Regret speaks of the best trial so far."),
        "the end alone": (lambda measured, true, lowest: [float(true[measured.argmin()]) - lowest] * len(true),
            "After each trial only the trials up to it are known. You use the choice at the end for all of them."),
        "against the best found": (lambda measured, true, lowest: [
                each + lowest - float(true.min()) for each in _regrets(measured, true, lowest)],
            "You compare with the best setting that was tried. Regret compares with the best there is, `lowest`."),
    },
)  # fmt: skip
def regrets(answer: Callable, generator: torch.Generator) -> str | None:
    """`regrets(measured, true, lowest)`: after each trial, how much worse than the best the chosen setting is."""


def _proposer(length: float) -> Callable:
    """`propose(x, y)`: the place, among 401 in [0, 1], of the largest expected improvement."""
    grid = torch.linspace(0, 1, 401, dtype=torch.float64)[:, None]

    def propose(x: Tensor, y: Tensor) -> float:
        x, y = (torch.as_tensor(part, dtype=torch.float64).reshape(-1) for part in (x, y))
        mean, variance = gaussian.posterior(
            x[:, None], y - y.mean(), grid, lengths=torch.tensor([length], dtype=torch.float64), signal=1.0, noise=1e-6
        )
        worth = acquisition.expected_improvement(mean, variance, best=(y - y.mean()).min())
        return float(grid[worth.argmax(), 0])

    return propose


def _batch(lie: Callable[[Tensor], Tensor]) -> Callable:
    def batch(x: Tensor, y: Tensor, size: int, propose: Callable) -> list[float]:
        asked, told = [], y
        for _ in range(size):
            asked.append(propose(x, y))
            x, y = torch.cat([x, x.new_tensor(asked[-1:])]), torch.cat([y, lie(told).reshape(1)])
        return asked

    return batch


def _forgetful(x: Tensor, y: Tensor, size: int, propose: Callable) -> list[float]:
    """Each lie stands alone."""
    asked: list[float] = []
    for _ in range(size):
        seen, told = (x, y) if not asked else (torch.cat([x, x.new_tensor(asked[-1:])]), torch.cat([y, y.min()[None]]))
        asked.append(propose(seen, told))
    return asked


def _known(generator: torch.Generator) -> list[tuple]:
    return [
        (torch.tensor([0.1, 0.37, 0.6, 0.93], dtype=torch.float64) + uniform(generator, -0.01, 0.01),
         torch.tensor([2.9, 2.1, 2.5, 1.6], dtype=torch.float64) + 0.1 * normal(generator, 4), size, _proposer(length))
        for size, length in ((1, 0.2), (4, 0.2), (5, 0.12))
    ]  # fmt: skip


@check(
    truth=_batch(torch.min),
    given=_known,
    returns="a list of `size` settings",
    wrong={
        "no lie": (lambda x, y, size, propose: [propose(x, y)] * size,
            "You ask the same question `size` times and get the same answer. Tell the model something of each setting "
            "that is under way."),
        "the mean as a lie": (_batch(torch.mean),
            "You pretend that the mean came back. The lie asked for is the smallest value told."),
        "the worst as a lie": (_batch(torch.max),
            "You pretend that the largest value came back. That drives the batch far away; the lie asked for is the "
            "smallest value told."),
        "zero as a lie": (_batch(lambda told: told.new_zeros(())),
            "You pretend that 0 came back, which means something else in every unit. Take the smallest value told."),
        "one lie at a time": (_forgetful,
            "You forget the earlier lies. All settings that are under way must be in the model."),
    },
)  # fmt: skip
def liar_batch(answer: Callable, generator: torch.Generator) -> str | None:
    """`liar_batch(x, y, size, propose)`: settings to train at once, by the constant liar."""
