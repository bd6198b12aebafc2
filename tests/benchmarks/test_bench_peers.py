"""benchmarks/peers.py and torch_population.py: a peer is found or named missing, asked in turn, and does our job."""

import os
import sys

import pytest
import torch

from benchmarks import peers, population, torch_population
from labsupport import data, models

STAND_IN = """
import json, sys
job = json.loads(sys.argv[1])
print("ready 1.2", flush=True)
for at, line in enumerate(sys.stdin):
    if at == job["stops"]:
        sys.exit(3)
    print(at + 0.5, job["error"], flush=True)
"""


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    path = tmp_path / "stand_in.py"
    path.write_text(STAND_IN, encoding="utf-8")
    monkeypatch.setattr(peers, "SCRIPT", path)


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """What would have been run to make an environment in a folder of the test's own."""
    asked = []
    folder = tmp_path / ".peers" / "jax"
    folder.mkdir(parents=True)
    monkeypatch.delenv("JAX_PYTHON", raising=False)
    monkeypatch.setenv("PIP_ARGS", "--index-url 'a b'")
    monkeypatch.setattr(peers, "FOLDER", folder)
    monkeypatch.setattr(peers, "_must", lambda *command: asked.append(command))
    return asked


def test_the_peer_answers_with_its_own_seconds(stand_in):
    with peers.jax(sys.executable, {"stops": 2, "error": 0.1}) as (name, run):
        assert name == "JAX 1.2"
        assert [run(), run()] == [0.5, 1.5]
        with pytest.raises(RuntimeError, match="exit status 3"):
            run()


@pytest.mark.parametrize("error", [0.4, float("nan")])
def test_a_peer_that_does_not_learn_is_refused(stand_in, error):
    refused = pytest.raises(RuntimeError, match=r"its validation error must be <= 0\.3")
    with peers.jax(sys.executable, {"stops": -1, "error": error}) as (_, run), refused:
        run()


def test_the_environment_is_made_once_from_the_pins(commands, capsys):
    python = peers.jax_python()
    make, install, look = commands
    assert make[1:4] == ("-m", "venv", "--clear")
    assert install[0] == look[0] == python
    assert {"jax==0.10.2", "optax==0.2.8"} < set(install)
    assert {name.split("==")[0] for name in install} >= {"numpy", "scikit-learn"}
    assert install[-2:] == ("--index-url", "a b")
    assert len(capsys.readouterr().err.splitlines()) == 1
    commands.clear()
    assert peers.jax_python() == python
    assert commands == [look]


def test_an_environment_half_made_is_made_again(commands, monkeypatch):
    def fail(*command):
        commands.append(command)
        if "pip" in command:
            raise peers.Missing("no network")

    with monkeypatch.context() as patch:
        patch.setattr(peers, "_must", fail)
        with pytest.raises(peers.Missing, match="no network"):
            peers.jax_python()
    commands.clear()
    peers.jax_python()
    assert len(commands) == 3


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ("/nowhere/python", "/nowhere/python cannot be run"),
        (sys.executable, "No module named 'jax'"),
    ],
)
def test_an_interpreter_without_jax_is_named(monkeypatch, python, reason):
    monkeypatch.setenv("JAX_PYTHON", python)
    with pytest.raises(peers.Missing, match=reason):
        peers.jax_python()


def test_pips_first_error_is_the_reason():
    code = "import sys; sys.exit('ERROR: no such version\\nERROR: nothing found\\nnotice: a newer pip')"
    with pytest.raises(peers.Missing, match=r"^ERROR: no such version$"):
        peers._must(sys.executable, "-c", code)


def test_without_jax_its_rows_miss_their_bars(monkeypatch, capsys):
    monkeypatch.setenv("JAX_PYTHON", "/nowhere/python")
    rows = list(population.beside_jax(None, None))
    names = ("momentum, warm", "adam, warm", "first call")
    assert [row.what for row in rows] == [f"64 members, {name}" for name in names]
    assert [row.bar for row in rows] == [1 / 1.15, 1 / 1.8, 2]
    assert not any(row.met for row in rows)
    assert "cannot be run" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system keeps nobody on a core")
def test_one_core_is_kept_and_given_back():
    before = os.sched_getaffinity(0)
    with peers.one_core():
        assert os.sched_getaffinity(0) == {max(before)}
    assert os.sched_getaffinity(0) == before


def test_the_loops_of_torch_do_the_same_job():
    split = data.digits(num_train=200, num_valid=50, generator=torch.Generator().manual_seed(0)).to(torch.float64)
    job = torch_population.Job(3, num_epochs=2)

    def build(generator):
        return models.mlp((64, 8, 10), generator=generator).double()

    alone, together = (make(build, split, job)() for make in (torch_population.tight, torch_population.functional))
    assert alone.shape == together.shape == (3, 2, 2)
    assert len(set(alone[:, 1, 0].tolist())) == 3
    torch.testing.assert_close(together.double(), alone.double(), rtol=1e-6, atol=0)
    loaded = torch_population.loader(build, split, job)()
    assert loaded.shape == alone.shape and (loaded[:, 1, 0] < loaded[:, 0, 0]).all()


def test_each_member_of_a_loop_has_its_order():
    job = torch_population.Job(3)
    orders = [torch.cat(torch_population._order(100, job, own)) for own in torch_population._generators(job)]
    assert all(len(set(order.tolist())) == len(order) == 96 for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 3


def test_scores_are_mean_loss_and_share_of_errors():
    said = torch.tensor([[[0.0, 3.0], [0.0, 1.0]], [[0.0, 0.0], [5.0, 0.0]]]).log_softmax(2)
    y = torch.tensor([1, 0])
    scores = torch_population._scores(said, y)
    torch.testing.assert_close(scores[:, 0], -(said[:, 0, 1] + said[:, 1, 0]) / 2)
    assert scores[:, 1].tolist() == [0.5, 0.5]
    assert torch_population._scores(said[:1], y[:1].expand(2))[:, 1].tolist() == [0.0]


def test_functional_knows_momentum_only():
    job = torch_population.Job(2, rule="adam")
    with pytest.raises(ValueError, match=r"functional: rule must be 'momentum', got 'adam'"):
        torch_population.functional(None, None, job)
