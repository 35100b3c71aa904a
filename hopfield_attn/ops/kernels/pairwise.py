"""Kernels of the pairwise coupling: one step p_i = Σ_j A_ij F'(s ⟨x_i, y_j⟩) y_j and its pull-back.

Conventions are those of :mod:`hopfield_attn.ops.kernels.pooled`. F is evaluated inside the kernel,
with one α a head or none. A pair whose weight is exactly 0 is masked: it adds nothing, whatever F
does there.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from hopfield_attn.energies.nonlinearity import Nonlinearity
from hopfield_attn.ops.kernels.operands import Carry, Operand, View, matrix, scalar, vector
from hopfield_attn.ops.kernels.pooled import subtract_mean
from hopfield_attn.ops.kernels.row_lse import (
    HeadState,
    HeadValues,
    KeyMask,
    Keys,
    PerQuery,
    Queries,
    allowed_keys,
    has_earlier_key,
)
from hopfield_attn.ops.kernels.slopes import bend, check_kernel_nonlinearity, slope, slope_by_alpha
from hopfield_attn.ops.kernels.sweep import sweep
from hopfield_attn.ops.kernels.tiles import (
    causal_columns,
    causal_rows,
    dot,
    dot_t,
    row_sum,
    weights,
)
from hopfield_attn.typing import Array, Float, ScalarLike


def step(
    query: Queries,
    key: Keys,
    value: HeadValues,
    lse: PerQuery,
    key_mask: KeyMask | None,
    x: HeadState,
    nonlinearity: Nonlinearity,
    gain: ScalarLike,
    *,
    is_causal: bool = False,
    platform: str,
) -> HeadState:
    """What a step of the pairwise coupling adds, p_i = Σ_j A_ij F'(s ⟨x_i, y_j⟩) y_j (M4b).

    Args:
      query: scaled queries, (g, n, d_k).
      key: (g, m, d_k).
      value: y, (g, m, d_v).
      lse: (g, n), from :func:`hopfield_attn.ops.kernels.pooled.row_lse`, causal if this is.
      key_mask: (g, m), True where the key is real; ``None``: all are.
      x: state, (g, n, d_v).
      nonlinearity: F; its α is ``None`` or (g,).
      gain: s > 0.
      is_causal: query i sees keys 0, …, i only.
      platform: where the kernel runs.

    Returns:
      p, (g, n, d_v).

    Raises:
      ValueError: for a spline, a function that closes over arrays, and another shape of α.

    Example:
      >>> from hopfield_attn import nonlinearities
      >>> q = k = jnp.zeros((1, 2, 4))
      >>> step(q, k, jnp.array([[[1.0], [3.0]]]), jnp.full((1, 2), jnp.log(2.0)), None,
      ...      jnp.ones((1, 2, 1)), nonlinearities.square(), 1.0, platform="interpret")
      Array([[[10.],
              [10.]]], dtype=float32)
    """
    check_kernel_nonlinearity(nonlinearity, query.shape[0])
    F, parameters = _parameters(nonlinearity, gain, query)

    def tile(carries: Any, fixed: Any, swept: Any, *at: Any) -> Any:
        a = _row_weights(fixed, swept, *at, is_causal=is_causal)
        values = swept[2]()
        u, alpha = _scaled(dot_t(fixed[2](), values), a, fixed[3:])
        return [carries[0] + dot(a * slope(F, u, alpha), values)]

    (p,) = sweep(
        tile,
        fixed=[matrix(query), vector(lse, jnp.inf), matrix(x), *parameters],
        swept=[matrix(key), allowed_keys(key, key_mask), matrix(value)],
        carries=[Carry(value.shape[-1])],
        outputs=[value.shape[-1]],
        is_needed=has_earlier_key if is_causal else None,
        platform=platform,
        name="pairwise_step",
    )
    return p


def step_pull_back(
    query: Queries,
    key: Keys,
    value: HeadValues,
    lse: PerQuery,
    key_mask: KeyMask | None,
    x: HeadState,
    nonlinearity: Nonlinearity,
    gain: ScalarLike,
    p_bar: HeadState,
    *,
    is_causal: bool = False,
    platform: str,
) -> tuple[HeadState, Queries, Keys, HeadValues, Float[Array, " g"] | None]:
    """Cotangents of :func:`step`, with lse a function of q and k.

    With u_ij = s ⟨x_i, y_j⟩, v_ij = ⟨p̄_i, y_j⟩, Ā = v ⊙ F'(u), δ_i = Σ_j A_ij Ā_ij,
    S = A ⊙ (Ā − δ) and W = s A ⊙ v ⊙ F''(u):

        dx = W y,   dq = S k,   dk = Sᵀ q,   dy = (A ⊙ F'(u))ᵀ p̄ + Wᵀ x,
        dα = Σ_ij A_ij v_ij ∂F'(u_ij)/∂α.

    Args:
      query: scaled queries, (g, n, d_k).
      key: (g, m, d_k).
      value: y, (g, m, d_v).
      lse: (g, n), from :func:`hopfield_attn.ops.kernels.pooled.row_lse`, causal if this is.
      key_mask: (g, m), True where the key is real; ``None``: all are.
      x: state, (g, n, d_v).
      nonlinearity: F; its α is ``None`` or (g,).
      gain: s > 0.
      p_bar: cotangent of p, (g, n, d_v).
      is_causal: query i sees keys 0, …, i only.
      platform: where the kernels run: one for dx, dq and dα, one for dk and dy.

    Returns:
      (dx, dq, dk, dy, dα): dq is with respect to the scaled queries; dα is (g,), ``None`` where F
      has no α.

    Raises:
      ValueError: for a spline, a function that closes over arrays, and another shape of α.

    Reference:
      δ as in FlashAttention-2, Dao, arXiv:2307.08691.
    """
    check_kernel_nonlinearity(nonlinearity, query.shape[0])
    F, parameters = _parameters(nonlinearity, gain, query)
    has_alpha = nonlinearity.alpha is not None
    allowed = allowed_keys(key, key_mask)
    queries = [matrix(query), vector(lse, jnp.inf), matrix(x)]
    dq, delta, dx, *d_alpha = sweep(
        _query_tile(F, is_causal=is_causal),
        fixed=[*queries, matrix(p_bar), *parameters],
        swept=[matrix(key), allowed, matrix(value)],
        carries=[
            *(Carry(width) for width in (key.shape[-1], key.shape[-1], 1, value.shape[-1])),
            *([Carry(1)] if has_alpha else []),
        ],
        outputs=[key.shape[-1], None, value.shape[-1], *([None] if has_alpha else [])],
        finish=subtract_mean,
        is_needed=has_earlier_key if is_causal else None,
        platform=platform,
        name="pairwise_pull_back_query",
    )
    dk, dy = sweep(
        _key_tile(F, is_causal=is_causal),
        fixed=[matrix(key), allowed, matrix(value), *parameters],
        swept=[*queries, matrix(p_bar), vector(delta)],
        carries=[Carry(key.shape[-1]), Carry(value.shape[-1])],
        outputs=[key.shape[-1], value.shape[-1]],
        is_needed=_has_later_query if is_causal else None,
        platform=platform,
        name="pairwise_pull_back_key",
    )
    return dx, dq, dk, dy, jnp.sum(d_alpha[0], axis=1) if has_alpha else None


def _query_tile(F: Nonlinearity, *, is_causal: bool) -> Callable[..., Any]:
    """Adds a tile to A ⊙ Ā times k, A k, δ, dx and the rows of dα."""

    def tile(carries: Any, fixed: Any, swept: Any, *at: Any) -> Any:
        pulled, attended, delta, dx, *d_alpha = carries
        a = _row_weights(fixed, swept, *at, is_causal=is_causal)
        keys, values = swept[0](), swept[2]()
        u, alpha = _scaled(dot_t(fixed[2](), values), a, fixed[4:])
        a_v = a * dot_t(fixed[3](), values)
        a_bar = a_v * slope(F, u, alpha)
        sums = [
            pulled + dot(a_bar, keys),
            attended + dot(a, keys),
            delta + row_sum(a_bar),
            dx + dot(a_v * bend(F, u, alpha) * fixed[4](), values),
        ]
        if alpha is not None:
            sums.append(d_alpha[0] + row_sum(a_v * slope_by_alpha(F, u, alpha)))
        return sums

    return tile


def _key_tile(F: Nonlinearity, *, is_causal: bool) -> Callable[..., Any]:
    """Adds a tile, transposed, to dk and dy."""

    def tile(carries: Any, fixed: Any, swept: Any, first: Any, first_query: Any) -> Any:
        queries, x, p_bar = swept[0](), swept[2](), swept[3]()
        values, allowed = fixed[2](), fixed[1].column()
        if is_causal:
            allowed = causal_columns(allowed, queries.shape[0], first, first_query)
        a_t = weights(fixed[0](), queries, swept[1](), allowed)
        u, alpha = _scaled(dot_t(values, x), a_t, fixed[3:])
        v = dot_t(values, p_bar)
        slopes = slope(F, u, alpha)
        curved = a_t * v * bend(F, u, alpha) * fixed[3]()
        return [
            carries[0] + dot(a_t * (v * slopes - swept[4]()), queries),
            carries[1] + dot(a_t * slopes, p_bar) + dot(curved, x),
        ]

    return tile


def _row_weights(
    fixed: Sequence[View], swept: Sequence[View], first: Any, first_key: Any, *, is_causal: bool
) -> Array:
    """A tile of A; fixed holds queries and lse, swept holds keys and their mask."""
    queries, allowed = fixed[0](), swept[1]()
    if is_causal:
        allowed = causal_rows(allowed, queries.shape[0], first, first_key)
    return weights(queries, swept[0](), fixed[1].column(), allowed)


def _parameters(
    nonlinearity: Nonlinearity, gain: ScalarLike, query: Queries
) -> tuple[Nonlinearity, list[Operand]]:
    """F without its parameters, for the kernel to close over, and [s, α] as operands."""
    dtype = jnp.promote_types(query.dtype, jnp.float32)
    operands = [scalar(jnp.full(query.shape[:1], gain, dtype))]
    if nonlinearity.alpha is not None:
        operands.append(scalar(nonlinearity.alpha.astype(dtype)))
    return dataclasses.replace(nonlinearity, alpha=None), operands


def _scaled(inner: Array, a: Array, parameters: Sequence[View]) -> tuple[Array, Array | None]:
    """(s ⟨x_i, y_j⟩ with 0 at masked pairs, α): a masked pair must not bring in F' = inf."""
    alpha = parameters[1]() if len(parameters) > 1 else None
    return jnp.where(a == 0, 0.0, inner * parameters[0]()), alpha


def _has_later_query(first_key: Any, _: Any, __: Any, last_query: Any) -> Any:
    """Whether a causal tile of Aᵀ has an entry."""
    return last_query >= first_key
