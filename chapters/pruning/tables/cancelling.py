"""Do two units cancel each other? What each pair of hidden units costs, beside what each of the two costs alone.

The networks of `pruning/units`, 16 replicates, on 300 training examples. `cancel`: share of the pairs of which each
unit alone costs something, and both together cost less than either. `less`: share of the pairs that together cost less
than the two costs added.
"""

from functools import partial

import torch

from labsupport.experiments import tables
from labsupport.pruning import nodes

units = tables.recipe("pruning/units")
CASES = [{"hidden": width} for width in ("25", "50", "100")]
TOLERANCE = {"cancel": 0.01, "less": 0.02}
rounded = partial(tables.rounded, digits=5)


def run(case):
    runs = units.trained(case["hidden"])
    net, (x, y) = nodes.network(runs.state), units.examples(runs, "train")
    layer = nodes.layer(net, x[:, :300], y[:, :300], at=0)
    pairs, here = nodes.pair_losses(layer), layer.tail(layer.sums).mean(-1)[:, None, None]
    alone = pairs.diagonal(dim1=1, dim2=2)
    first, second = alone[:, :, None], alone[:, None]
    others = ~torch.eye(pairs.shape[1], dtype=torch.bool)
    shares = {
        "cancel": (torch.minimum(first, second) > here) & (pairs < torch.minimum(first, second)),
        "less": pairs - here < first + second - 2 * here,
    }
    return {name: rounded(share[:, others].double().mean(1)) for name, share in shares.items()}
