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
    dtype = jnp.promote_types(jnp.result_type(query, key), jnp.float32)
    # Scaling q costs n·d, scaling the scores n·m.
    scaled = query.astype(dtype) * query.shape[-1] ** -0.5
    logits = jnp.einsum("bnhd,bmhd->bhnm", scaled, key.astype(dtype))
    mask = _combine_masks(logits.shape, query_mask, key_mask, is_causal)
    return jax.nn.softmax(logits, axis=-1, where=mask)


def drop_weights(weights: BatchedWeights, *, rate: float, key: Any) -> BatchedWeights:
    """Inverted dropout of attention weights: each is zeroed with probability ``rate``.

    Called once, before iterating: all steps then descend the same energy.

    Args:
      weights: (b, h, n, m).
      rate: probability in [0, 1).
      key: a PRNG key, ``jax.random.key``.
    """
    keep = jax.random.bernoulli(key, 1.0 - rate, weights.shape)
    return jnp.where(keep, weights / (1.0 - rate), 0.0)


def _combine_masks(
    shape: tuple[int, ...], query_mask: Array | None, key_mask: Array | None, is_causal: bool
) -> Bool[Array, "b h n m"] | None:
    """One mask that broadcasts to (b, h, n, m), or ``None`` when nothing is masked."""
    masks = []
    if query_mask is not None:
        masks.append(query_mask[:, None, :, None])
    if key_mask is not None:
        masks.append(key_mask[:, None, None, :])
    if is_causal:
        masks.append(jnp.tril(jnp.ones(shape[-2:], bool))[None, None])
    if not masks:
        return None
    combined = masks[0]
    for mask in masks[1:]:
        combined = combined & mask
    return jnp.broadcast_to(combined, shape)
