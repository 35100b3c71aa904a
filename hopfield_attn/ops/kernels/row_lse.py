"""The row log-sum-exp that every other kernel rebuilds A from, and the arrays of a head."""

from typing import Any

import jax.numpy as jnp

from hopfield_attn.ops.kernels.operands import Carry, Operand, matrix, vector
from hopfield_attn.ops.kernels.sweep import sweep
from hopfield_attn.ops.kernels.tiles import causal_rows, logits, row_sum
from hopfield_attn.typing import Array, Bool, Float

Queries = Float[Array, "g n dk"]
Keys = Float[Array, "g m dk"]
HeadValues = Float[Array, "g m dv"]
HeadState = Float[Array, "g n dv"]
PerQuery = Float[Array, "g n"]
PerKey = Float[Array, "g m"]
KeyMask = Bool[Array, "g m"]
QueryMask = Bool[Array, "g n"]


def allowed_keys(key: Keys, key_mask: KeyMask | None) -> Operand:
    """The key mask as numbers, 1 where allowed; rows that fill up a block count as masked."""
    dtype = jnp.promote_types(key.dtype, jnp.float32)
    ones = jnp.ones(key.shape[:2], dtype)
    return vector(ones if key_mask is None else key_mask.astype(dtype))


def has_earlier_key(_: Any, last_query: Any, first_key: Any, __: Any) -> Any:
    """Whether a causal tile of A has an entry."""
    return first_key <= last_query


def row_lse(
    query: Queries,
    key: Keys,
    key_mask: KeyMask | None,
    query_mask: QueryMask | None,
    *,
    is_causal: bool = False,
    platform: str,
) -> PerQuery:
    """Row log-sum-exp of the logits, lse_i = log Σ_j exp ⟨q_i, k_j⟩ over the allowed keys.

    Args:
      query: scaled queries, (g, n, d_k).
      key: (g, m, d_k).
      key_mask: (g, m), True where the key is real; ``None``: all are.
      query_mask: (g, n), True where the query is real; ``None``: all are.
      is_causal: query i sees keys 0, …, i only.
      platform: where the kernel runs.

    Returns:
      (g, n); +∞ for a masked query and where no key is left.

    Example:
      >>> row_lse(jnp.zeros((1, 2, 4)), jnp.zeros((1, 2, 4)), None, None,
      ...         is_causal=True, platform="interpret")
      Array([[0.   , 0.693...]], dtype=float32)

    Reference:
      Running maximum and sum: Milakov & Gimelshein, arXiv:1805.02867.
    """

    def tile(carries: Any, fixed: Any, swept: Any, first: Any, first_key: Any) -> Any:
        high, total = carries
        queries, allowed = fixed[0](), swept[1]()
        if is_causal:
            allowed = causal_rows(allowed, queries.shape[0], first, first_key)
        scores = logits(queries, swept[0](), allowed)
        new_high = jnp.maximum(high, jnp.max(scores, axis=1, keepdims=True))
        # While no key was allowed the maximum is −∞, and −∞ − (−∞) would be NaN.
        shift = jnp.where(new_high == -jnp.inf, 0.0, new_high)
        return new_high, total * jnp.exp(high - shift) + row_sum(jnp.exp(scores - shift))

    def finish(carries: Any, _: Any) -> Any:
        high, total = carries
        return [jnp.where(total > 0, high + jnp.log(total), jnp.inf)]

    (lse,) = sweep(
        tile,
        fixed=[matrix(query)],
        swept=[matrix(key), allowed_keys(key, key_mask)],
        carries=[Carry(1, -jnp.inf), Carry(1)],
        outputs=[None],
        finish=finish,
        is_needed=has_earlier_key if is_causal else None,
        platform=platform,
        name="row_lse",
    )
    return lse if query_mask is None else jnp.where(query_mask, lse, jnp.inf)
