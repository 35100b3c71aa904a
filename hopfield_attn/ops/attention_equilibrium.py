"""Non-linear attention run to its stationary point: T = ∞."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hopfield_attn.checks import check_at_least, check_choice, check_count
from hopfield_attn.energies.attention import default_gain
from hopfield_attn.energies.nonlinearities import FORMULAS, Nonlinearity, as_nonlinearity
from hopfield_attn.ops.arguments import check_arrays, check_options, weights_and_values
from hopfield_attn.ops.heads import Head, make_head, over_heads
from hopfield_attn.ops.primal import column_pool
from hopfield_attn.solvers.conjugate_gradients import conjugate_gradients
from hopfield_attn.solvers.equilibrium import (
    CONVERGED,
    DIVERGED,
    STEP_CAP,
    Equilibrium,
    equilibrium,
)
from hopfield_attn.solvers.norms import residual_norm
from hopfield_attn.solvers.rules import anderson
from hopfield_attn.typing import (
    Array,
    BatchedKey,
    BatchedQuery,
    BatchedValue,
    Float,
    Int,
    KeyMask,
    QueryMask,
    ScalarLike,
)

EXACT_FAMILIES = ("identity", "quadratic")
"""Families whose pooled stationary point is the solution of one linear system (M7)."""


class AttentionEquilibrium(NamedTuple):
    """The stationary points of a batch of heads; every field has leading axes (b, h).

    Attributes:
      x: states, (b, h, n, d_v).
      energy: E(x), (b, h).
      residual: ‖∇E(x)‖, (b, h).
      num_steps: steps each head took, (b, h).
      status: as of :class:`hopfield_attn.Equilibrium`, (b, h).
      lam: λ that was used, (b, h).
      step_size: η that was used, (b, h).
    """

    x: Float[Array, "b h n dv"]
    energy: Float[Array, "b h"]
    residual: Float[Array, "b h"]
    num_steps: Int[Array, "b h"]
    status: Int[Array, "b h"]
    lam: Float[Array, "b h"]
    step_size: Float[Array, "b h"]


def attention_equilibrium(
    query: BatchedQuery,
    key: BatchedKey,
    value: BatchedValue,
    *,
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    coupling: str = "pooled",
    lam: ScalarLike | str,
    step_size: ScalarLike | str | None = None,
    gain: ScalarLike | None = None,
    query_mask: QueryMask | None = None,
    key_mask: KeyMask | None = None,
    is_causal: bool = False,
    tolerance: float = 1e-5,
    max_steps: int = 200,
    gradient_mode: str = "implicit",
    method: str | None = None,
) -> AttentionEquilibrium:
    """The stationary point of the attention energy, for every head of every example.

    Arguments that it shares with :func:`hopfield_attn.nonlinear_attention` are explained there.

    Args:
      query: (b, n, h, d_k).
      key: (b, m, h, d_k).
      value: (b, m, h, d_v).
      nonlinearity: F.
      coupling: "pooled", "pairwise" or "elementwise".
      lam: λ ≥ 0, or "auto".
      step_size: η > 0, "auto", or ``None`` for 1/(1+λ).
      gain: s > 0, or ``None`` for 1/d_v.
      query_mask: (b, n) bool.
      key_mask: (b, m) bool.
      is_causal: query i sees keys 0, …, i.
      tolerance: stop at ‖∇E(x)‖ ≤ tolerance · max(1, ‖x‖).
      max_steps: step cap of every head.
      gradient_mode: "implicit", or "one_step", which "exact" does not have.
      method: "gradient" (descent), "anderson" (accelerated), or "exact": for quadratic F and the
        pooled coupling x = A diag(c) y with ((1+λ) I − α s G) c = (1+λ) 1 (M7), by conjugate
        gradients with matrix-free products. ``None`` is "exact" where it applies and the gradient
        mode is "implicit", else "gradient".

    Returns:
      An :class:`AttentionEquilibrium`. A head that does not converge has that as its status; the
      others are not touched by it.

    Raises:
      TypeError: as :func:`hopfield_attn.nonlinear_attention`.
      ValueError: as :func:`hopfield_attn.nonlinear_attention`, and for "exact" where it does not
        apply.

    Example:
      >>> from hopfield_attn import nonlinearities
      >>> q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 16, 4, 8))
      >>> solution = attention_equilibrium(
      ...     q, k, v, nonlinearity=nonlinearities.quadratic(0.3), lam=1.0)
      >>> solution.x.shape, int(solution.status.max())
      ((2, 4, 16, 8), 0)

    Reference:
      (M7) and the implicit gradient are this library's; the energy is that of A. Farooq,
      arXiv:2506.11043.
    """
    check_arrays(query, key, value, query_mask, key_mask)
    F = as_nonlinearity(nonlinearity)
    check_options(
        F,
        query.shape[2],
        coupling=coupling,
        lam=lam,
        step_size=step_size,
        gain=gain,
        is_causal=is_causal,
    )
    check_count(1, max_steps=max_steps)
    check_at_least(0, exclusive=True, tolerance=tolerance)
    check_choice("gradient_mode", gradient_mode, ("implicit", "one_step"))
    solve_head = METHODS[_choose_method(method, F, coupling, gradient_mode)]
    weights, values = weights_and_values(
        query, key, value, query_mask=query_mask, key_mask=key_mask, is_causal=is_causal
    )

    def solve(weights: Array, value: Array, F: Nonlinearity) -> AttentionEquilibrium:
        head = make_head(
            weights, value, F, coupling=coupling, lam=lam, step_size=step_size, gain=gain
        )
        limits: dict[str, Any] = {"tolerance": tolerance, "max_steps": max_steps}
        if solve_head is _exact:
            found = _exact(head, weights, value, F.alpha, gain, **limits)
        else:
            found = solve_head(head, gradient_mode=gradient_mode, **limits)
        return AttentionEquilibrium(*found, lam=head.lam, step_size=head.step_size)

    return over_heads(solve, weights, values, F)


def _gradient(head: Head, **options: Any) -> Equilibrium:
    return equilibrium(head.energy_fn, head.start, rule=optax.sgd(head.step_size), **options)


def _anderson(head: Head, **options: Any) -> Equilibrium:
    return equilibrium(head.energy_fn, head.start, rule=anderson(head.step_size), **options)


def _exact(
    head: Head,
    weights: Array,
    value: Array,
    alpha: Array | None,
    gain: ScalarLike | None,
    *,
    tolerance: float,
    max_steps: int,
) -> Equilibrium:
    """(M7): c from one symmetric linear system, x = A diag(c) y."""
    strength = jnp.zeros(()) if alpha is None else alpha
    scaled = (strength * (default_gain(value.shape[-1]) if gain is None else gain)).astype(
        weights.dtype
    )

    def product(c: Array) -> Array:
        gram = column_pool(weights, value, weights @ (c[:, None] * value))
        return (1 + head.lam) * c - scaled * gram

    rhs = jnp.full(value.shape[:1], 1.0, weights.dtype) * (1 + head.lam)
    # Tighter than asked for: the residual of c is not that of x.
    goal = max(1e-2 * tolerance, 10 * float(jnp.finfo(weights.dtype).eps))
    c, (num_steps, is_indefinite) = conjugate_gradients(
        product, rhs, tolerance=goal, max_steps=max_steps
    )
    x = weights @ (c[:, None] * value)
    energy, grad = jax.value_and_grad(head.energy_fn)(x)
    residual, size = residual_norm(grad), jnp.linalg.norm(x)
    status = jnp.where(residual <= tolerance * jnp.maximum(1.0, size), CONVERGED, STEP_CAP)
    status = jnp.where(is_indefinite, DIVERGED, status)
    return Equilibrium(x, energy, residual, num_steps, status)


METHODS: dict[str, Callable[..., Equilibrium]] = {
    "gradient": _gradient,
    "anderson": _anderson,
    "exact": _exact,
}
"""Method name → the function that solves one head."""


def _choose_method(method: str | None, F: Nonlinearity, coupling: str, gradient_mode: str) -> str:
    # By the formula: the name of a user's own F may be anything.
    is_exact = coupling == "pooled" and F.fn in {FORMULAS[name].fn for name in EXACT_FAMILIES}
    if method is None:
        return "exact" if is_exact and gradient_mode == "implicit" else "gradient"
    check_choice("method", method, METHODS)
    if method == "exact" and not is_exact:
        raise ValueError(
            "method='exact' solves the pooled coupling of "
            f"{' and '.join(EXACT_FAMILIES)} heads; got coupling={coupling!r} and F {F.name!r}"
        )
    if method == "exact" and gradient_mode != "implicit":
        raise ValueError(
            "method='exact' is differentiated through its linear system, gradient_mode='implicit'; "
            f"got gradient_mode={gradient_mode!r}"
        )
    return method
