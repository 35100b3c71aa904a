"""The arithmetic of one tile: products and attention weights, in either orientation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from hopfield_attn.typing import Array, Float

_MAX_UNROLLED = 8


def dot(a: Float[Array, "r c"], b: Float[Array, "c d"]) -> Float[Array, "r d"]:
    """A b, accumulated in float32 at least."""
    return _product(a, b, 0)


def dot_t(a: Float[Array, "r d"], b: Float[Array, "c d"]) -> Float[Array, "r c"]:
    """A bᵀ, accumulated in float32 at least."""
    return _product(a, b, 1)


def _product(a: Array, b: Array, contracted: int) -> Array:
    dtype = jnp.promote_types(jnp.promote_types(a.dtype, b.dtype), jnp.float32)
    if a.dtype != b.dtype:
        a, b = a.astype(dtype), b.astype(dtype)
    # Products of two bfloat16 are exact in float32; float32 needs the slow passes to be float32.
    precision = jax.lax.Precision.HIGHEST if a.dtype == dtype else None
    return jax.lax.dot_general(
        a, b, (((1,), (contracted,)), ((), ())), precision=precision, preferred_element_type=dtype
    )


def logits(
    a: Float[Array, "r d"], b: Float[Array, "c d"], allowed: Float[Array, "..."]
) -> Float[Array, "r c"]:
    """A bᵀ where allowed (> 0), else −∞."""
    scores = dot_t(a, b)
    return jnp.where(jnp.broadcast_to(allowed, scores.shape) > 0, scores, -jnp.inf)


def weights(
    a: Float[Array, "r d"],
    b: Float[Array, "c d"],
    lse: Float[Array, "..."],
    allowed: Float[Array, "..."],
) -> Float[Array, "r c"]:
    """A tile of attention weights A_ij = exp(⟨q_i, k_j⟩ − lse_i), or of Aᵀ.

    Args:
      a: scaled queries for A, keys for Aᵀ.
      b: keys for A, scaled queries for Aᵀ.
      lse: (r, 1) for A, (1, c) for Aᵀ; +∞ makes the row of A zero.
      allowed: broadcasts to the tile; 0 where the pair is masked.
    """
    return jnp.exp(logits(a, b, allowed) - lse)


def causal_rows(
    allowed: Float[Array, "1 c"], num_rows: int, first_query: Any, first_key: Any
) -> Float[Array, "r c"]:
    """``allowed`` of a tile of A, with 0 where the key comes after the query."""
    queries, keys = _indices((num_rows, allowed.shape[1]), first_query, first_key)
    return jnp.where(queries >= keys, jnp.broadcast_to(allowed, queries.shape), 0.0)


def causal_columns(
    allowed: Float[Array, "r 1"], num_columns: int, first_key: Any, first_query: Any
) -> Float[Array, "r c"]:
    """``allowed`` of a tile of Aᵀ, with 0 where the key comes after the query."""
    keys, queries = _indices((allowed.shape[0], num_columns), first_key, first_query)
    return jnp.where(queries >= keys, jnp.broadcast_to(allowed, queries.shape), 0.0)


def _indices(shape: tuple[int, int], first: Any, first_column: Any) -> tuple[Array, Array]:
    rows = jax.lax.broadcasted_iota(jnp.int32, shape, 0) + first
    return rows, jax.lax.broadcasted_iota(jnp.int32, shape, 1) + first_column


def accumulate(count: int, add: Callable[[Any, Any], Any], start: Any, *, is_unrolled: bool) -> Any:
    """Add(K−1, … add(0, start)): unrolled if K is small as well, else a loop.

    Unrolled products overlap on TPU; in Triton each would take shared memory of its own.
    """
    if not is_unrolled or count > _MAX_UNROLLED:
        return jax.lax.fori_loop(jnp.int32(0), jnp.int32(count), add, start)
    for k in range(count):
        start = add(k, start)
    return start


def row_sum(tile: Float[Array, "r c"]) -> Float[Array, "r 1"]:
    """Sums along a row, kept as a column."""
    return jnp.sum(tile, axis=1, keepdims=True)
