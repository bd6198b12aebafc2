"""The device table of what learns in `labsupport.nas`: controllers, shared weights, relaxation."""

import torch
from devices.given import NO_TENSOR, Entry, cannot, floats, labels, runs
from torch.utils._pytree import tree_map

from labsupport import data
from labsupport.nas import cells, controller, darts, policy, shared

STUDY = "a study is plain data, and its controller lies on the CPU"
SEEDED = "networks begin from seeds, and a meta generator does not exist"
TWO = policy.Policy((3, 2), width=4)
BRIEF = shared.Plan(1, 2, controller_steps=1)


def learner(device):
    """Two networks that were rewarded once."""
    begun = policy.start(TWO, seeds=[0, 1])._replace(baseline=torch.zeros(2, dtype=torch.float64))
    return tree_map(lambda value: torch.ones_like(value, device=device), begun)


def picked(device):
    return torch.ones(2, 1, 2, dtype=torch.int64, device=device)


def build(generator):
    return cells.CellNet(4, 3, 2, generator=generator)


SHAPES = {name: value.shape for name, value in build(torch.Generator().manual_seed(0)).named_parameters()}


def weights(device):
    return {name: floats(device, 2, *shape) for name, shape in SHAPES.items()}


def logits(device):
    return {name: floats(device, 2, len(dim.choices)) for name, dim in cells.SPACE.dims.items()}


def examples(device):
    return floats(device, 2, 5, 4), labels(device, 10).view(2, 5)


def parts(device):
    pool = (floats("cpu", 24, 4), labels("cpu", 24))
    drawn = data.partitions(pool, num_train=8, num_valid=8, num_test=8, seeds=[0, 1])
    return drawn.to(device)


def soft(device):
    return darts.soft_buffers(logits(device))


def stepped(device):
    return shared.weight_step(weights(device), weights(device), soft(device), *examples(device), BRIEF)


TABLE: dict[str, Entry] = {
    "nas.controller.Learning": cannot(NO_TENSOR),
    "nas.controller.anchor_probabilities": runs(lambda d: controller.anchor_probabilities(
        floats(d, 3, 2), floats(d, 2), floats(d, 4, 2), floats(d, 4, 2), floats(d, 4))),
    "nas.controller.policy_for": cannot(NO_TENSOR),
    "nas.controller.replay": cannot("searches on known rewards are played on the CPU"),
    "nas.darts.Plan": cannot(NO_TENSOR),
    "nas.darts.Run": cannot(SEEDED),
    "nas.darts.darts": cannot(SEEDED, gpu=lambda d: darts.darts(build, parts(d), darts.Plan(BRIEF), seeds=[0, 1])),
    "nas.darts.discretize": cannot("codes are plain data: " + NO_TENSOR),
    "nas.darts.soft_buffers": runs(soft),
    "nas.learning.learnt": cannot(STUDY),
    "nas.learning.reward": cannot(STUDY),
    "nas.learning.seed_of_weights": cannot(STUDY),
    "nas.policy.Decisions": cannot("it holds what it is given"),
    "nas.policy.Learner": cannot("it holds what it is given"),
    "nas.policy.Policy": cannot(NO_TENSOR),
    "nas.policy.begun": cannot(SEEDED),
    "nas.policy.decide": runs(lambda d: policy.decide(TWO, learner(d).params, floats(d, 2, 1, 2))),
    "nas.policy.gradients": runs(lambda d: policy.gradients(TWO, learner(d).params, picked(d), floats(d, 2, 1))),
    "nas.policy.learn": runs(lambda d: policy.learn(TWO, learner(d), picked(d)[:, 0], floats(d, 2).double())),
    "nas.policy.lstm_cell": runs(lambda d: policy.lstm_cell(
        floats(d, 2, 1, 3), floats(d, 2, 1, 4), floats(d, 2, 1, 4), floats(d, 2, 16, 7), floats(d, 2, 16))),
    "nas.policy.score": runs(lambda d: policy.score(TWO, learner(d).params, picked(d))),
    "nas.policy.start": cannot(SEEDED),
    "nas.policy.taught": runs(lambda d: policy.taught(
        TWO, learner(d), lambda advantages: learner(d).params, floats(d, 2).double())),
    "nas.shared.Plan": cannot(NO_TENSOR),
    "nas.shared.Run": cannot("it holds what it is given"),
    "nas.shared.accuracies": runs(lambda d: shared.accuracies(weights(d), *examples(d))),
    "nas.shared.batches": cannot("whose rows are whose is looked up by values", gpu=lambda d: shared.batches(
        parts(d), "train", [0, 1], 0, 2)),
    "nas.shared.bounded": cannot(NO_TENSOR),
    "nas.shared.check_whole": cannot("it returns nothing"),
    "nas.shared.draw": cannot("draws begin from seeds, on the CPU"),
    "nas.shared.drawn_buffers": cannot("codes are plain data, and so are read as values", gpu=lambda d:
        shared.drawn_buffers(torch.ones(2, 1, 5, dtype=torch.int64), floats(d, 1))),
    "nas.shared.enas": cannot(SEEDED, gpu=lambda d: shared.enas(build, parts(d), BRIEF, seeds=[0, 1]).weights),
    "nas.shared.outputs": runs(lambda d: shared.outputs(weights(d), soft(d), examples(d)[0])),
    "nas.shared.pick": cannot("draws begin from seeds, on the CPU"),
    "nas.shared.weight_step": runs(stepped),
}  # fmt: skip
TABLE |= {
    f"nas.{module}.{name}": cannot(STUDY)
    for module, names in {"controller": [], "chain_controller": ["layers_at"]}.items()
    for name in ["ask", "finished", "init", *names]
}
