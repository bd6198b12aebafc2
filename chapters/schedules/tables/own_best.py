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

from labsupport import data, models, optimizers, population, schedules
from labsupport.experiments import grid, seeded, tables, tuned
from labsupport.initialization import starts

RATES = [0.1 * 2 ** (k / 2) for k in range(-1, 11)]
BETAS = (0.5, 0.7, 0.8, 0.9, 0.95)  # of schedule-free, tuned with the rate
CONSTANT = schedules.constant(1.0)


def cooldown(steps, last, shape="linear"):
    return schedules.wsd(1.0, warmup_steps=0, stable_steps=steps - last, decay_steps=last, shape=shape)


SHAPES = {
    "constant": lambda steps: CONSTANT,
    "1/√t": lambda steps: schedules.inverse_sqrt(1.0, decay_steps=100),
    "1/t": lambda steps: schedules.inverse_time(1.0, decay_steps=100, decay_rate=1.0),
    "exponential": lambda steps: schedules.exponential(1.0, decay_steps=steps, decay_rate=0.01),
    "steps": lambda steps: schedules.piecewise([steps // 2, 3 * steps // 4], [1.0, 0.1, 0.01]),
    "cosine": lambda steps: schedules.cosine(1.0, decay_steps=steps),
    # 1 + 2 + 4 sevenths, rounded up: rounded down, a fourth cycle would begin a few steps before the end
    "three cycles": lambda steps: schedules.cosine_restarts(1.0, first_decay_steps=-(-steps // 7), t_mul=2.0),
    "linear": lambda steps: schedules.polynomial(1.0, decay_steps=steps, end=0.0),
    "quadratic": lambda steps: schedules.polynomial(1.0, decay_steps=steps, end=0.0, power=2.0),
    "cooldown 50 %": lambda steps: cooldown(steps, steps // 2),
    "cooldown 20 %": lambda steps: cooldown(steps, steps // 5),
    "cooldown, 1 − √": lambda steps: cooldown(steps, steps // 5, "1-sqrt"),
    "average": lambda steps: CONSTANT,
    "schedule-free": lambda steps: CONSTANT,
}
LENGTHS = {"noisy": (200, 600, 1800), "plain": (800,)}
CASES = [{"task": t, "steps": n, "schedule": name} for t in LENGTHS for n in LENGTHS[t] for name in SHAPES]
TOLERANCE = {"valid": 0.04, "loss": 0.003, "error": 0.001}  # float32, and "valid" holds rates at which networks diverge


def rule(name, steps):
    if name == "average":
        return optimizers.averaged(optimizers.sgd(), start=steps // 2)
    return optimizers.schedule_free() if name == "schedule-free" else optimizers.sgd()


def digits(generator):
    plain = data.standardized(data.digits(generator=generator), scale=1.0)
    pairs = {"valid": plain.valid, "test": plain.test}
    noisy = {name: (x + 0.35 * torch.randn(x.shape, generator=generator), y) for name, (x, y) in pairs.items()}
    return {"plain": plain, "noisy": replace(plain, **noisy)}


plain_net, SPLITS = starts.builder([64, 50, 50, 10]), digits(seeded(0))


def noisy_net(generator):
    return nn.Sequential(models.GaussianNoise(0.35), plain_net(generator))


def plan(name, steps, backend="compiled"):
    return population.Plan(1, 16, schedule={"lr": SHAPES[name](steps)}, backend=backend, progress=False)


def counted(losses):
    return losses.nan_to_num(9.0).clamp(max=9.0)


def run(case):
    task, steps, name = case["task"], case["steps"], case["schedule"]

    def chosen_by(runs):
        scores = runs.scores("valid")
        return counted(scores.loss) if task == "noisy" else scores.error

    found = tuned(
        noisy_net if task == "noisy" else plain_net, SPLITS[task], rule(name, steps),
        grid(momentum=BETAS, lr=RATES) if name == "schedule-free" else grid(lr=RATES), plan(name, steps),
        num_steps=steps, tuning=range(16), fresh=range(1000, 1064), by=chosen_by,
    )  # fmt: skip
    first, test = found.best.place // len(RATES) * len(RATES), found.fresh.scores("test")
    return {
        "rate": found.best["lr"],
        "beta": found.best.settings.get("momentum", 0.0),
        "valid": tables.rounded(chosen_by(found.tuning)[first : first + len(RATES)], decimals=3),
        "loss": tables.rounded(counted(test.loss).flatten(), decimals=4),
        "error": tables.rounded(test.error.flatten(), decimals=4),
    }
