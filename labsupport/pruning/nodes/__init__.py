"""Whole units: how much each matters, in which order they go, and who takes over what they did.

    net = nodes.network(state)
    scores = nodes.of_all_layers(nodes.ablation_losses, net, x, y)
    order = nodes.greedy(scores, everyone, num_steps=60)

Stacked networks are members of one computation, each with its own order. `merge` repairs the sums after any choice.
"""

from labsupport.pruning.nodes.merging import Merged, absorb, merge, merge_alike, saliency
from labsupport.pruning.nodes.networks import Layer, Perceptron, layer, losses, network, outputs
from labsupport.pruning.nodes.ranking import greedy, kept_after
from labsupport.pruning.nodes.scores import (
    ablation_losses,
    activation_norm,
    of_all_layers,
    onorm,
    pair_losses,
    taylor,
)

__all__ = [
    "Layer", "Merged", "Perceptron", "ablation_losses", "absorb", "activation_norm", "greedy", "kept_after", "layer",
    "losses", "merge", "merge_alike", "network", "of_all_layers", "onorm", "outputs", "pair_losses", "saliency",
    "taylor",
]  # fmt: skip
