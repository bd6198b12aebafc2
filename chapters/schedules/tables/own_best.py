"""Fourteen schedules, each at its own best rate: tuned on validation digits, reported on test digits from fresh seeds.

A 64-50-50-10 network with He's start on 1,000 centred digits, plain gradient descent, batches of 16. In task "noisy"
every batch gets fresh input noise of standard deviation 0.35, and losses are those on one noisy copy of the validation
or test digits; task "plain" has no noise. Rates are √2 apart. For each rate, 16 networks (seeds 0 to 15) are measured
on the validation part, by loss where there is noise, else by error; at the best, 64 fresh networks on the test part. A
network that diverged counts with a loss of at most 9.
"""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labsupport import data, models, optimizers, population, schedules
from labsupport.initialization import rules, starts

RATES = [0.1 * 2 ** (k / 2) for k in range(-1, 11)]
TUNING, FRESH = range(16), range(1000, 1064)
BETAS = (0.5, 0.7, 0.8, 0.9, 0.95)  # of schedule-free, tuned with the rate
CONSTANT = schedules.constant(1.0)


def cooldown(share, shape="linear"):
    def of(steps):
        last = round(share * steps)
        return schedules.wsd(1.0, warmup_steps=0, stable_steps=steps - last, decay_steps=last, shape=shape)

    return of


def cycles(steps):
    """1 + 2 + 4 sevenths, rounded up: rounded down, a fourth cycle would begin a few steps before the end."""
    return schedules.cosine_restarts(1.0, first_decay_steps=-(-steps // 7), t_mul=2.0)


SHAPES = {
    "constant": lambda steps: CONSTANT,
    "1/√t": lambda steps: schedules.inverse_sqrt(1.0, decay_steps=100),
    "1/t": lambda steps: schedules.inverse_time(1.0, decay_steps=100, decay_rate=1.0),
    "exponential": lambda steps: schedules.exponential(1.0, decay_steps=steps, decay_rate=0.01),
    "steps": lambda steps: schedules.piecewise([steps // 2, 3 * steps // 4], [1.0, 0.1, 0.01]),
    "cosine": lambda steps: schedules.cosine(1.0, decay_steps=steps),
    "three cycles": cycles,
    "linear": lambda steps: schedules.polynomial(1.0, decay_steps=steps, end=0.0),
    "quadratic": lambda steps: schedules.polynomial(1.0, decay_steps=steps, end=0.0, power=2.0),
    "cooldown 50 %": cooldown(0.5),
    "cooldown 20 %": cooldown(0.2),
    "cooldown, 1 − √": cooldown(0.2, "1-sqrt"),
    "average": lambda steps: CONSTANT,
    "schedule-free": lambda steps: CONSTANT,
}
LENGTHS = {"noisy": (200, 600, 1800), "plain": (800,)}
CASES = [{"task": t, "steps": n, "schedule": name} for t in LENGTHS for n in LENGTHS[t] for name in SHAPES]


def rule(name, steps):
    if name == "average":
        return optimizers.averaged(optimizers.sgd(), start=steps // 2)
    return optimizers.schedule_free() if name == "schedule-free" else optimizers.sgd()


def digits(task):
    generator = torch.Generator().manual_seed(0)
    split = data.digits(generator=generator)
    parts = {name: getattr(split, name) for name in ("train", "valid", "test")}
    for name, (x, y) in parts.items():
        noisy = task == "noisy" and name != "train"
        noise = 0.35 * torch.randn(x.shape, generator=generator) if noisy else 0.0
        parts[name] = x - split.train[0].mean(0) + noise, y
    return replace(split, **parts)


SPLITS = {task: digits(task) for task in LENGTHS}


def build(task):
    def one(generator):
        net = models.mlp([64, 50, 50, 10], generator=generator)
        starts.apply_(net, rules.he_normal_, generator=generator)
        return nn.Sequential(models.GaussianNoise(0.35), net) if task == "noisy" else net

    return one


def train(task, name, steps, settings, seeds):
    plan = population.Plan(1, 16, schedule={"lr": SHAPES[name](steps)}, backend="compiled", progress=False)
    state = population.init(build(task), rule(name, steps), settings, seeds=seeds)
    return population.step(state, *SPLITS[task].train, plan, num_steps=steps)[0]


def run(case):
    task, steps, name = case["task"], case["steps"], case["schedule"]
    free = name == "schedule-free"
    settings = {"lr": torch.tensor(RATES * len(BETAS) if free else RATES)}
    if free:
        settings["momentum"] = torch.tensor(BETAS).repeat_interleave(len(RATES))
    each = {key: value.repeat_interleave(len(TUNING)) for key, value in settings.items()}
    state = train(task, name, steps, each, list(TUNING) * len(settings["lr"]))
    scores = population.evaluate(state, *SPLITS[task].valid, loss=cross_entropy)
    valid = (scores.loss if task == "noisy" else scores.error).double().nan_to_num(9.0).clamp(max=9.0)
    valid = valid.view(-1, len(TUNING))
    best = int(valid.mean(1).argmin())
    state = train(task, name, steps, {key: value[best].item() for key, value in settings.items()}, FRESH)
    test = population.evaluate(state, *SPLITS[task].test, loss=cross_entropy)
    line = best // len(RATES) if free else 0
    return {
        "rate": RATES[best % len(RATES)],
        "beta": BETAS[line] if free else 0.0,
        "valid": [[round(v, 3) for v in row] for row in valid[line * len(RATES) :][: len(RATES)].tolist()],
        "loss": [round(v, 4) for v in test.loss.double().nan_to_num(9.0).clamp(max=9.0).tolist()],
        "error": [round(v, 4) for v in test.error.double().tolist()],
    }
