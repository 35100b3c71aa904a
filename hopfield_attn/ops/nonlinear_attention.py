"""One door to non-linear attention, shaped like ``jax.nn.dot_product_attention``."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from einops import rearrange

from hopfield_attn.checks import (
    check_at_least,
    check_choice,
    check_count,
    check_floating,
    check_rank,
    check_shape,
)
from hopfield_attn.energies.attention import COUPLINGS
from hopfield_attn.energies.nonlinearities import Nonlinearity, as_nonlinearity
from hopfield_attn.ops.autodiff import autodiff_descent
from hopfield_attn.ops.weights import attention_weights, drop_weights
from hopfield_attn.solvers.descent import Descent
from hopfield_attn.typing import (
    Array,
    BatchedKey,
    BatchedOutput,
    BatchedQuery,
    BatchedValue,
    KeyMask,
    QueryMask,
    ScalarLike,
)

IMPLEMENTATIONS: dict[str, Callable[..., Descent]] = {"autodiff": autodiff_descent}
"""Implementation name → the function that solves a batch of heads."""


def nonlinear_attention(
    query: BatchedQuery,
    key: BatchedKey,
    value: BatchedValue,
    *,
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    coupling: str = "pooled",
    lam: ScalarLike,
    num_steps: int,
    step_size: ScalarLike | None = None,
    gain: ScalarLike | None = None,
    query_mask: QueryMask | None = None,
    key_mask: KeyMask | None = None,
    is_causal: bool = False,
    dropout_rate: float = 0.0,
    dropout_key: Array | None = None,
    implementation: str | None = None,
) -> BatchedOutput:
    """Non-linear attention: T gradient steps on the attention energy, from x₀ = A y.

    x ← x − η ∇_x E(x, y),  E(x, y) = −Φ_F(x, y) + ½‖x‖² + (λ/2)‖x − A y‖²  (M1),
    A = softmax(q kᵀ/√d_k + mask), y = value. With F(u) = u it is Vaswani attention for every T.

    Args:
      query: (b, n, h, d_k).
      key: (b, m, h, d_k); m may differ from n (cross-attention).
      value: (b, m, h, d_v).
      nonlinearity: F: a family of :mod:`hopfield_attn.nonlinearities` with α a scalar or one number
        a head, shape (h,), or any scalar JAX function.
      coupling: where F sits: "pooled" (u_j = Σ_i A_ij ⟨x_i, y_j⟩, the paper's), "pairwise" or
        "elementwise"; see :func:`hopfield_attn.attention_energy`.
      lam: λ ≥ 0, how strongly the output is tied to plain attention.
      num_steps: T ≥ 0; 0 is plain attention for every F.
      step_size: η > 0; ``None`` is 1/(1+λ), with which one step of an identity head lands on A y
        from any start.
      gain: s > 0, the scale of u; ``None`` is 1/d_v.
      query_mask: (b, n) bool, True for real tokens. A masked query gives zero output and takes no
        part in the pooled sums.
      key_mask: (b, m) bool, True for real tokens.
      is_causal: query i sees keys 0, …, i. Not with the pooled coupling.
      dropout_rate: attention dropout, drawn once before iterating; needs ``dropout_key``.
      dropout_key: PRNG key of the dropout.
      implementation: "autodiff" (``jax.grad`` of the energy in a scan); ``None`` picks.

    Returns:
      (b, n, h, d_v) in the dtype of ``query``; bfloat16 and float16 are computed in float32.

    Raises:
      TypeError: for arrays that are not floating-point, masks that are not boolean, counts that
        are not ints.
      ValueError: for shapes that do not fit, unknown names, numbers out of range, and for the
        pooled coupling with ``is_causal``.

    Example:
      >>> import jax
      >>> from hopfield_attn import nonlinearities
      >>> q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 16, 4, 8))
      >>> nonlinear_attention(
      ...     q, k, v, nonlinearity=nonlinearities.quadratic(0.3), lam=1.0, num_steps=3).shape
      (2, 16, 4, 8)

    Reference:
      A. Farooq, arXiv:2506.11043.
    """
    descent = attention_descent(
        query,
        key,
        value,
        nonlinearity=nonlinearity,
        coupling=coupling,
        lam=lam,
        num_steps=num_steps,
        step_size=step_size,
        gain=gain,
        query_mask=query_mask,
        key_mask=key_mask,
        is_causal=is_causal,
        dropout_rate=dropout_rate,
        dropout_key=dropout_key,
        implementation=implementation,
    )
    return rearrange(descent.x, "b h n d -> b n h d").astype(query.dtype)


def attention_descent(
    query: BatchedQuery,
    key: BatchedKey,
    value: BatchedValue,
    *,
    nonlinearity: Nonlinearity | Callable[[Any], Array],
    coupling: str = "pooled",
    lam: ScalarLike,
    num_steps: int,
    step_size: ScalarLike | None = None,
    gain: ScalarLike | None = None,
    query_mask: QueryMask | None = None,
    key_mask: KeyMask | None = None,
    is_causal: bool = False,
    dropout_rate: float = 0.0,
    dropout_key: Array | None = None,
    implementation: str | None = None,
) -> Descent:
    """:func:`nonlinear_attention` with its whole trajectory: energies, residuals, status.

    Arguments and errors are those of :func:`nonlinear_attention`.

    Returns:
      A :class:`hopfield_attn.Descent` whose fields have leading axes (b, h): ``x`` is
      (b, h, n, d_v) in float32 at least, ``energies`` and ``grad_norms`` are (b, h, T+1) and
      ``status`` is (b, h).

    Example:
      >>> import jax
      >>> from hopfield_attn import nonlinearities
      >>> q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 16, 4, 8))
      >>> attention_descent(
      ...     q, k, v, nonlinearity=nonlinearities.log_cosh(0.5), lam=1.0, num_steps=3
      ... ).energies.shape
      (2, 4, 4)
    """
    _check_arrays(query, key, value, query_mask, key_mask)
    nonlinearity = as_nonlinearity(nonlinearity)
    _check_options(nonlinearity, query.shape[2], coupling, lam, num_steps, step_size, gain)
    _check_causal(coupling, is_causal)
    check_choice("implementation", implementation or "autodiff", IMPLEMENTATIONS)
    weights = attention_weights(
        query, key, query_mask=query_mask, key_mask=key_mask, is_causal=is_causal
    )
    if dropout_rate:
        _check_dropout(dropout_rate, dropout_key)
        weights = drop_weights(weights, rate=dropout_rate, key=dropout_key)
    if key_mask is not None:
        # A padded row may hold anything: F of a large number there would make 0 · inf.
        value = jnp.where(key_mask[:, :, None, None], value, 0)
    return IMPLEMENTATIONS[implementation or "autodiff"](
        weights,
        rearrange(value, "b m h d -> b h m d").astype(weights.dtype),
        nonlinearity=nonlinearity,
        coupling=coupling,
        lam=lam,
        num_steps=num_steps,
        step_size=default_step_size(lam) if step_size is None else step_size,
        gain=gain,
    )


def default_step_size(lam: ScalarLike) -> ScalarLike:
    """η = 1/(1+λ): one step of an identity head lands on A y from any start (M3).

    Example:
      >>> default_step_size(1.0)
      0.5
    """
    return 1.0 / (1.0 + lam)


def _check_arrays(query: Any, key: Any, value: Any, query_mask: Any, key_mask: Any) -> None:
    check_floating(query=query, key=key, value=value)
    check_rank(4, "batch, length, heads, width", query=query, key=key, value=value)
    b, n, h, width = query.shape
    m = key.shape[1]
    check_shape("key", key, (b, m, h, width), "batch, key length, heads, width as in query")
    check_shape("value", value, (b, m, h, value.shape[-1]), "batch, heads and length as in key")
    for name, mask, length in (("query_mask", query_mask, n), ("key_mask", key_mask, m)):
        if mask is None:
            continue
        if jnp.result_type(mask) != jnp.bool_:
            raise TypeError(f"{name} must be boolean (True: real token); got {mask.dtype}")
        check_shape(name, mask, (b, length), "batch, length")


def _check_options(
    nonlinearity: Nonlinearity,
    num_heads: int,
    coupling: str,
    lam: Any,
    num_steps: int,
    step_size: Any,
    gain: Any,
) -> None:
    check_choice("coupling", coupling, COUPLINGS)
    check_count(0, num_steps=num_steps)
    check_at_least(0, lam=lam)
    check_at_least(0, exclusive=True, step_size=step_size, gain=gain)
    shape = jnp.shape(nonlinearity.alpha) if nonlinearity.alpha is not None else ()
    if shape not in ((), (num_heads,)):
        raise ValueError(
            f"alpha must be a scalar or have one entry a head, shape ({num_heads},); got {shape}"
        )


def _check_causal(coupling: str, is_causal: bool) -> None:
    if is_causal and coupling == "pooled":
        raise ValueError(
            "the pooled coupling cannot be causal: u_j = Σ_i A_ij ⟨x_i, y_j⟩ sums over later "
            "queries, so they would reach earlier tokens; use coupling='pairwise', which is causal "
            "whenever A is"
        )


def _check_dropout(rate: float, key: Any) -> None:
    if not 0 <= rate < 1:
        raise ValueError(f"dropout_rate must be in [0, 1); got {rate}")
    if key is None:
        raise ValueError(f"dropout_rate={rate} needs a PRNG key: dropout_key=jax.random.key(seed)")
