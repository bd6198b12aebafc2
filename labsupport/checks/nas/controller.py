"""Checks of the exercises that belong to page `controller`."""

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.checks.draws import normal, uniform, whole
from labsupport.checks.frame import check

__all__ = ["advantages", "coins", "reinforce_slope"]


def _slope(logits: Tensor, choice: int, reward: float, baseline: float) -> Tensor:
    p = logits.softmax(0)
    return (reward - baseline) * (_picked(logits, choice) - p)


def _picked(logits: Tensor, choice: int) -> Tensor:
    return torch.eye(len(logits), dtype=logits.dtype)[choice]


def _probability_twice(logits: Tensor, choice: int, reward: float, baseline: float) -> Tensor:
    return logits.softmax(0)[choice] * _slope(logits, choice, reward, baseline)


@check(
    truth=_slope,
    given=lambda generator: [
        (normal(generator, 3), 1, 0.9, 0.5), (normal(generator, 5), 0, 0.3, 0.8),
        (normal(generator, 4), whole(generator, 0, 3), uniform(generator), uniform(generator)),
    ],
    wrong={
        "the probability twice": (_probability_twice,
            "You differentiate reward · p, as if the reward were a loss at the end of a computation. A code is drawn "
            "already with probability p: weigh the gradient of log p by the advantage."),
        "no baseline": (lambda logits, choice, reward, baseline: _slope(logits, choice, reward, 0.0),
            "The baseline is missing: the reward is to be compared with it."),
        "downhill": (lambda logits, choice, reward, baseline: -_slope(logits, choice, reward, baseline),
            "The sign is that of a loss. Rewards are climbed: better than the baseline means likelier."),
        "the chosen one alone": (lambda logits, choice, reward, baseline: (reward - baseline) * _picked(logits, choice),
            "Only the chosen logit moves. What one choice gains, the others must lose: subtract the probabilities."),
        "others for chosen": (lambda logits, choice, reward, baseline: -(reward - baseline) * logits.softmax(0),
            "You forgot the chosen one: its own entry has 1 − p, not −p."),
    },
)  # fmt: skip
def reinforce_slope(answer: Callable, generator: torch.Generator) -> str | None:
    """`reinforce_slope(logits, choice, reward, baseline)`: (reward − baseline) · ∇ log softmax(logits)[choice]."""


def _advantages(rewards: list[float], decay: float) -> list[float]:
    found, average = [], rewards[0]
    for reward in rewards:
        found.append(reward - average)
        average = decay * average + (1 - decay) * reward
    return found


def _with_the_present(rewards: list[float], decay: float) -> list[float]:
    return [decay * each for each in _advantages(rewards, decay)]


def _from_zero(rewards: list[float], decay: float) -> list[float]:
    return _advantages([0.0, *rewards], decay)[1:]


def _plain_means(rewards: list[float], decay: float) -> list[float]:
    return [r - (sum(rewards[:t]) / t if t else r) for t, r in enumerate(rewards)]


def _series(generator: torch.Generator) -> list[tuple]:
    return [([0.5, 0.9, 0.1], 0.75), ([uniform(generator) for _ in range(6)], 0.9), ([0.3, 0.8], uniform(generator))]


@check(
    truth=_advantages,
    given=_series,
    wrong={
        "the present one too": (_with_the_present,
            "Your average takes a reward in before that reward is compared with it. Compare first."),
        "from zero": (_from_zero,
            "Your average begins at 0, so that all early codes look good. It begins at the first reward."),
        "shares swapped": (lambda rewards, decay: _advantages(rewards, 1 - decay),
            "The shares are swapped: `decay` is what the average keeps of itself."),
        "no baseline": (lambda rewards, decay: list(rewards),
            "These are the rewards themselves. Subtract the average of those before."),
        "plain means": (_plain_means,
            "You subtract the plain mean of all earlier rewards. A moving average forgets."),
        "the averages": (lambda rewards, decay: [r - a for r, a in zip(rewards, _advantages(rewards, decay))],
            "You return the averages. Asked is what the rewards have beyond them."),
    },
)  # fmt: skip
def advantages(answer: Callable, generator: torch.Generator) -> str | None:
    """`advantages(rewards, decay)`: each reward less the moving average of those before it; the first one has 0."""


def _coins(previous: Tensor, current: Tensor, w_prev: Tensor, w_curr: Tensor, v: Tensor) -> Tensor:
    return _scores(previous, current, w_prev, w_curr, v).sigmoid()


def _scores(previous: Tensor, current: Tensor, w_prev: Tensor, w_curr: Tensor, v: Tensor) -> Tensor:
    return torch.tanh(previous @ w_prev.T + w_curr @ current) @ v


def _anchors(generator: torch.Generator) -> list[tuple]:
    """States of width 3, so that square matrices do not hide from which side they act."""
    return [
        tuple(normal(generator, *size) for size in ((count, 3), (3,), (3, 3), (3, 3), (3,))) for count in (1, 2, 4)
    ]


@check(
    truth=_coins,
    given=_anchors,
    wrong={
        "a softmax": (lambda *given: _scores(*given).softmax(0),
            "Your probabilities sum to 1, as if a layer read exactly one earlier layer. Each anchor is a coin of its "
            "own: a sigmoid."),
        "from the right": (lambda previous, current, w_prev, w_curr, v: _coins(
                previous, current, w_prev.T, w_curr.T, v),
            "Your matrices act from the wrong side: W h is `h @ W.T` for rows h."),
        "rows from the right": (lambda previous, current, w_prev, w_curr, v: _coins(
                previous, current, w_prev.T, w_curr, v),
            "W_prev acts from the wrong side: for rows h of `previous`, W h is `previous @ w_prev.T`."),
        "no tanh": (lambda previous, current, w_prev, w_curr, v: (
                (previous @ w_prev.T + w_curr @ current) @ v).sigmoid(),
            "The tanh is missing. Without it the present layer adds the same to every score."),
        "matrices swapped": (lambda previous, current, w_prev, w_curr, v: _coins(previous, current, w_curr, w_prev, v),
            "W_prev belongs to the earlier layers and W_curr to the present one; yours are swapped."),
        "scores": (_scores,
            "These are scores. The sigmoid that makes them probabilities is missing."),
    },
)  # fmt: skip
def coins(answer: Callable, generator: torch.Generator) -> str | None:
    """`coins(previous, current, w_prev, w_curr, v)`: sigmoid(vᵀ tanh(W_prev h_j + W_curr h_i)) for each row h_j."""
