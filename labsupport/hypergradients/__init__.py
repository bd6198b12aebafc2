"""Gradients of a validation loss with respect to hyperparameters, through the whole of training.

    result = hypergradient(problem, hyper, Stored())

A `Problem` says how weights are trained and judged. The methods are interchangeable: exact ones (`Unrolled`, `Stored`,
`SqrtCheckpoint`, `Reversible`, `ForwardMode`) differ in memory and time, the others (`DrMAD`, `Knots`, `Truncated`,
`Neumann`, `ConjugateGradient`) in what they leave out. `gradcheck` tells how far a method's
answer lies from the exact one.
"""

from labsupport.hypergradients.forward_mode import ForwardMode, Unrolled
from labsupport.hypergradients.gradients import Gradcheck, gradcheck, hypergradient, trained
from labsupport.hypergradients.implicit import ConjugateGradient, Neumann
from labsupport.hypergradients.learning import Learnt, MetaPlan, meta_optimize, search_rate
from labsupport.hypergradients.paths import DrMAD, Knots, SqrtCheckpoint, Stored, Truncated
from labsupport.hypergradients.penalties import layer_l2, log_l2, parameter_l2, unit_l2
from labsupport.hypergradients.problem import Hypergradient, Problem, minibatches
from labsupport.hypergradients.reversible import Reversible

__all__ = [
    "ConjugateGradient", "DrMAD", "ForwardMode", "Gradcheck", "Hypergradient", "Knots", "Learnt", "MetaPlan", "Neumann",
    "Problem", "Reversible", "SqrtCheckpoint", "Stored", "Truncated", "Unrolled", "gradcheck", "hypergradient",
    "layer_l2", "log_l2", "meta_optimize", "minibatches", "parameter_l2", "search_rate", "trained", "unit_l2",
]  # fmt: skip
