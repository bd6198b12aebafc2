"""What once went wrong without a word: found by one who tried to break the engine, each with the right value."""

from functools import partial

import pytest
import torch
from test_population import near, plan
from torch import nn
from torch.nn.functional import cross_entropy, leaky_relu

from labsupport import data, optimizers, population

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(60, 8, generator=GENERATOR, dtype=torch.float64)
Y = torch.randint(0, 5, (60,), generator=GENERATOR)
WORDS = torch.randint(0, 7, (60, 3), generator=GENERATOR)
SGD = optimizers.sgd()


def net(*layers):
    return nn.Sequential(*layers).double()


def mlp(generator):
    return net(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5))


def begun(build, optimizer=SGD, seeds=(0, 1), **settings):
    return population.init(build, optimizer, {"lr": 0.1} | settings, seeds=seeds)


def alone(build, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(torch.Generator().manual_seed(seed))


def first_losses(build, x=X, **options):
    return population.step(begun(build), x, Y, plan(batch_size=60, **options))[1][:, 0]


def halved(layer, x, said):
    return said / 2


def hooked_flatten(generator):
    flat = nn.Flatten()
    flat.register_forward_hook(halved)
    return net(flat, nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5))


class Masked(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, x):
        return x * self.mask


def shared_buffer(generator):
    mask = torch.rand(8, generator=generator, dtype=torch.float64)
    return net(Masked(mask), nn.Linear(8, 8), nn.Tanh(), Masked(mask), nn.Linear(8, 5))


@pytest.mark.parametrize("slab", [1, 2])
@pytest.mark.parametrize("build", [hooked_flatten, shared_buffer])
def test_hooks_and_shared_buffers_count_in_training_too(build, slab):
    wanted = torch.stack([cross_entropy(alone(build, seed)(X), Y) for seed in (0, 1)]).detach()
    assert near(first_losses(build, slab=slab), wanted)
    assert near(population.evaluate(begun(build), X, Y, loss=cross_entropy).loss, wanted)


def test_the_padding_row_of_an_embedding_rests():
    build = lambda g: net(nn.Embedding(7, 4, padding_idx=0), nn.Flatten(), nn.Linear(12, 5))  # noqa: E731
    state = begun(build, seeds=(0, 1, 2))
    assert not population.gradients(state, WORDS, Y, loss=cross_entropy)[1]["0.weight"][:, 0].any()
    assert not population.step(state, WORDS, Y, plan())[0].params["0.weight"][:, 0].any()
    with pytest.raises(ValueError, match="slab must be 1 for an Embedding with padding_idx"):
        population.step(state, WORDS, Y, plan(slab=3))


class Listed(nn.Module):
    def __init__(self, **own):
        super().__init__()
        self.line, self.own = nn.Linear(8, 5).double(), own

    def forward(self, x):
        return self.line(x)


def gradient_hook(generator):
    made = mlp(generator)
    made[0].weight.register_hook(torch.zeros_like)
    return made


def backward_hook(generator):
    made = mlp(generator)
    made[1].register_full_backward_hook(lambda layer, before, after: None)
    return made


def hooked_dropout(generator):
    made = net(nn.Dropout(0.1), nn.Linear(8, 5))
    made[0].register_forward_hook(halved)
    return made


def drawn_hook(generator):
    mask, made = torch.rand(6, generator=generator).double().round(), mlp(generator)
    made[1].register_forward_hook(lambda layer, x, said: said * mask)
    return made


def sometimes_hooked(generator):
    made = mlp(generator)
    if torch.rand((), generator=generator) < 0.5:
        made[1].register_forward_hook(halved)
    return made


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (gradient_hook, r"set no hooks on gradients \(a mask can be a buffer\), got '0.weight'"),
        (backward_hook, "set no hooks on gradients .* got '1'"),
        (hooked_dropout, "set no hooks on dropout or noise layers, got '0'"),
        (lambda g: Listed(parts=[nn.Linear(8, 8)]), "register parameters and modules .* plain attribute own"),
        (lambda g: Listed(parts=[nn.Parameter(torch.ones(2))]), "register parameters and modules .* attribute own"),
        (drawn_hook, "differ in parameters and buffers alone, got a 1._forward_hooks of its own"),
        (sometimes_hooked, "differ in parameters and buffers alone, got a 1._forward_hooks of its own"),
        (
            lambda g: Listed(act=partial(leaky_relu, negative_slope=torch.rand((), generator=g).item())),
            "differ in parameters and buffers alone, got a own of its own",
        ),
    ],
)
def test_what_members_would_not_follow_is_refused(build, message):
    with pytest.raises(ValueError, match=f"init: build must .*{message}"):
        begun(build, seeds=range(8))


class Always(nn.Module):
    """Dropout that stays on in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.3)

    def train(self, mode=True):
        super().train(mode)
        self.drop.train()
        return self

    def forward(self, x):
        return self.drop(x)


def test_dropout_that_stays_on_in_evaluation_is_refused():
    state = begun(lambda g: net(nn.Linear(8, 6), Always(), nn.Linear(6, 5)))
    with pytest.raises(ValueError, match="dropout and noise layers must rest in evaluation mode"):
        population.predict(state, X)


class Writing(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.head = nn.GRU(8, 6, batch_first=True), nn.Linear(6, 5)

    def forward(self, x):
        return self.head(self.cells(x.mul_(0.5))[0][:, -1])


def in_place(generator):
    return net(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(32, 5))


@pytest.mark.parametrize("build", [lambda g: Writing().double(), in_place])
def test_what_is_written_into_x_reaches_nobody(build):
    x = torch.randn(60, 4, 8, generator=GENERATOR, dtype=torch.float64)
    kept, state = x.clone(), begun(build, seeds=(1, 1, 1))
    for some in (state[:1],) if isinstance(state.module, nn.Sequential) else (state,):
        losses = population.evaluate(some, x, Y, loss=cross_entropy).loss
        population.step(some, x, Y, plan(batch_size=60))
        assert torch.equal(x, kept) and torch.equal(losses, losses[:1].expand(len(some)))


@pytest.mark.parametrize("rule", [SGD, optimizers.momentum(), optimizers.adam()])
@pytest.mark.parametrize("name", ["all", "steps", "body"])
def test_no_name_of_a_layer_or_parameter_is_taken_for_another(rule, name):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module(name, nn.Linear(8, 6))
            self.out, self.steps_ = nn.Linear(6, 5), nn.Parameter(torch.ones(5))

        def forward(self, x):
            return self.out(torch.tanh(getattr(self, name)(x))) * self.steps_

    def moved(optimizer, **settings):
        return population.step(begun(lambda g: Named().double(), optimizer, **settings), X, Y, plan(), num_steps=2)[
            0
        ].params

    plain = moved(rule)
    still = moved(optimizers.by_layer(rule, layers=[name]), **{f"rate.{name}": 0.0})
    full = moved(optimizers.by_layer(rule, layers=[name]))
    assert all(near(full[key], value) for key, value in plain.items())
    assert not near(still["out.weight"], begun(lambda g: Named().double()).params["out.weight"])
    assert torch.equal(still[f"{name}.weight"], begun(lambda g: Named().double()).params[f"{name}.weight"])


def test_a_parameter_may_be_called_as_a_count_is():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.b, self.steps = nn.Parameter(torch.zeros(5)), nn.Parameter(torch.ones(8, 5))

        def forward(self, x):
            return x @ self.steps + self.b

    after, _ = population.step(begun(lambda g: Counting().double(), optimizers.adam()), X, Y, plan(), num_steps=2)
    assert after.params["steps"].shape == (2, 8, 5) and after.slots["count"]["steps"].tolist() == [2, 2]


def test_every_setting_reaches_the_penalty_and_validation_labels_are_looked_at():
    state = begun(lambda g: net(nn.Linear(8, 6), nn.Dropout(0.1), nn.Linear(6, 5)), dropout=0.2)
    population.step(state, X, Y, plan(penalty=lambda p, told: told["dropout"] * p["0.weight"].square().sum()))

    def split(y):
        return data.Split(*((X[part], y[part]) for part in (slice(0, 32), slice(32, 48), slice(48, 60))))

    wrong = Y.clone()
    wrong[40] = 9
    with pytest.raises(ValueError, match=r"train: validation: y must hold classes in 0 … 4, or -100 .*, got 9"):
        population.train(mlp, split(wrong), SGD, {"lr": 0.1}, plan(), seeds=[0])
    runs = [population.train(mlp, split(y), SGD, {"lr": 0.1}, plan(), seeds=[0, 1]) for y in (Y.to(torch.uint8), Y)]
    assert near(*(run.train_loss for run in runs)) and near(*(run.valid_loss for run in runs))


def test_a_state_is_nobody_elses():
    lr = torch.tensor([0.1, 0.1], dtype=torch.float64)
    one = mlp(None)
    state = population.init(lambda g: one, SGD, {"lr": lr}, seeds=(0, 1))
    lr.zero_()
    one[1].register_forward_hook(lambda layer, x, said: 0 * said)
    assert state.settings["lr"].tolist() == [0.1, 0.1] and population.predict(state, X).std(1).min() > 0
