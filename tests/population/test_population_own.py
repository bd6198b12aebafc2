"""What members may have of their own: rows, targets, losses, penalties, rates, weights; against twins trained alone."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_population import COMPILED, convolved, dropped, mlp, near, normed, plan, same
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, mse_loss, softmax

from labsupport import counters, data, optimizers, population

SEEDS = (3, 11, 4)
RULES = {
    "momentum": (optimizers.momentum(), lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9)),
    "adam": (optimizers.adam(), lambda p, lr: torch.optim.Adam(p, lr=lr)),
}
RATES = torch.tensor([0.01, 0.02, 0.03], dtype=torch.float64)


@pytest.fixture(scope="module")
def pool():
    return data.digits(flat=False, generator=torch.Generator().manual_seed(0)).to(torch.float64)


@pytest.fixture(scope="module")
def own(pool):
    return data.partitions(pool, num_train=100, num_valid=60, num_test=50, seeds=(4, 3, 8, 11))


def twin(build, split, make, seed, lr, *, loss=cross_entropy, penalty=None, num_epochs=2, batch_size=32):
    """One network alone on its own split: loss curve, validation losses and the module."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build(torch.Generator().manual_seed(seed))
    optimizer, curve, valid = make(net.parameters(), lr), [], []
    for epoch in range(num_epochs):
        net.train()
        order = counters.orders([seed], epoch, len(split.train[0]))[0]
        for rows in order[: len(order) // batch_size * batch_size].split(batch_size):
            optimizer.zero_grad()
            value = loss(net(split.train[0][rows]), split.train[1][rows])
            value = value if penalty is None else value + penalty(dict(net.named_parameters()))
            value.backward()
            optimizer.step()
            curve.append(value.item())
        net.eval()
        with torch.no_grad():
            valid.append(loss(net(split.valid[0]), split.valid[1]).item())
    return net, torch.tensor(curve, dtype=torch.float64), torch.tensor(valid, dtype=torch.float64)


def equal(result, i, found):
    """Whether member i is what was found alone: curves, parameters and running statistics."""
    net, curve, valid = found
    pairs = zip(result.member(i).state_dict().values(), net.state_dict().values(), strict=True)
    whole = all(near(a, b) for a, b in pairs if a.is_floating_point())
    return whole and near(result.train_loss[i], curve) and near(result.valid_loss[i], valid)


COMPILED_TOO = pytest.param("adam", "compiled", marks=COMPILED.marks)


@pytest.mark.parametrize("build", [mlp, convolved], ids=["mlp", "conv net"])
@pytest.mark.parametrize(("rule", "backend"), [("momentum", "eager"), ("adam", "eager"), COMPILED_TOO])
def test_members_with_samples_of_their_own_equal_their_twins(own, build, rule, backend):
    optimizer, make = RULES[rule]
    options = plan(num_epochs=2, backend=backend, slab=3)
    result = population.train(build, own, optimizer, {"lr": RATES}, options, seeds=SEEDS)
    for i, seed in enumerate(SEEDS):
        assert equal(result, i, twin(build, own.split(seed), make, seed, RATES[i].item()))


def test_a_member_finds_its_sample_in_any_company(own):
    optimizer, settings = optimizers.adam(), {"lr": 0.01}
    whole = population.train(dropped, own, optimizer, settings, plan(num_epochs=2), seeds=SEEDS)
    other = population.train(dropped, own, optimizer, settings, plan(num_epochs=2, slab=2), seeds=[8, 4, 4, 3, 11])
    for here, there in ((0, 3), (1, 4), (2, 1), (2, 2)):
        assert near(whole.train_loss[here], other.train_loss[there]) and same(whole.member(here), other.member(there))
    state = population.init(dropped, optimizer, settings, seeds=SEEDS)
    ahead, _ = population.step(state[[2, 0]], *own.pool, plan(), num_steps=6, rows=own.train)
    assert same(population.member(ahead, 0), whole.member(2)) and same(population.member(ahead, 1), whole.member(0))
    scores = population.evaluate(whole.state[[2, 0]], *own.pool, loss=cross_entropy, rows=own.test)
    for place, seed in ((0, 4), (1, 3)):
        x, y = own.split(seed).test
        said = population.member(whole.state[[2, 0]], place).eval()(x)
        assert scores.loss[place].item() == pytest.approx(cross_entropy(said, y).item(), rel=1e-12)
        assert scores.error[place].item() == pytest.approx((said.argmax(1) != y).double().mean().item())


def test_rows_by_place(own):
    state = population.init(mlp, optimizers.sgd(), {"lr": 0.1}, seeds=[3, 3, 4])
    rows = torch.stack([own.test.index[0], own.test.index[1], own.test.index[2]])
    scores = population.evaluate(state, *own.pool, loss=cross_entropy, rows=rows)
    x, y = own.pool
    for i in range(3):
        said = population.member(state, i)(x[rows[i]])
        assert scores.loss[i].item() == pytest.approx(cross_entropy(said, y[rows[i]]).item(), rel=1e-12)


def test_members_with_disjoint_rows_see_only_theirs(pool):
    x, y = pool.train
    index = torch.arange(200).view(2, 100)
    rows = data.Rows(index, (0, 1))
    parts = data.Partitions((x, y), rows, data.Rows(index[:, :40], (0, 1)), data.Rows(index[:, 40:60], (0, 1)))
    clean = population.train(mlp, parts, optimizers.sgd(), {"lr": 0.1}, plan(num_epochs=1), seeds=[0, 1])
    spoiled = x.clone()
    spoiled[:100] = 7.0  # a leak would carry it to member 1
    other = data.Partitions((spoiled, y), parts.train, parts.valid, parts.test)
    dirty = population.train(mlp, other, optimizers.sgd(), {"lr": 0.1}, plan(num_epochs=1), seeds=[0, 1])
    assert torch.equal(clean.train_loss[1], dirty.train_loss[1]) and same(
        clean.member(1), dirty.member(1), exactly=True
    )
    assert torch.equal(clean.valid_loss[1], dirty.valid_loss[1])
    assert not torch.equal(clean.train_loss[0], dirty.train_loss[0])


def test_students_with_a_teacher_each_equal_their_twins(own):
    teachers = population.init(mlp, optimizers.sgd(), {"lr": 0.1}, seeds=[seed + 100 for seed in own.seeds])
    taught = own.with_targets(population.predict(teachers, own.pool[0]))
    result = population.train(
        mlp, taught, optimizers.momentum(), {"lr": RATES}, plan(num_epochs=2, loss=mse_loss), seeds=SEEDS
    )
    for i, seed in enumerate(SEEDS):
        split = taught.split(seed)
        assert not torch.equal(split.train[1], taught.split(8).train[1])
        assert equal(result, i, twin(mlp, split, RULES["momentum"][1], seed, RATES[i].item(), loss=mse_loss))


def distilled(output, target, *, temperature):
    """A loss with a setting: cross-entropy against the output of a warmer self."""
    warm = kl_div(log_softmax(output / temperature, 1), softmax(-output, 1), reduction="batchmean")
    return cross_entropy(output, target) + 0.1 * temperature**2 * warm


def towards(params, settings):
    """A penalty with two settings: L2, and a pull of the first weights."""
    return (
        settings["strength"] * sum(v.square().sum() for v in params.values())
        + settings["penalty.pull"] * params[next(iter(params))].abs().mean()
    )


@pytest.mark.parametrize(("rule", "backend"), [("momentum", "eager"), ("adam", "eager"), COMPILED_TOO])
def test_losses_and_penalties_with_settings_of_their_own_equal_twins(own, rule, backend):
    optimizer, make = RULES[rule]
    settings = {
        "lr": RATES,
        "loss.temperature": torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64),
        "penalty.strength": torch.tensor([0.0, 1e-3, 1e-2], dtype=torch.float64),
        "penalty.pull": 0.05,
    }
    options = plan(num_epochs=2, loss=distilled, penalty=towards, backend=backend, slab=3)
    result = population.train(convolved, own, optimizer, settings, options, seeds=SEEDS)
    for i, seed in enumerate(SEEDS):
        told = {"strength": settings["penalty.strength"][i].item(), "penalty.pull": 0.05}
        warm = settings["loss.temperature"][i].item()
        found = twin(
            convolved, own.split(seed), make, seed, RATES[i].item(),
            loss=lambda o, t, warm=warm: distilled(o, t, temperature=warm),
            penalty=lambda params, told=told: towards(params, told),
        )  # fmt: skip
        assert equal(result, i, found)


def test_a_scheduled_temperature_and_tensors_as_settings(own):
    split = own.split(3)
    start = torch.randn(2, 20, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    settings = {"lr": 0.1, "loss.temperature": 2.0, "penalty.start": start}
    options = plan(
        num_epochs=1, loss=distilled, schedule={"loss.temperature": lambda at: 1.0 if at else 0.5},
        penalty=lambda params, settings: 0.01 * (params["1.weight"] - settings["start"]).square().sum(),
    )  # fmt: skip
    result = population.train(mlp, split, optimizers.sgd(), settings, options, seeds=[3, 3])
    net = population.member(population.init(mlp, optimizers.sgd(), {"lr": 0.1}, seeds=[3]), 0)
    order = counters.orders([3], 0, 100)[0][:96].view(3, 32)
    for at, rows in enumerate(order):
        value = distilled(net(split.train[0][rows]), split.train[1][rows], temperature=2.0 if at else 1.0)
        value = value + 0.01 * (net[1].weight - start[1]).square().sum()
        grads = torch.autograd.grad(value, list(net.parameters()))
        with torch.no_grad():
            for p, g in zip(net.parameters(), grads, strict=True):
                p -= 0.1 * g
        assert value.item() == pytest.approx(result.train_loss[1, at].item(), rel=1e-12)
    assert not torch.equal(result.train_loss[0], result.train_loss[1])


@pytest.mark.parametrize("build", [mlp, normed], ids=["mlp", "batch norm"])
@pytest.mark.parametrize("rule", RULES)
def test_layers_with_rates_of_their_own_equal_parameter_groups(own, build, rule):
    optimizer, make = RULES[rule]
    last = str(len(build(torch.Generator())) - 1)
    settings = {"lr": 0.01, f"rate.{last}": torch.tensor([0.5, 0.0, 3.0], dtype=torch.float64)}
    rule = optimizers.by_layer(optimizer, layers=[last])
    result = population.train(build, own, rule, settings, plan(num_epochs=2), seeds=SEEDS)
    assert ("written" in result.backend) == (build is mlp)
    for i, rate in enumerate((0.5, 0.0, 3.0)):

        def grouped(params, lr, rate=rate):
            params = list(params)
            return make([{"params": params[:-2]}, {"params": params[-2:], "lr": lr * rate}], lr)

        assert equal(result, i, twin(build, own.split(SEEDS[i]), grouped, SEEDS[i], 0.01))
    first = population.init(build, rule, settings, seeds=SEEDS)
    assert torch.equal(result.state.params[f"{last}.weight"][1], first.params[f"{last}.weight"][1])


RUN = """
import sys, torch
sys.path.insert(0, {tests!r})
from test_population_own import convolved, distilled, towards
from labsupport import data, optimizers, population
pool = data.digits(flat=False, generator=torch.Generator().manual_seed(0)).to(torch.float64)
own = data.partitions(pool, num_train=400, num_valid=200, num_test=50, seeds=(4, 3, 8, 11))
plan = population.Plan(12, 32, slab=2, loss=distilled, penalty=towards, save={path!r}, progress=False)
settings = {{"lr": 0.01, "loss.temperature": 2.0, "penalty.strength": 0.001, "penalty.pull": 0.1, "rate.9": 0.5}}
rule = optimizers.by_layer(optimizers.adam(), layers=["9"])
result = population.train(convolved, own, rule, settings, plan, seeds=[4, 8, 3])
torch.save([result.train_loss, result.valid_error, result.state.params, result.state.slots], {out!r})
"""


def started(path, out):
    code = RUN.format(tests=str(Path(__file__).parent), path=str(path), out=str(out))
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_all_of_it_resumes_to_the_bit_after_a_kill(tmp_path):
    path, out = tmp_path / "run.safetensors", tmp_path / "whole.pt"
    assert started(path, out).wait() == 0
    whole = torch.load(out)
    path.unlink()
    killed = started(path, tmp_path / "cut.pt")
    while not path.exists() and killed.poll() is None:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL and not (tmp_path / "cut.pt").exists()
    assert started(path, tmp_path / "cut.pt").wait() == 0
    pairs = zip(
        *(torch.utils._pytree.tree_leaves(one) for one in (whole, torch.load(tmp_path / "cut.pt"))), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)


def test_files_of_other_samples_and_targets_are_refused(own, tmp_path):
    def train(parts, **options):
        return population.train(
            mlp, parts, optimizers.sgd(), {"lr": 0.1}, plan(num_epochs=1, save=tmp_path / "a", **options), seeds=[3]
        )

    train(own)
    other = data.partitions((own.pool[0], own.pool[1]), num_train=100, num_valid=60, num_test=51, seeds=(4, 3, 8, 11))
    targets = torch.zeros(4, len(own.pool[0]), dtype=torch.int64)
    changed = data.Partitions(own.pool, own.valid, own.train, own.test)
    for parts in (changed, own.with_targets(targets)):
        with pytest.raises(ValueError, match="got another data"):
            train(parts)
    with pytest.raises(ValueError, match="got another penalty"):
        train(own, penalty=lambda params, settings: sum(v.square().sum() for v in params.values()))
    assert train(other).finished  # another test part: the same run


def test_no_validation_at_all(own):
    result = population.train(mlp, own, optimizers.sgd(), {"lr": 0.1}, plan(valid_every=0), seeds=[3, 4])
    assert result.valid_loss.shape == result.valid_error.shape == (2, 0) and not len(result.valid_epochs)
    assert result.train_loss.shape == (2, 9) and result.finished


def test_members_begin_with_given_weights(own):
    trained = population.train(normed, own, optimizers.adam(), {"lr": 0.01}, plan(num_epochs=1), seeds=SEEDS).state
    again = population.start(
        trained.module, trained.params | trained.buffers, optimizers.adam(), {"lr": 0.01}, seeds=SEEDS
    )
    assert again.step == 0 and same(population.member(again, 1), population.member(trained, 1), exactly=True)
    plain = population.start(trained.module, trained.params, optimizers.sgd(), {"lr": 0.1}, seeds=SEEDS)
    assert plain.buffers["2.running_mean"].shape == (3, 20) and not plain.buffers["2.running_mean"].any()
    before = {k: v.clone() for k, v in trained.params.items()}
    after, _ = population.step(again, *own.pool, plan(), rows=own.train)
    assert all(torch.equal(before[k], v) for k, v in trained.params.items()) and after.step == 1
    exchanged = population.exchange(again, slots=trained.slots)
    on = population.step(exchanged, *own.pool, plan(), rows=own.train)[0]
    assert on.slots["count"]["steps"].tolist() == [4.0, 4.0, 4.0]


def test_a_network_grows_between_two_steps(own):
    """A hidden unit of zeros changes nothing the network says, and the optimizer's state goes with it."""

    def build(width):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10)).double()

    state = population.init(lambda g: build(6), optimizers.momentum(), {"lr": 0.1}, seeds=SEEDS)
    state, _ = population.step(state, *own.pool, plan(), num_steps=3, rows=own.train)

    def padded(values):
        sizes = {"1.weight": (0, 0, 0, 1), "1.bias": (0, 1), "3.weight": (0, 1), "3.bias": (0, 0)}
        return {name: nn.functional.pad(value, sizes[name]) for name, value in values.items()}

    slots = {slot: padded(each) for slot, each in state.slots.items()}
    wider = population.exchange(state, module=build(7), params=padded(state.params), slots=slots)
    said = population.predict(wider, own.pool[0])
    assert near(said, population.predict(state, own.pool[0])) and wider.step == 3
    one, _ = population.step(state, *own.pool, plan(), rows=own.train)
    other, _ = population.step(wider, *own.pool, plan(), rows=own.train)
    assert near(other.params["1.weight"][:, :6], one.params["1.weight"])
    with pytest.raises(ValueError, match=r"exchange: velocity 1.weight must be \(3, 7, 64\)"):
        population.exchange(state, module=build(7), params=padded(state.params))


class Masked(nn.Module):
    """A linear layer with a mask as a buffer."""

    def __init__(self, mask):
        super().__init__()
        self.line = nn.Linear(64, 10).double()
        self.register_buffer("mask", mask)

    def forward(self, x):
        return nn.functional.linear(x.flatten(1), torch.where(self.mask, self.line.weight, 0.0), self.line.bias)


def test_masks_as_buffers_are_each_members_own(own):
    def build(generator):
        return Masked(torch.rand(10, 64, generator=generator) > 0.5)

    state = population.init(build, optimizers.sgd(), {"lr": 0.1}, seeds=SEEDS)
    after, losses = population.step(state, *own.pool, plan(), num_steps=2, rows=own.train)
    for i, seed in enumerate(SEEDS):
        net, order = population.member(state, i), counters.orders([seed], 0, 100)[0]
        x, y = own.split(seed).train
        assert losses[i, 0].item() == pytest.approx(cross_entropy(net(x[order[:32]]), y[order[:32]]).item(), rel=1e-12)
        still = after.params["line.weight"][i][~net.mask]
        assert torch.equal(still, state.params["line.weight"][i][~net.mask])


def test_states_results_and_plans_are_pickled(own):
    rule = optimizers.by_layer(optimizers.averaged(optimizers.momentum()), layers=["5"])
    result = population.train(mlp, own, rule, {"lr": 0.1}, plan(num_epochs=1), seeds=SEEDS)
    other = pickle.loads(pickle.dumps(result))
    assert other.state.optimizer is rule and same(other.member(1), result.member(1), exactly=True)
    ahead, again = (population.step(one.state, *own.pool, plan(), rows=own.train)[0] for one in (result, other))
    assert same(population.member(ahead, 2), population.member(again, 2), exactly=True)
    assert pickle.loads(pickle.dumps(plan(penalty=towards))).penalty is towards
    assert copy.deepcopy(result.state).optimizer is rule


REFUSED = {
    r"partitions: num_train \+ num_valid \+ num_test must be <= 1797": lambda own: data.partitions(
        own.pool, num_train=1700, num_valid=90, num_test=8, seeds=[0]
    ),
    "partitions: num_valid must be an integer >= 1, got 0": lambda own: data.partitions(
        own.pool, num_train=5, num_valid=0, num_test=1, seeds=[0]
    ),
    "partitions: seeds must be different integers": lambda own: data.partitions(
        own.pool, num_train=5, num_valid=1, num_test=1, seeds=[1, 1]
    ),
    r"Rows: index must be int64 of shape \(2, n\)": lambda own: data.Rows(torch.zeros(3, 4, dtype=torch.int64), (0, 1)),
    r"Partitions: train must name rows of the pool, 0 … 9": lambda own: data.Partitions(
        (own.pool[0][:10], own.pool[1][:10]), own.train, own.valid, own.test
    ),
    r"Partitions: train: targets must be one for each row of the pool": lambda own: own.with_targets(torch.zeros(4, 5)),
    r"train: rows must be there for every member's seed, got none for \[7\]": lambda own: population.train(
        mlp, own, optimizers.sgd(), {"lr": 0.1}, plan(), seeds=[3, 7]
    ),
    "step: rows must be data.Rows": lambda own: population.step(
        population.init(mlp, optimizers.sgd(), {"lr": 0.1}, seeds=[3]), *own.pool, plan(), rows=own.train.index[:1]
    ),
    r"evaluate: rows must be int64 of shape \(1, n\)": lambda own: population.evaluate(
        population.init(mlp, optimizers.sgd(), {"lr": 0.1}, seeds=[3]),
        *own.pool,
        loss=cross_entropy,
        rows=own.train.index,
    ),
    r"evaluate: rows: targets must be one for each row of the pool, \(4, 1797, …\)": lambda own: population.evaluate(
        population.init(mlp, optimizers.sgd(), {"lr": 0.1}, seeds=[3]),
        *own.pool,
        loss=cross_entropy,
        rows=data.Rows(own.test.index, own.seeds, torch.zeros(4, 90, dtype=torch.int64)),
    ),
    r"step: rows must name rows of the pool, 0 … 49": lambda own: population.step(
        population.init(mlp, optimizers.sgd(), {"lr": 0.1}, seeds=[3]),
        own.pool[0][:50],
        own.pool[1][:50],
        plan(),
        rows=own.train,
    ),
    "gradients: y must have the rows of x": lambda own: population.gradients(
        population.init(mlp, optimizers.sgd(), {"lr": 0.1}, seeds=[3]), own.pool[0], own.pool[1][:5], loss=cross_entropy
    ),
    "train: settings must hold 'loss.temperature', which the loss needs": lambda own: population.train(
        mlp, own, optimizers.sgd(), {"lr": 0.1}, plan(loss=distilled), seeds=[3]
    ),
    r"train: settings must be such as the loss takes \(temperature\), got 'loss.warmth'": lambda own: population.train(
        mlp,
        own,
        optimizers.sgd(),
        {"lr": 0.1, "loss.temperature": 1, "loss.warmth": 1},
        plan(loss=distilled),
        seeds=[3],
    ),
    "train: penalty must take params and settings": lambda own: population.train(
        mlp, own, optimizers.sgd(), {"lr": 0.1}, plan(penalty=towards), seeds=[3]
    ),
    "train: penalty must return a scalar that depends on the parameters": lambda own: population.train(
        mlp, own, optimizers.sgd(), {"lr": 0.1}, plan(penalty=lambda params, settings: 0.0), seeds=[3]
    ),
    "Plan: penalty must be a hashable function": lambda own: plan(penalty=3),
    "Plan: valid_every must be an integer >= 0": lambda own: plan(valid_every=-1),
    r"train: schedule\['loss.temperature'\] must have a setting to multiply": lambda own: population.train(
        mlp, own, optimizers.sgd(), {"lr": 0.1}, plan(schedule={"loss.temperature": lambda at: 1.0}), seeds=[3]
    ),
    r"init: settings\['loss.temperature'\] must be finite, one number or \(2, …\)": lambda own: population.init(
        mlp, optimizers.sgd(), {"lr": 0.1, "loss.temperature": torch.ones(3)}, seeds=[0, 1]
    ),
    "start: params must name every trained parameter of the module and no other, got none for 1.bias": lambda own: (
        population.start(
            nn.Sequential(nn.Flatten(), nn.Linear(2, 2)),
            {"1.weight": torch.zeros(1, 2, 2)},
            optimizers.sgd(),
            {"lr": 0.1},
            seeds=[0],
        )
    ),
    r"start: weight must be \(1, 2, 2\) torch.float32": lambda own: population.start(
        nn.Linear(2, 2, bias=False), {"weight": torch.zeros(1, 2, 3)}, optimizers.sgd(), {"lr": 0.1}, seeds=[0]
    ),
    "exchange: params must be among weight, bias, got other": lambda own: population.exchange(
        population.init(lambda g: nn.Linear(2, 2), optimizers.sgd(), {"lr": 0.1}, seeds=[0]),
        params={"other": torch.zeros(1)},
    ),
    "exchange: slots must be the optimizer's": lambda own: population.exchange(
        population.init(lambda g: nn.Linear(2, 2), optimizers.sgd(), {"lr": 0.1}, seeds=[0]), slots={"velocity": {}}
    ),
    "train: y must hold classes in 0 … 9, or -100 to be ignored, got 12": lambda own: population.train(
        mlp,
        data.Split(*[(own.pool[0][:99], torch.arange(99) // 90 * 12)] * 3),
        optimizers.sgd(),
        {"lr": 0.1},
        plan(),
        seeds=[0],
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused_in_words(own, message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message](own)


@pytest.mark.gpu
def test_samples_of_their_own_on_an_accelerator(own):
    there = population.train(mlp, own.to("cuda"), optimizers.adam(), {"lr": RATES}, plan(), seeds=SEEDS)
    here = population.train(mlp, own, optimizers.adam(), {"lr": RATES}, plan(), seeds=SEEDS)
    assert (there.train_loss - here.train_loss).abs().max() < 1e-9
