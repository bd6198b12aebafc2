"""Checks of the exercises that belong to page `many_at_once`."""

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import uniform, whole
from labsupport.checks.frame import check

__all__ = ["idle_share", "reported_error", "speed_up"]


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


Bars = list[tuple[int, float, float]]


def _busy(bars: Bars) -> float:
    return sum(end - start for _, start, end in bars)


def _idle(bars: Bars, workers: int) -> float:
    return 1 - _busy(bars) / (workers * max(end for _, _, end in bars))


def _own_ends(bars: Bars) -> float:
    """The sum, over the workers that did something, of when each was done."""
    return sum(max(end for who, _, end in bars if who == worker) for worker in {worker for worker, _, _ in bars})


def _crew(generator: torch.Generator, workers: int, busy: int) -> tuple[Bars, int]:
    """`busy` of `workers` do three trainings each, with pauses between them."""
    bars = []
    for worker in range(busy):
        now = uniform(generator, 0.1, 1.0)
        for _ in range(3):
            end = now + uniform(generator, 1.0, 3.0)
            bars.append((worker, now, end))
            now = end + uniform(generator, 0.2, 1.0)
    return bars, workers


@check(
    truth=_idle,
    given=lambda generator: {
        "With 3 workers, all of them busy at times": _crew(generator, 3, 3),
        "With 5 workers, two of whom never get a trial": _crew(generator, 5, 3),
        "With one worker": _crew(generator, 1, 1),
    },
    returns="one number between 0 and 1",
    wrong={
        "who never worked": (lambda bars, workers: _idle(bars, len({worker for worker, _, _ in bars})),
            "you forget workers that never got a trial. They wait from start to end."),
        "each to its own end": (lambda bars, workers: 1 - _busy(bars) / _own_ends(bars),
            "you count a worker's time up to its own last trial. It waits on until the last of all is done."),
        "busy for idle": (lambda bars, workers: 1 - _idle(bars, workers),
            "that is the share for which they are busy. Subtract it from 1."),
        "one worker's time": (lambda bars, workers: 1 - _busy(bars) / max(end for _, _, end in bars),
            "you add the busy times of all, but divide by the time of one. All of them are there from start to end."),
        "time for share": (lambda bars, workers: workers * max(end for _, _, end in bars) - _busy(bars),
            "that is the time for which they wait. Divide it by all the time they had."),
        "from the first trial": (lambda bars, workers: 1 - _busy(bars) / (
                workers * (max(end for _, _, end in bars) - min(start for _, start, _ in bars))
            ),
            "you begin with the first trial. The workers are there from time 0."),
    },
)  # fmt: skip
def idle_share(answer: Callable, generator: torch.Generator) -> str | None:
    """`idle_share(bars, workers)`: for what share of the time, from 0 to the last end, the workers wait."""
