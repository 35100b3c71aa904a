"""How near the choice of ``None`` comes to the fastest that this machine multiplies.

python experiments/02_cost_over_length_and_steps/floor.py     # minutes, nothing else running

The floor of a program is its matrix products at the speed of one large product of square matrices,
and one exponential of the n² scores of a head. The products are counted in the traced program:
operations, and the bytes of their operands and results, which a measured copy turns into time. All
programs are timed in turns; of the machine's peaks the best round counts, of the programs the
median. results/floor-MACHINE.json is written, and collect.py makes the tables.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hopfield_attn import nonlinear_attention, nonlinearities
from hopfield_attn.benchmark.machine import describe_machine, slug_of
from hopfield_attn.files import write_json

HERE = Path(__file__).resolve().parent
LENGTHS, WIDTH, CELLS = (512, 1024), 64, 8192
STEPS = (1, 3, 7)
DIRECTIONS = ("forward", "forward_backward")
SQUARE = 2048
ROUNDS = 15


class Count(NamedTuple):
    """Matrix products of a program: operations (an addition and a product are two) and bytes."""

    flops: int = 0
    bytes: int = 0

    def __add__(self, other: tuple) -> "Count":
        return Count(self.flops + other[0], self.bytes + other[1])

    def times(self, factor: int) -> "Count":
        return Count(factor * self.flops, factor * self.bytes)


def count_products(jaxpr: Any) -> Count:
    """The products of a traced program; the body of a scan counts as often as it runs."""
    total = Count()
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            total += _product(equation)
        runs = equation.params["length"] if equation.primitive.name == "scan" else 1
        for inner in _inner(equation.params):
            total += count_products(inner).times(runs)
    return total


def _product(equation: Any) -> Count:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, out = equation.invars[0].aval, equation.outvars[0].aval
    arrays = [variable.aval for variable in (*equation.invars, *equation.outvars)]
    depth = math.prod(left.shape[axis] for axis in contracted)
    return Count(2 * out.size * depth, sum(a.size * a.dtype.itemsize for a in arrays))


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for entry in value if isinstance(value, tuple | list) else [value]:
            if hasattr(entry, "jaxpr"):
                yield entry.jaxpr
            elif hasattr(entry, "eqns"):
                yield entry


class Program(NamedTuple):
    """A compiled function without arguments, and its products."""

    run: Callable[[], Any]
    count: Count


def make_program(fn: Callable[..., Any], *arrays: Any) -> Program:
    compiled = jax.jit(fn).lower(*arrays).compile()
    count = count_products(jax.make_jaxpr(fn)(*arrays).jaxpr)
    return Program(lambda: jax.block_until_ready(compiled(*arrays)), count)


def in_direction(attend: Callable[..., Any], direction: str) -> Callable[..., Any]:
    """``attend``, or its gradient in all arguments under a fixed cotangent, which comes last."""
    if direction == "forward":
        return lambda *given: attend(*given[:-1])

    def weighted_sum(*given: Any) -> Any:
        return jnp.sum(attend(*given[:-1]) * given[-1])

    return lambda *given: jax.grad(weighted_sum, argnums=tuple(range(len(given) - 1)))(*given)


def non_linear(num_steps: int) -> Callable[..., Any]:
    """Quadratic F, pooled, ``implementation=None``."""

    def attend(query: Any, key: Any, value: Any, alpha: Any) -> Any:
        F = nonlinearities.quadratic(alpha)
        return nonlinear_attention(query, key, value, nonlinearity=F, lam=1.0, num_steps=num_steps)

    return attend


def programs_of(length: int) -> dict[str, Program]:
    """Name → program, for arrays (1, n, h, d)."""
    heads = CELLS // length
    q, k, y, cotangent = jax.random.normal(jax.random.key(0), (4, 1, length, heads, WIDTH)) / 8
    alpha = jnp.linspace(0.1, 0.3, heads)
    scores = jax.random.uniform(jax.random.key(1), (heads, length, length))
    found = {
        f"{length} exponential": make_program(
            lambda a: jax.lax.map(lambda head: jnp.sum(jnp.exp(head), axis=1), a), scores
        )
    }
    for direction in DIRECTIONS:
        plain = in_direction(jax.nn.dot_product_attention, direction)
        found[f"{length} jax.nn {direction}"] = make_program(plain, q, k, y, cotangent)
        for T in STEPS:
            own = in_direction(non_linear(T), direction)
            found[f"{length} T={T} {direction}"] = make_program(own, q, k, y, alpha, cotangent)
    return found


def time_in_turns(runs: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """Name → milliseconds of every round; a first round is left out."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(ROUNDS):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            found[name].append(1e3 * (time.perf_counter() - began))
    return found


def main() -> int:
    square = jax.random.normal(jax.random.key(0), (SQUARE, SQUARE))
    multiply = make_program(jnp.matmul, square, square)
    source = np.ones(2**26, np.float32)
    target = np.ones_like(source)
    peaks = {"multiply": multiply.run, "copy": lambda: np.copyto(target, source)}
    programs = {name: program for n in LENGTHS for name, program in programs_of(n).items()}
    times = time_in_turns(peaks | {name: program.run for name, program in programs.items()})
    medians = {name: float(np.median(values)) for name, values in times.items()}
    gflops = multiply.count.flops / min(times["multiply"]) / 1e6
    gigabytes = 2 * source.nbytes / min(times["copy"]) / 1e6
    rows = []
    for n in LENGTHS:
        for direction in DIRECTIONS:
            for T in STEPS:
                name = f"{n} T={T} {direction}"
                count = programs[name].count
                product = 2 * n**2 * WIDTH * (CELLS // n)
                rows.append(
                    {
                        "n": n,
                        "T": T,
                        "direction": direction,
                        "ms": round(medians[name], 3),
                        "jax_nn_ms": round(medians[f"{n} jax.nn {direction}"], 3),
                        "exponential_ms": round(medians[f"{n} exponential"], 3),
                        "products": round(count.flops / product, 2),
                        "products_ms": round(count.flops / gflops / 1e6, 3),
                        "bytes_ms": round(count.bytes / gigabytes / 1e6, 3),
                    }
                )
    machine = describe_machine()
    (HERE / "results").mkdir(exist_ok=True)
    write_json(
        HERE / "results" / f"floor-{slug_of(machine)}.json",
        {
            "machine": machine,
            "shape": {"batch_heads": f"{CELLS}/n", "d": WIDTH, "dtype": "float32"},
            "gflops": round(gflops, 1),
            "copy_gigabytes_a_second": round(gigabytes, 1),
            "rows": rows,
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
