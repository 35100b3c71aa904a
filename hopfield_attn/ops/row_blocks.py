"""Products with an A that is made again, forward and backward, some rows with all keys at a time.

A block is :data:`BLOCK_CELLS` weights, or :data:`BLOCK_ROWS` rows where that is more, so what is
held at a time grows no faster than the inputs do. Of the softmax only the row log-sum-exp ℓ is
kept: A_ij = exp(q_i·k_j − ℓ_i), with ℓ_i = ∞ for a query that sees no key.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hopfield_attn.ops.matrix_free import Source
from hopfield_attn.ops.pooled import Products
from hopfield_attn.ops.primal import column_pool
from hopfield_attn.ops.weights import allowed_pairs
from hopfield_attn.typing import Array

BLOCK_CELLS = 2**20
"""Weights of a block: 4 MiB of float32, a few of which are held at a time."""

BLOCK_ROWS = 256
"""Fewest rows of a block: products of thin blocks cost up to twice as much a row."""


@functools.cache
def matrix_free(is_causal: bool) -> Products:
    """The products with an A that is made block by block: the source is a :class:`Source`.

    Args:
      is_causal: query i sees keys 0, …, i.
    """
    sweeps = _Sweeps(is_causal)
    return Products(
        hold=sweeps.row_lse,
        attend=sweeps.attend,
        pool=sweeps.pool,
        gram=sweeps.gram,
        hold_reverse=lambda source, lse: lse,
        reverse_pool=lambda *arguments: (sweeps.pool(*arguments), None),
        reverse_gram=lambda *arguments: (sweeps.gram(*arguments), None),
        pull_back=sweeps.pull_back,
        hold_and_attend=sweeps.hold_and_attend,
        hold_and_gram=sweeps.hold_and_gram,
    )


def masked_logits(
    source: Source, rows: Array, query: Array, *, is_causal: bool
) -> tuple[Array, Array | None]:
    """The scores q kᵀ of some queries, and which of their keys count (``None``: all do).

    Args:
      source: what A is made of.
      rows: positions of the queries.
      query: the queries at them.
      is_causal: query i sees keys 0, …, i.
    """
    allowed = allowed_pairs(
        rows,
        None if source.query_mask is None else source.query_mask[rows],
        source.key_mask,
        is_causal=is_causal,
        num_keys=len(source.key),
    )
    return query @ source.key.T, allowed


def log_sums(logits: Array, allowed: Array | None) -> Array:
    """Row log-sum-exp ℓ of scores; ∞ for a row without a key."""
    lse = jax.nn.logsumexp(logits, axis=1, where=allowed)
    return jnp.where(lse == -jnp.inf, jnp.inf, lse)


def weights_from(logits: Array, allowed: Array | None, lse: Array) -> Array:
    """A_ij = exp(logits_ij − ℓ_i), 0 where a pair does not count."""
    weights = jnp.exp(logits - lse[:, None])
    return weights if allowed is None else jnp.where(allowed, weights, 0.0)


class _Sweeps(NamedTuple):
    """Sweeps over blocks of rows of A."""

    is_causal: bool

    def row_lse(self, source: Source) -> Array:
        def block(_: None, rows: Array, query: Array) -> tuple[None, Array]:
            return None, log_sums(*masked_logits(source, rows, query, is_causal=self.is_causal))

        return self._over_rows(block, source, None, source.query)[1]

    def attend(self, source: Source, lse: Array, w: Array) -> Array:
        def block(_: None, weights: Array, __: Array) -> tuple[None, Array]:
            return None, weights @ w

        return self._over_blocks(block, source, lse, None, source.query)[1]

    def pool(self, source: Source, lse: Array, value: Array, x: Array) -> Array:
        def block(u: Array, weights: Array, x: Array) -> tuple[Array, None]:
            return u + column_pool(weights, value, x), None

        return self._over_blocks(block, source, lse, jnp.zeros_like(value[:, 0]), x)[0]

    def gram(self, source: Source, lse: Array, value: Array, c: Array) -> Array:
        w = c[:, None] * value

        def block(u: Array, weights: Array, _: Array) -> tuple[Array, None]:
            return u + column_pool(weights, value, weights @ w), None

        return self._over_blocks(block, source, lse, jnp.zeros_like(c), source.query)[0]

    def hold_and_attend(self, source: Source, w: Array) -> tuple[Array, Array]:
        def block(_: None, raw: Array, scale: Array, __: Array) -> tuple[None, Array]:
            return None, scale * (raw @ w)

        lse, out = self._over_new_blocks(block, source, None, source.query)[1]
        return lse, out

    def hold_and_gram(self, source: Source, value: Array) -> tuple[Array, Array]:
        def block(u: Array, raw: Array, scale: Array, _: Array) -> tuple[Array, None]:
            x = scale * (raw @ value)
            return u + column_pool(raw, value, scale * x), None

        u, (lse, _) = self._over_new_blocks(
            block, source, jnp.zeros_like(value[:, 0]), source.query
        )
        return lse, u

    def pull_back(
        self, source: Source, lse: Array, value: Array, last: Any, pairs: Any
    ) -> tuple[Source, Array]:
        x_bar, r, _ = last

        def block(
            carry: tuple[Array, Array], weights: Array, rows: tuple[Array, Array]
        ) -> tuple[tuple[Array, Array], Array]:
            key_bar, value_bar = carry
            query, x_bar = rows
            # As in primal.py: XLA multiplies with a transposed array at a third of the speed.
            back = jax.lax.optimization_barrier(weights.T)
            weights_bar = x_bar @ (r[:, None] * value).T
            value_bar += r[:, None] * (back @ x_bar)
            if pairs is not None:
                weights_bar, value_bar = _pull_pairs(
                    weights, back, value, pairs[:2], (weights_bar, value_bar)
                )
            # The derivative of the softmax.
            mean = jnp.sum(weights * weights_bar, axis=1, keepdims=True)
            logits_bar = weights * (weights_bar - mean)
            return (key_bar + logits_bar.T @ query, value_bar), logits_bar @ source.key

        start = jnp.zeros_like(source.key), jnp.zeros_like(value)
        (key_bar, value_bar), query_bar = self._over_blocks(
            block, source, lse, start, (source.query, x_bar)
        )
        return Source(query_bar, key_bar, None, None), value_bar

    def _over_blocks(
        self, block: Callable[..., Any], source: Source, lse: Array, carry: Any, arrays: Any
    ) -> tuple[Any, Any]:
        """Scans ``block`` (carry, A of some rows, these rows of ``arrays``) → (carry, outputs)."""

        def with_weights(carry: Any, rows: Array, taken: Any) -> tuple[Any, Any]:
            query, lse, arrays = taken
            # The last block may be padded: its rows are not there.
            lse = jnp.where(rows < len(source.query), lse, jnp.inf)
            logits, allowed = masked_logits(source, rows, query, is_causal=self.is_causal)
            return block(carry, weights_from(logits, allowed, lse), arrays)

        return self._over_rows(with_weights, source, carry, (source.query, lse, arrays))

    def _over_new_blocks(
        self, block: Callable[..., Any], source: Source, carry: Any, arrays: Any
    ) -> tuple[Any, tuple[Array, Any]]:
        """As :meth:`_over_blocks` before ℓ is there → (carry, (ℓ, outputs)).

        ``block`` gets e^(logits − max) of its rows, and what each row has to be multiplied with to
        be A: a product is scaled more cheaply than A.
        """

        def with_raw(carry: Any, rows: Array, taken: Any) -> tuple[Any, Any]:
            query, arrays = taken
            logits, allowed = masked_logits(source, rows, query, is_causal=self.is_causal)
            top = jnp.max(logits, axis=1, keepdims=True, where=allowed, initial=-jnp.inf)
            raw = jnp.exp(logits - top)
            if allowed is not None:
                raw = jnp.where(allowed, raw, 0.0)
            total = jnp.sum(raw, axis=1, keepdims=True)
            # A row that sees no key, or that pads the last block.
            is_empty = (total == 0) | (rows >= len(source.query))[:, None]
            scale = jnp.where(is_empty, 0.0, 1.0 / jnp.where(is_empty, 1.0, total))
            lse = jnp.where(is_empty, jnp.inf, top + jnp.log(jnp.where(is_empty, 1.0, total)))
            carry, outputs = block(carry, raw, scale, arrays)
            return carry, (lse[:, 0], outputs)

        return self._over_rows(with_raw, source, carry, (source.query, arrays))

    def _over_rows(
        self, block: Callable[..., Any], source: Source, carry: Any, arrays: Any
    ) -> tuple[Any, Any]:
        """Scans ``block`` (carry, positions, rows of ``arrays``) → (carry, outputs) over all."""
        n = source.query.shape[0]
        num_blocks = max(1, -(-n // block_rows(source)))
        size = -(-n // num_blocks)
        padding = num_blocks * size - n

        def split(array: Array) -> Array:
            wide = ((0, padding),) + ((0, 0),) * (array.ndim - 1)
            return jnp.pad(array, wide).reshape(num_blocks, size, *array.shape[1:])

        def step(carry: Any, taken: Any) -> tuple[Any, Any]:
            return block(carry, *taken)

        positions = jnp.arange(num_blocks * size).reshape(num_blocks, size)
        carry, outputs = jax.lax.scan(step, carry, (positions, jax.tree.map(split, arrays)))
        return carry, jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:n], outputs)


def _pull_pairs(
    weights: Array, back: Array, value: Array, pairs: tuple[Array, Array], carry: Any
) -> tuple[Array, Array]:
    """Adds what Σ_t ⟨a_t, G b_t⟩ gives a block of A and y, one pair after the other."""
    width = value.shape[1]

    def add(carry: tuple[Array, Array], pair: tuple[Array, Array]) -> tuple[Any, None]:
        weights_bar, value_bar = carry
        a, b = (c[:, None] * value for c in pair)
        states = weights @ jnp.concatenate([a, b], axis=1)
        weights_bar += states @ jnp.concatenate([b, a], axis=1).T
        states_back = back @ states
        value_bar += pair[1][:, None] * states_back[:, :width]
        value_bar += pair[0][:, None] * states_back[:, width:]
        return (weights_bar, value_bar), None

    return jax.lax.scan(add, carry, pairs)[0]


def block_rows(source: Source) -> int:
    """Rows of a block."""
    n, m = source.query.shape[0], source.key.shape[0]
    return max(1, min(n, max(BLOCK_ROWS, BLOCK_CELLS // max(1, m))))
