"""How strongly the states of a head are coupled: bounds on the eigenvalues that F'' multiplies.

The Hessian of the attention energy is (1+λ) I − s B(F''), and B(1) is G = (Aᵀ A) ⊙ (y yᵀ) (M5) for
the pooled coupling, one matrix Σ_j A_ij y_j y_jᵀ a query for the pairwise one, diag(A y) for the
elementwise one. None of them is formed: every bound costs O(n m d).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hopfield_attn.typing import Array, Bool, Scalar, Values, Weights

_FLOOR = 1e-6
"""Smallest entry of a positive test vector, relative to the largest."""
# A bound that was computed in TF32 or bfloat16 passes is none.
_matmul = functools.partial(jnp.matmul, precision="highest")


class Interaction(NamedTuple):
    """Bounds on λ_max of B(1), and of −B(1), from both sides.

    The upper ones are widened, the lower ones narrowed, by what rounding can have done: 4 (n + m +
    d_v) units of the sum of absolute values.

    Attributes:
      upper: rigorous upper bound on λ_max(B(1)).
      opposite: the same for −B(1): 0 except for the elementwise coupling, whose A y has two signs.
      lower: what power iteration has found of λ_max(B(1)), a lower bound.
      opposite_lower: the same for −B(1).
    """

    upper: Scalar
    opposite: Scalar
    lower: Scalar
    opposite_lower: Scalar


def interaction_upper_bound(y: Values, weights: Weights, *, num_iterations: int) -> Scalar:
    """A rigorous upper bound on λ_max(G), G = (Aᵀ A) ⊙ (y yᵀ) (M5), in O(n m d_v).

    The least of two:

    * λ_max(yᵀ D y), D = diag((Aᵀ A)_jj) (Schur: D^{-½} Aᵀ A D^{-½} has a diagonal of ones);
    * max_j (M v)_j / v_j with M = (Aᵀ A) ⊙ (|y| |y|ᵀ) ≥ |G| entry by entry, for any positive v
      (Collatz and Wielandt); iterating v ← M v makes it tight for M.

    Args:
      y: (m, d_v).
      weights: A, (n, m); a key without any weight takes no part.
      num_iterations: of v ← M v.

    Returns:
      The bound, a scalar, with the slack of :class:`Interaction`.

    Example:
      >>> A, y = jnp.array([[0.25, 0.75], [0.5, 0.5]]), jnp.eye(2)  # G = diag(0.3125, 0.8125)
      >>> interaction_upper_bound(y, A, num_iterations=32).round(3)
      Array(0.813, dtype=float32)
    """
    sizes = jnp.sum(weights**2, axis=0)
    y = _unmasked(y, weights)
    scaled = jnp.sqrt(sizes)[:, None] * y
    gram = _matmul(scaled.T, scaled) if y.shape[1] <= y.shape[0] else _matmul(scaled, scaled.T)
    schur = jnp.linalg.eigvalsh(gram)[-1]
    positive = _largest_ratio(gram_product(jnp.abs(y), weights), y[:, 0], num_iterations)
    return jnp.minimum(schur, positive) * (1 + _slack(y, weights))


def interaction_power_iteration(y: Values, weights: Weights, *, num_iterations: int) -> Scalar:
    """A lower bound on λ_max(G) that converges to it: the Rayleigh quotient of power iteration.

    G is never formed: G c = rowsum((Aᵀ (A (c ⊙ y))) ⊙ y) (M5).

    Args:
      y: (m, d_v).
      weights: A, (n, m).
      num_iterations: of c ← G c / ‖G c‖.

    Returns:
      The estimate, a scalar ≥ 0, less the slack of :class:`Interaction`.

    Example:
      >>> A, y = jnp.array([[0.25, 0.75], [0.5, 0.5]]), jnp.eye(2)
      >>> interaction_power_iteration(y, A, num_iterations=32).round(3)
      Array(0.812, dtype=float32)
    """
    y = _unmasked(y, weights)
    product = gram_product(y, weights)
    v = _power_iteration(product, _generic(y.shape[0], y.dtype), num_iterations)
    rounding = _slack(y, weights) * (jnp.abs(v) @ gram_product(jnp.abs(y), weights)(jnp.abs(v)))
    return jnp.maximum(v @ product(v) - rounding, 0.0)


def pooled_interaction(y: Values, weights: Weights, *, num_iterations: int) -> Interaction:
    """Bounds on λ_max(G): :func:`interaction_upper_bound`, :func:`interaction_power_iteration`.

    Args:
      y: (m, d_v).
      weights: (n, m).
      num_iterations: of each power iteration.
    """
    upper = interaction_upper_bound(y, weights, num_iterations=num_iterations)
    lower = interaction_power_iteration(y, weights, num_iterations=num_iterations)
    zero = jnp.zeros_like(upper)
    return Interaction(upper, zero, lower, zero)


def pairwise_interaction(y: Values, weights: Weights, *, num_iterations: int) -> Interaction:
    """Bounds on max_i λ_max(Σ_j A_ij y_j y_jᵀ): above by the trace, Σ_j A_ij ‖y_j‖² ≤ max ‖y_j‖².

    Args:
      y: (m, d_v).
      weights: (n, m).
      num_iterations: of the power iteration, one for every query at once.
    """
    y = _unmasked(y, weights)
    upper = jnp.max(_matmul(weights, jnp.sum(y**2, axis=1)), initial=0.0)

    def product(v: Array, y: Array = y) -> Array:
        return _matmul(weights * _matmul(v, y.T), y)

    # One vector a query; all in one flat vector would mix their scales.
    start = jnp.broadcast_to(_generic(y.shape[1], y.dtype), (weights.shape[0], y.shape[1]))
    v = _power_iteration(product, start, num_iterations)
    slack, sizes = _slack(y, weights), jnp.abs(v) * product(jnp.abs(v), jnp.abs(y))
    lower = jnp.max(jnp.sum(v * product(v) - slack * sizes, axis=1), initial=0.0)
    zero = jnp.zeros_like(lower)
    return Interaction(upper * (1 + slack), zero, lower, zero)


def elementwise_interaction(y: Values, weights: Weights, *, num_iterations: int) -> Interaction:
    """The largest entries of A y and of −A y: exact, no iteration.

    Args:
      y: (m, d_v).
      weights: (n, m).
      num_iterations: not used.
    """
    y = _unmasked(y, weights)
    attended = _matmul(weights, y)
    rounding = _slack(y, weights) * _matmul(weights, jnp.abs(y))
    sides = (attended + rounding, rounding - attended, attended - rounding, -attended - rounding)
    return Interaction(*(jnp.max(side, initial=0.0) for side in sides))


INTERACTIONS: dict[str, Callable[..., Interaction]] = {
    "pooled": pooled_interaction,
    "pairwise": pairwise_interaction,
    "elementwise": elementwise_interaction,
}
"""Coupling name → (y, A, num_iterations) → bounds."""


def has_cubic_interaction(y: Values, weights: Weights, *, coupling: str) -> Bool[Array, ""]:
    """Whether Φ of F(u) = u³ is seen not to vanish: then a cubic F has no minimum.

    Keys that come in pairs y, −y with the same weights cancel: Σ_j u_j³ = 0 at every state.

    Args:
      y: (m, d_v).
      weights: (n, m).
      coupling: "pooled", "pairwise" or "elementwise".

    Example:
      >>> A, y = jnp.full((1, 2), 0.5), jnp.array([[1.0, 2.0], [-1.0, -2.0]])
      >>> bool(has_cubic_interaction(y, A, coupling="pooled"))
      False
    """
    y = _unmasked(y, weights)
    if coupling == "elementwise":
        found = elementwise_interaction(y, weights, num_iterations=0)
        return (found.lower > 0) | (found.opposite_lower > 0)

    def met(y: Array, direction: Array) -> Array:
        if coupling == "pooled":
            return gram_product(y, weights)(direction)
        return _matmul(y, _matmul(direction, y))

    rows = jnp.ones_like(weights[:1]) if coupling == "pooled" else weights
    direction, slack = _generic(y.shape[0], y.dtype), _slack(y, weights)
    u, rounding = met(y, direction), slack * met(jnp.abs(y), direction)
    largest = jnp.max(jnp.abs(u))
    u, rounding = (a / jnp.where(largest == 0, 1.0, largest) for a in (u, rounding))
    # |(u + r)³ − u³| ≤ 3 (|u| + r)² r, and the sum of the cubes rounds as well.
    rounding = 3 * (jnp.abs(u) + rounding) ** 2 * rounding + slack * jnp.abs(u) ** 3
    return jnp.any(jnp.abs(_matmul(rows, u**3)) > _matmul(rows, rounding))


def _unmasked(y: Array, weights: Array) -> Array:
    """Y without the rows that no query reads: padding may hold anything."""
    return jnp.where(jnp.any(weights > 0, axis=0)[:, None], y, 0.0)


def _slack(y: Array, weights: Array) -> float:
    """What rounding can do to a sum over n, m and d_v, relative to its absolute terms."""
    return 4.0 * (sum(weights.shape) + y.shape[1]) * float(jnp.finfo(y.dtype).eps)


def _generic(size: int, dtype: jnp.dtype) -> Array:
    """A vector that is orthogonal to nothing in particular, the same at every call."""
    return 1.0 + 0.5 * jnp.sin(1.7 * jnp.arange(1, size + 1, dtype=dtype))


def gram_product(y: Array, weights: Array) -> Callable[[Array], Array]:
    """The map c → G c = rowsum((Aᵀ (A (c ⊙ y))) ⊙ y)."""

    def product(c: Array) -> Array:
        return jnp.sum(_matmul(weights.T, _matmul(weights, c[:, None] * y)) * y, axis=1)

    return product


def _normalize_rows(v: Array) -> Array:
    norms = jnp.linalg.norm(v, axis=-1, keepdims=True)
    return v / jnp.where(norms == 0, 1.0, norms)


def _power_iteration(product: Callable[[Array], Array], start: Array, num_iterations: int) -> Array:
    """Unit rows v after v ← M v / ‖M v‖."""

    def step(v: Array, _: None) -> tuple[Array, None]:
        return _normalize_rows(product(v)), None

    return jax.lax.scan(step, _normalize_rows(start), length=num_iterations)[0]


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
