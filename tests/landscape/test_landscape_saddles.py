"""Critical points against closed forms: signs of curvatures, escape times, and which noise lets walkers leave."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labsupport import data
from labsupport.landscape import plateaus, saddles

DTYPE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rotated(eigenvalues, seed=0):
    dim = len(eigenvalues)
    basis, _ = torch.linalg.qr(torch.randn(dim, dim, generator=seeded(seed), dtype=DTYPE))
    matrix = basis @ torch.diag(torch.tensor(eigenvalues, dtype=DTYPE)) @ basis.mT
    return (matrix + matrix.mT) / 2


@given(st.lists(st.sampled_from([-3.0, -0.5, 0.0, 0.25, 2.0]), min_size=1, max_size=7), st.integers(0, 99))
def test_inertia_counts_signs_in_any_basis(eigenvalues, seed):
    signs = saddles.inertia(rotated(eigenvalues, seed))
    assert signs == (sum(v < 0 for v in eigenvalues), eigenvalues.count(0.0), sum(v > 0 for v in eigenvalues))


def test_what_is_small_beside_the_largest_counts_as_zero():
    for size in (1e-3, 1.0, 1e3):
        matrix = size * rotated([100.0, 0.05, -5.0], 0)
        assert saddles.inertia(matrix, tolerance=1e-3) == (1, 1, 1)
        assert saddles.inertia(matrix, tolerance=1e-4) == (1, 0, 2)


def test_kinds():
    assert saddles.kind(saddles.Inertia(1, 0, 1)) == "strict saddle"
    assert saddles.kind(saddles.Inertia(1, 1, 0)) == "strict saddle"
    assert saddles.kind(saddles.Inertia(2, 0, 0)) == "maximum"
    assert saddles.kind(saddles.Inertia(0, 0, 2)) == "minimum"
    assert saddles.kind(saddles.Inertia(0, 1, 1)) == "undecided"


def test_hessian_against_the_closed_form():
    point = torch.tensor([0.3, -0.7], dtype=DTYPE)
    expected = torch.diag(torch.stack((torch.ones((), dtype=DTYPE), 3 * point[1] ** 2 - 1)))
    assert torch.allclose(saddles.hessian(data.strict_saddle, point), expected, atol=1e-14)


def test_the_chain_is_a_strict_saddle_at_depth_two_only():
    kinds = [
        saddles.kind(saddles.inertia(saddles.hessian(data.linear_chain, torch.zeros(d, dtype=DTYPE))))
        for d in (2, 3, 4)
    ]
    assert kinds == ["strict saddle", "undecided", "undecided"]


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_escape_time_is_the_walk_on_a_quadratic(momentum):
    predicted = [saddles.escape_time(u, curvature=-0.4, lr=0.05, momentum=momentum) for u in (1e-3, 1e-9)]
    offsets = torch.tensor([[1e-3], [1e-9]], dtype=DTYPE)
    descent = saddles.Descent(0.05, momentum)
    walked = saddles.first_passage(lambda u: -0.4 * u, offsets, lambda u: u[:, 0] >= 1, descent, max_steps=5000)
    difference = (walked[1] - walked[0]).item()  # the velocity's build-up cancels
    assert abs(difference - (predicted[1] - predicted[0])) <= 1
    if momentum == 0:
        assert walked.tolist() == [math.ceil(p) for p in predicted]


def test_momentum_is_torch_s():
    weights = torch.tensor([1.0, -2.0], dtype=DTYPE, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=0.1, momentum=0.8)
    walkers = saddles.start(weights.detach().clone()[None])
    for _ in range(5):
        optimizer.zero_grad()
        data.strict_saddle(weights).backward()
        optimizer.step()
        x, y = walkers.position.unbind(-1)
        walkers = saddles.step(walkers, torch.stack((x, y**3 - y), -1), lr=0.1, momentum=0.8)
    assert torch.equal(walkers.position[0], weights.detach())


def pass_with(noise, *, replicas=64, dim=20, offset=0.0):
    curvatures = torch.linspace(0.1, 2, dim, dtype=DTYPE)
    curvatures[0] = -0.25
    begin = torch.randn(replicas, dim, generator=seeded(1), dtype=DTYPE)
    begin[:, 0] = offset
    return saddles.first_passage(
        lambda p: p * curvatures,
        begin,
        lambda p: p[:, 0].abs() > 1,
        saddles.Descent(0.1, noise=noise),
        max_steps=1500,
        generator=seeded(2),
    )


def test_only_noise_along_the_way_out_helps():
    stable = torch.eye(20, dtype=DTYPE)[:, 1:]
    assert pass_with(None).isinf().all()
    assert pass_with(saddles.in_directions(stable, 10.0)).isinf().all()
    assert pass_with(saddles.multiplicative(0.5)).isinf().all()
    assert pass_with(saddles.isotropic(1e-6)).isfinite().all()
    assert pass_with(saddles.in_directions(torch.eye(20, dtype=DTYPE)[:, :1], 1e-6)).isfinite().all()
    assert pass_with(saddles.ball_when_flat(0.01, threshold=0.1, every=20)).isfinite().all()


def test_a_factor_ten_in_noise_costs_the_logarithm():
    strong, weak = pass_with(saddles.isotropic(1e-4)), pass_with(saddles.isotropic(1e-6))
    assert abs((weak - strong).mean().item() - math.log(100) / math.log(1.025)) < 1


def test_noise_has_the_size_it_says():
    gradient = torch.zeros(4000, 3, dtype=DTYPE)
    spread = saddles.isotropic(0.3)(gradient, 0, 0.1, seeded()).std(0)
    assert ((spread / 0.3 - 1).abs() < 4 / math.sqrt(2 * 4000)).all()
    jumps = -0.1 * saddles.ball_when_flat(0.5, threshold=1.0, every=2)(gradient, 0, 0.1, seeded())
    assert jumps.norm(dim=1).max() <= 0.5
    assert abs((jumps.norm(dim=1) <= 0.25).double().mean().item() - 0.125) < 4 * math.sqrt(0.125 * 0.875 / 4000)
    assert torch.equal(saddles.ball_when_flat(0.5, threshold=1.0, every=2)(gradient, 1, 0.1, seeded()), gradient)
    assert torch.equal(
        saddles.ball_when_flat(0.5, threshold=1.0, every=2)(gradient + 9, 0, 0.1, seeded()), gradient + 9
    )


def test_walk_and_first_passage_agree():
    begin = torch.tensor([[1.2, 1e-3], [1.2, 0.0]], dtype=DTYPE)

    def gradient(p):
        return torch.stack((p[:, 0], p[:, 1] ** 3 - p[:, 1]), -1)

    positions = saddles.walk(gradient, begin, saddles.Descent(0.1), num_steps=120)
    passed = saddles.first_passage(gradient, begin, lambda p: p[:, 1].abs() > 0.5, saddles.Descent(0.1), max_steps=120)
    assert positions.shape == (121, 2, 2)
    assert passed[0] == (positions[:, 0, 1] > 0.5).int().argmax() and passed[1] == math.inf


def test_plateau_losses_equal_an_ordinary_network():
    x = torch.randn(30, 5, generator=seeded(3), dtype=DTYPE)
    y = torch.arange(30) % 3
    curves = plateaus.losses(
        x, y, num_layers=3, scale=0.7, replicas=2, lr=0.2, num_steps=6, width=4, generator=seeded(4)
    )
    draw = seeded(4)
    weights = [
        torch.randn(2, a, b, generator=draw, dtype=DTYPE) * 0.7 / math.sqrt(a) for a, b in ((5, 4), (4, 4), (4, 3))
    ]
    one = [torch.nn.Parameter(w[1].clone()) for w in weights]
    optimizer = torch.optim.SGD(one, lr=0.2)
    for t in range(6):
        loss = torch.nn.functional.cross_entropy(torch.tanh(torch.tanh(x @ one[0]) @ one[1]) @ one[2], y)
        assert abs(loss.item() - curves[1, t].item()) < 1e-12
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_plateau_length():
    curves = torch.tensor([[3.0, 2.0, 1.0], [3.0, 3.0, 3.0]])
    assert plateaus.plateau_length(curves, below=2.5).tolist() == [1, math.inf]


ONE = torch.zeros(1, 1, dtype=DTYPE)
REFUSALS = {
    "hessian: point must be a floating": lambda: saddles.hessian(data.strict_saddle, torch.zeros(2, 2)),
    "hessian: f must return one number": lambda: saddles.hessian(lambda p: p, torch.zeros(2)),
    "inertia: matrix must be square": lambda: saddles.inertia(torch.zeros(2, 3)),
    "inertia: matrix must be symmetric": lambda: saddles.inertia(torch.tensor([[1.0, 2.0], [0.0, 1.0]])),
    "inertia: matrix must be finite": lambda: saddles.inertia(torch.full((2, 2), math.nan)),
    "inertia: tolerance": lambda: saddles.inertia(torch.eye(2), tolerance=-1),
    "escape_time: offset": lambda: saddles.escape_time(0.0, curvature=-1, lr=0.1),
    "escape_time: curvature": lambda: saddles.escape_time(0.1, curvature=1, lr=0.1),
    "escape_time: lr": lambda: saddles.escape_time(0.1, curvature=-1, lr=math.nan),
    "escape_time: momentum": lambda: saddles.escape_time(0.1, curvature=-1, lr=0.1, momentum=1),
    "start: position": lambda: saddles.start(torch.zeros(3)),
    "start: position must be finite": lambda: saddles.start(torch.full((1, 1), math.nan)),
    "isotropic: std": lambda: saddles.isotropic(-1.0),
    "in_directions: directions must have orthonormal": lambda: saddles.in_directions(torch.ones(3, 2), 1.0),
    "ball_when_flat: every": lambda: saddles.ball_when_flat(1.0, threshold=1, every=0),
    "walk: generator must be a torch.Generator": lambda: saddles.walk(
        lambda p: p, ONE, saddles.Descent(0.1, noise=saddles.isotropic(1.0)), num_steps=1
    ),
    "first_passage: max_steps must be": lambda: saddles.first_passage(
        lambda p: p, ONE, lambda p: p[:, 0] > 1, saddles.Descent(0.1), max_steps=0
    ),
    "losses: x, y must be": lambda: plateaus.losses(
        torch.zeros(3), torch.zeros(3), num_layers=1, scale=1, replicas=1, lr=1, num_steps=1, generator=seeded()
    ),
    "losses: x, y must be .*got torch.float32 .0, 2.": lambda: plateaus.losses(
        torch.zeros(0, 2), torch.zeros(0).long(), num_layers=1, scale=1, replicas=1, lr=1, num_steps=1,
        generator=seeded(),
    ),
    "losses: scale must be > 0": lambda: plateaus.losses(
        torch.zeros(3, 2),
        torch.zeros(3).long(),
        num_layers=1,
        scale=0,
        replicas=1,
        lr=1,
        num_steps=1,
        generator=seeded(),
    ),
    "plateau_length: curves": lambda: plateaus.plateau_length(torch.zeros(3), below=1),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        REFUSALS[message]()


def passing(gradient=lambda p: -p, escaped=lambda p: p[:, 0] > 1, position=None, **changed):
    position = torch.full((3, 2), 0.5, dtype=DTYPE) if position is None else position
    generator = changed.pop("generator", None)
    options = {"max_steps": changed.pop("max_steps", 20), "generator": generator}
    return saddles.first_passage(gradient, position, escaped, saddles.Descent(**{"lr": 0.1, **changed}), **options)


def lost(y, **changed):
    options = {"num_layers": 1, "scale": 1, "replicas": 1, "lr": 1, "num_steps": 1, **changed}
    return plateaus.losses(torch.ones(3, 2), y, **options, generator=seeded())


LOOK_ALIKES = {
    "hessian: point must be a floating (dim,) tensor, got list": lambda: saddles.hessian(data.strict_saddle, [0.0]),
    "hessian: f must return one number as a tensor, got float": lambda: saddles.hessian(
        lambda p: p.sum().item(), torch.zeros(2)
    ),
    "hessian: f must be differentiable by torch": lambda: saddles.hessian(lambda p: p.detach().sum(), torch.zeros(2)),
    "inertia: matrix must be a real tensor, got torch.complex64": lambda: saddles.inertia(torch.eye(2) * 1j),
    "inertia: matrix must be a real tensor, got list": lambda: saddles.inertia([[1.0]]),
    "kind: signs must be an Inertia": lambda: saddles.kind(torch.eye(2)),
    "escape_time: offset must be a finite number": lambda: saddles.escape_time("1", curvature=-1, lr=0.1),
    "escape_time: curvature must be a finite": lambda: saddles.escape_time(0.1, curvature=-math.inf, lr=0.1),
    "escape_time: lr must be a finite number >= 0, got True": lambda: saddles.escape_time(0.1, curvature=-1, lr=True),
    "start: position must be a floating (replicas, dim) tensor, got list": lambda: saddles.start([[1.0]]),
    "start: position must be a floating (replicas, dim) tensor, got torch.float32 (0, 2)": lambda: saddles.start(
        torch.zeros(0, 2)
    ),
    "step: gradient must be": lambda: saddles.step(saddles.start(ONE), ONE[0], lr=0.1),
    "step: lr must be a finite number >= 0, got -0.1": lambda: saddles.step(saddles.start(ONE), ONE, lr=-0.1),
    "in_directions: directions must have orthonormal columns, got torch.int64": lambda: saddles.in_directions(
        torch.eye(2).long(), 1.0
    ),
    "in_directions: directions must have orthonormal columns, got torch.float32 (2, 0)": lambda: saddles.in_directions(
        torch.eye(2)[:, :0], 1.0
    ),
    "in_directions: directions must fit the gradient, torch.float64 (3, 2), got torch.float32 (2, 2)": lambda: passing(
        noise=saddles.in_directions(torch.eye(2), 1.0), generator=seeded()
    ),
    "noise: generator must be": lambda: saddles.isotropic(1.0)(ONE, 0, 0.1, None),
    "Descent: noise must be a function such as isotropic(std), or None, got 0.1": lambda: passing(noise=0.1),
    "first_passage: gradient must be torch.float64 (3, 2), as the positions are, got torch.float64 ()": lambda: passing(
        lambda p: p.sum()
    ),
    "first_passage: gradient must be torch.float64 (3, 2), as the positions are, got torch.float32": lambda: passing(
        lambda p: p.float()
    ),
    "first_passage: gradient must be torch.float64 (3, 2), as the positions are, got NoneType": lambda: passing(
        lambda p: None
    ),
    "first_passage: escaped must return booleans of shape (3,), got torch.int64 (3,)": lambda: passing(
        escaped=lambda p: (p[:, 0] > 1).long()
    ),
    "first_passage: escaped must return booleans of shape (3,), got torch.bool ()": lambda: passing(
        escaped=lambda p: (p[:, 0] > 1).all()
    ),
    "first_passage: escaped must return booleans of shape (3,), got NoneType": lambda: passing(escaped=lambda p: None),
    "losses: y must be int64 or int32 on cpu, got torch.float32": lambda: lost(torch.zeros(3)),
    "losses: y must hold class numbers >= 0, got -1": lambda: lost(torch.tensor([0, 1, -1])),
    "losses: x, y must be (examples, inputs), (examples,), got torch.float32 [3, 2], list": lambda: lost([0, 1, 0]),
    "plateau_length: curves must be (replicas, steps >= 1), got torch.float32 [2, 0]": lambda: plateaus.plateau_length(
        torch.zeros(2, 0), below=1
    ),
    "plateau_length: below must be a finite number, got nan": lambda: plateaus.plateau_length(ONE, below=math.nan),
}


@pytest.mark.parametrize("message", LOOK_ALIKES)
def test_look_alikes_are_refused(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        LOOK_ALIKES[message]()


def test_what_diverges_is_not_said_to_stay_for_ever():
    curves = torch.tensor([[3.0, math.nan, math.nan], [3.0, 1.0, math.nan], [3.0, 3.0, 3.0]])
    assert str(plateaus.plateau_length(curves, below=2).tolist()) == "[nan, 1.0, inf]"
    wild = torch.tensor([[0.5, 0.0], [0.5, 9.0]], dtype=DTYPE)
    with pytest.warns(RuntimeWarning, match="first_passage: 1 of 2 walkers became NaN or infinite"):
        steps = passing(lambda p: torch.stack((0 * p[:, 1], p[:, 1] ** 3), 1), position=wild)
    assert str(steps.tolist()) == "[inf, nan]"


def test_a_gradient_may_work_in_place():
    begin = torch.full((3, 2), 0.5, dtype=DTYPE)
    walks = [saddles.walk(f, begin, saddles.Descent(0.1), num_steps=3) for f in (lambda p: p.mul_(-1), lambda p: -p)]
    assert torch.equal(*walks) and (begin == 0.5).all()


def test_zeros_of_a_float32_matrix_are_zeros():
    for seed in range(20):
        assert saddles.inertia(rotated([0.0, 0.0, 0.0, 1.0, 2.0, 3.0], seed).float()) == (0, 3, 3)
    begin = torch.zeros(2, 2, dtype=DTYPE, requires_grad=True)
    assert saddles.inertia(begin + torch.eye(2, dtype=DTYPE)) == (0, 0, 2)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_escape_time_of_a_nearly_flat_direction(momentum):
    """There the walk is slow, and the time is (1 − ρ) log(radius / offset) / (lr |h|)."""
    flat = saddles.escape_time(0.1, curvature=-1e-18, lr=0.1, momentum=momentum)
    assert math.isclose(flat, (1 - momentum) * math.log(10) / 1e-19, rel_tol=1e-12)


def test_losses_run_under_no_grad():
    with torch.no_grad():
        assert lost(torch.arange(3), num_steps=2).isfinite().all()


def test_who_starts_beyond_has_taken_no_step():
    starts = torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    steps = saddles.first_passage(
        lambda points: -points, starts, lambda points: points[:, 0] > 2, saddles.Descent(0.5), max_steps=9
    )
    assert steps.tolist() == [0, 2, math.inf]
