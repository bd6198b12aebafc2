"""What the checks of page `comparison` call right is what statistics and the Lion optimizer do."""

import math

import pytest
import torch
from scipy import stats

from labsupport import checks
from labsupport.checks.optimizers import comparison as optimizers_comparison


def tuned_difference(valid_a, test_a, valid_b, test_b):
    a, b = (test[int(valid.mean(1).argmin())] for valid, test in ((valid_a, test_a), (valid_b, test_b)))
    return float((a - b).mean()), float(stats.sem((a - b).numpy()))


def lion_step(weight, grad, mean, lr, beta1, beta2):
    step = torch.lerp(grad, mean, beta1)
    return weight - lr * step / step.abs(), torch.lerp(grad, mean, beta2)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("answer", [tuned_difference, lion_step])
def test_the_truth_is_accepted(answer, seed):
    report = getattr(checks.optimizers, answer.__name__)(answer, seed)
    assert report.status == "correct", report.message


def test_the_example_tells_the_misconceptions_apart():
    for seed in range(20):
        [given] = optimizers_comparison._example(torch.Generator().manual_seed(seed))
        effect, error = tuned_difference(*given)
        for name, wrong in checks.optimizers.tuned_difference.wrong.items():
            got = wrong(*given)
            same = isinstance(got, tuple) and math.isclose(got[0], effect) and math.isclose(got[1], error)
            assert not same, name


def test_a_step_in_another_dtype_is_refused():
    report = checks.optimizers.lion_step(lambda *args: tuple(part.half() for part in lion_step(*args)))
    assert report.status == "wrong"
    assert "float16" in report.message
