"""Single weights: which can go, and what the others do then.

`ranking` and `damage` say which, without touching a weight; `obs`, `layers` and `net_trim` also repair those that stay.
"""

from labsupport.pruning.edges.damage import gauss_newton, obd_scores
from labsupport.pruning.edges.layers import Trace, layer_hessian, lobs, obc, refit
from labsupport.pruning.edges.net_trim import Trimmed, net_trim
from labsupport.pruning.edges.networks import layer_hessians, layer_inputs, matrices, with_matrices
from labsupport.pruning.edges.obs import inverse_by_examples, obs_saliencies, obs_step
from labsupport.pruning.edges.ranking import gradual, keep_largest, magnitude_scores

__all__ = [
    "Trace", "Trimmed", "gauss_newton", "gradual", "inverse_by_examples", "keep_largest", "layer_hessian",
    "layer_hessians", "layer_inputs", "lobs", "magnitude_scores", "matrices", "net_trim", "obc", "obd_scores",
    "obs_saliencies", "obs_step", "refit", "with_matrices",
]  # fmt: skip
