"""The device table of `labsupport.hypergradients`; see tests/test_devices.py."""

import torch
from devices.given import HERE, NO_TENSOR, VALUES, Entry, cannot, floats, labels, learnable, meta, runs, seeded
from torch import nn

from labsupport import data, hypergradients
from labsupport.hypergradients import backward, films, inputs, problem, setups, solving, steps, studies, ties
from labsupport.hypergradients.runs import Run


def split_on(device):
    return data.Split(*[(floats(device, n, 4), labels(device)[:n]) for n in (6, 3, 4)])


def side_by_side(device):
    """Weights of two networks 4-2 without hidden layers."""
    return {"0.weight": floats(device, 2, 2, 4), "0.bias": floats(device, 2, 2)}


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


def searched(device):
    problem, hyper = learnable(device)
    plan, method = hypergradients.MetaPlan(1, 1.0), hypergradients.DrMAD()
    options = {"between": (0.1, 1.0), "generator": seeded()}
    return hypergradients.search_rate(lambda at: problem, hyper, method, plan, **options) and ()

DRAWN = "its networks are drawn on the CPU, and go where the data is"

def doubled(values):
    return {name: 2 * value for name, value in values.items()}


def digits_task(device):
    return setups.digits_task((0, 1), num_steps=2, split=inputs.few_digits().to(device))


def of_tasks(device):
    """Networks 4-2 of three tasks in two draws, and examples."""
    return ties.copied(side_by_side(device), 3), floats(device, 2, 3, 6, 4), labels(device, 36).view(2, 3, 6)


TABLE: dict[str, Entry] = {
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
    "hypergradients.gradients.Gradcheck": cannot("it holds numbers"),
    "hypergradients.gradients.Method": cannot("it says what a method is like"),
    "hypergradients.gradients.gradcheck": cannot(
        "it compares: " + VALUES,
        gpu=lambda d: hypergradients.gradcheck(*learnable(d), hypergradients.DrMAD()).result.grad,
    ),
    "hypergradients.gradients.hypergradient": cannot("the methods are called by it, and look at values"),
    "hypergradients.gradients.trained": cannot(
        "it looks at losses: " + VALUES, gpu=lambda d: hypergradients.trained(*learnable(d))[0]
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
    "hypergradients.steps.backend_for": cannot(NO_TENSOR),
    "hypergradients.steps.steps_of": by_steps(lambda made: made),
    "hypergradients.inputs.beside_noise": runs(
        lambda d: inputs.beside_noise(split_on(d), 2, std=0.3, generators=[seeded()] * 3).train
    ),
    "hypergradients.inputs.cluttered": cannot("it renders glyphs: on the CPU"),
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
    "hypergradients.ties.distances": runs(lambda d: ties.distances(floats(d, 2, 4, 3))),
    "hypergradients.ties.shared_part": runs(lambda d: ties.shared_part(floats(d, 2, 4, 4), floats(d, 2))),
    "hypergradients.films.apart": runs(lambda d: films.apart({"a": floats(d, 2, 3)}, {"a": floats(d, 2, 3)})),
    "hypergradients.films.between": runs(
        lambda d: films.between({"a": floats(d, 2, 3)}, {"a": floats(d, 2, 3)}, floats(d, 2))
    ),
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
    "hypergradients.ties.copied": runs(lambda d: ties.copied(side_by_side(d), 3)),
    "hypergradients.ties.losses": runs(lambda d: ties.losses(*of_tasks(d))),
    "hypergradients.ties.outputs": runs(lambda d: ties.outputs(*of_tasks(d)[:2])),
    "hypergradients.ties.penalized": runs(
        lambda d: ties.penalized(
            of_tasks(d)[0], {"decay": floats(d, 2, 1), "tie": floats(d, 2, 1, 3, 3)}, of_tasks(d)[1:]
        )
    ),
}
