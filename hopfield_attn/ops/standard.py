"""Vaswani attention for identity heads: one pass, no iteration."""

import jax.numpy as jnp

from hopfield_attn.ops.weights import attention_weights, drop_weights
from hopfield_attn.typing import (
    Array,
    BatchedKey,
    BatchedOutput,
    BatchedQuery,
    BatchedValue,
    KeyMask,
    QueryMask,
)


def standard_attention(
    query: BatchedQuery,
    key: BatchedKey,
    value: BatchedValue,
    *,
    query_mask: QueryMask | None = None,
    key_mask: KeyMask | None = None,
    is_causal: bool = False,
    dropout_rate: float = 0.0,
    dropout_key: Array | None = None,
) -> BatchedOutput:
    """Computes x = A y: an identity head of any T and λ (M3), with the library's masks.

    ``jax.nn.dot_product_attention`` gives the mean of the values to a query without keys; here it
    gets zeros, as :func:`hopfield_attn.nonlinear_attention` has it.

    Args:
      query: (b, n, h, d_k).
      key: (b, m, h, d_k).
      value: (b, m, h, d_v).
      query_mask: (b, n) bool, True for real tokens.
      key_mask: (b, m) bool, True for real tokens.
      is_causal: query i sees keys 0, …, i.
      dropout_rate: attention dropout; needs ``dropout_key``.
      dropout_key: PRNG key of the dropout.

    Returns:
      (b, n, h, d_v) in the dtype of ``query``; computed in float32 at least.

    Example:
      >>> x = jnp.ones((1, 3, 2, 4))
      >>> standard_attention(x, x, x).shape
      (1, 3, 2, 4)
    """
    weights = attention_weights(
        query, key, query_mask=query_mask, key_mask=key_mask, is_causal=is_causal
    )
    if dropout_rate:
        weights = drop_weights(weights, rate=dropout_rate, key=dropout_key)
    return jnp.einsum("bhnm,bmhd->bnhd", weights, value.astype(weights.dtype)).astype(query.dtype)
