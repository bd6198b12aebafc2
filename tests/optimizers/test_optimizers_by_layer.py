"""Rates by layer against torch's parameter groups; layers that rest and thaw; members of many; what goes around it."""

import pytest
import torch
from torch.func import vmap
from torch.utils._pytree import tree_map

from labsupport import optimizers, population

O = optimizers  # noqa: E741
T = torch.optim
DTYPE = torch.float64
SHAPES = {"0.weight": (3, 4), "0.bias": (3,), "body.2.weight": (2, 3), "body.20.weight": (2, 2), "head": (5,)}
LAYERS = ("0", "body.2")
TORCH = {
    "sgd": (O.momentum(), T.SGD, {"momentum": 0.8, "weight_decay": 0.03}, {"momentum": 0.8, "weight_decay": 0.03}),
    "adam": (O.adam(), T.Adam, {"beta1": 0.7, "weight_decay": 0.03}, {"betas": (0.7, 0.999), "weight_decay": 0.03}),
    "adamw": (O.adamw(), T.AdamW, {"weight_decay": 0.1}, {"weight_decay": 0.1}),
}
INNER = {
    "sgd": O.sgd(),
    "momentum": O.momentum(),
    "adagrad": O.adagrad(initial=0.1),
    "adadelta": O.adadelta(),
    "adamw": O.adamw(),
    "nadam": O.nadam(form="dozat"),
    "lars": O.lars(),
    "schedule_free": O.schedule_free(),
    "averaged": O.averaged(O.momentum(), start=2),
    "accumulated": O.accumulated(O.adam(), num_batches=2),
    "clipped_value": O.clipped_value(O.rmsprop()),
    "nested": O.accumulated(O.averaged(O.clipped_value(O.adam())), num_batches=3),
}


def start():
    draw = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=draw, dtype=DTYPE) for name, shape in SHAPES.items()}


def slope(step, value):
    """A gradient that hangs on the place, and noise."""
    noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(step), dtype=DTYPE)
    return torch.sin(3 * value.detach()) + 0.3 * noise


def settings_of(rule, given):
    needed = {"lr": 0.05, "clip_norm": 0.5, "clip_value": 0.3}
    return {name: needed[name] if value is None else value for name, value in rule.defaults.items()} | given


def taken(rule, given, steps, params=None, state=None):
    """Parameters and state after the steps; `given` are settings, or a function of the step that gives them."""
    params = start() if params is None else params
    state = rule.init(params) if state is None else state
    for at in steps:
        settings = settings_of(rule, given(at) if callable(given) else given)
        place = params if rule.at is None else rule.at(params, state, settings)
        params, state = rule.update({k: slope(at, v) for k, v in place.items()}, state, params, settings)
    return params, state


def of_layer(tree, layer):
    """Parameters or slots of one layer."""
    return {name: value for name, value in tree.items() if name.startswith((f"{layer}.", f"{layer}:"))}


def equal(some, others, tolerance=0.0):
    assert some.keys() == others.keys()
    gaps = tree_map(lambda a, b: float((a - b).abs().max()), some, others)
    return all(gap <= tolerance for gap in torch.utils._pytree.tree_leaves(gaps))


def by_torch(make, options, rates, num_steps):
    """Parameters after torch's steps; `rates(step)` gives (lr, rate of layer 0, rate of layer body.2)."""
    params = {name: value.requires_grad_() for name, value in start().items()}
    groups = [{"params": list(of_layer(params, layer).values())} for layer in LAYERS]
    groups.append({"params": [params["body.20.weight"], params["head"]]})
    optimizer = make(groups, lr=0.1, foreach=False, **options)
    for at in range(num_steps):
        lr, *factors = rates(at)
        for group, factor in zip(optimizer.param_groups, (*factors, 1.0), strict=True):
            group["lr"] = lr * factor
            for value in group["params"]:
                value.grad = slope(at, value) if factor else None
        optimizer.step()
    return {name: value.detach() for name, value in params.items()}


def still(at):
    return 0.02, 0.3, 1.7


def moving(at):
    return 0.02 / (1 + at % 7), 1 / (1 + at % 3), 0.5 + at / 100


def thawing(at):
    """Layer 0 thaws at step 60 and rests again from 90 to 120; body.2 begins at step 120."""
    return 0.02, 0.3 * (60 <= at < 90 or at >= 120), 1.7 * (at >= 120)


@pytest.mark.parametrize("kind", ["numbers", "tensors"])
@pytest.mark.parametrize("rates", [still, moving, thawing])
@pytest.mark.parametrize("name", TORCH)
def test_the_steps_are_those_of_torchs_groups(name, rates, kind):
    inner, make, settings, options = TORCH[name]
    rule = O.by_layer(inner, layers=LAYERS)

    def given(at):
        numbers = dict(zip(("lr", "rate.0", "rate.body.2"), rates(at), strict=True))
        as_kind = {k: torch.tensor(v, dtype=DTYPE) for k, v in numbers.items()} if kind == "tensors" else numbers
        return settings | as_kind

    theirs = by_torch(make, options, rates, 200)
    assert equal(taken(rule, given, range(200))[0], theirs, 1e-12)
    if rates is thawing:
        frozen, _ = taken(rule, given, range(60))
        assert all(equal(of_layer(frozen, layer), of_layer(start(), layer)) for layer in LAYERS)


@pytest.mark.parametrize("name", INNER)
def test_each_layer_is_the_rule_inside_by_itself(name):
    inner, rates = INNER[name], {"0": 0.3, "body.2": torch.tensor(1.7, dtype=DTYPE)}
    rule = O.by_layer(inner, layers=list(rates))
    found, state = taken(rule, {f"rate.{layer}": rate for layer, rate in rates.items()}, range(7))
    rest = {"": {k: v for k, v in start().items() if k in ("body.20.weight", "head")}}
    for layer, own in (rest | {layer: of_layer(start(), layer) for layer in rates}).items():
        lr = {"lr": settings_of(inner, {})["lr"] * rates.get(layer, 1.0)}
        alone, slots = taken(inner, lr, range(7), own)
        assert equal({k: found[k] for k in own}, alone)
        assert equal({k.rpartition(":")[2]: v for k, v in state.items() if k.rpartition(":")[0] == layer}, slots)


@pytest.mark.parametrize("kind", [float, lambda x: torch.tensor(x, dtype=DTYPE)], ids=["number", "tensor"])
@pytest.mark.parametrize("name", INNER)
def test_at_rate_0_nothing_of_a_layer_moves(name, kind):
    rule = O.by_layer(INNER[name], layers=LAYERS)
    for warm in (0, 3):  # before it has begun, and after
        params, state = taken(rule, {"weight_decay": 0.1, "rate.0": 0.4}, range(warm))
        after, slots = taken(rule, {"weight_decay": 0.1, "rate.0": kind(0.0)}, range(warm, warm + 6), params, state)
        assert equal(of_layer(after, "0"), of_layer(params, "0"))
        assert equal(of_layer(slots, "0"), of_layer(state, "0"))
        assert not any(torch.equal(after[name], params[name]) for name in SHAPES if not name.startswith("0."))


@pytest.mark.parametrize("name", INNER)
def test_at_the_default_it_is_the_rule_inside(name):
    params, _ = taken(INNER[name], {"weight_decay": 0.1}, range(6))
    rule = O.by_layer(INNER[name], layers=LAYERS)
    assert equal(taken(rule, {"weight_decay": 0.1}, range(6))[0], params)
    ones = {f"rate.{layer}": torch.ones((), dtype=DTYPE) for layer in LAYERS}
    assert equal(taken(rule, {"weight_decay": 0.1} | ones, range(6))[0], params, 1e-15)


def test_a_plain_rate_of_1_costs_nothing():
    seen = []

    def update(grads, state, params, settings):
        seen.append(settings["lr"])
        return params, state

    rule, lr = (
        O.by_layer(O.Optimizer("spy", lambda params: {}, update, {"lr": None}, reach="entry"), layers=["a"]),
        torch.ones(()),
    )
    rule.update({"a": lr}, {}, {"a": lr}, {"lr": lr, "rate.a": 1.0})
    rule.update({"a": lr}, {}, {"a": lr}, {"lr": lr, "rate.a": torch.ones(())})
    assert seen[0] is lr and seen[1] is not lr


def members_of(rule):
    """Rates, other settings and start of four members: one rests, one thaws at step 3."""
    lr = torch.tensor([0.1, 0.03, 0.05, 0.1], dtype=DTYPE)
    given = {"lr": lr, "weight_decay": torch.tensor([0.1, 0.0, 0.1, 0.1], dtype=DTYPE)}
    params = {name: torch.stack([value * (i + 1) for i in range(4)]) for name, value in start().items()}

    def at(step):
        own = torch.tensor([0.0, 1.0, 0.3, 0.4 * (step >= 3)], dtype=DTYPE)
        return {"rate.0": own, "rate.body.2": own.flip(0)} | given

    return at, params


@pytest.mark.parametrize("name", INNER)
def test_members_and_stacks_of_them_are_what_each_is_alone(name):
    """By vmap, and with parameters laid out as (members, entries), settings and counts as (members, 1)."""
    rule = O.by_layer(INNER[name], layers=LAYERS)
    at, params = members_of(rule)
    begin, state = params, vmap(rule.init)(params)
    flat = tree_map(lambda value: value.reshape(4, -1), (params, state))
    rest = {k: v for k, v in settings_of(rule, {}).items() if k not in at(0)}
    grads = [{k: slope(10 * step, v) for k, v in params.items()} for step in range(6)]
    for step in range(6):
        own = at(step)
        params, state = vmap(lambda g, s, p, own: rule.update(g, s, p, rest | own))(grads[step], state, params, own)
        if rule.elementwise:
            rows = {k: v.reshape(4, -1) for k, v in grads[step].items()}
            flat = rule.update(rows, flat[1], flat[0], rest | {k: v[:, None] for k, v in own.items()})
            place = params if rule.at is None else vmap(lambda p, s, own: rule.at(p, s, rest | own))(params, state, own)
            shown = flat[0] if rule.at is None else rule.at(*flat, rest | {k: v[:, None] for k, v in own.items()})
            assert equal({k: v.reshape(4, -1) for k, v in place.items()}, shown, 1e-14)
    if rule.elementwise:
        assert equal(tree_map(lambda value: value.reshape(4, -1), (params, state))[0], flat[0], 1e-14)
        assert equal(tree_map(lambda value: value.reshape(4, -1), state), flat[1], 1e-14)
    for i in range(4):
        alone = {k: v[i] for k, v in begin.items()}
        slots = rule.init(alone)
        for step in range(6):
            own = {k: float(v[i]) for k, v in at(step).items()}
            alone, slots = rule.update({k: v[i] for k, v in grads[step].items()}, slots, alone, rest | own)
        assert equal({k: v[i] for k, v in params.items()}, alone, 1e-12)


def test_a_parameter_belongs_to_the_longest_path_before_a_dot():
    names = ("0.weight", "00.weight", "body.bias", "body.2.weight", "body.2.0.bias", "body.20.weight", "head")
    params = {name: torch.zeros(2) for name in names}
    rule = O.by_layer(O.sgd(), layers=["body", "0", "body.2", "head"])
    rates = {"rate.0": 2.0, "rate.body": 3.0, "rate.body.2": 4.0, "rate.head": 5.0}
    ones = {name: -torch.ones(2) for name in names}
    moved, _ = rule.update(ones, rule.init(params), params, {"lr": 1.0, "weight_decay": 0.0} | rates)
    assert [float(moved[name][0]) for name in names] == [2, 1, 3, 4, 4, 3, 5] and list(moved) == list(names)
    assert dict(rule.defaults) == {"lr": None, "weight_decay": 0.0} | dict.fromkeys(
        ("rate.body", "rate.0", "rate.body.2", "rate.head"), 1.0
    )


def test_the_whole_gradient_is_clipped_around_it():
    rule = O.clipped_norm(O.by_layer(O.adam(), layers=LAYERS))
    params = {name: value.requires_grad_() for name, value in start().items()}
    groups = [{"params": list(of_layer(params, layer).values()), "lr": 0.05 * rate} for layer, rate in
              zip(LAYERS, (0.3, 1.7), strict=True)]  # fmt: skip
    theirs = T.Adam([*groups, {"params": [params["body.20.weight"], params["head"]]}], lr=0.05, foreach=False)
    for at in range(50):
        for value in params.values():
            value.grad = slope(at, value)
        length = torch.cat([value.grad.flatten() for value in params.values()]).norm()
        for value in params.values():
            value.grad *= (0.5 / length).clamp(max=1)
        theirs.step()
    found, _ = taken(rule, {"rate.0": 0.3, "rate.body.2": 1.7}, range(50))
    assert equal(found, {name: value.detach() for name, value in params.items()}, 1e-12)


def test_what_goes_around_it_sees_one_rule():
    inner, rates = O.by_layer(O.momentum(), layers=LAYERS), {"rate.0": 0.0, "rate.body.2": 1.7}
    places = [taken(inner, rates, range(at))[0] for at in range(1, 5)]
    rule = O.averaged(inner)
    params, state = taken(rule, rates, range(4))
    assert equal(rule.at(params, state, settings_of(rule, rates)), places[-1])
    assert equal(params, {name: sum(one[name] for one in places) / 4 for name in params}, 1e-15)
    grads = {name: slope(0, value) for name, value in start().items()}
    cut = {name: value.clamp(-0.3, 0.3) for name, value in grads.items()}
    rule = O.clipped_value(inner)
    once, _ = rule.update(grads, rule.init(start()), start(), settings_of(rule, rates))
    assert equal(once, inner.update(cut, inner.init(start()), start(), settings_of(inner, rates))[0])
    rule, params = O.accumulated(inner, num_batches=2), start()
    state = rule.init(params)
    for _ in range(2):
        params, state = rule.update(grads, state, params, settings_of(rule, rates))
    twin, slots = inner.update(grads, inner.init(start()), start(), settings_of(inner, rates))
    assert equal(params, twin, 1e-15) and equal({slot: state[slot] for slot in slots}, slots, 1e-15)


@pytest.mark.parametrize("inner", [O.sgd(), O.adam()], ids=lambda rule: rule.name)
def test_a_population_with_a_layer_that_thaws(inner):
    def build(generator):
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))

    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 3, generator=draw), torch.randint(2, (8,), generator=draw)
    settings = {"lr": 0.1, "rate.0": torch.tensor([0.0, 0.5, 1.0])}
    begin = population.init(build, O.by_layer(inner, layers=["0"]), settings, seeds=[1, 2, 3])
    plan = population.Plan(1, 4, progress=False, backend="eager", schedule={"rate.0": lambda step: float(step >= 2)})
    for num_steps, moved in ((2, [False] * 3), (4, [False, True, True])):
        state, _ = population.step(begin, x, y, plan, num_steps=num_steps)
        for name in ("0.weight", "0.bias"):
            assert [not torch.equal(*pair) for pair in zip(state.params[name], begin.params[name])] == moved
        assert not torch.equal(state.params["2.weight"][0], begin.params["2.weight"][0])
    assert [float(n) for n in state.slots.get("0:count", {}).get("steps", torch.tensor([0, 2, 2]))] == [0, 2, 2]


def test_one_layer_named_in_two_ways_is_one_rule():
    rule = O.by_layer(O.adam(), layers=["0", "2"])
    assert O.by_layer(O.adam(), layers=("0", "2")) is rule and rule.name == "adam, rates of 0, 2"
    assert O.by_layer(O.adam(), layers=("2", "0")) is not rule and rule.layers == ("0", "2")


PATHS = "by_layer: layers must be different paths of modules, at least one"
NO_RATE = O.Optimizer(
    "still", lambda params: {}, lambda grads, state, params, settings: (params, state), {}, reach="entry"
)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: O.by_layer(T.SGD, layers=["0"]), "by_layer: inner must be one of labsupport.optimizers"),
        (lambda: O.by_layer(O.sgd(), layers="0"), f"{PATHS}.* got '0'"),
        (lambda: O.by_layer(O.sgd(), layers=[]), rf"{PATHS}.* got \[\]"),
        (lambda: O.by_layer(O.sgd(), layers=None), f"{PATHS}.* got None"),
        (lambda: O.by_layer(O.sgd(), layers=[0, 2]), rf"{PATHS}.* got \[0, 2\]"),
        (lambda: O.by_layer(O.sgd(), layers=["0", ""]), f"{PATHS}.* got "),
        (lambda: O.by_layer(O.sgd(), layers=["0", "2", "0"]), f"{PATHS}.* got "),
        (lambda: O.by_layer(NO_RATE, layers=["0"]), r"by_layer: inner must have a setting 'lr', got still\(\)"),
        (
            lambda: O.by_layer(O.accumulated(O.by_layer(O.adam(), layers=["0"]), num_batches=2), layers=["2"]),
            "by_layer: inner must hold no by_layer itself, name all layers in one, got adam, rates of 0",
        ),
        (
            lambda: O.by_layer(O.averaged(O.clipped_norm(O.adam())), layers=["0"]),
            r"by_layer: inner must not look at the whole network; .* clipped_norm\(by_layer\(adam\(\), layers=…\)\)",
        ),
        (
            lambda: O.by_layer(O.adam(), layers=["0", "1"]).init(start()),
            "by_layer: layers must each have a parameter that no longer path takes, got '1' for 0.weight, 0.bias",
        ),
        (
            lambda: O.by_layer(O.adam(), layers=["body.2", "body.2.weight"]).init(start()),
            "by_layer: layers must each have a parameter that no longer path takes, got 'body.2' for 0.weight",
        ),
        (
            lambda: O.as_torch(O.by_layer(O.adam(), layers=["0"]), [torch.zeros(2, requires_grad=True)], {"lr": 0.1}),
            "as_torch: optimizer must hold no by_layer: torch's parameter groups",
        ),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
