"""The attention energy of one head of one example (M1), with three couplings (M2a–c).

This file is the truth of the library: ``jax.grad`` of :func:`attention_energy` is the update rule,
and every faster implementation is tested against it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from hopfield_attn.checks import (
    check_at_least,
    check_choice,
    check_floating,
    check_rank,
    check_shape,
    check_single,
)
from hopfield_attn.energies.nonlinearities import Nonlinearity, as_nonlinearity
from hopfield_attn.typing import Array, Scalar, ScalarLike, State, Values, Weights


class EnergyTerms(NamedTuple):
    """The terms of the attention energy; their sum is E (M1).

    Attributes:
      interaction: −Φ_F(x, y).
      norm: ½‖x‖².
      tie: (λ/2)‖x − A y‖².
    """

    interaction: Scalar
    norm: Scalar
    tie: Scalar


def attention_energy(
    x: State,
    y: Values,
    weights: Weights,
    *,
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    coupling: str,
    lam: ScalarLike,
    gain: ScalarLike | None = None,
) -> Scalar:
    """Energy of a non-linear attention head, whose stationary point is the head's output.

    E(x, y) = −Φ_F(x, y) + ½‖x‖² + (λ/2)‖x − A y‖²  (M1), with the interaction

    ============  ==========================================================  ======
    coupling      Φ_F
    ============  ==========================================================  ======
    pooled        Σ_j F(s u_j)/s,  u_j = Σ_i A_ij ⟨x_i, y_j⟩                  (M2a)
    pairwise      Σ_ij A_ij F(s ⟨x_i, y_j⟩)/s                                 (M2b)
    elementwise   Σ_i ⟨F(s x_i)/s, (A y)_i⟩                                   (M2c)
    ============  ==========================================================  ======

    With F(u) = u all three are tr(xᵀ A y), ∇_x E = (1+λ)(x − A y) (M3), and the one stationary
    point is Vaswani attention, x = A y.

    A pair with weight exactly 0 is masked: it adds nothing, whatever F does there.

    Args:
      x: state, one row a query, shape (n, d_v).
      y: values: the stored rows, shape (m, d_v).
      weights: attention weights A, shape (n, m): the rows of a softmax, zero where masked.
      nonlinearity: F, from :mod:`hopfield_attn.nonlinearities` or any scalar function.
      coupling: where F sits: "pooled" (the paper's), "pairwise" or "elementwise".
      lam: λ ≥ 0, how strongly the state is tied to A y.
      gain: s > 0, the scale of u; ``None`` is 1/d_v, because u sums over d_v features. 1 is the
        paper's form.

    Returns:
      E in nats/β, a scalar; float32 at least: bfloat16 and float16 inputs are accumulated there.

    Raises:
      TypeError: if an array is not floating-point or F is not a function.
      ValueError: for shapes that do not fit, an unknown coupling, λ < 0 or gain ≤ 0.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from hopfield_attn import nonlinearities
      >>> A, y = jnp.array([[0.25, 0.75], [0.5, 0.5]]), jnp.eye(2)
      >>> E = lambda x: attention_energy(
      ...     x, y, A, nonlinearity=nonlinearities.identity(), coupling="pooled", lam=0.0)
      >>> jax.grad(E)(jnp.zeros((2, 2)))  # x − A y: one unit step of descent is attention
      Array([[-0.25, -0.75],
             [-0.5 , -0.5 ]], dtype=float32)

    Reference:
      A. Farooq, *A Framework for Non-Linear Attention via Modern Hopfield Networks*,
      arXiv:2506.11043, for the pooled energy; the gain and the other couplings are this library's.
    """
    terms = attention_energy_terms(
        x, y, weights, nonlinearity=nonlinearity, coupling=coupling, lam=lam, gain=gain
    )
    return terms.interaction + terms.norm + terms.tie


def attention_energy_terms(
    x: State,
    y: Values,
    weights: Weights,
    *,
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    coupling: str,
    lam: ScalarLike,
    gain: ScalarLike | None = None,
) -> EnergyTerms:
    """The three terms of :func:`attention_energy`, with the same arguments and errors.

    Example:
      >>> from hopfield_attn import nonlinearities
      >>> terms = attention_energy_terms(
      ...     jnp.ones((1, 2)), jnp.ones((1, 2)), jnp.ones((1, 1)),
      ...     nonlinearity=nonlinearities.identity(), coupling="pairwise", lam=1.0)
      >>> [float(term) for term in terms]
      [-2.0, 1.0, 0.0]
    """
    check_head(y, weights, coupling=coupling, lam=lam, gain=gain, x=x)
    dtype = jnp.promote_types(jnp.result_type(x, y, weights), jnp.float32)
    x, y, weights = (array.astype(dtype) for array in (x, y, weights))
    s = default_gain(y.shape[-1]) if gain is None else gain
    attended = weights @ y
    return EnergyTerms(
        interaction=-COUPLINGS[coupling](as_nonlinearity(nonlinearity), s, x, y, weights, attended),
        norm=0.5 * jnp.sum(x * x),
        tie=0.5 * lam * jnp.sum(jnp.square(x - attended)),
    )


def default_gain(width: int) -> float:
    """The default scale of u, s = 1/d_v: the sum over features becomes their mean."""
    return 1.0 / width


def _pooled(F: Nonlinearity, s: ScalarLike, x: Array, y: Array, weights: Array, _: Array) -> Array:
    """Φ = Σ_j F(s u_j)/s (M2a)."""
    # Column sums of A ⊙ (x yᵀ): the product with Aᵀ, which is slow on CPU, never appears.
    u = jnp.sum(weights * (x @ y.T), axis=0)
    return jnp.sum(F(s * u) / s)


def _pairwise(
    F: Nonlinearity, s: ScalarLike, x: Array, y: Array, weights: Array, _: Array
) -> Array:
    """Φ = Σ_ij A_ij F(s ⟨x_i, y_j⟩)/s (M2b)."""
    # A masked pair must not bring in F = inf: 0 · inf is NaN.
    u = jnp.where(weights == 0, 0.0, x @ y.T)
    return jnp.sum(weights * F(s * u) / s)


def _elementwise(
    F: Nonlinearity, s: ScalarLike, x: Array, y: Array, weights: Array, attended: Array
) -> Array:
    """Φ = Σ_i ⟨F(s x_i)/s, (A y)_i⟩ (M2c)."""
    return jnp.sum(F(s * x) / s * attended)


COUPLINGS: dict[str, Callable[..., Array]] = {
    "pooled": _pooled,
    "pairwise": _pairwise,
    "elementwise": _elementwise,
}
"""Coupling name → Φ(F, s, x, y, A, A y)."""


def check_head(y: Any, weights: Any, *, coupling: str, lam: Any, gain: Any, x: Any = None) -> None:
    """Raises unless values, weights and (where given) the state are those of one head."""
    check_choice("coupling", coupling, COUPLINGS)
    check_floating(y=y, weights=weights)
    check_rank(2, "m, d_v", y=y)
    m, width = jnp.shape(y)
    if x is None:
        check_rank(2, "n, m", weights=weights)
        n = jnp.shape(weights)[0]
    else:
        check_floating(x=x)
        check_rank(2, "n, d_v", x=x)
        n, x_width = jnp.shape(x)
        if x_width != width:
            raise ValueError(f"x and y must have the same width d_v; got {x_width} and {width}")
    check_shape("weights", weights, (n, m), "n, m")
    check_single(lam=lam, gain=gain)
    check_at_least(0, lam=lam)
    check_at_least(0, exclusive=True, gain=gain)
