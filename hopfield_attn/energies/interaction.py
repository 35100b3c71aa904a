"""How strongly the states of a head are coupled: bounds on the eigenvalues that F'' multiplies.

The Hessian of the attention energy is (1+λ) I − s B(F''), and B(1) is G = (Aᵀ A) ⊙ (y yᵀ) (M5) for
the pooled coupling, one matrix Σ_j A_ij y_j y_jᵀ a query for the pairwise one, diag(A y) for the
elementwise one. None of them is formed: every bound costs O(n m d).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hopfield_attn.typing import Array, Scalar, Values, Weights

_SLACK = 1e3
"""Rounding units added to an upper bound, so that it stays one in floating point."""
_FLOOR = 1e-6
"""Smallest entry of a positive test vector, relative to the largest."""


class Interaction(NamedTuple):
    """Bounds on λ_max of B(1), from both sides.

    Attributes:
      upper: a rigorous upper bound where F'' is weighted with its positive part.
      opposite: the same for −B(1): 0 except for the elementwise coupling, whose A y has two signs.
      lower: a lower bound, an estimate: what power iteration has found of λ_max.
    """

    upper: Scalar
    opposite: Scalar
    lower: Scalar


def pooled_interaction(y: Values, weights: Weights, *, num_iterations: int) -> Interaction:
    """Bounds on λ_max(G), G = (Aᵀ A) ⊙ (y yᵀ)  (M5).

    Upper, the least of two: max_j (Aᵀ A)_jj · λ_max(yᵀ y) (Schur), and, entry by entry
    |G| ≤ M = (Aᵀ A) ⊙ (|y| |y|ᵀ), so that λ_max(G) ≤ max_j (M v)_j / v_j for every positive v
    (Collatz and Wielandt), which iterating v ← M v makes tight for M. Lower: the Rayleigh quotient
    of power iteration with G c = rowsum((Aᵀ(A(c ⊙ y))) ⊙ y).

    Args:
      y: (m, d_v).
      weights: (n, m).
      num_iterations: of each power iteration.
    """

    def product(v: Array, y: Array) -> Array:
        return jnp.sum((weights.T @ (weights @ (v[:, None] * y))) * y, axis=1)

    gram = y.T @ y if y.shape[1] <= y.shape[0] else y @ y.T
    schur = jnp.max(jnp.sum(weights**2, axis=0)) * jnp.linalg.eigvalsh(gram)[-1]
    positive = _largest_ratio(lambda v: product(v, jnp.abs(y)), y[:, 0], num_iterations)
    lower = _rayleigh(lambda v: product(v, y), y[:, 0], num_iterations)
    return Interaction(_widen(jnp.minimum(schur, positive)), jnp.zeros_like(lower), lower)


def pairwise_interaction(y: Values, weights: Weights, *, num_iterations: int) -> Interaction:
    """Bounds on max_i λ_max(Σ_j A_ij y_j y_jᵀ): above by the trace, Σ_j A_ij ‖y_j‖² ≤ max ‖y_j‖².

    Args:
      y: (m, d_v).
      weights: (n, m).
      num_iterations: of the power iteration, one for every query at once.
    """
    upper = jnp.max(weights @ jnp.sum(y**2, axis=1), initial=0.0)

    def product(v: Array) -> Array:
        return (weights * (v @ y.T)) @ y

    # One vector a query; all in one flat vector would mix their scales.
    vectors = jnp.broadcast_to(_generic(y.shape[1], y.dtype), (weights.shape[0], y.shape[1]))

    def step(v: Array, _: None) -> tuple[Array, None]:
        return _normalize_rows(product(v)), None

    vectors, _ = jax.lax.scan(step, _normalize_rows(vectors), length=num_iterations)
    lower = jnp.max(jnp.sum(vectors * product(vectors), axis=1), initial=0.0)
    return Interaction(_widen(upper), jnp.zeros_like(lower), lower)


def elementwise_interaction(y: Values, weights: Weights, *, num_iterations: int) -> Interaction:
    """The largest entries of A y and of −A y: exact, no iteration.

    Args:
      y: (m, d_v).
      weights: (n, m).
      num_iterations: not used.
    """
    attended = weights @ y
    upper = jnp.max(attended, initial=0.0)
    return Interaction(_widen(upper), _widen(jnp.max(-attended, initial=0.0)), upper)


INTERACTIONS: dict[str, Callable[..., Interaction]] = {
    "pooled": pooled_interaction,
    "pairwise": pairwise_interaction,
    "elementwise": elementwise_interaction,
}
"""Coupling name → (y, A, num_iterations) → bounds."""


def _widen(bound: Array) -> Array:
    return bound * (1 + _SLACK * jnp.finfo(bound.dtype).eps)


def _generic(size: int, dtype: jnp.dtype) -> Array:
    """A vector that is orthogonal to nothing in particular, the same at every call."""
    return 1.0 + 0.5 * jnp.sin(1.7 * jnp.arange(1, size + 1, dtype=dtype))


def _normalize_rows(v: Array) -> Array:
    norms = jnp.linalg.norm(v, axis=-1, keepdims=True)
    return v / jnp.where(norms == 0, 1.0, norms)


def _rayleigh(product: Callable[[Array], Array], like: Array, num_iterations: int) -> Array:
    """vᵀ M v for the unit v that power iteration ends at: a lower bound on λ_max(M)."""

    def step(v: Array, _: None) -> tuple[Array, None]:
        return _normalize_rows(product(v)), None

    start = _normalize_rows(_generic(like.size, like.dtype))
    v, _ = jax.lax.scan(step, start, length=num_iterations)
    return jnp.maximum(v @ product(v), 0.0)


def _largest_ratio(product: Callable[[Array], Array], like: Array, num_iterations: int) -> Array:
    """max_j (M v)_j / v_j after iterating v ← M v, for M ≥ 0 entry by entry; v stays positive."""

    def step(v: Array, _: None) -> tuple[Array, None]:
        image = product(v)
        largest = jnp.max(image)
        image = image / jnp.where(largest == 0, 1.0, largest)
        # Masked keys have zero columns: their ratio is 0 for any positive entry.
        return jnp.maximum(image, _FLOOR), None

    v, _ = jax.lax.scan(step, jnp.ones_like(like), length=num_iterations)
    return jnp.max(product(v) / v)
