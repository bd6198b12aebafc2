"""Test errors with one layer pruned by size and the others whole, layer by layer, at several sparsities.

Sixteen networks of each kind, each with digits of its own. `errors` holds them network by network, layer by layer,
sparsity by sparsity.
"""

from labsupport import models
from labsupport.experiments import tables
from labsupport.pruning import allocation, setups

SPARSITIES = [0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95]
CASES = [{"kind": "linear"}, {"kind": "convolutional"}]
CHECKED = CASES[:1]
TOLERANCE = 0.02


def convolutional(generator):
    return models.convnet((1, 8, 8), 10, channels=(16, 32), generator=generator)


def run(case):
    flat = case["kind"] == "linear"
    ran = setups.trained(setups.network if flat else convolutional, seeds=range(200, 216), flat=flat, num_epochs=20)
    found = allocation.sensitivity(ran.state, *ran.data.pool, sparsities=SPARSITIES, rows=ran.data.test)
    layers = list(allocation.weights_of(ran.state.params, batch_dims=1))
    return {"layers": layers, "sparsities": SPARSITIES, "errors": tables.rounded(found.error.flatten(), decimals=4)}
