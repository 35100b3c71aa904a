"""How much of the attention of a query goes to the tokens that its answer is read from."""

from typing import NamedTuple

import jax.numpy as jnp

from hopfield_attn.checks import check_rank, check_shape
from hopfield_attn.typing import Array, BatchedWeights, Bool, Float, Int, Scalar


class SourceMass(NamedTuple):
    """Shares of the attention at the true sources.

    Attributes:
      heads: (h,), mean over the queries that have a source, from 0 to 1.
      uniform: (), the same for attention that goes to all m keys alike: what to compare with.
      num_queries: (), queries that have a source; where there is none, the means are NaN.
    """

    heads: Float[Array, "h"]
    uniform: Scalar
    num_queries: Int[Array, ""]


def source_mass(
    attention: BatchedWeights, positions: Int[Array, "b q"], sources: Bool[Array, "b q m"]
) -> SourceMass:
    """Mass of each head's attention on the sources, for a batch.

    With w the attention of a query and S its sources, Σ_{j∈S} |w_j| / Σ_j |w_j|: of weights that
    are not negative and sum to 1 it is Σ_{j∈S} w_j. Effective weights of non-linear heads may be
    neither; a query whose weights are all 0 counts as 0.

    Args:
      attention: (b, h, n, m).
      positions: (b, q), the rows of ``attention`` that are queries.
      sources: (b, q, m), True at the sources; queries without any are left out.

    Returns:
      :class:`SourceMass`.

    Raises:
      ValueError: shapes that do not fit.

    Example:
      >>> attention = jnp.array([[[[0.5, 0.25, 0.25], [0.25, 0.0, 0.75], [1.0, 0.0, 0.0]]]])
      >>> sources = jnp.array([[[False, False, True], [False, False, False]]])
      >>> found = source_mass(attention, jnp.array([[1, 2]]), sources)
      >>> found.heads, round(float(found.uniform), 4), int(found.num_queries)
      (Array([0.75], dtype=float32), 0.3333, 1)
    """
    check_rank(4, "b, h, n, m", attention=attention)
    check_rank(2, "b, q", positions=positions)
    num_examples, num_keys = attention.shape[0], attention.shape[3]
    check_shape("positions", positions, (num_examples, positions.shape[1]), "b, q")
    check_shape("sources", sources, (*positions.shape, num_keys), "b, q, m")
    rows = jnp.take_along_axis(jnp.abs(attention), positions[:, None, :, None], axis=2)
    at_sources = jnp.sum(rows * sources[:, None], axis=-1)
    total = jnp.sum(rows, axis=-1)
    share = at_sources / jnp.where(total > 0, total, 1.0)
    has_source = jnp.any(sources, axis=-1)
    num_queries = jnp.sum(has_source)
    return SourceMass(
        heads=jnp.mean(share, axis=(0, 2), where=has_source[:, None]),
        uniform=jnp.mean(jnp.mean(sources, axis=-1), where=has_source),
        num_queries=num_queries,
    )
