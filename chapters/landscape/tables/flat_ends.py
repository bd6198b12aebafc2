"""Where training ends, by batch size and learning rate: sharpness, the same after a rescaling, and test error.

A 64-40-40-10 ReLU network on 1,000 digits, cross-entropy, 2,000 steps of plain SGD, the same 16 starts in each case.
The test part here is every digit that was not trained on: 797 of them, on which nothing is chosen.
"""

import torch
from torch.nn.functional import cross_entropy

from labsupport import data, models
from labsupport.landscape import replicas, sharpness

SEEDS, NUM_STEPS = 16, 2000  # fresh seeds: the rule was fixed on others
CASES = [{"batch_size": batch, "lr": lr} for lr in (0.1, 0.05, 0.2) for batch in (8, 500, 32, 125)]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def rounded(values):
    return [float(f"{value:.6g}") for value in values.tolist()]


def top(stacked, x, y):
    return rounded(sharpness.largest(stacked, x, y, loss=cross_entropy, num_steps=24, generator=seeded(2))[0])


def run(case):
    split = data.digits(generator=seeded(0))
    (x, y), rest = split.train, [torch.cat(parts) for parts in zip(split.valid, split.test)]
    start = replicas.start(lambda g: models.mlp([64, 40, 40, 10], generator=g), seeds=range(100, 100 + SEEDS))
    end, _ = replicas.train(start, x, y, num_steps=NUM_STEPS, loss=cross_entropy, generator=seeded(1), **case)
    sums, _ = sharpness.trace(end, x, y, loss=cross_entropy, num_products=16, generator=seeded(3))
    rise = sharpness.worst_case(end, x, y, radius=0.5, loss=cross_entropy, generator=seeded(4))
    losses, _ = replicas.evaluate(end, x, y, loss=cross_entropy)
    _, errors = replicas.evaluate(end, *rest, loss=cross_entropy)
    found = {"top": top(end, x, y), "trace": rounded(sums), "rise": rounded(rise),
             "train_loss": losses.tolist(), "error": errors.tolist()}
    # each of three layers times e^(strength · a normal draw), the product of the three made 1
    draws = torch.randn(SEEDS, 3, generator=seeded(10 + CASES.index(case)), dtype=torch.float64)
    for strength in (1, 2, 3):
        moved = sharpness.rescale_layers(end, (strength * (draws - draws.mean(1, keepdim=True))).exp())
        found[f"top_moved_{strength}"] = top(moved, x, y)
    return found
