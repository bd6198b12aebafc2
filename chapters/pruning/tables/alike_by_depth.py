"""Which of two layers keeps more units when 50 of 100 are drawn to be diverse, by the width of the kernel.

The sigmoid networks 64-50-50-10 of `pruning/units`, 16 replicates. Units of both layers are drawn together, from the
k-DPP whose kernel is exp(−c d²/m) + 0.01 δ within a layer and 0 between layers; d is the distance of two units'
activations on 300 training examples, m the median of d² over the pairs of both layers. `gap`: share of the second
layer's units that go less the share of the first's, mean of 8 draws. `distance`: m of the second layer over m of the
first.
"""

from functools import partial

import torch

from labsupport.experiments import seeded, tables
from labsupport.pruning import diversity, nodes

units = tables.recipe("pruning/units")
CASES = [{"c": c} for c in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)]
TOLERANCE = {"gap": 0.15, "distance": 0.2}
rounded = partial(tables.rounded, digits=4)


def run(case):
    runs = units.trained("50-50")
    x, y = (part[:, :300] for part in units.examples(runs, "train"))
    net, generator = nodes.network(runs.state), seeded(5)
    layers = [nodes.layer(net, x, y, at=at).activations for at in (0, 1)]
    far = [torch.pdist(own.T).square() for layer in layers for own in layer]
    first, second = torch.stack(far[:16]), torch.stack(far[16:])
    middle = torch.cat([first, second], 1).median(1).values
    gaps = []
    for m, beta in enumerate(case["c"] / middle):
        kernel = torch.block_diag(*(diversity.kernel(own[m], beta=float(beta), epsilon=0.01) for own in layers))
        kept = diversity.sample(kernel, k=50, num_draws=8, generator=generator)
        gaps.append((kept < 50).double().mean() - (kept >= 50).double().mean())
    ratio = second.median(1).values / first.median(1).values
    return {"gap": rounded(torch.stack(gaps)), "distance": rounded(ratio)}
