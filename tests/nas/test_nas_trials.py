"""A search that trains: what a candidate is told, and that a killed search finds the same candidates."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from nas import live_study

from labsupport import data
from labsupport.experiments import seeded
from labsupport.nas import space, stacks, trials
from labsupport.search.contract import Trial

TASK = live_study.task()
TRIAL = Trial(4, space.encode(space.sample(2, generator=seeded(0))), None, None)


def test_a_candidates_training_is_a_function_of_its_number():
    first, again = TASK.trained(TRIAL), TASK.trained(TRIAL)
    other = TASK.trained(TRIAL._replace(number=5))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert TASK(TRIAL) == trials.error(first, *TASK.split.valid)
    assert not first.training


def test_a_network_has_the_images_dtype():
    double = data.Split(*((x.double(), y) for x, y in (TASK.split.train, TASK.split.valid, TASK.split.test)))
    assert replace(TASK, split=double).trained(TRIAL).classifier.weight.dtype == torch.float64


def test_training_lowers_the_error():
    split = data.glyphs("digits", sizes=(256, 200, 200), size=14, generator=seeded(0))
    task = trials.Task(split, stacks.Outline((1, 14, 14), 10, width=8), num_steps=60)
    assert task(TRIAL) < 0.5 < trials.Task(split, task.outline, num_steps=1)(TRIAL)


def test_a_loss_that_is_not_finite_is_told_as_failed():
    images, labels = TASK.split.train
    spoilt = data.Split((images * torch.nan, labels), TASK.split.valid, TASK.split.test, TASK.split.class_names)
    with pytest.raises(FloatingPointError, match="train: the loss is nan at step 0"):
        trials.Task(spoilt, TASK.outline)(TRIAL)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_search_finds_the_same_candidates(tmp_path):
    storage, script = tmp_path / "nas.db", Path(live_study.__file__)
    with subprocess.Popen([sys.executable, str(script), str(storage)], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.strip() == "21":
                process.send_signal(signal.SIGKILL)
                break
    trained = []

    def noted(task, trial):
        trained.append(trial.number)
        return trials.Task.__call__(task, trial)

    resumed = live_study.search(storage, noted)
    assert resumed == live_study.search(None)
    assert trained[0] in (21, 22) and len(trained) <= 3


REFUSED = [
    ({"num_steps": 0}, "Task: num_steps must be an integer >= 1, got 0"),
    ({"lr": -1.0}, "Task: lr must be a finite number >= 0, got -1.0"),
    ({"outline": stacks.Outline((1, 12, 12), 10)}, r"Task: split must hold images of shape \(1, 12, 12\), got"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_a_task_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        trials.Task(**{"split": TASK.split, "outline": TASK.outline} | change)
