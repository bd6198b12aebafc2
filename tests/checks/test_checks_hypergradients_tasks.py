"""The checks of page multi_task accept right answers written another way, and refuse each misconception by name."""

import math

import pytest
import torch

from labsupport.checks import hypergradients


def by_loops(weights, ties):
    rows = []
    for i, mine in enumerate(weights):
        rows.append(sum(ties[i, j].exp() * (mine - other) for j, other in enumerate(weights)) / len(weights))
    return torch.stack(rows)


def by_autograd(weights, ties):
    at = weights.clone().requires_grad_()
    far = (at[:, None] - at).square().sum(2)
    return torch.autograd.grad((ties.exp() * far).sum() / (4 * len(at)), at)[0]


def with_finite_numbers(groups, share, decay):
    tie = math.log(len(groups)) + decay + math.log(share) - math.log1p(-share)
    rows = [[tie if mine == other else -50.0 for other in groups] for mine in groups]
    return torch.tensor(rows, dtype=torch.float64)


def with_an_empty_diagonal(groups, share, decay):
    return with_finite_numbers(groups, share, decay).fill_diagonal_(0.0)


RIGHT = [
    (hypergradients.tie_slope, by_loops),
    (hypergradients.tie_slope, by_autograd),
    (hypergradients.design_ties, with_finite_numbers),
    (hypergradients.design_ties, with_an_empty_diagonal),
]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("check", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_right_answers_of_another_kind_are_accepted(check, answer, seed):
    report = check(answer, seed)
    assert report.status == "correct", report


def test_other_mistakes_are_refused():
    slope, ties = hypergradients.tie_slope, hypergradients.design_ties
    assert slope(lambda weights, logs: by_loops(weights, logs).sum()).status == "wrong"
    assert slope(lambda weights, logs: 1.01 * by_loops(weights, logs)).status == "wrong"
    assert ties(lambda groups, share, decay: with_finite_numbers(groups, share, decay).triu()).status == "wrong"
    assert ties(lambda groups, share, decay: with_finite_numbers(groups, share, decay + 0.01)).status == "wrong"
    assert ties(lambda groups, share, decay: with_finite_numbers(groups, share, decay)[:3]).status == "wrong"
