"""Test accuracies of pruned networks that are trained on: lottery tickets, and courses of sparsity, on digits.

64-128-64-10 ReLU networks, momentum 0.9, rate 0.1, ten steps an epoch. Each of 16 seeds has its own start, order and
examples: 1,000 or 200 for training, 597 for the test. All weights of a network are ranked together, by size; biases
stay. A phase is 20 epochs.

Case "tickets": ten times a network is trained for a phase, cut, and set back to its start, at sparsities that rise to
the case's. The last mask is then trained from several places, beside the dense network from its start: from its start;
from the weights that it was cut from; from another draw; from its start, with the mask shuffled within each layer. The
last two once more with every weight over the root of the share of its layer that is left; and another draw with each
layer as large as in the ticket's start: these three, and what comes after epoch 20, were added when the others had been
seen. Momentum and order begin anew in all. Columns hold accuracies
in % after each of `EPOCHS`, 16 numbers each; `left` the share of each layer that is left, in %, 16 numbers each.

Case "courses": eleven phases in a row, nothing set back, with a cut before each phase but the first, to the sparsities
of `COURSES`; all of a case train for equally long. Column `<course>` holds accuracies at the end of each phase,
`<course> cut` right after each cut, 16 numbers each; `shared` the share of the weights left by the ten rounds that one
cut leaves too, early and late.
"""

from dataclasses import replace

import torch
from torch.nn.functional import cross_entropy

from labsupport import data, models, optimizers, population
from labsupport.experiments import seeded, tables
from labsupport.pruning import edges, masks
from labsupport.pruning.allocation import weights_of

SIZES, LR, SEEDS = [64, 128, 64, 10], 0.1, range(16)
PHASE, EPOCHS = 20, [0, 1, 2, 5, 10, 20, 60]
ROUNDS = 10
COURSES = {
    1000: {
        "dense": [0.0] * ROUNDS,
        "ten rounds": edges.gradual(0.95, num_rounds=ROUNDS),
        "one cut, early": [0.95] * ROUNDS,
        "one cut, late": [0.0] * (ROUNDS - 1) + [0.95],
    },
    200: {"dense": [0.0] * ROUNDS} | {f"{s:.0%}": edges.gradual(s, num_rounds=ROUNDS) for s in (0.5, 0.8, 0.9)},
}
CASES = [
    {"what": "tickets", "sparsity": 0.8, "examples": 1000},
    {"what": "tickets", "sparsity": 0.95, "examples": 1000},
    {"what": "courses", "sparsity": 0.95, "examples": 1000},
    {"what": "courses", "sparsity": 0.9, "examples": 200},
]
TOLERANCE = 1.0  # float32 through thousands of steps: means of 16 accuracies in %


def build(generator):
    net = models.mlp(SIZES, generator=generator)
    weights = weights_of(dict(net.named_parameters()))
    return masks.apply_(net, {name: torch.ones_like(value, dtype=torch.bool) for name, value in weights.items()})


def begin(seeds, *, draw=0):
    """A dense network for each seed; its start is that of another seed where `draw` is not 0."""
    state = population.init(build, optimizers.momentum(), {"lr": LR}, seeds=[seed + draw for seed in seeds])
    return replace(state, seeds=tuple(seeds))


def samples(num_train, seeds):
    pool = data.digits(generator=seeded(0))
    return data.partitions(pool, num_train=num_train, num_valid=200, num_test=597, seeds=seeds)


def trained(state, parts, num_epochs):
    plan = population.Plan(num_epochs, len(parts.train) // 10, valid_every=0, backend="eager", progress=False)
    return population.carry_on(state, parts, plan).state


def accuracy(state, parts):
    """Of each member on its own test examples, in %."""
    return 100 - 100 * population.evaluate(state, *parts.pool, loss=cross_entropy, rows=parts.test).error.double()


def kept(state):
    """The masks of all members by the weights' plain names, each (members, out, in)."""
    return {masks.name_of(name): mask for name, mask in state.buffers.items()}


def with_masks(state, given):
    return replace(state, buffers={name: given[masks.name_of(name)] for name in state.buffers})


def cut(state, sparsities):
    """Every member at its own sparsity: the weights that are left, ranked together by size."""
    sizes = edges.magnitude_scores(weights_of(masks.plain({**state.params, **state.buffers}), batch_dims=1))
    each = [
        edges.keep_largest({name: size[member] for name, size in sizes.items()}, sparsity=sparsity)
        for member, sparsity in enumerate(sparsities)
    ]
    return with_masks(state, {name: torch.stack([one[name] for one in each]) for name in sizes})


def shuffled(given, seeds):
    """Each member's masks, layer by layer in another order of their entries."""
    found = {}
    for name, mask in given.items():
        orders = [torch.randperm(mask[0].numel(), generator=seeded(seed)) for seed in seeds]
        found[name] = mask.flatten(1).gather(1, torch.stack(orders)).view_as(mask)
    return found


def joined(states):
    """Several populations as one, at step 0."""
    every = [{**state.params, **state.buffers} for state in states]
    params = {name: torch.cat([one[name] for one in every]) for name in every[0]}
    seeds = [seed for state in states for seed in state.seeds]
    return population.start(states[0].module, params, optimizers.momentum(), {"lr": LR}, seeds=seeds)


def densities(state):
    """The share of each layer that is left, by the weights' plain names, (members,)."""
    return {name: mask.float().mean((1, 2)) for name, mask in kept(state).items()}


def rescaled(state):
    """A start for the inputs that are left: every weight over the root of its layer's density."""
    by = {name: share.sqrt() for name, share in densities(state).items()}
    params = {
        name: value / by[masks.name_of(name)].view(-1, 1, 1) if masks.name_of(name) in by else value
        for name, value in state.params.items()
    }
    return replace(state, params=params)


def as_large(state, like):
    """Every layer times a factor, so that the weights that are left have the root mean square that they have there."""
    sizes = {}
    for name, mask in kept(state).items():
        key = name.replace("weight", "parametrizations.weight.original")
        squares = [torch.where(mask, each.params[key], 0).square().sum((1, 2)) for each in (like, state)]
        sizes[key] = (squares[0] / squares[1]).sqrt().view(-1, 1, 1)
    return replace(state, params={name: value * sizes.get(name, 1.0) for name, value in state.params.items()})


def ticket(seeds, sparsity, parts):
    """The networks at the end of the last phase, with the mask that they are cut to."""
    state = start = begin(seeds)
    for goal in edges.gradual(sparsity, num_rounds=ROUNDS):
        weights = trained(with_masks(start, kept(state)), parts, PHASE)
        state = cut(weights, [goal] * len(seeds))
    return state


def places(found):
    """From where the mask of a ticket is trained, beside the dense network."""
    seeds, own = list(found.seeds), kept(found)
    start = begin(seeds)
    rewound, other = with_masks(start, own), with_masks(start, shuffled(own, seeds))
    another = with_masks(begin(seeds, draw=1000), own)
    return {
        "dense": start,
        "its start": rewound,
        "its weights": found,
        "another start": another,
        "shuffled mask": other,
        "another start, as large": as_large(another, rewound),
        "another start, rescaled": rescaled(another),
        "shuffled mask, rescaled": rescaled(other),
    }


def retrained(starts, parts, epochs):
    """Accuracies after each of `epochs`, by place, (epochs, seeds)."""
    state, course = joined(list(starts.values())), []
    for before, after in zip([0, *epochs[:-1]], epochs, strict=True):
        state = trained(state, parts, after - before) if after > before else state
        course.append(accuracy(state, parts).view(len(starts), -1))
    return dict(zip(starts, torch.stack(course, 1), strict=True))


def followed(seeds, courses, parts):
    """The population after all phases, and accuracies at ends of phases and right after cuts, (…, members)."""
    state = trained(joined([begin(seeds)] * len(courses)), parts, PHASE)
    ends, cuts = [accuracy(state, parts)], []
    for goals in zip(*courses, strict=True):
        state = cut(state, [goal for goal in goals for _ in seeds])
        cuts.append(accuracy(state, parts))
        state = trained(state, parts, PHASE)
        ends.append(accuracy(state, parts))
    return state, torch.stack(ends), torch.stack(cuts)


def shared(state, other):
    """Of the weights that are left in each member of one population, the share that is left in another, in %."""
    one, two = (torch.cat([mask.flatten(1) for mask in kept(each).values()], 1) for each in (state, other))
    return 100 * (one & two).sum(1) / one.sum(1)


def run(case):
    parts = samples(case["examples"], SEEDS)
    if case["what"] == "tickets":
        found = ticket(SEEDS, case["sparsity"], parts)
        columns = retrained(places(found), parts, EPOCHS)
        columns["left"] = 100 * torch.stack(list(densities(found).values()))
    else:
        courses = COURSES[case["examples"]]
        state, ends, cuts = followed(SEEDS, list(courses.values()), parts)
        of = {name: slice(place * len(SEEDS), (place + 1) * len(SEEDS)) for place, name in enumerate(courses)}
        columns = {name: ends[:, members] for name, members in of.items()}
        columns |= {f"{name} cut": cuts[:, members] for name, members in of.items()}
        if "ten rounds" in of:
            ten = state[of["ten rounds"]]
            columns["shared"] = torch.stack([shared(ten, state[of[f"one cut, {when}"]]) for when in ("early", "late")])
    return {name: tables.rounded(values.flatten(), decimals=2) for name, values in columns.items()}
