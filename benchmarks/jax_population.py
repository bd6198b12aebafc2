"""The job of population.py in JAX: vmap over members, scan over steps, jit over both. Run by an environment of its own.

    <python that has JAX> benchmarks/jax_population.py '{"rule": "momentum", "members": 64, …}'

The argument is what `peers.jax` writes. Data and networks are made first; then "ready <version of JAX>" is printed.
Each line "run" on stdin starts all members afresh, trains them and prints the seconds it took and their mean validation
error. The first answer is the cold one: tracing and compiling are in it. End of input ends the process.

As in ours, rates and momenta are inputs, one for each member; a member whose loss or parameters would stop being finite
is left as it was and the step noted; losses, validations and those steps arrive as NumPy arrays, inside the timer.
"""

import json
import sys
import time
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits


def digits(random):
    """1,000 of scikit-learn's digits to train on and 400 to validate: x, y, x, y."""
    x, y = load_digits(return_X_y=True)
    order = random.permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order].astype(np.int32)
    return tuple(map(jnp.asarray, (x[:1000], y[:1000], x[1000:1400], y[1000:1400])))


def networks(random, members, sizes):
    """Weights and biases of every member, uniform in ±1/√fan_in as torch draws them."""
    def layer(rows, columns):
        draws = random.uniform(-1, 1, (members, rows + 1, columns)).astype(np.float32) / rows**0.5
        return jnp.asarray(draws[:, :rows]), jnp.asarray(draws[:, rows])

    return [layer(*pair) for pair in pairwise(sizes)]


def outputs(params, x):
    *hidden, (last, shift) = params
    for weight, bias in hidden:
        x = jax.nn.relu(x @ weight + bias)
    return x @ last + shift


def mean_loss(params, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(outputs(params, x), y).mean()


def momentum(grads, slots, params, settings):
    slots = jax.tree.map(lambda v, g: settings["momentum"] * v + g, slots, grads)
    return jax.tree.map(lambda p, v: p - settings["lr"] * v, params, slots), slots


def adam(grads, slots, params, settings):
    moves, slots = optax.scale_by_adam().update(grads, slots)
    return jax.tree.map(lambda p, m: p - settings["lr"] * m, params, moves), slots


RULES = {
    "momentum": (momentum, partial(jax.tree.map, jnp.zeros_like)),
    "adam": (adam, lambda params: optax.scale_by_adam().init(params)),
}


def epoch_of(rule, x, y, valid_x, valid_y):
    """All members' epoch: (params, slots, diverged), orders, step, settings -> the same three, and scores."""
    def epoch(member, order, first, settings):
        def step(member, now):
            params, slots, diverged = member
            at, rows = now
            loss, grads = jax.value_and_grad(mean_loss)(params, x[rows], y[rows])
            moved = rule(grads, slots, params, settings)
            active = diverged < 0
            fine = active & jnp.stack([jnp.isfinite(v).all() for v in (loss, *jax.tree.leaves(moved[0]))]).all()
            params, slots = jax.tree.map(lambda new, old: jnp.where(fine, new, old), moved, (params, slots))
            return (params, slots, jnp.where(active & ~fine, at, diverged)), jnp.where(active, loss, jnp.nan)

        member, losses = jax.lax.scan(step, member, (first + jnp.arange(len(order)), order))
        said = outputs(member[0], valid_x)
        valid = optax.softmax_cross_entropy_with_integer_labels(said, valid_y).mean()
        return member, (losses, valid, (said.argmax(1) != valid_y).mean())

    return jax.jit(jax.vmap(epoch, (0, 0, None, 0)))


def training(job):
    """A callable that makes all epochs from the start and returns their curves and the steps of divergence."""
    random, members, size = np.random.default_rng(0), job["members"], job["batch_size"]
    x, y, *valid = digits(random)
    rule, start = RULES[job["rule"]]
    epoch = epoch_of(rule, x, y, *valid)
    settings = {name: jnp.asarray(values, jnp.float32) for name, values in job["settings"].items()}
    params, steps = networks(random, members, job["sizes"]), len(x) // size
    beginning = params, jax.vmap(start)(params), jnp.full(members, -1, jnp.int32)
    rows = np.tile(np.arange(len(x), dtype=np.int32), (members, 1))

    def run():
        state, curves = beginning, []
        for at in range(job["num_epochs"]):
            order = random.permuted(rows, axis=1)[:, : steps * size].reshape(members, steps, size)
            state, scores = epoch(state, order, at * steps, settings)
            curves.append(scores)
        *_, diverged = jax.block_until_ready(state)
        return jax.tree.map(np.asarray, (curves, diverged))

    return run


def main(job):
    run = training(job)
    print("ready", jax.__version__, flush=True)
    for line in sys.stdin:
        if line.strip() != "run":
            raise SystemExit(f"jax_population: a line must be 'run', got {line!r}")
        start = time.perf_counter()
        curves, _ = run()
        print(time.perf_counter() - start, curves[-1][2].mean(), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
