"""Any rule in torch's dress: the steps of `update`, state that survives its storage, torch's groups and schedulers."""

import copy
import io
import math
import pickle
from dataclasses import replace

import pytest
import torch
from test_optimizers import RULES, settings_of, slopes, start
from test_optimizers_torch import RULES as TORCH
from test_optimizers_torch import apart
from torch import nn

from labsupport import models, optimizers, schedules
from labsupport.optimizers import blocks
from labsupport.optimizers.in_place import IN_PLACE

O = optimizers  # noqa: E741
DTYPE = torch.float64
DRESSED = [name for name, rule in RULES.items() if not rule.layers]


@pytest.fixture(params=[blocks.PIECE, 7], ids=["whole", "in pieces"])
def piece(request, monkeypatch):
    """With pieces of 7 numbers, the matrix of 12 is cut, and the vector of 5 laid end to end with others."""
    monkeypatch.setattr(blocks, "PIECE", request.param)


def leaves(dtype=DTYPE):
    return [value.requires_grad_() for value in start(dtype).values()]


def set_grads(values, step):
    for value, grad in zip(values, slopes(step, {str(i): v for i, v in enumerate(values)}).values(), strict=True):
        value.grad = grad.detach()


def pushed(optimizer, values, steps):
    for at in steps:
        set_grads(values, at)
        optimizer.step()


def dressed(rule, dtype=DTYPE, **given):
    values = leaves(dtype)
    return O.as_torch(rule, values, settings_of(rule, **given)), values


@pytest.mark.parametrize("name", DRESSED)
def test_the_dress_changes_no_step(piece, name):
    rule = RULES[name]
    optimizer, values = dressed(rule, weight_decay=0.01)
    values.append(torch.zeros(0, dtype=DTYPE, requires_grad=True))
    optimizer.add_param_group({"params": values[2:]})
    params = {"0": values[0].detach().clone(), "1": values[1].detach().clone()}
    state, settings = rule.init(params), settings_of(rule, weight_decay=0.01)
    for at in range(7):
        place = params if rule.at is None else rule.at(params, state, settings)
        if at:
            assert apart([value.detach() for value in values[:2]], place.values()) < 1e-14
        params, state = rule.update(slopes(at, params), state, params, settings)
        pushed(optimizer, values[:2], [at])
    optimizer.eval()
    assert apart([value.detach() for value in values[:2]], params.values()) < 1e-14
    optimizer.train()
    place = params if rule.at is None else rule.at(params, state, settings)
    assert apart([value.detach() for value in values[:2]], place.values()) < 1e-14


@pytest.mark.parametrize("rule", IN_PLACE, ids=lambda rule: rule.name)
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_in_place_is_the_same_step(rule, decay):
    optimizer, values = dressed(rule, weight_decay=decay)
    params = {str(at): value.detach().clone() for at, value in enumerate(values)}
    state, settings = rule.init(params), settings_of(rule, weight_decay=decay)
    for at in range(7):
        params, state = rule.update(slopes(at, params), state, params, settings)
        pushed(optimizer, values, [at])
    assert apart([value.detach() for value in values], params.values()) < 1e-14
    for slot in rule.init(params).keys() - {"count"}:
        assert apart([optimizer.state[value][slot] for value in values], state[slot].values()) < 1e-14


def test_only_the_rule_itself_is_known_in_place():
    assert pickle.loads(pickle.dumps(O.adam())) in IN_PLACE
    for rule in (O.clipped_value(O.sgd()), O.accumulated(O.sgd(), num_batches=2), O.momentum(form="sutskever")):
        assert rule not in IN_PLACE
    assert replace(O.sgd(), update=lambda grads, state, params, settings: (params, state)) not in IN_PLACE


@pytest.mark.parametrize("dtype", [DTYPE, torch.bfloat16])
@pytest.mark.parametrize("name", DRESSED)
def test_a_run_cut_in_two_by_its_state_is_the_whole_run(piece, name, dtype):
    rule = RULES[name]
    whole, values = dressed(rule, dtype)
    pushed(whole, values, range(5))
    first, halves = dressed(rule, dtype)
    pushed(first, halves, range(2))
    first.eval()  # a state is stored as it stands
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    fresh = [value.detach().clone().requires_grad_() for value in halves]
    second = O.as_torch(rule, fresh, settings_of(rule, lr=0.7))
    second.load_state_dict(torch.load(file, weights_only=True))
    second.train()
    pushed(second, fresh, range(2, 5))
    assert all(torch.equal(a, b) for a, b in zip(values, fresh, strict=True))
    for value, other in zip(values, fresh, strict=True):
        mine, theirs = second.state[other], whole.state[value]
        assert mine.keys() == theirs.keys()
        for slot, each in mine.items():
            counts = each.values() if isinstance(each, dict) else []
            assert all(count.dtype == torch.promote_types(dtype, torch.float32) for count in counts)
            assert not counts or each == theirs[slot]


def test_counts_above_256_survive_storage_in_bfloat16():
    first, values = dressed(O.adam(), torch.bfloat16, lr=1e-4)
    pushed(first, values, range(301))
    second, others = dressed(O.adam(), torch.bfloat16)
    second.load_state_dict(first.state_dict())
    assert second.state[others[1]]["count"]["steps"].item() == 301
    pushed(second, others, [301])
    assert second.state[others[0]]["count"]["steps"].item() == 302
    assert first.state[values[0]]["count"]["steps"].item() == 301  # what was loaded is no longer shared


def test_copies_and_emptied_states():
    first, values = dressed(O.adam())
    pushed(first, values, range(2))
    again = copy.deepcopy(first)
    pushed(first, values, [2])
    others = again.param_groups[0]["params"]
    pushed(again, others, [2])
    assert all(torch.equal(a, b) for a, b in zip(values, others, strict=True))
    again.state.clear()
    pushed(again, others, [3])
    assert again.state[others[0]]["count"]["steps"].item() == 1


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam, betas", "adamw", "adagrad", "nadam"])
def test_parameters_without_a_gradient_rest_as_in_torch(piece, name):
    rule, settings, make, options = TORCH[name]
    ours, theirs = leaves(), leaves()
    pair = O.as_torch(rule, ours, settings), make(theirs, **{"weight_decay": rule.defaults["weight_decay"]} | options)
    for at, resting in enumerate([(), (0,), (0,), (1,), (), (0, 1), ()]):
        for optimizer, values in zip(pair, (ours, theirs), strict=True):
            set_grads(values, at)
            for i in resting:
                values[i].grad = None
            optimizer.step()
    wide = 1e-7 if name == "nadam" else 1e-12  # torch keeps NAdam's product in float32
    assert apart([v.detach() for v in ours], [v.detach() for v in theirs]) < wide


def test_groups_have_rates_of_their_own_and_may_come_late():
    ours, theirs = leaves(), leaves()
    one = O.as_torch(O.adam(), [{"params": ours[:1], "lr": 0.5}], {"lr": 0.1, "beta1": 0.7})
    two = torch.optim.Adam([{"params": theirs[:1], "lr": 0.5}], lr=0.1, betas=(0.7, 0.999))
    pushed(one, ours, range(3)), pushed(two, theirs, range(3))
    for optimizer, values in ((one, ours), (two, theirs)):
        optimizer.add_param_group({"params": values[1:]})
        pushed(optimizer, values, range(3, 6))
    assert apart([v.detach() for v in ours], [v.detach() for v in theirs]) < 1e-12
    assert [group["lr"] for group in one.param_groups] == [0.5, 0.1]


def test_schedulers_find_the_rate():
    ours, theirs = leaves(), leaves()
    one, two = O.as_torch(O.momentum(), ours, {"lr": 0.1}), torch.optim.SGD(theirs, lr=0.1, momentum=0.9)
    followers = [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10) for optimizer in (one, two)]
    for at in range(10):
        pushed(one, ours, [at]), pushed(two, theirs, [at])
        [follower.step() for follower in followers]
    assert apart([v.detach() for v in ours], [v.detach() for v in theirs]) < 1e-12
    rule = schedules.cosine(0.3, decay_steps=8)
    follower = schedules.as_lambda_lr(one, rule)
    for at in range(5):
        assert one.param_groups[0]["lr"] == rule(at)
        pushed(one, ours, [at])
        follower.step()
    torch.optim.lr_scheduler.OneCycleLR(one, 0.1, total_steps=5)  # it also moves "momentum"
    pushed(one, ours, [0])


def test_closures_networks_layouts_and_replaced_data(piece):
    net = models.mlp([64, 50, 50, 10], generator=torch.Generator().manual_seed(0)).double()
    x = torch.randn(32, 64, generator=torch.Generator().manual_seed(1), dtype=DTYPE)
    optimizer = O.as_torch(O.adam(), net.parameters(), {"lr": 0.01})

    def closure():
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(5)]
    assert losses == sorted(losses, reverse=True) and losses[4] < losses[0] / 2
    torch.nn.utils.vector_to_parameters(
        torch.zeros(sum(p.numel() for p in net.parameters()), dtype=DTYPE), net.parameters()
    )
    assert optimizer.step(closure).item() == 0.0
    assert max(p.abs().max().item() for p in net.parameters()) < 0.1  # no old values came back
    ours, theirs = (torch.ones(3, 5, 4, dtype=DTYPE).mT.contiguous().mT.requires_grad_() for _ in range(2))
    pushed(O.as_torch(O.adam(), [ours], {"lr": 0.1}), [ours], range(3))
    pushed(torch.optim.Adam([theirs], lr=0.1), [theirs], range(3))
    assert not ours.is_contiguous() and apart([ours.detach()], [theirs.detach()]) < 1e-12


def test_mixed_dtypes_are_moved_apart():
    ours, theirs = ([torch.ones(3, dtype=d, requires_grad=True) for d in (DTYPE, torch.float32)] for _ in range(2))
    pushed(O.as_torch(O.adam(), ours, {"lr": 0.1}), ours, range(4))
    pushed(torch.optim.Adam(theirs, lr=0.1), theirs, range(4))
    for mine, other, wide in zip(ours, theirs, (1e-12, 1e-5), strict=True):  # corrections in float32
        assert apart([mine.detach()], [other.detach()]) < wide


def test_between_eval_and_train_no_step_is_taken():
    optimizer, values = dressed(O.schedule_free())
    optimizer.eval(), optimizer.train()  # before the first step there is nothing to move
    pushed(optimizer, values, range(3))
    optimizer.eval()
    with pytest.raises(ValueError, match=r"step: the parameters must stand where .* call train\(\) first"):
        optimizer.step()
    answer = [value.detach().clone() for value in values]
    optimizer.eval()
    assert apart([value.detach() for value in values], answer) == 0
    plain, values = dressed(O.sgd())
    plain.eval()  # stands where it answers
    pushed(plain, values, [0])


@pytest.mark.parametrize(
    ("rule", "settings", "message"),
    [
        (None, {"lr": 0.1}, "optimizer must be one of labsupport.optimizers, got None"),
        (torch.optim.SGD, {"lr": 0.1}, "optimizer must be one of labsupport.optimizers"),
        (
            O.clipped_norm(O.averaged(O.by_layer(O.adam(), layers=["0"]))),
            {"lr": 0.1, "clip_norm": 1.0},
            "optimizer must hold no by_layer: torch's parameter groups, .* do what by_layer does, got averaged adam",
        ),
        (O.adam(), 0.1, "settings must map names to numbers, such as .* got 0.1"),
        (O.adam(), {"lr": 0.1, "momentum": 0.9}, "settings must be among lr, beta1, beta2, eps.*got 'momentum'"),
        (O.adam(), {}, r"settings\['lr'\] must be a finite number >= 0, got None"),
        (O.adam(), {"lr": -0.1}, r"settings\['lr'\] must be a finite number >= 0, got -0.1"),
        (O.adam(), {"lr": math.nan}, r"settings\['lr'\] must be a finite number >= 0, got nan"),
        (O.adam(), {"lr": torch.tensor(0.1)}, r"settings\['lr'\] must be a finite number >= 0, got tensor"),
        (O.adam(), {"lr": 0.1, "beta2": 1.0}, r"settings\['beta2'\] must lie in \[0, 1\), got 1.0"),
        (O.momentum(), {"lr": 0.1, "momentum": 1.5}, r"settings\['momentum'\] must lie in \[0, 1\), got 1.5"),
        (O.clipped_norm(O.sgd()), {"lr": 0.1}, r"settings\['clip_norm'\] must be a finite number >= 0, got None"),
    ],
)
def test_refusals(rule, settings, message):
    with pytest.raises(ValueError, match=f"as_torch: {message}"):
        O.as_torch(rule, leaves(), settings)


def test_refusals_in_groups_gradients_and_states():
    values = leaves()
    with pytest.raises(ValueError, match="as_torch: settings must be among lr, weight_decay, got 'momentum'"):
        O.as_torch(O.sgd(), [{"params": values, "momentum": 0.9}], {"lr": 0.1})
    with pytest.raises(ValueError, match=r"as_torch: settings\['lr'\] must be a finite number >= 0, got -1"):
        O.as_torch(O.sgd(), [{"params": values, "lr": -1}], {"lr": 0.1})
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="step: gradients must be dense, got one of torch"):
        O.as_torch(O.sgd(), table.parameters(), {"lr": 0.1}).step()
    one, values = dressed(O.momentum())
    two, others = dressed(O.adagrad())
    pushed(one, values, [0]), pushed(two, others, [0])
    for source, other in ((one, O.schedule_free()), (one, O.adam()), (two, O.rmsprop())):
        with pytest.raises(ValueError, match=f"load_state_dict: state_dict must come from '{other.name}'"):
            dressed(other)[0].load_state_dict(source.state_dict())


@pytest.mark.parametrize("rule", [optimizers.adam(), optimizers.averaged(optimizers.sgd())], ids=lambda r: r.name)
@pytest.mark.parametrize("late", [0, 1])
def test_a_parameter_that_joins_late_leaves_the_counts_of_its_group(rule, late):
    """Under a rule for whole groups; the threshold is so high that nothing is clipped."""
    both = [torch.ones(3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    ours = optimizers.as_torch(optimizers.clipped_norm(rule), both, {"lr": 0.1, "clip_norm": 1e9})
    alone = torch.ones(3, dtype=torch.float64, requires_grad=True)
    plain = optimizers.as_torch(rule, [alone], {"lr": 0.1})
    for step in range(30):
        both[1 - late].grad, both[late].grad = both[1 - late].detach() * 2, None
        if step >= 20:
            both[late].grad = both[late].detach() * 2
        alone.grad = alone.detach() * 2
        ours.step()
        plain.step()
    torch.testing.assert_close(both[1 - late], alone, rtol=1e-12, atol=0)


def test_a_network_may_change_its_dtype_and_not_its_shape():
    weight = torch.nn.Parameter(torch.ones(4))
    ours = optimizers.as_torch(optimizers.momentum(), [weight], {"lr": 1.0})
    weight.grad = torch.ones(4)
    ours.step()
    weight.data, weight.grad = weight.data.double(), torch.full((4,), 1e-10, dtype=torch.float64)
    before = weight.detach().clone()
    ours.step()
    torch.testing.assert_close(
        before - weight.detach(), torch.full((4,), 0.9 + 1e-10, dtype=torch.float64), rtol=1e-14, atol=1e-15
    )
    weight.grad = None
    weight.data, weight.grad = weight.data[:2], torch.ones(2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"step: a parameter must keep its shape, got \[2\] with a state of \[4\]"):
        ours.step()


def test_states_of_other_forms_and_complex_parameters_are_refused():
    def made(rule, value=None):
        value = torch.ones(2, requires_grad=True) if value is None else value
        return optimizers.as_torch(rule, [value], {"lr": 0.1})

    for one, other in (
        (optimizers.momentum(), optimizers.momentum(form="sutskever")),
        (optimizers.momentum(), optimizers.nesterov()),
        (optimizers.adam(), optimizers.adam(correction="none")),
        (optimizers.adam(), optimizers.adam(eps_at="inside")),
        (optimizers.nadam(), optimizers.nadam(form="dozat")),
        (optimizers.averaged(optimizers.sgd()), optimizers.averaged(optimizers.sgd(), start=5)),
        (optimizers.adagrad(), optimizers.adagrad(initial=0.1)),
    ):
        with pytest.raises(ValueError, match="load_state_dict: state_dict must come from"):
            made(one).load_state_dict(made(other).state_dict())
    with pytest.raises(ValueError, match="load_state_dict: state_dict must come from 'adam', got that of 'none'"):
        made(optimizers.adam()).load_state_dict({})
    with pytest.raises(ValueError, match=r"as_torch: params must be real floating tensors, got torch\.complex64"):
        made(optimizers.adam(), torch.ones(2, dtype=torch.complex64, requires_grad=True))


def test_options_are_checked_whatever_was_asked_before():
    optimizers.accumulated(optimizers.sgd(), num_batches=2)
    with pytest.raises(ValueError, match=r"accumulated: num_batches must be an integer >= 1, got 2\.0"):
        optimizers.accumulated(optimizers.sgd(), num_batches=2.0)
