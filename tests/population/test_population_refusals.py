"""What a population refuses, in words, and what once went wrong without a word."""

import sys
from functools import partial

import pytest
import torch
from test_population import flat, mlp, plan
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss, scaled_dot_product_attention

from labsupport import counters, data, models, optimizers, population
from labsupport.population import compiling, draws, programs

SGD = optimizers.sgd()


@pytest.fixture(scope="module")
def split():
    whole = data.digits(flat=False, generator=torch.Generator().manual_seed(0)).to(torch.float64)
    return data.Split(*((x[:96], y[:96]) for x, y in (whole.train, whole.valid, whole.test)), whole.class_names)


def started(build=mlp, settings=None, seeds=(0, 1), optimizer=SGD):
    return population.init(build, optimizer, {"lr": 0.1} if settings is None else settings, seeds=seeds)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seeds": 5}, "seeds must be integers, one for each member, such as range"),
        ({"seeds": [2**63]}, "seeds must hold at least one seed, none above"),
        ({"settings": 0.1}, "settings must map names to numbers"),
        ({"build": nn.Linear(64, 10)}, "build must be a function of a generator, got Linear"),
        ({"build": lambda g: nn.LazyLinear(10)}, "build must give every layer its sizes, got a lazy layer"),
        (
            {"build": lambda g: flat(nn.Dropout(0.1 + 0.8 * torch.rand((), generator=g).item()), nn.Linear(64, 20))},
            "build must make the same layers, with the same rates, for every seed",
        ),
    ],
)
def test_members_that_cannot_be(wrong, message):
    with pytest.raises(ValueError, match=f"init: {message}"):
        started(**wrong)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (list, None, {}, "x must be a tensor with a row per example, got list"),
        (None, lambda y: y.tolist(), {}, "y must be a tensor with a row per example, got list"),
        (lambda x: x[..., :7], None, {}, r"x must fit the network, got \[32, 1, 8, 7\].*mat1 and mat2"),
        (None, lambda y: y.to("meta"), {}, "y must be on the device of x"),
        (None, lambda y: y / 0.0, {"loss": mse_loss}, "y must be finite"),
        (None, lambda y: y + 5, {}, "loss must take the outputs and y.*out of bounds"),
        (None, lambda y: y.double(), {}, "loss must take the outputs and y"),
        (None, None, {"loss": partial(cross_entropy, reduction="none")}, r"loss must return a scalar .* got \[32\]"),
        (None, None, {"loss": lambda o, y: cross_entropy(o, y)[None], "slab": 1}, r"must return a scalar .* got \[1\]"),
        (None, None, {"loss": lambda o, y: cross_entropy(o.detach(), y)}, "that depends on the parameters"),
        (None, None, {"schedule": {"rate": lambda at: 1.0}}, "schedule must name settings.*'rate'"),
        (None, None, {"schedule": {"dropout": lambda at: 1.0}}, "schedule must name settings.*'dropout'"),
        (None, None, {"schedule": {"radius": lambda at: 1.0}}, "must have a setting to multiply"),
        (None, None, {"schedule": {"lr": lambda at: None}}, r"must give a finite number or \(2,\)"),
        (None, None, {"schedule": {"lr": lambda at: -1.0}}, "none below 0"),
    ],
)
def test_steps_that_cannot_be(split, x, y, options, message):
    given = [change(value) if change else value for change, value in zip((x, y), split.train, strict=True)]
    with pytest.raises(ValueError, match=f"(step|train): .*{message}"):
        population.step(started(), *given, plan(**options))


def test_what_is_not_of_the_package_is_refused(split, tmp_path):
    state = started()
    for call, message in (
        (lambda: population.step(state, *split.train, None), "step: plan must be a Plan"),
        (lambda: population.step(None, *split.train, plan()), "step: state must be a State"),
        (lambda: population.carry_on(state, split.train, plan()), "train: data must be a data.Split"),
        (lambda: population.evaluate(state, split.train[0], split.train[1][:1], loss=mse_loss), "the rows of x"),
        (lambda: population.evaluate(state, *split.train, loss=partial(cross_entropy, reduction="none")), "a scalar"),
        (lambda: population.predict(state, split.train[0].float()), "predict: x must fit the members"),
        (lambda: state.to(torch.int64), "State.to: target must be a device or a floating dtype"),
        (lambda: population.save(tmp_path / "a", None), "save: state must be a State"),
        (lambda: population.load(3, state), "load: path must name a file"),
        (lambda: plan(save=""), "Plan: save must name a file"),
        (
            lambda: plan(loss=type("Loss", (), {"__hash__": None, "__call__": cross_entropy})()),
            "Plan: loss .* hashable",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.line, self.out = nn.Linear(8, 8), nn.Linear(64, 10)

    def forward(self, x):
        rows = self.line(x.view(-1, 8, 8))
        return self.out(scaled_dot_product_attention(rows, rows, rows, dropout_p=0.5).flatten(1))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(64, 10)

    def forward(self, x):
        y = self.line(x.flatten(1))
        return y if y.sum() > 0 else 2 * y


class Centred(nn.Module):
    """Reassigns a buffer in training and counts its calls in place."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(64, 10)
        self.register_buffer("mean", torch.zeros(64))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        x = x.flatten(1)
        self.calls += 1
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return self.line(x - self.mean)


def test_randomness_of_no_name_is_refused_and_channels_are_asked_for(split):
    for build, message in (
        (lambda g: Attention().double(), "got numbers drawn elsewhere"),
        (lambda g: flat(nn.Dropout1d(0.5), nn.Linear(64, 20)), r"must get \(n, channels, …\)"),
        (lambda g: flat(nn.Linear(64, 20), nn.Dropout(1.0)), r"must lie in \[0, 1\), got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            population.step(started(build), *split.train, plan(slab=1))


def test_networks_that_cannot_be_batched_run_one_by_one(split):
    state = population.freeze(started(lambda g: Branching().double()), [1])
    with pytest.raises(ValueError, match=r"torch.func.vmap takes \(else: slab=1\), got RuntimeError: vmap"):
        population.step(state, *split.train, plan())
    after, losses = population.step(state, *split.train, plan(slab=1))
    assert losses[1].isnan().all() and losses[0].isfinite().all() and len(after) == 2


@pytest.mark.parametrize("slab", [1, 2])
def test_buffers_that_are_reassigned_are_kept_and_measuring_moves_none(split, slab):
    state = started(lambda g: Centred().double())
    after, _ = population.step(state, *split.train, plan(slab=slab), num_steps=3)
    mean = torch.zeros(64, dtype=torch.float64)
    for rows in counters.orders([1], 0, 96)[0].split(32):
        mean = 0.9 * mean + 0.1 * split.train[0][rows].flatten(1).mean(0)
    assert torch.allclose(after.buffers["mean"][1], mean, rtol=1e-12, atol=0) and after.buffers["calls"].tolist() == [
        3,
        3,
    ]
    population.evaluate(after, *split.train, loss=cross_entropy)
    population.gradients(after, *split.train, loss=cross_entropy)
    population.predict(after[:1], split.train[0])
    assert after.buffers["calls"].tolist() == [3, 3]


def test_noise_behind_an_embedding_is_no_integer(split):
    layers = nn.Embedding(17, 1), nn.Flatten(), models.GaussianNoise(0.3), nn.Linear(64, 10)
    x = (16 * split.train[0]).long().flatten(1)
    net = nn.Sequential(*layers)
    found = draws.draws_of(net, dict(net.named_parameters()), x)
    given = draws.given(found, counters.keys([0], [0], 1)[0], {"2": torch.tensor([0.3])})
    assert len(given["2.given"].unique()) > 1000


def test_ignored_classes_and_single_outputs_are_measured_as_the_loss_does(split):
    x, y = split.train
    y = y.where(torch.arange(96) > 30, -100)
    ours, plain = (population.evaluate(started(), x, y, loss=loss) for loss in (cross_entropy, partial(cross_entropy)))
    assert torch.allclose(ours.loss, plain.loss, rtol=1e-12)
    single = started(lambda g: nn.Sequential(nn.Flatten(), nn.Linear(64, 1)).double())
    assert population.evaluate(single, *split.train, loss=lambda o, t: o.mean()).error.isnan().all()


def test_adam_counts_and_corrects_in_float32_where_weights_are_bfloat16():
    rule = optimizers.adam()
    params = {"w": torch.ones(4, dtype=torch.bfloat16), "b": torch.ones((), dtype=torch.bfloat16)}
    twin = [value.clone().requires_grad_() for value in params.values()]
    theirs, state = torch.optim.Adam(twin, lr=0.01), rule.init(params)
    for at in range(300):
        grads = {name: torch.full_like(value, 1 + at % 3) for name, value in params.items()}
        for value, grad in zip(twin, grads.values(), strict=True):
            value.grad = grad
        theirs.step()
        params, state = rule.update(grads, state, params, dict(rule.defaults) | {"lr": torch.tensor(0.01)})
    assert state["count"]["steps"] == 300 and all(value.dtype == torch.bfloat16 for value in params.values())
    assert torch.allclose(params["w"].float(), twin[0].detach().float(), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("slab", [1, 2])
def test_modes_and_gradients_of_the_caller_change_nothing(split, slab):
    expected = population.step(started(), *split.train, plan(slab=slab, batch_size=96))[1]
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            x, y = (value.clone() for value in split.train)
            assert torch.equal(population.step(started(), x, y, plan(slab=slab, batch_size=96))[1], expected)
    lr = torch.full((2,), 0.1, dtype=torch.float64, requires_grad=True)
    after, losses = population.step(
        started(settings={"lr": lr}), split.train[0].clone().requires_grad_(), split.train[1], plan(slab=slab)
    )
    assert not losses.requires_grad and not any(value.requires_grad for value in after.params.values())


def test_an_interruption_anywhere_leaves_curves_and_members_in_step(split):
    """The stop button pressed in front of every line that runs in `carry_on` and in the keeping of its curves."""
    lines, pressed, watched = [], 0, ("carry_on", "add", "store")

    def press(frame, event, argument, at):
        if frame.f_code.co_filename != population.running.__file__ or frame.f_code.co_name not in watched:
            return None
        if event == "line":
            lines.append(frame.f_lineno)
            if len(lines) == at:
                raise KeyboardInterrupt
        return partial(press, at=at)

    state = started()
    for at in range(12, 60, 2):
        lines.clear()
        sys.settrace(partial(press, at=at))
        try:
            with pytest.warns(RuntimeWarning, match="interrupted"):
                result = population.carry_on(state, split, plan())
        except (KeyboardInterrupt, pytest.fail.Exception):
            continue
        finally:
            sys.settrace(None)
        pressed += 1
        assert result.state.step == result.train_loss.shape[1] == 3 * len(result.valid_epochs)
    assert pressed > 5


def test_saves_are_checked_in_front_of_the_work(split, tmp_path):
    def train(path, **options):
        return population.carry_on(started(), split, plan(save=path, **options))

    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="train: save must be a path that can be written"):
        train(tmp_path / "file" / "run")
    train(tmp_path / "new" / "run", num_epochs=2)
    with pytest.raises(ValueError, match="must hold at most 1 epochs, got 2"):
        train(tmp_path / "new" / "run", num_epochs=1)


@pytest.mark.skipif(bool(compiling.compiler()), reason="no compiler here")
def test_a_hook_or_another_forward_gets_a_program_of_its_own(split, monkeypatch):
    state = started()
    nothing = draws.Draws((), 0)

    def made():
        net = programs.network(state.module, training=True)
        return compiling.compiled(net, SGD, programs.Objective(cross_entropy), nothing, ()).program

    first = made()
    assert made() is first
    hook = state.module[1].register_forward_hook(lambda layer, x, output: 2 * output)
    assert made() is not first
    hook.remove()
    assert made() is first
    monkeypatch.setattr(nn.Tanh, "forward", lambda self, x: x.sin())
    assert made() is not first


class Uncompiled(nn.Linear):
    def forward(self, x):
        torch._dynamo.graph_break()
        return super().forward(x)


@pytest.mark.skipif(bool(compiling.compiler()), reason="no compiler here")
def test_what_cannot_be_compiled_runs_eagerly_with_one_warning(split, monkeypatch, recwarn):
    monkeypatch.setattr(compiling, "WORTH_COMPILING", 1)
    layers = nn.Flatten(), Uncompiled(64, 10)
    state = started(lambda g: nn.Sequential(*layers).double())
    results = [population.carry_on(state, split, plan(backend=backend)) for backend in ("auto", "auto", "eager")]
    assert [str(warned.message).partition(" (")[0] for warned in recwarn] == [
        "train: torch.compile refuses the step, so it runs eagerly"
    ]
    assert all(torch.equal(result.train_loss, results[2].train_loss) for result in results[:2])
    assert results[0].backend == results[1].backend and "torch.compile refuses" in results[0].backend
    assert "slabs of 2" in results[0].backend
    with pytest.raises(ValueError, match=r"such as torch\.compile takes whole"):
        population.carry_on(state, split, plan(backend="compiled"))
