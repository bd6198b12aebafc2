"""The checks of chapter pruning, page retraining: right answers of another kind, and refusals."""

import numpy as np
import pytest
import torch

from labsupport.checks import pruning
from labsupport.pruning import edges


def by_the_package(weight, sparsities, train):
    mask = edges.keep_largest(weight.abs(), sparsity=sparsities[0])
    for sparsity in sparsities[1:]:
        weight = torch.where(mask, train(torch.where(mask, weight, 0)), 0)
        mask = edges.keep_largest(edges.magnitude_scores(weight), sparsity=sparsity)
    return mask


def by_indices(weight, sparsities, train):
    weight, alive = weight.numpy(), list(range(len(weight)))
    for place, sparsity in enumerate(sparsities):
        if place:
            weight = train(np.where(np.isin(np.arange(len(weight)), alive), weight, 0.0)).numpy()
        alive = sorted(alive, key=lambda i: -abs(weight[i]))[: len(weight) - round(sparsity * len(weight))]
    return [i in alive for i in range(len(weight))]


def by_parametrize(weight, mask, gradients, velocity, lr, momentum):
    """torch's optimizer moves what lies behind the mask."""
    hidden = torch.nn.Parameter(weight.clone())
    optimizer = torch.optim.SGD([hidden], lr=lr, momentum=momentum)
    optimizer.state[hidden]["momentum_buffer"] = velocity.clone()
    for gradient in gradients:
        hidden.grad = gradient.clone()
        optimizer.step()
    return torch.where(mask, hidden.detach(), 0)


def all_masked(weight, mask, gradients, velocity, lr, momentum):
    weight, velocity = weight * mask, velocity * mask
    for gradient in gradients:
        velocity = momentum * velocity + gradient * mask
        weight = weight - lr * velocity
    return weight.numpy()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (pruning.survivors, by_the_package),
        (pruning.survivors, by_indices),
        (pruning.train_pruned, by_parametrize),
        (pruning.train_pruned, all_masked),
    ],
    ids=["the package's", "by indices", "torch's optimizer", "everything masked"],
)
def test_right_answers_of_another_kind_are_accepted(check, answer, seed):
    report = check(answer, seed)
    assert report.status == "correct", report


def test_the_colleague_of_the_text_is_refused():
    def colleague(weight, mask, gradients, velocity, lr, momentum):
        weight = weight * mask
        for gradient in gradients:
            velocity = momentum * velocity + gradient * mask
            weight = weight - lr * velocity
        return weight

    assert "the velocity from before still moves it" in pruning.train_pruned(colleague).message


def test_a_fraction_of_what_is_left_is_named_as_such():
    def of_what_is_left(weight, sparsities, train):
        alive = torch.arange(len(weight))
        for place, sparsity in enumerate(sparsities):
            if place:
                weight = train(torch.zeros_like(weight).index_put((alive,), weight[alive]))
            alive = alive[weight[alive].abs().argsort(descending=True)[: len(alive) - round(sparsity * len(alive))]]
        return torch.zeros(len(weight), dtype=torch.bool).index_fill(0, alive, True)

    assert pruning.survivors(of_what_is_left).status == "wrong"
