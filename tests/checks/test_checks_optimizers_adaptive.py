"""What the checks of page `adaptive_rates` call right is what optimizers do."""

import pytest
import torch

from labsupport import optimizers
from labsupport.checks import optimizers as adaptive


def uncorrected_step(t, lr, beta1, beta2):
    rule, here = optimizers.adam(correction="none"), {"w": torch.zeros((), dtype=torch.float64)}
    state, settings = rule.init(here), {**rule.defaults, "lr": lr, "beta1": beta1, "beta2": beta2, "eps": 0.0}
    for _ in range(t):
        before = here["w"]
        here, state = rule.update({"w": torch.ones((), dtype=torch.float64)}, state, here, settings)
    return before - here["w"]


def adadelta_step(grad, square, moved, decay, eps):
    rule, state = optimizers.adadelta(), {"square": {"w": square}, "moved": {"w": moved}}
    settings = {**rule.defaults, "decay": decay, "eps": eps}
    here, state = rule.update({"w": grad}, state, {"w": torch.zeros_like(grad)}, settings)
    return -here["w"], state["square"]["w"], state["moved"]["w"]


def rmsprop_in_basis(grad, square, lr, decay, eps, basis):
    param = torch.nn.Parameter(torch.zeros_like(grad))
    torch_rule = torch.optim.RMSprop([param], lr=lr, alpha=decay, eps=eps)
    param.grad = grad @ basis
    torch_rule.state[param] = {"step": torch.zeros(()), "square_avg": square.clone()}
    torch_rule.step()
    return -(basis @ param.detach()), torch_rule.state[param]["square_avg"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("answer", [uncorrected_step, adadelta_step, rmsprop_in_basis], ids=lambda f: f.__name__)
def test_what_optimizers_do_is_accepted(answer, seed):
    report = getattr(adaptive, answer.__name__)(answer, seed)
    assert report.status == "correct", report


def test_the_averages_are_wanted_as_well():
    assert "three things" in adaptive.adadelta_step(lambda *given: adadelta_step(*given)[0]).message
    assert "two things" in adaptive.rmsprop_in_basis(lambda *given: rmsprop_in_basis(*given)[0]).message


def test_half_an_answer_in_single_precision_is_refused():
    def half(*given):
        step, square, moved = adadelta_step(*given)
        return step, square.float().double(), moved

    assert "few digits" in adaptive.adadelta_step(half).message
