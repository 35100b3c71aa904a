"""Conjugate gradients that say when the operator is not positive definite."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hopfield_attn.typing import Array, Float


class _Iterate(NamedTuple):
    solution: Array
    residual: Array
    direction: Array
    num_steps: Array
    is_indefinite: Array


def conjugate_gradients(
    product: Callable[[Array], Array],
    rhs: Float[Array, "m"],
    *,
    tolerance: float,
    max_steps: int,
) -> tuple[Float[Array, "m"], tuple[Array, Array]]:
    """Solves M c = b for a symmetric M given by its products, to ‖M c − b‖ ≤ tolerance · ‖b‖.

    The derivative is that of the solution, by one more solve. M has a direction of negative or zero
    curvature where ``is_indefinite``: the quadratic form has no minimum there, and c is the last
    iterate before it.

    Args:
      product: v → M v.
      rhs: b.
      tolerance: relative, > 0.
      max_steps: products at most.

    Returns:
      c, and (steps taken, is_indefinite).

    Example:
      >>> solution, (num_steps, _) = conjugate_gradients(
      ...     lambda v: jnp.array([1.0, 2.0]) * v, jnp.ones(2), tolerance=1e-6, max_steps=10)
      >>> solution, int(num_steps)
      (Array([1. , 0.5], dtype=float32), 2)
    """

    def solve(product: Callable[[Array], Array], b: Array) -> tuple[Array, tuple[Array, Array]]:
        goal = tolerance * jnp.linalg.norm(b)

        def is_open(now: _Iterate) -> Array:
            too_large = jnp.linalg.norm(now.residual) > goal
            return too_large & (now.num_steps < max_steps) & ~now.is_indefinite

        def step(now: _Iterate) -> _Iterate:
            image = product(now.direction)
            curvature, squared = now.direction @ image, now.residual @ now.residual
            is_indefinite = ~(curvature > 0)
            length = jnp.where(is_indefinite, 0.0, squared / jnp.where(is_indefinite, 1, curvature))
            residual = now.residual - length * image
            direction = residual + (residual @ residual) / squared * now.direction
            solution = now.solution + length * now.direction
            return _Iterate(solution, residual, direction, now.num_steps + 1, is_indefinite)

        start = _Iterate(jnp.zeros_like(b), b, b, jnp.zeros((), jnp.int32), jnp.zeros((), bool))
        end = jax.lax.while_loop(is_open, step, start)
        return end.solution, (end.num_steps, end.is_indefinite)

    return jax.lax.custom_linear_solve(product, rhs, solve, symmetric=True, has_aux=True)
