"""What every door to non-linear attention checks, and the weights and values it starts from."""

from typing import Any

import jax.numpy as jnp
from einops import rearrange

from hopfield_attn.checks import (
    check_at_least,
    check_choice,
    check_floating,
    check_rank,
    check_shape,
    check_single,
)
from hopfield_attn.energies.attention import COUPLINGS
from hopfield_attn.energies.nonlinearities import Nonlinearity
from hopfield_attn.ops.heads import check_number_or_auto
from hopfield_attn.ops.weights import attention_weights, zero_masked
from hopfield_attn.typing import (
    Array,
    BatchedKey,
    BatchedQuery,
    BatchedValue,
    BatchedWeights,
    Float,
    KeyMask,
    QueryMask,
)


def check_arrays(query: Any, key: Any, value: Any, query_mask: Any, key_mask: Any) -> None:
    """Raises unless shapes and dtypes fit together as in ``jax.nn.dot_product_attention``."""
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


def check_options(
    nonlinearity: Nonlinearity,
    num_heads: int,
    *,
    coupling: str,
    lam: Any,
    step_size: Any,
    gain: Any,
    is_causal: bool,
) -> None:
    """Raises for unknown names, numbers out of range, and the pooled coupling made causal."""
    check_choice("coupling", coupling, COUPLINGS)
    check_number_or_auto(0, lam=lam)
    check_number_or_auto(0, exclusive=True, step_size=step_size)
    check_single(gain=gain)
    check_at_least(0, exclusive=True, gain=gain)
    nonlinearity.check_heads(num_heads)
    if is_causal and coupling == "pooled":
        raise ValueError(
            "the pooled coupling cannot be causal: u_j = Σ_i A_ij ⟨x_i, y_j⟩ sums over later "
            "queries, so they would reach earlier tokens; use coupling='pairwise', which is causal "
            "whenever A is"
        )


def weights_and_values(
    query: BatchedQuery,
    key: BatchedKey,
    value: BatchedValue,
    *,
    query_mask: QueryMask | None,
    key_mask: KeyMask | None,
    is_causal: bool,
) -> tuple[BatchedWeights, Float[Array, "b h m dv"]]:
    """A (b, h, n, m) and y (b, h, m, d_v), y zero at masked keys; float32 at least."""
    weights = attention_weights(
        query, key, query_mask=query_mask, key_mask=key_mask, is_causal=is_causal
    )
    value = zero_masked(value, key_mask)
    return weights, rearrange(value, "b m h d -> b h m d").astype(weights.dtype)
