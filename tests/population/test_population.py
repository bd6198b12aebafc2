"""Every member of a population is what it would be alone: twins trained one after another with torch's own tools."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labsupport import counters, data, models, optimizers, population
from labsupport.population import compiling, slabs

SEEDS = (3, 11, 4)
RATES = {
    "lr": torch.tensor([0.1, 0.03, 0.2], dtype=torch.float64),
    "weight_decay": torch.tensor([0.0, 1e-3, 1e-2], dtype=torch.float64),
}
OPTIMIZERS = {
    "sgd": (optimizers.sgd(), {}, lambda p, lr, decay: torch.optim.SGD(p, lr=lr, weight_decay=decay)),
    "momentum": (
        optimizers.momentum(),
        {"momentum": 0.8},
        lambda p, lr, decay: torch.optim.SGD(p, lr=lr, weight_decay=decay, momentum=0.8),
    ),
    "nesterov": (
        optimizers.nesterov(),
        {"momentum": 0.8},
        lambda p, lr, decay: torch.optim.SGD(p, lr=lr, weight_decay=decay, momentum=0.8, nesterov=True),
    ),
    "adam": (optimizers.adam(), {}, lambda p, lr, decay: torch.optim.Adam(p, lr=lr / 10, weight_decay=decay)),
}


@pytest.fixture(scope="module")
def split():
    whole = data.digits(flat=False, generator=torch.Generator().manual_seed(0)).to(torch.float64)
    return data.Split(*((x[:200], y[:200]) for x, y in (whole.train, whole.valid, whole.test)), whole.class_names)


def flat(*hidden):
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(20, 10)).double()


def mlp(generator):
    return flat(nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 20), nn.ReLU())


def normed(generator):
    return flat(nn.Linear(64, 20, bias=False), nn.BatchNorm1d(20), nn.ReLU())


def dropped(generator):
    return flat(nn.Dropout(0.1), nn.Linear(64, 20), nn.ReLU(), nn.Dropout(0.3))


def convolved(generator):
    return models.convnet((1, 8, 8), 10, channels=(4, 6), norm="batch", generator=generator).double()


BUILDS = {"mlp": mlp, "batch norm": normed, "two dropouts": dropped, "conv net": convolved}


class Masked(nn.Module):
    """Dropout with the masks of the population's counters, for the twin."""

    def __init__(self, seed, layer, rate):
        super().__init__()
        self.seed, self.layer, self.rate, self.step = seed, layer, rate, 0

    def forward(self, x):
        if not self.training:
            return x
        key = counters.keys([self.seed], [self.step], self.layer + 1)[0, :, self.layer]
        self.step += 1
        return x * counters.mask(key, torch.tensor([self.rate], dtype=x.dtype), tuple(x.shape))[0]


def twin(build, split, make, *, seed, lr, decay, rates=None, num_epochs=3, batch_size=32):
    """One network alone: its curves and the module."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build(torch.Generator().manual_seed(seed))
    found = [path for path, layer in net.named_modules() if isinstance(layer, nn.Dropout)]
    for place, path in enumerate(found):
        rate = net.get_submodule(path).p if rates is None else rates
        net.set_submodule(path, Masked(seed, place, rate))
    optimizer, curve, valid = make(net.parameters(), lr, decay), [], []
    for epoch in range(num_epochs):
        net.train()
        order = counters.orders([seed], epoch, len(split.train[0]))[0]
        for rows in order[: len(order) // batch_size * batch_size].split(batch_size):
            optimizer.zero_grad()
            loss = cross_entropy(net(split.train[0][rows]), split.train[1][rows])
            loss.backward()
            optimizer.step()
            curve.append(loss.item())
        net.eval()
        with torch.no_grad():
            valid.append(cross_entropy(net(split.valid[0]), split.valid[1]).item())
    return net, torch.tensor(curve, dtype=torch.float64), torch.tensor(valid, dtype=torch.float64)


def plan(**options):
    return population.Plan(**{"num_epochs": 3, "batch_size": 32, "progress": False, "backend": "eager"} | options)


def near(a, b):
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-300)) <= 1e-12


def same(one, other, *, exactly=False):
    """Whether two modules hold the same parameters and buffers."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) if exactly or not a.is_floating_point() else near(a, b) for a, b in pairs)


def matching(rule):
    """The settings a rule is tested with: those of RATES, Adam's learning rate a tenth."""
    _, more, _ = OPTIMIZERS[rule]
    return RATES | more | ({"lr": RATES["lr"] / 10} if rule == "adam" else {})


COMPILED = pytest.param("compiled", marks=pytest.mark.skipif(bool(compiling.compiler()), reason="no compiler here"))


@pytest.mark.parametrize("kind", BUILDS)
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_every_member_equals_its_sequential_twin(split, kind, rule):
    optimizer, _, make = OPTIMIZERS[rule]
    result = population.train(BUILDS[kind], split, optimizer, matching(rule), plan(slab=3), seeds=SEEDS)
    for i, seed in enumerate(SEEDS):
        lr, decay = RATES["lr"][i].item(), RATES["weight_decay"][i].item()
        net, curve, valid = twin(BUILDS[kind], split, make, seed=seed, lr=lr, decay=decay)
        assert near(result.train_loss[i], curve) and near(result.valid_loss[i], valid)
        ours = result.member(i).state_dict()
        assert all(near(ours[name], value) for name, value in net.state_dict().items() if value.is_floating_point())


def test_a_bias_in_front_of_batch_norm_walks_at_random_under_adam(split):
    def biased(generator):
        return flat(nn.Linear(64, 20), nn.BatchNorm1d(20), nn.ReLU())

    result = population.train(biased, split, optimizers.adam(), matching("adam"), plan(slab=3), seeds=SEEDS)
    net, curve, _ = twin(biased, split, OPTIMIZERS["adam"][2], seed=SEEDS[0], lr=RATES["lr"][0].item(), decay=0.0)
    ours, theirs = result.member(0).state_dict(), net.state_dict()
    apart = (ours["1.bias"] - theirs["1.bias"]).abs().max() / theirs["1.bias"].abs().max()
    assert 1e-12 < apart < 1e-5 and near(ours["1.weight"], theirs["1.weight"]) and near(result.train_loss[0], curve)


@pytest.mark.skipif(bool(compiling.compiler()), reason="no compiler here")
@pytest.mark.parametrize(("kind", "rule"), [("two dropouts", "adam"), ("conv net", "momentum")])
def test_compiled_members_equal_their_twins(split, kind, rule):
    optimizer, _, make = OPTIMIZERS[rule]
    result = population.train(
        BUILDS[kind], split, optimizer, matching(rule), plan(slab=3, backend="compiled"), seeds=SEEDS
    )
    assert result.backend.startswith("compiled")
    _, curve, valid = twin(BUILDS[kind], split, make, seed=SEEDS[1], lr=RATES["lr"][1].item(), decay=1e-3)
    assert near(result.train_loss[1], curve) and near(result.valid_loss[1], valid)


def test_each_member_has_its_own_dropout_rate(split):
    rates = torch.tensor([0.0, 0.2, 0.6], dtype=torch.float64)
    settings = {"lr": 0.1, "dropout": rates}
    result = population.train(dropped, split, optimizers.momentum(), settings, plan(), seeds=SEEDS)

    def make(params, lr, decay):
        return torch.optim.SGD(params, lr=lr, momentum=0.9)

    for i, seed in enumerate(SEEDS):
        _, curve, _ = twin(dropped, split, make, seed=seed, lr=0.1, decay=0, rates=rates[i].item())
        assert near(result.train_loss[i], curve)
        assert result.member(i)[1].p == pytest.approx(rates[i].item())


@pytest.mark.parametrize("backend", ["eager", COMPILED])
def test_a_member_is_the_same_in_any_company(split, backend):
    rates = torch.tensor([5.0, 0.3, 0.01, 0.1, 0.01], dtype=torch.float64)
    few = population.train(dropped, split, optimizers.adam(), {"lr": 0.01}, plan(backend=backend), seeds=[7, 8])
    many = population.train(
        dropped, split, optimizers.adam(), {"lr": rates}, plan(backend=backend, slab=2),
        seeds=[0, 1, 8, 3, 7],
    )  # fmt: skip
    for here, there in ((0, 4), (1, 2)):
        assert near(few.train_loss[here], many.train_loss[there]) and same(few.member(here), many.member(there))


def test_one_after_another_is_the_same_as_all_at_once(split):
    runs = [
        population.train(dropped, split, optimizers.adam(), {"lr": 0.01}, plan(slab=slab), seeds=SEEDS)
        for slab in (1, 3)
    ]
    assert near(runs[0].train_loss, runs[1].train_loss) and "one after another" in runs[0].backend


def test_shared_order_and_full_batches(split):
    shared = population.train(mlp, split, optimizers.sgd(), {"lr": 0.1}, plan(order="shared"), seeds=[5, 5, 6])
    assert torch.equal(shared.train_loss[0], shared.train_loss[1])
    full = population.train(mlp, split, optimizers.sgd(), {"lr": 0.1}, plan(batch_size=200), seeds=[5])
    net = mlp(None)
    net.load_state_dict(population.init(mlp, optimizers.sgd(), {"lr": 0.1}, seeds=[5]).module.state_dict())
    assert near(full.train_loss[0, :1], cross_entropy(net(split.train[0]), split.train[1]).detach()[None])
    assert full.train_loss.shape == (1, 3)


def test_schedules_multiply_settings_step_by_step(split):
    factors = torch.tensor([1.0, 0.5, 0.25, 0.0, 0.0, 0.0], dtype=torch.float64)
    schedule = {"lr": lambda at: factors[at] * torch.tensor([1.0, 2.0])}
    result = population.train(
        mlp, split, optimizers.sgd(), {"lr": 0.1}, plan(num_epochs=1, schedule=schedule), seeds=[5, 5]
    )
    net, curve = population.init(mlp, optimizers.sgd(), {"lr": 1.0}, seeds=[5]).module, []
    order = counters.orders([5], 0, 200)[0]
    for at, rows in enumerate(order[:192].split(32)):
        loss = cross_entropy(net(split.train[0][rows]), split.train[1][rows])
        grads = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for value, grad in zip(net.parameters(), grads, strict=True):
                value -= 0.2 * float(factors[at]) * grad
        curve.append(loss.item())
    assert near(result.train_loss[1], torch.tensor(curve, dtype=torch.float64))
    dropout = population.Plan(1, 32, schedule={"dropout": lambda at: 0.0}, progress=False)
    without = population.train(
        dropped, split, optimizers.sgd(), {"lr": 0.1, "dropout": 0.0}, plan(num_epochs=1), seeds=[5]
    )
    faded = population.train(dropped, split, optimizers.sgd(), {"lr": 0.1, "dropout": 0.5}, dropout, seeds=[5])
    assert torch.equal(without.train_loss, faded.train_loss)


def test_noise_is_gaussian_and_belongs_to_the_member():
    key = counters.keys([1, 2], [0], 1)[0, :, 0]
    noise = counters.normals(key, (200, 100))
    assert noise.mean((1, 2)).abs().max() < 4 / math.sqrt(20_000)
    assert (noise.var((1, 2)) - 1).abs().max() < 4 * math.sqrt(2 / 20_000)
    assert abs((noise[0] * noise[1]).mean()) < 4 / math.sqrt(20_000)


def test_each_member_has_its_own_noise(split):
    def build(generator):
        return flat(models.GaussianNoise(0.1), nn.Linear(64, 20))

    stds = torch.tensor([0.0, 0.5], dtype=torch.float64)
    result = population.train(
        build, split, optimizers.sgd(), {"lr": 0.1, "1.std": stds}, plan(num_epochs=1), seeds=[3, 3]
    )
    still = population.train(lambda g: flat(nn.Identity(), nn.Linear(64, 20)), split, optimizers.sgd(), {"lr": 0.1},
                             plan(num_epochs=1), seeds=[3])  # fmt: skip
    assert near(result.train_loss[0], still.train_loss[0]) and not near(result.train_loss[1], still.train_loss[0])
    assert [float(result.member(i)[1].std) for i in (0, 1)] == [0.0, 0.5]


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.out = nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 10)

    def forward(self, x):
        return self.out(self.cells(x.view(-1, 8, 8))[0][:, -1])


def test_recurrent_layers_run_one_after_another(split):
    result = population.train(
        lambda g: Recurrent().double(), split, optimizers.adam(), {"lr": 0.01}, plan(), seeds=[1, 2]
    )
    assert "recurrent layers" in result.backend and not result.train_loss.isnan().any()
    net, curve, valid = twin(
        lambda g: Recurrent().double(), split, lambda p, lr, decay: torch.optim.Adam(p, lr=lr), seed=2, lr=0.01, decay=0
    )
    assert near(result.train_loss[1], curve) and near(result.valid_loss[1], valid)
    assert population.predict(result.state, split.test[0]).shape == (2, 200, 10) and net


def test_masks_drop_the_given_share_and_are_independent():
    keys = counters.keys(range(8), range(4), 3).flatten(0, 2)
    for rate in (0.1, 0.5, 0.9):
        kept = counters.mask(keys, torch.full((len(keys),), rate), (50, 40)) > 0
        share = kept.float().mean(1).mean(1)
        assert (share - (1 - rate)).abs().max() < 4.5 * math.sqrt(rate * (1 - rate) / 2000)
    draws = counters.uniforms(keys, (2000,))
    pairs = torch.corrcoef(draws)[~torch.eye(len(keys), dtype=torch.bool)]
    assert pairs.abs().max() < 5 / math.sqrt(2000)
    histogram = torch.histc(draws, 64, 0, 1)
    expected = draws.numel() / 64
    assert ((histogram - expected) ** 2 / expected).sum() < 63 + 5 * math.sqrt(2 * 63)


def test_orders_are_permutations_of_their_own():
    orders = counters.orders(range(5), 3, 40)
    assert torch.equal(orders.sort(1).values, torch.arange(40).expand(5, -1))
    assert len({tuple(row.tolist()) for row in orders}) == 5
    assert torch.equal(counters.orders([4], 3, 40)[0], orders[4]) and not torch.equal(
        counters.orders([4], 4, 40)[0], orders[4]
    )


@pytest.mark.parametrize("backend", ["eager", COMPILED])
def test_a_member_that_diverges_stops_at_its_last_finite_state_and_disturbs_nobody(split, backend):
    rates = torch.tensor([0.1, 1e200, 0.1], dtype=torch.float64)
    result = population.train(mlp, split, optimizers.momentum(), {"lr": rates}, plan(backend=backend), seeds=SEEDS)
    calm = population.train(mlp, split, optimizers.momentum(), {"lr": 0.1}, plan(backend=backend), seeds=SEEDS)
    at = int(result.diverged[1])
    assert result.diverged.tolist() == [-1, at, -1] and at >= 0
    assert result.train_loss[1, at + 1 :].isnan().all() and not result.train_loss[1, :at].isnan().any()
    assert all(value.isfinite().all() for value in result.member(1).state_dict().values())
    for i in (0, 2):
        assert same(result.member(i), calm.member(i), exactly=True)
        assert torch.equal(result.train_loss[i], calm.train_loss[i])


def test_the_last_finite_state_is_the_one_before_the_bad_update(split):
    state = population.init(mlp, optimizers.sgd(), {"lr": torch.tensor([1e307], dtype=torch.float64)}, seeds=[0])
    before = [population.step(state, *split.train, plan(), num_steps=at)[0] for at in (1, 2, 3)]
    whole, losses = population.step(state, *split.train, plan(), num_steps=6)
    stop = int(whole.diverged[0])
    expected = state if stop == 0 else before[stop - 1]
    assert all(near(whole.params[name], value) for name, value in expected.params.items())
    assert not whole.active[0] and losses[0, stop + 1 :].isnan().all()


def test_steps_can_be_cut_anywhere(split):
    state = population.init(dropped, optimizers.adam(), {"lr": 0.01}, seeds=SEEDS)
    whole, losses = population.step(state, *split.train, plan(), num_steps=9)
    parts = state
    pieces = []
    for count in (1, 4, 3, 1):
        parts, some = population.step(parts, *split.train, plan(), num_steps=count)
        pieces.append(some)
    assert torch.equal(torch.cat(pieces, 1), losses) and parts.step == whole.step == 9
    assert all(torch.equal(parts.params[name], value) for name, value in whole.params.items())


def test_members_can_be_dropped_copied_and_frozen(split):
    state, _ = population.step(
        population.init(mlp, optimizers.momentum(), {"lr": RATES["lr"]}, seeds=SEEDS), *split.train, plan()
    )
    picked = state[torch.tensor([2, 0, 2])]
    assert picked.seeds == (4, 3, 4) and picked.settings["lr"].tolist() == pytest.approx([0.2, 0.1, 0.2])
    ahead, _ = population.step(state, *split.train, plan(), num_steps=3)
    again, _ = population.step(picked, *split.train, plan(), num_steps=3)
    assert same(population.member(again, 0), population.member(ahead, 2), exactly=True)
    cold, losses = population.step(population.freeze(state, torch.tensor([1])), *split.train, plan(), num_steps=3)
    assert same(population.member(cold, 1), population.member(state, 1), exactly=True) and losses[1].isnan().all()
    assert same(population.member(cold, 0), population.member(ahead, 0), exactly=True) and int(cold.diverged[1]) == -1


def test_a_step_changes_nothing_it_was_given(split):
    state = population.init(normed, optimizers.momentum(), {"lr": 0.1}, seeds=SEEDS)
    kept = {name: value.clone() for name, value in (state.params | state.buffers).items()}
    own = {name: value.clone() for name, value in state.module.state_dict().items()}
    before = torch.get_rng_state()
    population.step(state, *split.train, plan(), num_steps=2)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(kept[name], value) for name, value in (state.params | state.buffers).items())
    assert all(torch.equal(own[name], value) for name, value in state.module.state_dict().items())


def test_predictions_and_scores_are_those_of_the_members(split):
    result = population.train(normed, split, optimizers.sgd(), {"lr": 0.1}, plan(num_epochs=1), seeds=range(20))
    said = population.predict(result.state, split.test[0])
    scores = population.evaluate(result.state, *split.test, loss=cross_entropy)
    plain = population.evaluate(result.state, *split.test, loss=lambda output, target: cross_entropy(output, target))
    for i in (0, 17):
        output = result.member(i).eval()(split.test[0]).detach()
        assert near(said[i], output)
        assert scores.loss[i].item() == pytest.approx(cross_entropy(output, split.test[1]).item(), rel=1e-12)
        assert scores.error[i].item() == pytest.approx((output.argmax(1) != split.test[1]).double().mean().item())
    assert near(plain.loss, scores.loss)


def test_parameters_without_gradient_stay(split):
    def build(generator):
        net = mlp(generator)
        net[1].weight.requires_grad_(False)
        return net

    state = population.init(build, optimizers.sgd(), {"lr": 0.1, "weight_decay": 0.1}, seeds=SEEDS)
    after, _ = population.step(state, *split.train, plan(), num_steps=3)
    assert "1.weight" in state.buffers and torch.equal(state.buffers["1.weight"], after.buffers["1.weight"])
    assert not torch.equal(state.params["1.bias"], after.params["1.bias"])


def test_sharpness_aware_steps_take_the_gradient_uphill(split):
    state = population.init(
        mlp, optimizers.sgd(), {"lr": 0.1, "radius": torch.tensor([0.0, 0.3], dtype=torch.float64)}, seeds=[2, 2]
    )
    after, _ = population.step(state, *split.train, plan(batch_size=200))
    net = state.module
    params = list(net.parameters())

    def grads():
        return torch.autograd.grad(cross_entropy(net(split.train[0]), split.train[1]), params)

    first = grads()
    length = torch.cat([grad.flatten() for grad in first]).norm()
    with torch.no_grad():
        for value, grad in zip(params, first, strict=True):
            value += 0.3 * grad / length
    second = grads()
    for (name, start), plain, uphill in zip(state.params.items(), first, second, strict=True):
        assert near(after.params[name][0], start[0] - 0.1 * plain) and near(
            after.params[name][1], start[1] - 0.1 * uphill
        )


def test_the_written_rules():
    def slab(*sizes, members=100, **options):
        state = population.init(
            lambda g: models.mlp(sizes, generator=g), optimizers.sgd(), {"lr": 0.1}, seeds=range(1)
        )[torch.zeros(members, dtype=torch.int64)]  # fmt: skip
        return slabs.slabs_for(state, plan(**options).slab).size

    assert [slab(64, width, width, 10) for width in (50, 128, 256, 512, 1024)] == [50, 25, 15, 4, 1]
    assert slab(64, 50, 10, members=5) == 5 and slab(64, 10, slab=7) == 7
    shallow = population.init(
        lambda g: models.convnet((1, 8, 8), 10, generator=g), optimizers.sgd(), {"lr": 0.1}, seeds=[0] * 70
    )
    found = [slabs.slabs_for(shallow, None, convolved=n).places for n in (10_000, 50_000, 900_000)]
    assert [len(places[0]) for places in found] == [35, 14, 1]  # 64, 16 and 1 at most, in slabs of equal size
    rule = compiling.backend_for
    assert rule("auto", num_steps=19_999, written=False)[0] == "eager"
    assert rule("auto", num_steps=10**6, written=True) == ("eager", "by hand it is as fast")
    assert rule("eager", num_steps=10**6, written=False)[0] == "eager"


@pytest.mark.skipif(bool(compiling.compiler()), reason="no compiler here")
def test_the_compiled_path_is_taken_where_there_is_a_compiler():
    for backend in ("auto", "compiled"):
        assert compiling.backend_for(backend, num_steps=20_000, written=False)[0] == "compiled"


def test_without_a_compiler_the_reason_is_told(monkeypatch, split):
    monkeypatch.setattr(compiling, "compiler", lambda: "CppCompileError: no g++")
    result = population.train(
        mlp, split, optimizers.sgd(), {"lr": 0.1}, plan(backend="compiled", num_epochs=1), seeds=[0]
    )
    assert result.backend.startswith("eager (nothing can be compiled here (CppCompileError: no g++))")


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop, self.line = nn.Dropout(0.5), nn.Linear(64, 10)

    def forward(self, x):
        return self.drop(self.line(self.drop(x.flatten(1))))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(64, 10)

    def forward(self, x):
        return self.line(nn.functional.dropout(x.flatten(1), 0.5))


REFUSED = {
    "init: seeds must hold at least one": {"seeds": []},
    "init: seeds must be an integer >= 0, got -1": {"seeds": [-1]},
    "init: settings must hold 'lr' for sgd": {"settings": {}},
    r"init: settings must be among lr, weight_decay, radius, loss\.<name>, .*, got 'rate'": {
        "settings": {"lr": 0.1, "rate": 1}
    },
    r"init: settings\['lr'\] must be finite, one number or \(2,\)": {"settings": {"lr": torch.ones(3)}},
    r"init: settings\['lr'\] must be >= 0": {"settings": {"lr": -0.1}},
    "init: build must return a torch.nn.Module, got NoneType": {"build": lambda g: None},
    "init: build must make modules with parameters": {"build": lambda g: nn.Sequential(nn.Flatten())},
    "init: optimizer must be one of": {"optimizer": torch.optim.SGD},
    "train: batch_size must be <= n": {"plan": plan(batch_size=201)},
    "train: a dropout or noise layer must be used once in a pass, got 'drop' twice": {
        "build": lambda g: Twice().double()
    },
    "train: randomness must come from dropout or noise layers, got a call of dropout": {
        "build": lambda g: Functional().double()
    },
    "train: x must fit the members": {"build": lambda g: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused_in_front_of_the_work(split, message):
    given = {"build": mlp, "optimizer": optimizers.sgd(), "settings": {"lr": 0.1}, "plan": plan(), "seeds": [0, 1]}
    given |= REFUSED[message]
    with pytest.raises(ValueError, match=message):
        population.train(
            given["build"], split, given["optimizer"], given["settings"], given["plan"], seeds=given["seeds"]
        )


@pytest.mark.parametrize(
    "options",
    [
        {"num_epochs": 0},
        {"batch_size": 0},
        {"order": "mine"},
        {"backend": "fast"},
        {"slab": 0},
        {"schedule": [1]},
        {"loss": 3},
    ],
)
def test_plans_are_checked(options):
    with pytest.raises(ValueError, match=f"Plan: {next(iter(options))} must"):
        plan(**options)


def test_all_seeds_differ_and_repeat(split):
    runs = [
        population.train(mlp, split, optimizers.sgd(), {"lr": 0.1}, plan(num_epochs=1), seeds=[0, 1]) for _ in range(2)
    ]
    assert torch.equal(runs[0].train_loss, runs[1].train_loss)
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(runs[0].train_loss, 2))


@pytest.mark.parametrize(
    ("name", "rule", "message"),
    [
        ("learning_rate", lambda at: 1.0, "schedule must name settings, lr, weight_decay"),
        ("lr", lambda at: torch.ones(3), r"schedule\['lr'\] must give a finite number or \(2,\) of them"),
        ("lr", lambda at: math.nan, r"schedule\['lr'\] must give a finite number"),
        ("dropout", lambda at: 4.0, r"the scheduled rate of 1 must lie in \[0, 1\), got 1.2"),
    ],
)
def test_schedules_are_checked(split, name, rule, message):
    build = lambda g: flat(nn.Dropout(0.3), nn.Linear(64, 20))  # noqa: E731
    with pytest.raises(ValueError, match=message):
        population.train(build, split, optimizers.sgd(), {"lr": 0.1}, plan(schedule={name: rule}), seeds=[0, 1])


def test_members_at_rest_are_not_made_again(split, monkeypatch):
    state = population.freeze(population.init(mlp, optimizers.sgd(), {"lr": 0.1}, seeds=SEEDS), [0, 2])
    monkeypatch.setattr(population.runners.Runner, "_watched", None)
    after, losses = population.step(state, *split.train, plan(), num_steps=3)
    assert losses[[0, 2]].isnan().all() and not losses[1].isnan().any()
    assert all(torch.equal(after.params[name][[0, 2]], value[[0, 2]]) for name, value in state.params.items())
