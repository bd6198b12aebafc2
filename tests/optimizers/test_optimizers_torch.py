"""Each optimizer takes torch's steps, or those of a well-kept package, in float64: to 1e-12 over 200 steps."""

import pytest
import torch

from labsupport import optimizers

DTYPE = torch.float64
T = torch.optim

RULES = {
    "sgd": (optimizers.sgd(), {"lr": 0.05}, lambda p, **o: T.SGD(p, **o), {"lr": 0.05}),
    "momentum": (
        optimizers.momentum(),
        {"lr": 0.02, "momentum": 0.8},
        lambda p, **o: T.SGD(p, **o),
        {"lr": 0.02, "momentum": 0.8},
    ),
    "nesterov": (
        optimizers.nesterov(),
        {"lr": 0.02, "momentum": 0.8},
        lambda p, **o: T.SGD(p, nesterov=True, **o),
        {"lr": 0.02, "momentum": 0.8},
    ),
    "adagrad": (optimizers.adagrad(), {"lr": 0.05}, T.Adagrad, {"lr": 0.05}),
    "adagrad from 0.1": (
        optimizers.adagrad(initial=0.1),
        {"lr": 0.05},
        T.Adagrad,
        {"lr": 0.05, "initial_accumulator_value": 0.1},
    ),
    "rmsprop": (optimizers.rmsprop(), {"lr": 0.01}, T.RMSprop, {"lr": 0.01}),
    "rmsprop, decay": (optimizers.rmsprop(), {"lr": 0.01, "decay": 0.9}, T.RMSprop, {"lr": 0.01, "alpha": 0.9}),
    "adadelta": (optimizers.adadelta(), {}, T.Adadelta, {}),
    "adam": (optimizers.adam(), {"lr": 0.01}, T.Adam, {"lr": 0.01}),
    "adam, betas": (
        optimizers.adam(),
        {"lr": 0.01, "beta1": 0.5, "beta2": 0.9},
        T.Adam,
        {"lr": 0.01, "betas": (0.5, 0.9)},
    ),
    "adamw": (optimizers.adamw(), {"lr": 0.01}, T.AdamW, {"lr": 0.01}),
    "nadam": (optimizers.nadam(), {"lr": 0.01}, T.NAdam, {"lr": 0.01}),
}


OF_TODAY = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has no Muon before 2.9")

@pytest.fixture
def in_double():
    """torch keeps NAdam's product of momenta in the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(DTYPE)
    yield
    torch.set_default_dtype(before)


def start():
    draw = torch.Generator().manual_seed(0)
    return {"a": torch.randn(3, 4, generator=draw, dtype=DTYPE), "b": torch.randn(5, generator=draw, dtype=DTYPE)}


def slope(step, value):
    """A gradient that hangs on the place, and noise."""
    noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(step), dtype=DTYPE)
    return torch.sin(3 * value.detach()) + 0.3 * noise


def ours(rule, settings, num_steps=200, rates=None):
    """Answers after the steps, as a list."""
    params = start()
    state, settings = rule.init(params), dict(rule.defaults) | settings
    for at in range(num_steps):
        settings |= {} if rates is None else {"lr": rates(at)}
        place = params if rule.at is None else rule.at(params, state, settings)
        grads = {name: slope(at, value) for name, value in place.items()}
        params, state = rule.update(grads, state, params, settings)
    return list(params.values())


def stepped(optimizer, values, num_steps=200, rates=None):
    for at in range(num_steps):
        for value in values:
            value.grad = slope(at, value)
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] if rates is None else rates(at)
        optimizer.step()
    return [value.detach() for value in values]


def apart(some, others):
    return max(float((a - b).abs().max()) for a, b in zip(some, others, strict=True))


@pytest.mark.parametrize("rates", [None, lambda at: 0.01 / (1 + at % 7)], ids=["still", "changing"])
@pytest.mark.parametrize("decay", [0.0, 0.03])
@pytest.mark.parametrize("name", RULES)
def test_each_rule_takes_the_steps_of_torch(in_double, name, decay, rates):
    rule, settings, make, options = RULES[name]
    values = [value.requires_grad_() for value in start().values()]
    theirs = stepped(make(values, weight_decay=decay, foreach=False, **options), values, rates=rates)
    assert apart(ours(rule, settings | {"weight_decay": decay}, rates=rates), theirs) < 1e-12


def test_adamw_decays_by_a_hundredth_unless_told_otherwise():
    values = [value.requires_grad_() for value in start().values()]
    theirs = stepped(T.AdamW(values, lr=0.02), values)
    assert apart(ours(optimizers.adamw(), {"lr": 0.02}), theirs) < 1e-12


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_lars_takes_the_steps_of_a_well_kept_package(decay):
    from pytorch_optimizer import LARS

    values = [value.requires_grad_() for value in start().values()]
    theirs = stepped(LARS(values, lr=0.5, momentum=0.8, weight_decay=decay, trust_coefficient=0.02), values)
    settings = {"lr": 0.5, "momentum": 0.8, "weight_decay": decay, "trust": 0.02, "eps": 0.0}
    found = ours(optimizers.lars(), settings)
    assert apart(found, theirs) < 1e-12
    other = ours(optimizers.lars(), settings | {"trust": 0.021})
    assert apart(other[:1], found[:1]) > 1e-3 and apart(other[1:], found[1:]) == 0  # the vector takes plain steps


@OF_TODAY
def test_muon_decays_as_torch_does():
    value, rule = torch.full((2, 3), 2.0, requires_grad=True), optimizers.muon()
    value.grad = torch.zeros_like(value)
    params = {"w": value.detach().clone()}
    T.Muon([value], lr=0.1, weight_decay=0.3).step()
    settings = dict(rule.defaults) | {"lr": 0.1, "weight_decay": 0.3}
    moved, _ = rule.update({"w": value.grad}, rule.init(params), params, settings)
    assert apart([moved["w"]], [value.detach()]) < 1e-7


@OF_TODAY
def test_muon_goes_where_torch_goes():
    """Up to the length, and to the bfloat16 in which torch iterates."""
    value, rule = torch.zeros(50, 64, requires_grad=True), optimizers.muon()
    params = {"w": value.detach().clone()}
    state, theirs = rule.init(params), T.Muon([value], lr=0.1, momentum=0.9, weight_decay=0.0)
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}
    for at in range(5):
        before = params["w"], value.detach().clone()
        value.grad = slope(at, value).float()
        theirs.step()
        params, state = rule.update({"w": value.grad}, state, params, settings)
        steps = (params["w"] - before[0]).flatten(), (value.detach() - before[1]).flatten()
        assert torch.cosine_similarity(*steps, dim=0) > 0.99


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("rates", [None, lambda at: 0.05 * min(1, (at + 1) / 40)], ids=["still", "warm-up"])
def test_schedule_free_takes_the_steps_of_a_well_kept_package(rates, decay):
    from pytorch_optimizer import ScheduleFreeSGD

    values = [value.requires_grad_() for value in start().values()]
    theirs = ScheduleFreeSGD(values, lr=0.05, momentum=0.85, weight_decay=decay)
    stepped(theirs, values, rates=rates)
    theirs.eval()
    found = ours(optimizers.schedule_free(), {"lr": 0.05, "momentum": 0.85, "weight_decay": decay}, rates=rates)
    assert apart(found, [value.detach() for value in values]) < 1e-12


@pytest.mark.parametrize("limit", [0.3, 1e6])
def test_clipping_is_that_of_torch(limit):
    for rule, name, clip in (
        (optimizers.clipped_value(optimizers.sgd()), "clip_value", torch.nn.utils.clip_grad_value_),
        (optimizers.clipped_norm(optimizers.sgd()), "clip_norm", torch.nn.utils.clip_grad_norm_),
    ):
        params = start()
        twin = [torch.zeros_like(value).requires_grad_() for value in params.values()]
        for value, other in zip(params.values(), twin, strict=True):
            other.grad = value.clone()
        clip(twin, limit)
        at_zero = {key: torch.zeros_like(value) for key, value in params.items()}
        moved, _ = rule.update(params, rule.init(at_zero), at_zero, {"lr": 1.0, "weight_decay": 0.0, name: limit})
        gap = apart(moved.values(), [-value.grad for value in twin])
        assert gap <= (0 if name == "clip_value" else 1e-6)  # torch divides by the length plus 1e-6
