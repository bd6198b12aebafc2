"""The checks of page learning_934_hyperparameters accept right answers written another way."""

import pytest

from labsupport.checks import hypergradients


def with_loop(train_from, third_loss, first, learnt, starts):
    gains = []
    for start in starts:
        gains.append(third_loss(train_from(first, start)) - third_loss(train_from(learnt, start)))
    mean = sum(gains) / len(gains)
    squares = sum((gain - mean) ** 2 for gain in gains)
    return mean, (squares / (len(gains) - 1) / len(gains)) ** 0.5


def in_place(logs, slope, size, num_steps):
    logs = logs.clone()
    for k in range(num_steps):
        found = slope(logs, k)
        logs[found > 0] -= size
        logs[found < 0] += size
    return logs


RIGHT = [(hypergradients.honest_gain, with_loop), (hypergradients.learn_from_starts, in_place)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("check", "answer"), RIGHT, ids=[check.name for check, _ in RIGHT])
def test_right_answers_of_another_kind_are_accepted(check, answer, seed):
    report = check(answer, seed)
    assert report.status == "correct", report
