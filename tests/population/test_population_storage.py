"""A population on disk: whole files, runs that go on to the bit, and files of other runs refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from test_population import dropped, flat, mlp, normed, plan, same
from torch import nn

from labsupport import data, optimizers, population

SGD = optimizers.sgd()
RUN = """
import sys, torch
sys.path.insert(0, {tests!r})
from test_population import dropped
from labsupport import data, optimizers, population
whole = data.digits(flat=False, generator=torch.Generator().manual_seed(0)).to(torch.float64)
plan = population.Plan(12, 32, slab=2, backend="eager", save={path!r}, progress=False)
rates = torch.tensor([0.01, 0.02, 0.04], dtype=torch.float64)
result = population.train(dropped, whole, optimizers.adam(), {{"lr": rates}}, plan, seeds=[1, 2, 3])
torch.save([result.train_loss, result.valid_error, result.state.params, result.state.slots], {out!r})
"""


@pytest.fixture(scope="module")
def split():
    whole = data.digits(flat=False, generator=torch.Generator().manual_seed(0)).to(torch.float64)
    return data.Split(*((x[:200], y[:200]) for x, y in (whole.train, whole.valid, whole.test)), whole.class_names)


def started(path, out):
    code = RUN.format(tests=str(Path(__file__).parent), path=str(path), out=str(out))
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_a_run_killed_in_the_middle_goes_on_to_the_bit(tmp_path):
    undisturbed = started(tmp_path / "whole.safetensors", tmp_path / "whole.pt")
    killed = started(tmp_path / "cut.safetensors", tmp_path / "cut.pt")
    deadline = time.monotonic() + 120
    while not (tmp_path / "cut.safetensors").exists() and time.monotonic() < deadline:
        assert killed.poll() is None, "the run ended before it had kept anything"
        time.sleep(0.02)
    time.sleep(0.3)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL and not (tmp_path / "cut.pt").exists()
    assert started(tmp_path / "cut.safetensors", tmp_path / "cut.pt").wait() == 0 and undisturbed.wait() == 0
    whole, cut = (torch.load(tmp_path / name) for name in ("whole.pt", "cut.pt"))
    assert torch.equal(whole[0], cut[0]) and torch.equal(whole[1], cut[1]) and whole[0].shape == (3, 372)
    for one, other in zip(whole[2:], cut[2:], strict=True):
        pairs = zip(torch.utils._pytree.tree_leaves(one), torch.utils._pytree.tree_leaves(other), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_a_finished_run_is_read_not_made_again(split, tmp_path):
    options = plan(save=tmp_path / "run.safetensors")
    first = population.train(dropped, split, optimizers.adam(), {"lr": 0.01}, options, seeds=[4, 5])
    again = population.train(dropped, split, optimizers.adam(), {"lr": 0.01}, options, seeds=[4, 5])
    longer = population.train(
        dropped, split, optimizers.adam(), {"lr": 0.01}, plan(save=options.save, num_epochs=5), seeds=[4, 5]
    )
    at_once = population.train(dropped, split, optimizers.adam(), {"lr": 0.01}, plan(num_epochs=5), seeds=[4, 5])
    assert torch.equal(first.train_loss, again.train_loss) and again.finished
    assert torch.equal(longer.train_loss, at_once.train_loss) and same(
        longer.member(1), at_once.member(1), exactly=True
    )
    assert longer.valid_epochs.tolist() == [1, 2, 3, 4, 5] and not list(tmp_path.glob("*.part"))


def test_an_interruption_keeps_the_whole_epochs(split, monkeypatch):
    calls = []
    evaluate = population.running.scores_of

    def stop(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(*arguments, **options)

    monkeypatch.setattr(population.running, "scores_of", stop)
    with pytest.warns(RuntimeWarning, match="train: interrupted"):
        result = population.train(mlp, split, optimizers.sgd(), {"lr": 0.1}, plan(num_epochs=9), seeds=[0])
    monkeypatch.undo()
    short = population.train(mlp, split, optimizers.sgd(), {"lr": 0.1}, plan(num_epochs=2), seeds=[0])
    assert not result.finished and result.valid_epochs.tolist() == [1, 2]
    assert torch.equal(result.train_loss, short.train_loss) and same(result.member(0), short.member(0), exactly=True)


def test_another_start_is_another_run(split, tmp_path):
    options = plan(save=tmp_path / "run.safetensors", num_epochs=1)
    first = population.train(mlp, split, SGD, {"lr": 0.1}, options, seeds=[0])

    def wider(generator):
        net = mlp(generator)
        net[1].weight.data.mul_(2)
        return net

    with pytest.raises(ValueError, match="got another start"):
        population.train(wider, split, SGD, {"lr": 0.1}, options, seeds=[0])
    with pytest.raises(ValueError, match="got another start"):
        population.carry_on(first.state, split, options)


def test_a_run_keeps_its_backend(split, tmp_path, monkeypatch):
    options = {"save": tmp_path / "run.safetensors", "backend": "auto"}
    build = lambda g: flat(nn.Linear(64, 20), nn.GELU())  # noqa: E731 (GELU goes by vmap)
    short = population.train(build, split, SGD, {"lr": 0.1}, plan(**options, num_epochs=1), seeds=[0])
    monkeypatch.setattr(population.compiling, "WORTH_COMPILING", 1)
    longer = population.train(build, split, SGD, {"lr": 0.1}, plan(**options, num_epochs=2), seeds=[0])
    assert short.backend.startswith("eager (6 steps") and longer.backend.startswith("eager (as the plan says)")


def test_states_round_trip(split, tmp_path):
    state, _ = population.step(
        population.init(normed, optimizers.adam(), {"lr": 0.01}, seeds=[4, 5]), *split.train, plan()
    )
    population.save(tmp_path / "state.safetensors", state)
    other = population.load(
        tmp_path / "state.safetensors", population.init(normed, optimizers.adam(), {"lr": 1.0}, seeds=[0])
    )
    assert other.seeds == (4, 5) and other.step == 1 and other.settings["lr"].tolist() == [0.01, 0.01]
    ahead, again = (population.step(one, *split.train, plan(), num_steps=2)[0] for one in (state, other))
    assert all(same(population.member(ahead, i), population.member(again, i), exactly=True) for i in (0, 1))


def test_files_of_something_else_are_refused(split, tmp_path):
    path = tmp_path / "run.safetensors"
    options = plan(save=path, num_epochs=1)
    population.train(mlp, split, optimizers.sgd(), {"lr": 0.1}, options, seeds=[0])
    before = path.read_bytes()

    def train(build=mlp, optimizer=SGD, lr=0.1, seeds=(0,), **more):
        return population.train(build, split, optimizer, {"lr": lr}, plan(save=path, num_epochs=1, **more), seeds=seeds)

    for wrong, message in (
        ({"seeds": (1,)}, "another seeds"),
        ({"lr": 0.2}, "another settings"),
        ({"batch_size": 50}, "another batches"),
        ({"optimizer": optimizers.adam()}, "must hold a population under adam, got another optimizer"),
        ({"build": lambda g: flat(nn.Linear(64, 20), nn.ReLU())}, "another network|must hold the params"),
    ):
        with pytest.raises(ValueError, match=message):
            train(**wrong)
    assert path.read_bytes() == before
    like = population.init(mlp, optimizers.sgd(), {"lr": 0.1}, seeds=[0])
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text").write_text("no tensors")
    for name, message in (
        ("other.safetensors", "got something else"),
        ("text", "written by save"),
        ("none", "written by save"),
    ):
        with pytest.raises(ValueError, match=message):
            population.load(tmp_path / name, like)
