"""Which weights and units a trained network can lose, what repairs the loss, and how the network then gets smaller.

    hessian = edges.layer_hessian(x, damping=0.01)
    trace = edges.obc(weight, hessian, fixed=[64])
    sparse = trace.at(0.9)

Scores say what matters, masks set to zero, repair adjusts what is left, and surgery makes the arrays smaller: four
things, each in its own file. `edges` prunes single weights and repairs them, `allocation` says how many each layer
loses, `nodes` and `diversity` choose and merge whole units, `masks` hold zeros through training, `surgery` cuts.
"""

__all__ = ["allocation", "diversity", "edges", "masks", "nodes", "surgery"]
