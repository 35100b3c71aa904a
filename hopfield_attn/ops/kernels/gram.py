"""One product with G (M5) in one TPU kernel: a block of rows of A is made once for x and for u."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from hopfield_attn.ops.kernels.operands import Operand, View, block_spec, matrix, pad, vector
from hopfield_attn.ops.kernels.platform import BLOCKS, block_length
from hopfield_attn.ops.kernels.sweep import vmem_limit
from hopfield_attn.ops.kernels.tiles import dot, dot_t, weights
from hopfield_attn.typing import Array, Float

MAX_ROWS_OF_A = 24 * 2**20
"""Bytes of fast memory that a block of rows of A may take."""


def can_keep_rows(num_queries: int, num_keys: int, platform: str) -> bool:
    """Whether a block of rows of A fits a TPU's fast memory (m ≤ 24 576 in float32).

    Example:
      >>> can_keep_rows(8192, 8192, "tpu"), can_keep_rows(8192, 2**20, "tpu")
      (True, False)
    """
    blocks = BLOCKS[platform]
    return block_length(num_queries, blocks.fixed, blocks) * num_keys * 4 <= MAX_ROWS_OF_A


def fused_gram(
    query: Float[Array, "g n dk"],
    key: Float[Array, "g m dk"],
    value: Float[Array, "g m dv"],
    lse: Float[Array, "g n"],
    allowed: Operand,
    c: Float[Array, "g m"],
    *,
    platform: str,
) -> tuple[Float[Array, "g n dv"], Float[Array, "g m"]]:
    """(x, u) = (A diag(c) y, G c), with two passes over the keys for every block of rows of A.

    The first pass makes the tiles of A, keeps them in VMEM and accumulates x_i; the second takes
    them from there and adds Σ_i A_ij ⟨x_i, y_j⟩ to u, which stays in VMEM for the whole head.

    Args:
      query: scaled queries, (g, n, d_k).
      key: (g, m, d_k).
      value: y, (g, m, d_v).
      lse: (g, n).
      allowed: the key mask as an operand.
      c: (g, m).
      platform: "tpu" or "interpret".
    """
    (g, n, _), (_, m, width) = query.shape, value.shape
    blocks = BLOCKS[platform]
    block, key_block = (
        block_length(n, blocks.fixed, blocks),
        block_length(m, blocks.swept, blocks),
    )
    dtype = jnp.promote_types(jnp.result_type(query, key, value, c), jnp.float32)
    rows = [pad(o, block, blocks) for o in (matrix(query), vector(lse, jnp.inf))]
    keys = [pad(o, key_block, blocks) for o in (matrix(key), allowed, vector(c), matrix(value))]
    num_rows = rows[0].array.shape[1] // block
    num_keys = keys[0].array.shape[1] // key_block
    last = num_keys - 1

    # The second pass needs the values only: the others stay at the block that they have.
    once = [
        block_spec(o.array.shape, o.axis, key_block, lambda i, p, j: j + p * (last - j))
        for o in keys[:3]
    ]
    both = block_spec(keys[3].array.shape, -2, key_block, lambda i, p, j: j)
    out_shapes = [(g, num_rows * block, width), (g, 1, num_keys * key_block)]
    in_specs = [
        *(block_spec(o.array.shape, o.axis, block, lambda i, p, j: i) for o in rows),
        *once,
        both,
    ]
    out_specs = [
        block_spec(out_shapes[0], -2, block, lambda i, p, j: i),
        block_spec(out_shapes[1], None, None, lambda i, p, j: 0),
    ]
    scratch = [(num_keys, block, key_block), (block, width)]
    copied = [(spec.block_shape, dtype) for spec in (*in_specs, *out_specs)]
    x, u = pl.pallas_call(
        functools.partial(_kernel, key_block=key_block),
        out_shape=[jax.ShapeDtypeStruct(shape, dtype) for shape in out_shapes],
        grid=(g, num_rows, 2, num_keys),
        in_specs=in_specs,
        out_specs=out_specs,
        scratch_shapes=[pltpu.VMEM(shape, dtype) for shape in scratch],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary", "arbitrary", "arbitrary"),
            vmem_limit_bytes=vmem_limit(copied, [(s, dtype) for s in scratch], block * key_block),
        ),
        interpret=platform != "tpu",
        name="gram",
    )(*(o.array for o in (*rows, *keys)))
    return x[:, :n], u[:, 0, :m]


def _kernel(
    query: Any,
    lse: Any,
    key: Any,
    allowed: Any,
    c: Any,
    value: Any,
    x_out: Any,
    u_out: Any,
    tiles: Any,
    x: Any,
    *,
    key_block: int,
) -> None:
    i, second, j = pl.program_id(1), pl.program_id(2), pl.program_id(3)
    columns = pl.ds(pl.multiple_of(j * key_block, key_block), key_block)

    @pl.when(second == 0)
    def _() -> None:
        lse_column = View(lse, -1, slice(None), False).column()
        a = weights(query[...], key[...], lse_column, allowed[...])
        tiles[j] = a
        added = dot(a * c[...], value[...])
        x[...] = jnp.where(j == 0, added, x[...] + added)

    @pl.when(second == 1)
    def _() -> None:
        added = jnp.sum(tiles[j] * dot_t(x[...], value[...]), axis=0, keepdims=True)
        # What was there before the head's first row block is not a number of this head.
        u_out[:, columns] = jnp.where(i == 0, added, u_out[:, columns] + added)
        x_out[...] = x[...]
