"""Checks of the exercises that belong to page `many_at_once`."""

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import uniform, whole
from labsupport.checks.frame import check

__all__ = ["reported_error", "seen_regret", "speed_up"]


def _faster(serial: float, workers: int) -> float:
    return 1 / (serial + (1 - serial) / workers)


@check(
    truth=_faster,
    given=lambda generator: [
        (0.2, 16), (0.5, 2), (0.0, 8), (1.0, 4), (uniform(generator, 0.02, 0.1), whole(generator, 20, 90)),
    ],
    wrong={
        "all is divided": (lambda serial, workers: float(workers),
            "You divide all of the work among the workers. The serial share is not divided."),
        "time for speed": (lambda serial, workers: serial + (1 - serial) / workers,
            "That is the time which is needed, where one worker needs 1. The speed-up is 1 over it."),
        "the serial share is divided": (lambda serial, workers: 1 / (serial / workers + 1 - serial),
            "You divide the serial share. It is the rest that the workers share out."),
        "the limit": (lambda serial, workers: 1 / serial if serial else float("inf"),
            "That is the limit for ever more workers. These are finitely many."),
        "shares added": (lambda serial, workers: serial + (1 - serial) * workers,
            "You average two speeds, 1 and that of all workers. Add the times of the two parts instead."),
        "the rest is done twice": (lambda serial, workers: 1 / (serial + 1 / workers),
            "You divide all of the work, and then add the serial share again. Only 1 − serial is left to divide."),
    },
)  # fmt: skip
def speed_up(answer: Callable, generator: torch.Generator) -> str | None:
    """`speed_up(serial, workers)`: Amdahl's law."""


def _errors(generator: torch.Generator, *shape: int, low: int = 20, high: int = 90) -> Tensor:
    """Errors in percent of which no two are the same."""
    count = torch.Size(shape).numel()
    values = torch.randperm(4 * count, generator=generator)[:count].double().view(shape)
    return low + (high - low) * values / (4 * count)


def _report(valid: Tensor, test: Tensor) -> Tensor:
    return test[valid.argmin()]


def _scores(generator: torch.Generator) -> list[tuple]:
    found = []
    while len(found) < 4:
        valid, test = _errors(generator, 9), _errors(generator, 9)
        if valid.argmin() not in (test.argmin(), valid.argmax(), test.argmax()):
            found.append((valid, test))
    return found


@check(
    truth=_report,
    given=_scores,
    returns="one number, the error to report",
    wrong={
        "the score that chose": (lambda valid, test: valid.min(),
            "You report the score by which it was chosen. It contains the luck that made it win. Report what did not "
            "choose."),
        "chosen on the test": (lambda valid, test: test.min(),
            "You let the test choose, so its score is lucky now. Choose by validation."),
        "the mean of all": (lambda valid, test: test.mean(),
            "That is what one of them, taken at random, would have. Asked for is the chosen one."),
        "the mean of both": (lambda valid, test: (valid.min() + test[valid.argmin()]) / 2,
            "Half of a lucky score is still luck. Report the test error alone."),
        "accuracy for error": (lambda valid, test: test[valid.argmax()],
            "You choose the largest. These are errors: the smallest is the best."),
        "the place": (lambda valid, test: valid.argmin(),
            "That is the place of the chosen setting. Return its error on the test."),
    },
)  # fmt: skip
def reported_error(answer: Callable, generator: torch.Generator) -> str | None:
    """`reported_error(valid, test)`: what to report of the setting that validation chooses."""


def _regret(valid: Tensor, seen: int) -> Tensor:
    true = valid.mean(1)
    return true[valid[:, seen].argmin()] - true.min()


def _tables(generator: torch.Generator) -> list[tuple]:
    found = []
    while len(found) < 4:
        valid, seen = _errors(generator, 7, 3), whole(generator, 0, 2)
        others = [column for column in range(3) if column != seen]
        means = valid[:, others].mean(1)
        chosen = {int(valid[:, seen].argmin()), int(valid.mean(1).argmin()), int(means.argmin())}
        if len(chosen) == 3:
            found.append((valid, seen))
    return found


@check(
    truth=_regret,
    given=_tables,
    returns="one number, 0 or more",
    wrong={
        "a lucky score for the truth": (lambda valid, seen: valid[:, seen].min() - valid.mean(1).min(),
            "You compare the lucky score of one training with a mean, and may even get less than 0. Compare the chosen "
            "setting's mean."),
        "the best single training": (lambda valid, seen: valid.mean(1)[valid[:, seen].argmin()] - valid.min(),
            "You compare with the luckiest of all trainings. No setting is as good as that in the mean."),
        "always 0": (lambda valid, seen: 0 * valid[0, seen],
            "You choose and compare by the same numbers, which is always 0. Choose by column `seen`, compare means."),
        "over the rows": (lambda valid, seen: valid.mean(0)[seen] - valid.mean(0).min(),
            "You average over the settings. Average over the trainings: dimension 1."),
        "the wrong sign": (lambda valid, seen: -_regret(valid, seen),
            "The sign is wrong: regret is how much worse the chosen setting is, so it is 0 or more."),
        "without the seen training": (lambda valid, seen: _others(valid, seen),
            "You leave out the training that was seen. Take the mean of all of them."),
    },
)  # fmt: skip
def seen_regret(answer: Callable, generator: torch.Generator) -> str | None:
    """`seen_regret(valid, seen)`: how much worse than the best is, in the mean, what one training chose."""


def _others(valid: Tensor, seen: int) -> Tensor:
    rest = valid[:, [column for column in range(valid.shape[1]) if column != seen]].mean(1)
    return rest[valid[:, seen].argmin()] - rest.min()
