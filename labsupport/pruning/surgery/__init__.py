"""Smaller networks: units are cut out of the arrays, not set to zero.

    tied = surgery.graph(net, x)                            # once for an architecture
    edit = surgery.keep(tied, {"0": [0, 2, 5]})             # data: these three units of layer "0" stay
    surgery.cut_(net, edit, optimizer)                      # in place; momentum and all goes along

What equality means: the network after a cut computes what the one before computes when the outputs of the units that
go are multiplied by 0 *where other layers read them*, after norm and activation. That is more than weights of 0. Behind
incoming weights of 0 a batch norm still puts out its shift, and a sigmoid ½. `silence` gives the masks that do multiply
by 0: of the weights that read those units.
"""

from labsupport.pruning.surgery.cutting import cut, cut_, cut_state
from labsupport.pruning.surgery.edits import Edit, alive, keep, load, save, silence
from labsupport.pruning.surgery.graphs import Graph, Group, Place, graph

__all__ = [
    "Edit", "Graph", "Group", "Place", "alive", "cut", "cut_", "cut_state", "graph", "keep", "load", "save", "silence",
]  # fmt: skip
