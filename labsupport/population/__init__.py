"""Many small networks trained at once: N members of one architecture as one batched computation.

    result = train(build, split, optimizers.momentum(), {"lr": rates}, Plan(30, 32), seeds=range(64))

Each member has its own seed, start, data order and settings, and is what it would be alone. Beneath `train`
lie `init`, `step` and `evaluate` on an explicit `State`, whose members can be picked, copied, frozen and stored.

"What it would be alone" is meant to rounding: in float64, after three epochs, to a part in 10¹². One thing breaks it: a
bias in front of batch norm, which subtracts it again. Its true gradient is 0, what is computed is rounding, and Adam
divides rounding by its own size. So the bias walks at random, 10⁻⁹ to 10⁻⁷ apart from its twin, although the loss in
training does not feel it. Leave it out (`nn.Linear(…, bias=False)`), as `models.convnet` does.
"""

from labsupport.population.exchange import exchange
from labsupport.population.measuring import Scores, evaluate, gradients, predict
from labsupport.population.members import State, freeze, init, member, start
from labsupport.population.plans import Plan
from labsupport.population.running import Result, carry_on, step, train
from labsupport.population.storage import load, save

__all__ = [
    "Plan", "Result", "Scores", "State", "carry_on", "evaluate", "exchange", "freeze", "gradients", "init", "load",
    "member", "predict", "save", "start", "step", "train",
]  # fmt: skip
