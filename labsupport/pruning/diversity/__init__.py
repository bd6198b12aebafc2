"""Diverse subsets of units: determinantal point processes, drawn and weighed in log space.

    kernel = diversity.kernel(activations, beta=0.1, epsilon=0.01)
    kept = diversity.sample(kernel, k=30, generator=generator, num_draws=100)

A subset S has a probability in proportion to det L_S, the squared volume that its units span: units that say the same
span none. A k-DPP is that among the subsets of size k. `spectrum` is the costly part; whoever draws again from the same
kernel passes it in the kernel's place.
"""

from labsupport.pruning.diversity.draws import sample, sample_any
from labsupport.pruning.diversity.kernels import (
    Spectrum,
    expected_size,
    kernel,
    log_probability,
    log_probability_any,
    log_symmetric,
    spectrum,
)

__all__ = [
    "Spectrum", "expected_size", "kernel", "log_probability", "log_probability_any", "log_symmetric", "sample",
    "sample_any", "spectrum",
]  # fmt: skip
