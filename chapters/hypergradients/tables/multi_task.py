"""Ten tasks, ten small networks each, and how strongly their weights are tied; 8 draws of the data at once.

Tasks: the first 20 letters of five alphabets, upright and turned by 90°; 3 images of a letter to train on, 10 to choose
hyperparameters by, 17 to judge. Every seed has data, starts and hyperparameters of its own. Grids choose by the mean
validation loss of some starts; learners see a new start at each of 20 meta-steps. All are judged from 4 other starts.
What the learnt ties look like was seen on the first draws, and is asked of eight others. DrMAD takes T/10 steps back as
published; T/4 and T/2 were tried on the draws 900 to 907, where T/2 came nearest to the exact method.
"""

import functools
import math

import torch
from torch.nn.functional import avg_pool2d, cross_entropy

from labsupport import data, hypergradients, models

SEEDS = {"first": range(300, 308), "other": range(308, 316)}  # settings were tried on 900 to 907
ALPHABETS = ("latin_lower", "greek_lower", "cyrillic_lower", "armenian_lower", "georgian")
LETTERS, TASKS, STEPS, RATE, META_STEPS = 20, 10, 80, 0.1, 20
SHARED = {"separate": 0, "first layer shared": 1, "all but the head shared": 2}
WITH_SHARED = "L2 by layer, first shared"
DECAYS = [-6 + k / 3 for k in range(13)]
LEARNT = {
    "L2 by layer, exact": (None, hypergradients.Stored()),
    WITH_SHARED: (None, hypergradients.Stored()),
    "ties by layer, exact": (1, hypergradients.Stored()),
    "ties by layer, DrMAD": (1, hypergradients.DrMAD()),
    "ties by pair, exact": (TASKS, hypergradients.Stored()),
    "ties by pair, DrMAD": (TASKS, hypergradients.DrMAD()),
    "ties by pair, DrMAD T/2": (TASKS, hypergradients.DrMAD(STEPS // 2)),
}
CASES = [{"method": name, "draws": "first"} for name in (*SHARED, "one tie", *LEARNT)]
CASES += [{"method": "ties by pair, exact", "draws": "other"}]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def drawn(name, seed):
    """Thirty images of each of the first letters: (letters, 30, 1, 12, 12)."""
    number = len(data.ALPHABETS[name])
    x, y = data.glyphs(name, sizes=(32 * number - 2, 1, 1), generator=seeded(seed)).train
    small = avg_pool2d(x[:, :, 2:26, 2:26], 2)
    return torch.stack([small[y == letter][:30] for letter in range(LETTERS)])


@functools.lru_cache
def parts(draws):
    """Pairs x (seeds, tasks, images, 144), y (seeds, tasks, images): to train, to choose, to judge."""
    upright = torch.stack([
        torch.stack([drawn(name, 10 * seed + place) for place, name in enumerate(ALPHABETS)]) for seed in SEEDS[draws]
    ])  # fmt: skip
    x = torch.cat([upright, upright.rot90(1, (-2, -1))], 1)  # (seeds, tasks, letters, 30, 1, 12, 12)
    found = []
    for images in x.split([3, 10, 17], dim=3):
        y = torch.arange(LETTERS).repeat_interleave(images.shape[3]).expand(len(SEEDS[draws]), TASKS, -1)
        found.append((images.flatten(2, 3).flatten(3), y))
    return found


def losses(weights, batch):
    """(seeds, tasks)"""
    logits = scores(weights, batch[0])
    return cross_entropy(logits.movedim(-1, 1), batch[1], reduction="none").mean(-1)


def scores(weights, x):
    for layer in (0, 2, 4):
        x = x @ weights[f"{layer}.weight"].mT + weights[f"{layer}.bias"]
        x = x.tanh() if layer < 4 else x
    return x


def train_loss(weights, hyper, batch):
    matrices = [w for name, w in weights.items() if name.endswith("weight")]
    sizes = torch.stack([w.square().sum((1, 2, 3)) * TASKS / w.shape[1] for w in matrices], 1)
    total = losses(weights, batch).sum() + 0.5 * (hyper["decay"].exp() * sizes).sum()
    if "tie" in hyper:
        far = torch.stack([distances(w.flatten(2)) for w in matrices], 1)
        total = total + (hyper["tie"].exp() * far).sum() / (4 * TASKS)
    return total


def distances(w):
    """Squared, between the tasks' weights: (seeds, tasks, n) -> (seeds, tasks, tasks)."""
    gram = w @ w.mT
    size = gram.diagonal(dim1=1, dim2=2)
    return size[:, :, None] + size[:, None] - 2 * gram


def problem(draws, start, shared=0):
    """From start number `start` of each seed, the same for all ten tasks; the lowest `shared` layers have one copy."""
    nets = [models.mlp([144, 30, 30, 20], activation="tanh", generator=seeded(1000 * s + start))
            for s in SEEDS[draws]]  # fmt: skip
    named = [dict(net.named_parameters()) for net in nets]
    weights, rates = {}, {}
    for name in named[0]:
        one = torch.stack([each[name].detach() for each in named])[:, None]
        one = one[:, :, None] if one.ndim == 3 else one
        copies = 1 if int(name[0]) < 2 * shared else TASKS
        weights[name] = one.repeat(1, copies, 1, 1)
        rates[name] = RATE * copies / TASKS  # the mean of the tasks' gradients
    train, valid, _ = parts(draws)
    return hypergradients.Problem(
        train_loss, lambda w: losses(w, valid).sum(), weights, lambda step: train, STEPS, rates, 0.9
    )


def filled(value, *shape):
    return torch.full((len(SEEDS["first"]), *shape), float(value))


def judged(draws, hyper, starts, shared=0):
    """(seeds,) each, mean over starts and tasks."""
    found = {"valid": [], "test": [], "error": []}
    for start in starts:
        weights, _ = hypergradients.train(problem(draws, start, shared), hyper)
        with torch.no_grad():
            found["valid"].append(losses(weights, parts(draws)[1]).mean(1))
            found["test"].append(losses(weights, parts(draws)[2]).mean(1))
            wrong = scores(weights, parts(draws)[2][0]).argmax(-1) != parts(draws)[2][1]
            found["error"].append(100 * wrong.float().mean((1, 2)))
    return {name: torch.stack(values).mean(0) for name, values in found.items()}


def run(case):
    name, draws = case["method"], case["draws"]
    shared = 1 if name == WITH_SHARED else SHARED.get(name, 0)
    if name in LEARNT:
        found, hyper = learnt(draws, *LEARNT[name], shared)
    else:
        found, hyper = {}, chosen(draws, name, shared)
    found |= {which: rounded(value) for which, value in hyper.items()}
    return found | {key: rounded(value) for key, value in judged(draws, hyper, range(500, 504), shared).items()}


def learnt(draws, pairs, method, shared):
    """What a learner has found for each seed, and its way there: what two tasks share, mean over seeds."""
    hyper = {"decay": filled(-4.5, 3)} | ({} if pairs is None else {"tie": filled(-3.0, 3, pairs, pairs)})
    plan = hypergradients.MetaPlan(META_STEPS, 0.3, limit=math.inf)
    way = hypergradients.meta_optimize(lambda start: problem(draws, start, shared), hyper, method, plan)
    if pairs != TASKS:
        return {}, way.hyper
    both = zip(way.history["tie"][::2], way.history["decay"][::2], strict=True)
    return {"shared_path": [rounded(shares(*each).mean(0)) for each in both]}, way.hyper


def shares(ties, decay):
    """The correlation of the tasks' weights that the penalty implies: (…, tasks, tasks)."""
    pull = ties.exp() / TASKS
    precision = decay.exp()[..., None, None] * torch.eye(TASKS) - pull + torch.diag_embed(pull.sum(-1))
    covariance = precision.inverse()
    size = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    return covariance / size[..., :, None] / size[..., None, :]


def chosen(draws, name, shared):
    """The best of a grid for each seed, by the mean validation loss of some starts."""
    if name == "one tie":
        points = [(decay, tie) for decay in DECAYS[::2] for tie in (-7, -6, -5, -4, -3, -2)]
        grid = [{"decay": filled(d, 1), "tie": filled(t, 1, 1, 1)} for d, t in points]
        starts = range(100, 102)
    else:
        grid, starts = [{"decay": filled(decay, 1)} for decay in DECAYS], range(100, 105)
    valid = torch.stack([judged(draws, hyper, starts, shared)["valid"] for hyper in grid])
    best = valid.argmin(0).tolist()
    return {key: torch.stack([grid[b][key][s] for s, b in enumerate(best)]) for key in grid[0]}


def rounded(values):
    return [round(v, 4) for v in values.tolist()] if values.ndim == 1 else [rounded(v) for v in values]
