"""Eigenvalues of the Hessian of any energy, without forming it where it is large."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from hopfield_attn.checks import check_count
from hopfield_attn.solvers.descent import check_problem
from hopfield_attn.solvers.precision import at_least_float32
from hopfield_attn.typing import Array, EnergyFn, Float, PyTree


def hessian_spectrum(
    energy_fn: EnergyFn, x: PyTree, *, num_values: int | None = None
) -> Float[Array, "values"]:
    """Eigenvalues of ∇²E(x), ascending: all of them, or those that Lanczos finds first.

    The smallest one tells the kind of stationary point: a minimum (a well) where it is positive, a
    saddle where it is negative.

    Args:
      energy_fn: E: state → scalar.
      x: where; a pytree with N numbers.
      num_values: ``None`` forms the N × N Hessian and gives all N. A number k ≤ N takes k
        Hessian–vector products (Lanczos with full reorthogonalisation) and gives k Ritz values; the
        outermost are the accurate ones.

    Returns:
      (N,) or (k,) eigenvalues, of a half-precision state in float32.

    Raises:
      ValueError: if k is below 1 or above N.

    Example:
      >>> hessian_spectrum(lambda x: jnp.sum(jnp.array([1.0, 4.0]) * x**2), jnp.ones(2))
      Array([2., 8.], dtype=float32)
    """
    x = at_least_float32(check_problem(energy_fn, x))
    flat, unravel = ravel_pytree(x)
    gradient = jax.grad(lambda flat: energy_fn(unravel(flat)))
    if num_values is None:
        hessian = jax.jacfwd(gradient)(flat)
        return jnp.linalg.eigvalsh(0.5 * (hessian + hessian.T))
    check_count(1, num_values=num_values)
    if num_values > flat.size:
        raise ValueError(f"num_values must be at most the size of x, {flat.size}; got {num_values}")
    _, product = jax.linearize(gradient, flat)
    return _lanczos(product, flat, num_values)


def _lanczos(product: Callable[[Array], Array], like: Array, num_values: int) -> Array:
    """Ritz values of a symmetric product on vectors like ``like``."""
    indices = jnp.arange(1, like.size + 1, dtype=like.dtype)

    def orthogonal(vector: Array, basis: Array) -> Array:
        # Twice is enough: rounding of the first pass is removed by the second.
        for _ in range(2):
            vector = vector - (basis @ vector) @ basis
        return vector

    def step(carry: tuple[Array, Array], k: Array) -> tuple[tuple[Array, Array], tuple]:
        basis, vector = carry
        basis = basis.at[k].set(vector)
        image = product(vector)
        diagonal = vector @ image
        rest = orthogonal(image, basis)
        size = jnp.linalg.norm(rest)
        # An invariant subspace is complete: go on in a fresh direction, not coupled to it.
        is_done = size <= 100 * jnp.finfo(like.dtype).eps * (1 + jnp.abs(diagonal))
        fresh = orthogonal(jnp.cos(indices * (k + 2)), basis)
        chosen = jnp.where(is_done, fresh, rest)
        return (basis, chosen / jnp.linalg.norm(chosen)), (diagonal, jnp.where(is_done, 0.0, size))

    start = jnp.sin(1.7 * indices + 0.3)
    basis = jnp.zeros((num_values, like.size), like.dtype)
    carry = basis, start / jnp.linalg.norm(start)
    _, (diagonals, sizes) = jax.lax.scan(step, carry, jnp.arange(num_values))
    tridiagonal = jnp.diag(diagonals) + jnp.diag(sizes[:-1], 1) + jnp.diag(sizes[:-1], -1)
    return jnp.linalg.eigvalsh(tridiagonal)
