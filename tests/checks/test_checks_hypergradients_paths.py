"""The checks of pages backprop_through_training and drmad accept right answers written another way."""

import math

import pytest
import torch

from labsupport.checks import hypergradients


def by_change_of_base(momentum, num_steps):
    return -num_steps * math.log(momentum) / math.log(2)


def by_autograd(w_bar, v_bar, lam_bar, products, lr, momentum):
    rows = [products(row) for row in torch.eye(len(w_bar), dtype=w_bar.dtype)]
    hessian, mixing = (torch.stack(part) for part in zip(*rows, strict=True))  # mixing: (weights, hyperparameters)
    w, v, lam = (torch.zeros_like(bar, requires_grad=True) for bar in (w_bar, v_bar, lam_bar))
    velocity = momentum * v + hessian @ w + mixing @ lam
    pull = (w_bar * (w - lr * velocity)).sum() + (v_bar * velocity).sum() + (lam_bar * lam).sum()
    return torch.autograd.grad(pull, (w, v, lam))


def in_python_integers(velocity, buffer, top, bottom):
    pairs = []
    for v, kept in zip(velocity.tolist(), buffer.tolist(), strict=True):
        kept = kept * top + v % top
        pairs.append((v // top * bottom + kept % bottom, kept // bottom))
    return tuple(torch.tensor(part) for part in zip(*pairs, strict=True))


def with_lerp(start, end, w_bar, products, num_steps, lr, momentum):
    v_bar, total = 0 * w_bar, 0 * w_bar
    for u in torch.arange(num_steps).flip(0).to(start) / num_steps:
        pushed = v_bar - lr * w_bar
        parts = products(start.lerp(end, u), pushed)
        w_bar, total, v_bar = w_bar + parts[0], total + parts[1], momentum * pushed
    return total


RIGHT = [
    (hypergradients.bits_kept, by_change_of_base),
    (hypergradients.step_back, by_autograd),
    (hypergradients.undamp, in_python_integers),
    (hypergradients.line_hypergradient, with_lerp),
]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("check", "answer"), RIGHT, ids=[check.name for check, _ in RIGHT])
def test_right_answers_of_another_kind_are_accepted(check, answer, seed):
    report = check(answer, seed)
    assert report.status == "correct", report


def test_other_mistakes_are_refused():
    assert hypergradients.bits_kept(lambda momentum, num_steps: 0.0).status == "wrong"
    assert hypergradients.step_back(lambda w, v, lam, *rest: (v, w, lam)).status == "wrong"
    assert hypergradients.step_back(lambda *args: by_autograd(*args)[:2]).status == "wrong"
    assert hypergradients.undamp(lambda velocity, buffer, top, bottom: velocity).status == "wrong"
    assert hypergradients.line_hypergradient(lambda *args: 1.01 * with_lerp(*args)).status == "wrong"


def test_a_buffer_that_is_wrong_is_found_in_the_second_step():
    def forgets(velocity, buffer, top, bottom):
        back, kept = in_python_integers(velocity, buffer, top, bottom)
        return back, torch.zeros_like(kept)

    assert hypergradients.undamp(forgets).status == "wrong"
