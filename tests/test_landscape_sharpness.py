"""Replicas against torch.optim, one network at a time; sharpness against dense Hessians and closed forms."""

import math
import re

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from labsupport import models
from labsupport.landscape import replicas, sharpness

DTYPE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(n=24):
    return torch.randn(n, 4, generator=seeded(1), dtype=DTYPE), torch.arange(n) % 3


def stack(count=3, activation="relu"):
    build = lambda g: models.mlp([4, 5, 5, 3], activation=activation, generator=g)  # noqa: E731
    return replicas.start(build, seeds=range(count)).to(DTYPE)


def hessian_of(stacked, i, x, y):
    """The dense Hessian of replica i, parameters in the order of `stacked.params`."""
    sizes = {name: value[i].numel() for name, value in stacked.params.items()}

    def loss(vector):
        parts = dict(zip(sizes, vector.split(list(sizes.values())), strict=True))
        params = {name: parts[name].view_as(value[i]) for name, value in stacked.params.items()}
        return cross_entropy(torch.func.functional_call(stacked.module, params, (x,)), y)

    flat = torch.cat([value[i].flatten() for value in stacked.params.values()])
    return torch.autograd.functional.hessian(loss, flat), loss, flat


def bowl(diagonal):
    """One replica of x ↦ x * w (a diagonal net), whose loss ½ Σ h (w − 1)² is a bowl with curvatures `diagonal`."""

    class Diagonal(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(len(diagonal), dtype=DTYPE))

        def forward(self, x):
            return x * self.w

    x = torch.tensor(diagonal, dtype=DTYPE).sqrt()[None]
    return (
        replicas.start(lambda g: Diagonal(), seeds=[0]),
        x,
        lambda output, target: (output - target).square().sum() / 2,
    )


def test_replicas_start_as_their_own_networks():
    stacked = replicas.start(lambda g: models.mlp([4, 5, 3], generator=g), seeds=[7, 9])
    alone = models.mlp([4, 5, 3], generator=seeded(9))
    for mine, theirs in zip(replicas.member(stacked, 1).parameters(), alone.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert len(stacked) == 2 and len(stacked[:1]) == 1 and len(stacked[torch.tensor([True, False])]) == 1
    assert repr(stacked) == "Stacked(2 replicas of Sequential, torch.float32, cpu)"


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_full_batch_training_equals_torch_optim(momentum):
    x, y = problem()
    rates = torch.tensor([0.1, 0.2, 0.3])
    start = stack()
    before = {name: value.clone() for name, value in start.params.items()}
    end, curve = replicas.train(
        start, x, y, lr=rates, batch_size=24, num_steps=6, momentum=momentum, loss=cross_entropy, generator=seeded()
    )
    for i in range(3):
        net = replicas.member(start, i)
        optimizer = torch.optim.SGD(net.parameters(), lr=float(rates[i]), momentum=momentum)
        for t in range(6):
            loss = cross_entropy(net(x), y)
            assert abs(loss.item() - curve[i, t].item()) < 1e-12
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for mine, theirs in zip(replicas.member(end, i).parameters(), net.parameters(), strict=True):
            assert (mine - theirs).abs().max() < 1e-8  # the rates are float32 above
    assert all(torch.equal(before[name], value) for name, value in start.params.items())


def test_batches_are_shuffles_and_each_replica_has_its_own():
    drawn = replicas._batches(2, 7, 3, seeded())
    rows = torch.cat([next(drawn), next(drawn)], 1)
    assert rows.shape == (2, 6) and all(len(set(row.tolist())) == 6 for row in rows)
    assert not torch.equal(rows[0], rows[1])
    assert next(drawn).shape == (2, 3)  # what was left over waits; a new shuffle begins


def test_a_batch_is_what_each_replica_trains_on():
    x, y = problem()
    rows = next(replicas._batches(3, 24, 4, seeded(5)))
    start = stack()
    end, curve = replicas.train(start, x, y, lr=0.1, batch_size=4, num_steps=1, loss=cross_entropy, generator=seeded(5))
    for i in range(3):
        net = replicas.member(start, i)
        loss = cross_entropy(net(x[rows[i]]), y[rows[i]])
        loss.backward()
        assert abs(loss.item() - curve[i, 0].item()) < 1e-12
        for mine, theirs in zip(replicas.member(end, i).parameters(), net.parameters(), strict=True):
            assert (mine - (theirs - 0.1 * theirs.grad)).abs().max() < 1e-12


def test_what_diverges_does_not_touch_the_others():
    x, y = problem()
    options = {
        "batch_size": 24,
        "num_steps": 40,
        "loss": lambda o, t: mse_loss(o, o.detach() * 0 + 1),
        "generator": seeded(),
    }
    both, curve = replicas.train(stack(2), x, y, lr=torch.tensor([0.1, 1e6]), **options)
    alone, _ = replicas.train(stack(2)[:1], x, y, lr=0.1, **options)
    assert not curve[1].isfinite().all() and curve[0].isfinite().all()
    assert all((both.params[name][0] - value[0]).abs().max() < 1e-7 for name, value in alone.params.items())


def test_sharpness_aware_step():
    x, y = problem()
    end, _ = replicas.train(
        stack(), x, y, lr=0.1, radius=0.3, batch_size=24, num_steps=1, loss=cross_entropy, generator=seeded()
    )
    _, loss, flat = hessian_of(stack(), 2, x, y)
    slope = torch.func.grad(loss)(flat)
    expected = flat - 0.1 * torch.func.grad(loss)(flat + 0.3 * slope / slope.norm())
    assert (torch.cat([v[2].flatten() for v in end.params.values()]) - expected).abs().max() < 1e-12


def test_evaluate():
    x, y = problem()
    losses, errors = replicas.evaluate(stack(), x, y, loss=cross_entropy)
    net = replicas.member(stack(), 1)
    assert abs(losses[1] - cross_entropy(net(x), y)) < 1e-12
    assert abs(errors[1] - (net(x).argmax(1) != y).double().mean()) < 1e-12
    target = nn.functional.one_hot(y, 3).to(DTYPE)
    assert torch.equal(replicas.evaluate(stack(), x, target, loss=mse_loss)[1], errors)


def test_largest_and_trace_against_the_dense_hessian():
    x, y = problem()
    tops, vectors = sharpness.largest(stack(), x, y, loss=cross_entropy, num_steps=60, generator=seeded())
    times = sharpness.product(stack(), x, y, loss=cross_entropy)
    estimate, error = sharpness.trace(stack(), x, y, loss=cross_entropy, num_products=200, generator=seeded())
    for i in range(3):
        dense, _, flat = hessian_of(stack(), i, x, y)
        values = torch.linalg.eigvalsh(dense)
        assert abs(tops[i] - values[-1]) < 1e-10 and abs(vectors[i].norm() - 1) < 1e-12
        assert (dense @ vectors[i] - tops[i] * vectors[i]).norm() < 1e-4
        probe = torch.randn(3, len(flat), generator=seeded(3), dtype=DTYPE)
        assert (times(probe)[i] - dense @ probe[i]).abs().max() < 1e-12
        assert abs(estimate[i] - dense.trace()) < 4 * error[i]


def test_a_warm_start_needs_few_products():
    x, y = problem()
    tops, vectors = sharpness.largest(stack(), x, y, loss=cross_entropy, num_steps=60, generator=seeded())
    again, _ = sharpness.largest(stack(), x, y, loss=cross_entropy, num_steps=2, begin=vectors, generator=seeded())
    assert (tops - again).abs().max() < 1e-9


def test_the_largest_is_not_the_largest_in_magnitude():
    bent, x, loss = bowl([1.0, 2.0])
    upside_down = lambda output, target: -loss(output, target)  # noqa: E731
    top, _ = sharpness.largest(bent, x, x, loss=upside_down, generator=seeded())
    assert abs(top.item() + 1.0) < 1e-12


def test_worst_case_in_a_bowl():
    bent, x, loss = bowl([0.5, 3.0, 8.0])
    rise = sharpness.worst_case(bent, x, x, radius=0.2, loss=loss, num_steps=60, generator=seeded())
    assert rise.item() == pytest.approx(0.5 * 8.0 * 0.2**2, rel=1e-3) and rise.item() <= 0.5 * 8.0 * 0.2**2 + 1e-12


def test_worst_case_on_a_hilltop_is_no_rise():
    bent, x, loss = bowl([1.0, 2.0])
    rise = sharpness.worst_case(bent, x, x, radius=0.2, loss=lambda o, t: -loss(o, t), generator=seeded())
    assert rise.item() == 0


def test_rescaled_layers_compute_the_same_and_curve_otherwise():
    x, y = problem()
    factors = torch.tensor([[2.0, 0.25, 2.0], [1.0, 1.0, 1.0], [8.0, 1.0, 0.125]], dtype=DTYPE)
    moved = sharpness.rescale_layers(stack(), factors)
    for i in range(3):
        assert (replicas.member(moved, i)(x) - replicas.member(stack(), i)(x)).abs().max() < 1e-12
    before, after = (
        sharpness.largest(s, x, y, loss=cross_entropy, num_steps=60, generator=seeded())[0] for s in (stack(), moved)
    )
    assert abs(after[1] - before[1]) < 1e-9 and after[2] > 4 * before[2]
    name = "4.weight"  # of the last layer, curvatures grow with the square of what its weights were divided by
    blocks = [hessian_of(s, 2, x, y)[0][-18:-3, -18:-3] for s in (stack(), moved)]
    assert (blocks[1] - 64 * blocks[0]).abs().max() < 1e-9 and moved.params[name][2].numel() == 15


def refuse(function, *args, **options):
    return lambda: function(*args, **options)


X, Y = problem()
TRAIN = {"lr": 0.1, "batch_size": 24, "num_steps": 1, "loss": cross_entropy, "generator": seeded()}
REFUSALS = {
    "start: seeds must hold": refuse(replicas.start, lambda g: nn.Linear(2, 2), seeds=[]),
    "start: build must make modules with parameters": refuse(replicas.start, lambda g: nn.BatchNorm1d(2), seeds=[0]),
    "start: build must make modules of one shape": refuse(
        replicas.start, lambda g: nn.Linear(2, g.initial_seed()), seeds=[1, 2]
    ),
    "member: i must lie in 0 … 2": refuse(replicas.member, stack(), 3),
    "Stacked: which must be a slice": lambda: stack()[0],
    "gradients: loss must return a scalar": lambda: replicas.gradients(
        stack(), X, Y, loss=lambda o, t: cross_entropy(o, t, reduction="none")
    ),
    "train: num_steps must be": lambda: replicas.train(stack(), X, Y, **{**TRAIN, "num_steps": 0}),
    "train: batch_size must be <= n": lambda: replicas.train(stack(), X, Y, **{**TRAIN, "batch_size": 25}),
    "train: momentum must lie": lambda: replicas.train(stack(), X, Y, **TRAIN, momentum=1.0),
    "train: lr must be > 0, got 0": lambda: replicas.train(stack(), X, Y, **{**TRAIN, "lr": 0.0}),
    "train: lr must be > 0 and finite, one number or (3,)": lambda: replicas.train(
        stack(), X, Y, **{**TRAIN, "lr": torch.ones(2)}
    ),
    "train: radius must be a finite number >= 0": lambda: replicas.train(stack(), X, Y, **TRAIN, radius=math.nan),
    "train: generator must be": lambda: replicas.train(stack(), X, Y, **{**TRAIN, "generator": None}),
    "product: loss must bend": lambda: sharpness.product(*linear(), loss=lambda o, t: o.mean()),
    "largest: num_steps": lambda: sharpness.largest(stack(), X, Y, loss=cross_entropy, num_steps=1, generator=seeded()),
    "largest: the Hessian must be finite": lambda: sharpness.largest(
        stack(), X * math.inf, Y, loss=cross_entropy, generator=seeded()
    ),
    "trace: num_products": lambda: sharpness.trace(
        stack(), X, Y, loss=cross_entropy, num_products=1, generator=seeded()
    ),
    "worst_case: radius must be > 0": lambda: sharpness.worst_case(
        stack(), X, Y, radius=0, loss=cross_entropy, generator=seeded()
    ),
    "rescale_layers: stacked must hold": lambda: sharpness.rescale_layers(stack(activation="tanh"), torch.ones(3)),
    "rescale_layers: factors must be (3,) or (3, 3)": lambda: sharpness.rescale_layers(stack(), torch.ones(2)),
    "rescale_layers: factors must be > 0 with product 1": lambda: sharpness.rescale_layers(
        stack(), torch.tensor([2.0, 1.0, 1.0])
    ),
}


def linear():
    return replicas.start(lambda g: models.mlp([4, 3], generator=g), seeds=[0]).to(DTYPE), X, Y


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        REFUSALS[message]()
