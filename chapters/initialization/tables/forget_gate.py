"""What an LSTM has learnt about a symbol shown `lag` steps ago, by the start of its forget gate; 16 seeds a case.

One of four symbols is shown, then `lag` steps of noise follow, and the last state must name the symbol. 16 units,
Adam at rate 0.01, batches of 16; the error on 1,000 fresh sequences after every 50 of 300 steps (guessing: 0.75).
A rule is a constant for the forget gate's bias, or "chrono": log of a uniform number between 1 and the lag for each
unit, and its negative for the input gate (Tallec & Ollivier 2018, there up to lag − 1).
"""

from functools import partial

import torch
from torch import nn
from torch.nn.functional import one_hot

from labsupport import data, experiments, models, optimizers, population
from labsupport.experiments import seeded, tables
from labsupport.initialization import starts

EVERY, SEEDS = 50, range(100, 116)  # fresh seeds: the rules and bounds were fixed on others
TOLERANCE = {"errors": 0.012}  # two standard errors of the last case
CASES = [{"lag": lag, "rule": rule} for lag in (5, 10, 20, 40, 80) for rule in ("0", "1", "2", "3", "4", "5", "chrono")]


def sequences(count, lag, generator):
    symbols = torch.randint(4, (count,), generator=generator)
    x = 0.3 * torch.randn(count, lag + 1, 4, generator=generator)
    x[:, 0] = one_hot(symbols, 4).float()
    return x, symbols


class Listener(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.read = nn.LSTMCell(4, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.read(models.lstm(self.cell, x)[0])


def build(generator, *, lag, rule):
    net = Listener()
    if rule == "chrono":
        starts.chrono_(net.cell, longest=lag, generator=generator)
    else:
        starts.forget_gate_(net.cell, value=float(rule))
    return net


def errors(lag, rule, num_steps=300):  # seeds × checks
    generator = seeded(lag)
    train, fresh = sequences(1600, lag, generator), sequences(1000, lag, generator)
    split, plan = data.Split(train, fresh, fresh), population.Plan(1, 16, backend="eager", progress=False)
    one, found = partial(build, lag=lag, rule=rule), []
    ran = experiments.begin(one, split, optimizers.adam(), {"lr": 0.01}, seeds=SEEDS)
    for _ in range(num_steps // EVERY):
        ran = experiments.carry_on(ran, plan, num_steps=EVERY)
        found.append(ran.scores("valid").error[0])
    return torch.stack(found, 1)


def run(case):
    return {"errors": tables.rounded(errors(**case), decimals=4)}
