"""Kernels of the pooled coupling: products with A and Aᵀ, rebuilt tile by tile from q, k and lse.

A_ij = exp(⟨q_i, k_j⟩ − lse_i) where key j is allowed, else 0. Queries arrive divided by √d_k, and
batch and heads are one leading axis g. ``lse`` is +∞ where the row of A is zero. Results have the
dtype of the inputs, float32 at least; bfloat16 inputs are accumulated in float32. Nothing of size
n·m is ever in main memory.

``platform`` is "tpu" (Mosaic), "gpu" (Triton), "interpret" or "interpret-gpu" (their programs in
the interpreter, for tests without the hardware).
"""

import functools
from typing import Any

import jax.numpy as jnp

from hopfield_attn.ops.kernels.gram import can_keep_rows, fused_gram
from hopfield_attn.ops.kernels.operands import Carry, matrix, vector
from hopfield_attn.ops.kernels.platform import is_triton
from hopfield_attn.ops.kernels.row_lse import (
    HeadState,
    HeadValues,
    KeyMask,
    Keys,
    PerKey,
    PerQuery,
    Queries,
    allowed_keys,
    row_lse,
)
from hopfield_attn.ops.kernels.sweep import sweep
from hopfield_attn.ops.kernels.tiles import accumulate, dot, dot_t, row_sum, weights
from hopfield_attn.typing import Array, Float

__all__ = ["attend", "gram", "pool", "pull_back", "row_lse"]


def attend(
    query: Queries,
    key: Keys,
    lse: PerQuery,
    key_mask: KeyMask | None,
    w: Float[Array, "g m dw"],
    *,
    platform: str,
) -> Float[Array, "g n dw"]:
    """The product A w.

    Args:
      query: scaled queries, (g, n, d_k).
      key: (g, m, d_k).
      lse: (g, n), from :func:`row_lse`.
      key_mask: (g, m), True where the key is real; ``None``: all are.
      w: (g, m, d_w).
      platform: where the kernel runs.

    Returns:
      A w, (g, n, d_w).

    Example:
      >>> q = k = jnp.zeros((1, 2, 4))
      >>> lse = row_lse(q, k, None, None, platform="interpret")
      >>> attend(q, k, lse, None, jnp.array([[[1.0], [3.0]]]), platform="interpret")
      Array([[[2.],
              [2.]]], dtype=float32)
    """

    def tile(carries: Any, fixed: Any, swept: Any, *_: Any) -> Any:
        a = weights(fixed[0](), swept[0](), fixed[1].column(), swept[1]())
        return [carries[0] + dot(a, swept[2]())]

    (result,) = sweep(
        tile,
        fixed=[matrix(query), vector(lse, jnp.inf)],
        swept=[matrix(key), allowed_keys(key, key_mask), matrix(w)],
        carries=[Carry(w.shape[-1])],
        outputs=[w.shape[-1]],
        platform=platform,
        name="attend",
    )
    return result


def pool(
    query: Queries,
    key: Keys,
    value: HeadValues,
    lse: PerQuery,
    key_mask: KeyMask | None,
    x: HeadState,
    *,
    platform: str,
) -> PerKey:
    """What F meets in the pooled coupling, u_j = Σ_i A_ij ⟨x_i, y_j⟩ (M2a).

    The program keeps a block of keys and runs over the queries with tiles of Aᵀ.

    Args:
      query: scaled queries, (g, n, d_k).
      key: (g, m, d_k).
      value: y, (g, m, d_v).
      lse: (g, n), from :func:`row_lse`.
      key_mask: (g, m), True where the key is real; ``None``: all are.
      x: state, (g, n, d_v).
      platform: where the kernel runs.

    Returns:
      u, (g, m); 0 at masked keys.
    """

    def tile(carries: Any, fixed: Any, swept: Any, *_: Any) -> Any:
        a_t = weights(fixed[0](), swept[0](), swept[1](), fixed[2].column())
        return [carries[0] + row_sum(a_t * dot_t(fixed[1](), swept[2]()))]

    (u,) = sweep(
        tile,
        fixed=[matrix(key), matrix(value), allowed_keys(key, key_mask)],
        swept=[matrix(query), vector(lse, jnp.inf), matrix(x)],
        carries=[Carry(1)],
        outputs=[None],
        platform=platform,
        name="pool",
    )
    return u


def pull_back(
    query: Queries,
    key: Keys,
    value: HeadValues,
    lse: PerQuery,
    key_mask: KeyMask | None,
    lefts: Float[Array, "g K n dv"],
    rights: Float[Array, "g K m"],
    *,
    platform: str,
) -> tuple[Queries, Keys, HeadValues]:
    """Cotangents of the bilinear form Σ_k Σ_ij A_ij ⟨lefts_ki, y_j⟩ rights_kj.

    The cotangent of A is Ā_ij = Σ_k ⟨lefts_ki, y_j⟩ rights_kj; with δ_i = Σ_j A_ij Ā_ij and
    S = A ⊙ (Ā − δ), dq = S k, dk = Sᵀ q and dy_j = Σ_k rights_kj (Aᵀ lefts_k)_j. One softmax
    pull-back serves all K steps of a descent.

    Args:
      query: scaled queries, (g, n, d_k).
      key: (g, m, d_k).
      value: y, (g, m, d_v).
      lse: (g, n), from :func:`row_lse`.
      key_mask: (g, m), True where the key is real; ``None``: all are.
      lefts: (g, K, n, d_v).
      rights: (g, K, m).
      platform: where the kernels run: one for dq, one for dk and dy.

    Returns:
      (dq, dk, dy): dq is with respect to the scaled queries.

    Reference:
      δ as in FlashAttention-2, Dao, arXiv:2307.08691.
    """
    sum_lefts = functools.partial(accumulate, lefts.shape[1], is_unrolled=not is_triton(platform))
    allowed = allowed_keys(key, key_mask)

    def query_tile(carries: Any, fixed: Any, swept: Any, *_: Any) -> Any:
        pulled, attended, delta = carries
        keys, values = swept[0](), swept[2]()
        a = weights(fixed[0](), keys, fixed[1].column(), swept[1]())

        def add(k: Any, a_bar: Array) -> Array:
            return a_bar + dot_t(fixed[2](k), values) * swept[3](k)

        a_bar = a * sum_lefts(add, jnp.zeros_like(a))
        return pulled + dot(a_bar, keys), attended + dot(a, keys), delta + row_sum(a_bar)

    dq, delta = sweep(
        query_tile,
        fixed=[matrix(query), vector(lse, jnp.inf), matrix(lefts)],
        swept=[matrix(key), allowed, matrix(value), vector(rights)],
        carries=[Carry(key.shape[-1]), Carry(key.shape[-1]), Carry(1)],
        outputs=[query.shape[-1], None],
        finish=subtract_mean,
        platform=platform,
        name="pooled_pull_back_query",
    )

    def key_tile(carries: Any, fixed: Any, swept: Any, *_: Any) -> Any:
        queries, values = swept[0](), fixed[1]()
        a_t = weights(fixed[0](), queries, swept[1](), fixed[2].column())

        def add(k: Any, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            left, right = swept[2](k), fixed[3].column(k)
            return sums[0] + right * dot_t(values, left), sums[1] + right * dot(a_t, left)

        a_bar_t, dy = sum_lefts(add, (jnp.zeros_like(a_t), carries[1]))
        return carries[0] + dot(a_t * (a_bar_t - swept[3]()), queries), dy

    dk, dy = sweep(
        key_tile,
        fixed=[matrix(key), matrix(value), allowed, vector(rights)],
        swept=[matrix(query), vector(lse, jnp.inf), matrix(lefts), vector(delta)],
        carries=[Carry(key.shape[-1]), Carry(value.shape[-1])],
        outputs=[key.shape[-1], value.shape[-1]],
        platform=platform,
        name="pooled_pull_back_key",
    )
    return dq, dk, dy


def subtract_mean(carries: Any, _: Any) -> Any:
    """DQ = (A ⊙ Ā) k − δ ⊙ (A k), with δ known only at the end of the row."""
    pulled, attended, delta, *others = carries
    return [pulled - delta * attended, delta, *others]


def gram(
    query: Queries,
    key: Keys,
    value: HeadValues,
    lse: PerQuery,
    key_mask: KeyMask | None,
    c: PerKey,
    *,
    platform: str,
) -> tuple[HeadState, PerKey]:
    """The state of the dual iterate and its product with G: x = A diag(c) y, u = G c (M5, M6).

    On TPU one kernel makes each block of rows of A once, for x and for u. Triton has no scratch
    to keep it in, and very many keys leave no room for it: there :func:`attend` and :func:`pool`.

    Args:
      query: scaled queries, (g, n, d_k).
      key: (g, m, d_k).
      value: y, (g, m, d_v).
      lse: (g, n), from :func:`row_lse`.
      key_mask: (g, m), True where the key is real; ``None``: all are.
      c: (g, m).
      platform: where the kernel runs.

    Returns:
      (x, u), of shapes (g, n, d_v) and (g, m).
    """
    if not is_triton(platform) and can_keep_rows(query.shape[1], key.shape[1], platform):
        allowed = allowed_keys(key, key_mask)
        return fused_gram(query, key, value, lse, allowed, c, platform=platform)
    # In float32 at least: rounding the product would be another c.
    dtype = jnp.promote_types(jnp.result_type(value, c), jnp.float32)
    w = c.astype(dtype)[:, :, None] * value.astype(dtype)
    x = attend(query, key, lse, key_mask, w, platform=platform)
    return x, pool(query, key, value, lse, key_mask, x, platform=platform)
