"""A is kept while steps are taken and made again, by blocks, in the reverse pass; pooled only.

The forward pass costs no product twice, and the reverse pass has nothing of size n·m to read back:
of the softmax only the row log-sum-exp is stored, as in :mod:`hopfield_attn.ops.row_blocks`.
"""

from typing import NamedTuple

import jax.numpy as jnp

from hopfield_attn.ops.matrix_free import Source, descend_matrix_free
from hopfield_attn.ops.primal import KEPT
from hopfield_attn.ops.problem import DescentOptions, HeadInputs, check_is_pooled
from hopfield_attn.ops.row_blocks import log_sums, masked_logits, matrix_free, weights_from
from hopfield_attn.typing import Array, Float, State, Weights


class Held(NamedTuple):
    """What a pass holds of the softmax.

    Attributes:
      lse: row log-sum-exp ℓ, (n,); ∞ for a query that sees no key.
      weights: A; ``None`` in the reverse pass.
    """

    lse: Float[Array, "n"]
    weights: Weights | None


def remat(inputs: HeadInputs, options: DescentOptions) -> State:
    """T gradient steps with A kept forward only: O(n m) memory while they run, O(T m) after.

    Wins for long sequences and few steps.

    Args:
      inputs: the arrays of the head; no dropout.
      options: T, λ and η as numbers, gradient mode.

    Raises:
      ValueError: for another coupling than the pooled one, for attention dropout, and where λ or η
        is "auto".
    """
    check_is_pooled(options, name="remat")
    return descend_matrix_free(inputs, options, name="remat", products=KEPT_FORWARD)


AGAIN = matrix_free(is_causal=False)
"""The products of the reverse pass; pooled attention is not causal."""


def _hold(source: Source) -> Held:
    rows = jnp.arange(len(source.query))
    logits, allowed = masked_logits(source, rows, source.query, is_causal=False)
    lse = log_sums(logits, allowed)
    return Held(lse, weights_from(logits, allowed, lse))


def _attend(source: Source, held: Held, w: Array) -> Array:
    return AGAIN.attend(source, held.lse, w) if held.weights is None else held.weights @ w


def _pool(source: Source, held: Held, value: Array, x: Array) -> Array:
    return KEPT.pool(held.weights, None, value, x)


def _gram(source: Source, held: Held, value: Array, c: Array) -> Array:
    return KEPT.gram(held.weights, None, value, c)


KEPT_FORWARD = AGAIN._replace(
    hold=_hold,
    attend=_attend,
    pool=_pool,
    gram=_gram,
    store=lambda held: held._replace(weights=None),
    hold_reverse=lambda source, held: held.lse,
    hold_and_attend=None,
    hold_and_gram=None,
)
"""The products with an A that is kept until the reverse pass: the source is a :class:`Source`."""
