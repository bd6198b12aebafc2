"""Optimizers and schedules that travel: pickled as the call that made them, and made again in another process."""

import copy
import inspect
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
import torch
from optimizers.test_optimizers import RULES
from schedules.test_schedules import CASES

from labsupport import data, experiments, optimizers, population, remaking, schedules
from labsupport.counters import seeded
from labsupport.initialization import starts

O, S = optimizers, schedules  # noqa: E741
STEPS = [*range(40), 10**6]


def travelled(thing):
    return pickle.loads(pickle.dumps(thing))


def half(step):
    return 0.5


def rest(params):
    return {}


def stay(grads, state, params, settings):
    return params, state


def factories(room, kind):
    """Names of the public functions of a room that return one of its objects."""
    functions = {name: getattr(room, name) for name in room.__all__ if inspect.isfunction(getattr(room, name))}
    returned = {name: inspect.signature(function).return_annotation for name, function in functions.items()}
    return {name for name, annotation in returned.items() if annotation in (kind, kind.__name__)}


@pytest.mark.parametrize("name", RULES)
def test_an_optimizer_comes_back_as_itself(name):
    rule = RULES[name]
    assert travelled(rule) is rule and copy.copy(rule) is rule and copy.deepcopy(rule) is rule
    assert pickle.loads(pickle.dumps(rule, protocol=2)) is rule


@pytest.mark.parametrize("name", CASES)
def test_a_schedule_comes_back_with_the_same_rates(name):
    schedule = CASES[name].make()
    for twin in (travelled(schedule), copy.copy(schedule), copy.deepcopy(schedule), travelled(travelled(schedule))):
        assert repr(twin) == repr(schedule) and [twin(t) for t in STEPS] == [schedule(t) for t in STEPS]
        assert torch.equal(twin(torch.tensor(STEPS)), schedule(torch.tensor(STEPS)))


def test_every_function_that_makes_one_is_tried():
    tried = {vars(thing)[remaking.CALL][0].__name__ for thing in (*RULES.values(), *(c.make() for c in CASES.values()))}
    made = factories(optimizers, O.Optimizer) | factories(schedules, S.Schedule)
    assert len(made) > 30 and made == tried


def test_signatures_docstrings_and_names_stay():
    assert str(inspect.signature(O.adam)) == "(*, correction: 'str' = 'both', eps_at: 'str' = 'outside') -> 'Optimizer'"
    assert list(inspect.signature(S.cosine).parameters) == ["init", "decay_steps", "alpha"]
    for function in (O.adam, O.by_layer, S.wsd):
        assert inspect.getdoc(function) and f"def {function.__name__}(" in inspect.getsource(function)
        assert function.__module__.startswith("labsupport.")
    with pytest.raises(TypeError, match="unexpected keyword argument 'beta'"):
        O.adam(beta=0.9)


def again(thing, blob):
    """In another process: what came, whether it is what the other way of coming gives, and what it does."""
    twin = pickle.loads(blob)
    if isinstance(thing, O.Optimizer):
        params = {"a": torch.ones(2, dtype=torch.float64), "b": torch.ones(3, dtype=torch.float64)}
        settings = {name: 0.1 if value is None else value for name, value in thing.defaults.items()}
        return repr(thing), twin is thing, thing.update(params, thing.init(params), params, settings)[0]["b"].tolist()
    return repr(thing), [twin(t) for t in STEPS] == [thing(t) for t in STEPS], [thing(t) for t in STEPS]


def test_they_reach_a_spawned_process():
    inside = O.by_layer(O.averaged(O.adamw(correction="mean")), layers=["a"])
    rule = O.accumulated(O.clipped_norm(inside), num_batches=1)
    wave = S.triangular(0.1, 0.2, half_cycle=4)
    schedule = S.warmup(S.join([S.scale(wave, 2), S.cosine(0.1, decay_steps=9)], [6]), num_steps=3)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for thing in (rule, schedule, O.clipped_value(O.Optimizer("still", rest, stay, {"lr": None}))):
            there = pool.submit(again, thing, pickle.dumps(thing)).result()
            here = again(thing, pickle.dumps(thing))
            assert there == here and (here[1] or "still" in here[0])


def test_lists_among_the_arguments_are_kept_as_they_were():
    edges, values, parts = [3, 6], np.array([0.1, 0.2, 0.3]), [S.constant(0.1), S.constant(0.2)]
    stairs, joined = S.piecewise(edges, values), S.join(parts, [4])
    before = repr(stairs), [stairs(t) for t in range(9)], repr(joined)
    edges[0], values[2], parts[1] = 1, 0.9, S.constant(0.9)
    twin = travelled(stairs)
    assert (repr(twin), [twin(t) for t in range(9)], repr(travelled(joined))) == before


def test_one_made_by_hand_pickles_in_the_ordinary_way():
    schedule = S.Schedule(half, "half()")
    rule = O.Optimizer("still", rest, stay, MappingProxyType({"lr": None}), reach="tensor")
    twin = travelled(schedule)
    assert twin(3) == 0.5 and repr(twin) == "half()" and travelled(S.scale(schedule, 2))(3) == 1.0
    twin = travelled(rule)
    assert twin is not rule and twin.update is stay and twin.reach == "tensor" and twin.defaults == {"lr": None}
    assert repr(travelled(O.averaged(rule))) == "averaged still(lr)"
    assert repr(copy.copy(schedule)) == repr(copy.deepcopy(schedule)) == "half()"


@pytest.mark.parametrize(
    "thing",
    [
        S.Schedule(lambda step: 0.5, "half()"),
        S.warmup(S.Schedule(lambda step: 0.5, "half()"), num_steps=3),
        replace(S.constant(0.1), text="mine()"),  # no longer what the call made
        O.clipped_norm(O.Optimizer("still", lambda params: {}, stay, {"lr": None})),
    ],
)  # fmt: skip
def test_functions_that_cannot_be_pickled_meet_pythons_own_error(thing):
    with pytest.raises((pickle.PicklingError, AttributeError), match=r"Can't (pickle|get local)"):
        pickle.dumps(thing)


def test_what_a_refused_call_leaves_is_its_message():
    with pytest.raises(ValueError, match="piecewise: boundaries must increase strictly"):
        S.piecewise([3, 3], [0.1, 0.2, 0.3])


def test_a_dressed_optimizer_goes_on_after_its_journey():
    values = [torch.ones(3, dtype=torch.float64, requires_grad=True)]
    ours = O.as_torch(O.adam(), values, {"lr": 0.1})
    values[0].grad = torch.ones(3, dtype=torch.float64)
    ours.step()
    twin = travelled(ours)
    (other,) = twin.param_groups[0]["params"]
    other.grad = values[0].grad
    ours.step(), twin.step()
    assert twin.rule is ours.rule and torch.equal(values[0], other)


def test_trained_states_and_runs_travel():
    split, build = data.digits(generator=seeded(0)), starts.builder([64, 8, 10])
    plan = population.Plan(1, 50, schedule={"lr": schedules.cosine(1.0, decay_steps=6)}, progress=False)
    state = population.init(build, optimizers.adam(), {"lr": [0.1, 0.2]}, seeds=range(2))
    state, _ = population.step(state, *split.train, plan, num_steps=3)
    ends = [population.step(each, *split.train, plan, num_steps=3)[0] for each in (state, travelled(state))]
    assert all(torch.equal(value, ends[1].params[name]) for name, value in ends[0].params.items())
    runs = experiments.run(build, split, optimizers.sgd(), {"lr": [0.1, 0.2]}, plan, seeds=range(2))
    assert torch.equal(travelled(runs).scores("test").error, runs.scores("test").error)
