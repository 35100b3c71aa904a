"""The matrix-free path: A is made again by blocks of rows, in both directions: O(n d + T n)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from hopfield_attn.ops.matrix_free import Coupling, Source, descend_matrix_free
from hopfield_attn.ops.primal import pairwise_formula, pairwise_row
from hopfield_attn.ops.problem import DescentOptions, HeadInputs, Steps
from hopfield_attn.ops.row_blocks import block_rows, matrix_free
from hopfield_attn.ops.weights import allowed_pairs
from hopfield_attn.typing import Array, State


def blockwise(inputs: HeadInputs, options: DescentOptions) -> State:
    """T gradient steps without A in memory, for every coupling and mask.

    Pooled: :mod:`hopfield_attn.ops.pooled` with products that sweep over blocks of rows. Pairwise:
    rows do not meet, so a block goes through all steps, and again in the reverse pass. Elementwise:
    one blockwise attention, then n·d_v numbers.

    Args:
      inputs: the arrays of the head; no dropout.
      options: T, λ and η as numbers, coupling, gradient mode.

    Raises:
      ValueError: for attention dropout, and where λ or η is "auto".
    """
    return descend_matrix_free(
        inputs,
        options,
        name="blockwise",
        products=matrix_free(options.is_causal),
        pairwise=_pairwise(options.is_causal),
    )


def _pairwise(is_causal: bool) -> Coupling:
    def solve(source: Source, value: Array, steps: Steps, *, num_steps: int) -> Array:
        def solve_row(row: Array) -> Array:
            return pairwise_row(row, value, steps, num_steps=num_steps)

        return _map_rows(solve_row, source, is_causal)

    def make_gradient(source: Source, value: Array, steps: Steps) -> Callable[[Array], Array]:
        def at_row(row: Array, x: Array) -> Array:
            return pairwise_formula(row[None], value, steps, x[None])[0]

        return lambda x: _map_rows(at_row, source, is_causal, x)

    return Coupling(solve, make_gradient)


def _map_rows(fn: Callable[..., Array], source: Source, is_causal: bool, *arrays: Array) -> Array:
    """``fn`` (row of A, rows of ``arrays``) → row; computed again in the reverse pass."""

    @jax.checkpoint
    def at_row(position: Array, query: Array, query_mask: Array | None, *rows: Array) -> Array:
        allowed = allowed_pairs(
            position[None],
            None if query_mask is None else query_mask[None],
            source.key_mask,
            is_causal=is_causal,
            num_keys=len(source.key),
        )
        logits = (source.key @ query)[None]
        return fn(jax.nn.softmax(logits, axis=1, where=allowed)[0], *rows)

    positions = jnp.arange(len(source.query))
    taken = positions, source.query, source.query_mask, *arrays
    return jax.lax.map(lambda row: at_row(*row), taken, batch_size=block_rows(source))
