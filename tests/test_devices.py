"""The device table: every public function runs on whatever device its inputs are on, or says why it cannot.

A line of TABLE is a public function's full name and either

    runs(call)                  call(device) makes its inputs there and returns what must lie there
    cannot("because …")         with gpu=call where a real accelerator can run it all the same

"runs" is tried on meta tensors under FakeTensorMode, where mixing devices raises without any accelerator.
The tests marked gpu make every call again on CUDA. Whoever adds a public function adds its line here.
"""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import labsupport
from labsupport import (
    counters,
    data,
    experiments,
    hypergradients,
    models,
    optimizers,
    plots,
    population,
    schedules,
    show,
    training,
    values,
)
from labsupport.hypergradients import backward, films, inputs, problem, setups, solving, steps, studies, ties
from labsupport.hypergradients.runs import Run
from labsupport.initialization import gains, meanfield, propagation, rules, starts
from labsupport.landscape import curvature, plateaus, saddles, sharpness, slices
from labsupport.optimizers import rule
from labsupport.population import (
    chains,
    draws,
    feeds,
    layers,
    programs,
    running,
    settings,
    slabs,
    updates,
)
from labsupport.population import members as members_module
from labsupport.schedules import cosines, elementwise, noise

Call = Callable[[str], Any]


@dataclass(frozen=True)
class Entry:
    """What the table says of one function: `meta` on meta tensors, or why not; `gpu` on an accelerator."""

    meta: Call | None
    because: str
    gpu: Call | None


def runs(call: Call) -> Entry:
    return Entry(call, "", call)


def cannot(because: str, *, gpu: Call | None = None) -> Entry:
    return Entry(None, because, gpu)


def seeded(device="cpu"):
    return torch.Generator(device).manual_seed(0)


def floats(device, *shape):
    return torch.ones(shape, device=device)


def labels(device, n=6):
    return torch.zeros(n, dtype=torch.int64, device=device)


def split(device):
    part = (floats(device, 6, 4), labels(device))
    return data.Split(part, part, part, ("a", "b"))


def fitted(device):
    net = nn.Sequential(nn.Linear(4, 2, device=device))
    plan = training.Plan(1, 4, progress=False, schedule=lambda step: 0.1)
    training.fit(net, split(device), torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), plan, generator=seeded())
    return list(net.parameters())


def scored(device):
    return training.evaluate(nn.Linear(4, 2, device=device), floats(device, 6, 4), labels(device)) and ()


def noisy(make):
    """A noise on gradients, its generator on the CPU: it must follow the gradient."""
    return lambda device: make(device)(floats(device, 5, 2), 0, 0.1, seeded())


def walked(device):
    descent = saddles.Descent(0.1, noise=saddles.isotropic(0.1))
    return saddles.walk(lambda p: p, floats(device, 5, 2), descent, num_steps=2, generator=seeded())


def passed(device):
    return saddles.first_passage(
        lambda p: -p, floats(device, 5, 2), lambda p: p[:, 0] > 2, saddles.Descent(0.5), max_steps=9
    )


def product(device):
    net = nn.Linear(4, 2, device=device)
    params = list(net.parameters())
    times = curvature.hvp(lambda: net(floats(device, 3, 4)).square().mean(), params)
    return times(floats(device, 10))


def diagonal(generator):
    """A product with diag(1, 2, 3) where the generator lives."""
    values = torch.arange(1.0, 4, device=generator.device, dtype=torch.float64)
    return lambda vector: values * vector


def plateaued(device):
    options = {"num_layers": 2, "scale": 0.1, "replicas": 3, "lr": 0.1, "num_steps": 2, "width": 5}
    return plateaus.losses(floats(device, 6, 4), torch.arange(6, device=device) % 2, **options, generator=seeded())


def plain(device):
    """Two members of a small ReLU network."""

    def build(generator):
        return nn.Sequential(nn.Linear(4, 3, device=device), nn.ReLU(), nn.Linear(3, 2, device=device))

    return population.init(build, optimizers.sgd(), {"lr": torch.tensor([0.1, 0.2])}, seeds=[0, 1])


def members(device):
    """Two members of a small network with dropout, under Adam."""

    def build(generator):
        return nn.Sequential(nn.Linear(4, 3, device=device), nn.Dropout(0.1), nn.Linear(3, 2, device=device))

    return population.init(build, optimizers.adam(), {"lr": torch.tensor([0.1, 0.2])}, seeds=[0, 1])


def sloping(device):
    x = torch.arange(24.0, device=device).view(6, 4)
    return data.Split(*[(x, labels(device))] * 3, ("a", "b"))


def begun(device):
    build = lambda generator: nn.Linear(4, 2, device=device)  # noqa: E731
    return experiments.begin(build, split(device), optimizers.sgd(), {"lr": [0.1, 0.2]}, seeds=[0, 1])


def ran(device):
    return experiments.carry_on(begun(device), planned())


def planned(**options):
    return population.Plan(**{"num_epochs": 2, "batch_size": 4, "progress": False, "backend": "eager"} | options)


def stepped(device):
    state, _ = population.step(members(device), floats(device, 6, 4), labels(device), planned(), num_steps=2)
    return state.params, state.buffers, state.slots, state.active, state.diverged


def sampled(device):
    """Two samples of six examples."""
    return data.partitions((floats(device, 6, 4), labels(device)), num_train=3, num_valid=2, num_test=1, seeds=[0, 1])


LINKS = (chains.Link("0.weight", "0.bias", "ReLU"), chains.Link("2.weight", "2.bias", ""))


def sloped(device):
    x, y = floats(device, 2, 6, 4), labels(device, 12).view(2, 6)
    return LINKS, *chains.losses_and_slopes(LINKS, plain(device).params, x, y)


def descended(device):
    params = plain(device).params
    chains.descend(LINKS, sloped(device)[2], params, None, {"lr": floats(device, 2), "weight_decay": 0.0})
    return params


def moved_by(rule, device):
    """A step of a rule for two members, and where it takes its gradients."""
    state = population.init(lambda g: nn.Linear(4, 2, device=device), rule, {"lr": 0.1}, seeds=[0, 1])
    told = dict(rule.defaults) | state.settings
    params, slots = updates.update(rule, state.params, state.slots, state.params, told)
    return [params, slots, updates.place_of(rule, params, slots, told)]


def on_batch(function, **options):
    """A function of members and a batch, its generator, if any, on the CPU: it must follow the members."""
    options |= {"generator": seeded()} if "generator" in inspect.signature(function).parameters else {}
    return lambda d: function(plain(d), floats(d, 6, 4), labels(d), loss=nn.functional.cross_entropy, **options)


def multiplied(device):
    times = on_batch(sharpness.product)(device)
    return times(floats(device, 2, 23))


def ends(device):
    """A start and an end of a small network with one hidden layer."""
    sizes = {"0.weight": (3, 4), "0.bias": (3,), "2.weight": (2, 3), "2.bias": (2,)}
    return [{name: k * floats(device, *size) for name, size in sizes.items()} for k in (1, 2)]


def summed(params):
    return sum((value**2).sum() for value in params.values())


def bent(device):
    return slices.bend(summed, *ends(device), lr=0.01, num_steps=2, generator=seeded())


def filled(rule, **options):
    """A rule on a weight, its generator on the CPU: the values must follow the weight."""
    return runs(lambda d: rule(torch.empty(5, 3, 3, device=d), **options, generator=seeded()))


def pretrained(device):
    """Weights on the CPU, copied into a layer elsewhere."""
    layer = nn.Linear(4, 2, device=device)
    starts.from_pretrained_(layer, {"weight": torch.ones(2, 4)})
    return list(layer.parameters())


def drawn(plot):
    """A plot of tensors on a device: matplotlib must get their values."""
    return lambda device: plot(plots.figure()[1], device) and ()


def born(make):
    """What a generator on an accelerator makes lies there."""
    return cannot("it draws from a generator, and a meta generator does not exist", gpu=lambda d: make(seeded(d)))


def updated(make):
    """One update of an optimizer."""

    def call(device):
        params = {"a": floats(device, 2, 3), "b": floats(device, 3)}
        optimizer = make()
        settings = {
            "clip_norm": 1.0,
            "clip_value": 1.0,
            **{k: v for k, v in optimizer.defaults.items() if v is not None},
        }
        settings |= {"lr": floats(device), "weight_decay": 0.1}
        settings |= {f"rate.{layer}": floats(device) for layer in optimizer.layers}
        return optimizer.update(params, optimizer.init(params), params, settings)

    return runs(call)


def dressed(device):
    """Two steps of an optimizer in torch's dress."""
    params = [floats(device, 2, 3).requires_grad_(), floats(device, 3).requires_grad_()]
    optimizer = optimizers.as_torch(optimizers.schedule_free(), params, {"lr": 0.1})
    for _ in range(2):
        for value in params:
            value.grad = torch.ones_like(value)
        optimizer.step()
    optimizer.eval()
    return [value.detach() for value in params]


def laid_out(device):
    """The memory of a rule's state for two tensors."""
    state = {floats(device, 2, 3): {}, floats(device, 3): {}}
    optimizers.blocks.teams(optimizers.adam(), state)
    return [entry["mean"] for entry in state.values()] + [entry["count"]["steps"] for entry in state.values()]


def words(device):
    """Keys of three members."""
    return torch.arange(6, dtype=torch.int32, device=device).view(3, 2)


def scheduled(make):
    """A schedule, asked for a tensor of steps."""
    return runs(lambda device: make(schedules)(torch.arange(6, device=device).view(2, 3)))


def computed(function):
    return runs(lambda device: function(floats(device, 3).to(torch.float64)))


def adapted(device):
    rate = torch.tensor(0.5, device=device)
    optimizer = torch.optim.SGD([floats(device, 2).requires_grad_()], lr=rate, foreach=False)
    return schedules.as_lambda_lr(optimizer, schedules.constant(0.1)).get_last_lr()


def learnable(device):
    """Training a small network for six steps, and a coefficient for each of its input units."""
    net = nn.Linear(4, 2, device=device)
    problem = hypergradients.Problem(
        lambda w, h, batch: torch.func.functional_call(net, w, (batch,)).square().mean() + hypergradients.log_l2(w, h),
        lambda w: w["weight"].square().sum(),
        dict(net.named_parameters()), lambda step: floats(device, 3, 4), 6, lr=0.1, momentum=0.5,
    )  # fmt: skip
    return problem, hypergradients.unit_l2(net, start=-1.0)


def split_on(device):
    return data.Split(*[(floats(device, n, 4), labels(device)[:n]) for n in (6, 3, 4)])


def side_by_side(device):
    """Weights of two networks 4-2 without hidden layers."""
    return {"0.weight": floats(device, 2, 2, 4), "0.bias": floats(device, 2, 2)}


def doubled(values):
    return {name: 2 * value for name, value in values.items()}


def digits_task(device):
    return setups.digits_task((0, 1), num_steps=2, split=inputs.few_digits().to(device))


def of_tasks(device):
    """Networks 4-2 of three tasks in two draws, and examples."""
    return ties.copied(side_by_side(device), 3), floats(device, 2, 3, 6, 4), labels(device, 36).view(2, 3, 6)


def studied(device):
    """Two networks side by side with a data set each."""
    return studies.with_own_data(
        lambda seed: split_on(device), [4, 3, 2], seeds=(0, 1), num_steps=2, lr=0.1, backend="eager"
    )


def hypergraded(method):
    """A hypergradient by a method, which judges the end by its value; lengths of adjoints lie on the CPU."""

    def call(device):
        found = hypergradients.hypergradient(*learnable(device), method)
        return found.grad, found.weights

    return cannot("it returns the validation loss: " + VALUES, gpu=call)


def by_steps(pick):
    """Something made of a step and its way back."""

    def call(device):
        problem, hyper = learnable(device)
        made = steps.steps_of(problem.train_loss, "eager")
        rates = dict.fromkeys(problem.weights, floats(device)), floats(device)
        adjoints = steps.Adjoints(problem.weights, problem.weights, hyper)
        batch = floats(device, 3, 4)
        with torch.no_grad():
            ahead = made.forward(problem.weights, hyper, batch, problem.weights, *rates)
            return pick([ahead, made.back(problem.weights, hyper, batch, adjoints, *rates)])

    return runs(call)


def meta(device):
    problem, hyper = learnable(device)
    plan = hypergradients.MetaPlan(2, 0.1)
    learnt = hypergradients.meta_optimize(lambda at: problem, hyper, hypergradients.Stored(), plan)
    return learnt.hyper, learnt.history


def searched(device):
    problem, hyper = learnable(device)
    plan, method = hypergradients.MetaPlan(1, 1.0), hypergradients.DrMAD()
    options = {"between": (0.1, 1.0), "generator": seeded()}
    return hypergradients.search_rate(lambda at: problem, hyper, method, plan, **options) and ()


HERE = "it draws integers on the CPU, and whoever needs them moves them"
NO_TENSOR = "it takes and returns no tensor"
JUDGES = "it compares the values of a reader's answer on the CPU"
VALUES = "it needs the values of its tensors, and meta tensors have none"
TEXT = "it makes text and pictures on the CPU"
PREDICTION = "it takes numbers, computes on the CPU and returns numbers"
LABELS = {"xlabel": "x", "ylabel": "y"}

DRAWN = "its networks are drawn on the CPU, and go where the data is"
TABLE: dict[str, Entry] = {
    "checks.compare.Raised": cannot(JUDGES),
    "checks.compare.as_tensor": cannot(JUDGES),
    "checks.compare.close": cannot(JUDGES),
    "checks.compare.copied": cannot(JUDGES),
    "checks.compare.dtypes": cannot(JUDGES),
    "checks.compare.exactly": cannot(JUDGES),
    "checks.compare.unchanged": cannot(JUDGES),
    "checks.compare.parts_of": cannot(JUDGES),
    "checks.draws.normal": cannot("it draws small inputs on the CPU"),
    "checks.draws.uniform": cannot("it draws small inputs on the CPU"),
    "checks.draws.whole": cannot("it draws small inputs on the CPU"),
    "checks.frame.Check": cannot("it draws its own small inputs on the CPU"),
    "checks.frame.Report": cannot(NO_TENSOR),
    "checks.frame.check": cannot(NO_TENSOR),
    "checks.frame.collect": cannot(NO_TENSOR),
    "checks.frame.grade": cannot(NO_TENSOR),
    "checks.wording.Case": cannot(JUDGES),
    "checks.wording.described": cannot(JUDGES),
    "checks.wording.difference": cannot(JUDGES),
    "checks.wording.placed": cannot(JUDGES),
    "checks.wording.texts": cannot(JUDGES),
    "checks.wording.unlike": cannot(JUDGES),
    "data.idx.mnist": cannot("it reads files, and Split.to moves what it read"),
    "data.idx.read_idx": cannot("it reads a file into the CPU's memory"),
    "data.letters.glyphs": born(lambda g: data.glyphs("ogham", sizes=(5, 2, 2), generator=g)),
    "data.samples.Partitions": runs(
        lambda d: [sampled(d), sampled(d).split(1), sampled(d).flat(), sampled(d).to(torch.float64)]
    ),
    "data.samples.Rows": runs(lambda d: sampled(d).train.places("here", [1])),
    "data.samples.partitions": runs(sampled),
    "data.scans.digits": born(lambda g: data.digits(generator=g)),
    "data.scripts.faces": cannot(NO_TENSOR),
    "data.scripts.font_file": cannot(NO_TENSOR),
    "data.splits.Split": runs(lambda d: [split(d), split(d).flat(), split(d).to(torch.float64), split(d).to(d)]),
    "data.splits.batches": runs(lambda d: list(data.batches(floats(d, 6, 4), labels(d), 4, generator=seeded()))),
    "data.splits.standardized": runs(lambda d: data.standardized(sloping(d))),
    "data.toys.linear_chain": runs(lambda d: data.linear_chain(floats(d, 5, 3))),
    "data.toys.monks": born(lambda g: data.monks(3, generator=g)),
    "data.toys.quadratic": runs(lambda d: data.quadratic(floats(d, 5, 3), floats(d, 3))),
    "data.toys.strict_saddle": runs(lambda d: data.strict_saddle(floats(d, 5, 2))),
    "data.toys.two_spirals": born(lambda g: data.two_spirals(20, generator=g)),
    "experiments.claims.Entry": cannot(NO_TENSOR),
    "experiments.claims.Past": cannot(NO_TENSOR),
    "experiments.claims.find": cannot(NO_TENSOR),
    "experiments.claims.hashes": cannot(NO_TENSOR),
    "experiments.claims.parsed": cannot(NO_TENSOR),
    "experiments.claims.read": cannot(NO_TENSOR),
    "experiments.claims.refuse_changed": cannot(NO_TENSOR),
    "experiments.claims.registry": cannot(NO_TENSOR),
    "experiments.grids.Point": cannot(NO_TENSOR),
    "experiments.grids.Points": cannot(VALUES, gpu=lambda d: experiments.grid(lr=[0.1, 0.2]).fold(floats(d, 6, 2))),
    "experiments.grids.grid": cannot(NO_TENSOR),
    "experiments.grids.points": cannot(NO_TENSOR),
    "experiments.intervals.Estimate": cannot(NO_TENSOR),
    "experiments.intervals.Resampled": cannot(NO_TENSOR),
    "experiments.judging.Condition": cannot(NO_TENSOR),
    "experiments.judging.Judgement": cannot(NO_TENSOR),
    "experiments.judging.judge": cannot(NO_TENSOR),
    "experiments.recipes.checksum": cannot(NO_TENSOR),
    "experiments.recipes.names": cannot(NO_TENSOR),
    "experiments.recipes.rooms": cannot(NO_TENSOR),
    "experiments.rounding.rounded": cannot(VALUES),
    "experiments.runs.Runs": cannot(VALUES, gpu=lambda d: ran(d).scores("test")),
    "experiments.runs.begin": cannot(VALUES, gpu=lambda d: begun(d).state.params),
    "experiments.runs.carry_on": cannot(VALUES, gpu=lambda d: experiments.carry_on(begun(d), planned()).state.params),
    "experiments.runs.run": cannot(VALUES, gpu=lambda d: ran(d).state.params),
    "experiments.samples.Samples": cannot(VALUES),
    "experiments.tables.check": cannot(NO_TENSOR),
    "experiments.tables.load": cannot(NO_TENSOR),
    "experiments.tables.main": cannot(NO_TENSOR),
    "experiments.tables.make": cannot(NO_TENSOR),
    "experiments.tables.recipe": cannot(NO_TENSOR),
    "experiments.tuning.Tuned": cannot(NO_TENSOR),
    "experiments.tuning.tuned": cannot("experiments.runs.run trains for it"),
    "experiments.judging.combine": cannot(NO_TENSOR),
    "experiments.judging.confidences": cannot(NO_TENSOR),
    "experiments.judging.verdict": cannot(NO_TENSOR),
    "experiments.workers.CaseError": cannot(NO_TENSOR),
    "experiments.workers.start_worker": cannot(NO_TENSOR),
    "files.beside": cannot(NO_TENSOR),
    "files.check_place": cannot(NO_TENSOR),
    "files.read": cannot("it reads a file into the CPU's memory"),
    "files.write": cannot("it writes values: " + VALUES),
    "hypergradients.runs.Run": cannot("its steps are those of hypergradients.steps.steps_of"),
    "hypergradients.backward.Tape": cannot("it says what a method's own tape is like"),
    "hypergradients.backward.along": cannot("it is what the methods do"),
    "hypergradients.backward.check_end": cannot("it looks whether weights are finite: " + VALUES),
    "hypergradients.backward.check_growth": cannot(
        VALUES, gpu=lambda d: backward.check_growth([(0, floats(d))], floats(d), 2.0) or ()
    ),
    "hypergradients.backward.clock": runs(lambda d: backward.clock(learnable(d)[0]) and ()),
    "hypergradients.backward.descend": cannot(
        "it looks whether weights are finite: " + VALUES,
        gpu=lambda d: backward.descend(Run(*learnable(d), "eager")),
    ),
    "hypergradients.backward.judged": cannot(
        VALUES, gpu=lambda d: backward.judged(learnable(d)[0], learnable(d)[0].weights)[1]
    ),
    "hypergradients.problem.length": runs(lambda d: problem.length({"a": floats(d, 3)})),
    "hypergradients.problem.nbytes": runs(lambda d: problem.nbytes({"a": floats(d, 3)}) and ()),
    "hypergradients.films.Along": hypergraded(films.Along(lambda film: [(0, film[0])])),
    "hypergradients.films.Nearness": cannot("it holds what nearness finds"),
    "hypergradients.films.apart": runs(lambda d: films.apart({"a": floats(d, 2, 3)}, {"a": floats(d, 2, 3)})),
    "hypergradients.films.between": runs(
        lambda d: films.between({"a": floats(d, 2, 3)}, {"a": floats(d, 2, 3)}, floats(d, 2))
    ),
    "hypergradients.films.extremes": cannot(
        "it solves on the CPU",
        gpu=lambda d: films.extremes(lambda w, h, b: (w["a"] ** 2).sum(), {"a": floats(d, 2, 3)}, {}, 0, seed=0) and (),
    ),
    "hypergradients.films.film": cannot("it looks at weights: " + VALUES, gpu=lambda d: films.film(*learnable(d))),
    "hypergradients.films.flat": runs(lambda d: films.flat({"a": floats(d, 2, 3), "b": floats(d, 2)}, members=True)),
    "hypergradients.films.nearness": runs(lambda d: films.nearness({"a": floats(d, 2, 3)}, {"a": floats(d, 2, 3)})),
    "hypergradients.films.products": runs(
        lambda d: films.products(*learnable(d), learnable(d)[0].weights, learnable(d)[0].weights)
    ),
    "hypergradients.films.saved_bytes": cannot("it returns a number"),
    "hypergradients.forward_mode.ForwardMode": hypergraded(hypergradients.ForwardMode()),
    "hypergradients.forward_mode.Unrolled": hypergraded(hypergradients.Unrolled()),
    "hypergradients.implicit.ConjugateGradient": cannot(
        "it looks whether curvature is positive: " + VALUES,
        gpu=lambda d: hypergradients.hypergradient(*learnable(d), hypergradients.ConjugateGradient(2)).grad,
    ),
    "hypergradients.implicit.Neumann": hypergraded(hypergradients.Neumann(2)),
    "hypergradients.learning.Learnt": cannot("its losses lie on the CPU, wherever training was"),
    "hypergradients.learning.MetaPlan": cannot(NO_TENSOR),
    "hypergradients.learning.meta_optimize": cannot("it looks at losses: " + VALUES, gpu=meta),
    "hypergradients.learning.search_rate": cannot("it compares losses: " + VALUES, gpu=searched),
    "hypergradients.measuring.Check": cannot("it holds numbers"),
    "hypergradients.measuring.Method": cannot("it says what a method is like"),
    "hypergradients.measuring.check": cannot(
        "it compares: " + VALUES, gpu=lambda d: hypergradients.check(*learnable(d), hypergradients.DrMAD()).result.grad
    ),
    "hypergradients.measuring.hypergradient": cannot("the methods are called by it, and look at values"),
    "hypergradients.measuring.train": cannot(
        "it looks at losses: " + VALUES, gpu=lambda d: hypergradients.train(*learnable(d))[0]
    ),
    "hypergradients.paths.DrMAD": hypergraded(hypergradients.DrMAD(3)),
    "hypergradients.paths.Knots": hypergraded(hypergradients.Knots(3)),
    "hypergradients.paths.SqrtCheckpoint": hypergraded(hypergradients.SqrtCheckpoint()),
    "hypergradients.paths.Stored": hypergraded(hypergradients.Stored(torch.bfloat16)),
    "hypergradients.paths.Truncated": hypergraded(hypergradients.Truncated(3)),
    "hypergradients.penalties.layer_l2": runs(lambda d: hypergradients.layer_l2(nn.Linear(4, 2, device=d), start=0.0)),
    "hypergradients.penalties.log_l2": runs(
        lambda d: hypergradients.log_l2({"a": floats(d, 2, 3)}, {"a": floats(d, 3)})
    ),
    "hypergradients.penalties.parameter_l2": runs(
        lambda d: hypergradients.parameter_l2(nn.Linear(4, 2, device=d), start=0.0)
    ),
    "hypergradients.penalties.unit_l2": runs(lambda d: hypergradients.unit_l2(nn.Linear(4, 2, device=d), start=0.0)),
    "hypergradients.problem.Hypergradient": cannot("it holds what it is given"),
    "hypergradients.problem.Problem": runs(lambda d: learnable(d)[0].weights),
    "hypergradients.problem.check_tensors": runs(
        lambda d: hypergradients.problem.check_tensors("f", "a", {"a": floats(d, 3)}) or ()
    ),
    "hypergradients.problem.fits": runs(lambda d: hypergradients.problem.fits(floats(d, 3), floats(d, 2, 3)) and ()),
    "hypergradients.problem.minibatches": cannot(
        HERE, gpu=lambda d: hypergradients.minibatches(floats(d, 6, 4), labels(d), 4, seed=0)(1)
    ),
    "hypergradients.problem.momentum_at": runs(lambda d: hypergradients.problem.momentum_at(learnable(d)[0], {}, 0)),
    "hypergradients.problem.rates_at": runs(lambda d: hypergradients.problem.rates_at(learnable(d)[0], {}, 0)),
    "hypergradients.reversible.Reversible": hypergraded(hypergradients.Reversible()),
    "hypergradients.steps.Adjoints": by_steps(lambda made: made[1][0]),
    "hypergradients.steps.Steps": by_steps(lambda made: made[0]),
    "hypergradients.steps.steps_of": by_steps(lambda made: made),
    "hypergradients.inputs.beside_noise": runs(
        lambda d: inputs.beside_noise(split_on(d), 2, std=0.3, generators=[seeded()] * 3).train
    ),
    "hypergradients.inputs.cluttered": cannot("it renders glyphs: on the CPU"),
    "hypergradients.inputs.few_digits": cannot("it reads digits: on the CPU"),
    "hypergradients.inputs.letter_tasks": cannot("it renders glyphs: on the CPU"),
    "hypergradients.inputs.letters": cannot("it renders glyphs: on the CPU"),
    "hypergradients.setups.clutter_row": cannot("it returns numbers"),
    "hypergradients.setups.digits_task": cannot(DRAWN, gpu=lambda d: digits_task(d)[0].weights),
    "hypergradients.setups.on_clutter": cannot("it renders glyphs: on the CPU"),
    "hypergradients.setups.on_digits": cannot(DRAWN, gpu=lambda d: digits_task(d)[0].batches(0)),
    "hypergradients.solving.conjugate": runs(lambda d: solving.conjugate(doubled, side_by_side(d), num_steps=2)),
    "hypergradients.solving.dots": runs(lambda d: solving.dots(side_by_side(d), side_by_side(d))),
    "hypergradients.solving.highest": runs(lambda d: solving.highest(doubled, side_by_side(d), num_steps=2)),
    "hypergradients.solving.scaled": runs(lambda d: solving.scaled(floats(d, 2), side_by_side(d))),
    "hypergradients.solving.series": runs(
        lambda d: solving.series(doubled, side_by_side(d), floats(d, 2), num_terms=2)
    ),
    "hypergradients.studies.Study": cannot(
        DRAWN + "; " + VALUES,
        gpu=lambda d: [studied(d).coefficients(-1.0), studied(d).scores(studied(d).coefficients(0.0), [0])],
    ),
    "hypergradients.studies.before_and_after": cannot("it returns numbers"),
    "hypergradients.studies.best_single": cannot("it returns numbers"),
    "hypergradients.studies.compared": cannot("it returns numbers"),
    "hypergradients.studies.errors": runs(lambda d: studies.errors(side_by_side(d), floats(d, 6, 4), labels(d))),
    "hypergradients.studies.losses": runs(lambda d: studies.losses(side_by_side(d), floats(d, 6, 4), labels(d))),
    "hypergradients.studies.outputs": runs(lambda d: studies.outputs(side_by_side(d), floats(d, 6, 4))),
    "hypergradients.studies.own": runs(lambda d: studies.own([split_on(d), split_on(d)])),
    "hypergradients.studies.penalized": runs(
        lambda d: studies.penalized(side_by_side(d), {"0.weight": floats(d, 2, 4)}, (floats(d, 6, 4), labels(d)))
    ),
    "hypergradients.studies.stacked": runs(lambda d: studies.stacked([nn.Linear(4, 2, device=d)] * 2)),
    "hypergradients.studies.with_own_data": cannot(
        DRAWN + "; " + VALUES, gpu=lambda d: studied(d).scores(studied(d).coefficients(0.0), [0])
    ),
    "hypergradients.ties.copied": runs(lambda d: ties.copied(side_by_side(d), 3)),
    "hypergradients.ties.distances": runs(lambda d: ties.distances(floats(d, 2, 4, 3))),
    "hypergradients.ties.losses": runs(lambda d: ties.losses(*of_tasks(d))),
    "hypergradients.ties.outputs": runs(lambda d: ties.outputs(*of_tasks(d)[:2])),
    "hypergradients.ties.penalized": runs(
        lambda d: ties.penalized(
            of_tasks(d)[0], {"decay": floats(d, 2, 1), "tie": floats(d, 2, 1, 3, 3)}, of_tasks(d)[1:]
        )
    ),
    "hypergradients.ties.shared_part": runs(lambda d: ties.shared_part(floats(d, 2, 4, 4), floats(d, 2))),
    "initialization.gains.backward_gain": cannot(PREDICTION),
    "initialization.gains.derivative": runs(lambda d: gains.derivative("tanh")(floats(d, 3))),
    "initialization.gains.expectation": cannot(PREDICTION),
    "initialization.gains.forward_gain": cannot(PREDICTION),
    "initialization.gains.function": runs(lambda d: gains.function("tanh")(floats(d, 3))),
    "initialization.meanfield.DepthScales": cannot(PREDICTION),
    "initialization.meanfield.chi": cannot(PREDICTION),
    "initialization.meanfield.correlation_map": cannot(PREDICTION),
    "initialization.meanfield.critical_gain": cannot(PREDICTION),
    "initialization.meanfield.depth_scales": cannot(PREDICTION),
    "initialization.meanfield.fixed_correlation": cannot(PREDICTION),
    "initialization.meanfield.fixed_length": cannot(PREDICTION),
    "initialization.meanfield.gradients": cannot(
        PREDICTION, gpu=lambda d: list(meanfield.gradients("relu", floats(d, 3), gain=1.0))[:0]
    ),
    "initialization.meanfield.length_map": cannot(PREDICTION),
    "initialization.meanfield.lengths": cannot(PREDICTION),
    "initialization.propagation.Moments": cannot(NO_TENSOR + " but those it is given"),
    "initialization.propagation.jacobian_singular_values": runs(
        lambda d: propagation.jacobian_singular_values(nn.Linear(4, 2, device=d), floats(d, 3, 4))
    ),
    "initialization.propagation.measure": runs(
        lambda d: propagation.measure(nn.Linear(4, 2, device=d), floats(d, 3, 4), loss=torch.sum)[1:]
    ),
    "initialization.rules.constant_": filled(rules.constant_, value=0.1),
    "initialization.rules.delta_orthogonal_": filled(rules.delta_orthogonal_),
    "initialization.rules.fans": runs(lambda d: rules.fans(floats(d, 3, 4)) and ()),
    "initialization.rules.he_normal_": filled(rules.he_normal_),
    "initialization.rules.he_uniform_": filled(rules.he_uniform_),
    "initialization.rules.lecun_normal_": filled(rules.lecun_normal_),
    "initialization.rules.lecun_uniform_": filled(rules.lecun_uniform_),
    "initialization.rules.normal_": filled(rules.normal_, std=0.1),
    "initialization.rules.orthogonal_": filled(rules.orthogonal_),
    "initialization.rules.uniform_": filled(rules.uniform_, std=0.1),
    "initialization.rules.xavier_normal_": filled(rules.xavier_normal_),
    "initialization.rules.xavier_uniform_": filled(rules.xavier_uniform_),
    "initialization.starts.Transfer": cannot(NO_TENSOR),
    "initialization.starts.apply_": runs(
        lambda d: list(starts.apply_(nn.Linear(4, 2, device=d), rules.he_normal_, generator=seeded()).parameters())
    ),
    "initialization.starts.biases_": runs(lambda d: list(starts.biases_(nn.Linear(4, 2, device=d)).parameters())),
    "initialization.starts.builder": born(lambda g: list(starts.builder([4, 3, 2])(g).parameters())),
    "initialization.starts.chrono_": runs(
        lambda d: list(starts.chrono_(nn.LSTM(2, 3, device=d), longest=9, generator=seeded()).parameters())
    ),
    "initialization.starts.class_prior_": runs(lambda d: starts.class_prior_(floats(d, 3), counts=floats(d, 3))),
    "initialization.starts.forget_gate_": runs(
        lambda d: list(starts.forget_gate_(nn.LSTM(2, 3, device=d)).parameters())
    ),
    "initialization.starts.from_pretrained_": runs(pretrained),
    "landscape.curvature.density": born(
        lambda g: curvature.density(diagonal(g), 3, probes=2, num_steps=2, generator=g)
    ),
    "landscape.curvature.eigs": born(lambda g: curvature.eigs(diagonal(g), 3, 1, num_steps=3, generator=g)),
    "landscape.curvature.flatten": runs(lambda d: curvature.flatten([floats(d, 2, 3), floats(d, 1)])),
    "landscape.curvature.hvp": runs(product),
    "landscape.curvature.trace": born(
        lambda g: [curvature.trace(diagonal(g), 3, num_products=n, generator=g) for n in (6, 9)] and ()
    ),
    "landscape.plateaus.losses": cannot("it counts the classes in y: " + VALUES, gpu=plateaued),
    "landscape.plateaus.plateau_length": runs(lambda d: plateaus.plateau_length(floats(d, 3, 4), below=0.5)),
    "landscape.saddles.Descent": cannot(NO_TENSOR),
    "landscape.saddles.Inertia": cannot(NO_TENSOR),
    "landscape.saddles.Walkers": runs(lambda d: saddles.Walkers(floats(d, 5, 2), floats(d, 5, 2))),
    "landscape.saddles.ball_when_flat": runs(noisy(lambda d: saddles.ball_when_flat(0.1, threshold=9.0, every=1))),
    "landscape.saddles.escape_time": cannot(NO_TENSOR),
    "landscape.saddles.first_passage": cannot("it ends when every walker has escaped: " + VALUES, gpu=passed),
    "landscape.saddles.hessian": runs(lambda d: saddles.hessian(data.strict_saddle, floats(d, 2))),
    "landscape.saddles.in_directions": runs(noisy(lambda d: saddles.in_directions(torch.eye(2, device=d), 0.1))),
    "landscape.saddles.inertia": cannot(
        "it counts signs: " + VALUES, gpu=lambda d: saddles.inertia(torch.eye(2, device=d)) and ()
    ),
    "landscape.saddles.isotropic": runs(noisy(lambda d: saddles.isotropic(0.1))),
    "landscape.saddles.kind": cannot(NO_TENSOR),
    "landscape.saddles.multiplicative": runs(noisy(lambda d: saddles.multiplicative(0.1))),
    "landscape.saddles.start": runs(lambda d: saddles.start(floats(d, 5, 2))),
    "landscape.saddles.step": runs(
        lambda d: saddles.step(saddles.start(floats(d, 5, 2)), floats(d, 5, 2), lr=0.1, momentum=0.9)
    ),
    "landscape.saddles.walk": runs(walked),
    "landscape.sharpness.largest": runs(on_batch(sharpness.largest, num_steps=3)),
    "landscape.sharpness.product": runs(multiplied),
    "landscape.sharpness.rescale_layers": runs(
        lambda d: sharpness.rescale_layers(plain(d), torch.tensor([2.0, 0.5], device=d))
    ),
    "landscape.sharpness.trace": runs(on_batch(sharpness.trace, num_products=2)),
    "landscape.sharpness.worst_case": runs(on_batch(sharpness.worst_case, radius=0.1, num_steps=2)),
    "landscape.slices.barrier": runs(lambda d: slices.barrier(floats(d, 3, 2), [0, 0.5, 1])),
    "landscape.slices.bend": runs(bent),
    "landscape.slices.bezier": runs(lambda d: slices.bezier(*ends(d), ends(d)[0])(0.3)),
    "landscape.slices.filter_direction": runs(lambda d: slices.filter_direction(ends(d)[0], generator=seeded())),
    "landscape.slices.from_line": runs(lambda d: slices.from_line(ends(d))),
    "landscape.slices.losses_along": runs(
        lambda d: slices.losses_along(summed, slices.straight(*ends(d)), positions=[0, 1])
    ),
    "landscape.slices.match_units": cannot(
        "scipy solves the assignment: " + VALUES, gpu=lambda d: slices.match_units(*ends(d))
    ),
    "landscape.slices.permute_units": runs(
        lambda d: slices.permute_units(ends(d)[0], torch.arange(3, device=d).flip(0))
    ),
    "landscape.slices.plane": runs(lambda d: slices.plane(summed, *ends(d), ends(d)[1], x=[0, 1], y=[0])),
    "landscape.slices.rise": runs(lambda d: slices.rise(floats(d, 3, 2))),
    "landscape.slices.straight": runs(lambda d: slices.straight(*ends(d))(0.5)),
    "models.GaussianNoise": runs(lambda d: models.GaussianNoise(0.1)(floats(d, 3))),
    "models.Recurrent": born(lambda g: list(models.Recurrent(3, 4, 2, gain=1.0, generator=g).parameters())),
    "models.convnet": born(lambda g: list(models.convnet((1, 8, 8), 3, norm="batch", generator=g).parameters())),
    "models.lstm": runs(lambda d: models.lstm(nn.LSTMCell(4, 3, device=d), floats(d, 2, 5, 4))),
    "models.mlp": born(lambda g: list(models.mlp([4, 3, 2], generator=g).parameters())),
    "models.num_parameters": runs(lambda d: [()] * models.num_parameters(nn.Linear(4, 2, device=d))),
    "optimizers.adapter.as_torch": runs(dressed),
    "optimizers.adaptive.adadelta": updated(optimizers.adadelta),
    "optimizers.adaptive.adagrad": updated(optimizers.adagrad),
    "optimizers.adaptive.adam": updated(optimizers.adam),
    "optimizers.adaptive.adamw": updated(optimizers.adamw),
    "optimizers.adaptive.nadam": updated(optimizers.nadam),
    "optimizers.adaptive.rmsprop": updated(optimizers.rmsprop),
    "optimizers.averaging.averaged": updated(lambda: optimizers.averaged(optimizers.momentum())),
    "optimizers.averaging.schedule_free": updated(optimizers.schedule_free),
    "optimizers.blocks.Block": cannot("it holds tensors; `teams` makes it on the device of the parameters"),
    "optimizers.blocks.Team": cannot("it holds tensors; `teams` makes it on the device of the parameters"),
    "optimizers.blocks.teams": runs(laid_out),
    "optimizers.layer_rates.by_layer": updated(lambda: optimizers.by_layer(optimizers.adam(), layers=["a"])),
    "optimizers.layerwise.lars": updated(optimizers.lars),
    "optimizers.momenta.momentum": updated(optimizers.momentum),
    "optimizers.momenta.nesterov": updated(optimizers.nesterov),
    "optimizers.momenta.sgd": updated(optimizers.sgd),
    "optimizers.orthogonal.muon": updated(optimizers.muon),
    "optimizers.rule.Optimizer": cannot(
        "it holds functions; those of each optimizer follow the tensors they are given"
    ),
    "optimizers.rule.check_inner": cannot(NO_TENSOR),
    "optimizers.rule.counter": runs(lambda d: rule.counter({"a": floats(d, 3)})),
    "optimizers.rule.decayed": runs(
        lambda d: rule.decayed({"a": floats(d, 3)}, {"a": floats(d, 3)}, {"weight_decay": 0.1})
    ),
    "optimizers.rule.titled": cannot(NO_TENSOR),
    "optimizers.rule.zeros": runs(lambda d: rule.zeros({"a": floats(d, 3)})),
    "optimizers.wrappers.accumulated": updated(lambda: optimizers.accumulated(optimizers.adam(), num_batches=2)),
    "optimizers.wrappers.clipped_norm": updated(lambda: optimizers.clipped_norm(optimizers.sgd())),
    "optimizers.wrappers.clipped_value": updated(lambda: optimizers.clipped_value(optimizers.sgd())),
    "plots.contours": cannot("it draws its own grid on the CPU"),
    "plots.figure": cannot(NO_TENSOR),
    "plots.mean_and_error": cannot(
        VALUES, gpu=drawn(lambda ax, d: plots.mean_and_error(ax, range(4), {"a": floats(d, 3, 4)}, **LABELS))
    ),
    "plots.paths": cannot(VALUES, gpu=drawn(lambda ax, d: plots.paths(ax, {"a": floats(d, 4, 2)}))),
    "plots.series": cannot(VALUES, gpu=drawn(lambda ax, d: plots.series(ax, range(4), {"a": floats(d, 4)}, **LABELS))),
    "counters.mix": runs(lambda d: counters.mix(labels(d))),
    "counters.seeded": cannot("its generator lives on the CPU"),
    "counters.keys": cannot(HERE),
    "counters.mask": runs(lambda d: counters.mask(words(d), floats(d, 3) / 2, (4, 5))),
    "counters.normals": runs(lambda d: counters.normals(words(d), (4, 5))),
    "counters.orders": cannot(HERE),
    "counters.uniforms": runs(lambda d: counters.uniforms(words(d), (4, 5))),
    "population.alike.check_alike": cannot(VALUES),
    "population.alike.check_followed": cannot(NO_TENSOR),
    "population.chains.Link": cannot(NO_TENSOR),
    "population.chains.chain_of": cannot(NO_TENSOR),
    "population.chains.descend": runs(descended),
    "population.chains.gradients": runs(lambda d: chains.gradients(*sloped(d)[::2])),
    "population.chains.losses_and_slopes": runs(sloped),
    "population.chains.moves_in_place": cannot(NO_TENSOR),
    "population.compiling.Compiled": cannot("population.running.step runs it"),
    "population.compiling.backend_for": cannot(NO_TENSOR),
    "population.compiling.compiled": cannot("it makes the step that population.running.step runs"),
    "population.compiling.compiler": cannot(NO_TENSOR),
    "population.compiling.give_up": cannot(NO_TENSOR),
    "population.compiling.given_up": cannot(NO_TENSOR),
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
    "remaking.Remade": cannot(NO_TENSOR),
    "remaking.recorded": cannot(NO_TENSOR),
    "schedules.composing.join": scheduled(lambda s: s.join([s.constant(0.1), s.cosine(0.1, decay_steps=3)], [2])),
    "schedules.composing.scale": scheduled(lambda s: s.scale(s.constant(0.1), 2.0)),
    "schedules.composing.warmup": scheduled(lambda s: s.warmup(s.cosine(0.1, decay_steps=3), num_steps=2)),
    "schedules.composing.wsd": scheduled(lambda s: s.wsd(0.1, warmup_steps=2, stable_steps=1, decay_steps=2)),
    "schedules.cosines.cosine": scheduled(lambda s: s.cosine(0.1, decay_steps=3)),
    "schedules.cosines.half_cosine": computed(cosines.half_cosine),
    "schedules.cosines.linear_cosine": scheduled(lambda s: s.linear_cosine(0.1, decay_steps=3)),
    "schedules.cosines.noisy_linear_cosine": scheduled(lambda s: s.noisy_linear_cosine(0.1, decay_steps=3, seed=0)),
    "schedules.cycles.cosine_restarts": scheduled(lambda s: s.cosine_restarts(0.1, first_decay_steps=2)),
    "schedules.cycles.triangular": scheduled(lambda s: s.triangular(0.1, 0.2, half_cycle=2)),
    "schedules.decays.constant": scheduled(lambda s: s.constant(0.1)),
    "schedules.decays.exponential": scheduled(lambda s: s.exponential(0.1, decay_steps=3, decay_rate=0.5)),
    "schedules.decays.inverse_sqrt": scheduled(lambda s: s.inverse_sqrt(0.1, decay_steps=3)),
    "schedules.decays.inverse_time": scheduled(lambda s: s.inverse_time(0.1, decay_steps=3, decay_rate=0.5)),
    "schedules.decays.natural_exp": scheduled(lambda s: s.natural_exp(0.1, decay_steps=3, decay_rate=0.5)),
    "schedules.decays.piecewise": scheduled(lambda s: s.piecewise([2], [0.1, 0.2])),
    "schedules.decays.polynomial": scheduled(lambda s: s.polynomial(0.1, decay_steps=3, cycle=True)),
    "schedules.elementwise.at_least": computed(lambda x: elementwise.at_least(x, 2)),
    "schedules.elementwise.at_most": computed(lambda x: elementwise.at_most(x, 2)),
    "schedules.elementwise.blend": computed(lambda x: elementwise.blend(0.1, 0.2, x)),
    "schedules.elementwise.choose": computed(lambda x: elementwise.choose(x > 2, x, -x)),
    "schedules.elementwise.cos": computed(elementwise.cos),
    "schedules.elementwise.count": computed(lambda x: elementwise.count(x, [1.0, 2.0], reached=True)),
    "schedules.elementwise.exp": computed(elementwise.exp),
    "schedules.elementwise.largest": computed(lambda x: elementwise.largest(x) and ()),
    "schedules.elementwise.log": computed(elementwise.log),
    "schedules.elementwise.lookup": runs(lambda d: elementwise.lookup(labels(d), [0.1, 0.2])),
    "schedules.elementwise.power": computed(lambda x: [elementwise.power(x, 0.5), elementwise.power(0.5, x)]),
    "schedules.elementwise.real": runs(lambda d: elementwise.real(labels(d))),
    "schedules.lambda_lr.as_lambda_lr": cannot("torch.optim looks at the rate: " + VALUES, gpu=adapted),
    "schedules.noise.normal": runs(lambda d: noise.normal(0, labels(d))),
    "schedules.schedule.Schedule": runs(lambda d: schedules.Schedule(elementwise.real, "real()")(labels(d))),
    "schedules.schedule.check_boundaries": cannot(NO_TENSOR),
    "schedules.schedule.check_schedule": cannot(NO_TENSOR),
    "schedules.schedule.check_start": cannot(NO_TENSOR),
    "show.bundles.Bundle": cannot(TEXT),
    "show.bundles.asset": cannot(TEXT),
    "show.bundles.content_id": cannot(TEXT),
    "show.bundles.data_uri": cannot(TEXT),
    "show.bundles.is_live": cannot(TEXT),
    "show.bundles.picture": cannot(TEXT),
    "show.bundles.show_now": cannot(TEXT),
    "show.claims.claim": cannot(TEXT),
    "show.claims.measurement": cannot(TEXT),
    "show.claims.origin": cannot(TEXT),
    "show.claims.record": cannot(TEXT),
    "show.claims.rule_text": cannot(TEXT),
    "show.claims.runs_text": cannot(TEXT),
    "show.figures.figure": cannot(TEXT),
    "show.figures.require_text": cannot(TEXT),
    "show.predictions.outcome": cannot(TEXT),
    "show.predictions.predict": cannot(TEXT),
    "show.sliders.slider": cannot(TEXT),
    "show.text.measured": cannot(VALUES, gpu=lambda d: show.measured(floats(d, 3)) and ()),
    "show.text.rounded": cannot(NO_TENSOR),
    "show.text.source": cannot(TEXT),
    "show.text.table": cannot(TEXT),
    "training.History": cannot("what it holds lies on the CPU, wherever the run was"),
    "training.Plan": cannot(NO_TENSOR),
    "training.Score": cannot(NO_TENSOR),
    "training.evaluate": runs(scored),
    "training.fit": runs(fitted),
    "values.check_choice": cannot(NO_TENSOR),
    "values.check_count": cannot(NO_TENSOR),
    "values.check_generator": cannot(NO_TENSOR),
    "values.check_number": cannot(NO_TENSOR),
    "values.holds": runs(lambda d: values.holds(floats(d, 3) > 0) and ()),
    "values.is_finite": runs(lambda d: values.is_finite(floats(d, 3)) and ()),
    "values.number": runs(lambda d: values.number(floats(d, 1)) and ()),
}


def public_functions(package=labsupport) -> set[str]:
    """Full names of the functions and classes that the modules' `__all__` name, where they are defined."""
    found = set()
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        found |= {key(getattr(module, name)) for name in getattr(module, "__all__", [])}
    return found - {""}


def key(thing: object) -> str:
    """Its name below labsupport; an instance (such as a check) goes by its class, a constant by none."""
    if not callable(thing):
        return ""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}".removeprefix("labsupport.")


def tensors(result: object) -> list[Tensor]:
    """Every tensor in nested tuples, lists, dicts and dataclasses."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, Mapping):
        result = list(result.values())
    elif dataclasses.is_dataclass(result):
        result = [getattr(result, field.name) for field in dataclasses.fields(result)]
    return [tensor for part in result for tensor in tensors(part)] if isinstance(result, (list, tuple)) else []


def lies_there(call: Call, device: str) -> None:
    """Make the call and demand that every tensor of the result lies on `device`."""
    strays = {tensor.device.type for tensor in tensors(call(device))} - {device}
    assert not strays, f"a result lies on {strays}, its inputs on {device}"


def on_meta(call: Call) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        lies_there(call, "meta")


RUNS = {name: entry.meta for name, entry in TABLE.items() if entry.meta}
ON_GPU = {name: entry.gpu for name, entry in TABLE.items() if entry.gpu}
# torch.func.hessian compiles a decomposition at its first use
quiet = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def test_the_table_names_every_public_function_and_no_other():
    found = public_functions()
    assert sorted(found - TABLE.keys()) == [], "missing in the table"
    assert sorted(TABLE.keys() - found) == [], "in the table, but no longer public"


def test_a_function_missing_from_the_table_is_seen(monkeypatch):
    def fresh():
        pass

    before = public_functions()
    fresh.__module__, fresh.__qualname__ = "labsupport.models", "fresh"
    monkeypatch.setattr(models, "fresh", fresh, raising=False)
    monkeypatch.setattr(models, "__all__", [*models.__all__, "fresh"])
    assert public_functions() - before == {"models.fresh"}


def test_every_refusal_has_a_reason():
    assert [name for name, entry in TABLE.items() if (entry.meta is None) != bool(entry.because)] == []


@quiet
@pytest.mark.parametrize("name", RUNS)
def test_it_runs_on_meta_tensors(name):
    on_meta(RUNS[name])


@quiet
@pytest.mark.parametrize("name", sorted(ON_GPU.keys() - RUNS.keys()))
def test_what_cannot_run_on_meta_tensors_truly_cannot(name):
    with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
        on_meta(ON_GPU[name])


@quiet
@pytest.mark.parametrize("name", ON_GPU)
def test_the_calls_for_the_accelerator_are_sound(name):
    """Tried on the CPU, so that a broken call is seen where there is no accelerator."""
    lies_there(ON_GPU[name], "cpu")


@quiet
@pytest.mark.gpu
@pytest.mark.parametrize("name", ON_GPU)
def test_it_runs_on_an_accelerator(name):
    lies_there(ON_GPU[name], "cuda")


@pytest.mark.parametrize(
    "planted",
    [
        lambda x: x + torch.zeros(3),
        lambda x: torch.where(x > 0, x, torch.full((3,), 0.5)),
        lambda x: nn.Linear(3, 2)(x),
        lambda x: torch.zeros(3).copy_(x).add(torch.arange(3)),
        lambda x: torch.randn(3, generator=seeded()),
        lambda x: {"part": (x, [torch.ones(3)])},
        lambda x: saddles.Walkers(x, torch.zeros(3)),
    ],
)
def test_a_planted_default_device_tensor_is_caught(planted):
    with pytest.raises((RuntimeError, AssertionError), match=r"(?s)device|lies on"):
        on_meta(lambda device: planted(floats(device, 3)))


def test_a_call_without_a_plant_passes():
    on_meta(lambda device: {"part": (floats(device, 3) + 1, [floats(device, 3).sum()])})


def test_the_functions_are_those_of_the_modules():
    """`__all__` of every module: each name exists, and each module has one."""
    for info in pkgutil.walk_packages(labsupport.__path__, "labsupport."):
        module = importlib.import_module(info.name)
        if info.name.endswith("__main__"):
            continue
        assert inspect.getdoc(module), info.name
        assert [name for name in module.__all__ if not hasattr(module, name)] == [], info.name
