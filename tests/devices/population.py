"""The device table of `labsupport.population`; see tests/test_devices.py."""

import torch
from devices.given import (
    NO_TENSOR,
    VALUES,
    Entry,
    cannot,
    floats,
    labels,
    on_batch,
    plain,
    planned,
    runs,
    sampled,
    split,
    words,
)
from torch import nn

from labsupport import optimizers, population
from labsupport.population import chains, draws, feeds, layers, programs, running, settings, slabs, updates
from labsupport.population import members as members_module


def members(device):
    """Two members of a small network with dropout, under Adam."""

    def build(generator):
        return nn.Sequential(nn.Linear(4, 3, device=device), nn.Dropout(0.1), nn.Linear(3, 2, device=device))

    return population.init(build, optimizers.adam(), {"lr": torch.tensor([0.1, 0.2])}, seeds=[0, 1])


def stepped(device):
    state, _ = population.step(members(device), floats(device, 6, 4), labels(device), planned(), num_steps=2)
    return state.params, state.buffers, state.slots, state.active, state.diverged

LINKS = (chains.Link("0.weight", "0.bias", "ReLU"), chains.Link("2.weight", "2.bias", ""))


def sloped(device):
    x, y = floats(device, 2, 6, 4), labels(device, 12).view(2, 6)
    return LINKS, *chains.losses_and_slopes(LINKS, plain(device).params, x, y)


def descended(device):
    params = plain(device).params
    chains.descend(LINKS, sloped(device)[2], params, None, {"lr": floats(device, 2), "weight_decay": 0.0}, {})
    return params


MASKED = (chains.Link("weight", "", "", ("mask", "")),)


def bits(device):
    values, mask = {"weight": floats(device, 2, 3)}, torch.ones(2, 3, dtype=torch.bool, device=device)
    return values, chains.as_bits(MASKED, values, {"mask": mask})


def moved_by(rule, device):
    """A step of a rule for two members, and where it takes its gradients."""
    state = population.init(lambda g: nn.Linear(4, 2, device=device), rule, {"lr": 0.1}, seeds=[0, 1])
    told = dict(rule.defaults) | state.settings
    params, slots = updates.update(rule, state.params, state.slots, state.params, told)
    return [params, slots, updates.place_of(rule, params, slots, told)]


TABLE: dict[str, Entry] = {
    "population.alike.check_alike": cannot(VALUES),
    "population.alike.check_followed": cannot(NO_TENSOR),
    "population.chains.Link": cannot(NO_TENSOR),
    "population.chains.as_bits": runs(bits),
    "population.chains.as_masks": runs(lambda d: chains.as_masks(MASKED, bits(d)[1])),
    "population.chains.chain_of": cannot(NO_TENSOR),
    "population.chains.descend": runs(descended),
    "population.chains.gradients": runs(lambda d: chains.gradients(*sloped(d)[::2])),
    "population.chains.losses_and_slopes": runs(sloped),
    "population.chains.moves_in_place": cannot(NO_TENSOR),
    "population.chains.shown": runs(lambda d: chains.shown(MASKED, *bits(d))),
    "population.compiling.Compiled": cannot("population.running.step runs it"),
    "population.compiling.backend_for": cannot(NO_TENSOR),
    "population.compiling.compiled": cannot("it makes the step that population.running.step runs"),
    "population.compiling.compiler": cannot(NO_TENSOR),
    "population.compiling.give_up": cannot(NO_TENSOR),
    "population.compiling.given_up": cannot(NO_TENSOR),
    "population.compiling.in_one_graph": cannot(NO_TENSOR),
    "population.compiling.refusals": cannot(NO_TENSOR),
    "population.compiling.unguarded": cannot(NO_TENSOR),
    "population.draws.Draws": cannot(NO_TENSOR),
    "population.draws.Given": runs(lambda d: draws.Given("std").eval()(floats(d, 3))),
    "population.draws.draws_of": runs(
        lambda d: draws.draws_of(plain(d).module, dict(plain(d).module.named_parameters()), floats(d, 6, 4)) and ()
    ),
    "population.draws.given": runs(
        lambda d: draws.given(draws.Draws((("a", "p", (3,)),), 0), words(d)[:, None], {"a": floats(d, 3) / 2})
    ),
    "population.draws.random_layers": cannot(NO_TENSOR),
    "population.draws.rate_of": runs(lambda d: draws.rate_of(members(d).module, {"dropout": floats(d, 2)}, "1")),
    "population.draws.trainable": runs(lambda d: list(draws.trainable(members(d).module).parameters())),
    "population.exchange.exchange": runs(lambda d: population.exchange(members(d), params=members(d).params).params),
    "population.feeds.Feed": runs(
        lambda d: [
            feeds.feeds(sampled(d))["train"].all("here", [1, 0]),
            feeds.Feed(floats(d, 3), labels(d, 3)).all("", "a"),
        ]
    ),
    "population.feeds.feeds": cannot("it holds what it is given"),
    "population.fitting.are_labels": cannot(VALUES),
    "population.fitting.check_fit": cannot(NO_TENSOR),
    "population.fitting.check_x": cannot(NO_TENSOR),
    "population.fitting.looked_at": cannot("population.running.step calls it"),
    "population.fitting.objective_of": cannot(NO_TENSOR),
    "population.layers.Way": cannot(NO_TENSOR),
    "population.layers.arrange": cannot(NO_TENSOR),
    "population.layers.forward": runs(lambda d: population.predict(plain(d), floats(d, 6, 4))),
    "population.layers.over_members": runs(lambda d: layers.over_members(torch.sum, floats(d, 3, 2))),
    "population.layers.vmap_refuses": cannot(NO_TENSOR),
    "population.layers.words": cannot(NO_TENSOR),
    "population.measuring.Scores": cannot(NO_TENSOR),
    "population.measuring.evaluate": runs(
        lambda d: population.evaluate(members(d), floats(d, 6, 4), labels(d), loss=nn.functional.cross_entropy)
    ),
    "population.measuring.gradients": runs(on_batch(population.gradients)),
    "population.measuring.predict": runs(lambda d: population.predict(members(d), floats(d, 6, 4))),
    "population.measuring.scores_of": cannot("population.measuring.evaluate calls it"),
    "population.members.State": runs(lambda d: [members(d)[:1].params, members(d).to(torch.float64).slots]),
    "population.members.check_fits": cannot(NO_TENSOR),
    "population.members.freeze": runs(lambda d: population.freeze(members(d), [1]).active),
    "population.members.init": runs(lambda d: members(d).params),
    "population.members.member": runs(lambda d: list(population.member(members(d), 1).parameters())),
    "population.members.start": runs(
        lambda d: population.start(plain(d).module, plain(d).params, optimizers.sgd(), {"lr": 0.1}, seeds=[0, 1]).params
    ),
    "population.members.tensors_of": runs(lambda d: members_module.tensors_of(members(d))),
    "population.plans.Plan": cannot(NO_TENSOR),
    "population.programs.Batch": cannot("it holds what it is given"),
    "population.programs.Network": cannot(NO_TENSOR),
    "population.programs.Objective": cannot(NO_TENSOR),
    "population.programs.Eager": cannot("population.running.step runs it"),
    "population.programs.functional": cannot("it makes the step that population.running.step runs"),
    "population.programs.member_losses": runs(
        lambda d: programs.member_losses(
            programs.Objective(nn.functional.cross_entropy), floats(d, 2, 6, 3), labels(d).expand(2, 6), {}
        )
    ),
    "population.programs.named": runs(lambda d: programs.named({"loss.a": floats(d, 2)}, "loss", ("a",))),
    "population.programs.of_penalty": runs(lambda d: programs.of_penalty({"penalty.a": floats(d, 2)})),
    "population.programs.network": cannot(NO_TENSOR),
    "population.programs.outputs": runs(lambda d: population.predict(plain(d), floats(d, 6, 4))),
    "population.runners.Runner": cannot("population.running.step runs it"),
    "population.runners.runner": cannot("population.running.step runs it"),
    "population.running.Result": cannot("its curves lie on the CPU, wherever the run was"),
    "population.running.carry_on": cannot(
        "its orders are drawn from the values of seeds",
        gpu=lambda d: running.carry_on(members(d), split(d), planned(valid_every=2)).state.params,
    ),
    "population.running.step": cannot("its orders are drawn from the values of seeds", gpu=stepped),
    "population.running.train": cannot("it is init and carry_on"),
    "population.settings.at_steps": cannot("population.running.step calls it"),
    "population.settings.check_names": cannot(NO_TENSOR),
    "population.settings.each_member": runs(lambda d: settings.each_member("here", "lr", 0.1, 2, floats(d, 3))),
    "population.settings.known_settings": cannot(NO_TENSOR),
    "population.settings.loss_settings": cannot(NO_TENSOR),
    "population.slabs.Slabs": runs(lambda d: slabs.Slabs([[0], [1]], "").cut(plain(d))[1].params),
    "population.slabs.slabs_for": cannot(NO_TENSOR),
    "population.storage.fingerprint": cannot(VALUES),
    "population.storage.load": cannot("it reads a file and moves what it finds to the members' device"),
    "population.storage.resume": cannot("it reads a file and moves what it finds to the members' device"),
    "population.storage.save": cannot(VALUES),
    "population.updates.Layout": runs(
        lambda d: updates.Layout(optimizers.adam(), plain(d).params).joined(plain(d).params)
    ),
    "population.updates.place_of": runs(lambda d: moved_by(optimizers.averaged(optimizers.adam()), d)),
    "population.updates.update": runs(lambda d: moved_by(optimizers.lars(), d)),
    "population.updates.uphill": runs(lambda d: updates.uphill(plain(d).params, plain(d).params, floats(d, 2))),
}
