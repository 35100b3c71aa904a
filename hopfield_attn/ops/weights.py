"""Attention weights A of a batch of heads, with masks, and attention dropout."""

from typing import Any

import jax
import jax.numpy as jnp

from hopfield_attn.typing import (
    Array,
    BatchedKey,
    BatchedQuery,
    BatchedWeights,
    Bool,
    Float,
    Int,
    KeyMask,
    QueryMask,
)


def attention_weights(
    query: BatchedQuery,
    key: BatchedKey,
    *,
    query_mask: QueryMask | None = None,
    key_mask: KeyMask | None = None,
    is_causal: bool = False,
) -> BatchedWeights:
    """A = softmax(q kᵀ / √d_k) row by row, zero wherever a query or a key is masked.

    Masked logits never enter the softmax, so a row without any key left is zero (not uniform, not
    NaN) and has zero gradient. The row of a masked query is zero as well: the pooled coupling sums
    over queries, and padding would leak into real tokens.

    Args:
      query: (b, n, h, d_k).
      key: (b, m, h, d_k).
      query_mask: (b, n), True where the query is a real token; ``None``: all are.
      key_mask: (b, m), True where the key is a real token; ``None``: all are.
      is_causal: query i sees keys 0, …, i only (counted from the start, as in ``jax.nn``).

    Returns:
      Weights of shape (b, h, n, m), float32 at least.

    Example:
      >>> q = k = jnp.zeros((1, 2, 1, 4))
      >>> attention_weights(q, k, is_causal=True)[0, 0]
      Array([[1. , 0. ],
             [0.5, 0.5]], dtype=float32)
    """
    query, key = scaled_query_and_key(query, key, query_mask, key_mask)

    def one(query: Array, key: Array, query_mask: Array | None, key_mask: Array | None) -> Array:
        masks = {"query_mask": query_mask, "key_mask": key_mask}
        return head_weights(query, key, **masks, is_causal=is_causal)

    over_heads = jax.vmap(one, in_axes=(1, 1, None, None))
    return jax.vmap(over_heads)(query, key, query_mask, key_mask)


def head_weights(
    query: Float[Array, "n dk"],
    key: Float[Array, "m dk"],
    *,
    query_mask: Bool[Array, "n"] | None,
    key_mask: Bool[Array, "m"] | None,
    is_causal: bool,
) -> Float[Array, "n m"]:
    """A of one head, softmax(q kᵀ); arguments as of :func:`attention_weights`, q already scaled."""
    logits = query @ key.T
    mask = allowed_pairs(
        jnp.arange(query.shape[0]), query_mask, key_mask, is_causal=is_causal, num_keys=len(key)
    )
    return jax.nn.softmax(logits, axis=-1, where=mask)


def scaled_query_and_key(
    query: BatchedQuery, key: BatchedKey, query_mask: QueryMask | None, key_mask: KeyMask | None
) -> tuple[BatchedQuery, BatchedKey]:
    """q/√d_k and k, float32 at least, zero in masked rows; arguments as of the weights."""
    dtype = jnp.promote_types(jnp.result_type(query, key), jnp.float32)
    # Scaling q costs n·d, scaling the scores n·m.
    query = query.astype(dtype) * query.shape[-1] ** -0.5
    return zero_masked(query, query_mask), zero_masked(key.astype(dtype), key_mask)


def zero_masked(
    array: Float[Array, "b n h d"], mask: Bool[Array, "b n"] | None
) -> Float[Array, "b n h d"]:
    """Zeros in masked rows: a padded row may hold anything, and 0 · inf is not 0, nor 0 · NaN.

    Args:
      array: queries, keys, values or outputs, (b, n, h, d).
      mask: (b, n), True for real tokens; ``None``: all are.
    """
    return array if mask is None else jnp.where(mask[:, :, None, None], array, 0)


def check_dropout_rate(rate: float) -> None:
    """Raises ``ValueError`` unless ``rate`` is a probability below 1."""
    if not 0 <= rate < 1:
        raise ValueError(f"dropout_rate must be in [0, 1); got {rate}")


def draw_kept(shape: tuple[int, ...], *, rate: float, key: Any) -> Bool[Array, "b h n m"]:
    """Which weights attention dropout keeps: each is dropped with probability ``rate``.

    Drawn once, before iterating: all steps then descend the same energy.

    Args:
      shape: (b, h, n, m).
      rate: probability in [0, 1).
      key: a PRNG key, ``jax.random.key``.

    Raises:
      ValueError: for a rate out of range, and without a key.
    """
    check_dropout_rate(rate)
    if key is None:
        raise ValueError(f"dropout_rate={rate} needs a PRNG key: dropout_key=jax.random.key(seed)")
    return jax.random.bernoulli(key, 1.0 - rate, shape)


def drop_weights(
    weights: Float[Array, "... n m"], keep: Bool[Array, "... n m"], *, rate: float
) -> Float[Array, "... n m"]:
    """Inverted dropout of attention weights.

    Args:
      weights: A.
      keep: from :func:`draw_kept`.
      rate: with which it was drawn.
    """
    return jnp.where(keep, weights / (1.0 - rate), 0.0)


def allowed_pairs(
    rows: Int[Array, "n"],
    query_mask: Bool[Array, "n"] | None,
    key_mask: Bool[Array, "m"] | None,
    *,
    is_causal: bool,
    num_keys: int,
) -> Bool[Array, "n m"] | None:
    """Which keys each query sees, or ``None`` when all see all.

    Args:
      rows: positions of the queries in their sequence.
      query_mask: True for real queries.
      key_mask: True for real keys.
      is_causal: query i sees keys 0, …, i.
      num_keys: m.
    """
    masks = []
    if query_mask is not None:
        masks.append(query_mask[:, None])
    if key_mask is not None:
        masks.append(key_mask[None, :])
    if is_causal:
        masks.append(jnp.arange(num_keys)[None, :] <= rows[:, None])
    if not masks:
        return None
    combined = masks[0]
    for mask in masks[1:]:
        combined = combined & mask
    return jnp.broadcast_to(combined, (rows.shape[0], num_keys))
