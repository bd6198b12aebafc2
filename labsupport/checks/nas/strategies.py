"""Checks of the exercises that belong to page `strategies`."""

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import normal, whole
from labsupport.checks.frame import check

__all__ = ["generation", "winners_worth"]


def _winner(scores: Tensor) -> int:
    return int(scores[:, 0].argmax())


def _accuracies(generator: torch.Generator, candidates: int, trainings: int) -> Tensor:
    """Accuracies: one candidate is best in the first training, one in the others, and one in the mean of all."""
    scores = 0.8 + 0.01 * normal(generator, candidates, trainings)
    for place, (first, others) in enumerate(((0.95, 0.85), (0.7, 0.93), (0.94, 0.91))):
        scores[place] = others + 0.005 * normal(generator, trainings)
        scores[place, 0] = first
    return scores[torch.randperm(candidates, generator=generator)]


@check(
    truth=lambda scores: scores[_winner(scores), 1:].mean(),
    given=lambda generator: [
        (_accuracies(generator, 60, 5),), (_accuracies(generator, 20, 3),), (_accuracies(generator, 200, 4),),
    ],
    wrong={
        "the best score": (lambda scores: scores[:, 0].max(),
            "That is the score for which the candidate was chosen. It holds the luck of that training."),
        "all trainings of the winner": (lambda scores: scores[_winner(scores)].mean(),
            "The first training is in your mean. It is the one that the candidate was chosen for: leave it out."),
        "the best of the others": (lambda scores: scores[:, 1:].mean(1).max(),
            "You choose the candidate by its other trainings. The search never saw them: choose by the first alone."),
        "the best by all trainings": (lambda scores: scores[int(scores.mean(1).argmax()), 1:].mean(),
            "You choose by the mean of all trainings. The search saw the first alone."),
        "the luckiest training": (lambda scores: scores[_winner(scores), 1:].max(),
            "You take the best of the other trainings. That is chosen by luck once more: take their mean."),
        "the mean of all candidates": (lambda scores: scores[:, 1:].mean(),
            "That is what a candidate is worth on average. The winner was chosen, and is better than that."),
    },
)  # fmt: skip
def winners_worth(answer: Callable, generator: torch.Generator) -> str | None:
    """`winners_worth(scores)`: what the candidate of the best first training reaches when it is trained again."""


def _generation(scores: list[float], drawn: list[int], child: Callable) -> list[float]:
    return [*scores[1:], child(max(scores[place] for place in drawn))]


def _without_worst(scores: list[float], drawn: list[int], child: Callable) -> list[float]:
    gone = scores.index(min(scores))
    return scores[:gone] + scores[gone + 1 :] + [child(max(scores[place] for place in drawn))]


def _without_loser(scores: list[float], drawn: list[int], child: Callable) -> list[float]:
    gone = min(drawn, key=lambda place: scores[place])
    return scores[:gone] + scores[gone + 1 :] + [child(max(scores[place] for place in drawn))]


def _without_parent(scores: list[float], drawn: list[int], child: Callable) -> list[float]:
    gone = max(drawn, key=lambda place: scores[place])
    return scores[:gone] + scores[gone + 1 :] + [child(scores[gone])]


def _changed(score: float) -> float:
    return 0.5 * score + 0.3


def _living(generator: torch.Generator) -> list[tuple]:
    cases = [([0.9, 0.5, 0.7, 0.6], [1, 3], _changed)]
    for size in (6, 9, 12):
        scores = (0.8 + 0.05 * normal(generator, size)).tolist()
        top, low = scores.index(max(scores)), scores.index(min(scores))
        if top == 0 or low == 0:  # the oldest is neither, so that every mistake shows
            middle = sorted(scores)[size // 2]
            place = scores.index(middle)
            scores[0], scores[place] = scores[place], scores[0]
            top, low = scores.index(max(scores)), scores.index(min(scores))
        others = [place for place in range(1, size) if place not in (top, low)]
        first = whole(generator, 0, len(others) - 2)
        cases.append((scores, sorted(others[first : first + 2]), _changed))
    return cases


@check(
    truth=_generation,
    given=_living,
    wrong={
        "the worst dies": (_without_worst,
            "You let the worst die. In regularized evolution the oldest dies, however good it was."),
        "the tournament's loser dies": (_without_loser,
            "You let the worst of the tournament die. The oldest of all the living dies, drawn or not."),
        "the parent dies": (_without_parent,
            "You let the parent die. It lives on until it is the oldest."),
        "the youngest dies": (
            lambda scores, drawn, child: [*scores[:-1], child(max(scores[place] for place in drawn))],
            "You let the youngest die. The oldest stands first in the list."),
        "nobody dies": (lambda scores, drawn, child: [*scores, child(max(scores[place] for place in drawn))],
            "Nobody dies, and so the population grows."),
        "the best of all is the parent": (lambda scores, drawn, child: [*scores[1:], child(max(scores))],
            "Your parent is the best of all the living. It is the best of those that were drawn."),
        "the worst drawn is the parent": (
            lambda scores, drawn, child: [*scores[1:], child(min(scores[place] for place in drawn))],
            "Your parent is the worst of those drawn. Scores are accuracies: larger is better."),
        "the child first": (
            lambda scores, drawn, child: [child(max(scores[place] for place in drawn)), *scores[1:]],
            "The child is the youngest: it belongs at the end of the list."),
    },
)  # fmt: skip
def generation(answer: Callable, generator: torch.Generator) -> str | None:
    """`generation(scores, drawn, child)`: the living after one birth and one death, the oldest first."""
