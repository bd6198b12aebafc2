"""What every optimizer of the room keeps, from one table; clipping, accumulation, averages; what is refused."""

import copy
import math
from functools import partial

import pytest
import torch
from torch.func import vmap
from torch.utils._pytree import tree_leaves

from labsupport import models, optimizers, population

O = optimizers  # noqa: E741
DTYPE = torch.float64
RULES = {
    "sgd": O.sgd(),
    "momentum": O.momentum(),
    "momentum, sutskever": O.momentum(form="sutskever"),
    "nesterov": O.nesterov(),
    "nesterov, sutskever": O.nesterov(form="sutskever"),
    "adagrad": O.adagrad(initial=0.1, eps_at="inside"),
    "rmsprop": O.rmsprop(),
    "adadelta": O.adadelta(),
    "adam": O.adam(),
    "adam, uncorrected": O.adam(correction="none", eps_at="inside"),
    "adamw": O.adamw(),
    "nadam": O.nadam(),
    "nadam, dozat": O.nadam(form="dozat"),
    "lars": O.lars(),
    "muon": O.muon(),
    "schedule_free": O.schedule_free(),
    "averaged": O.averaged(O.momentum(), start=2),
    "clipped_value": O.clipped_value(O.adam()),
    "clipped_norm": O.clipped_norm(O.momentum()),
    "accumulated": O.accumulated(O.adam(), num_batches=3),
    "nested": O.accumulated(O.clipped_norm(O.averaged(O.adamw())), num_batches=2),
    "by_layer": O.by_layer(O.adamw(), layers=["a"]),
    "by_layer, inside": O.clipped_norm(O.averaged(O.by_layer(O.nadam(), layers=["b"]), start=2)),
    "by_layer, outside": O.by_layer(O.averaged(O.lars()), layers=["a", "b"]),
    "nested otherwise": O.clipped_value(O.clipped_norm(O.accumulated(O.schedule_free(), num_batches=2))),
}


def start(dtype=DTYPE):
    draw = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=draw, dtype=dtype) for name, shape in (("a", (3, 4)), ("b", (5,)))}


def settings_of(rule, **given):
    """The rule's settings: its defaults, and what has none."""
    needed = {"lr": 0.1, "clip_norm": 0.5, "clip_value": 0.3}
    return {name: needed[name] if value is None else value for name, value in rule.defaults.items()} | given


def slopes(step, params):
    draw = torch.Generator().manual_seed(step)
    return {name: torch.randn(v.shape, generator=draw, dtype=torch.float32).to(v) for name, v in params.items()}


def taken(rule, settings, num_steps, params=None, grads=slopes):
    params = start() if params is None else params
    state = rule.init(params)
    for at in range(num_steps):
        params, state = rule.update(grads(at, params), state, params, settings)
    return params, state


def same(some, others, tolerance=0.0):
    pairs = list(zip(tree_leaves(some), tree_leaves(others), strict=True))
    return all(float((a - b).abs().max()) <= tolerance for a, b in pairs)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, DTYPE, torch.bfloat16])
def test_the_contract(name, dtype):
    rule, params = RULES[name], start(dtype)
    state, settings = rule.init(params), settings_of(rule, weight_decay=0.01)
    before = copy.deepcopy((params, state))
    moved, after = rule.update(slopes(0, params), state, params, settings)
    assert same((params, state), before)  # nothing is changed in place
    assert moved.keys() == params.keys() and after.keys() == state.keys()
    for slot, entries in state.items():
        assert after[slot].keys() == entries.keys()
    for old, new in zip(tree_leaves((params, state)), tree_leaves((moved, after)), strict=True):
        assert old.shape == new.shape and old.dtype == new.dtype and new.isfinite().all()
    place = moved if rule.at is None else rule.at(moved, after, settings)
    assert all(place[key].dtype == dtype and place[key].shape == value.shape for key, value in params.items())
    numbers = {
        key: torch.tensor(value, dtype=torch.promote_types(dtype, torch.float32)) for key, value in settings.items()
    }
    wide = 1e-12 if dtype == DTYPE else 0.02
    assert same(rule.update(slopes(0, params), state, params, numbers)[0], moved, wide)  # settings may be tensors


@pytest.mark.parametrize("name", RULES)
def test_members_with_settings_of_their_own_are_what_they_are_alone(name):
    rule = RULES[name]
    rates = torch.tensor([0.1, 0.03, 0.4], dtype=DTYPE)
    decays = torch.tensor([0.0, 0.1, 0.01], dtype=DTYPE)
    own = [{"lr": rates[i], "weight_decay": decays[i]} for i in range(3)]
    params = {key: torch.stack([value * (i + 1) for i in range(3)]) for key, value in start().items()}
    state = vmap(rule.init)(params)
    still = {key: value for key, value in settings_of(rule).items() if key not in own[0]}
    for at in range(5):
        grads = slopes(at, params)
        params, state = vmap(
            lambda g, s, p, lr, decay: rule.update(g, s, p, still | {"lr": lr, "weight_decay": decay})
        )(grads, state, params, rates, decays)
    for i in range(3):
        begin = {key: value * (i + 1) for key, value in start().items()}
        alone, _ = taken(rule, still | own[i], 5, begin, partial(_one_of, params, i))
        assert same(alone, _at(i, params), 1e-12), name


def _at(i, params):
    return {key: value[i] for key, value in params.items()}


def _one_of(every, i, step, params):
    """The gradient of one of several members."""
    return _at(i, slopes(step, every))


@pytest.mark.parametrize("name", RULES)
def test_counts_do_not_freeze_in_bfloat16(name):
    """In bfloat16 256 + 1 is 256; every count is kept in float32."""
    rule = RULES[name]
    params, state = taken(rule, settings_of(rule, lr=1e-3), 1000, start(torch.bfloat16))
    assert all(value.isfinite().all() for value in tree_leaves((params, state)))
    counts = {key: v for each in state.values() for key, v in each.items() if key not in params}
    assert all(value.dtype == torch.float32 for value in counts.values())
    steps = {"accumulated": 333, "nested": 500}.get(name, 1000)
    assert counts.get("steps", steps) == steps
    if "total" in counts:
        assert float(counts["total"]) == pytest.approx(1e-6 * (500 if "nested" in name else 1000), rel=1e-3)


def test_clipping_keeps_short_gradients_and_the_direction_of_long_ones():
    for limit, expected in ((10.0, 5.0), (5.0, 5.0), (2.0, 2.0), (0.0, 0.0)):
        grads = {"a": torch.tensor([3.0], dtype=DTYPE), "b": torch.tensor([[0.0, -4.0]], dtype=DTYPE)}
        still = {key: torch.zeros_like(value) for key, value in grads.items()}
        rule = O.clipped_norm(O.sgd())
        moved, _ = rule.update(grads, {}, still, settings_of(rule, lr=1.0, clip_norm=limit))
        step = torch.cat([-moved["a"], -moved["b"][0]])
        assert float(step.norm()) == pytest.approx(expected, abs=1e-14)
        assert torch.allclose(step * 5, torch.tensor([3.0, 0.0, -4.0], dtype=DTYPE) * expected, atol=1e-14)
        rule = O.clipped_value(O.sgd())
        moved, _ = rule.update(grads, {}, still, settings_of(rule, lr=1.0, clip_value=limit))
        assert [-float(v) for v in (*moved["a"], *moved["b"][0])] == [min(3, limit), 0, -min(4, limit)]
    nothing = {"a": torch.zeros(3, dtype=DTYPE)}
    rule = O.clipped_norm(O.momentum())
    assert same(rule.update(nothing, rule.init(nothing), nothing, settings_of(rule))[0], nothing)


def test_long_half_precision_gradients_are_not_lost():
    grads, rule = {"a": torch.full((100,), 1000.0, dtype=torch.float16)}, O.clipped_norm(O.sgd())
    moved, _ = rule.update(grads, {}, {"a": torch.zeros(100, dtype=torch.float16)}, settings_of(rule, lr=1.0))
    assert float(moved["a"].float().norm()) == pytest.approx(0.5, rel=1e-2)


@pytest.mark.parametrize(
    "inner",
    [
        O.sgd(), O.momentum(), O.adam(), O.schedule_free(), O.clipped_norm(O.adagrad()),
        O.by_layer(O.adam(), layers=["a"]),
    ],
)  # fmt: skip
def test_accumulation_steps_on_the_mean_and_moves_nothing_in_between(inner):
    rule = O.accumulated(inner, num_batches=4)
    settings, params, twin = settings_of(inner, weight_decay=0.1), start(), start()
    state, twin_state = rule.init(params), inner.init(twin)
    for group in range(3):
        batches = [slopes(4 * group + i, params) for i in range(4)]
        for grads in batches[:3]:
            before = params, {slot: state[slot] for slot in twin_state}
            params, state = rule.update(grads, state, params, settings)
            assert same((params, {slot: state[slot] for slot in twin_state}), before)
        params, state = rule.update(batches[3], state, params, settings)
        mean = {key: sum(grads[key] for grads in batches) / 4 for key in params}
        twin, twin_state = inner.update(mean, twin_state, twin, settings)
        assert same(params, twin, 1e-14)


def test_what_averages_takes_its_gradient_where_the_rule_inside_stands():
    rule, inner = O.averaged(O.momentum(), start=2), O.momentum()
    settings, seen = settings_of(rule), []
    for at in range(1, 7):
        params, state = taken(rule, settings, at)
        alone, _ = taken(inner, settings, at)
        assert same(rule.at(params, state, settings), alone)
        seen = [*seen, alone] if at > 2 else [alone]
        seen = seen[-(at - 2) :] if at > 2 else seen
        assert same(params, {key: sum(one[key] for one in seen) / len(seen) for key in params}, 1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: O.momentum(form="keras"), "momentum: form must be one of 'torch', 'sutskever', got 'keras'"),
        (lambda: O.nesterov(form=1), "nesterov: form must be one of 'torch', 'sutskever', got 1"),
        (lambda: O.adagrad(initial=-0.1), "adagrad: initial must be a finite number >= 0, got -0.1"),
        (lambda: O.adagrad(eps_at="root"), "adagrad: eps_at must be one of 'outside', 'inside', got 'root'"),
        (lambda: O.rmsprop(initial=math.nan), "rmsprop: initial must be a finite number >= 0, got nan"),
        (lambda: O.rmsprop(eps_at=None), "rmsprop: eps_at must be one of"),
        (lambda: O.adam(correction=True), "adam: correction must be one of 'both', 'mean', 'square', 'none', got True"),
        (lambda: O.adamw(eps_at="both"), "adamw: eps_at must be one of"),
        (lambda: O.nadam(form="sutskever"), "nadam: form must be one of 'torch', 'dozat'"),
        (
            lambda: O.averaged(O.schedule_free()),
            "averaged: inner must take its gradient where it stands, got schedule_",
        ),
        (lambda: O.averaged(torch.optim.SGD), "averaged: inner must be one of labsupport.optimizers, such as sgd"),
        (lambda: O.averaged(O.sgd(), start=-1), "averaged: start must be an integer >= 0, got -1"),
        (lambda: O.clipped_norm("sgd"), "clipped_norm: inner must be one of labsupport.optimizers.*got 'sgd'"),
        (lambda: O.clipped_value(O.sgd), "clipped_value: inner must be one of labsupport.optimizers"),
        (lambda: O.accumulated(None, num_batches=2), "accumulated: inner must be one of labsupport.optimizers"),
        (lambda: O.accumulated(O.sgd(), num_batches=0), "accumulated: num_batches must be an integer >= 1, got 0"),
        (
            lambda: O.accumulated(O.clipped_norm(O.accumulated(O.sgd(), num_batches=2)), num_batches=2),
            "accumulated: inner must gather no batches itself",
        ),
        (
            lambda: O.accumulated(O.by_layer(O.accumulated(O.sgd(), num_batches=2), layers=["a"]), num_batches=2),
            "accumulated: inner must gather no batches itself",
        ),
        (
            lambda: O.Optimizer("far", dict, dict, {}, reach="layer"),
            "Optimizer: reach must be one of 'entry', 'tensor', 'network', got 'layer'",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_same_options_give_the_same_rule_and_a_copy_is_the_rule():
    assert O.adam() is O.adam() and O.clipped_norm(O.sgd()) is O.clipped_norm(O.sgd())
    assert O.adam() is not O.adam(correction="none") and copy.deepcopy(O.adam()) is O.adam()


def test_how_far_a_rule_looks_goes_with_it():
    reaches = {"sgd": "entry", "lars": "tensor", "clipped_norm": "network", "clipped_value": "entry"}
    reaches |= {"averaged": "entry", "nested": "network", "nested otherwise": "network"}
    reaches |= {"by_layer": "entry", "by_layer, inside": "network", "by_layer, outside": "tensor"}
    assert {name: RULES[name].reach for name in reaches} == reaches
    assert [name for name, reach in reaches.items() if RULES[name].elementwise != (reach == "entry")] == []


def test_a_population_brought_to_bfloat16_keeps_its_counts():
    def build(generator):
        return models.mlp([3, 2], generator=generator)

    state = population.init(build, optimizers.adam(), {"lr": 0.1}, seeds=[0]).to(torch.bfloat16)
    assert state.slots["count"]["steps"].dtype == torch.float32
    assert state.slots["mean"]["0.weight"].dtype == torch.bfloat16
    assert state.to(torch.float64).slots["count"]["steps"].dtype == torch.float64
