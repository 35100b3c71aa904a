"""How near the forward pass comes to the fastest that this machine multiplies.

python experiments/02_cost_over_length_and_steps/floor.py     # about a minute, nothing else running

T steps of the pooled coupling are 2T + 2 products, each of 2·n²·d operations a head, and one
exponential of n² numbers. The floor is these operations at the speed of one large product of square
matrices, and the exponential alone. All are timed in turns, and results/floor.json is written;
collect.py makes the table of it.
"""

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from hopfield_attn import nonlinear_attention, nonlinearities
from hopfield_attn.benchmark.machine import describe_machine
from hopfield_attn.files import write_json

HERE = Path(__file__).resolve().parent
LENGTH, HEADS, WIDTH = 1024, 8, 64
STEPS = (1, 3, 7)
SQUARE = 2048
ROUNDS = 15


def programs():
    """Name → compiled function without arguments."""
    keys = jax.random.split(jax.random.key(0), 2)
    q, k, y = jax.random.normal(keys[0], (3, HEADS, LENGTH, WIDTH)) / 8
    weights = jax.random.uniform(keys[1], (HEADS, LENGTH, LENGTH))

    def one_by_one(fn, *arrays):
        compiled = jax.jit(lambda *given: jax.lax.map(lambda head: fn(*head), given))
        return lambda: jax.block_until_ready(compiled(*arrays))

    def descent(num_steps):
        arrays = [jnp.swapaxes(a[None], 1, 2) for a in (q, k, y)]
        options = {"nonlinearity": nonlinearities.quadratic(0.2), "lam": 1.0}
        compiled = jax.jit(lambda *a: nonlinear_attention(*a, num_steps=num_steps, **options))
        return lambda: jax.block_until_ready(compiled(*arrays))

    square = jax.random.normal(keys[0], (SQUARE, SQUARE))
    multiply = jax.jit(jnp.matmul)
    plain = jax.jit(jax.nn.dot_product_attention)
    arrays = [jnp.swapaxes(a[None], 1, 2) for a in (q, k, y)]
    return {
        "jax.nn": lambda: jax.block_until_ready(plain(*arrays)),
        "square product": lambda: jax.block_until_ready(multiply(square, square)),
        "exponential": one_by_one(lambda a: jnp.sum(jnp.exp(a), axis=1), weights),
        **{f"T={T}": descent(T) for T in STEPS},
    }


def main():
    found = programs()
    seconds = {name: [] for name in found}
    for run in found.values():
        run()
    for _ in range(ROUNDS):
        for name, run in found.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    medians = {name: 1e3 * float(np.median(values)) for name, values in seconds.items()}
    gflops = 2 * SQUARE**3 / medians["square product"] / 1e6
    product_ms = 2 * LENGTH**2 * WIDTH * HEADS / gflops / 1e6
    floors = {f"T={T}": (2 * T + 2) * product_ms + medians["exponential"] for T in STEPS}
    (HERE / "results").mkdir(exist_ok=True)
    write_json(
        HERE / "results" / "floor.json",
        {
            "machine": describe_machine(),
            "shape": {"n": LENGTH, "batch_heads": HEADS, "d": WIDTH, "dtype": "float32"},
            "median_ms": {name: round(value, 3) for name, value in medians.items()},
            "floor_ms": {name: round(value, 3) for name, value in floors.items()},
            "gflops": round(gflops, 1),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
