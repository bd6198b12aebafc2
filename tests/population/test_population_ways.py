"""Which way a layer goes, by hand, by vmap or as it stands: always to where its twin goes, and the line says so."""

import threading

import pytest
import torch
from test_population import COMPILED, flat, mlp, near, normed, plan, twin
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from torch.nn.utils.parametrizations import weight_norm

from labsupport import data, models, optimizers, population
from labsupport.population import chains, programs
from labsupport.pruning import masks

SEEDS = (3, 11, 4)


@pytest.fixture(scope="module")
def split():
    whole = data.digits(flat=False, generator=torch.Generator().manual_seed(0)).to(torch.float64)
    return data.Split(*((x[:100], y[:100]) for x, y in (whole.train, whole.valid, whole.test)), whole.class_names)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.line, self.out = nn.Linear(8, 8), nn.Linear(64, 10)

    def forward(self, x):
        rows = self.line(x.view(-1, 8, 8))
        return self.out(scaled_dot_product_attention(rows, rows, rows).flatten(1))


class Plain(nn.Module):
    """A user's module of plain operations, with a parameter and a moving buffer."""

    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.register_buffer("mean", torch.zeros(width))

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return torch.sin(x - self.mean) * self.scale


class Numbers(nn.Module):
    def forward(self, x):
        return (16 * x).long().clamp(0, 16)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(64, 64)
        self.two = nn.Linear(64, 64)
        self.two.weight, self.out = self.one.weight, nn.Linear(64, 10)

    def forward(self, x):
        return self.out(self.two(self.one(x.flatten(1)).tanh()).tanh())


def sequential(*layers):
    return lambda generator: nn.Sequential(*(layer() for layer in layers)).double()


def line(*sizes, **options):
    return lambda: nn.Linear(*sizes, **options)


def hooked(generator):
    net = mlp(generator)
    net[2].register_forward_hook(lambda layer, x, said: 2 * said)
    return net


def shared(generator):
    middle = nn.Linear(20, 20)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), middle, nn.Tanh(), middle, nn.Linear(20, 10)).double()


KINDS = {
    "GELU": (sequential(nn.Flatten, line(64, 20), nn.GELU, line(20, 10)), "GELU (not known by hand)"),
    "LayerNorm": (
        sequential(nn.Flatten, line(64, 20), lambda: nn.LayerNorm(20), nn.ReLU, line(20, 10)),
        "LayerNorm (not known by hand)",
    ),
    "GroupNorm": (
        lambda g: models.convnet((1, 8, 8), 10, channels=(4, 6), norm="layer", generator=g).double(),
        "2 GroupNorm (not known by hand)",
    ),
    "Embedding": (
        sequential(nn.Flatten, Numbers, lambda: nn.Embedding(17, 3), nn.Flatten, line(192, 10)),
        "Embedding (not known by hand)",
    ),
    "attention": (lambda g: Attention().double(), "Attention (a forward of its own)"),
    "weight norm": (
        sequential(nn.Flatten, lambda: weight_norm(nn.Linear(64, 20)), nn.Tanh, line(20, 10)),
        "by hand: Flatten, ParametrizedLinear, Tanh, Linear",
    ),
    "masked": (
        lambda g: masks.apply_(
            nn.Sequential(nn.Flatten(), *models.mlp((64, 20, 10), activation="tanh", generator=g)).double(),
            {"1.weight": torch.rand(20, 64, generator=g) < 0.5, "3.bias": torch.rand(10, generator=g) < 0.5},
        ),
        "by hand: Flatten, 2 ParametrizedLinear, Tanh",
    ),
    "plain operations": (sequential(nn.Flatten, line(64, 20), lambda: Plain(20), line(20, 10)), "Plain (not known"),
    "tied": (lambda g: Tied().double(), "Tied (a layer, parameter or buffer used twice)"),
    "shared": (shared, "Sequential (a layer, parameter or buffer used twice)"),
    "hooked": (hooked, "Tanh (hooks)"),
    "circular padding": (
        sequential(lambda: nn.Conv2d(1, 3, 3, padding=1, padding_mode="circular"), nn.Flatten, line(192, 10)),
        "Conv2d (options not known by hand)",
    ),
    "in place": (
        sequential(nn.Flatten, line(64, 20), lambda: nn.ReLU(inplace=True), line(20, 10)),
        "ReLU (options not known by hand)",
    ),
    "nested": (
        lambda g: nn.Sequential(flat(nn.Linear(64, 20), nn.Sigmoid()), nn.Sequential(nn.Tanh()).double()),
        "by hand: Flatten, 2 Linear, Sigmoid, Tanh",
    ),
    "convolutions": (
        sequential(
            lambda: nn.Conv2d(1, 4, 3, stride=2, bias=False), lambda: nn.BatchNorm2d(4), nn.SiLU,
            lambda: nn.Conv2d(4, 4, 2, groups=2, dilation=2), lambda: nn.AvgPool2d(1), nn.Flatten, line(4, 10),
        ),
        "by hand: 2 Conv2d, BatchNorm2d, SiLU, AvgPool2d, Flatten, Linear",
    ),
    "one dimension": (
        sequential(
            lambda: nn.Flatten(1, 2), lambda: nn.Conv1d(8, 5, 3, padding="same"), lambda: nn.BatchNorm1d(5),
            lambda: nn.MaxPool1d(2), nn.Flatten, line(20, 10),
        ),
        "by hand: 2 Flatten, Conv1d, BatchNorm1d, MaxPool1d, Linear",
    ),
    "rows of rows": (
        sequential(lambda: nn.Flatten(1, 2), line(8, 5, bias=False), nn.LeakyReLU, nn.Flatten, line(40, 10)),
        "by hand: 2 Flatten, 2 Linear, LeakyReLU",
    ),
}  # fmt: skip


@pytest.mark.parametrize("slab", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer_equals_its_twin_and_is_named(split, kind, slab):
    build, words = KINDS[kind]
    result = population.train(
        build, split, optimizers.momentum(), {"lr": 0.05}, plan(slab=slab, num_epochs=2), seeds=SEEDS
    )
    assert words in result.backend and ("by vmap" in result.backend or "by hand" in result.backend or slab == 1)
    assert ("as it stands" in result.backend) == (slab == 1 and not words.startswith("by hand"))
    for i, seed in enumerate(SEEDS):
        net, curve, valid = twin(
            build, split, lambda p, lr, decay: torch.optim.SGD(p, lr=lr, momentum=0.9), seed=seed, lr=0.05, decay=0,
            num_epochs=2,
        )  # fmt: skip
        assert near(result.train_loss[i], curve) and near(result.valid_loss[i], valid)
        ours = dict(result.member(i).named_buffers())
        assert all(near(ours[k], v) for k, v in net.named_buffers() if v.is_floating_point() and v.abs().max() > 0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_written_backward_pass_is_autograds(activation, bias):
    generator = torch.Generator().manual_seed(0)
    build = lambda g: models.mlp((12, 9, 7, 5), activation=activation, bias=bias, generator=g).double()  # noqa: E731
    state = population.init(build, optimizers.sgd(), {"lr": 0.1}, seeds=range(6))
    x = torch.randn(6, 8, 12, generator=generator, dtype=torch.float64)
    y = torch.randint(5, (6, 8), generator=generator)
    net = programs.network(state.module, training=True)
    links = chains.chain_of(net.ways, net.layers)
    losses, slopes = chains.losses_and_slopes(links, state.params, x, y)
    grads = chains.gradients(links, slopes)
    for i in range(6):
        alone = population.member(state, i)
        loss = cross_entropy(alone(x[i]), y[i])
        wanted = torch.autograd.grad(loss, list(alone.parameters()))
        assert abs(loss.item() - losses[i].item()) < 1e-12
        for (name, _), grad in zip(alone.named_parameters(), wanted, strict=True):
            assert (grads[name][i] - grad).abs().max() < 1e-12


RULES = [optimizers.sgd(), optimizers.momentum(), optimizers.nesterov(), optimizers.adam()]
MORE = [{}, {"weight_decay": 0.01}, {"momentum": 0.0}, {"radius": 0.05}]


@pytest.mark.parametrize(
    ("rule", "settings"),
    [(rule, more) for rule in RULES for more in MORE if more.keys() - {"radius"} <= rule.defaults.keys()],
)
def test_written_out_or_not_the_members_are_the_same(split, rule, settings):
    given = {"lr": torch.tensor([0.01, 0.02, 0.03], dtype=torch.float64)} | settings
    written = population.train(mlp, split, rule, given, plan(), seeds=SEEDS)
    plain = population.train(mlp, split, rule, given, plan(loss=lambda o, y: cross_entropy(o, y)), seeds=SEEDS)
    assert "written out" in written.backend and "written out" not in plain.backend
    assert near(written.train_loss, plain.train_loss) and near(written.valid_loss, plain.valid_loss)
    assert all(near(written.state.params[name], value) for name, value in plain.state.params.items())


def test_ignored_rows_go_by_autograd_and_are_left_out(split):
    (x, y), rest = split.train, (split.valid, split.test)
    some = data.Split((x, y.where(torch.arange(100) % 3 > 0, -100)), *rest)
    result = population.train(mlp, some, optimizers.sgd(), {"lr": 0.1}, plan(), seeds=SEEDS)
    _, curve, _ = twin(
        mlp, some, lambda p, lr, decay: torch.optim.SGD(p, lr=lr), seed=SEEDS[1], lr=0.1, decay=0
    )  # fmt: skip
    assert "written" not in result.backend and near(result.train_loss[1], curve)
    scores = population.evaluate(result.state, *some.train, loss=cross_entropy)
    said, kept = result.member(1)(x), some.train[1] >= 0
    assert scores.loss[1].item() == pytest.approx(cross_entropy(said[kept], y[kept]).item(), rel=1e-12)
    assert scores.error[1].item() == pytest.approx((said[kept].argmax(1) != y[kept]).double().mean().item())


@pytest.mark.parametrize("backend", ["eager", COMPILED])
def test_sharpness_aware_steps_count_batches_once(split, backend):
    state = population.init(normed, optimizers.sgd(), {"lr": 0.1, "radius": 0.05}, seeds=SEEDS)
    after, _ = population.step(state, *split.train, plan(backend=backend), num_steps=3)
    assert after.buffers["2.num_batches_tracked"].tolist() == [3, 3, 3]
    one, _ = population.step(state, *split.train, plan(batch_size=100))
    net = population.member(state, 0).train()
    net(split.train[0])
    assert near(one.buffers["2.running_mean"][0], net[2].running_mean)


def test_rules_that_look_beyond_entries_go_by_vmap(split):
    for rule, settings in ((optimizers.lars(), {}), (optimizers.clipped_norm(optimizers.sgd()), {"clip_norm": 0.1})):
        few = population.train(mlp, split, rule, {"lr": 0.1} | settings, plan(slab=1), seeds=SEEDS)
        many = population.train(mlp, split, rule, {"lr": 0.1} | settings, plan(slab=3), seeds=SEEDS)
        assert near(few.train_loss, many.train_loss)


class Keeper(nn.Module):
    def __init__(self, generator, **own):
        super().__init__()
        self.line = nn.Linear(64, 10).double()
        self.line.kept = own.get("flag", 0)
        if "tensor" in own:
            self.fixed = torch.randn(64, generator=generator, dtype=torch.float64)
        self.options = {"rates": [0.1, own.get("nested", 0.2)]}

    def forward(self, x):
        return self.line(x.flatten(1) + getattr(self, "fixed", 0.0))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (lambda g: {"tensor": True}, "got a fixed of its own for each; register it as a buffer"),
        (lambda g: {"flag": torch.rand((), generator=g).item()}, "got a line.kept of its own for each"),
        (lambda g: {"flag": bool(torch.rand((), generator=g) < 0.5)}, "got a line.kept of its own"),
        (lambda g: {"nested": torch.rand((), generator=g).item()}, "got a options of its own"),
    ],
)
def test_members_that_differ_in_more_than_parameters_are_refused(own, message):
    with pytest.raises(ValueError, match=f"init: build must make modules that differ in .* alone, {message}"):
        population.init(lambda g: Keeper(g, **own(g)), optimizers.sgd(), {"lr": 0.1}, seeds=range(8))
    same = population.init(lambda g: Keeper(g, flag=3), optimizers.sgd(), {"lr": 0.1}, seeds=range(3))
    assert len(same) == 3


def test_members_begin_the_same_in_many_threads():
    def build(generator):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Linear(20, 10))  # torch's own starts

    wanted = population.init(build, optimizers.sgd(), {"lr": 0.1}, seeds=range(8)).params
    before, found = torch.get_rng_state(), []

    def begin():
        for _ in range(5):
            found.append(population.init(build, optimizers.sgd(), {"lr": 0.1}, seeds=range(8)).params)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(found) == 20 and all(torch.equal(each[k], v) for each in found for k, v in wanted.items())
    assert torch.equal(before, torch.get_rng_state())
